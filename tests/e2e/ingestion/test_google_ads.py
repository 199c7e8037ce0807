"""Google Ads from the real simulator into a real Memory: to the micro, under faults."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from redis.asyncio import Redis
from tests.e2e.ingestion.platform_worker import (
    FixedConnection,
    PlatformWorker,
    described,
    described_accounts,
)
from tests.e2e.ingestion.truth_comparison import (
    Comparison,
    assert_truth_is_stored,
    days_from,
    stored_figures,
)

from liftos.memory.v1.entry_pb2 import EntryLevel
from liftos_client import Client
from liftos_ingestion.adapters.redis.rate_governor import RedisRateGovernor
from liftos_ingestion.adapters.sources.google_ads import GoogleAdsSource
from liftos_ingestion.adapters.sources.google_ads.client import CHUNK_ROWS
from liftos_ingestion.adapters.sources.google_ads.queries import report
from liftos_ingestion.domain.failures import ErrorClass, ReadingError
from liftos_ingestion.domain.platform_limits import GOOGLE_ADS
from liftos_ingestion.domain.rate_limits import Limit, Observation, Priority, RateScope
from liftos_ingestion.run_ports import RunState, SliceState
from liftos_ingestion.source_ports import (
    CallGate,
    Credential,
    JsonObject,
    Page,
    PlatformAccount,
    PlatformJob,
    ReadRequest,
    SourceSession,
    query_hash,
)
from liftos_ingestion.usecases.gate import GovernedGate
from liftos_kit.secrets.secret import Secret
from liftos_local.stack import Stack
from liftos_platforms.faults import SCOPES, Fault, FaultKind, random_plan
from liftos_platforms.google_ads.face import GoogleAdsFace
from liftos_platforms.simulation import Simulation
from liftos_platforms.testing import HOST, Platforms, running_platforms
from liftos_platforms.truth import (
    LEVELS,
    DateBasis,
    Level,
    Metric,
    Platform,
    at,
    entities_of,
    local_day,
)
from liftos_platforms.worlds import GOOGLE_ADS_ACCOUNTS, WorldPlan

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


def source_of(platforms: Platforms, *, timeout_seconds: float = 2.0) -> GoogleAdsSource:
    """The connector, pointed at a simulator."""
    face = platforms.faces[Platform.GOOGLE_ADS]
    assert isinstance(face, GoogleAdsFace)
    return GoogleAdsSource(
        f"{HOST}:{face.port}",
        plaintext=True,
        token_url=f"http://{HOST}:{face.rest_port}/token",
        timeout_seconds=timeout_seconds,
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
            # Who has the same client shares its limits, and every test has a world of its own.
            credential_of(platforms) | {"client_secret": f"GOCSPX-of-{org}"},
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


@pytest.mark.parametrize("kind", [FaultKind.UNAVAILABLE_MID_STREAM, FaultKind.STREAM_HANGS])
async def test_a_stream_that_breaks_again_and_again(
    patient: PlatformWorker, memory: Client, kind: FaultKind
) -> None:
    """It is asked for fewer days, until it comes to its end."""
    strike(patient, kind, times=4, amount=1, where={"resource": "ad_group_ad"})
    await read_settled(patient)
    assert patient.simulation.faults.unstruck() == ()
    await assert_truth_is_stored(memory, patient.simulation, FAULTY)
    ads = [
        it for it in await patient.rows("run_slices") if it["level"] == EntryLevel.ENTRY_LEVEL_AD
    ]
    days = sorted((it["start_date"], it["end_date"]) for it in ads)
    assert days == [(SETTLED[0], SETTLED[3]), (SETTLED[4], SETTLED[6])]
    assert {it["state"] for it in ads} == {SliceState.COMMITTED}


async def test_a_day_that_breaks_again_and_again(patient: PlatformWorker, memory: Client) -> None:
    """A single day cannot be halved; it is tried again until it comes."""
    strike(patient, FaultKind.UNAVAILABLE_MID_STREAM, times=5, amount=0)
    day = SETTLED[2]
    await read(
        patient,
        days=(day,),
        minutes=10,
        account_ids=(ACCOUNT,),
        levels=("AD",),
        date_bases=("INTERACTION",),
    )
    which = replace(FAULTY, levels=(Level.AD,), days=(day,))
    assert await assert_truth_is_stored(memory, patient.simulation, which) > 10
    (slice_,) = await patient.rows("run_slices")
    assert (slice_["state"], slice_["attempt"]) == (SliceState.COMMITTED, 6)


async def test_a_closed_account_keeps_no_other_back(worker: PlatformWorker, memory: Client) -> None:
    """It ends as closed, and its siblings are read."""
    closed = "1112223336"
    await read(worker, account_ids=(closed, ACCOUNT), levels=("CAMPAIGN",))
    await assert_truth_is_stored(
        memory, worker.simulation, comparison(account_ids=(ACCOUNT,), levels=(Level.CAMPAIGN,))
    )
    failed = [it for it in await worker.rows("run_slices") if it["state"] == SliceState.FAILED]
    told = {(it["account_id"], it["error"]["error_class"]) for it in failed}
    assert told == {(closed, "ACCOUNT_CLOSED")}


async def test_the_operations_of_a_day(
    pool: asyncpg.Pool, memory: Client, org: str, stores: Stack
) -> None:
    """Once they are gone nothing more is sent, and the rest is read as they come back."""
    simulation = Simulation()
    face = GoogleAdsFace(simulation, operations_per_day=3)
    await face.start(HOST, 0)
    platforms = Platforms(simulation, {Platform.GOOGLE_ADS: face})
    try:
        async with working(platforms, pool, memory, org, stores) as worker:
            worker.connection.settings = {"login_customer_id": MANAGER}
            await worker.start(
                SETTLED[0],
                SETTLED[-1],
                account_ids=(ACCOUNT, SIBLING),
                levels=("CAMPAIGN", "AD"),
                date_bases=("INTERACTION",),
            )
            await worker.read_all(minutes_between=24 * 60)
            which = replace(FAULTY, account_ids=(ACCOUNT,))
            await assert_truth_is_stored(memory, simulation, which)
            slices = await worker.rows("run_slices")
    finally:
        await face.stop()
    assert {it["attempt"] for it in slices} == {1}
    refused = [it.error for it in simulation.journal.calls() if it.error]
    # A token does not last as long as it takes until there are operations again.
    ended = "authentication_error.OAUTH_TOKEN_EXPIRED"
    assert [it for it in refused if it != ended] == ["quota_error.RESOURCE_EXHAUSTED"]


# --- what calls cost, and what they give away -------------------------------------------------


async def test_no_operation_is_wasted(worker: PlatformWorker) -> None:
    """A slice is one operation; a token is bought once, and ways are looked for once."""
    await read(worker)
    journal = worker.simulation.journal
    slices = await worker.rows("run_slices")
    least = len(OPEN_ACCOUNTS) * 4 * len(BASES)
    assert len(slices) == least
    operations = [it for it in journal.calls() if it.call.endpoint != "token"]
    assert len(operations) == least + 2
    assert [it.error for it in operations if it.error] == []
    assert len(journal.calls(endpoint="token")) == 1
    assert sum(it["call_count"] for it in slices) == len(journal.calls())
    assert journal.maximum_concurrency(Platform.GOOGLE_ADS) == 1
    journal.clear()
    await read(worker)
    assert len(journal.calls()) == least


async def test_secrets_stay_in_headers_and_bodies(
    patient: PlatformWorker, memory: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """No address, stored answer or failure has one; a developer token is sent if there is one."""
    journal = patient.simulation.journal
    caplog.set_level(logging.DEBUG, "httpx")
    await read_settled(patient)
    assert not any("developer-token" in it.header_names for it in journal.calls())
    secrets = {**patient.connection.credential, "developer_token": "developer-token-to-be-hidden"}
    patient.connection.credential = secrets
    journal.clear()
    strike(patient, FaultKind.ACCESS_TOKEN_EXPIRED)
    strike(patient, FaultKind.GRANT_INVALID)
    await read_settled(patient)
    assert any("developer-token" in it.header_names for it in journal.calls())
    urls = [record.getMessage() for record in caplog.records if record.name == "httpx"]
    assert any("/token" in url for url in urls)
    slices = await patient.rows("run_slices")
    kept = [
        (await memory.memory.get_slice(it["memory_slice"], include_raw=True)).raw
        for it in slices
        if it["memory_slice"]
    ]
    assert any(b"Nordlicht FR" in raw for raw in kept)
    told = [str(it["error"]) for it in slices if it["error"]]
    assert told
    for name in ("client_secret", "refresh_token", "developer_token"):
        assert all(secrets[name] not in text for text in (*urls, *told))
        assert all(secrets[name].encode() not in raw for raw in kept)


# --- access -----------------------------------------------------------------------------------


class OpenGate:
    """Lets every call out, and keeps what answers told."""

    org = "org"
    run = ""

    def __init__(self) -> None:
        self.limits: list[Sequence[Limit]] = []
        self.observations: list[Observation] = []
        self.bytes_in_hand = 0

    async def enter(self, limits: Sequence[Limit], *, is_poll: bool = False) -> None:
        """Let it out."""
        self.limits.append(limits)

    async def observe(self, observations: Sequence[Observation]) -> None:
        """Keep them."""
        self.observations += observations

    def received(self, size_bytes: int) -> None:
        """Count nothing."""

    @asynccontextmanager
    async def in_hand(self, size_bytes: int) -> AsyncIterator[None]:
        """Have room for everything, and count it."""
        self.bytes_in_hand += size_bytes
        try:
            yield
        finally:
            self.bytes_in_hand -= size_bytes


@asynccontextmanager
async def opened(
    platforms: Platforms,
    *,
    source: GoogleAdsSource | None = None,
    gate: CallGate | None = None,
    settings: JsonObject | None = None,
    **credential: str,
) -> AsyncIterator[SourceSession]:
    """A session outside any run."""
    fields = credential_of(platforms) | credential
    async with (source or source_of(platforms)).open(
        Credential({name: Secret(value) for name, value in fields.items()}),
        settings or {},
        gate or OpenGate(),
    ) as session:
        yield session


REQUEST = ReadRequest(
    PlatformAccount(ACCOUNT, "Nordlicht FR", "Europe/Paris", "EUR"),
    "AD",
    "INTERACTION",
    "",
    SETTLED[0],
    SETTLED[-1],
)


async def test_which_accounts_a_user_opens(google_ads: Platforms) -> None:
    """Customers below the managers come once, with zone and currency; closed ones are marked."""
    gate = OpenGate()
    async with opened(google_ads, gate=gate) as session:
        verified = await session.verify()
    told = [(it.account_id, it.time_zone, it.currency_code, it.closed) for it in verified.accounts]
    assert sorted(told) == sorted(
        (it.account_id, it.time_zone, it.currency_code, it.account_id == "1112223336")
        for it in GOOGLE_ADS_ACCOUNTS
        if not it.is_manager
    )
    assert verified.granted_scopes == ("https://www.googleapis.com/auth/adwords",)
    assert verified.missing_scopes == ()
    journal = google_ads.simulation.journal
    assert [it.call.endpoint for it in journal.calls()] == [
        "token",
        "list_accessible_customers",
        "search_stream",
    ], "a manager below another one is not asked again"
    assert all(limit.key.org == "org" for limits in gate.limits for limit in limits)


async def test_customers_that_are_opened_directly(google_ads: Platforms) -> None:
    """One that is closed or shut does not keep the others from being told of."""
    simulation = google_ads.simulation
    (grant,) = [it for it in simulation.world.grants if it.platform is Platform.GOOGLE_ADS]
    direct = replace(grant, account_ids=("1112223336", "1112223332", ACCOUNT))
    simulation.world = replace(simulation.world, grants=(direct,))
    denied = Fault(FaultKind.PERMISSION_DENIED, Platform.GOOGLE_ADS, account_id=ACCOUNT, times=None)
    simulation.faults.add(denied)
    async with opened(google_ads) as session:
        verified = await session.verify()
        assert [(it.account_id, it.closed) for it in verified.accounts] == [
            ("1112223336", True),
            ("1112223332", False),
        ]
        request = replace(
            REQUEST, account=PlatformAccount("1112223332", "", "America/New_York", "USD")
        )
        assert [it async for it in session.read(request, None)]
    paths = [it.call.endpoint for it in simulation.journal.calls()]
    assert paths == ["token", "list_accessible_customers", *["search_stream"] * 4]
    simulation.world = replace(simulation.world, grants=(replace(grant, account_ids=(ACCOUNT,)),))
    async with opened(google_ads) as session:
        with pytest.raises(ReadingError) as caught:
            await session.verify()
    assert caught.value.failure.error_class is ErrorClass.PERMISSION


async def test_objects_have_names_and_states(google_ads: Platforms) -> None:
    """Every object that there is comes once, removed ones too, with what it belongs to."""
    simulation = google_ads.simulation
    account = simulation.account(Platform.GOOGLE_ADS, ACCOUNT)
    async with opened(google_ads) as session:
        found = [it async for it in session.objects(REQUEST.account)]
    now = simulation.clock.now()
    today = local_day(account, now)
    true = entities_of(simulation.world, account, now=now)
    assert {(it.level, it.object_id, it.display_name, it.parent_id) for it in found} == {
        (it.level.value, it.entity_id, at(it.name, today), at(it.parent, today) or "")
        for it in true
    }
    assert len(found) == len(true)
    assert {it.state for it in found} == {"ENABLED", "PAUSED", "REMOVED"}


async def test_a_credential_that_google_does_not_take(google_ads: Platforms) -> None:
    """It is refused as such, and no call of the API is made with it."""
    async with opened(google_ads, refresh_token="1//never-to-be-shown") as session:
        with pytest.raises(ReadingError) as caught:
            await session.verify()
    failure = caught.value.failure
    assert (failure.error_class, failure.platform_code) == (ErrorClass.CREDENTIALS, "invalid_grant")
    assert "never-to-be-shown" not in str(caught.value)
    assert [it.call.endpoint for it in google_ads.simulation.journal.calls()] == ["token"]


async def test_a_credential_that_is_not_whole(google_ads: Platforms) -> None:
    """A missing field is named before anything is called."""
    fields = credential_of(google_ads)
    del fields["client_secret"]
    source = source_of(google_ads)
    with pytest.raises(ReadingError, match="no client_secret") as caught:
        async with source.open(
            Credential({name: Secret(value) for name, value in fields.items()}), {}, OpenGate()
        ):
            pass
    assert caught.value.failure.error_class is ErrorClass.CREDENTIALS
    assert google_ads.simulation.journal.calls() == ()


async def _read_whole(session: SourceSession) -> list[Page | PlatformJob]:
    return [it async for it in session.read(REQUEST, None)]


async def test_a_token_that_has_run_out(google_ads: Platforms) -> None:
    """It is bought anew, once; that a new one is refused as well is Google's fault, and passes."""
    simulation = google_ads.simulation
    simulation.faults.add(
        Fault(FaultKind.ACCESS_TOKEN_EXPIRED, Platform.GOOGLE_ADS, where={"resource": "*"}, times=3)
    )
    settings = {"login_customer_id": MANAGER}
    async with opened(google_ads, settings=settings) as session:
        with pytest.raises(ReadingError) as caught:
            await _read_whole(session)
        assert caught.value.failure.error_class is ErrorClass.TRANSIENT
        assert len(simulation.journal.calls(endpoint="token")) == 2
        assert await _read_whole(session)
        assert len(simulation.journal.calls(endpoint="token")) == 4
        simulation.clock.advance(timedelta(hours=2))
        assert await _read_whole(session)
        assert len(simulation.journal.calls(endpoint="token")) == 5
        assert await _read_whole(session)
    assert len(simulation.journal.calls(endpoint="token")) == 5


