"""The calendar on the wire."""

from typing import Any

from grpc.aio import ServicerContext

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.auth import require_org
from liftos_kit.core.paging import PageTokens
from liftos_kit.requests import page_request
from liftos_memory.convert.calendar import (
    EVENT_NAME,
    day_message,
    event_filter,
    event_message,
    event_of,
    listed_days,
)
from liftos_memory.usecases.calendar import Calendar


class CalendarServicer:
    """Reads the calendar and keeps the org's events."""

    def __init__(self, *, calendar: Calendar, page_tokens: PageTokens) -> None:
        self._calendar = calendar
        self._page_tokens = page_tokens

    async def ListCalendarDays(
        self, request: pb.ListCalendarDaysRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListCalendarDaysResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        page = await self._calendar.list_days(
            org,
            listed_days(request.date_range),
            region_codes=tuple(request.region_codes),
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListCalendarDaysResponse(
            calendar_days=[day_message(day) for day in page.days],
            next_page_token=asked.next_token(page.cursor),
        )

    async def UpsertCalendarEvent(
        self, request: pb.UpsertCalendarEventRequest, context: ServicerContext[Any, Any]
    ) -> pb.UpsertCalendarEventResponse:
        event = request.calendar_event
        org = require_org(event.name, field="calendar_event.name")
        ids = EVENT_NAME.parse(event.name, field="calendar_event.name")
        stored = await self._calendar.upsert_event(org, ids["calendar_event"], event_of(event))
        return pb.UpsertCalendarEventResponse(calendar_event=event_message(org, stored))

    async def ListCalendarEvents(
        self, request: pb.ListCalendarEventsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListCalendarEventsResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        page = await self._calendar.list_events(
            org,
            days=event_filter(request.date_range) if request.HasField("date_range") else None,
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListCalendarEventsResponse(
            calendar_events=[event_message(org, stored) for stored in page.events],
            next_page_token=asked.next_token(page.cursor),
        )

    async def DeleteCalendarEvent(
        self, request: pb.DeleteCalendarEventRequest, context: ServicerContext[Any, Any]
    ) -> pb.DeleteCalendarEventResponse:
        org = require_org(request.name, field="name")
        await self._calendar.delete_event(org, EVENT_NAME.parse(request.name)["calendar_event"])
        return pb.DeleteCalendarEventResponse()
