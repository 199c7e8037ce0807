"""Meta from the real simulator into a real Memory: to the micro, at every level, under faults."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from tests.e2e.ingestion.platform_worker import (
    FixedConnection,
    PlatformWorker,
    WorldClock,
    described_accounts,
)
from tests.e2e.ingestion.truth_comparison import (
    Comparison,
    Figures,
    assert_truth_is_stored,
    days_from,
)

from liftos.memory.v1.entry_pb2 import Entry
from liftos_client import Client
from liftos_ingestion.adapters.sources.meta import MetaSource
from liftos_ingestion.run_ports import RunState
from liftos_local.stack import Stack
from liftos_platforms.faults import SCOPES, Fault, FaultKind
from liftos_platforms.simulation import Simulation
from liftos_platforms.testing import Platforms, running_platforms
from liftos_platforms.truth import LEVELS, Level, Metric, Platform
from liftos_platforms.worlds import META_ACCOUNTS, WorldPlan

FIRST = date(2026, 11, 9)
WEEK = days_from(FIRST, 7)
LAST = WEEK[-1]
OPEN_ACCOUNTS = tuple(it.account_id for it in META_ACCOUNTS if it.account_id != "1006")
AS_ACTIONS = {
    Metric.VIDEO_25_PERCENT: ("video_p25_watched_actions.video_view", "default", "count_micros"),
    Metric.VIDEO_50_PERCENT: ("video_p50_watched_actions.video_view", "default", "count_micros"),
    Metric.VIDEO_75_PERCENT: ("video_p75_watched_actions.video_view", "default", "count_micros"),
    Metric.VIDEO_THRUPLAYS: (
        "video_thruplay_watched_actions.video_view",
        "default",
        "count_micros",
    ),
} | {
    Metric(f"{stem}_{window}_micros"): ("omni_purchase", window, field)
    for stem, field in (("conversions", "count_micros"), ("revenue", "value_micros"))
    for window in ("1d_click", "7d_click", "28d_click", "1d_view", "1d_ev")
}
"""Figures that are no fields of an entry and stand among its actions."""


def figures_of_actions(entry: Entry) -> Figures:
    """The figures that an entry has among its actions."""
    found: Figures = {}
    actions = {(it.action_type, it.window): it for it in entry.actions}
    for metric, (action_type, window, field) in AS_ACTIONS.items():
        action = actions.get((action_type, window))
        numbers = {} if action is None else {it.name: value for it, value in action.ListFields()}
        if field in numbers:
            scale = 1 if metric.value.endswith("_micros") else 1_000_000
            found[metric.value] = int(str(numbers[field])) // scale
    return found


def comparison(
    *, account_ids: tuple[str, ...] = OPEN_ACCOUNTS, levels: tuple[Level, ...] = ()
) -> Comparison:
    """Everything that Meta reports of these accounts in the week."""
    return Comparison(
        Platform.META,
        account_ids,
        levels or LEVELS[Platform.META],
        WEEK,
        actions=figures_of_actions,
    )


@pytest.fixture
async def meta() -> AsyncIterator[Platforms]:
    """Meta's face alone."""
    async with running_platforms(Platform.META) as platforms:
        yield platforms


@asynccontextmanager
async def working(
    platforms: Platforms, pool: asyncpg.Pool, memory: Client, org: str, stores: Stack
) -> AsyncIterator[PlatformWorker]:
    """A worker that reads a simulated Meta with its token and nothing else."""
    redis = Redis.from_url(stores.environment["LIFTOS_REDIS_URL"])
    simulation = platforms.simulation
    url = platforms.url(Platform.META)
    yield PlatformWorker(
        org=org,
        simulation=simulation,
        source=MetaSource(url, "v26.0", None, 0.5, clock=WorldClock(simulation.clock)),
        connection=FixedConnection(
            "meta",
            described_accounts(simulation, Platform.META),
            {"access_token": platforms.token(Platform.META)},
        ),
        pool=pool,
        memory=memory,
        redis=redis,
    )
    await redis.aclose()


@pytest.fixture
async def worker(
    meta: Platforms, pool: asyncpg.Pool, memory: Client, org: str, stores: Stack
) -> AsyncIterator[PlatformWorker]:
    """A worker of the default world."""
    async with working(meta, pool, memory, org, stores) as it:
        yield it


async def test_a_week_of_all_accounts(worker: PlatformWorker, memory: Client) -> None:
    """Every figure of every account and level is stored, archived and deleted ads included."""
    simulation = worker.simulation
    await worker.read_days(FIRST, LAST, account_ids=OPEN_ACCOUNTS)
    rows = await assert_truth_is_stored(memory, simulation, comparison(), extra=AS_ACTIONS)
    assert rows > 500
    assert {it["state"] for it in await worker.rows("runs")} == {RunState.SUCCEEDED}


