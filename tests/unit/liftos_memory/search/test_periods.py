"""Periods: what a query names with its year, and nothing else."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_memory.domain.periods import named_periods

WEEK_9 = (date(2026, 2, 23), date(2026, 3, 1))
FEBRUARY = (date(2026, 2, 1), date(2026, 2, 28))
DAY = (date(2026, 2, 24), date(2026, 2, 24))
Q1 = (date(2026, 1, 1), date(2026, 3, 31))


@pytest.mark.parametrize(
    ("query", "periods"),
    [
        ("clicks in week 9 2026", [WEEK_9]),
        ("Week 9 of 2026", [WEEK_9]),
        ("week 09, 2026", [WEEK_9]),
        ("boots: clicks 2026-W09", [WEEK_9]),
        ("boots 2026w9", [WEEK_9]),
        ("2026 week 9", [WEEK_9]),
        ("the week of 24 February 2026", [WEEK_9]),
        ("week of Feb. 24th, 2026", [WEEK_9]),
        ("week of 2026-02-24", [WEEK_9]),
        ("24 February 2026", [DAY]),
        ("on 2026-02-24", [DAY]),
        ("in FEBRUARY 2026", [FEBRUARY]),
        ("february of 2026", [FEBRUARY]),
        ("feb 2026", [FEBRUARY]),
        ("2026-02", [FEBRUARY]),
        ("q1 2026", [Q1]),
        ("2026-Q1", [Q1]),
        ("week 9 2026 against week 10 2026", [WEEK_9, (date(2026, 3, 2), date(2026, 3, 8))]),
        ("december 2025", [(date(2025, 12, 1), date(2025, 12, 31))]),
        # No year, no period of the calendar, or part of something longer.
        ("week 9", []),
        ("in february", []),
        ("spring 2026", []),
        ("week 60 2026", []),
        ("31 February 2026", [FEBRUARY]),
        ("2026-13", []),
        ("Sale_2026-02", []),
        ("sale-2026-W09-de", []),
        ("id 12026-02", []),
        ("marching 2026", []),
        ("", []),
    ],
)
def test_periods_are_read_as_people_write_them(
    query: str, periods: list[tuple[date, date]]
) -> None:
    """ISO weeks, days, months and quarters."""
    assert named_periods(query) == periods


@given(st.dates(date(1900, 1, 8), date(2099, 12, 20)))
def test_each_week_is_read_from_each_of_its_names(day: date) -> None:
    """By number, by a day of it."""
    monday = day - timedelta(days=day.weekday())
    week = (monday, monday + timedelta(days=6))
    iso = day.isocalendar()
    assert named_periods(f"x {iso.year}-W{iso.week:02d}") == [week]
    assert named_periods(f"in week {iso.week} of {iso.year}") == [week]
    assert named_periods(f"week of {day.day} {day:%B} {day.year}") == [week]
    assert named_periods(f"{day}") == [(day, day)]


@given(st.text(max_size=80))
def test_any_text_is_read(query: str) -> None:
    """Whatever it says, the first day is not after the last."""
    assert all(first <= last for first, last in named_periods(query))
