"""The calendar and the events of an org, against real Postgres."""

from collections.abc import Awaitable
from typing import Any

import grpc
import pytest
from tests.e2e.memory.conftest import ClientFactory
from tests.inprocess.kit.statuses import Refusal, refusal_of

from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import calendar_pb2, source_pb2
from liftos.memory.v1 import memory_service_pb2 as pb


async def refused(call: Awaitable[object]) -> Refusal:
    """The error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


def days(start: str, end: str) -> marketing_pb2.DateRange:
    """A range of days."""
    return marketing_pb2.DateRange(start_date=start, end_date=end)


def event(
    org: str, event_id: str, start: str, end: str, **fields: Any
) -> pb.UpsertCalendarEventRequest:
    """An event to store."""
    fields.setdefault("display_name", event_id.title())
    return pb.UpsertCalendarEventRequest(
        calendar_event=calendar_pb2.CalendarEvent(
            name=f"orgs/{org}/calendarEvents/{event_id}", date_range=days(start, end), **fields
        )
    )


async def calendar(
    memory_client: ClientFactory,
    org: str,
    start: str,
    end: str,
    *region_codes: str,
    page_size: int = 0,
) -> list[calendar_pb2.CalendarDay]:
    """All days of a range, page by page."""
    found: list[calendar_pb2.CalendarDay] = []
    request = pb.ListCalendarDaysRequest(
        parent=f"orgs/{org}",
        date_range=days(start, end),
        region_codes=region_codes,
        page_size=page_size,
    )
    while True:
        response = await memory_client(org, "reader").ListCalendarDays(request)
        found += response.calendar_days
        if not response.next_page_token:
            return found
        assert len(response.calendar_days) == (page_size or 100)
        request.page_token = response.next_page_token


async def one(memory_client: ClientFactory, org: str, day: str) -> calendar_pb2.CalendarDay:
    """One day."""
    [found] = await calendar(memory_client, org, day, day)
    return found


async def test_a_holiday_week(memory_client: ClientFactory, org: str) -> None:
    """Thanksgiving week of 2026 has everything that the contract promises."""
    week = await calendar(memory_client, org, "2026-11-23", "2026-11-29")
    assert week[4] == calendar_pb2.CalendarDay(
        date="2026-11-27",
        iso_year=2026,
        iso_week=48,
        month=11,
        quarter=4,
        day_of_week=5,
        season=calendar_pb2.SEASON_AUTUMN,
        retail_events=["Black Friday"],
        retail_year=2026,
        retail_month=10,
        retail_week=43,
        retail_quarter=4,
        fiscal_year=2026,
        fiscal_quarter=4,
        fiscal_month=11,
        day_of_year=331,
        next_event="Black Friday",
        previous_event="Black Friday",
    )
    thanksgiving = week[3]
    assert list(thanksgiving.holidays) == [
        calendar_pb2.Holiday(name="Thanksgiving Day", region_code="US")
    ]
    assert (thanksgiving.next_event, thanksgiving.days_to_next_event) == ("Thanksgiving", 0)
    assert (week[6].next_event, week[6].days_to_next_event) == ("Cyber Monday", 1)
    assert (week[6].previous_event, week[6].days_since_previous_event) == ("Black Friday", 2)
    assert [day.weekend for day in week] == [False] * 5 + [True] * 2


async def test_settings_decide_the_calendar_at_once(memory_client: ClientFactory, org: str) -> None:
    """Season, fiscal year and holidays follow the settings in the very next call."""
    before = await one(memory_client, org, "2026-01-26")
    assert before.season == calendar_pb2.SEASON_WINTER
    assert (before.fiscal_year, before.fiscal_month) == (2026, 1)
    assert not before.holidays
    settings = source_pb2.OrgSettings(
        name=f"orgs/{org}/settings",
        hemisphere=source_pb2.HEMISPHERE_SOUTHERN,
        fiscal_start_month=7,
        region_codes=["AU"],
    )
    await memory_client(org).UpdateOrgSettings(pb.UpdateOrgSettingsRequest(org_settings=settings))
    after = await one(memory_client, org, "2026-01-26")
    assert after.season == calendar_pb2.SEASON_SUMMER
    assert (after.fiscal_year, after.fiscal_quarter, after.fiscal_month) == (2026, 3, 7)
    assert [it.name for it in after.holidays] == ["Australia Day"]


async def test_other_regions_can_be_asked_for(memory_client: ClientFactory, org: str) -> None:
    """Regions of the request stand in for the org's own, subdivisions under their own code."""
    [day] = await calendar(memory_client, org, "2026-01-06", "2026-01-06", "DE-BY", "FR")
    assert [(it.name, it.region_code) for it in day.holidays] == [("Epiphany", "DE-BY")]
    [own] = await calendar(memory_client, org, "2026-07-04", "2026-07-04")
    assert [it.region_code for it in own.holidays] == ["US"]
    [other] = await calendar(memory_client, org, "2026-07-04", "2026-07-04", "FR")
    assert not other.holidays


