"""Weeks full of faults: after each, Memory has the platform's truth, and nobody has a secret."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis
from tests.e2e.ingestion.fault_plans import (
    DEAD_LETTERS,
    ENDING,
    LEAST_FAULTS,
    SPOILING,
    TOO_LARGE,
    UNMET,
    WeekPlan,
    kinds_of,
    week_plans,
)
from tests.e2e.ingestion.platform_truth import differences_of
from tests.e2e.ingestion.simulated_sources import ACCOUNTS, connection_of, face_of, source_of
from tests.e2e.ingestion.truth_comparison import days_from
from tests.e2e.ingestion.world_time_worker import WorldTimeWorker

from liftos.ingestion.v1.connection_pb2 import AccountOutcome as PbOutcome
from liftos.ingestion.v1.run_pb2 import RunState as PbRunState
from liftos_client import Client, connect
from liftos_ingestion.domain.failures import ErrorClass
from liftos_ingestion.run_ports import OBJECTS, RunState, SliceState
from liftos_ingestion.server import application as ingestion_application
from liftos_ingestion.settings import IngestionSettings
from liftos_kit import postgres
from liftos_kit.auth import issue_token
from liftos_kit.secrets.keyring import generate_key
from liftos_kit.server import Server
from liftos_kit.settings import load
from liftos_kit.testing.server import SECRET, RunningServer
from liftos_local.stack import Stack
from liftos_platforms.clock import VirtualClock
from liftos_platforms.faults import Fault, FaultKind, FaultPlan
from liftos_platforms.simulation import START, Simulation
from liftos_platforms.testing import HOST, Platforms, running_platforms
from liftos_platforms.truth import Account, Level, Platform, with_account, with_entity, with_grant
from liftos_platforms.worlds import WorldPlan, build_world, entities_of_plan

PLANS = week_plans()
WEEK = days_from(date(2026, 8, 3), 7)
FRESH = datetime(2026, 8, 9, 18, tzinfo=UTC)
"""The week is read for the first time before it is over: most of it changes until `START`."""

SMALL = WorldPlan(campaigns=3, ad_groups=2, ads=3, flows=2)
"""Just enough for a second page of Meta's ads where pages are small."""

CROWDED = replace(SMALL, sends=130)
"""Just enough for a second page of Klaviyo's campaigns."""


@dataclass(frozen=True)
class Opened:
    """Connections to the stores."""

    pool: asyncpg.Pool
    redis: Redis


@pytest.fixture
async def opened(pool: asyncpg.Pool, stores: Stack) -> AsyncIterator[Opened]:
    """The module's database and the session's Redis."""
    async with Redis.from_url(stores.environment["LIFTOS_REDIS_URL"]) as redis:
        yield Opened(pool, redis)


@asynccontextmanager
async def working(
    platform: Platform, world: WorldPlan, memory: Client, org: str, opened: Opened
) -> AsyncIterator[WorldTimeWorker]:
    """A worker that reads one account of a simulated platform, in whose time all waits pass."""
    simulation = Simulation.of(world, now=FRESH)
    face = face_of(platform, simulation)
    async with AsyncExitStack() as ending:
        await face.start(HOST, 0)
        ending.push_async_callback(face.stop)
        yield WorldTimeWorker(
            org=org,
            simulation=simulation,
            source=source_of(platform, face, simulation),
            connection=connection_of(Platforms(simulation, {platform: face}), platform),
            pool=opened.pool,
            memory=memory,
            redis=opened.redis,
        )


def of_an_ad(fault: Fault, simulation: Simulation, day: date) -> Fault:
    """The fault, on an ad of the day where it is about one."""
    if fault.kind is not FaultKind.FIELD_UNREADABLE:
        return fault
    ad, *_ = simulation.rows(Platform.META, ACCOUNTS[Platform.META], level=Level.AD, day=day)
    return replace(fault, entity_id=ad.ad_id)


