"""docs/calendar.md says what the code does."""

import re
from datetime import date
from pathlib import Path

from liftos.memory.v1 import calendar_pb2
from liftos_memory.convert.calendar import day_message
from liftos_memory.domain.calendar import (
    FIRST_DAY,
    LAST_DAY,
    PLATFORM_BREAKS,
    CalendarEvent,
    calendar_days,
)
from liftos_memory.usecases.calendar import MAXIMUM_AGE_SECONDS, MAXIMUM_EVENTS

DOCUMENT = Path(__file__).parents[3] / "docs" / "calendar.md"


def section(name: str) -> list[str]:
    """The rows of a marked table."""
    _, _, after = DOCUMENT.read_text().partition(f"<!-- begin {name} -->\n")
    return after.partition(f"\n<!-- end {name} -->")[0].splitlines()[2:]


def test_every_field_of_a_day_has_its_rule() -> None:
    """The table names each field of the contract's message once, and no other."""
    named = [
        name for row in section("columns") for name in re.findall("`(.*?)`", row.split("|")[1])
    ]
    assert sorted(named) == sorted(
        field.name for field in calendar_pb2.CalendarDay.DESCRIPTOR.fields
    )


def test_every_field_of_a_day_is_filled() -> None:
    """What the calendar knows reaches the message; a day with everything leaves nothing unset."""
    day = date(2021, 12, 25)
    event = CalendarEvent("Launch", day, day, structural_break=True)
    [found] = calendar_days(day, day, region_codes=["US"], events=[event])
    message = day_message(found)
    unset = {field.name for field in message.DESCRIPTOR.fields} - {
        field.name for field, _ in message.ListFields()
    }
    assert unset == {"days_to_next_event", "days_since_previous_event"}, "0 on the day itself"


def test_breaks_and_limits_are_those_of_the_code() -> None:
    """Platform breaks, the range of days and the limits stand in the document."""
    assert section("breaks") == [f"| {it.start} | {it.name} |" for it in PLATFORM_BREAKS]
    text = DOCUMENT.read_text()
    assert f"from {FIRST_DAY} to {LAST_DAY}" in text
    assert f"at most {MAXIMUM_EVENTS:,} of at most" in text
    assert f"at most {MAXIMUM_AGE_SECONDS:g} seconds" in text


def test_the_example_of_a_fiscal_year_holds() -> None:
    """With July as first month, the first of July begins a year that is named by its end."""
    day = date(2026, 7, 1)
    [found] = calendar_days(day, day, fiscal_start_month=7)
    assert (found.fiscal_month, found.fiscal_year) == (1, 2027)
    assert f"{day} lies in month 1 of fiscal year 2027" in DOCUMENT.read_text()
