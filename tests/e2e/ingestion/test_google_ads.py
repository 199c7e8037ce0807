"""Google Ads from the real simulator into a real Memory: to the micro, under faults."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from tests.e2e.ingestion.platform_worker import (
    FixedConnection,
    PlatformWorker,
    described_accounts,
)
from tests.e2e.ingestion.truth_comparison import (
    Comparison,
    assert_truth_is_stored,
    days_from,
    stored_figures,
)

from liftos_client import Client
from liftos_ingestion.adapters.sources.google_ads import GoogleAdsSource
from liftos_ingestion.run_ports import RunState, SliceState
from liftos_local.stack import Stack
from liftos_platforms.faults import SCOPES, Fault, FaultKind, random_plan
from liftos_platforms.google_ads.face import GoogleAdsFace
from liftos_platforms.simulation import Simulation
from liftos_platforms.testing import HOST, Platforms, running_platforms
from liftos_platforms.truth import LEVELS, DateBasis, Level, Metric, Platform
from liftos_platforms.worlds import GOOGLE_ADS_ACCOUNTS

FIRST = date(2026, 11, 9)
WEEK = days_from(FIRST, 7)
LAST = WEEK[-1]
OPEN_ACCOUNTS = tuple(
    it.account_id
    for it in GOOGLE_ADS_ACCOUNTS
    if not it.is_manager and it.account_id != "1112223336"
)
BASES = (DateBasis.INTERACTION, DateBasis.CONVERSION)


def is_stored(_: Level, metric: Metric) -> bool:
    """Whether the connector asks for a figure: all but the number of people."""
    return metric is not Metric.REACH


def comparison(basis: DateBasis = DateBasis.INTERACTION, **fields: Any) -> Comparison:
    """Everything that Google reports of the open accounts in the week."""
    given: dict[str, Any] = {
        "platform": Platform.GOOGLE_ADS,
        "account_ids": OPEN_ACCOUNTS,
        "levels": LEVELS[Platform.GOOGLE_ADS],
        "days": WEEK,
        "date_basis": basis,
        "is_stored": is_stored,
    }
    return Comparison(**(given | fields))


def source_of(platforms: Platforms, *, timeout_seconds: float = 0.5) -> GoogleAdsSource:
    """The connector, pointed at a simulator."""
    face = platforms.faces[Platform.GOOGLE_ADS]
    assert isinstance(face, GoogleAdsFace)
    return GoogleAdsSource(
        f"{HOST}:{face.port}", True, f"http://{HOST}:{face.rest_port}/token", None, timeout_seconds
    )


def credential_of(platforms: Platforms) -> dict[str, str]:
    """A credential that the simulator takes."""
    return {
        "client_id": "123456789012-web.apps.googleusercontent.com",
        "client_secret": "GOCSPX-simulated",
        "refresh_token": platforms.token(Platform.GOOGLE_ADS),
    }


@pytest.fixture
async def google_ads() -> AsyncIterator[Platforms]:
    """Google's face alone."""
    async with running_platforms(Platform.GOOGLE_ADS) as platforms:
        yield platforms


@asynccontextmanager
async def working(
    platforms: Platforms, pool: asyncpg.Pool, memory: Client, org: str, stores: Stack
) -> AsyncIterator[PlatformWorker]:
    """A worker that reads a simulated Google Ads."""
    redis = Redis.from_url(stores.environment["LIFTOS_REDIS_URL"])
    yield PlatformWorker(
        org=org,
        simulation=platforms.simulation,
        source=source_of(platforms),
        connection=FixedConnection(
            "google_ads",
            described_accounts(platforms.simulation, Platform.GOOGLE_ADS),
            credential_of(platforms),
            {"access_level": "basic"},
        ),
        pool=pool,
        memory=memory,
        redis=redis,
    )
    await redis.aclose()


@pytest.fixture
async def worker(
    google_ads: Platforms, pool: asyncpg.Pool, memory: Client, org: str, stores: Stack
) -> AsyncIterator[PlatformWorker]:
    """A worker of the default world."""
    async with working(google_ads, pool, memory, org, stores) as it:
        yield it


async def read(
    worker: PlatformWorker,
    *,
    days: Sequence[date] = WEEK,
    minutes: float = 0.0,
    **which: Sequence[str],
) -> None:
    """Read days of open accounts to the end, with so much time of the world between the tries."""
    await worker.start(days[0], days[-1], **({"account_ids": OPEN_ACCOUNTS} | which))
    await worker.read_all(minutes_between=minutes)


@pytest.mark.timeout(120)
async def test_a_week_of_all_accounts(worker: PlatformWorker, memory: Client) -> None:
    """Every figure of every account and level is stored, by interaction and by conversion."""
    await read(worker)
    for basis in BASES:
        rows = await assert_truth_is_stored(memory, worker.simulation, comparison(basis))
        assert rows > 250
    assert {it["state"] for it in await worker.rows("runs")} == {RunState.SUCCEEDED}
    assert await worker.rows("dead_letters") == []


@pytest.mark.timeout(120)
async def test_what_is_restated_and_what_vanishes(worker: PlatformWorker, memory: Client) -> None:
    """Days and months later Memory has the new figures, and not the rows that are gone."""
    accounts = ("1112223331", "1112223333")
    for days in (0, 3, 27):
        worker.simulation.clock.advance(timedelta(days=days))
        await read(worker, account_ids=accounts)
        for basis in BASES:
            which = comparison(basis, account_ids=accounts)
            await assert_truth_is_stored(memory, worker.simulation, which)
    slices = await worker.rows("run_slices")
    assert sum(it["vanished_count"] for it in slices) > 0
    assert sum(it["restated_count"] for it in slices) > 100