async def test_pages_are_the_days_in_order(memory_client: ClientFactory, org: str) -> None:
    """Any page size gives each day once; 4000 days come in four calls."""
    whole = await calendar(memory_client, org, "2020-01-01", "2030-12-13", page_size=1000)
    assert len(whole) == 4000
    assert [day.date for day in whole] == sorted({day.date for day in whole})
    again = await calendar(memory_client, org, "2020-01-01", "2020-03-31", page_size=7)
    assert again == whole[: len(again)]


async def test_events_and_breaks_join_their_days(memory_client: ClientFactory, org: str) -> None:
    """Own events stand on each of their days, breaks on the first, beside those of platforms."""
    writer = memory_client(org, "writer")
    await writer.UpsertCalendarEvent(
        event(org, "sale", "2021-04-25", "2021-04-27", display_name="Spring sale")
    )
    await writer.UpsertCalendarEvent(
        event(
            org,
            "tracking",
            "2021-04-26",
            "2021-04-28",
            display_name="New tag",
            structural_break=True,
        )
    )
    week = await calendar(memory_client, org, "2021-04-24", "2021-04-29")
    assert [list(day.events) for day in week] == [
        [],
        ["Spring sale"],
        ["Spring sale", "New tag"],
        ["Spring sale", "New tag"],
        ["New tag"],
        [],
    ]
    assert [list(day.structural_breaks) for day in week] == [
        [],
        [],
        ["Apple iOS 14.5: apps ask before tracking", "New tag"],
        [],
        [],
        [],
    ]
    foreign = await one(memory_client, "another", "2021-04-26")
    assert not foreign.events
    name = pb.DeleteCalendarEventRequest(name=f"orgs/{org}/calendarEvents/sale")
    await writer.DeleteCalendarEvent(name)
    assert list((await one(memory_client, org, "2021-04-26")).events) == ["New tag"]
    gone = await refused(writer.DeleteCalendarEvent(name))
    assert gone.code is grpc.StatusCode.NOT_FOUND
    assert gone.metadata == {"resource_name": name.name}


async def test_an_event_is_replaced_by_its_name(memory_client: ClientFactory, org: str) -> None:
    """A second upsert moves the event; a repeated one changes nothing that a reader sees."""
    writer = memory_client(org, "writer")
    first = await writer.UpsertCalendarEvent(event(org, "fair", "2026-03-01", "2026-03-02"))
    moved = await writer.UpsertCalendarEvent(event(org, "fair", "2026-04-01", "2026-04-02"))
    assert moved.calendar_event.create_time == first.calendar_event.create_time
    listed = await writer.ListCalendarEvents(pb.ListCalendarEventsRequest(parent=f"orgs/{org}"))
    assert list(listed.calendar_events) == [moved.calendar_event]
    assert not (await one(memory_client, org, "2026-03-01")).events