async def test_what_is_restated_and_what_vanishes(worker: PlatformWorker, memory: Client) -> None:
    """Two days and a month later Memory has the new figures, and not the rows that are gone."""
    simulation = worker.simulation
    which = comparison(account_ids=("1001", "1003"))
    for days in (0, 2, 30):
        simulation.clock.advance(timedelta(days=days))
        await worker.read_days(FIRST, LAST, account_ids=which.account_ids)
        await assert_truth_is_stored(memory, simulation, which, extra=AS_ACTIONS)
    slices = await worker.rows("run_slices")
    assert sum(it["vanished_count"] for it in slices) > 0
    assert sum(it["restated_count"] for it in slices) > 100


# --- faults -----------------------------------------------------------------------------------

SETTLED = days_from(date(2026, 10, 5), 7)
"""Days of which Meta changes nothing more, so that their truth is the same at every moment."""

LARGE = WorldPlan(campaigns=8, ad_groups=4, ads=5)
"""A week of an account's ads is three pages."""

FAULTY = Comparison(
    Platform.META, ("1001",), (Level.CAMPAIGN, Level.AD), SETTLED, actions=figures_of_actions
)
REPORT_ENDPOINTS = ("insights_submit", "report_run", "report_run_insights")
KINDS = tuple(kind for kind, scope in SCOPES.items() if Platform.META in scope.platforms)
NOT_IN_REPORTS = frozenset({FaultKind.MANAGEMENT_LIMITED})
"""Kinds that only lists of objects and accounts have."""

ON_LATER_PAGES = frozenset({FaultKind.CURSOR_INVALID, FaultKind.ROW_REPEATED})
LIMITS = frozenset(
    {
        FaultKind.APP_LIMITED,
        FaultKind.ACCOUNT_LIMITED,
        FaultKind.INSIGHTS_LIMITED,
        FaultKind.CALLS_LIMITED,
    }
)
END_OTHERWISE = frozenset(
    {FaultKind.TOKEN_EXPIRED, FaultKind.FIELD_UNREADABLE, FaultKind.ITEM_IS_NO_ROW}
)


@pytest.fixture
async def large() -> AsyncIterator[Platforms]:
    """Meta's face alone, with accounts of many ads."""
    simulation = Simulation.of(LARGE)
    async with running_platforms(Platform.META, simulation=simulation) as platforms:
        yield platforms


@pytest.fixture
async def patient(
    large: Platforms, pool: asyncpg.Pool, memory: Client, org: str, stores: Stack
) -> AsyncIterator[PlatformWorker]:
    """A worker of the large world."""
    async with working(large, pool, memory, org, stores) as it:
        yield it


async def read_settled(worker: PlatformWorker, *, minutes: int = 10) -> None:
    """Read the settled days, with so much time of the world between the tries."""
    await worker.start(
        SETTLED[0], SETTLED[-1], account_ids=FAULTY.account_ids, levels=("CAMPAIGN", "AD")
    )
    await worker.read_all(minutes_between=minutes)


def strike(worker: PlatformWorker, kind: FaultKind, **more: Any) -> None:
    """Let a fault strike."""
    worker.simulation.faults.add(Fault(kind, Platform.META, **more))


def faults_everywhere(kind: FaultKind) -> list[Fault]:
    """A fault for each call of a report that the kind can strike, in the midst of the pages."""
    scope = SCOPES[kind].endpoints or REPORT_ENDPOINTS
    return [
        Fault(
            kind,
            Platform.META,
            endpoint=endpoint,
            amount=1000 if kind is FaultKind.TOO_MUCH_DATA else 3,
            times=None if kind is FaultKind.TOO_MUCH_DATA else 1,
            skip=1 if endpoint == "report_run_insights" and kind not in ON_LATER_PAGES else 0,
        )
        for endpoint in REPORT_ENDPOINTS
        if endpoint in scope
    ]


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in END_OTHERWISE | NOT_IN_REPORTS])
async def test_a_fault_passes(patient: PlatformWorker, memory: Client, kind: FaultKind) -> None:
    """However a report is disturbed, Memory has the truth in the end, and no limit costs a try."""
    faults = faults_everywhere(kind)
    patient.simulation.faults.add(*faults)
    await read_settled(patient)
    assert faults
    assert patient.simulation.faults.unstruck() == ()
    await assert_truth_is_stored(memory, patient.simulation, FAULTY, extra=AS_ACTIONS)
    assert [it["state"] for it in await patient.rows("runs")] == [RunState.SUCCEEDED]
    assert await patient.rows("dead_letters") == []
    if kind in LIMITS:
        # The one that came through.
        assert {it["attempt"] for it in await patient.rows("run_slices")} == {1}
