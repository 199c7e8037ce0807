"""The retail year of four, five and four weeks, and the days on which retail sells most.

The 4-5-4 calendar follows the National Retail Federation: weeks run from Sunday to Saturday, the
year begins on the Sunday nearest to 1 February (29 January to 4 February) and is named by the
calendar year in which it begins, its first month is February. Years in which four or more days of
January would be left over have a 53rd week, which belongs to January: 2006, 2012, 2017, 2023. Years
after a 53rd week are not shifted back for comparison.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final


@dataclass(frozen=True, slots=True)
class RetailWeek:
    """Where a day lies in the 4-5-4 calendar.

    Attributes:
        year: Calendar year in which the retail year begins.
        quarter: 1 to 4; the first begins in February.
        month: 1 to 12; 1 is February.
        week: 1 to 53, from the beginning of the retail year.
    """

    year: int
    quarter: int
    month: int
    week: int


_MONTH_ENDS: Final = (4, 9, 13, 17, 22, 26, 30, 35, 39, 43, 48, 53)
"""The last week of each month; January takes the 53rd."""


def retail_year_start(year: int) -> date:
    """Return the Sunday on which a retail year begins."""
    earliest = date(year, 1, 29)
    return earliest + timedelta(days=6 - earliest.weekday())


def retail_week(day: date) -> RetailWeek:
    """Return where a day lies in the 4-5-4 calendar."""
    year = day.year if day >= retail_year_start(day.year) else day.year - 1
    week = (day - retail_year_start(year)).days // 7 + 1
    month = next(number for number, end in enumerate(_MONTH_ENDS, start=1) if week <= end)
    return RetailWeek(year, (month - 1) // 3 + 1, month, week)


@dataclass(frozen=True, slots=True)
class RetailEvent:
    """A day that moves sales and is no public holiday everywhere.

    Attributes:
        date: The day.
        name: English name.
        is_major: Whether distances in days are counted to it.
    """

    date: date
    name: str
    is_major: bool


_MOTHERS_DAY_IN_MAY_CODES: Final = (
    "AT AU BE BR CA CH CN CZ DE DK EE FI GR HK HR IN IT JP LV MY NL NZ PH SG SK TR TW UA US ZA"
)
_MOTHERS_DAY_IN_MAY: Final = frozenset(_MOTHERS_DAY_IN_MAY_CODES.split())
_MOTHERING_SUNDAY: Final = frozenset({"GB", "IE", "IM", "JE", "GG"})
_FATHERS_DAY_IN_JUNE_CODES: Final = (
    "AR BE CA CL CN CZ FR GB GR HK HU IE IN JP MX MY NL PH SG SK TR UA US ZA"
)
_FATHERS_DAY_IN_JUNE: Final = frozenset(_FATHERS_DAY_IN_JUNE_CODES.split())
_FATHERS_DAY_IN_SEPTEMBER: Final = frozenset({"AU", "NZ"})
_BOXING_DAY: Final = frozenset({"AU", "CA", "GB", "IE", "NZ", "ZA"})

_PRIME_EVENTS: Final = (
    ("Prime Day", date(2015, 7, 15), 1),
    ("Prime Day", date(2016, 7, 12), 1),
    # From the evening of the 10th, Pacific time, for 30 hours.
    ("Prime Day", date(2017, 7, 10), 2),
    ("Prime Day", date(2018, 7, 16), 2),
    ("Prime Day", date(2019, 7, 15), 2),
    ("Prime Day", date(2020, 10, 13), 2),
    ("Prime Day", date(2021, 6, 21), 2),
    ("Prime Day", date(2022, 7, 12), 2),
    ("Prime Early Access Sale", date(2022, 10, 11), 2),
    ("Prime Day", date(2023, 7, 11), 2),
    ("Prime Big Deal Days", date(2023, 10, 10), 2),
    ("Prime Day", date(2024, 7, 16), 2),
    ("Prime Big Deal Days", date(2024, 10, 8), 2),
    ("Prime Day", date(2025, 7, 8), 4),
    ("Prime Big Deal Days", date(2025, 10, 7), 2),
)
"""Name, first day and number of days of Amazon's sales as announced for the United States.