async def test_tokens_that_run_out_again_and_again(patient: PlatformWorker, memory: Client) -> None:
    """They cost tries, and the connection goes on."""
    strike(patient, FaultKind.ACCESS_TOKEN_EXPIRED, times=5)
    await read_settled(patient)
    assert await assert_truth_is_stored(memory, patient.simulation, FAULTY) > 100
    assert [it["state"] for it in await patient.rows("runs")] == [RunState.SUCCEEDED]
    assert sorted(it["attempt"] for it in await patient.rows("run_slices")) == [2, 2]


async def test_sessions_share_a_token_until_it_ends(google_ads: Platforms) -> None:
    """Many at once buy one; a try of the credential buys its own, so that it says what holds."""
    simulation = google_ads.simulation
    source = source_of(google_ads)
    settings = {"login_customer_id": MANAGER}

    async def one_session() -> None:
        async with opened(google_ads, source=source, settings=settings) as session:
            assert await _read_whole(session)

    await asyncio.gather(*(one_session() for _ in range(5)))
    assert len(simulation.journal.calls(endpoint="token")) == 1
    (grant,) = [it for it in simulation.world.grants if it.platform is Platform.GOOGLE_ADS]
    async with opened(google_ads, source=source) as session:
        await session.verify()
        assert len(simulation.journal.calls(endpoint="token")) == 2
        simulation.world = replace(simulation.world, grants=())
        with pytest.raises(ReadingError) as caught:
            await session.verify()
    failure = caught.value.failure
    assert (failure.error_class, failure.platform_code) == (ErrorClass.CREDENTIALS, "invalid_grant")
    simulation.world = replace(simulation.world, grants=(replace(grant, token="1//another"),))
    async with opened(google_ads, source=source, refresh_token="1//another") as session:
        await session.verify()
    assert len(simulation.journal.calls(endpoint="token")) == 4


