"""Ingestion under faults of its platforms while its workers are killed, compared to the micro.

The platforms are simulated in this process, so that their truth is at hand; Memory, Ingestion's
server and two workers are processes of their own on real stores.

- Plans: an org for each reads a week of one account on each platform while faults strike. Several
  run at once, and a killed worker is one to all of them. Only kinds that a caller gets over within
  seconds take part: the workers wait by the machine's clock, and the long limits have their tests
  in simulated time. The week is long settled, so that its truth stands still. Of Klaviyo only the
  most detailed level is read, whose reports are counted by the minute.
- Days: the platforms' clock is moved on day by day, and schedules read the last three weeks again,
  which are compared: figures that grew and rows that vanished are among them. The workers' clock
  cannot be moved: schedules fire each minute, which stands for a day, and the platforms' days go
  from three weeks before the workers' today to after it, so that by the workers' clock none of
  the days that are read is ever settled.
"""

import asyncio
import random
import secrets
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

from tests.e2e.ingestion.platform_truth import reported
from tests.e2e.ingestion.truth_comparison import Figures, days_from, stored_figures

from chaos.results import Tally
from chaos.workers import Workers, ingestion_server
from liftos.ingestion.v1.run_pb2 import Run, RunSlice, RunSliceState, RunState
from liftos_client import Client, connect
from liftos_kit.auth import issue_token
from liftos_kit.secrets.keyring import generate_key
from liftos_local import stack
from liftos_local.ports import PortPlan
from liftos_local.stack import Stack
from liftos_platforms.clock import VirtualClock
from liftos_platforms.faults import SCOPES, Fault, FaultKind, FaultPlan
from liftos_platforms.google_ads.face import GoogleAdsFace
from liftos_platforms.simulation import Simulation
from liftos_platforms.testing import HOST, Platforms, running_platforms
from liftos_platforms.truth import (
    Account,
    Grant,
    Level,
    Platform,
    World,
    account_of,
    with_account,
    with_entity,
    with_grant,
)
from liftos_platforms.worlds import (
    KLAVIYO_SCOPES,
    WorldPlan,
    build_world,
    entities_of_plan,
)

WHOLE_PLANS: Final = 200
WHOLE_DAYS: Final = 30
SHARE_MINUTES: Final = 8.0
SHARE_DAYS: Final = 5
AT_ONCE: Final = 10
FAULTS: Final = 5
"""Of each platform, in each plan."""

_SETTLED_DAYS: Final = 100
_LOOKBACK_DAYS: Final = 20
_LATE_SECONDS: Final = 600.0
"""Longest time from a day's beginning to the end of the run that its schedule starts."""

_FAULTS_A_DAY: Final = 2
_TRIES: Final = 3
"""Runs that are started for the same days, before what is given up is taken for lost."""

_READ: Final = frozenset({RunState.RUN_STATE_SUCCEEDED, RunState.RUN_STATE_PARTIALLY_SUCCEEDED})
_ENDED: Final = _READ | {RunState.RUN_STATE_FAILED, RunState.RUN_STATE_CANCELLED}
_LONGEST_RUN_SECONDS: Final = 600.0
_OPEN_SLICES: Final = frozenset(
    {
        RunSliceState.RUN_SLICE_STATE_PENDING,
        RunSliceState.RUN_SLICE_STATE_RUNNING,
        RunSliceState.RUN_SLICE_STATE_PARKED,
    }
)
_LEVELS: Final[Mapping[Platform, tuple[Level, ...]]] = {
    Platform.META: (Level.ACCOUNT, Level.CAMPAIGN, Level.AD_GROUP, Level.AD),
    Platform.GOOGLE_ADS: (Level.ACCOUNT, Level.CAMPAIGN, Level.AD_GROUP, Level.AD),
    Platform.KLAVIYO: (Level.MESSAGE,),
}
_MODELS: Final = {
    Platform.META: "1001",
    Platform.GOOGLE_ADS: "1112223331",
    Platform.KLAVIYO: "KLvEU1",
}
"""Accounts that those of the plans are like."""

