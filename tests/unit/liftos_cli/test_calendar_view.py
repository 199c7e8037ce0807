"""Days of the calendar in words."""

import pytest

from liftos.memory.v1.calendar_pb2 import CalendarDay, Holiday
from liftos_cli.calendar_view import next_event, special


@pytest.mark.parametrize(
    ("holiday", "shown"),
    [
        (Holiday(name="Veterans Day", region_code="US"), "Veterans Day (US)"),
        (
            Holiday(name="Boxing Day", region_code="GB", observed=True),
            "Boxing Day (GB, observed)",
        ),
        (
            Holiday(name="Veterans Day (observed)", region_code="US", observed=True),
            "Veterans Day (observed) (US)",
        ),
    ],
)
def test_that_a_holiday_is_observed_is_said_once(holiday: Holiday, shown: str) -> None:
    """Where its name says so, nothing is added."""
    assert special(CalendarDay(holidays=[holiday])) == [shown]


def test_what_breaks_with_a_day_comes_last() -> None:
    """Holidays, retail events, own events, breaks."""
    day = CalendarDay(
        holidays=[Holiday(name="Independence Day", region_code="US")],
        retail_events=["Cyber Monday"],
        events=["Sale"],
        structural_breaks=["New shop"],
    )
    expected = ["Independence Day (US)", "Cyber Monday", "Sale", "break: New shop"]
    assert special(day) == expected


@pytest.mark.parametrize(
    ("name", "days", "shown"),
    [
        ("Thanksgiving", 0, "Thanksgiving today"),
        ("Thanksgiving", 3, "Thanksgiving in 3 d"),
        ("", 0, ""),
    ],
)
def test_the_next_event_may_be_today(name: str, days: int, shown: str) -> None:
    """And there may be none."""
    assert next_event(CalendarDay(next_event=name, days_to_next_event=days)) == shown
