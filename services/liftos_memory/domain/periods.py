"""Periods that a query names: weeks, days, months and quarters, each with its year."""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, timedelta
from typing import Final

Period = tuple[date, date]
"""First and last day."""

_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
PERIOD_WORDS: Final = frozenset({*_MONTHS, "week", "weeks", "month", "quarter", "year", "days"})
"""Words that name periods."""

_WEEK: Final = timedelta(days=6)
_MONTH: Final = rf"(?P<month>{'|'.join(f'{m[:3]}(?:{m[3:]})?' for m in _MONTHS)}|sept)\.?"
_YEAR: Final = r"(?P<year>(?:19|20)\d\d)"
_NUMBER: Final = r"(?P<number>\d{1,2})"
_DAY: Final = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_OF: Final = r"[\s,]+(?:of\s+|in\s+)?"
_WEEK_OF: Final = r"(?P<week>\bweek\s+(?:of|from|beginning|starting)\s+(?:the\s+)?)?"


def named_periods(query: str) -> Sequence[Period]:
    """Return the periods that a query names with their years, in the order of their names.

    Week 9 of 2026 and 2026-W09 are ISO weeks, "week of 23 February 2026" the one with that day.
    What is no period of the calendar, such as week 60, is none.
    """
    found: list[tuple[int, Period]] = []
    taken = [False] * len(query)
    for pattern, period_of in _PATTERNS:
        for match in pattern.finditer(query):
            if any(taken[match.start() : match.end()]):
                continue
            with suppress(ValueError):
                found.append((match.start(), period_of(match)))
                taken[match.start() : match.end()] = [True] * (match.end() - match.start())
    return list(dict.fromkeys(period for _, period in sorted(found)))


def _iso_week(match: re.Match[str]) -> Period:
    monday = date.fromisocalendar(int(match["year"]), int(match["number"]), 1)
    return monday, monday + _WEEK


def _day(match: re.Match[str]) -> Period:
    day = date(int(match["year"]), _month_number(match["month"]), int(match["day"]))
    if not match["week"]:
        return day, day
    monday = day - timedelta(days=day.weekday())
    return monday, monday + _WEEK


def _month(match: re.Match[str]) -> Period:
    return _months(int(match["year"]), _month_number(match["month"]), 1)


def _quarter(match: re.Match[str]) -> Period:
    return _months(int(match["year"]), 3 * int(match["number"]) - 2, 3)


def _months(year: int, first: int, count: int) -> Period:
    start = date(year, first, 1)
    following = first + count - 1
    return start, date(year + following // 12, following % 12 + 1, 1) - timedelta(days=1)


def _month_number(text: str) -> int:
    return int(text) if text.isdigit() else [m[:3] for m in _MONTHS].index(text[:3].lower()) + 1


def _pattern(text: str) -> re.Pattern[str]:
    # Part of a longer word or number, such as an id, it is no period.
    return re.compile(rf"(?<![\w-]){text}(?![\w-])", re.IGNORECASE)


_PATTERNS: Final[Sequence[tuple[re.Pattern[str], Callable[[re.Match[str]], Period]]]] = [
    (_pattern(rf"{_YEAR}-?W{_NUMBER}"), _iso_week),
    (_pattern(rf"(?:calendar\s+)?(?:week|wk|w|cw)\s*{_NUMBER}{_OF}{_YEAR}"), _iso_week),
    (_pattern(rf"{_YEAR}[\s,]+(?:calendar\s+)?(?:week|wk|w|cw)\s*{_NUMBER}"), _iso_week),
    (_pattern(rf"{_WEEK_OF}{_YEAR}-(?P<month>\d\d)-(?P<day>\d\d)"), _day),
    (_pattern(rf"{_WEEK_OF}{_DAY}\s+(?:of\s+)?{_MONTH},?\s+{_YEAR}"), _day),
    (_pattern(rf"{_WEEK_OF}{_MONTH}\s+{_DAY},?\s+{_YEAR}"), _day),
    (_pattern(rf"{_MONTH}{_OF}{_YEAR}"), _month),
    (_pattern(rf"{_YEAR}-(?P<month>\d\d)"), _month),
    (_pattern(rf"q(?P<number>[1-4])[\s,]*(?:of\s+)?{_YEAR}"), _quarter),
    (_pattern(rf"{_YEAR}[\s,-]*q(?P<number>[1-4])"), _quarter),
]
"""The longest first: what a pattern takes, none after it does."""
