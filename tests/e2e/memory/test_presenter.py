"""Entries are read with the calendar of their org, against real Postgres."""

import time
from datetime import date, timedelta
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from tests.e2e.memory.conftest import ClientFactory

from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import calendar_pb2, entry_pb2, source_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit import postgres
from liftos_local.testing import TestDatabase
from liftos_memory.usecases.calendar import MAXIMUM_AGE_SECONDS


async def write(memory_client: ClientFactory, org: str, *days: str) -> None:
    """Write one entry a day."""
    entries = [
        entry_pb2.Entry(
            platform="meta",
            level=entry_pb2.ENTRY_LEVEL_ACCOUNT,
            account_id="1",
            date=day,
            metrics=entry_pb2.Metrics(clicks=1),
        )
        for day in days
    ]
    rows = entry_pb2.EntryBatch(entries=entries)
    await memory_client(org).BatchUpsertEntries(
        pb.BatchUpsertEntriesRequest(parent=f"orgs/{org}", rows=rows)
    )


async def stored(memory_client: ClientFactory, org: str, *days: str) -> list[entry_pb2.Entry]:
    """One entry a day, as listed after it was written."""
    await write(memory_client, org, *days)
    return await listed(memory_client, org)


async def listed(memory_client: ClientFactory, org: str, *paths: str) -> list[entry_pb2.Entry]:
    """All entries by date."""
    request = pb.ListEntriesRequest(
        parent=f"orgs/{org}", page_size=1000, read_mask=FieldMask(paths=paths)
    )
    response = await memory_client(org, "reader").ListEntries(request)
    return list(response.entries)


async def read(memory_client: ClientFactory, name: str, org: str, *paths: str) -> entry_pb2.Entry:
    """One entry."""
    request = pb.GetEntryRequest(name=name, read_mask=FieldMask(paths=paths))
    response = await memory_client(org, "reader").GetEntry(request)
    entry: entry_pb2.Entry = response.entry
    return entry


async def calendar_of(memory_client: ClientFactory, org: str, day: str) -> calendar_pb2.CalendarDay:
    """What ListCalendarDays says of a day."""
    response = await memory_client(org).ListCalendarDays(
        pb.ListCalendarDaysRequest(
            parent=f"orgs/{org}",
            date_range=marketing_pb2.DateRange(start_date=day, end_date=day),
        )
    )
    found: calendar_pb2.CalendarDay = response.calendar_days[0]
    return found


async def test_entries_carry_the_days_of_the_calendar(
    memory_client: ClientFactory, org: str
) -> None:
    """GetEntry, ListEntries and ListCalendarDays agree, across months and years."""
    days = [(date(2023, 12, 29) + timedelta(days=17 * step)).isoformat() for step in range(40)]
    entries = await stored(memory_client, org, *days)
    assert [entry.calendar_day.date for entry in entries] == days
    for entry in entries[::7]:
        assert entry.calendar_day == await calendar_of(memory_client, org, entry.date)
        assert await read(memory_client, entry.name, org) == entry


async def test_a_change_of_the_org_is_seen_in_the_next_read(
    memory_client: ClientFactory, org: str
) -> None:
    """Settings, a new event and its end show at once on the server that took them."""
    client = memory_client(org)
    [entry] = await stored(memory_client, org, "2026-07-14")

    async def day() -> calendar_pb2.CalendarDay:
        return (await read(memory_client, entry.name, org)).calendar_day

    assert not (await day()).holidays
    settings = source_pb2.OrgSettings(name=f"orgs/{org}/settings", region_codes=["FR"])
    await client.UpdateOrgSettings(
        pb.UpdateOrgSettingsRequest(
            org_settings=settings, update_mask=FieldMask(paths=["region_codes"])
        )
    )
    assert [it.name for it in (await day()).holidays] == ["National Day"]
    event = calendar_pb2.CalendarEvent(
        name=f"orgs/{org}/calendarEvents/sale",
        display_name="Sale",
        date_range=marketing_pb2.DateRange(start_date="2026-07-13", end_date="2026-07-15"),
    )
    await client.UpsertCalendarEvent(pb.UpsertCalendarEventRequest(calendar_event=event))
    assert list((await day()).events) == ["Sale"]
    await client.DeleteCalendarEvent(pb.DeleteCalendarEventRequest(name=event.name))
    assert not (await day()).events


