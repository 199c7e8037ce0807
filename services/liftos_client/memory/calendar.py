"""The calendar, and what an organisation adds to it."""

from collections.abc import Sequence

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1.calendar_pb2 import CalendarDay, CalendarEvent
from liftos_client.arguments import Day, date_range, optional_date_range
from liftos_client.memory.base import MemoryCalls
from liftos_client.pages import Pages


class CalendarMethods(MemoryCalls):
    """Methods about days and events."""

    def list_calendar_days(
        self,
        start_date: Day,
        end_date: Day,
        *,
        region_codes: Sequence[str] = (),
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[CalendarDay, pb.ListCalendarDaysResponse]:
        """List days as the organisation sees them.

        Args:
            start_date: First day.
            end_date: Last day; at most 4,000 in all.
            region_codes: Holidays of these regions in place of the org's own.
            page_size: At most 1,000; 0 is 100.
            page_token: Where to begin.
            timeout_seconds: Deadline of each page.
        """
        request = pb.ListCalendarDaysRequest(
            parent=self._parent,
            date_range=date_range(start_date, end_date),
            region_codes=region_codes,
            page_size=page_size,
        )
        return self._pages(
            self._stub.ListCalendarDays,
            request,
            lambda page: page.calendar_days,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def upsert_calendar_event(
        self,
        event_id: str,
        *,
        display_name: str,
        start_date: Day,
        end_date: Day,
        structural_break: bool = False,
        timeout_seconds: float | None = None,
    ) -> CalendarEvent:
        """Add or replace an event.

        Args:
            event_id: Lower case letters, digits and hyphens.
            display_name: Shown beside the day.
            start_date: First day.
            end_date: Last day; at most 400 in all.
            structural_break: True where numbers before and after are not comparable.
            timeout_seconds: Deadline.
        """
        request = pb.UpsertCalendarEventRequest(
            calendar_event=CalendarEvent(
                name=self._name("calendarEvents", event_id),
                display_name=display_name,
                date_range=date_range(start_date, end_date),
                structural_break=structural_break,
            )
        )
        answer = await self._calls.unary(self._stub.UpsertCalendarEvent, request, timeout_seconds)
        return answer.calendar_event

    def list_calendar_events(
        self,
        *,
        start_date: Day | None = None,
        end_date: Day | None = None,
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[CalendarEvent, pb.ListCalendarEventsResponse]:
        """List events by first day; only those that touch the days, where these are given."""
        request = pb.ListCalendarEventsRequest(
            parent=self._parent,
            date_range=optional_date_range(start_date, end_date),
            page_size=page_size,
        )
        return self._pages(
            self._stub.ListCalendarEvents,
            request,
            lambda page: page.calendar_events,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def delete_calendar_event(
        self, name: str, *, timeout_seconds: float | None = None
    ) -> None:
        """Remove an event.

        Raises:
            NotFoundError: There is none.
        """
        request = pb.DeleteCalendarEventRequest(name=self._name("calendarEvents", name))
        await self._calls.unary(self._stub.DeleteCalendarEvent, request, timeout_seconds)
