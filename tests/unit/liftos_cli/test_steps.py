"""Steps of time tile the calendar, and those that a range cuts are told."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_cli.steps import cut_steps, step_of

_DAYS = st.dates(date(2000, 1, 1), date(2999, 12, 1))
_STEPS = st.sampled_from(["week", "MONTH", "quarter", "year"])


@given(_DAYS, _STEPS)
def test_every_day_is_in_one_step(day: date, granularity: str) -> None:
    """Steps hold their days, and the next one begins where one ends."""
    step = step_of(day, granularity)
    assert step is not None
    first, last = step
    assert first <= day <= last
    assert step_of(first, granularity) == step_of(last, granularity) == step
    for beside, edge in ((first - timedelta(days=1), 1), (last + timedelta(days=1), 0)):
        neighbour = step_of(beside, granularity)
        assert neighbour is not None
        assert neighbour[edge] == beside


@pytest.mark.parametrize(
    ("granularity", "first", "last"),
    [
        ("week", date(2026, 1, 26), date(2026, 2, 1)),
        ("month", date(2026, 1, 1), date(2026, 1, 31)),
        ("quarter", date(2026, 1, 1), date(2026, 3, 31)),
        ("year", date(2026, 1, 1), date(2026, 12, 31)),
    ],
)
def test_the_step_of_a_day(granularity: str, first: date, last: date) -> None:
    """Weeks begin on Mondays."""
    assert step_of(date(2026, 1, 31), granularity) == (first, last)


def test_only_steps_that_are_shown_and_cut_are_told() -> None:
    """The first, the last, and both ends of one that is longer than the range."""
    weeks = ["2025-12-29", "2026-01-05", "2026-01-05", "2026-01-26"]
    assert cut_steps(weeks, granularity="week", start="2026-01-01", end="2026-01-31") == [
        (
            "The week from 2025-12-29 to 2026-01-04 is cut:"
            " its sums have the days from 2026-01-01 to 2026-01-04 only."
        ),
        (
            "The week from 2026-01-26 to 2026-02-01 is cut:"
            " its sums have the days from 2026-01-26 to 2026-01-31 only."
        ),
    ]
    assert cut_steps(["2026-01-05"], granularity="week", start="2026-01-01", end="2026-01-31") == []
    (told,) = cut_steps(["2026-01-01"], granularity="YEAR", start="2026-02-01", end="2026-03-01")
    assert told.endswith("its sums have the days from 2026-02-01 to 2026-03-01 only.")


@pytest.mark.parametrize("granularity", ["day", "TOTAL"])
def test_days_and_totals_are_never_cut(granularity: str) -> None:
    """A total is of the range itself."""
    assert cut_steps(["2026-01-02"], granularity=granularity, start="2026-01-02", end="x") == []
