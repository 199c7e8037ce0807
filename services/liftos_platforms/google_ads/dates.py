"""Days, periods and named ranges of days."""

import calendar
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Final


def _one_day(day: date) -> tuple[date, date]:
    return day, day


def _week(day: date) -> tuple[date, date]:
    monday = day - timedelta(days=day.weekday())
    return monday, monday + timedelta(days=6)


def _month(day: date) -> tuple[date, date]:
    return day.replace(day=1), day.replace(day=calendar.monthrange(day.year, day.month)[1])


def _quarter(day: date) -> tuple[date, date]:
    first = day.replace(month=3 * ((day.month - 1) // 3) + 1, day=1)
    return first, _month(first.replace(month=first.month + 2))[1]


def _year(day: date) -> tuple[date, date]:
    return date(day.year, 1, 1), date(day.year, 12, 31)


PERIODS: Final[Mapping[str, Callable[[date], tuple[date, date]]]] = {
    "segments.date": _one_day,
    "segments.week": _week,
    "segments.month": _month,
    "segments.quarter": _quarter,
    "segments.year": _year,
}
"""First and last day of a day's period, for each segment that is one; weeks begin on Monday."""


def segment_value(name: str, day: date) -> str | int:
    """Return what a segment of dates holds on a day: a date as text, a name or a year."""
    match name:
        case "segments.year":
            return day.year
        case "segments.day_of_week":
            return calendar.day_name[day.weekday()].upper()
        case "segments.month_of_year":
            return calendar.month_name[day.month].upper()
        case _:
            return PERIODS[name](day)[0].isoformat()


_LAST_DAYS: Final = {"LAST_7_DAYS": 7, "LAST_14_DAYS": 14, "LAST_30_DAYS": 30}


def named_range(name: str, today: date) -> tuple[date, date] | None:
    """Return the first and last day of a range like LAST_7_DAYS; None for an unknown name.

    Ranges of past days end yesterday; those called THIS end today.
    """
    yesterday = today - timedelta(days=1)
    if name in _LAST_DAYS:
        return today - timedelta(days=_LAST_DAYS[name]), yesterday
    monday = _week(today)[0]
    sunday = today - timedelta(days=(today.weekday() + 1) % 7)
    month = today.replace(day=1)
    ranges = {
        "TODAY": (today, today),
        "YESTERDAY": (yesterday, yesterday),
        "THIS_MONTH": (month, today),
        "LAST_MONTH": _month(month - timedelta(days=1)),
        "THIS_WEEK_MON_TODAY": (monday, today),
        "THIS_WEEK_SUN_TODAY": (sunday, today),
        "LAST_WEEK_MON_SUN": _week(monday - timedelta(days=7)),
        "LAST_WEEK_SUN_SAT": (sunday - timedelta(days=7), sunday - timedelta(days=1)),
        "LAST_BUSINESS_WEEK": (monday - timedelta(days=7), monday - timedelta(days=3)),
    }
    return ranges.get(name)
