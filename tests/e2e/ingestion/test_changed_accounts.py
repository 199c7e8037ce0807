"""An account whose currency or time zone its platform changes: nothing is lost, and all is told."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from redis.asyncio import Redis
from tests.e2e.ingestion.desk import Desk
from tests.e2e.ingestion.platform_worker import PlatformWorker, WorldClock
from tests.e2e.ingestion.readings import OneSource
from tests.e2e.ingestion.simulated_sources import ACCOUNTS, connection_of, source_of
from tests.e2e.ingestion.world_time_worker import WorldTimeWorker

from liftos.memory.v1.entry_pb2 import Entry
from liftos_client import Client
from liftos_ingestion.adapters.inmemory_rate_governor import InMemoryRateGovernor
from liftos_ingestion.domain.alerts import AlertKind
from liftos_ingestion.domain.failures import AccountOutcome
from liftos_ingestion.domain.windows import Days
from liftos_ingestion.run_ports import RunKind, RunState
from liftos_ingestion.usecases.planning import Planning, RunRequest
from liftos_local.stack import Stack
from liftos_platforms.simulation import Simulation
from liftos_platforms.testing import running_platforms
from liftos_platforms.truth import Platform, with_account
from liftos_platforms.worlds import WorldPlan

OTHER = {"currency_code": "GBP", "time_zone": "Pacific/Auckland"}


@dataclass
class Shop:
    """A connection of one account of a simulated platform, as workers read and verify it.

    Attributes:
        platform: Whose.
        worker: Reads it.
        desk: Verifies it, and looks for alerts.
        days: Days that the platform no longer restates.
    """

    platform: Platform
    worker: PlatformWorker
    desk: Desk
    days: Days

    @property
    def account_id(self) -> str:
        """The account."""
        return ACCOUNTS[self.platform]

    async def run(self, *, force: bool = False, days: Days | None = None) -> Mapping[str, Any]:
        """Plan and read as a person's run does, and return it as it ended."""
        clock = WorldClock(self.worker.simulation.clock)
        planning = Planning(self.desk.connections, OneSource(self.worker.source), clock)
        request = RunRequest(
            kind=RunKind.INCREMENTAL,
            connection="shop",
            days=days or self.days,
            account_ids=(self.account_id,),
            force=force,
        )
        plan = await planning.plan(self.desk.org, request)
        run = await self.worker.ledger.start(self.desk.org, plan)
        await self.worker.read_all(minutes_between=1)
        return await self._run(run)

    async def _run(self, run: UUID | None) -> Mapping[str, Any]:
        (found,) = [it for it in await self.worker.rows("runs") if it["run"] == run]
        return dict(found)

    def change(self, **fields: Any) -> None:
        """Let the platform change the account."""
        simulation = self.worker.simulation
        account = simulation.account(self.platform, self.account_id)
        simulation.world = with_account(simulation.world, replace(account, **fields))
        # What was found a moment ago is no longer taken for true.
        simulation.clock.advance(timedelta(minutes=2))

    async def entries(self) -> Sequence[Entry]:
        """Return all that Memory holds."""
        return [it async for it in self.worker.memory.memory.list_entries()]


@asynccontextmanager
async def shop_of(
    platform: Platform, *, pool: asyncpg.Pool, memory: Client, org: str, stores: Stack
) -> AsyncIterator[Shop]:
    """A verified connection of a simulated platform."""
    simulation = Simulation.of(WorldPlan())
    redis = Redis.from_url(stores.environment["LIFTOS_REDIS_URL"])
    async with running_platforms(platform, simulation=simulation) as platforms:
        face = platforms.faces[platform]
        source = source_of(platform, face, simulation)
        connection = connection_of(platforms, platform)
        governor = InMemoryRateGovernor(WorldClock(simulation.clock))
        desk = Desk(org, pool, {source.platform: source}, governor)
        await desk.register(settings=connection.settings, **connection.credential)
        await desk.administration.verify(org, "shop", repeatable=None)
        worker = WorldTimeWorker(org, simulation, source, connection, pool, memory, redis)
        worker.read_through(desk.opener)
        settled = simulation.clock.now().date() - timedelta(
            days=source.capabilities.restatement_days + 5
        )
        yield Shop(platform, worker, desk, Days(settled - timedelta(days=2), settled))
        await desk.leave()
    await redis.aclose()


@pytest.fixture(params=list(Platform), ids=lambda it: it.value)
async def shop(
    request: pytest.FixtureRequest, pool: asyncpg.Pool, memory: Client, org: str, stores: Stack
) -> AsyncIterator[Shop]:
    """A shop of each platform."""
    async with shop_of(request.param, pool=pool, memory=memory, org=org, stores=stores) as it:
        yield it


@pytest.mark.parametrize("what", OTHER)
async def test_an_account_that_changes(shop: Shop, what: str) -> None:
    """What is stored stays, the run and an alert tell, and the next run brings all rows in."""
    first = await shop.run()
    assert first["state"] == RunState.SUCCEEDED
    before = {it.name: it for it in await shop.entries()}
    assert before
    shop.change(**{what: OTHER[what]})
    refused = await shop.run(force=True)
    assert refused["state"] == RunState.FAILED
    assert what.split("_", maxsplit=1)[0] in refused["error"]["message"]
    assert OTHER[what] in refused["error"]["message"]
    assert {it.name: it for it in await shop.entries()} == before
    assert await shop.desk.open_alerts() == {AlertKind.RUN_FAILED}
    (account,) = [it for it in (await shop.desk.get()).accounts if it.account_id == shop.account_id]
    assert account.outcome is AccountOutcome.PLATFORM_FAILED
    shop.worker.simulation.clock.advance(timedelta(minutes=1))
    await shop.desk.look()
    (account,) = [it for it in (await shop.desk.get()).accounts if it.account_id == shop.account_id]
    assert getattr(account, what) == OTHER[what], "it was verified without being asked"
    mended = await shop.run()
    assert mended["state"] == RunState.SUCCEEDED
    after = await shop.entries()
    assert after
    if what == "currency_code":
        assert {it.name for it in after} == set(before)
        assert {it.metrics.currency_code for it in after if it.metrics.currency_code} == {"GBP"}
    else:
        assert {it.time_zone for it in after} == {OTHER[what]}
    assert await shop.desk.open_alerts() == set()
