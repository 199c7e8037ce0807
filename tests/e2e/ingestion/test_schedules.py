"""Schedules on the wire and by the clock: each moment once, whatever happens meanwhile."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from tests.e2e.ingestion.readings import OneSource, ScriptedSource, SilentQueue, add_connection
from tests.inprocess.kit.statuses import refusal_of

from liftos.common.v1.marketing_pb2 import DateRange
from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos.ingestion.v1 import schedule_pb2
from liftos.memory.v1.entry_pb2 import ENTRY_LEVEL_CAMPAIGN
from liftos_ingestion.adapters.postgres.connections import PostgresConnections
from liftos_ingestion.adapters.postgres.runs import PostgresRunLedger
from liftos_ingestion.adapters.postgres.schedules import PostgresScheduleClock
from liftos_ingestion.run_ports import RunState
from liftos_ingestion.usecases.planning import Planning
from liftos_ingestion.usecases.scheduling import Scheduling
from liftos_kit import postgres

ClientFactory = Callable[..., Any]
START = datetime(2026, 3, 2, 5, 59, tzinfo=UTC)


class SetClock:
    """A clock that stands where it is set."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        """Return where it stands."""
        return self.time

    def monotonic_seconds(self) -> float:
        """Return the same in seconds."""
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        """Let others run."""
        await asyncio.sleep(0)

    def today(self) -> Any:
        """Return its date."""
        return self.time.date()


class World:
    """A schedule and the worker that looks after it."""

    def __init__(self, pool: asyncpg.Pool, org: str) -> None:
        self.pool, self.org = pool, org
        self.clock = SetClock()
        ledger = PostgresRunLedger(pool, SilentQueue())
        planning = Planning(PostgresConnections(pool), OneSource(ScriptedSource()), self.clock)
        self.scheduling = Scheduling(PostgresScheduleClock(pool, ledger), planning, self.clock)

    async def look(self, time: str) -> None:
        """Let two workers look at the same time."""
        hour, minute = map(int, time.split(":"))
        self.clock.time = START.replace(hour=hour, minute=minute)
        await asyncio.gather(*(self.scheduling.look(self.org, "daily") for _ in range(2)))

    async def execute(self, statement: str) -> None:
        """Change something behind everybody's back."""
        async with postgres.transaction(self.pool, org=self.org) as connection:
            await connection.execute(statement)

    async def runs(self) -> list[tuple[str, RunState]]:
        """Return the moment and the state of each run, oldest first."""
        async with postgres.transaction(self.pool, org=self.org) as connection:
            rows = await connection.fetch("select fire_time, state from runs order by fire_time")
        return [(f"{row['fire_time']:%H:%M}", RunState(row["state"])) for row in rows]


@pytest.fixture
async def world(pool: asyncpg.Pool, org: str, connection: str) -> World:
    """A world whose clock stands still."""
    return World(pool, org)


@pytest.fixture
async def connection(pool: asyncpg.Pool, org: str) -> str:
    """A connection with one account."""
    return await add_connection(pool, org)


def _schedule(connection: str, **fields: Any) -> schedule_pb2.Schedule:
    org = connection.split("/")[1]
    return schedule_pb2.Schedule(
        name=f"orgs/{org}/schedules/daily",
        display_name="Every hour",
        connection=connection,
        cron="0 * * * *",
        time_zone="UTC",
        **fields,
    )


async def _create(
    client: Any, schedule: schedule_pb2.Schedule, **fields: Any
) -> schedule_pb2.Schedule:
    request = pb.CreateScheduleRequest(schedule=schedule, request_id=str(uuid4()), **fields)
    stored: schedule_pb2.Schedule = (await client.CreateSchedule(request)).schedule
    return stored


@pytest.fixture
async def fired(world: World, ingestion_client: ClientFactory, connection: str) -> World:
    """An hourly schedule whose run of six o'clock has started."""
    await _create(ingestion_client(world.org), _schedule(connection))
    await world.execute("update schedules set due_after = '2026-03-02 05:30+00'")
    await world.look("05:59")
    assert await world.runs() == []
    await world.look("06:00")
    assert await world.runs() == [("06:00", RunState.PENDING)]
    return world


async def test_a_moment_fires_once(fired: World) -> None:
    """Two workers that look often start one run; the next moment skips while it runs."""
    await fired.look("06:00")
    await fired.look("06:59")
    await fired.look("07:00")
    assert await fired.runs() == [("06:00", RunState.PENDING)]
    await fired.execute("update runs set state = 3, end_time = now()")
    await fired.look("07:30")
    assert len(await fired.runs()) == 1, "a moment that was skipped is over"
    await fired.look("08:00")
    assert [time for time, _ in await fired.runs()] == ["06:00", "08:00"]


async def test_one_run_waits(fired: World) -> None:
    """With BUFFER_ONE the newest moment waits for the run before; at most one does."""
    await fired.execute("update schedules set overlap_policy = 2")
    await fired.look("07:00")
    await fired.look("08:00")
    assert len(await fired.runs()) == 1
    await fired.execute("update runs set state = 3, end_time = now()")
    await fired.look("08:10")
    assert [time for time, _ in await fired.runs()] == ["06:00", "08:00"]


async def test_the_next_run_takes_over(fired: World) -> None:
    """With CANCEL_OTHER the run before is cancelled."""
    await fired.execute("update schedules set overlap_policy = 3")
    await fired.look("07:00")
    assert await fired.runs() == [("06:00", RunState.CANCELLED), ("07:00", RunState.PENDING)]