async def test_ways_are_found_once_for_all_that_read_at_once(google_ads: Platforms) -> None:
    """The first of them looks, and no call is refused; a direct customer needs no manager."""
    simulation = google_ads.simulation
    source = source_of(google_ads)

    async def one_session(account_id: str) -> None:
        account = described(simulation.account(Platform.GOOGLE_ADS, account_id))
        async with opened(google_ads, source=source) as session:
            assert [it async for it in session.read(replace(REQUEST, account=account), None)]

    await asyncio.gather(*(one_session(it) for it in (*OPEN_ACCOUNTS, *OPEN_ACCOUNTS)))
    calls = simulation.journal.calls()
    assert [it.error for it in calls if it.error] == []
    counts = Counter(it.call.endpoint for it in calls)
    assert counts == {
        "token": 1,
        "list_accessible_customers": 1,
        "search_stream": 1 + 2 * len(OPEN_ACCOUNTS),
    }
    (grant,) = [it for it in simulation.world.grants if it.platform is Platform.GOOGLE_ADS]
    direct = replace(grant, account_ids=OPEN_ACCOUNTS)
    simulation.world = replace(simulation.world, grants=(direct,))
    simulation.journal.clear()
    source = source_of(google_ads)
    await asyncio.gather(*(one_session(it) for it in OPEN_ACCOUNTS))
    counts = Counter(it.call.endpoint for it in simulation.journal.calls())
    assert counts["search_stream"] == len(OPEN_ACCOUNTS)
    assert counts["list_accessible_customers"] == 1


