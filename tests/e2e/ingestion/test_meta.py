"""Meta from the real simulator into a real Memory: to the micro, at every level, under faults."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from tests.e2e.ingestion.platform_truth import META_ACTIONS, meta_actions
from tests.e2e.ingestion.platform_worker import (
    FixedConnection,
    PlatformWorker,
    WorldClock,
    described,
    described_accounts,
)
from tests.e2e.ingestion.truth_comparison import (
    Comparison,
    assert_truth_is_stored,
    days_from,
    differences,
    stored_figures,
    true_figures,
)

from liftos_client import Client
from liftos_ingestion.adapters.sources.meta import MetaSource
from liftos_ingestion.domain.failures import ErrorClass, ReadingError
from liftos_ingestion.domain.rate_limits import Limit, Observation
from liftos_ingestion.run_ports import OBJECTS, RunState, SliceState, WaitReason
from liftos_ingestion.source_ports import PlatformAccount, SourceSession
from liftos_local.stack import Stack
from liftos_platforms.faults import SCOPES, Fault, FaultKind, FaultPlan, random_plan
from liftos_platforms.meta import MetaFace
from liftos_platforms.simulation import Simulation
from liftos_platforms.testing import Platforms, running_platforms
from liftos_platforms.truth import (
    LEVELS,
    EntityState,
    Level,
    Platform,
    at,
    entities_of,
    local_day,
    with_grant,
)
from liftos_platforms.worlds import META_ACCOUNTS, WorldPlan, build_world

FIRST = date(2026, 11, 9)
WEEK = days_from(FIRST, 7)
LAST = WEEK[-1]
OPEN_ACCOUNTS = tuple(it.account_id for it in META_ACCOUNTS if it.account_id != "1006")


def comparison(
    *, account_ids: tuple[str, ...] = OPEN_ACCOUNTS, levels: tuple[Level, ...] = ()
) -> Comparison:
    """Everything that Meta reports of these accounts in the week."""
    return Comparison(
        Platform.META,
        account_ids,
        levels or LEVELS[Platform.META],
        WEEK,
        actions=meta_actions,
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
        source=MetaSource(
            url, version="v26.0", timeout_seconds=0.5, clock=WorldClock(simulation.clock)
        ),
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
    rows = await assert_truth_is_stored(memory, simulation, comparison(), extra=META_ACTIONS)
    assert rows > 500
    assert {it["state"] for it in await worker.rows("runs")} == {RunState.SUCCEEDED}


async def test_what_is_restated_and_what_vanishes(worker: PlatformWorker, memory: Client) -> None:
    """Two days and a month later Memory has the new figures, and not the rows that are gone."""
    simulation = worker.simulation
    which = comparison(account_ids=("1001", "1003"))
    for days in (0, 2, 30):
        simulation.clock.advance(timedelta(days=days))
        await worker.read_days(FIRST, LAST, account_ids=which.account_ids)
        await assert_truth_is_stored(memory, simulation, which, extra=META_ACTIONS)
    slices = await worker.rows("run_slices")
    assert sum(it["vanished_count"] for it in slices) > 0
    assert sum(it["restated_count"] for it in slices) > 100


# --- faults -----------------------------------------------------------------------------------

SETTLED = days_from(date(2026, 10, 5), 7)
"""Days of which Meta changes nothing more, so that their truth is the same at every moment."""

LARGE = WorldPlan(campaigns=8, ad_groups=4, ads=5)
"""A week of an account's ads is three pages."""

FAULTY = Comparison(
    Platform.META, ("1001",), (Level.CAMPAIGN, Level.AD), SETTLED, actions=meta_actions
)
REPORT_ENDPOINTS = ("insights_submit", "report_run", "report_run_insights")
KINDS = tuple(kind for kind, scope in SCOPES.items() if Platform.META in scope.platforms)
NOT_IN_REPORTS = frozenset({FaultKind.MANAGEMENT_LIMITED})
"""Kinds that only lists of objects and accounts have."""

