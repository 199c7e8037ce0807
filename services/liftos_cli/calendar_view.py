"""What a day of the calendar is known for, in words."""

from liftos.memory.v1.calendar_pb2 import CalendarDay, Holiday

_OBSERVED = "observed"


def special(day: CalendarDay) -> list[str]:
    """Return the holidays and events of a day, and what breaks with it."""
    breaks = [f"break: {each}" for each in day.structural_breaks]
    return [*map(_holiday, day.holidays), *day.retail_events, *day.events, *breaks]


def next_event(day: CalendarDay) -> str:
    """Return how long it is to the next event; empty where none is known."""
    if not day.next_event:
        return ""
    days = day.days_to_next_event
    return f"{day.next_event} in {days} d" if days else f"{day.next_event} today"


def _holiday(holiday: Holiday) -> str:
    # Many a name says it already.
    notes = [_OBSERVED] if holiday.observed and _OBSERVED not in holiday.name.lower() else []
    return f"{holiday.name} ({', '.join([holiday.region_code, *notes])})"