_LONG: Final = frozenset(
    {
        FaultKind.APP_LIMITED,
        FaultKind.ACCOUNT_LIMITED,
        FaultKind.INSIGHTS_LIMITED,
        FaultKind.MANAGEMENT_LIMITED,
        FaultKind.CALLS_LIMITED,
        FaultKind.RUN_STUCK_AT_START,
        FaultKind.RUN_STUCK_AT_END,
        # For two minutes it looks like one that is not yet visible.
        FaultKind.RUN_EXPIRED,
        FaultKind.QUOTA_TEMPORARILY_EXHAUSTED,
        FaultKind.QUOTA_EXHAUSTED,
        FaultKind.QUERIES_TOO_HEAVY_SHORT_TERM,
        FaultKind.QUERIES_TOO_HEAVY_LONG_TERM,
        FaultKind.EXHAUSTED_WITHOUT_DETAILS,
        FaultKind.STEADY_LIMITED,
        FaultKind.DAILY_LIMITED,
        FaultKind.LIMITED_WITHOUT_RETRY_AFTER,
    }
)
_SPOILING: Final = frozenset({FaultKind.STATISTIC_NULL, FaultKind.STATISTIC_NAN})
"""They change what is stored, as they should; tests say how."""


class NeverEndedError(Exception):
    """A run is not over long after it should be; says as what it was told, and what it is."""

    def __init__(self, *, told: Run, now: Run, slices: Sequence[RunSlice]) -> None:
        open_ = [it for it in slices if it.state in _OPEN_SLICES]
        super().__init__(f"told as:\n{told}is:\n{now}open:\n{''.join(map(str, open_))}")


@dataclass(frozen=True, slots=True)
class Stage:
    """A simulated world with an Ingestion that reads it.

    Attributes:
        platforms: The world.
        workers: Who reads.
        running: Memory and the stores.
        ingestion_address: Where Ingestion answers.
    """

    platforms: Platforms
    workers: Workers
    running: Stack
    ingestion_address: str

    @property
    def simulation(self) -> Simulation:
        """What the platforms know."""
        return self.platforms.simulation

    def client(self, org: str) -> Client:
        """Return a client of an org."""
        secret = self.running.environment["LIFTOS_JWT_SECRET"].encode()
        return connect(
            self.running.addresses["memory"],
            token=issue_token(secret=secret, org=org, lifetime_seconds=24 * 3600),
            ingestion_target=self.ingestion_address,
        )


@dataclass(frozen=True, slots=True)
class _Source:
    """An account of an org, which is read by a connection.

    Attributes:
        client: Of the org.
        platform: Whose account.
        account_id: The account.
        connection: Name of the connection.
    """

    client: Client
    platform: Platform
    account_id: str
    connection: str


@dataclass(slots=True)
class _Count:
    runs: int = 0
    again: int = 0
    rows: int = 0
    lost: int = 0
    doubled: int = 0


async def run(*, seed: int, is_whole: bool, minutes: float | None) -> Sequence[Tally]:
    """Run plans and days.

    Args:
        seed: Of the first plan.
        is_whole: Whether all is run, and not only a share.
        minutes: How long plans are begun, in place of the share's time.
    """
    with (
        tempfile.TemporaryDirectory(prefix="liftos-chaos-") as folder,
        stack.start(
            Path(folder) / "stack",
            ports=PortPlan.automatic(),
            services=("memory",),
            settings={"LIFTOS_TRACE_SAMPLE_RATIO": "0.01", "LIFTOS_LOG_LEVEL": "WARNING"},
        ) as running,
    ):
        limit = minutes if minutes is not None or is_whole else SHARE_MINUTES
        plans = await _plans(running, Path(folder) / "plans", seed=seed, minutes=limit)
        days = await _days(
            running,
            Path(folder) / "days",
            seed=seed,
            day_count=WHOLE_DAYS if is_whole else SHARE_DAYS,
        )
        return [plans, days]


# --- plans ----------------------------------------------------------------------------------------


