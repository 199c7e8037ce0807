"""The calendar as an org sees it: its settings and events over the days that all share."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from liftos_kit.core.errors import InvalidFieldsError
from liftos_kit.core.paging import JsonValue
from liftos_memory.domain.calendar import (
    CalendarDay,
    CalendarEvent,
    calendar_days,
    check_days,
)
from liftos_memory.org_ports import OrgSettings, OrgStore, StoredEvent

MAXIMUM_AGE_SECONDS: Final = 2.0
"""How long a server may show a calendar from before another server's write."""
MAXIMUM_EVENTS: Final = 1_000
"""Events that an org may have: each read of its calendar holds all of them."""

_KEPT_ORGS: Final = 4_096


@dataclass(frozen=True, slots=True, eq=False)
class OrgCalendar:
    """What an org adds to the calendar. It never changes: one with other contents is another."""

    settings: OrgSettings
    events: tuple[CalendarEvent, ...]

    def days(
        self, start: date, end: date, *, region_codes: Sequence[str] = ()
    ) -> list[CalendarDay]:
        """Return every day of a range; `region_codes` stand in for the org's own."""
        return calendar_days(
            start,
            end,
            region_codes=region_codes or self.settings.region_codes,
            fiscal_start_month=self.settings.fiscal_start_month,
            hemisphere=self.settings.hemisphere,
            events=self.events,
        )


@dataclass(slots=True)
class _Kept:
    calendar: OrgCalendar
    read_at_seconds: float


class OrgCalendars:
    """Calendars of orgs, kept for `MAXIMUM_AGE_SECONDS`.

    As long as nothing has changed, the same object is handed out again, so that what was computed
    from it can be kept beside it.
    """

    def __init__(self, store: OrgStore, *, monotonic_seconds: Callable[[], float]) -> None:
        self._store = store
        self._monotonic_seconds = monotonic_seconds
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._reading: dict[str, asyncio.Task[OrgCalendar]] = {}

    async def get(self, org: str) -> OrgCalendar:
        """Return the calendar of an org; callers that come together share one read."""
        kept = self._kept.get(org)
        if (
            kept is not None
            and self._monotonic_seconds() - kept.read_at_seconds < MAXIMUM_AGE_SECONDS
        ):
            return kept.calendar
        reading = self._reading.get(org)
        if reading is None:
            reading = self._reading[org] = asyncio.create_task(self._read(org))
            reading.add_done_callback(_note_failure)
        # A caller that gives up must not take the others' read with it.
        return await asyncio.shield(reading)

    def drop(self, org: str) -> None:
        """Forget an org's calendar after a write; reads under way are not kept either."""
        self._kept.pop(org, None)
        self._reading.pop(org, None)

    async def _read(self, org: str) -> OrgCalendar:
        task = asyncio.current_task()
        started_seconds = self._monotonic_seconds()
        try:
            settings, events = await self._store.settings_and_events(org)
        finally:
            is_current = self._reading.get(org) is task
            if is_current:
                del self._reading[org]
        calendar = OrgCalendar(settings, tuple(events))
        if is_current:
            before = self._kept.pop(org, None)
            if before is not None and _is_same(before.calendar, calendar):
                calendar = before.calendar
            self._kept[org] = _Kept(calendar, started_seconds)
            if len(self._kept) > _KEPT_ORGS:
                self._kept.popitem(last=False)
        return calendar


def _is_same(first: OrgCalendar, second: OrgCalendar) -> bool:
    return (first.settings, first.events) == (second.settings, second.events)


def _note_failure(reading: "asyncio.Task[OrgCalendar]") -> None:
    """Look at the error, which its callers have; all of them may have gone meanwhile."""
    if not reading.cancelled():
        reading.exception()


@dataclass(frozen=True, slots=True)
class DayPage:
    """A page of days, and where the next one begins; None at the end."""

    days: Sequence[CalendarDay]
    cursor: JsonValue


@dataclass(frozen=True, slots=True)
class EventPage:
    """A page of events, and where the next one begins; None at the end."""

    events: Sequence[StoredEvent]
    cursor: JsonValue


class Calendar:
    """Reads the calendar, and keeps the org's events."""

    def __init__(self, store: OrgStore, calendars: OrgCalendars, executor: Executor) -> None:
        self._store = store
        self._calendars = calendars
        self._executor = executor

    async def list_days(
        self,
        org: str,
        days: tuple[date, date],
        *,
        region_codes: Sequence[str],
        cursor: JsonValue,
        limit: int,
    ) -> DayPage:
        """Return a page of the days of a range.

        Args:
            org: The org.
            days: First and last day.
            region_codes: Regions whose holidays are wanted; none are the org's own.
            cursor: That of the page before.
            limit: At most this many days.

        Raises:
            InvalidFieldsError: A day is out of range, or a region unknown.
        """
        start, end = days
        check_days(start, end)
        calendar = await self._calendars.get(org)
        first = date.fromisoformat(cursor) if isinstance(cursor, str) else start
        last = min(end, first + timedelta(days=limit - 1))
        found = await asyncio.get_running_loop().run_in_executor(
            self._executor, lambda: calendar.days(first, last, region_codes=region_codes)
        )
        following = last + timedelta(days=1)
        return DayPage(found, following.isoformat() if following <= end else None)

    async def upsert_event(self, org: str, event_id: str, event: CalendarEvent) -> StoredEvent:
        """Add or replace an event.

        Raises:
            InvalidFieldsError: Its days are out of range, or the org has too many events.
        """
        check_days(event.start, event.end, field="calendar_event.date_range")
        stored = await self._store.upsert_event(org, event_id, event, maximum_events=MAXIMUM_EVENTS)
        if stored is None:
            raise InvalidFieldsError.of(
                "calendar_event",
                f"An organisation has at most {MAXIMUM_EVENTS} events; delete old ones first.",
                rule="calendar_event.count",
            )
        self._calendars.drop(org)
        return stored

    async def list_events(
        self, org: str, *, days: tuple[date, date] | None, cursor: JsonValue, limit: int
    ) -> EventPage:
        """Return a page of events by first day; `cursor` is that of the page before."""
        after = None
        match cursor:
            case [str(start), str(event_id)]:
                after = (date.fromisoformat(start), event_id)
        found = await self._store.list_events(org, days=days, after=after, limit=limit + 1)
        if len(found) <= limit:
            return EventPage(found, None)
        last = found[limit - 1]
        return EventPage(found[:limit], [last.event.start.isoformat(), last.event_id])

    async def delete_event(self, org: str, event_id: str) -> None:
        """Remove an event.

        Raises:
            NotFoundError: There is none.
        """
        await self._store.delete_event(org, event_id)
        self._calendars.drop(org)
