"""Calendar days and events, both ways."""

from datetime import date
from typing import Final

from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import calendar_pb2
from liftos_kit.core.names import Pattern
from liftos_kit.structs import timestamp
from liftos_memory.convert.slices import date_range, days_of
from liftos_memory.domain.calendar import CalendarDay, CalendarEvent, Season
from liftos_memory.org_ports import StoredEvent

EVENT_NAME: Final = Pattern("orgs/{org}/calendarEvents/{calendar_event}")

_SEASONS: Final = {season: number for number, season in enumerate(Season, 1)}
_MAXIMUM_LISTED_DAYS: Final = 4_000
_MAXIMUM_EVENT_DAYS: Final = 400


def day_message(day: CalendarDay) -> calendar_pb2.CalendarDay:
    """Return the message of a day."""
    return calendar_pb2.CalendarDay(
        date=day.date.isoformat(),
        iso_year=day.iso_year,
        iso_week=day.iso_week,
        month=day.month,
        quarter=day.quarter,
        day_of_week=day.day_of_week,
        weekend=day.weekend,
        season=calendar_pb2.Season.ValueType(_SEASONS[day.season]),
        holidays=[
            calendar_pb2.Holiday(
                name=holiday.name, region_code=holiday.region_code, observed=holiday.observed
            )
            for holiday in day.holidays
        ],
        retail_events=day.retail_events,
        events=day.events,
        retail_year=day.retail_year,
        retail_month=day.retail_month,
        retail_week=day.retail_week,
        fiscal_year=day.fiscal_year,
        fiscal_quarter=day.fiscal_quarter,
        fiscal_month=day.fiscal_month,
        structural_breaks=day.structural_breaks,
        day_of_year=day.day_of_year,
        retail_quarter=day.retail_quarter,
        next_event=day.next_event,
        days_to_next_event=day.days_to_next_event,
        previous_event=day.previous_event,
        days_since_previous_event=day.days_since_previous_event,
    )


def listed_days(message: marketing_pb2.DateRange) -> tuple[date, date]:
    """Return both ends of a range of days to list.

    Raises:
        InvalidFieldsError: An end is no day, or the range is too long.
    """
    return days_of(message, field="date_range", maximum_days=_MAXIMUM_LISTED_DAYS)


def event_filter(message: marketing_pb2.DateRange) -> tuple[date, date]:
    """Return both ends of the range that events must touch.

    Raises:
        InvalidFieldsError: An end is no day.
    """
    return days_of(message, field="date_range", maximum_days=date.max.toordinal())


def event_of(message: calendar_pb2.CalendarEvent) -> CalendarEvent:
    """Return an event.

    Raises:
        InvalidFieldsError: An end is no day, or the event is too long.
    """
    start, end = days_of(
        message.date_range,
        field="calendar_event.date_range",
        maximum_days=_MAXIMUM_EVENT_DAYS,
    )
    return CalendarEvent(message.display_name, start, end, message.structural_break)


def event_message(org: str, stored: StoredEvent) -> calendar_pb2.CalendarEvent:
    """Return the message of an event."""
    event = stored.event
    return calendar_pb2.CalendarEvent(
        name=f"orgs/{org}/calendarEvents/{stored.event_id}",
        display_name=event.name,
        date_range=date_range(event.start, event.end),
        structural_break=event.structural_break,
        create_time=timestamp(stored.create_time),
        update_time=timestamp(stored.update_time),
    )
