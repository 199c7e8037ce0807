"""Whether what is stored adds up to what the platform said."""

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from liftos_ingestion.domain.reconciliation import ReconciliationState, compare

DAY = date(2026, 3, 2)
MATCHED, MISMATCHED, NOT_COMPARABLE = ReconciliationState

_sums = st.dictionaries(
    st.dates(date(2026, 3, 1), date(2026, 3, 4)),
    st.dictionaries(st.sampled_from(["clicks", "spend_micros"]), st.integers(0, 10**15)),
)


def _states(
    stored: dict[str, int], answered: dict[str, int], total: dict[str, int] | None
) -> list[ReconciliationState]:
    whole = None if total is None else {DAY: total}
    return [it.state for it in compare({DAY: stored}, {DAY: answered}, whole)]


def test_a_level_alone() -> None:
    """A level is compared with what was answered for it; not reported and zero are the same."""
    assert _states({"clicks": 5}, {"clicks": 5}, None) == [MATCHED]
    assert _states({"clicks": 5}, {"clicks": 6}, None) == [MISMATCHED]
    assert _states({}, {"clicks": 6}, None) == [MISMATCHED]
    assert _states({"clicks": 6}, {}, None) == [MISMATCHED]
    assert _states({}, {"clicks": 0}, None) == [MATCHED]


def test_a_level_that_adds_up() -> None:
    """A level of parts is compared with the whole too, where the platform gives it."""
    assert _states({"clicks": 5}, {"clicks": 5}, {"clicks": 5}) == [MATCHED]
    assert _states({"clicks": 5}, {"clicks": 5}, {"clicks": 7}) == [MISMATCHED]
    assert _states({"clicks": 5}, {"clicks": 5}, {}) == [NOT_COMPARABLE]


@given(stored=_sums, answered=_sums)
def test_nothing_differs_from_itself(
    stored: dict[date, dict[str, int]], answered: dict[date, dict[str, int]]
) -> None:
    """Equal sums match; of different ones exactly the metrics that differ are told."""
    assert all(it.state is MATCHED for it in compare(stored, stored, None))
    found = {(it.day, it.metric): it.state for it in compare(stored, answered, None)}
    for (day, metric), state in found.items():
        equal = stored.get(day, {}).get(metric, 0) == answered.get(day, {}).get(metric, 0)
        assert (state is MATCHED) == equal