@pytest.mark.parametrize(
    ("kind", "more", "scope", "seconds"),
    [
        (FaultKind.QUOTA_TEMPORARILY_EXHAUSTED, {"amount": 17}, RateScope.ACCOUNT, 17),
        (
            FaultKind.QUOTA_TEMPORARILY_EXHAUSTED,
            {"amount": 18, "field": "DEVELOPER"},
            RateScope.APP,
            18,
        ),
        (FaultKind.QUOTA_EXHAUSTED, {"amount": 7200}, RateScope.APP, 7200),
        (FaultKind.QUERIES_TOO_HEAVY_SHORT_TERM, {}, RateScope.ACCOUNT, 300),
        (FaultKind.QUERIES_TOO_HEAVY_LONG_TERM, {}, RateScope.ACCOUNT, 3600),
    ],
)
async def test_what_a_quota_error_shuts(
    google_ads: Platforms, kind: FaultKind, more: dict[str, Any], scope: RateScope, seconds: float
) -> None:
    """The customer, or the whole project of the OAuth client, for as long as Google says."""
    google_ads.simulation.faults.add(Fault(kind, Platform.GOOGLE_ADS, **more))
    gate = OpenGate()
    async with opened(google_ads, gate=gate, settings={"login_customer_id": MANAGER}) as session:
        with pytest.raises(ReadingError) as caught:
            await _read_whole(session)
    (told,) = gate.observations
    key = {RateScope.ACCOUNT: ACCOUNT, RateScope.APP: "123456789012"}[scope]
    assert (told.limit.key.scope, told.limit.key.key) == (scope, key)
    assert told.reset_seconds == seconds
    failure = caught.value.failure
    assert failure.retry_after_seconds == seconds
    assert not failure.disposition.costs_attempt
    assert failure.platform_request_id


