"""The calendar dimension: what a date means to an organisation, the same on every machine and day.

Nothing here depends on today. Weeks are ISO weeks with their own year, weekdays run from Monday, 1,
to Sunday, 7. Seasons are meteorological — they begin on the first of March, June, September and
December — because they then consist of whole months, as budgets do; south of the equator they are
half a year apart. Holidays are those of the library `holidays`, with English names. The retail
calendar and its events are in `retail_calendar`. The fiscal year is named by the year in which it
ends.
"""

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final

# Loads all countries, which would otherwise hold up the first request that needs one.
import holidays.countries

from liftos_kit.core.errors import InvalidFieldsError
from liftos_memory.domain.retail_calendar import retail_events, retail_week

FIRST_DAY: Final = date(1990, 1, 1)
LAST_DAY: Final = date(2100, 12, 31)


class Season(StrEnum):
    """A meteorological season."""

    SPRING = "SPRING"
    SUMMER = "SUMMER"
    AUTUMN = "AUTUMN"
    WINTER = "WINTER"


class Hemisphere(StrEnum):
    """The half of the earth whose seasons count."""

    NORTHERN = "NORTHERN"
    SOUTHERN = "SOUTHERN"


@dataclass(frozen=True, slots=True)
class Holiday:
    """A public holiday.

    Attributes:
        name: English name.
        region_code: Country, with its subdivision where the holiday is not national: "DE-BY".
        observed: True for the day off that stands in for a holiday on a weekend.
    """

    name: str
    region_code: str
    observed: bool


@dataclass(frozen=True, slots=True)
class CalendarEvent:
    """An event of the organisation's own, or a change of a platform that all share.

    Attributes:
        name: Shown beside each of its days.
        start: First day.
        end: Last day.
        structural_break: Whether numbers before and from the first day on are not comparable.
        platforms: Whose numbers a change of a platform concerns.
        columns: Which of these numbers.
    """

    name: str
    start: date
    end: date
    structural_break: bool = False
    platforms: frozenset[str] = frozenset()
    columns: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class CalendarDay:
    """Everything that the calendar knows about a day.

    Attributes:
        date: The day.
        year: Its calendar year.
        quarter: 1 to 4.
        month: 1 to 12.
        day_of_year: 1 to 366.
        day_of_week: 1 is Monday, 7 is Sunday.
        weekend: Saturday or Sunday.
        iso_year: Year of the ISO week.
        iso_week: ISO week, 1 to 53.
        season: By the org's hemisphere.
        holidays: Ordered by name and region.
        retail_events: Names of retail events, such as "Black Friday".
        events: Names of the org's own events on that day.
        structural_breaks: Names of breaks that begin on that day.
        retail_year: Year of the 4-5-4 calendar.
        retail_quarter: Its quarter, 1 to 4.
        retail_month: Its month, 1 to 12, where 1 is February.
        retail_week: Its week, 1 to 53.
        fiscal_year: Named by the calendar year in which it ends.
        fiscal_quarter: 1 to 4.
        fiscal_month: Month of the fiscal year, 1 to 12.
        next_event: The nearest major retail event from this day on; two on one day are joined.
        days_to_next_event: 0 on the day itself.
        previous_event: The nearest major retail event up to this day.
        days_since_previous_event: 0 on the day itself.
    """

    date: date
    year: int
    quarter: int
    month: int
    day_of_year: int
    day_of_week: int
    weekend: bool
    iso_year: int
    iso_week: int
    season: Season
    holidays: tuple[Holiday, ...]
    retail_events: tuple[str, ...]
    events: tuple[str, ...]
    structural_breaks: tuple[str, ...]
    retail_year: int
    retail_quarter: int
    retail_month: int
    retail_week: int
    fiscal_year: int
    fiscal_quarter: int
    fiscal_month: int
    next_event: str
    days_to_next_event: int
    previous_event: str
    days_since_previous_event: int


_CREDITED: Final = frozenset({"conversions_micros", "revenue_micros"})

PLATFORM_BREAKS: Final = tuple(
    CalendarEvent(name, day, day, True, frozenset(platforms), columns)
    for day, name, platforms, columns in (
        (
            date(2021, 1, 19),
            "Meta: default attribution becomes 7-day click, 28-day windows end",
            ["meta"],
            _CREDITED,
        ),
        (
            date(2021, 4, 26),
            "Apple iOS 14.5: apps ask before tracking",
            ["meta", "google_ads"],
            _CREDITED,
        ),
        (
            date(2021, 9, 20),
            "Apple iOS 15: Mail Privacy Protection opens mail by machine",
            ["klaviyo"],
            frozenset({"opened"}),
        ),
        (
            date(2026, 1, 12),
            "Meta: 7-day view and 28-day view windows end",
            ["meta"],
            _CREDITED,
        ),
    )
)
"""Changes of platforms after which numbers are not comparable, for every org."""