SLOW = frozenset({FaultKind.RUN_STUCK_AT_START, FaultKind.RUN_STUCK_AT_END})
ON_LATER_PAGES = frozenset({FaultKind.CURSOR_INVALID, FaultKind.ROW_REPEATED})
LIMITS = frozenset(
    {
        FaultKind.APP_LIMITED,
        FaultKind.ACCOUNT_LIMITED,
        FaultKind.INSIGHTS_LIMITED,
        FaultKind.CALLS_LIMITED,
        FaultKind.MANAGEMENT_LIMITED,
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
    await assert_truth_is_stored(memory, patient.simulation, FAULTY, extra=META_ACTIONS)
    assert [it["state"] for it in await patient.rows("runs")] == [RunState.SUCCEEDED]
    assert await patient.rows("dead_letters") == []
    if kind in LIMITS:
        # The one that came through.
        assert {it["attempt"] for it in await patient.rows("run_slices")} == {1}


async def test_a_limit_of_lists_passes(patient: PlatformWorker) -> None:
    """Lists of objects have a limit of their own, which costs no try."""
    strike(patient, FaultKind.MANAGEMENT_LIMITED, amount=3)
    await patient.start(DAY, DAY, account_ids=("1001",), levels=(OBJECTS,))
    await patient.read_all(minutes_between=10)
    assert patient.simulation.faults.unstruck() == ()
    (slice_,) = await patient.rows("run_slices")
    assert (slice_["state"], slice_["attempt"]) == (SliceState.COMMITTED, 1)
    assert len(await patient.rows("objects")) > 100


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_many_faults_pass(patient: PlatformWorker, memory: Client, seed: int) -> None:
    """A plan of faults at random places delays the truth and does not change it."""
    kinds = [kind for kind in KINDS if kind not in END_OTHERWISE | NOT_IN_REPORTS | SLOW]
    patient.simulation.faults.add(
        *random_plan(seed, Platform.META, count=8, kinds=kinds, maximum_skip=12)
    )
    await read_settled(patient, minutes=60)
    await assert_truth_is_stored(memory, patient.simulation, FAULTY, extra=META_ACTIONS)


async def test_nothing_is_sent_while_an_account_is_limited(
    patient: PlatformWorker, memory: Client
) -> None:
    """After one refusal all slices of the account wait as long as Meta says, others do not."""
    strike(patient, FaultKind.ACCOUNT_LIMITED, account_id="1001", amount=30)
    journal = patient.simulation.journal
    await patient.start(SETTLED[0], SETTLED[-1], account_ids=("1001", "1003"), levels=("CAMPAIGN",))
    for _ in range(20):
        await patient.read_due()
        patient.simulation.clock.advance(timedelta(minutes=1))
    assert len(journal.calls(account_id="1001", with_polls=True)) == 1
    slices = await patient.rows("run_slices")
    (waiting,) = [it for it in slices if it["wait_reason"] == WaitReason.QUOTA]
    assert (waiting["account_id"], waiting["attempt"]) == ("1001", 0)
    assert await stored_figures(memory, replace(FAULTY, account_ids=("1003",)))
    await patient.read_all(minutes_between=5)
    which = replace(FAULTY, account_ids=("1001", "1003"), levels=(Level.CAMPAIGN,))
    await assert_truth_is_stored(memory, patient.simulation, which, extra=META_ACTIONS)


async def test_a_dead_token_ends_the_run(patient: PlatformWorker, memory: Client) -> None:
    """A token that dies between pages is not tried again; nothing of the slice is stored."""
    strike(
        patient,
        FaultKind.TOKEN_EXPIRED,
        endpoint="report_run_insights",
        where={"after": "?*"},
        times=None,
    )
    accounts = ("1001", "1003")
    await patient.read_days(SETTLED[0], SETTLED[-1], account_ids=accounts, levels=("AD",))
    assert [it["state"] for it in await patient.rows("runs")] == [RunState.FAILED]
    slices = await patient.rows("run_slices")
    assert {it["error"]["platform_code"] for it in slices if it["error"]} == {"190/463"}
    assert {it["error"]["error_class"] for it in slices if it["error"]} == {"CREDENTIALS"}
    (struck,) = [it for it in patient.simulation.journal.calls() if it.fault]
    after = [it for it in patient.simulation.journal.calls() if it.sequence > struck.sequence]
    assert after == [], "a dead token is not used again"
    assert await stored_figures(memory, replace(FAULTY, account_ids=accounts)) == {}


async def test_an_item_that_is_no_row(patient: PlatformWorker, memory: Client) -> None:
    """It is kept for a person as it came, and every row beside it lands."""
    strike(patient, FaultKind.ITEM_IS_NO_ROW, times=None)
    await read_settled(patient)
    await assert_truth_is_stored(memory, patient.simulation, FAULTY, extra=META_ACTIONS)
    letters = await patient.rows("dead_letters")
    assert {str(it["row"]) for it in letters} == {"{'unreadable_item': 'unavailable'}"}
    assert [it["state"] for it in await patient.rows("runs")] == [RunState.PARTIALLY_SUCCEEDED]


async def test_a_worker_that_dies_between_pages(patient: PlatformWorker, memory: Client) -> None:
    """The next one takes the report up where it is, and Meta makes no second one."""
    await patient.start(SETTLED[0], SETTLED[-1], account_ids=("1001",), levels=("AD",))
    strike(patient, FaultKind.ANSWER_NEVER_COMES, endpoint="report_run_insights", skip=1)
    journal = patient.simulation.journal
    while not any(it.fault for it in journal.calls()):
        reading = asyncio.create_task(patient.read_due())
        while not reading.done() and not any(it.fault for it in journal.calls()):
            await asyncio.wait({reading}, timeout=0.01)
    reading.cancel()
    await asyncio.wait({reading})
    assert reading.cancelled()
    assert await stored_figures(memory, FAULTY) == {}
    await patient.read_all(minutes_between=1)
    await assert_truth_is_stored(
        memory, patient.simulation, replace(FAULTY, levels=(Level.AD,)), extra=META_ACTIONS
    )
    assert len(journal.calls(endpoint="insights_submit")) == 1


# --- reports that are too large ---------------------------------------------------------------

DAY = SETTLED[2]
ONE_DAY = replace(FAULTY, levels=(Level.AD,), days=(DAY,))


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (FaultKind.RUN_TOO_LARGE, {"times": 4}),
        (FaultKind.DATA_LIMIT_EXCEEDED, {"endpoint": "insights_submit", "times": 3}),
        (FaultKind.DATA_LIMIT_EXCEEDED, {"endpoint": "report_run_insights", "times": 2}),
        (FaultKind.TOO_MUCH_DATA, {"endpoint": "report_run_insights", "amount": 5, "times": 7}),
    ],
)
async def test_a_day_that_is_too_large(
    patient: PlatformWorker, memory: Client, kind: FaultKind, more: dict[str, Any]
) -> None:
    """It is read in parts: of some campaigns, and of all that are not these."""
    strike(patient, kind, **more)
    await patient.start(DAY, DAY, account_ids=("1001",), levels=("AD",))
    await patient.read_all(minutes_between=1)
    assert patient.simulation.faults.unstruck() == ()
    assert await assert_truth_is_stored(memory, patient.simulation, ONE_DAY, extra=META_ACTIONS)
    (slice_,) = await patient.rows("run_slices")
    assert (slice_["state"], slice_["attempt"]) == (SliceState.COMMITTED, 1)
    operators = [
        condition["operator"]
        for call in patient.simulation.journal.calls(endpoint="insights_submit")
        for condition in json.loads(call.call.parameters["filtering"])
        if condition["field"] == "campaign.id"
    ]
    assert {"IN", "NOT_IN"} == set(operators)