async def test_a_change_by_another_server_is_seen_in_time(
    memory_client: ClientFactory, org: str, database: TestDatabase
) -> None:
    """What another process stored shows no later than documented."""
    [entry] = await stored(memory_client, org, "2026-07-14")
    pool = await postgres.create_pool(
        database.url, application_name="other", minimum=1, maximum=1, schema="memory"
    )
    try:
        async with postgres.transaction(pool, org=org) as connection:
            await connection.execute("select begin_write($1, '', null)", org)
            await connection.execute(
                "insert into calendar_events"
                " values ($1, 'sale', 'Sale', $2, $2, false, now(), now())",
                org,
                date(2026, 7, 14),
            )
    finally:
        await pool.close()
    began = time.monotonic()
    while not (await read(memory_client, entry.name, org)).calendar_day.events:
        assert time.monotonic() - began < MAXIMUM_AGE_SECONDS + 1


async def test_orgs_do_not_share_their_days(memory_client: ClientFactory, org: str) -> None:
    """Two orgs with other settings see the same date differently, again and again."""
    other = f"{org}-other"
    [first] = await stored(memory_client, org, "2026-01-15")
    [second] = await stored(memory_client, other, "2026-01-15")
    settings = source_pb2.OrgSettings(
        name=f"orgs/{other}/settings", hemisphere=source_pb2.HEMISPHERE_SOUTHERN
    )
    await memory_client(other).UpdateOrgSettings(pb.UpdateOrgSettingsRequest(org_settings=settings))
    for _ in range(2):
        ours = await read(memory_client, first.name, org)
        theirs = await read(memory_client, second.name, other)
        assert ours.calendar_day.season == calendar_pb2.SEASON_WINTER
        assert theirs.calendar_day.season == calendar_pb2.SEASON_SUMMER


@pytest.mark.parametrize(
    ("paths", "seen"),
    [
        (("calendar_day",), {"calendar_day"}),
        (("date", "calendar_day.iso_week"), {"date", "calendar_day"}),
        (("date", "metrics.clicks"), {"date", "metrics"}),
    ],
)
async def test_a_mask_decides_over_the_calendar(
    memory_client: ClientFactory, org: str, paths: tuple[str, ...], seen: set[str]
) -> None:
    """A mask gives the calendar day, a part of it, or does without."""
    [entry] = await stored(memory_client, org, "2026-01-05")
    for masked in (
        await read(memory_client, entry.name, org, *paths),
        *await listed(memory_client, org, *paths),
    ):
        fields: dict[str, Any] = {field.name: value for field, value in masked.ListFields()}
        assert fields.keys() == seen
        if "calendar_day.iso_week" in paths:
            assert masked.calendar_day == calendar_pb2.CalendarDay(iso_week=2)


async def test_reads_without_the_calendar_do_not_ask_for_it(
    memory_client: ClientFactory, org: str, database: TestDatabase
) -> None:
    """A mask without calendar_day works where the org's settings cannot be read at all."""
    await write(memory_client, org, "2026-01-05")
    owner = await asyncpg.connect(database.owner_url)
    try:
        await owner.execute("revoke select on memory.org_settings from liftos_app")
        [entry] = await listed(memory_client, org, "name")
        assert (await read(memory_client, entry.name, org, "date")).date == "2026-01-05"
        with pytest.raises(grpc.aio.AioRpcError):
            await read(memory_client, entry.name, org)
    finally:
        await owner.execute("grant select on memory.org_settings to liftos_app")
        await owner.close()
    assert (await read(memory_client, entry.name, org)).calendar_day.date == "2026-01-05"