class Week:
    """One plan, day by day.

    Args:
        plan: The faults.
        worker: Reads; its Memory is compared.
        memory: The same Memory.
    """

    def __init__(self, plan: WeekPlan, worker: WorldTimeWorker, memory: Client) -> None:
        self.plan = plan
        self._worker = worker
        self._memory = memory
        levels = worker.source.capabilities.levels
        # Faults of lists of objects need some to be read.
        lists = any(it.kind is FaultKind.MANAGEMENT_LIMITED for it in plan.faults)
        self._levels = (*levels, OBJECTS) if lists else levels
        self.given_up: list[FaultKind] = []
        self.spoilt: list[FaultKind] = []

    async def read(self) -> None:
        """Read the week while it is young, and day by day once it has settled, under faults.

        A day that brings no fault is read with the next one.
        """
        simulation = self._worker.simulation
        await self._worker.read_days(WEEK[0], WEEK[-1])
        since = WEEK[0]
        for place, day in enumerate(WEEK):
            simulation.clock.set(max(simulation.clock.now(), START) + timedelta(days=1))
            if not self.plan.days[place] and day != WEEK[-1]:
                continue
            simulation.faults.add(
                *(of_an_ad(fault, simulation, day) for fault in self.plan.days[place])
            )
            is_whole = await self._read_days(since, day)
            since = day + timedelta(days=1) if is_whole else since
            # What has not struck stays, and what was to strike all day long ends with the day.
            simulation.faults = FaultPlan(list(simulation.faults.unstruck()))
        assert since > WEEK[-1], "the last day is whole"

    async def differences(self, days: Sequence[date] = WEEK) -> list[str]:
        """Say where Memory differs from the truth."""
        return await differences_of(
            self._memory,
            self._worker.simulation,
            self.plan.platform,
            account_ids=[ACCOUNTS[self.plan.platform]],
            days=days,
        )

    async def _read_days(self, first: date, last: date) -> bool:
        """Read days; return whether they are whole, and if not that it is said why."""
        journal = self._worker.simulation.journal
        before = len(journal.calls(with_polls=True))
        run = await self._worker.start(first, last, levels=self._levels)
        await self._worker.read_all(rounds=40, minutes_between=180)
        struck = {it.fault for it in journal.calls(with_polls=True)[before:] if it.fault}
        slices = [it for it in await self._worker.rows("run_slices") if it["run"] == run]
        (state,) = [it["state"] for it in await self._worker.rows("runs") if it["run"] == run]
        failed = [it for it in slices if it["state"] == SliceState.FAILED]
        letters = [it for it in await self._worker.rows("dead_letters") if it["run"] == run]
        letter = "".join(f"{it['row']}{it['errors']}".lower() for it in letters)
        for kind, text in DEAD_LETTERS.items():
            assert (text in letter) == (kind in struck)
        assert bool(letters) == bool(struck & DEAD_LETTERS.keys())
        ended = struck & ENDING.keys()
        told = {it["error"]["error_class"] for it in failed}
        assert {ENDING[kind] for kind in ended} <= told
        may_be_told = {
            ENDING.get(kind, ErrorClass.TOO_LARGE) for kind in ended | struck & TOO_LARGE
        }
        if FaultKind.STATISTIC_NAN in struck:
            # Where the spoilt row is all that a day has, what was stored of it stays.
            may_be_told.add(ErrorClass.INVALID_DATA)
        assert told <= may_be_told
        if failed:
            self.given_up += ended
            self.spoilt += struck & SPOILING
            assert state in {RunState.FAILED, RunState.PARTIALLY_SUCCEEDED}
            return False
        assert state == (RunState.PARTIALLY_SUCCEEDED if letters else RunState.SUCCEEDED)
        spoilt = struck & SPOILING
        if spoilt:
            self.spoilt += spoilt
            found = await self.differences(days_from(first, (last - first).days + 1))
            assert found, "a figure is not as it should be"
            assert all("missing" in line or "None instead of" in line for line in found), found
        return not spoilt