_PLATFORM_BREAKS_BY_NAME: Final = {event.name: event for event in PLATFORM_BREAKS}

_SEASONS: Final = (Season.WINTER, Season.SPRING, Season.SUMMER, Season.AUTUMN)
_REGION: Final = re.compile(r"([A-Z]{2})(?:-([A-Z0-9]{1,3}))?")


def breaks_for(
    day: CalendarDay, platforms: Collection[str], columns: Collection[str]
) -> tuple[str, ...]:
    """Return the names of the breaks that begin on a day and concern some columns of platforms.

    The org's own concern all.
    """
    found = []
    for name in day.structural_breaks:
        known = _PLATFORM_BREAKS_BY_NAME.get(name)
        if known is None or not (
            known.platforms.isdisjoint(platforms) or known.columns.isdisjoint(columns)
        ):
            found.append(name)
    return tuple(found)


def calendar_days(
    start: date,
    end: date,
    *,
    region_codes: Sequence[str] = (),
    fiscal_start_month: int = 1,
    hemisphere: Hemisphere = Hemisphere.NORTHERN,
    events: Iterable[CalendarEvent] = (),
) -> list[CalendarDay]:
    """Return every day from `start` to `end`, both included.

    Args:
        start: Not before `FIRST_DAY`.
        end: Not after `LAST_DAY`.
        region_codes: ISO 3166-1 alpha-2 codes, with a subdivision after a hyphen where wanted.
            Their holidays are listed, and the retail events that only some countries keep.
        fiscal_start_month: First month of the fiscal year, 1 to 12.
        hemisphere: Decides the season.
        events: The org's own events; the breaks among them join `PLATFORM_BREAKS`.

    Raises:
        InvalidFieldsError: a date is out of range, they are in the wrong order, the month is none,
            or a region is unknown.
    """
    check_days(start, end)
    _check_month(fiscal_start_month)
    on_holidays = _holidays_by_day(start, end, region_codes)
    own_events = tuple(events)
    on_events = _events_by_day(start, end, own_events)
    on_breaks: dict[date, list[str]] = defaultdict(list)
    for event in (*PLATFORM_BREAKS, *own_events):
        if event.structural_break:
            on_breaks[event.start].append(event.name)
    retail = _RetailEvents.between(start, end, frozenset(code[:2] for code in region_codes))
    days = []
    for offset in range((end - start).days + 1):
        day = start + timedelta(days=offset)
        iso_year, iso_week, day_of_week = day.isocalendar()
        week = retail_week(day)
        fiscal_month = (day.month - fiscal_start_month) % 12 + 1
        season_turn = 0 if hemisphere is Hemisphere.NORTHERN else 2
        next_event, days_to = retail.next_from(day)
        previous_event, days_since = retail.previous_to(day)
        days.append(
            CalendarDay(
                date=day,
                year=day.year,
                quarter=(day.month - 1) // 3 + 1,
                month=day.month,
                day_of_year=day.timetuple().tm_yday,
                day_of_week=day_of_week,
                weekend=day_of_week >= 6,
                iso_year=iso_year,
                iso_week=iso_week,
                season=_SEASONS[(day.month % 12 // 3 + season_turn) % 4],
                holidays=on_holidays.get(day, ()),
                retail_events=retail.names.get(day, ()),
                events=tuple(on_events.get(day, ())),
                structural_breaks=tuple(on_breaks.get(day, ())),
                retail_year=week.year,
                retail_quarter=week.quarter,
                retail_month=week.month,
                retail_week=week.week,
                fiscal_year=day.year + (fiscal_start_month > 1 and day.month >= fiscal_start_month),
                fiscal_quarter=(fiscal_month - 1) // 3 + 1,
                fiscal_month=fiscal_month,
                next_event=next_event,
                days_to_next_event=days_to,
                previous_event=previous_event,
                days_since_previous_event=days_since,
            )
        )
    return days


def check_region_codes(region_codes: Iterable[str]) -> None:
    """Refuse regions that the calendar has no holidays for.

    Raises:
        InvalidFieldsError: a code has another form, or its country or subdivision is unknown.
    """
    for code in region_codes:
        _split_region(code)


def check_days(start: date, end: date, *, field: str = "date_range") -> None:
    """Refuse a range that the calendar does not have.

    Raises:
        InvalidFieldsError: a date is out of range, or they are in the wrong order.
    """
    if not FIRST_DAY <= start <= end <= LAST_DAY:
        raise InvalidFieldsError.of(
            field,
            f"The calendar goes from {FIRST_DAY} to {LAST_DAY}, first day first;"
            f" {start} to {end} was asked for.",
            rule="date_range",
        )


def _check_month(fiscal_start_month: int) -> None:
    if not 1 <= fiscal_start_month <= 12:
        raise InvalidFieldsError.of(
            "fiscal_start_month",
            f"A fiscal year starts in a month from 1 to 12, not {fiscal_start_month}.",
            rule="fiscal_start_month",
        )


def _split_region(code: str) -> tuple[str, str | None]:
    match = _REGION.fullmatch(code)
    if match is None:
        raise InvalidFieldsError.of(
            "region_codes",
            f"{code[:20]!r} is no region; write a country as DE or a subdivision as DE-BY.",
            rule="region",
        )
    country, subdivision = match.groups()
    try:
        holidays.country_holidays(country, subdiv=subdivision)
    except NotImplementedError as error:
        raise InvalidFieldsError.of(
            "region_codes", f"No holidays are known for {code} ({error}).", rule="region"
        ) from error
    return country, subdivision


def _holidays_by_day(
    start: date, end: date, region_codes: Sequence[str]
) -> dict[date, tuple[Holiday, ...]]:
    found: dict[date, set[Holiday]] = defaultdict(set)
    for code in region_codes:
        country, subdivision = _split_region(code)
        for year in range(start.year, end.year + 1):
            national = _year_holidays(country, None, year)
            here = national if subdivision is None else _year_holidays(country, subdivision, year)
            for day, name, observed in here:
                is_national = (day, name, observed) in national
                found[day].add(Holiday(name, country if is_national else code, observed))
    return {
        day: tuple(sorted(on_day, key=lambda it: (it.name, it.region_code, it.observed)))
        for day, on_day in found.items()
    }


@lru_cache(maxsize=4096)
def _year_holidays(
    country: str, subdivision: str | None, year: int
) -> frozenset[tuple[date, str, bool]]:
    """Return day, English name and whether it stands in for another day."""
    all_days = _build_holidays(country, subdivision, year, observed=True)
    own_days = _build_holidays(country, subdivision, year, observed=False)
    return frozenset((day, name, (day, name) not in own_days) for day, name in all_days)


def _build_holidays(
    country: str, subdivision: str | None, year: int, *, observed: bool
) -> frozenset[tuple[date, str]]:
    built = holidays.country_holidays(
        country,
        subdiv=subdivision,
        years=year,
        expand=False,
        observed=observed,
        language="en_US",
    )
    return frozenset(
        (day, name) for day in built if day.year == year for name in built.get_list(day)
    )


def _events_by_day(
    start: date, end: date, events: Iterable[CalendarEvent]
) -> dict[date, list[str]]:
    """Return the names of the events on each day of a range."""
    by_day: dict[date, list[str]] = defaultdict(list)
    for event in events:
        first, last = max(start, event.start), min(end, event.end)
        for offset in range((last - first).days + 1):
            by_day[first + timedelta(days=offset)].append(event.name)
    return by_day


@dataclass(frozen=True, slots=True)
class _RetailEvents:
    """Retail events by day, and the days of the major ones in order."""

    names: dict[date, tuple[str, ...]]
    major_days: list[date]
    major_names: list[str]

    @classmethod
    def between(cls, start: date, end: date, countries: frozenset[str]) -> "_RetailEvents":
        """Collect the events of the years of a range and of one more on either side."""
        names: dict[date, list[str]] = defaultdict(list)
        major: dict[date, list[str]] = defaultdict(list)
        for year in range(start.year - 1, end.year + 2):
            for event in retail_events(year, countries=countries):
                names[event.date].append(event.name)
                if event.is_major:
                    major[event.date].append(event.name)
        days = sorted(major)
        return cls(
            names={day: tuple(on_day) for day, on_day in names.items()},
            major_days=days,
            major_names=[", ".join(major[day]) for day in days],
        )

    def next_from(self, day: date) -> tuple[str, int]:
        at = bisect_left(self.major_days, day)
        return self.major_names[at], (self.major_days[at] - day).days

    def previous_to(self, day: date) -> tuple[str, int]:
        at = bisect_right(self.major_days, day) - 1
        return self.major_names[at], (day - self.major_days[at]).days
