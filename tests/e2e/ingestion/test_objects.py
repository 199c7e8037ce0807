"""Objects of accounts: listed by runs once a day, with the truth's names and states, and shown."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import pytest
from redis.asyncio import Redis
from tests.e2e.ingestion.readings import (
    Harness,
    ScriptedSource,
    add_connection,
    failing,
    pages,
    row,
)
from tests.e2e.ingestion.simulated_sources import ACCOUNTS, connection_of, source_of
from tests.e2e.ingestion.world_time_worker import WorldTimeWorker
from tests.inprocess.kit.statuses import refusal_of

from liftos.common.v1.marketing_pb2 import DateRange
from liftos.ingestion.v1 import connection_pb2, object_pb2, run_pb2
from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos.memory.v1.entry_pb2 import DateBasis, EntryLevel
from liftos_client import Client
from liftos_ingestion.domain.failures import ErrorClass, Failure, ReadingError
from liftos_ingestion.run_ports import OBJECTS, HoldLostError, RunState, SliceState, Usage
from liftos_ingestion.source_ports import PlatformObject
from liftos_local.stack import Stack
from liftos_platforms.testing import running_platforms
from liftos_platforms.truth import (
    Entity,
    EntityState,
    Level,
    Platform,
    at,
    entities_of,
    local_day,
    with_entity,
)

ClientFactory = Callable[..., Any]

FIRST = date(2026, 8, 3)
OTHER_STATES = {
    Platform.META: {EntityState.ARCHIVED: "ARCHIVED", EntityState.DELETED: "DELETED"},
    Platform.GOOGLE_ADS: {EntityState.ARCHIVED: "REMOVED", EntityState.DELETED: "REMOVED"},
    Platform.KLAVIYO: {EntityState.ARCHIVED: "archived"},
}
"""What platforms say of objects that deliver no more, as far as they list them."""


@pytest.fixture
def harness(harness: Harness, scripted: ScriptedSource) -> Harness:
    """A worker over the source of the server, which lists two objects."""
    scripted.capabilities = replace(scripted.capabilities, object_levels=("CAMPAIGN", "AD"))
    scripted.answers, scripted.list_count = [pages([])], 0
    scripted.listed = [
        PlatformObject("CAMPAIGN", "1", "Spring", "ACTIVE"),
        PlatformObject("AD", "9", "Hat", "PAUSED", "1"),
    ]
    harness.source = scripted
    return harness


async def listed(
    ingestion_client: ClientFactory, org: str, **which: Any
) -> Sequence[object_pb2.PlatformObject]:
    """Return objects of an org, read page by page."""
    client = ingestion_client(org, "reader")
    found: list[object_pb2.PlatformObject] = []
    request = pb.ListObjectsRequest(parent=f"orgs/{org}", **which)
    while True:
        page = await client.ListObjects(request)
        found += page.objects
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return found


# --- what the platforms list ---------------------------------------------------------------------


@pytest.mark.parametrize("platform", list(Platform))
async def test_what_platforms_list_is_shown(  # noqa: PLR0917
    platform: Platform,
    pool: asyncpg.Pool,
    memory: Client,
    org: str,
    stores: Stack,
    ingestion_client: ClientFactory,
) -> None:
    """Archived and deleted objects too; later names and states take the place of earlier ones."""
    async with AsyncExitStack() as stack:
        platforms = await stack.enter_async_context(running_platforms(platform))
        simulation = platforms.simulation
        redis = Redis.from_url(stores.environment["LIFTOS_REDIS_URL"])
        stack.push_async_callback(redis.aclose)
        worker = WorldTimeWorker(
            org=org,
            simulation=simulation,
            source=source_of(platform, platforms.faces[platform], simulation),
            connection=connection_of(platforms, platform),
            pool=pool,
            memory=memory,
            redis=redis,
        )
        account = simulation.account(platform, ACCOUNTS[platform])

        async def read(days: int) -> None:
            simulation.clock.advance(timedelta(days=days))
            day = FIRST + timedelta(days=days)
            await worker.start(day, day, levels=["CAMPAIGN", OBJECTS])
            await worker.read_all(minutes_between=2)

        def true() -> Sequence[Entity]:
            return entities_of(simulation.world, account, now=simulation.clock.now())

        await read(0)
        today = local_day(account, simulation.clock.now())
        first = {it.object_id: it for it in await listed(ingestion_client, org, page_size=7)}
        assert names(first.values()) == true_names(true(), today)
        said = OTHER_STATES[platform]
        gone = [it for it in true() if at(it.state, today) in said]
        # Klaviyo says of a message how far it was sent, and of its campaign that it is archived.
        states = {
            (first[it.entity_id].state, said[at(it.state, today)])
            for it in gone
            if it.level is not Level.MESSAGE
        }
        assert states, "the world has objects that deliver no more"
        assert all(shown == word for shown, word in states)
        # A day later one has another name, and one is archived.
        renamed, archived = [
            it
            for it in true()
            if it.level is Level.CAMPAIGN and at(it.state, today) is EntityState.ACTIVE
        ][:2]
        tomorrow = today + timedelta(days=1)
        for changed in (
            replace(renamed, name=(*renamed.name, (tomorrow, "A name of its own"))),
            replace(archived, state=(*archived.state, (tomorrow, EntityState.ARCHIVED))),
        ):
            simulation.world = with_entity(simulation.world, changed)
        await read(1)
        assert simulation.faults.unstruck() == ()
        later = {it.object_id: it for it in await listed(ingestion_client, org)}
        assert later[renamed.entity_id].display_name == "A name of its own"
        assert later[archived.entity_id].state == said[EntityState.ARCHIVED]
        assert later.keys() >= first.keys()
        assert {it["state"] for it in await worker.rows("runs")} == {RunState.SUCCEEDED}


def names(found: Collection[object_pb2.PlatformObject]) -> set[tuple[str, ...]]:
    """Return which objects there are, with names and parents."""
    return {
        (
            EntryLevel.Name(it.level).removeprefix("ENTRY_LEVEL_"),
            it.object_id,
            it.display_name,
            it.parent_id,
        )
        for it in found
    }


def true_names(entities: Sequence[Entity], today: date) -> set[tuple[str, ...]]:
    """Return which objects the platform knows, with names and parents."""
    return {
        (it.level.value, it.entity_id, at(it.name, today), at(it.parent, today) or "")
        for it in entities
    }


# --- what runs do with them ----------------------------------------------------------------------


async def test_objects_are_listed_once_a_day(
    harness: Harness, pool: asyncpg.Pool, org: str, ingestion_client: ClientFactory
) -> None:
    """Later runs of the day leave them out, unless they are forced."""
    client = ingestion_client(org)
    connection = await add_connection(pool, org)

    async def run(**fields: Any) -> run_pb2.Run:
        request = pb.StartRunRequest(parent=connection, request_id=str(uuid4()), **fields)
        started = (await client.StartRun(request)).run
        while await harness.read_due():
            pass
        ended: run_pb2.Run = (await client.GetRun(pb.GetRunRequest(name=started.name))).run
        assert ended.state == run_pb2.RUN_STATE_SUCCEEDED
        return ended

    first = await run()
    assert harness.source.list_count == 1
    slices = (await client.ListSlices(pb.ListSlicesRequest(parent=first.name))).slices
    assert len(slices) == first.progress.total_count == 5
    (objects,) = [it for it in slices if it.kind == run_pb2.RUN_SLICE_KIND_OBJECTS]
    assert (objects.state, objects.row_count) == (run_pb2.RUN_SLICE_STATE_COMMITTED, 2)
    assert (objects.level, objects.date_basis, objects.memory_slice) == (0, 0, "")
    chosen = pb.ListSlicesRequest(parent=first.name, filter="kind = OBJECTS")
    assert (await client.ListSlices(chosen)).slices == [objects]
    assert (first.row_count, first.upserted_count) == (0, 0), "objects are not rows"
    await run()
    assert harness.source.list_count == 1
    forced = await run(force=True)
    assert harness.source.list_count == 2
    chosen = pb.ListSlicesRequest(parent=forced.name, filter="kind = OBJECTS")
    (again,) = (await client.ListSlices(chosen)).slices
    assert again.state == run_pb2.RUN_SLICE_STATE_UNCHANGED


async def test_days_of_the_past_do_not_become_days_of_today(
    harness: Harness, pool: asyncpg.Pool, org: str, ingestion_client: ClientFactory
) -> None:
    """A run of old days says so although it asks for the objects of now; plans count numbers."""
    client = ingestion_client(org)
    connection = await add_connection(pool, org)
    days = DateRange(start_date="2026-03-02", end_date="2026-03-03")
    request = pb.StartRunRequest(
        parent=connection,
        date_range=days,
        levels=[EntryLevel.ENTRY_LEVEL_CAMPAIGN],
        request_id=str(uuid4()),
    )
    started = (await client.StartRun(request)).run
    assert started.date_range == days
    planned = pb.PlanBackfillRequest(parent=connection, date_range=days)
    plan = (await client.PlanBackfill(planned)).plan
    assert {it.level for it in plan.windows} == {1, 2}, "accounts and campaigns"
    assert {it.date_basis for it in plan.windows} == {DateBasis.DATE_BASIS_INTERACTION}
    while await harness.read_due():
        pass
    account = (await client.GetConnection(pb.GetConnectionRequest(name=connection))).connection
    assert account.accounts[0].newest_date == "2026-03-03"


@pytest.mark.parametrize("error_class", [ErrorClass.PERMISSION, ErrorClass.PERMANENT])
async def test_objects_that_cannot_be_listed_do_not_fail_the_numbers(
    harness: Harness,
    pool: asyncpg.Pool,
    org: str,
    ingestion_client: ClientFactory,
    error_class: ErrorClass,
) -> None:
    """The failure is told on the run and its account, and the numbers are all there."""
    connection = await add_connection(pool, org)
    harness.source.listed = ReadingError(Failure(error_class, "ads_management is missing"))
    harness.source.answers = [pages([row("1", "5")])]
    run = await harness.start(levels=["ACCOUNT", "CAMPAIGN"], objects=True)
    await harness.read_due()
    client = ingestion_client(org)
    told = (await client.GetRun(pb.GetRunRequest(name=f"orgs/{org}/runs/{run.hex}"))).run
    assert told.state == run_pb2.RUN_STATE_PARTIALLY_SUCCEEDED
    assert (told.progress.failed_count, told.progress.total_count) == (1, 3)
    (account,) = told.accounts
    assert account.outcome == connection_pb2.ACCOUNT_OUTCOME_PARTIAL
    assert account.error.message == told.error.message == "ads_management is missing"
    kept = (await client.GetConnection(pb.GetConnectionRequest(name=connection))).connection
    assert kept.accounts[0].outcome == connection_pb2.ACCOUNT_OUTCOME_PARTIAL
    assert not await listed(ingestion_client, org)


async def test_numbers_that_cannot_be_read_are_a_failed_run(harness: Harness) -> None:
    """Objects alone are nothing that was committed, and no permission for numbers fails both."""
    harness.source.answers = [failing(ReadingError(Failure(ErrorClass.PERMANENT, "no")))]
    await harness.start(objects=True)
    while await harness.read_due():
        pass
    (run,) = await harness.rows("runs")
    assert run["state"] == RunState.FAILED
    assert len(await harness.rows("objects")) == 2


async def test_the_last_state_wins_and_what_is_gone_stays(
    harness: Harness, org: str, ingestion_client: ClientFactory
) -> None:
    """An object keeps when it was seen first; only changes are changes."""
    await harness.start(objects=True)
    await harness.read_due()
    campaign, ad = await listed(ingestion_client, org)
    assert (campaign.display_name, campaign.state, ad.parent_id) == ("Spring", "ACTIVE", "1")
    harness.source.listed = [
        PlatformObject("CAMPAIGN", "1", "Spring", "ACTIVE"),
        PlatformObject("CAMPAIGN", "1", "Spring \x00 \ud800!", "DELETED"),
    ]
    await harness.start(objects=True)
    await harness.read_due()
    changed, stayed = await listed(ingestion_client, org)
    assert (changed.display_name, changed.state) == ("Spring \ufffd \ufffd!", "DELETED")
    assert changed.create_time == campaign.create_time
    assert changed.update_time.ToNanoseconds() > campaign.update_time.ToNanoseconds()
    assert stayed == ad


async def test_many_objects_are_kept_in_parts(harness: Harness) -> None:
    """What was listed before a list broke off is kept; the next try completes it, counting all."""
    ads = [PlatformObject("AD", str(number), f"Ad {number}", "ACTIVE") for number in range(2_500)]
    broken = ReadingError(Failure(ErrorClass.TRANSIENT, "it broke off"))
    harness.source.listed = [*ads[:2_100], broken]
    await harness.start(objects=True)
    await harness.read_due()
    assert len(await harness.rows("objects")) == 2_000
    harness.source.listed = ads
    await harness.read_due()
    assert len(await harness.rows("objects")) == 2_500
    (slice_,) = [it for it in await harness.rows("run_slices") if it["level"] == 0]
    assert slice_["state"] == SliceState.COMMITTED
    assert (slice_["row_count"], slice_["upserted_count"]) == (2_500, 2_500)
    await harness.start(objects=True)
    await harness.read_due()
    states = [it["state"] for it in await harness.rows("run_slices") if it["level"] == 0]
    assert sorted(states) == [SliceState.COMMITTED, SliceState.UNCHANGED]


async def test_a_worker_that_lost_its_lane_stores_no_objects(harness: Harness) -> None:
    """As with numbers: the epoch decides."""
    await harness.start(objects=True)
    (slice_,) = [it for it in await harness.rows("run_slices") if it["level"] == 0]
    held = await harness.ledger.claim(
        harness.org, slice_["slice"], worker="frozen", lease_seconds=0.0
    )
    assert held is not None
    assert held.lane.level == OBJECTS
    await harness.read_due()
    with pytest.raises(HoldLostError):
        await harness.ledger.keep_objects(held, [PlatformObject("AD", "5", "", "")])
    with pytest.raises(HoldLostError):
        await harness.ledger.finish_objects(held, 1, Usage(0, 0))
    assert {it["object_id"] for it in await harness.rows("objects")} == {"1", "9"}
    states = {it["level"]: it["state"] for it in await harness.rows("run_slices")}
    assert states[0] == SliceState.COMMITTED


# --- lists ---------------------------------------------------------------------------------------


async def test_lists_are_narrowed(
    harness: Harness, org: str, ingestion_client: ClientFactory
) -> None:
    """By platform, account, level, state and the others; another org sees none."""
    await harness.start(objects=True)
    await harness.read_due()

    async def ids(where: str) -> list[str]:
        return [it.object_id for it in await listed(ingestion_client, org, filter=where)]

    assert await ids("") == ["1", "9"]
    assert await ids('level = AD AND state = "PAUSED"') == ["9"]
    assert await ids('platform = "meta" AND account_id = "7" AND parent_id = "1"') == ["9"]
    assert await ids('display_name = "Spring" OR object_id = "9"') == ["1", "9"]
    assert await ids('account_id = "8"') == []
    assert await listed(ingestion_client, f"{org}-not") == []
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ids("spend_micros > 0")
    assert refusal_of(refused.value).reason == "ERROR_REASON_FILTER_INVALID"