@pytest.mark.parametrize("plan", PLANS, ids=str)
async def test_a_week_of_faults(plan: WeekPlan, memory: Client, org: str, opened: Opened) -> None:
    """After seven days of faults every figure of every level and day is the platform's."""
    world = CROWDED if plan.needs_long_lists else SMALL
    async with working(plan.platform, world, memory, org, opened) as worker:
        week = Week(plan, worker, memory)
        await week.read()
        assert await week.differences() == []
        left = {fault.kind for fault in worker.simulation.faults.faults}
        kinds = {fault.kind for fault in plan.faults}
        assert left == {kind for kind in kinds if (plan.platform, kind) in UNMET}
        assert {*week.given_up} == kinds & ENDING.keys()
        assert {*week.spoilt} == kinds & SPOILING


def test_every_kind_is_in_a_plan() -> None:
    """Twenty plans of at least five faults that strike, and no kind of any platform is missing."""
    assert len(PLANS) == 20
    for plan in PLANS:
        met = [fault for fault in plan.faults if (plan.platform, fault.kind) not in UNMET]
        assert len(met) >= LEAST_FAULTS
    for platform in Platform:
        kinds = {f.kind for plan in PLANS if plan.platform is platform for f in plan.faults}
        assert kinds == {*kinds_of(platform)}


@pytest.mark.parametrize("platform", Platform)
async def test_a_rerun_changes_nothing(
    platform: Platform, memory: Client, org: str, opened: Opened
) -> None:
    """Reading once more what has not changed leaves every entry as it was, to the byte."""
    async with working(platform, SMALL, memory, org, opened) as worker:
        worker.simulation.clock.set(START)
        await worker.read_days(WEEK[0], WEEK[-1])
        before = await entries(memory)
        assert len(before) > 50
        run = await worker.read_days(WEEK[0], WEEK[-1])
        again = [it for it in await worker.rows("run_slices") if it["run"] == run]
        assert {it["state"] for it in again} == {SliceState.UNCHANGED}
        assert {it["restated_count"] + it["vanished_count"] for it in again} == {0}
        assert await entries(memory) == before


async def entries(memory: Client) -> dict[str, bytes]:
    """Everything that Memory holds, by name."""
    return {
        it.name: it.SerializeToString(deterministic=True)
        async for it in memory.memory.list_entries()
    }


# --- fifty accounts and a real worker -------------------------------------------------------------

POISONED = "3025"
FIFTY = tuple(str(3000 + number) for number in range(50))


@pytest.fixture
async def fifty() -> AsyncIterator[Platforms]:
    """Meta with fifty accounts, whose time is the present."""
    now = datetime.now(UTC)
    plan = WorldPlan(
        first_day=now.date() - timedelta(days=60),
        last_day=now.date(),
        campaigns=1,
        ad_groups=1,
        ads=1,
    )
    simulation = Simulation(build_world(plan), VirtualClock(now, is_running=True))
    (grant,) = [it for it in simulation.world.grants if it.platform is Platform.META]
    for account_id in FIFTY:
        account = Account(Platform.META, account_id, f"Shop {account_id}", "Europe/Berlin", "EUR")
        simulation.world = with_account(simulation.world, account)
        for entity in entities_of_plan(plan, account):
            simulation.world = with_entity(simulation.world, entity)
    simulation.world = with_grant(simulation.world, replace(grant, account_ids=FIFTY))
    async with running_platforms(Platform.META, simulation=simulation) as platforms:
        yield platforms


@dataclass(frozen=True)
class Service:
    """A served Ingestion.

    Attributes:
        org: Whose client it is.
        client: Of Memory and Ingestion.
        variables: Of a worker beside it.
    """

    org: str
    client: Client
    variables: Mapping[str, str]