They follow no rule, so years without a line have none here: an unknown day stays unset rather than
guessed. An org adds later ones as events of its own. Some countries had other days (India, and many
outside the United States in 2020).
"""


def retail_events(year: int, *, countries: frozenset[str]) -> Iterator[RetailEvent]:
    """Yield the retail events of a calendar year.

    Args:
        year: The year.
        countries: ISO 3166-1 codes; days that only some countries keep need one of theirs.
    """
    easter = easter_sunday(year)
    thanksgiving = _nth_weekday(year, 11, weekday=3, nth=4)
    christmas = date(year, 12, 25)
    yield RetailEvent(date(year, 2, 14), "Valentine's Day", is_major=True)
    yield RetailEvent(easter, "Easter Sunday", is_major=True)
    yield RetailEvent(date(year, 10, 31), "Halloween", is_major=False)
    yield RetailEvent(date(year, 11, 11), "Singles' Day", is_major=True)
    if "US" in countries:
        yield RetailEvent(thanksgiving, "Thanksgiving", is_major=True)
    yield RetailEvent(thanksgiving + timedelta(days=1), "Black Friday", is_major=True)
    yield RetailEvent(thanksgiving + timedelta(days=4), "Cyber Monday", is_major=True)
    saturday = christmas - timedelta(days=(christmas.weekday() - 5) % 7 or 7)
    yield RetailEvent(saturday, "Super Saturday", is_major=False)
    yield RetailEvent(christmas, "Christmas Day", is_major=True)
    if countries & _BOXING_DAY:
        yield RetailEvent(date(year, 12, 26), "Boxing Day", is_major=True)
    yield from _parents_days(year, easter, countries)
    for name, first, days in _PRIME_EVENTS:
        if first.year == year:
            for offset in range(days):
                yield RetailEvent(first + timedelta(days=offset), name, is_major=True)


def _parents_days(year: int, easter: date, countries: frozenset[str]) -> Iterator[RetailEvent]:
    if countries & _MOTHERING_SUNDAY:
        yield RetailEvent(easter - timedelta(days=21), "Mothering Sunday", is_major=True)
    mothers_days = set()
    if countries & _MOTHERS_DAY_IN_MAY:
        mothers_days.add(_nth_weekday(year, 5, weekday=6, nth=2))
    if "FR" in countries:
        # The last Sunday of May, or the one after where that is Pentecost.
        last = _nth_weekday(year, 6, weekday=6, nth=1) - timedelta(days=7)
        is_pentecost = last == easter + timedelta(days=49)
        mothers_days.add(last + timedelta(days=7) if is_pentecost else last)
    for day in sorted(mothers_days):
        yield RetailEvent(day, "Mother's Day", is_major=True)
    fathers_days = set()
    if countries & _FATHERS_DAY_IN_JUNE:
        fathers_days.add(_nth_weekday(year, 6, weekday=6, nth=3))
    if countries & _FATHERS_DAY_IN_SEPTEMBER:
        fathers_days.add(_nth_weekday(year, 9, weekday=6, nth=1))
    if "DE" in countries:
        fathers_days.add(easter + timedelta(days=39))
    for day in sorted(fathers_days):
        yield RetailEvent(day, "Father's Day", is_major=False)


def _nth_weekday(year: int, month: int, *, weekday: int, nth: int) -> date:
    """Return the nth weekday of a month; Monday is 0."""
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (nth - 1))


def easter_sunday(year: int) -> date:
    """Return Easter of the Gregorian calendar (the anonymous computus of 1876)."""
    golden = year % 19
    century, of_century = divmod(year, 100)
    leap_centuries, century_rest = divmod(century, 4)
    correction = (century - (century + 8) // 25 + 1) // 3
    epact = (19 * golden + century - leap_centuries - correction + 15) % 30
    leaps, leap_rest = divmod(of_century, 4)
    to_sunday = (32 + 2 * century_rest + 2 * leaps - epact - leap_rest) % 7
    late = (golden + 11 * epact + 22 * to_sunday) // 451
    month, day = divmod(epact + to_sunday - 7 * late + 114, 31)
    return date(year, month, day + 1)
