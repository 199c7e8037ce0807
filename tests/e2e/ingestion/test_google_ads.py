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
from liftos_ingestion.run_ports import RunState
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


# --- faults -----------------------------------------------------------------------------------

SETTLED = days_from(date(2026, 8, 3), 7)
"""Days of which Google changes nothing more, so that their truth is the same at every moment."""

ACCOUNT, SIBLING = "1112223331", "1112223333"
MANAGER = "9000000001"
FAULTY = comparison(account_ids=(ACCOUNT,), levels=(Level.CAMPAIGN, Level.AD), days=SETTLED)
KINDS = tuple(kind for kind, scope in SCOPES.items() if Platform.GOOGLE_ADS in scope.platforms)
NOT_IN_STREAMS = frozenset({FaultKind.PAGE_TOKEN_EXPIRED})
"""Kinds that only pages have, which are not asked for."""

LIMITS = frozenset(
    {
        FaultKind.QUOTA_TEMPORARILY_EXHAUSTED,
        FaultKind.QUOTA_EXHAUSTED,
        FaultKind.QUERIES_TOO_HEAVY_SHORT_TERM,
        FaultKind.QUERIES_TOO_HEAVY_LONG_TERM,
    }
)
UNNOTICED = frozenset(
    {FaultKind.ACCESS_TOKEN_EXPIRED, FaultKind.ENUM_UNKNOWN, FaultKind.ROW_REPEATED}
)
"""Kinds that cost no try at all."""

ENDINGS = {
    FaultKind.ACCESS_REVOKED: ("CREDENTIALS", "AuthenticationError.OAUTH_TOKEN_REVOKED"),
    FaultKind.GRANT_INVALID: ("CREDENTIALS", "invalid_grant"),
    FaultKind.VERSION_UNSUPPORTED: ("VERSION", "RequestError.UNSUPPORTED_VERSION"),
    FaultKind.QUOTA_ACCESS_PROHIBITED: ("PERMISSION", "QuotaError.ACCESS_PROHIBITED"),
    FaultKind.PERMISSION_DENIED: ("PERMISSION", "AuthorizationError.USER_PERMISSION_DENIED"),
    FaultKind.CUSTOMER_NOT_ENABLED: ("ACCOUNT_CLOSED", "AuthorizationError.CUSTOMER_NOT_ENABLED"),
}
OF_ALL_ACCOUNTS = frozenset(
    {FaultKind.ACCESS_REVOKED, FaultKind.GRANT_INVALID, FaultKind.VERSION_UNSUPPORTED}
)


@pytest.fixture
async def chunked() -> AsyncIterator[Platforms]:
    """Google's face alone, with streams of many chunks."""
    simulation = Simulation()
    face = GoogleAdsFace(simulation, page_rows=20)
    await face.start(HOST, 0)
    yield Platforms(simulation, {Platform.GOOGLE_ADS: face})
    await face.stop()


@pytest.fixture
async def patient(
    chunked: Platforms, pool: asyncpg.Pool, memory: Client, org: str, stores: Stack
) -> AsyncIterator[PlatformWorker]:
    """A worker that gets many chunks and knows by whom accounts are reached."""
    async with working(chunked, pool, memory, org, stores) as it:
        it.connection.settings = {"access_level": "basic", "login_customer_id": "900-000-0001"}
        yield it


async def read_settled(
    worker: PlatformWorker, *, minutes: float = 10, accounts: Sequence[str] = (ACCOUNT,)
) -> None:
    """Read what is compared in `FAULTY`."""
    await read(
        worker,
        days=SETTLED,
        minutes=minutes,
        account_ids=accounts,
        levels=("CAMPAIGN", "AD"),
        date_bases=("INTERACTION",),
    )


def strike(worker: PlatformWorker, kind: FaultKind, **more: Any) -> None:
    """Let a fault strike; in the midst of a stream where it can."""
    amount = {
        FaultKind.QUOTA_TEMPORARILY_EXHAUSTED: 45,
        FaultKind.QUOTA_EXHAUSTED: 3600,
        FaultKind.UNAVAILABLE_MID_STREAM: 2,
        FaultKind.ROW_REPEATED: 2,
        FaultKind.SERVER_GOES_AWAY: 2,
    }
    given = {"amount": amount.get(kind)}
    worker.simulation.faults.add(Fault(kind, Platform.GOOGLE_ADS, **(given | more)))


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in {*ENDINGS, *NOT_IN_STREAMS}])
async def test_a_fault_passes(patient: PlatformWorker, memory: Client, kind: FaultKind) -> None:
    """However a stream is disturbed, Memory has the truth in the end, and no limit costs a try."""
    strike(patient, kind)
    await read_settled(patient)
    assert patient.simulation.faults.unstruck() == ()
    assert await assert_truth_is_stored(memory, patient.simulation, FAULTY) > 100
    assert [it["state"] for it in await patient.rows("runs")] == [RunState.SUCCEEDED]
    assert await patient.rows("dead_letters") == []
    slices = await patient.rows("run_slices")
    if kind is FaultKind.MESSAGE_OVERSIZE:
        assert len(slices) == 3, "what is too large is halved"
        return
    attempts = sorted(it["attempt"] for it in slices)
    assert attempts == ([1, 1] if kind in LIMITS | UNNOTICED else [1, 2])


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_many_faults_pass(patient: PlatformWorker, memory: Client, seed: int) -> None:
    """A plan of faults at random places delays the truth and does not change it."""
    kinds = [kind for kind in KINDS if kind not in {*ENDINGS, *NOT_IN_STREAMS}]
    patient.simulation.faults.add(
        *random_plan(seed, Platform.GOOGLE_ADS, count=8, kinds=kinds, maximum_skip=6)
    )
    await read_settled(patient, minutes=24 * 60)
    which = replace(FAULTY, account_ids=(ACCOUNT,))
    await assert_truth_is_stored(memory, patient.simulation, which)
    assert [it["state"] for it in await patient.rows("runs")] == [RunState.SUCCEEDED]


@pytest.mark.parametrize("kind", ENDINGS)
async def test_a_fault_ends_what_it_is_about(
    patient: PlatformWorker, memory: Client, kind: FaultKind
) -> None:
    """It is not tried again and says why; other accounts are read unless they cannot be either."""
    error_class, code = ENDINGS[kind]
    account = "" if kind in OF_ALL_ACCOUNTS else ACCOUNT
    strike(patient, kind, times=None, account_id=account)
    await read_settled(patient, accounts=(ACCOUNT, SIBLING))
    slices = await patient.rows("run_slices")
    failed = [it for it in slices if it["error"]]
    told = {(it["error"]["error_class"], it["error"]["platform_code"]) for it in failed}
    assert told == {(error_class, code)}
    assert {it["attempt"] for it in slices} <= {0, 1}
    assert await stored_figures(memory, FAULTY) == {}
    sibling = replace(FAULTY, account_ids=(SIBLING,))
    if account:
        assert await assert_truth_is_stored(memory, patient.simulation, sibling) > 100
        assert {it["account_id"] for it in failed} == {ACCOUNT}
        return
    assert await stored_figures(memory, sibling) == {}
    struck = [it for it in patient.simulation.journal.calls() if it.fault]
    assert len(struck) == 1, "what is refused for good is not asked again"