async def test_events_are_listed_by_first_day(memory_client: ClientFactory, org: str) -> None:
    """Every page size gives the same order, and a range gives what touches it."""
    writer = memory_client(org, "writer")
    for event_id, start, end in (
        ("c", "2026-02-01", "2026-02-10"),
        ("b", "2026-01-01", "2026-01-31"),
        ("a", "2026-02-01", "2026-02-01"),
        ("d", "2025-12-01", "2026-03-31"),
    ):
        await writer.UpsertCalendarEvent(event(org, event_id, start, end))

    async def listed(page_size: int, **fields: Any) -> list[str]:
        ids: list[str] = []
        request = pb.ListCalendarEventsRequest(parent=f"orgs/{org}", page_size=page_size, **fields)
        while True:
            response = await memory_client(org, "reader").ListCalendarEvents(request)
            ids += [it.name.rpartition("/")[2] for it in response.calendar_events]
            if not response.next_page_token:
                return ids
            request.page_token = response.next_page_token

    for page_size in (1, 2, 3, 4, 5):
        assert await listed(page_size) == ["d", "b", "a", "c"]
    assert await listed(1, date_range=days("2026-02-02", "2026-02-05")) == ["d", "c"]
    assert await listed(9, date_range=days("2026-01-31", "2026-02-01")) == ["d", "b", "a", "c"]


@pytest.mark.parametrize(
    ("start", "end", "violation"),
    [
        ("2026-02-30", "2026-03-01", ("calendar_event.date_range.start_date", "day")),
        ("2026-03-02", "2026-03-01", ("calendar_event.date_range", "date_range.order")),
        ("2026-01-01", "2027-03-01", ("calendar_event.date_range", "date_range.days")),
        ("1989-12-31", "1990-01-01", ("calendar_event.date_range", "date_range")),
    ],
)
async def test_events_that_cannot_be_are_refused(
    memory_client: ClientFactory, org: str, start: str, end: str, violation: tuple[str, str]
) -> None:
    """Wrong, reversed, overlong and far-away ranges name their field."""
    refusal = await refused(memory_client(org).UpsertCalendarEvent(event(org, "event", start, end)))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.violations == (violation,)


@pytest.mark.parametrize(
    ("start", "end", "regions", "violation"),
    [
        ("2026-01-01", "2101-01-01", (), ("date_range", "date_range.days")),
        ("2100-12-01", "2101-01-01", (), ("date_range", "date_range")),
        ("1989-12-31", "1990-01-01", (), ("date_range", "date_range")),
        ("2026-04-31", "2026-05-01", (), ("date_range.start_date", "day")),
        ("2026-01-01", "2026-01-01", ("XX",), ("region_codes", "region")),
        ("2026-01-01", "2026-01-01", ("usa",), ("region_codes[0]", "string.pattern")),
    ],
)
async def test_days_that_the_calendar_has_not_are_refused(
    memory_client: ClientFactory,
    org: str,
    *,
    start: str,
    end: str,
    regions: tuple[str, ...],
    violation: tuple[str, str],
) -> None:
    """The first page already refuses a range whose end lies outside."""
    request = pb.ListCalendarDaysRequest(
        parent=f"orgs/{org}", date_range=days(start, end), region_codes=regions, page_size=1
    )
    refusal = await refused(memory_client(org).ListCalendarDays(request))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.violations == (violation,)


async def test_page_tokens_belong_to_their_request(memory_client: ClientFactory, org: str) -> None:
    """A token of one range is refused for another."""
    reader = memory_client(org, "reader")
    request = pb.ListCalendarDaysRequest(
        parent=f"orgs/{org}", date_range=days("2026-01-01", "2026-01-31"), page_size=3
    )
    request.page_token = (await reader.ListCalendarDays(request)).next_page_token
    request.date_range.end_date = "2026-02-01"
    refusal = await refused(reader.ListCalendarDays(request))
    assert refusal.reason == "ERROR_REASON_PAGE_TOKEN_INVALID"
