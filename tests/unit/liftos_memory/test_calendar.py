"""The calendar dimension."""

import time
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_kit.core.errors import InvalidFieldsError
from liftos_memory.domain.calendar import (
    FIRST_DAY,
    LAST_DAY,
    PLATFORM_BREAKS,
    CalendarDay,
    CalendarEvent,
    Hemisphere,
    Holiday,
    Season,
    calendar_days,
    check_region_codes,
)


def one(day: date, *region_codes: str) -> CalendarDay:
    """Return a single day."""
    (found,) = calendar_days(day, day, region_codes=region_codes)
    return found


_DAYS = st.dates(FIRST_DAY, LAST_DAY)


@given(_DAYS)
def test_iso_weeks_agree_with_the_standard_library(day: date) -> None:
    """Year, week and weekday of the ISO week, which is not the calendar year's around New Year."""
    found = one(day)
    assert (found.iso_year, found.iso_week, found.day_of_week) == tuple(day.isocalendar())
    assert found.weekend == (day.weekday() in (5, 6))
    assert found.quarter == (day.month + 2) // 3
    assert date(day.year, 1, 1) + timedelta(days=found.day_of_year - 1) == day


@given(_DAYS, st.integers(0, 40), st.integers(1, 12), st.sampled_from(Hemisphere))
def test_a_range_is_the_sum_of_its_days(
    start: date, length: int, month: int, hemisphere: Hemisphere
) -> None:
    """A day is the same alone and within any range."""
    end = min(LAST_DAY, start + timedelta(days=length))
    days = calendar_days(start, end, fiscal_start_month=month, hemisphere=hemisphere)
    assert [day.date for day in days] == [
        start + timedelta(days=offset) for offset in range((end - start).days + 1)
    ]
    alone = calendar_days(end, end, fiscal_start_month=month, hemisphere=hemisphere)
    assert days[-1:] == alone


@given(_DAYS, st.integers(1, 12))
def test_fiscal_years_begin_with_their_month(day: date, start_month: int) -> None:
    """A fiscal year has twelve months and is named by the year in which it ends."""
    (found,) = calendar_days(day, day, fiscal_start_month=start_month)
    assert found.fiscal_quarter == (found.fiscal_month + 2) // 3
    months = found.fiscal_month - 1
    first_year, first_month = divmod(day.year * 12 + day.month - 1 - months, 12)
    assert first_month + 1 == start_month
    last_year = (first_year * 12 + first_month + 11) // 12
    assert found.fiscal_year == last_year


def test_fiscal_year_of_april() -> None:
    """April 2025 to March 2026 is the fiscal year 2026."""
    days = calendar_days(date(2025, 3, 31), date(2025, 4, 1), fiscal_start_month=4)
    assert [(it.fiscal_year, it.fiscal_quarter, it.fiscal_month) for it in days] == [
        (2025, 4, 12),
        (2026, 1, 1),
    ]


@pytest.mark.parametrize(
    ("day", "northern", "southern"),
    [
        (date(2024, 2, 29), Season.WINTER, Season.SUMMER),
        (date(2024, 3, 1), Season.SPRING, Season.AUTUMN),
        (date(2024, 6, 1), Season.SUMMER, Season.WINTER),
        (date(2024, 11, 30), Season.AUTUMN, Season.SPRING),
        (date(2024, 12, 15), Season.WINTER, Season.SUMMER),
    ],
)
def test_seasons_are_whole_months(day: date, northern: Season, southern: Season) -> None:
    """Meteorological seasons, half a year apart on the other hemisphere."""
    assert calendar_days(day, day)[0].season is northern
    assert calendar_days(day, day, hemisphere=Hemisphere.SOUTHERN)[0].season is southern


def test_observed_days_are_flagged() -> None:
    """A holiday on a weekend and the day off that stands in for it, also across New Year."""
    assert one(date(2021, 12, 25), "US").holidays == (Holiday("Christmas Day", "US", False),)
    assert one(date(2021, 12, 24), "US").holidays == (
        Holiday("Christmas Day (observed)", "US", True),
    )
    assert one(date(2021, 12, 31), "US").holidays == (
        Holiday("New Year's Day (observed)", "US", True),
    )
    assert [it.observed for it in one(date(2024, 2, 12), "JP").holidays] == [True]