async def _plans(running: Stack, folder: Path, *, seed: int, minutes: float | None) -> Tally:
    now = datetime.now(UTC)
    today = now.date()
    plan = WorldPlan(
        first_day=today - timedelta(days=_SETTLED_DAYS + 50),
        last_day=today + timedelta(days=2),
        campaigns=3,
        ad_groups=2,
        ads=3,
        sends=40,
        flows=2,
    )
    world = build_world(plan)
    for slot in range(AT_ONCE):
        world = _with_accounts(world, plan, slot)
    simulation = Simulation(world, VirtualClock(now, is_running=True))
    week = days_from(today - timedelta(days=_SETTLED_DAYS), 7)
    ends = time.monotonic() + (minutes * 60 if minutes is not None else float("inf"))
    counted = _Count()
    begun = 0
    async with _stage(running, folder, simulation, seed=seed) as stage:
        for wave in count():
            if begun >= WHOLE_PLANS or time.monotonic() > ends:
                break
            seeds = [seed + begun + slot for slot in range(min(AT_ONCE, WHOLE_PLANS - begun))]
            begun += len(seeds)
            # Faults that found no call in their wave are not left to the next one.
            simulation.faults = FaultPlan()
            started = time.monotonic()
            found = await asyncio.gather(
                *(_plan(stage, it, slot, week, counted) for slot, it in enumerate(seeds))
            )
            print(
                f"wave {wave}: plans {seeds[0]} to {seeds[-1]} in"
                f" {time.monotonic() - started:.0f} s, {stage.workers.kills} kills so far,"
                f" {counted.lost} lost, {counted.doubled} doubled",
                flush=True,
            )
            for lines in found:
                print(*lines, sep="\n", end="\n" if lines else "", flush=True)
    return Tally(
        "ingestion: plans",
        counted.runs,
        stage.workers.kills,
        counted.lost,
        counted.doubled,
        f"{begun} plans of {FAULTS} faults a platform, {counted.rows} rows compared,"
        f" {counted.again} runs given up and started again",
    )


async def _plan(
    stage: Stage, seed: int, slot: int, week: Sequence[date], counted: _Count
) -> Sequence[str]:
    """Read a week of an account on each platform under the faults of a seed; say what is wrong."""
    accounts = {platform: _account_id(platform, slot) for platform in Platform}
    async with stage.client(f"chaos-{seed}-{secrets.token_hex(3)}") as client:
        sources = [await _connect(client, stage, it, accounts[it]) for it in Platform]
        for source in sources:
            stage.simulation.faults.add(*_faults(seed, source.platform, source.account_id, FAULTS))
        found = await asyncio.gather(
            *(
                _read_and_compare(
                    source, stage.simulation, week, counted, read=partial(_run, source, week)
                )
                for source in sources
            )
        )
    return [f"seed {seed}, {line}" for lines in found for line in lines]


def _faults(seed: int, platform: Platform, account_id: str, how_many: int) -> Sequence[Fault]:
    kinds = [
        kind
        for kind, scope in SCOPES.items()
        if platform in scope.platforms
        and scope.is_passing
        and kind not in _LONG | _SPOILING
        and scope.endpoints != ("events",)
    ]
    chance = random.Random(f"{platform.value}-{seed}")  # noqa: S311 - repeatable on purpose
    return [
        Fault(
            kind,
            platform,
            # Google's token endpoint knows no account.
            account_id="" if kind is FaultKind.TOKEN_ENDPOINT_DOWN else account_id,
            skip=chance.randint(0, 8),
            amount=1,
        )
        for kind in chance.sample(kinds, how_many)
    ]


# --- days -----------------------------------------------------------------------------------------


async def _days(running: Stack, folder: Path, *, seed: int, day_count: int) -> Tally:
    today = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    first = today - timedelta(days=_LOOKBACK_DAYS)
    plan = WorldPlan(
        first_day=first.date() - timedelta(days=60),
        last_day=today.date() + timedelta(days=day_count),
        campaigns=3,
        ad_groups=2,
        ads=3,
    )
    simulation = Simulation(build_world(plan), VirtualClock(first))
    counted = _Count()
    async with (
        _stage(running, folder, simulation, seed=seed) as stage,
        stage.client(f"chaos-days-{secrets.token_hex(3)}") as client,
    ):
        sources = [
            await _connect(client, stage, it, _MODELS[it])
            for it in (Platform.META, Platform.GOOGLE_ADS)
        ]
        schedules = [await _schedule(it) for it in sources]
        for number in range(day_count):
            started = time.monotonic()
            simulation.clock.set(first + timedelta(days=number))
            # What the workers call today, by which a schedule looks back.
            newest = min(simulation.clock.now().date(), datetime.now(UTC).date())
            days = days_from(first.date(), (newest - first.date()).days + 1)
            simulation.faults = FaultPlan()
            for it in sources:
                simulation.faults.add(
                    *_faults(seed + number, it.platform, it.account_id, _FAULTS_A_DAY)
                )
            for schedule in schedules:
                schedule.seen = datetime.now(UTC)
            found = await asyncio.gather(
                *(
                    _read_and_compare(it.source, simulation, days, counted, read=it.next_run)
                    for it in schedules
                )
            )
            print(
                f"day {number + 1} of {day_count}: {time.monotonic() - started:.0f} s,"
                f" {stage.workers.kills} kills so far, {counted.lost} lost,"
                f" {counted.doubled} doubled",
                flush=True,
            )
            for lines in found:
                print(*lines, sep="\n", end="\n" if lines else "", flush=True)
    return Tally(
        "ingestion: days",
        counted.runs,
        stage.workers.kills,
        counted.lost,
        counted.doubled,
        f"{day_count} days on which schedules read the last {_LOOKBACK_DAYS} again,"
        f" {counted.rows} rows compared, {counted.again} runs that failed and were followed by"
        " the next",
    )