async def test_a_campaign_that_is_too_large(
    meta: Platforms, worker: PlatformWorker, memory: Client
) -> None:
    """A day of one campaign is cut by its ad sets, and one of a single ad set by its ads."""
    plan = WorldPlan(campaigns=1, ad_groups=2, ads=6)
    meta.simulation.world = build_world(plan)
    strike(worker, FaultKind.RUN_TOO_LARGE, times=3)
    await worker.start(DAY, DAY, account_ids=("1001",), levels=("AD",))
    await worker.read_all(minutes_between=1)
    assert await assert_truth_is_stored(memory, worker.simulation, ONE_DAY, extra=META_ACTIONS)
    cut_by = {
        condition["field"]
        for call in worker.simulation.journal.calls(endpoint="insights_submit")
        for condition in json.loads(call.call.parameters["filtering"])
        if condition["field"].endswith(".id")
    }
    assert cut_by == {"adset.id", "ad.id"}


async def test_a_field_that_cannot_be_reported(patient: PlatformWorker, memory: Client) -> None:
    """Where one field of one ad breaks every report, all else lands and a dead letter says so."""
    (ad, *_) = patient.simulation.rows(Platform.META, "1001", level=Level.AD, day=DAY)
    strike(
        patient,
        FaultKind.FIELD_UNREADABLE,
        field="actions",
        entity_id=ad.ad_id,
        day=DAY,
        times=None,
    )
    await read_settled(patient)
    true = true_figures(patient.simulation, FAULTY, extra=META_ACTIONS)
    stored = await stored_figures(memory, FAULTY)
    assert true.keys() == stored.keys()
    lacking = {key for key in true if differences({key: true[key]}, {key: stored[key]})}
    (key,) = lacking
    assert key[0] == "AD"
    assert ad.ad_id in key
    assert stored[key]["spend_micros"] == true[key]["spend_micros"]
    assert stored[key]["revenue_micros"] == true[key]["revenue_micros"]
    (letter,) = await patient.rows("dead_letters")
    assert letter["row"]["ad_id"] == ad.ad_id
    assert letter["row"]["date_start"] == DAY.isoformat()
    assert [it["field"] for it in letter["errors"]] == ["actions"]
    assert {it["state"] for it in await patient.rows("run_slices")} == {SliceState.COMMITTED}
    patient.simulation.faults = FaultPlan()
    await read_settled(patient)
    await assert_truth_is_stored(memory, patient.simulation, FAULTY, extra=META_ACTIONS)