async def test_after_an_outage(fired: World) -> None:
    """Of the moments that were missed the newest one starts, if it is not too late."""
    await fired.execute("update runs set state = 3, end_time = now()")
    await fired.look("11:20")
    assert [time for time, _ in await fired.runs()] == ["06:00", "11:00"]
    await fired.execute("update runs set state = 3, end_time = now()")
    await fired.execute("update schedules set catchup_seconds = 300")
    await fired.look("14:20")
    assert len(await fired.runs()) == 2


async def test_a_paused_schedule_makes_up_for_nothing(
    fired: World, ingestion_client: ClientFactory, connection: str
) -> None:
    """While it is paused nothing starts; afterwards only what is due from then on."""
    client = ingestion_client(fired.org)
    await fired.execute("update runs set state = 3, end_time = now()")
    name = _schedule(connection).name
    stored = (await client.GetSchedule(pb.GetScheduleRequest(name=name))).schedule
    assert len(stored.next_run_times) == 5
    stored.paused = True
    paused = (
        await client.UpdateSchedule(
            pb.UpdateScheduleRequest(schedule=stored, update_mask=FieldMask(paths=["paused"]))
        )
    ).schedule
    assert not paused.next_run_times
    await fired.look("07:00")
    assert len(await fired.runs()) == 1
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.UpdateSchedule(pb.UpdateScheduleRequest(schedule=stored))
    assert refusal_of(caught.value).reason == "ERROR_REASON_ETAG_MISMATCH"
    paused.paused = False
    await client.UpdateSchedule(pb.UpdateScheduleRequest(schedule=paused))
    await fired.look("07:10")
    assert len(await fired.runs()) == 1, "its clock was set to now, which is long after"


async def test_schedules_are_kept(
    ingestion_client: ClientFactory, org: str, connection: str
) -> None:
    """What was given is read back; validate_only and a repeated request store nothing more."""
    client = ingestion_client(org)
    given = _schedule(
        connection,
        account_ids=["7"],
        levels=["ENTRY_LEVEL_CAMPAIGN"],
        lookback_days=3,
        overlap_policy=schedule_pb2.OVERLAP_POLICY_BUFFER_ONE,
        catchup_window=Duration(seconds=600),
    )
    shown = await _create(client, given, validate_only=True)
    assert len(shown.next_run_times) == 5
    listing = pb.ListSchedulesRequest(parent=f"orgs/{org}", filter="paused = false")
    assert not (await client.ListSchedules(listing)).schedules
    request = pb.CreateScheduleRequest(schedule=given, request_id=str(uuid4()))
    stored = (await client.CreateSchedule(request)).schedule
    assert (await client.CreateSchedule(request)).schedule == stored
    kept = schedule_pb2.Schedule()
    kept.CopyFrom(stored)
    for name in ("next_run_times", "create_time", "update_time", "etag"):
        kept.ClearField(name)
    assert kept == given
    assert (await client.ListSchedules(listing)).schedules == [stored]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _create(client, given)
    assert refusal_of(caught.value).reason == "ERROR_REASON_RESOURCE_ALREADY_EXISTS"
    delete = pb.DeleteScheduleRequest(name=given.name, etag="99", request_id=str(uuid4()))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.DeleteSchedule(delete)
    assert refusal_of(caught.value).reason == "ERROR_REASON_ETAG_MISMATCH"
    delete = pb.DeleteScheduleRequest(name=given.name, etag=stored.etag, request_id=str(uuid4()))
    await client.DeleteSchedule(delete)
    await client.DeleteSchedule(delete)
    assert not (await client.ListSchedules(listing)).schedules


@pytest.mark.parametrize(
    ("fields", "violated"),
    [
        ({"cron": "0 0 30 2 *"}, {"schedule.cron"}),
        (
            {"cron": "@daily and nightly", "time_zone": "Mars/Base"},
            {"schedule.cron", "schedule.time_zone"},
        ),
        ({"lookback_days": 401}, {"schedule.lookback_days"}),
        ({"catchup_window": Duration(seconds=604_801)}, {"schedule.catchup_window"}),
    ],
)
async def test_bad_schedules(
    ingestion_client: ClientFactory,
    org: str,
    connection: str,
    fields: dict[str, Any],
    violated: set[str],
) -> None:
    """Every field that is wrong is named, and nothing is stored."""
    client = ingestion_client(org)
    schedule = _schedule(connection)
    schedule.MergeFrom(schedule_pb2.Schedule(**fields))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _create(client, schedule)
    refusal = refusal_of(caught.value)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert {field for field, *_ in refusal.violations} == violated
    assert not (await client.ListSchedules(pb.ListSchedulesRequest(parent=f"orgs/{org}"))).schedules


async def test_a_backfill_is_planned(
    ingestion_client: ClientFactory, org: str, connection: str
) -> None:
    """Windows come newest first, days beyond the retention are told, and nothing is started."""
    client = ingestion_client(org)
    plan = (
        await client.PlanBackfill(
            pb.PlanBackfillRequest(
                parent=connection,
                date_range=DateRange(start_date="2026-01-01", end_date="2026-03-01"),
                levels=[ENTRY_LEVEL_CAMPAIGN],
            )
        )
    ).plan
    ends = [window.date_range.end_date for window in plan.windows]
    assert ends == ["2026-03-01", "2026-02-01", "2026-01-04"]
    assert plan.call_count == sum(window.call_count for window in plan.windows) == 3
    assert plan.duration.ToTimedelta() == timedelta(seconds=3)
    assert not (await client.ListRuns(pb.ListRunsRequest(parent=f"orgs/{org}"))).runs
