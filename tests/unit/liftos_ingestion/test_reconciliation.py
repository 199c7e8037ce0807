"""Whether what is stored adds up to what the platform said."""

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from liftos_ingestion.domain.reconciliation import ReadDay, ReconciliationState, compare

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
    return [it.state for it in compare({DAY: ReadDay()}, {DAY: stored}, {DAY: answered}, whole)]


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
    assert _states({}, {}, {"clicks": 7}) == [MISMATCHED], "no row of the level became an entry"
    assert _states({}, {}, {"clicks": 0}) == [MATCHED]


def test_what_was_compared_before_is_compared_again() -> None:
    """Also where it is gone, so that an older finding does not look like the present."""
    day = ReadDay(metrics_before=("clicks",))
    assert [it.state for it in compare({DAY: day}, {}, {}, None)] == [MATCHED]
    assert [it.state for it in compare({DAY: day}, {}, {}, {})] == [MATCHED]
    assert [it.state for it in compare({DAY: day}, {}, {}, {DAY: {"clicks": 1}})] == [MISMATCHED]
    assert list(compare({}, {DAY: {"clicks": 1}}, {}, None)) == [], "a day that was not read"


def test_refused_rows_leave_nothing_matched() -> None:
    """Nobody knows what they add; what differs all the same still does."""
    day = ReadDay(refused_count=3)
    (found,) = compare({DAY: day}, {DAY: {"clicks": 5}}, {DAY: {"clicks": 5}}, None)
    assert found.state is NOT_COMPARABLE
    assert found.detail == "3 rows of the day were refused; look at its dead letters."
    (found,) = compare({DAY: day}, {DAY: {"clicks": 5}}, {DAY: {"clicks": 6}}, None)
    assert found.state is MISMATCHED


@given(stored=_sums, answered=_sums)
def test_nothing_differs_from_itself(
    stored: dict[date, dict[str, int]], answered: dict[date, dict[str, int]]
) -> None:
    """Equal sums match; of different ones exactly the metrics that differ are told."""
    days = dict.fromkeys({*stored, *answered}, ReadDay())
    assert all(it.state is MATCHED for it in compare(days, stored, stored, None))
    found = {(it.day, it.metric): it.state for it in compare(days, stored, answered, None)}
    for (day, metric), state in found.items():
        equal = stored.get(day, {}).get(metric, 0) == answered.get(day, {}).get(metric, 0)
        assert (state is MATCHED) == equal