async def test_the_question_is_the_query(google_ads: Platforms) -> None:
    """All pages have the digest of Google's query and customer; so has an answer without rows."""
    long_ago = replace(REQUEST, start_date=date(2025, 1, 1), end_date=date(2025, 1, 1))
    async with opened(google_ads, settings={"login_customer_id": MANAGER}) as session:
        for request in (REQUEST, long_ago):
            pages = [it async for it in session.read(request, None) if isinstance(it, Page)]
            assert bool(sum(len(page.rows) for page in pages)) == (request is REQUEST)
            asked = query_hash(ACCOUNT, report(request).text)
            assert {page.query_hash for page in pages} == {asked}


async def test_orgs_with_the_same_client_share_its_day(
    google_ads: Platforms, stores: Stack
) -> None:
    """Operations are the Cloud project's: two orgs with its client see what both took together.

    One with another client of the project sees its own.
    """
    redis = Redis.from_url(stores.environment["LIFTOS_REDIS_URL"])
    governor = RedisRateGovernor(redis)
    org = f"shared-{uuid4().hex[:12]}"

    async def taken(name: str) -> float:
        shown = await governor.quotas(name, GOOGLE_ADS)
        (day,) = [it for it in shown if it.limit.unit == "operations"]
        assert day.limit.key.org == name
        return day.used

    orgs = {f"{org}-1": org, f"{org}-2": org, f"{org}-3": f"{org}-other"}
    taken_by: dict[str, int] = {}
    for name, secret in orgs.items():
        gate = GovernedGate(governor, org=name, caller="slice", priority=Priority.NEWEST)
        settings: JsonObject = {"login_customer_id": MANAGER}
        async with opened(
            google_ads, gate=gate, settings=settings, client_secret=secret
        ) as session:
            await _read_whole(session)
        await gate.leave()
        # The purchase of a token is a call, and no operation.
        taken_by[name] = gate.usage.call_count - 1
    first, second, other = taken_by
    assert min(taken_by.values()) > 0
    assert await taken(first) == await taken(second) == taken_by[first] + taken_by[second]
    assert await taken(other) == taken_by[other]
    await redis.aclose()