@dataclass(slots=True)
class _Schedule:
    """A schedule that reads a source each minute.

    Attributes:
        source: What it reads.
        name: Its name.
        seen: Runs up to this moment are of no more interest.
    """

    source: _Source
    name: str
    seen: datetime

    async def next_run(self) -> Run:
        """Wait for the end of a run that began after what was seen, and return it."""
        runs = self.source.client.ingestion
        async with asyncio.timeout(_LATE_SECONDS):
            while True:
                async for run in runs.list_runs(filter=f'schedule = "{self.name}"', page_size=20):
                    begun = run.create_time.ToDatetime(UTC)
                    if begun > self.seen and run.state in _ENDED:
                        self.seen = begun
                        return run
                    if begun <= self.seen:
                        break
                await asyncio.sleep(1.0)


async def _schedule(source: _Source) -> _Schedule:
    made = await source.client.ingestion.create_schedule(
        source.platform.value.replace("_", "-"),
        display_name=source.platform.value,
        connection=source.connection,
        cron="* * * * *",
        time_zone="UTC",
        account_ids=[source.account_id],
        levels=[level.value for level in _LEVELS[source.platform]],
        lookback_days=_LOOKBACK_DAYS,
    )
    return _Schedule(source, made.name, datetime.now(UTC))


# --- reading and comparing ------------------------------------------------------------------------


async def _connect(client: Client, stage: Stage, platform: Platform, account_id: str) -> _Source:
    """Connect a platform."""
    token = stage.platforms.token(platform, account_id if platform is Platform.KLAVIYO else "")
    credential: Mapping[Platform, Mapping[str, str]] = {
        Platform.META: {"access_token": token},
        Platform.GOOGLE_ADS: {
            "refresh_token": token,
            "client_id": "liftos-chaos",
            "client_secret": "any will do",
        },
        Platform.KLAVIYO: {"api_key": token},
    }
    made = await client.ingestion.create_connection(
        platform.value.replace("_", "-"),
        display_name=platform.value,
        platform=platform.value,
        credential=credential[platform],
    )
    return _Source(client, platform, account_id, made.name)


async def _read_and_compare(
    source: _Source,
    simulation: Simulation,
    days: Sequence[date],
    counted: _Count,
    *,
    read: Callable[[], Awaitable[Run]],
) -> Sequence[str]:
    """Read days until a run succeeds, compare what is stored, and say what is wrong."""
    for _ in range(_TRIES):
        run = await read()
        # A dead letter makes it a part of a success, and nothing is given up.
        if not run.progress.failed_count and run.state in _READ:
            break
        counted.again += 1
    counted.runs += 1
    lines = []
    account_ids, wanted = [source.account_id], {it.value for it in _LEVELS[source.platform]}
    for part in reported(simulation, source.platform, account_ids=account_ids, days=days):
        true = {key: it for key, it in part.figures.items() if key[0] in wanted}
        stored = await stored_figures(source.client, part.comparison)
        counted.rows += len(true)
        for key in sorted(true.keys() | stored.keys()):
            lost, doubled = _difference(true.get(key), stored.get(key))
            counted.lost += lost
            counted.doubled += doubled
            if lost or doubled:
                lines.append(f"{key}: {stored.get(key)} instead of {true.get(key)}")
    return lines


async def _run(source: _Source, days: Sequence[date]) -> Run:
    """Start a run and return it as it ended."""
    runs = source.client.ingestion
    run = await runs.start_run(
        source.connection,
        start_date=days[0],
        end_date=days[-1],
        account_ids=[source.account_id],
        levels=[level.value for level in _LEVELS[source.platform]],
        force=True,
    )
    try:
        async with asyncio.timeout(_LONGEST_RUN_SECONDS):
            async for told in runs.watch_run(run.name):
                run = told.run
    except TimeoutError:
        slices = [it async for it in runs.list_slices(run.name)]
        now = await runs.get_run(run.name)
        raise NeverEndedError(told=run, now=now, slices=slices) from None
    return run