@pytest.fixture
async def service(
    fifty: Platforms, environment: Mapping[str, str], memory_server: RunningServer, org: str
) -> AsyncIterator[Service]:
    """Ingestion's server with its own connectors, and the variables of a worker beside it."""
    given = {
        **{name: value for name, value in environment.items() if name != "LIFTOS_MILVUS_URL"},
        "LIFTOS_PORT": "0",
        "LIFTOS_METRICS_PORT": "0",
        "LIFTOS_MEMORY_ADDRESS": memory_server.target,
        "LIFTOS_SECRET_KEYS": generate_key("test").reveal(),
        "LIFTOS_META_URL": fifty.url(Platform.META),
        "LIFTOS_LOG_LEVEL": "DEBUG",
    }
    settings = load(IngestionSettings, given)
    server = Server(ingestion_application(settings))
    try:
        await server.start()
        async with connect(
            memory_server.target,
            token=issue_token(secret=SECRET.encode(), org=org),
            ingestion_target=f"{settings.host}:{server.port}",
        ) as client:
            yield Service(org, client, given)
    finally:
        await server.drain()


@asynccontextmanager
async def worker_process(variables: Mapping[str, str], log: Path) -> AsyncIterator[None]:
    """A worker as a process of its own while inside."""
    path = os.pathsep.join(it for it in sys.path if it)
    inherited = {name: it for name, it in os.environ.items() if not name.startswith("LIFTOS_")}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "liftos_ingestion", "worker"),
            env={**inherited, **variables, "PYTHONPATH": path},
            stdout=output,
            stderr=output,
        )
        try:
            yield
        finally:
            process.terminate()
            assert await process.wait() == 0


async def test_a_poisoned_account_among_fifty(
    fifty: Platforms,
    service: Service,
    pool: asyncpg.Pool,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """It fails alone and says why, 49 finish; and no token is in any log, span or alert."""
    variables = {**service.variables, "LIFTOS_SPAN_DIRECTORY": str(tmp_path / "spans")}
    client, simulation, secret = service.client, fifty.simulation, fifty.token(Platform.META)
    day = datetime.now(UTC).date() - timedelta(days=40)
    log = tmp_path / "worker.log"
    async with worker_process(variables, log):
        made = await client.ingestion.create_connection(
            "shops", display_name="Shops", platform="meta", credential={"access_token": secret}
        )
        (grant,) = [it for it in simulation.world.grants if it.platform is Platform.META]
        others = tuple(it for it in FIFTY if it != POISONED)
        simulation.world = with_grant(simulation.world, replace(grant, account_ids=others))
        run = await client.ingestion.start_run(
            made.name, start_date=day, end_date=day, levels=["CAMPAIGN"]
        )
        async for told in client.ingestion.watch_run(run.name):
            run = told.run
        assert run.state == PbRunState.RUN_STATE_PARTIALLY_SUCCEEDED
        progress = run.progress
        # An account that delivered nothing on the day is skipped, since nothing changes.
        # Each account has its numbers and its objects.
        assert progress.succeeded_count + progress.skipped_count == 2 * 49
        assert progress.failed_count == 2
        outcomes = {
            it.account_id: PbOutcome.Name(it.outcome).removeprefix("ACCOUNT_OUTCOME_")
            for it in (await client.ingestion.get_connection(made.name)).accounts
        }
    assert outcomes.pop(POISONED) == "PERMISSION_MISSING"
    assert outcomes == dict.fromkeys(others, "OK")
    found = await differences_of(
        client, simulation, Platform.META, account_ids=others, days=[day], levels=[Level.CAMPAIGN]
    )
    assert found == []
    tables = [await _text_of(pool, service.org, it) for it in ("alerts", "alert_messages", "runs")]
    spans = [path.read_text() for path in (tmp_path / "spans").rglob("*") if path.is_file()]
    assert any("read_slice" in text for text in spans)
    assert "working" in log.read_text()
    said = capfd.readouterr()
    for text in (log.read_text(), said.out, said.err, *spans, *tables):
        assert secret not in text
        assert variables["LIFTOS_SECRET_KEYS"].partition(":")[2] not in text


async def _text_of(pool: asyncpg.Pool, org: str, table: str) -> str:
    async with postgres.transaction(pool, org=org) as connection:
        return str([dict(it) for it in await connection.fetch(f"select * from {table}")])
