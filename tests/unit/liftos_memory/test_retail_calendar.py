"""The 4-5-4 calendar against its published years, and the days of retail."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_memory.domain.retail_calendar import (
    RetailWeek,
    easter_sunday,
    retail_events,
    retail_week,
    retail_year_start,
)

# First day and number of weeks of each year as the National Retail Federation publishes them.
PUBLISHED_YEARS = {
    2015: (date(2015, 2, 1), 52),
    2016: (date(2016, 1, 31), 52),
    2017: (date(2017, 1, 29), 53),
    2018: (date(2018, 2, 4), 52),
    2019: (date(2019, 2, 3), 52),
    2020: (date(2020, 2, 2), 52),
    2021: (date(2021, 1, 31), 52),
    2022: (date(2022, 1, 30), 52),
    2023: (date(2023, 1, 29), 53),
    2024: (date(2024, 2, 4), 52),
    2025: (date(2025, 2, 2), 52),
    2026: (date(2026, 2, 1), 52),
    2027: (date(2027, 1, 31), 52),
}


@pytest.mark.parametrize(("year", "published"), PUBLISHED_YEARS.items())
def test_years_are_the_published_ones(year: int, published: tuple[date, int]) -> None:
    """Each year begins and ends when it should, in its first and last week and month."""
    start, weeks = published
    assert retail_year_start(year) == start
    assert retail_week(start) == RetailWeek(year, quarter=1, month=1, week=1)
    last = start + timedelta(days=7 * weeks - 1)
    assert retail_week(last) == RetailWeek(year, quarter=4, month=12, week=weeks)
    assert retail_week(last + timedelta(days=1)).year == year + 1


def test_the_53rd_weeks_are_the_published_ones() -> None:
    """Years of 53 weeks come every five or six years."""
    years = [
        year
        for year in range(2000, 2030)
        if (retail_year_start(year + 1) - retail_year_start(year)).days == 371
    ]
    assert years == [2000, 2006, 2012, 2017, 2023, 2028]


def test_months_have_four_five_and_four_weeks() -> None:
    """The pattern repeats each quarter, and January takes the 53rd week."""
    for year, last_month in ((2024, 4), (2023, 5)):
        day, weeks = retail_year_start(year), [0] * 12
        while retail_week(day).year == year:
            weeks[retail_week(day).month - 1] += 1
            day += timedelta(days=7)
        assert weeks == [4, 5, 4] * 3 + [4, 5, last_month]


@given(st.dates(date(1990, 1, 1), date(2100, 12, 30)))
def test_weeks_partition_time(day: date) -> None:
    """Weeks change on Sundays and nowhere else, and follow each other without a gap."""
    here, after = retail_week(day), retail_week(day + timedelta(days=1))
    assert here.quarter == (here.month + 2) // 3
    if day.weekday() != 5:
        assert after == here
    elif after.year == here.year:
        assert after.week == here.week + 1
        assert after.month - here.month in (0, 1)
    else:
        assert (after.year, after.week, after.month) == (here.year + 1, 1, 1)
        assert here.week in (52, 53)


@pytest.mark.parametrize(
    "day",
    [
        date(1999, 4, 4),
        date(2000, 4, 23),
        date(2008, 3, 23),
        date(2011, 4, 24),
        date(2019, 4, 21),
        date(2024, 3, 31),
        date(2025, 4, 20),
        date(2026, 4, 5),
        date(2038, 4, 25),
        date(2049, 4, 18),
    ],
)
def test_easter_is_where_it_was(day: date) -> None:
    """Known Easters, the earliest and the latest kind included."""
    assert easter_sunday(day.year) == day


def named(year: int, *countries: str) -> dict[str, list[date]]:
    """Return the days of each event of a year."""
    days: dict[str, list[date]] = {}
    for event in retail_events(year, countries=frozenset(countries)):
        days.setdefault(event.name, []).append(event.date)
    return days


@pytest.mark.parametrize(
    ("year", "black_friday", "cyber_monday"),
    [
        (2019, date(2019, 11, 29), date(2019, 12, 2)),
        (2022, date(2022, 11, 25), date(2022, 11, 28)),
        (2024, date(2024, 11, 29), date(2024, 12, 2)),
        (2025, date(2025, 11, 28), date(2025, 12, 1)),
    ],
)
def test_black_friday_and_cyber_monday(year: int, black_friday: date, cyber_monday: date) -> None:
    """They follow the fourth Thursday of November, also into December."""
    days = named(year, "US")
    assert days["Thanksgiving"] == [black_friday - timedelta(days=1)]
    assert days["Black Friday"] == [black_friday]
    assert days["Cyber Monday"] == [cyber_monday]


def test_parents_days_differ_by_country() -> None:
    """Mothers and fathers are thanked on other days in other countries."""
    assert named(2024, "US")["Mother's Day"] == [date(2024, 5, 12)]
    assert named(2024, "GB")["Mothering Sunday"] == [date(2024, 3, 10)]
    assert "Mother's Day" not in named(2024, "GB")
    assert named(2024, "FR")["Mother's Day"] == [date(2024, 5, 26)]
    assert named(2023, "FR")["Mother's Day"] == [date(2023, 6, 4)]
    assert named(2024, "US", "FR")["Mother's Day"] == [date(2024, 5, 12), date(2024, 5, 26)]
    assert named(2024, "US")["Father's Day"] == [date(2024, 6, 16)]
    assert named(2024, "AU")["Father's Day"] == [date(2024, 9, 1)]
    assert named(2024, "DE")["Father's Day"] == [date(2024, 5, 9)]


def test_other_events() -> None:
    """Events everywhere need no country; the others need one that keeps them."""
    everywhere = named(2023)
    assert everywhere["Valentine's Day"] == [date(2023, 2, 14)]
    assert everywhere["Singles' Day"] == [date(2023, 11, 11)]
    assert everywhere["Super Saturday"] == [date(2023, 12, 23)]
    assert named(2021)["Super Saturday"] == [date(2021, 12, 18)]
    assert "Boxing Day" not in everywhere
    assert named(2023, "GB")["Boxing Day"] == [date(2023, 12, 26)]


def test_prime_day_is_a_table_of_past_days() -> None:
    """Known years have their days, all others have none."""
    assert named(2024)["Prime Day"] == [date(2024, 7, 16), date(2024, 7, 17)]
    assert len(named(2025)["Prime Day"]) == 4
    assert named(2022)["Prime Early Access Sale"] == [date(2022, 10, 11), date(2022, 10, 12)]
    assert "Prime Day" not in named(2014)
    assert "Prime Day" not in named(2030)