def _difference(true: Figures | None, stored: Figures | None) -> tuple[bool, bool]:
    """Say whether something of a row is lost, and whether something is too much."""
    if true is None or stored is None:
        return stored is None, true is None
    lost = doubled = False
    for name in true.keys() | stored.keys():
        is_, should_be = stored.get(name), true.get(name)
        if is_ == should_be:
            continue
        is_more = isinstance(is_, int) and isinstance(should_be, int) and is_ > should_be
        doubled |= is_more or should_be is None
        lost |= not is_more and should_be is not None
    return lost, doubled


# --- the stage ------------------------------------------------------------------------------------


@asynccontextmanager
async def _stage(
    running: Stack, folder: Path, simulation: Simulation, *, seed: int
) -> AsyncIterator[Stage]:
    """Run the platforms, Ingestion's server and its workers, and kill workers, while inside."""
    await asyncio.to_thread(folder.mkdir)
    async with AsyncExitStack() as ending:
        platforms = await ending.enter_async_context(running_platforms(simulation=simulation))
        environment = _environment(running, platforms)
        await ending.enter_async_context(ingestion_server(environment, folder))
        chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
        workers = Workers(environment, folder, chance)
        ending.push_async_callback(workers.stop)
        await workers.start()
        killing = asyncio.create_task(workers.kill_at_random(), name="kill at random")
        ending.push_async_callback(_end, killing)
        address = f"{HOST}:{environment['LIFTOS_PORT']}"
        yield Stage(platforms, workers, running, address)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _environment(running: Stack, platforms: Platforms) -> Mapping[str, str]:
    google_ads = platforms.faces[Platform.GOOGLE_ADS]
    assert isinstance(google_ads, GoogleAdsFace)
    shared = {k: v for k, v in running.environment.items() if k != "LIFTOS_MILVUS_URL"}
    return shared | {
        "LIFTOS_PORT": str(_free_port()),
        "LIFTOS_METRICS_PORT": "0",
        "LIFTOS_TRACE_SAMPLE_RATIO": "0.01",
        "LIFTOS_MEMORY_ADDRESS": running.addresses["memory"],
        "LIFTOS_SECRET_KEYS": generate_key("chaos").reveal(),
        "LIFTOS_PLATFORM_TIMEOUT_SECONDS": "2",
        "LIFTOS_META_URL": platforms.url(Platform.META),
        "LIFTOS_GOOGLE_ADS_ADDRESS": f"{HOST}:{google_ads.port}",
        "LIFTOS_GOOGLE_ADS_PLAINTEXT": "true",
        "LIFTOS_GOOGLE_ADS_TOKEN_URL": f"http://{HOST}:{google_ads.rest_port}/token",
        "LIFTOS_KLAVIYO_URL": platforms.url(Platform.KLAVIYO),
    }


def _free_port() -> int:
    with socket.socket() as it:
        it.bind((HOST, 0))
        return int(it.getsockname()[1])


def _account_id(platform: Platform, slot: int) -> str:
    match platform:
        case Platform.META:
            return str(5000 + slot)
        case Platform.GOOGLE_ADS:
            return str(2_223_334_440 + slot)
        case Platform.KLAVIYO:
            return f"KLvC{slot:02d}"


def _with_accounts(world: World, plan: WorldPlan, slot: int) -> World:
    """Give a slot accounts of its own, so that platforms do not limit one for the others."""
    for platform, model_id in _MODELS.items():
        model = account_of(world, platform, model_id)
        assert model is not None
        account: Account = replace(model, account_id=_account_id(platform, slot))
        world = with_account(world, account)
        for entity in entities_of_plan(plan, account):
            world = with_entity(world, entity)
        match platform:
            case Platform.META:
                (grant,) = [it for it in world.grants if it.platform is platform]
                ids = (*grant.account_ids, account.account_id)
                world = with_grant(world, replace(grant, account_ids=ids))
            case Platform.GOOGLE_ADS:
                pass  # its manager's grant opens it
            case Platform.KLAVIYO:
                token = f"pk_{account.account_id}{'0' * 26}"
                key = Grant(platform, token, (account.account_id,), KLAVIYO_SCOPES)
                world = with_grant(world, key)
    return world