async def test_an_ad_that_cannot_be_reported(patient: PlatformWorker, memory: Client) -> None:
    """Where one ad breaks every report that it is in, its day fails alone and says why."""
    (ad, *_) = patient.simulation.rows(Platform.META, "1001", level=Level.AD, day=DAY)
    strike(
        patient,
        FaultKind.FIELD_UNREADABLE,
        field="date_start",
        entity_id=ad.ad_id,
        day=DAY,
        times=None,
    )
    await read_settled(patient)
    others = tuple(day for day in SETTLED if day != DAY)
    for which in (replace(FAULTY, days=others), replace(FAULTY, levels=(Level.CAMPAIGN,))):
        await assert_truth_is_stored(memory, patient.simulation, which, extra=META_ACTIONS)
    assert await stored_figures(memory, ONE_DAY) == {}
    failed = [it for it in await patient.rows("run_slices") if it["state"] == SliceState.FAILED]
    assert [(it["start_date"], it["end_date"]) for it in failed] == [(DAY, DAY)]
    assert failed[0]["error"]["error_class"] == "TOO_LARGE"
    assert failed[0]["error"]["platform_code"] == "2/1504038"


# --- what calls cost, and what they give away -------------------------------------------------


async def test_no_call_is_wasted(patient: PlatformWorker) -> None:
    """The account, a report however often it is waited for, and each page are asked for once."""
    await read_settled(patient, minutes=1)
    journal = patient.simulation.journal
    pages = journal.calls(endpoint="report_run_insights")
    least = 1 + sum(1 + -(-_row_count(patient, level) // 500) for level in FAULTY.levels)
    assert len(journal.calls()) == least
    assert len(pages) == least - 1 - len(FAULTY.levels)
    assert len(journal.polls()) <= 4 * len(FAULTY.levels)
    assert {it.call.parameters["limit"] for it in pages} == {"500"}
    (run,) = await patient.rows("runs")
    assert sum(it["call_count"] for it in await patient.rows("run_slices")) == least, run


def _row_count(worker: PlatformWorker, level: Level) -> int:
    return sum(
        len(
            worker.simulation.rows(
                Platform.META, "1001", level=level, day=day, states=frozenset(EntityState)
            )
        )
        for day in SETTLED
    )


async def test_secrets_stay_in_headers_and_bodies(
    large: Platforms, patient: PlatformWorker, memory: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither an address nor a stored answer has the token, though Meta's links have it."""
    face = large.faces[Platform.META]
    assert isinstance(face, MetaFace)
    token = large.token(Platform.META)
    secrets = {"access_token": token, "app_id": face.app_id, "app_secret": face.app_secret}
    patient.connection.credential = secrets
    caplog.set_level(logging.DEBUG, "httpx")
    async with opened(patient) as session:
        await session.verify()
    await read_settled(patient)
    urls = [record.getMessage() for record in caplog.records if record.name == "httpx"]
    assert any("insights" in url for url in urls)
    assert all("appsecret_proof" in url for url in urls if "GET" in url)
    kept = [
        (await memory.memory.get_slice(it["memory_slice"], include_raw=True)).raw
        for it in await patient.rows("run_slices")
    ]
    assert any(b'"next"' in raw for raw in kept)
    for secret in (token, face.app_secret):
        assert all(secret not in url for url in urls)
        assert all(secret.encode() not in raw for raw in kept)
    headers = {name for it in patient.simulation.journal.calls() for name in it.header_names}
    assert "authorization" in headers


# --- access -----------------------------------------------------------------------------------


class OpenGate:
    """Lets every call out, and keeps what answers told."""

    org = "org"
    run = ""

    def __init__(self) -> None:
        self.observations: list[Observation] = []

    async def enter(self, limits: Sequence[Limit], *, is_poll: bool = False) -> None:
        """Let it out."""

    async def observe(self, observations: Sequence[Observation]) -> None:
        """Keep them."""
        self.observations += observations

    def received(self, size_bytes: int) -> None:
        """Count nothing."""

    def in_hand(self, size_bytes: int) -> AbstractAsyncContextManager[None]:
        """Have room for everything."""
        return nullcontext()


@asynccontextmanager
async def opened(
    worker: PlatformWorker, gate: OpenGate | None = None
) -> AsyncIterator[SourceSession]:
    """A session of the worker's connection, outside any run."""
    connection = await worker.connection.open(worker.org, "shop")
    async with worker.source.open(
        connection.credential, connection.settings, gate or OpenGate()
    ) as session:
        yield session


def with_app(platforms: Platforms, worker: PlatformWorker, *, token: str = "") -> None:
    """Give the connection the app's id and secret beside a token."""
    face = platforms.faces[Platform.META]
    assert isinstance(face, MetaFace)
    worker.connection.credential = {
        "access_token": token or platforms.token(Platform.META),
        "app_id": face.app_id,
        "app_secret": face.app_secret,
    }


async def test_what_a_token_may_read(meta: Platforms, worker: PlatformWorker) -> None:
    """Accounts come with zone and currency; of the token itself only the app is told."""
    async with opened(worker) as session:
        alone = await session.verify()
    assert [(it.account_id, it.time_zone, it.currency_code) for it in alone.accounts] == [
        (it.account_id, it.time_zone, it.currency_code) for it in META_ACCOUNTS
    ]
    assert [it.account_id for it in alone.accounts if it.closed] == ["1006"]
    assert (alone.granted_scopes, alone.expire_time) == ((), None)
    with_app(meta, worker)
    async with opened(worker) as session:
        with_secret = await session.verify()
    assert with_secret.granted_scopes == ("ads_management", "ads_read", "business_management")
    assert with_secret.missing_scopes == ()
    assert with_secret.expire_time is None, "a system user's token does not end"
    assert worker.connection.kept == []


async def test_a_token_that_ends_soon_is_exchanged(meta: Platforms, worker: PlatformWorker) -> None:
    """The longer-lived one is kept with the other fields before it is used, and reads on."""
    simulation = meta.simulation
    (grant,) = [it for it in simulation.world.grants if it.platform is Platform.META]
    ends = simulation.clock.now() + timedelta(hours=2)
    short = replace(grant, token="EAABshortlivedtoken01", expires_at=ends)
    simulation.world = with_grant(simulation.world, short)
    with_app(meta, worker, token=short.token)
    async with opened(worker) as session:
        verified = await session.verify()
        assert len(verified.accounts) == len(META_ACCOUNTS)
    assert verified.expire_time == simulation.clock.now() + timedelta(days=60)
    (kept,) = worker.connection.kept
    assert kept["access_token"] != short.token
    assert kept.keys() == {"access_token", "app_id", "app_secret"}
    simulation.clock.advance(timedelta(hours=3))
    async with opened(worker) as session:
        assert (await session.verify()).expire_time == verified.expire_time
    assert len(worker.connection.kept) == 1, "it is not exchanged again while it lasts"


async def test_a_token_that_is_not_exchanged_reads_on(
    meta: Platforms, worker: PlatformWorker
) -> None:
    """Where Meta gives no other token the one that there is still reads, and its end is told."""
    simulation = meta.simulation
    (grant,) = [it for it in simulation.world.grants if it.platform is Platform.META]
    ends = simulation.clock.now() + timedelta(days=3)
    simulation.world = with_grant(simulation.world, replace(grant, expires_at=ends))
    with_app(meta, worker)
    strike(worker, FaultKind.SERVER_ERROR, endpoint="oauth", times=None)
    async with opened(worker) as session:
        verified = await session.verify()
    assert verified.expire_time == ends
    assert len(verified.accounts) == len(META_ACCOUNTS)
    assert worker.connection.kept == []


async def test_tokens_that_do_not_read(meta: Platforms, worker: PlatformWorker) -> None:
    """A missing scope is named; a dead, a foreign and an absent token are refused as such."""
    simulation = meta.simulation
    (grant,) = [it for it in simulation.world.grants if it.platform is Platform.META]
    blind = replace(grant, token="EAABwithoutscopes0001", scopes=frozenset({"public_profile"}))
    dead = replace(grant, token="EAABrevokedtoken00001", revoked=True)
    for added in (blind, dead):
        simulation.world = with_grant(simulation.world, added)
    with_app(meta, worker, token=blind.token)
    async with opened(worker) as session:
        assert (await session.verify()).missing_scopes == ("ads_read",)
    for token, code in ((dead.token, "190/458"), ("EAABnobodysToken00001", "190")):
        worker.connection.credential = {"access_token": token}
        async with opened(worker) as session:
            with pytest.raises(ReadingError) as refused:
                await session.verify()
        failure = refused.value.failure
        assert failure.error_class is ErrorClass.CREDENTIALS
        assert failure.platform_code == code
        assert failure.platform_request_id
        assert token not in failure.message
    worker.connection.credential = {"app_id": "1"}
    with pytest.raises(ReadingError, match="access_token"):
        async with opened(worker):
            pass


async def test_accounts_that_cannot_be_read(worker: PlatformWorker, memory: Client) -> None:
    """A closed account and one without permission end as such, and the others are read."""
    simulation = worker.simulation
    (grant,) = [it for it in simulation.world.grants if it.platform is Platform.META]
    ids = tuple(it for it in grant.account_ids if it != "1002")
    simulation.world = with_grant(simulation.world, replace(grant, account_ids=ids))
    await worker.read_days(LAST, LAST)
    errors = {
        (it["account_id"], it["error"]["error_class"], it["error"]["platform_code"])
        for it in await worker.rows("run_slices")
        if it["error"]
    }
    assert errors == {("1002", "PERMISSION", "200"), ("1006", "ACCOUNT_CLOSED", "200")}
    which = replace(comparison(account_ids=("1001", "1003", "1004", "1005")), days=(LAST,))
    assert await assert_truth_is_stored(memory, simulation, which, extra=META_ACTIONS)


async def test_a_version_that_has_ended(worker: PlatformWorker) -> None:
    """It ends the run with one call, and not with one for each slice."""
    for version, code in (("v20.0", "2635"), ("v99.0", "2500")):
        url = worker.source._url  # type: ignore[attr-defined]
        worker.source = MetaSource(url, version=version, timeout_seconds=0.5)
        async with opened(worker) as session:
            with pytest.raises(ReadingError) as refused:
                await session.verify()
        assert refused.value.failure.error_class is ErrorClass.VERSION
        assert refused.value.failure.platform_code == code


# --- objects ----------------------------------------------------------------------------------


async def objects_of(session: SourceSession, account_id: str) -> set[tuple[str, ...]]:
    """All objects of an account, as tuples."""
    (account,) = [it for it in described_accounts_of_meta() if it.account_id == account_id]
    return {
        (it.level, it.object_id, it.display_name, it.state, it.parent_id)
        async for it in session.objects(account)
    }


def described_accounts_of_meta() -> Sequence[PlatformAccount]:
    """Meta's accounts as a source describes them."""
    return [described(account) for account in META_ACCOUNTS]


def true_objects(worker: PlatformWorker, account_id: str) -> set[tuple[str, ...]]:
    """What the account holds now, whatever its state."""
    simulation = worker.simulation
    account, now = simulation.account(Platform.META, account_id), simulation.clock.now()
    today = local_day(account, now)
    return {
        (
            it.level.value,
            it.entity_id,
            at(it.name, today),
            at(it.state, today).value,
            at(it.parent, today) or "",
        )
        for it in entities_of(simulation.world, account, now=now)
    }


async def test_every_object_has_its_name_and_state(worker: PlatformWorker) -> None:
    """Archived and deleted ones too; an account without any has none."""
    async with opened(worker) as session:
        assert await objects_of(session, "1001") == true_objects(worker, "1001")
        assert await objects_of(session, "1005") == set()
    states = {state for *_, state, _ in true_objects(worker, "1001")}
    assert states == {"ACTIVE", "PAUSED", "ARCHIVED", "DELETED"}


LIST_KINDS = tuple(
    kind
    for kind in KINDS
    if kind is not FaultKind.TOKEN_EXPIRED
    and (not SCOPES[kind].endpoints or "ads" in SCOPES[kind].endpoints)
)


@pytest.mark.parametrize("kind", LIST_KINDS)
async def test_lists_of_objects_under_faults(worker: PlatformWorker, kind: FaultKind) -> None:
    """A list is whole, or its reading ends with a class; after the fault it is whole."""
    strike(worker, kind, amount=3, skip=1)
    gate = OpenGate()
    true = true_objects(worker, "1001")
    async with opened(worker, gate) as session:
        if kind in LIMITS:
            with pytest.raises(ReadingError) as limited:
                await objects_of(session, "1001")
            failure = limited.value.failure
            assert failure.error_class is ErrorClass.RATE_LIMITED
            # Meta does not say when an app may call again.
            untold = kind is FaultKind.APP_LIMITED
            assert failure.retry_after_seconds == (300.0 if untold else 180.0)
            assert any(it.limit.unit == "block" for it in gate.observations)
        elif kind is not FaultKind.CURSOR_INVALID:
            assert await objects_of(session, "1001") == true
        assert await objects_of(session, "1001") == true