async def test_a_long_message_is_handed_on_in_pieces() -> None:
    """So many rows as a message has are never looked at at once; its bytes are kept whole."""
    simulation = Simulation.of(WorldPlan(campaigns=8, ad_groups=6, ads=24))
    face = GoogleAdsFace(simulation)
    await face.start(HOST, 0)
    try:
        platforms = Platforms(simulation, {Platform.GOOGLE_ADS: face})
        pages: list[Page] = []
        in_hand: list[int] = []
        gate = OpenGate()
        async with opened(platforms, gate=gate, settings={"login_customer_id": MANAGER}) as session:
            async for page in session.read(REQUEST, None):
                assert isinstance(page, Page)
                pages.append(page)
                in_hand.append(gate.bytes_in_hand)
    finally:
        await face.stop()
    *others, last = pages
    assert set(in_hand) == {len(last.raw)}, "a message is parsed once there is room for it"
    assert gate.bytes_in_hand == 0
    sizes = [len(page.rows) for page in pages]
    assert others
    assert set(sizes[:-1]) == {CHUNK_ROWS}
    assert 0 < sizes[-1] <= CHUNK_ROWS
    assert len(last.raw) == 5 + int.from_bytes(last.raw[1:5], "big")
    assert {page.raw for page in others} == {b""}
    found = {(row["ad_group_ad.ad.id"], row["segments.date"]) for it in pages for row in it.rows}
    true = {
        (int(row.ad_id), str(day))
        for day in SETTLED
        for row in simulation.rows(Platform.GOOGLE_ADS, ACCOUNT, level=Level.AD, day=day)
    }
    assert found == true
    assert sum(sizes) == len(true)


async def test_a_session_that_is_left_lets_its_stream_go(chunked: Platforms) -> None:
    """Whoever stops in the midst leaves no call behind."""
    async with opened(chunked, settings={"login_customer_id": MANAGER}) as session:
        pages = session.read(REQUEST, None)
        assert isinstance(await anext(pages), Page)
    for _ in range(500):
        (call,) = chunked.simulation.journal.calls(endpoint="search_stream")
        if call.status:
            break
        await asyncio.sleep(0.01)
    assert call.status == "CANCELLED"


async def test_a_google_that_is_not_there() -> None:
    """Nothing that listens is an outage, and not the credential's fault."""
    async with running_platforms(Platform.GOOGLE_ADS) as platforms:
        fields = credential_of(platforms)
        source = source_of(platforms)
    async with source.open(
        Credential({name: Secret(value) for name, value in fields.items()}), {}, OpenGate()
    ) as session:
        with pytest.raises(ReadingError) as caught:
            await session.verify()
    assert caught.value.failure.error_class is ErrorClass.TRANSIENT
