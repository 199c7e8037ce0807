"""Weeks, months and longer steps of time that an asked range cuts."""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Final

_MONTHS: Final = {"month": 1, "quarter": 3, "year": 12}
_DAYS_OF_WEEK: Final = 7


def step_of(day: date, granularity: str) -> tuple[date, date] | None:
    """Return the first and the last day of the step that has a day.

    Args:
        day: The day.
        granularity: week, month, quarter or year.

    Returns:
        None for any other granularity, which no range cuts.
    """
    word = granularity.lower()
    if word == "week":
        first = day - timedelta(days=day.weekday())
        return first, first + timedelta(days=_DAYS_OF_WEEK - 1)
    if word not in _MONTHS:
        return None
    number = day.year * 12 + day.month - 1
    number -= number % _MONTHS[word]
    return _month(number), _month(number + _MONTHS[word]) - timedelta(days=1)


def cut_steps(steps: Iterable[str], *, granularity: str, start: str, end: str) -> list[str]:
    """Return a sentence about each step that is only partly in a range.

    Args:
        steps: The first day of each step that is shown; a step may come several times.
        granularity: How long they are.
        start: First day of the range.
        end: Last day of the range.
    """
    sentences: list[str] = []
    for text in sorted(set(steps)):
        step = step_of(date.fromisoformat(text), granularity)
        if step is None:
            continue
        first, last = (day.isoformat() for day in step)
        if first < start or end < last:
            sentences.append(
                f"The {granularity.lower()} from {first} to {last} is cut: its sums have the days"
                f" from {max(first, start)} to {min(last, end)} only."
            )
    return sentences


def _month(number: int) -> date:
    """Return the first day of a month, counted from January of the year 0."""
    return date(number // 12, number % 12 + 1, 1)