def test_regional_holidays_name_their_region() -> None:
    """National holidays belong to the country, others to the subdivision that keeps them."""
    assert one(date(2024, 1, 6), "DE").holidays == ()
    assert one(date(2024, 1, 6), "DE-BY").holidays == (Holiday("Epiphany", "DE-BY", False),)
    assert one(date(2024, 10, 3), "DE-BY", "DE-BE").holidays == (
        Holiday("German Unity Day", "DE", False),
    )
    assert one(date(2024, 12, 25), "US", "DE", "US").holidays == (
        Holiday("Christmas Day", "DE", False),
        Holiday("Christmas Day", "US", False),
    )
    assert one(date(2024, 12, 25)).holidays == ()


def test_holiday_names_are_english() -> None:
    """Names do not depend on the country's own language."""
    assert [it.name for it in one(date(2024, 7, 14), "FR").holidays] == ["National Day"]
    assert all(it.name.isascii() for it in one(date(2024, 2, 10), "CN").holidays)


@pytest.mark.parametrize("code", ["ZZ", "DE-XX", "us", "USA", "US-", "", "U", "US-CALI", "DE\n"])
def test_unknown_regions_are_refused(code: str) -> None:
    """A region without holidays is an error, not a year without holidays."""
    with pytest.raises(InvalidFieldsError) as caught:
        check_region_codes(["US", code])
    assert caught.value.violations[0].field == "region_codes"
    with pytest.raises(InvalidFieldsError):
        one(date(2024, 1, 1), code)


@pytest.mark.parametrize(
    ("start", "end", "month", "field"),
    [
        (date(2024, 1, 2), date(2024, 1, 1), 1, "date_range"),
        (date(1989, 12, 31), date(2024, 1, 1), 1, "date_range"),
        (date(2024, 1, 1), date(2101, 1, 1), 1, "date_range"),
        (date(2024, 1, 1), date(2024, 1, 1), 0, "fiscal_start_month"),
        (date(2024, 1, 1), date(2024, 1, 1), 13, "fiscal_start_month"),
    ],
)
def test_wrong_arguments_are_refused(start: date, end: date, month: int, field: str) -> None:
    """The error names the argument."""
    with pytest.raises(InvalidFieldsError) as caught:
        calendar_days(start, end, fiscal_start_month=month)
    assert caught.value.violations[0].field == field


def test_own_events_and_breaks() -> None:
    """An event is on each of its days, a break begins once, platforms' breaks are for all."""
    events = [
        CalendarEvent("Summer sale", date(2025, 12, 30), date(2026, 1, 2)),
        CalendarEvent("New shop", date(2026, 1, 1), date(2026, 1, 2), structural_break=True),
        CalendarEvent("Long ago", date(2001, 1, 1), date(2001, 1, 2)),
    ]
    days = calendar_days(date(2026, 1, 1), date(2026, 1, 12), events=events)
    assert [day.events for day in days[:3]] == [
        ("Summer sale", "New shop"),
        ("Summer sale", "New shop"),
        (),
    ]
    assert [day.structural_breaks for day in days[:2]] == [("New shop",), ()]
    assert days[-1].structural_breaks == (PLATFORM_BREAKS[-1].name,)
    assert days[-1].events == ()


def test_distances_to_major_events() -> None:
    """Counted from the day itself, in both directions and across years."""
    day = one(date(2024, 12, 1), "US")
    assert (day.previous_event, day.days_since_previous_event) == ("Black Friday", 2)
    assert (day.next_event, day.days_to_next_event) == ("Cyber Monday", 1)
    day = one(date(2024, 12, 31), "US")
    assert (day.previous_event, day.days_since_previous_event) == ("Christmas Day", 6)
    assert (day.next_event, day.days_to_next_event) == ("Valentine's Day", 45)
    day = one(date(2024, 11, 29), "US")
    assert (day.next_event, day.days_to_next_event, day.days_since_previous_event) == (
        "Black Friday",
        0,
        0,
    )


def test_a_holiday_week_has_it_all() -> None:
    """Thanksgiving 2024 as a retailer sees it."""
    thursday, friday = calendar_days(date(2024, 11, 28), date(2024, 11, 29), region_codes=["US"])
    assert thursday.holidays == (Holiday("Thanksgiving Day", "US", False),)
    assert thursday.retail_events == ("Thanksgiving",)
    assert friday.retail_events == ("Black Friday",)
    assert (friday.retail_year, friday.retail_quarter, friday.retail_month) == (2024, 4, 10)
    assert friday.retail_week == 43


def test_ten_years_are_quick() -> None:
    """Ten years of two countries take a fraction of a second, even on a busy machine."""
    calendar_days(date(2024, 1, 1), date(2024, 1, 1), region_codes=["US", "DE-BY"])
    began = time.process_time()
    days = calendar_days(date(2010, 1, 1), date(2019, 12, 31), region_codes=["US", "DE-BY"])
    assert len(days) == 3652
    assert time.process_time() - began < 0.5
