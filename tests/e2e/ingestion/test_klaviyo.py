"""Klaviyo from the real simulator into a real Memory: to the micro, by both dates, under faults."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest
from redis.asyncio import Redis
from tests.e2e.ingestion.platform_truth import KLAVIYO_LEVELS, klaviyo_figures
from tests.e2e.ingestion.platform_worker import FixedConnection, described
from tests.e2e.ingestion.truth_comparison import (
    Comparison,
    Figures,
    Key,
    days_from,
    differences,
    stored_figures,
    true_figures,
)
from tests.e2e.ingestion.world_time_worker import WorldTimeWorker

from liftos_client import Client
from liftos_ingestion.adapters.sources.klaviyo import KlaviyoSource
from liftos_ingestion.domain.failures import ErrorClass
from liftos_ingestion.domain.rate_limits import Priority
from liftos_ingestion.run_ports import RunState, SliceState
from liftos_ingestion.source_ports import Credential, SourceSession
from liftos_ingestion.usecases.gate import GovernedGate
from liftos_kit.secrets.secret import Secret
from liftos_local.stack import Stack
from liftos_platforms import truth
from liftos_platforms.faults import SCOPES, Fault, FaultKind, random_plan
from liftos_platforms.klaviyo.tokens import CLIENT_ID, CLIENT_SECRET
from liftos_platforms.simulation import Simulation
from liftos_platforms.testing import Platforms, running_platforms
from liftos_platforms.truth import (
    AccountState,
    DateBasis,
    EntityState,
    Grant,
    Level,
    Platform,
)
from liftos_platforms.worlds import KLAVIYO_ACCOUNTS, KLAVIYO_SCOPES, WorldPlan

PARIS = "KLvEU1"
NEW_YORK = "KLvUS2"
ACCOUNTS = tuple(it.account_id for it in KLAVIYO_ACCOUNTS)
NOW = datetime(2026, 11, 15, 12, 0, 29, tzinfo=UTC)
"""Right behind the moment at which the day's growing numbers grow: the next is 86 s away."""

FIRST = date(2026, 11, 9)
WEEK = days_from(FIRST, 7)
REVISION = "2026-10-15"


@dataclass(frozen=True)
class Workers:
    """Makes workers, one for each account, since a key opens one."""

    platforms: Platforms
    org: str
    pool: asyncpg.Pool
    memory: Client
    redis: Redis

    def of(
        self,
        account_id: str,
        *,
        credential: dict[str, str] | None = None,
        settings: dict[str, object] | None = None,
        revision: str = REVISION,
    ) -> WorldTimeWorker:
        """Return the worker of an account, with its key where no credential is given."""
        simulation = self.platforms.simulation
        account = simulation.account(Platform.KLAVIYO, account_id)
        key = self.platforms.token(Platform.KLAVIYO, account_id)
        return WorldTimeWorker(
            org=self.org,
            simulation=simulation,
            source=KlaviyoSource(
                self.platforms.url(Platform.KLAVIYO), revision=revision, timeout_seconds=1.0
            ),
            connection=FixedConnection(
                "klaviyo", [described(account)], credential or {"api_key": key}, settings or {}
            ),
            pool=self.pool,
            memory=self.memory,
            redis=self.redis,
        )


@asynccontextmanager
async def workers_of(
    platforms: Platforms, org: str, pool: asyncpg.Pool, memory: Client, stores: Stack
) -> AsyncIterator[Workers]:
    """Make workers over real stores."""
    redis = Redis.from_url(stores.environment["LIFTOS_REDIS_URL"])
    yield Workers(platforms, org, pool, memory, redis)
    await redis.aclose()


@pytest.fixture
async def klaviyo() -> AsyncIterator[Platforms]:
    """Klaviyo's face alone."""
    simulation = Simulation()
    simulation.clock.set(NOW)
    async with running_platforms(Platform.KLAVIYO, simulation=simulation) as platforms:
        yield platforms


@pytest.fixture
async def workers(
    klaviyo: Platforms, pool: asyncpg.Pool, memory: Client, org: str, stores: Stack
) -> AsyncIterator[Workers]:
    """Workers of the default world."""
    async with workers_of(klaviyo, org, pool, memory, stores) as made:
        yield made


def reported(
    simulation: Simulation,
    basis: DateBasis,
    *,
    account_ids: tuple[str, ...] = ACCOUNTS,
    days: tuple[date, ...] = WEEK,
) -> tuple[Comparison, dict[Key, Figures]]:
    """What Klaviyo's API can tell of the truth, and the part of Memory to compare it with."""
    comparison = Comparison(Platform.KLAVIYO, account_ids, KLAVIYO_LEVELS, days, date_basis=basis)
    true = true_figures(simulation, comparison)
    return comparison, klaviyo_figures(simulation, true, basis, account_ids)


async def assert_reported(
    memory: Client,
    simulation: Simulation,
    basis: DateBasis,
    *,
    account_ids: tuple[str, ...] = ACCOUNTS,
    days: tuple[date, ...] = WEEK,
) -> int:
    """Compare every figure of every row in both directions; return how many rows there are."""
    comparison, true = reported(simulation, basis, account_ids=account_ids, days=days)
    found = differences(true, await stored_figures(memory, comparison))
    assert not found, "\n".join(found[:20])
    return len(true)


async def read(worker: WorldTimeWorker, basis: DateBasis, *, days: tuple[date, ...] = WEEK) -> None:
    """Read all levels by one basis, to the end."""
    await worker.read_days(days[0], days[-1], date_bases=(basis.value,))


@pytest.mark.parametrize("basis", [DateBasis.SEND, DateBasis.EVENT])
async def test_a_week_of_all_accounts_is_read_to_the_micro(
    workers: Workers, memory: Client, basis: DateBasis
) -> None:
    """Every level of every account, again unchanged, and again when days have been restated."""
    simulation = workers.platforms.simulation
    for account_id in ACCOUNTS:
        await read(workers.of(account_id), basis)
    assert await assert_reported(memory, simulation, basis) > 60
    worker = workers.of(PARIS)
    assert {it["state"] for it in await worker.rows("runs")} == {RunState.SUCCEEDED}
    assert not await worker.rows("dead_letters")
    before = len(await worker.rows("run_slices"))
    simulation.clock.set(NOW + timedelta(days=3))
    for account_id in ACCOUNTS:
        await read(workers.of(account_id), basis)
    assert await assert_reported(memory, simulation, basis) > 60
    later = sorted(await worker.rows("run_slices"), key=lambda it: it["start_time"])[before:]
    assert {it["state"] for it in later} == {SliceState.COMMITTED, SliceState.UNCHANGED}
    assert sum(it["restated_count"] for it in later) > 0


# --- calls ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("basis", [DateBasis.SEND, DateBasis.EVENT])
async def test_calls_are_as_few_as_can_be(workers: Workers, basis: DateBasis) -> None:
    """All levels cost one report of a kind, however many days there are; nothing is asked twice."""
    simulation = workers.platforms.simulation
    month = days_from(date(2026, 10, 17), 30)
    await read(workers.of(PARIS), basis, days=month)
    entries = simulation.journal.calls(Platform.KLAVIYO)
    calls = Counter(entry.call.endpoint for entry in entries)
    assert {entry.status for entry in entries} == {"200"}
    every_run = {"accounts": 1, "mapped-metric": 1, "campaigns": 1}
    if basis is DateBasis.SEND:
        least = every_run | {"campaign-values-reports": 1, "flow-series-reports": 1}
    else:
        least = every_run | {"metrics": 1, "metric-aggregates": 11, "flows": 1}
    assert calls == least
    asked = Counter((entry.call.endpoint, str(entry.call.parameters)) for entry in entries)
    assert set(asked.values()) == {1}


async def test_runs_share_nothing(workers: Workers, memory: Client) -> None:
    """Each level can be read alone, makes the same of its own answers, and gets them anew."""
    simulation = workers.platforms.simulation
    worker = workers.of(PARIS)
    for level in KLAVIYO_LEVELS:
        await worker.read_days(WEEK[0], WEEK[-1], levels=(level.value,), date_bases=("SEND",))
    asked = Counter(e.call.endpoint for e in simulation.journal.calls(Platform.KLAVIYO))
    assert (asked["accounts"], asked["campaign-values-reports"]) == (3, 2)
    await assert_reported(memory, simulation, DateBasis.SEND, account_ids=(PARIS,))


async def test_limits_are_kept_without_one_refusal(workers: Workers, memory: Client) -> None:
    """A backfill of many slices waits at the gate; Klaviyo never has to say no."""
    simulation = workers.platforms.simulation
    worker = workers.of(PARIS)
    days = days_from(date(2026, 7, 1), 122)
    await read(worker, DateBasis.SEND, days=days)
    assert {e.status for e in simulation.journal.calls(Platform.KLAVIYO)} == {"200"}
    assert worker.governor.waited, "two reports a minute are fewer than three windows need"
    await assert_reported(memory, simulation, DateBasis.SEND, account_ids=(PARIS,), days=days)
    reports = Counter(
        e.call.endpoint
        for e in simulation.journal.calls(Platform.KLAVIYO)
        if "reports" in e.call.endpoint
    )
    assert reports == {"campaign-values-reports": 3, "flow-series-reports": 3}


@pytest.mark.parametrize("basis", [DateBasis.SEND, DateBasis.EVENT])
async def test_days_on_which_clocks_change(
    workers: Workers, memory: Client, basis: DateBasis
) -> None:
    """Days of 25 hours in Paris and in New York are whole days of the account's zone."""
    days = days_from(date(2026, 10, 24), 10)
    for account_id in (PARIS, NEW_YORK):
        await read(workers.of(account_id), basis, days=days)
    assert await assert_reported(
        memory,
        workers.platforms.simulation,
        basis,
        account_ids=(PARIS, NEW_YORK),
        days=days,
    )


# --- faults ---------------------------------------------------------------------------------------

SETTLED = days_from(date(2026, 10, 19), 7)
"""Days that no longer change, one of which has 25 hours in Paris."""

OF_EVENTS = frozenset(
    {
        FaultKind.ROW_REPEATED,
        FaultKind.EVENT_IN_FUTURE,
        FaultKind.EVENT_TIMESTAMPS_EQUAL,
        FaultKind.EVENT_TIMESTAMP_FLOAT,
        FaultKind.EVENT_METRIC_NULL,
        FaultKind.EVENT_ATTRIBUTIONS_EMPTY,
        FaultKind.EVENT_PROPERTIES_HUGE,
    }
)
"""Faults of the list of single events, which is never read."""

ENDING = {
    FaultKind.KEY_REJECTED: ErrorClass.CREDENTIALS,
    FaultKind.SCOPE_MISSING: ErrorClass.PERMISSION,
    FaultKind.REVISION_GONE: ErrorClass.VERSION,
}
"""Faults after which trying again by itself is in vain, and what they are told as."""

SPOILING = frozenset({FaultKind.STATISTIC_NULL, FaultKind.STATISTIC_NAN})
"""Faults of one figure, which harm no other."""

LISTS = frozenset(
    {
        FaultKind.CURSOR_INVALID,
        FaultKind.NEXT_LINK_FOREIGN,
        FaultKind.CAMPAIGN_GONE_BETWEEN_PAGES,
    }
)
NUMBERS = frozenset(
    {
        FaultKind.SERIES_TOO_SHORT,
        FaultKind.STATISTIC_UNKNOWN,
        FaultKind.DAILY_LIMITED,
        *SPOILING,
    }
)

PASSING = sorted(
    kind
    for kind, scope in SCOPES.items()
    if Platform.KLAVIYO in scope.platforms and kind not in {*OF_EVENTS, *ENDING, *SPOILING}
)
BASES = (DateBasis.SEND, DateBasis.EVENT)


@pytest.fixture
async def crowded(
    pool: asyncpg.Pool, memory: Client, org: str, stores: Stack
) -> AsyncIterator[Workers]:
    """Workers of a world with more campaigns than a page of their list holds."""
    simulation = Simulation.of(WorldPlan(sends=130, flows=2), now=NOW)
    async with (
        running_platforms(Platform.KLAVIYO, simulation=simulation) as platforms,
        workers_of(platforms, org, pool, memory, stores) as made,
    ):
        yield made


def places_of(kind: FaultKind, basis: DateBasis) -> tuple[str, ...]:
    """Endpoints at which a fault strikes once each."""
    numbers = (
        ("metric-aggregates",)
        if basis is DateBasis.EVENT
        else ("flow-series-reports",)
        if kind is FaultKind.SERIES_TOO_SHORT
        else ("campaign-values-reports", "flow-series-reports")
    )
    if kind in LISTS:
        return ("campaigns",)
    if kind in NUMBERS:
        return numbers
    if kind is FaultKind.TYPE_UNKNOWN:
        return ("campaigns", *(("metrics", "flows") if basis is DateBasis.EVENT else ()))
    return ("accounts", "campaigns", *numbers)


async def read_under(
    worker: WorldTimeWorker, basis: DateBasis, *, level: Level = Level.MESSAGE
) -> None:
    """Read the settled days of one level to the end, however long it takes in the world."""
    await worker.start(SETTLED[0], SETTLED[-1], levels=(level.value,), date_bases=(basis.value,))
    await worker.read_all(rounds=12, minutes_between=180)


async def differs(memory: Client, simulation: Simulation, basis: DateBasis) -> list[str]:
    """Say where the messages of the settled days differ from the truth."""
    comparison, true = reported(simulation, basis, account_ids=(PARIS,), days=SETTLED)
    comparison = replace(comparison, levels=(Level.MESSAGE,))
    messages = {key: figures for key, figures in true.items() if key[0] == "MESSAGE"}
    assert len(messages) > 20
    return differences(messages, await stored_figures(memory, comparison))


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("kind", PASSING)
async def test_what_passes_is_got_over(
    crowded: Workers, memory: Client, kind: FaultKind, basis: DateBasis
) -> None:
    """At every place where a fault strikes nothing is lost, doubled or left behind."""
    simulation = crowded.platforms.simulation
    worker = crowded.of(PARIS)
    simulation.faults.add(
        *(Fault(kind, Platform.KLAVIYO, endpoint=place) for place in places_of(kind, basis))
    )
    await read_under(worker, basis)
    assert simulation.faults.unstruck() == ()
    assert await differs(memory, simulation, basis) == []
    (slice_,) = await worker.rows("run_slices")
    assert slice_["state"] == SliceState.COMMITTED
    assert not await worker.rows("dead_letters")


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("kind", sorted(ENDING))
async def test_what_does_not_pass_ends_typed(
    crowded: Workers, memory: Client, kind: FaultKind, basis: DateBasis
) -> None:
    """The slice fails with the class that says what to do, and the next run reads it all."""
    simulation = crowded.platforms.simulation
    worker = crowded.of(PARIS)
    place = places_of(kind, basis)[-1]
    simulation.faults.add(Fault(kind, Platform.KLAVIYO, endpoint=place))
    await read_under(worker, basis)
    (slice_,) = await worker.rows("run_slices")
    assert slice_["state"] == SliceState.FAILED
    assert slice_["error"]["error_class"] == ENDING[kind]
    await read_under(worker, basis)
    assert await differs(memory, simulation, basis) == []


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("kind", sorted(SPOILING))
async def test_a_bad_figure_harms_no_other(
    crowded: Workers, memory: Client, kind: FaultKind, basis: DateBasis
) -> None:
    """Null stays unset and is no zero; what is no number keeps its row out, with the reason."""
    simulation = crowded.platforms.simulation
    worker = crowded.of(PARIS)
    simulation.faults.add(Fault(kind, Platform.KLAVIYO, endpoint=places_of(kind, basis)[0]))
    await read_under(worker, basis)
    found = await differs(memory, simulation, basis)
    letters = await worker.rows("dead_letters")
    assert len(found) == 1
    if kind is FaultKind.STATISTIC_NULL:
        assert "None instead of" in found[0]
        assert not letters
    else:
        assert found[0].startswith("missing")
        assert "not_finite" in str(letters[0]["errors"]).lower()
    await read_under(worker, basis)
    assert await differs(memory, simulation, basis) == []


@pytest.mark.parametrize("seed", range(4))
async def test_many_faults_at_once_are_got_over(
    pool: asyncpg.Pool, memory: Client, org: str, stores: Stack, seed: int
) -> None:
    """Every level by both dates of a large account, with faults wherever chance puts them."""
    simulation = Simulation.of(WorldPlan(sends=130, flows=60), now=NOW)
    kinds = [kind for kind in PASSING if kind is not FaultKind.ANSWER_NEVER_COMES]
    simulation.faults.add(
        *random_plan(seed, Platform.KLAVIYO, count=14, kinds=kinds, maximum_skip=50)
    )
    async with (
        running_platforms(Platform.KLAVIYO, simulation=simulation) as platforms,
        workers_of(platforms, org, pool, memory, stores) as workers,
    ):
        worker = workers.of(NEW_YORK)
        await worker.start(SETTLED[0], SETTLED[-1])
        await worker.read_all(rounds=24, minutes_between=180)
    assert {it["state"] for it in await worker.rows("run_slices")} == {SliceState.COMMITTED}
    for basis in BASES:
        await assert_reported(memory, simulation, basis, account_ids=(NEW_YORK,), days=SETTLED)


def test_only_faults_of_single_events_are_left_out() -> None:
    """Every other fault of Klaviyo's strikes in the tests above."""
    kinds = {kind for kind, scope in SCOPES.items() if Platform.KLAVIYO in scope.platforms}
    assert {*PASSING, *ENDING, *SPOILING} == kinds - OF_EVENTS


# --- accounts, credentials and objects ------------------------------------------------------------

OAUTH = {
    "client_id": CLIENT_ID,
    "client_secret": CLIENT_SECRET,
    "refresh_token": "refresh-1",
}


def grant(simulation: Simulation, token: str, scopes: frozenset[str] = KLAVIYO_SCOPES) -> None:
    """Let a token open the account in Paris."""
    made = Grant(Platform.KLAVIYO, token, (PARIS,), scopes)
    simulation.world = truth.with_grant(simulation.world, made)


@asynccontextmanager
async def session_of(
    worker: WorldTimeWorker, credential: dict[str, str] | None = None
) -> AsyncIterator[SourceSession]:
    """A session behind the real gate."""
    gate = GovernedGate(worker.governor, org=worker.org, caller="session", priority=Priority.NEWEST)
    fields = credential or worker.connection.credential
    held = Credential({name: Secret(value) for name, value in fields.items()})
    async with worker.source.open(held, {}, gate) as session:
        yield session


async def test_a_key_says_whose_it_is_and_what_it_may_read(workers: Workers) -> None:
    """Verifying tells the account with its zone and currency, and each scope that is missing."""
    simulation = workers.platforms.simulation
    worker = workers.of(PARIS)
    async with session_of(worker) as session:
        verified = await session.verify()
    assert verified.accounts == worker.connection.accounts
    assert verified.missing_scopes == ()
    grant(simulation, "pk_poor", frozenset({"accounts:read", "flows:read"}))
    async with session_of(worker, {"api_key": "pk_poor"}) as session:
        verified = await session.verify()
    assert verified.granted_scopes == ("accounts:read", "flows:read")
    assert verified.missing_scopes == ("campaigns:read", "metrics:read")


async def test_an_application_reads_as_a_key_does(workers: Workers, memory: Client) -> None:
    """An access token is bought for each session; its scopes are told and nothing is written."""
    simulation = workers.platforms.simulation
    grant(simulation, "refresh-1")
    worker = workers.of(PARIS, credential=OAUTH)
    await read_under(worker, DateBasis.SEND)
    assert await differs(memory, simulation, DateBasis.SEND) == []
    asked = simulation.journal.calls(Platform.KLAVIYO, endpoint="accounts")
    assert [entry.status for entry in asked] == ["200"]
    async with session_of(worker) as session:
        verified = await session.verify()
    assert verified.granted_scopes == tuple(sorted(KLAVIYO_SCOPES))
    assert verified.missing_scopes == ()
    assert worker.connection.kept == []


async def test_a_session_of_an_application_outlasts_its_access_token(workers: Workers) -> None:
    """What Klaviyo refuses after an hour is asked again with another token."""
    simulation = workers.platforms.simulation
    grant(simulation, "refresh-1")
    async with session_of(workers.of(PARIS, credential=OAUTH)) as session:
        verified = await session.verify()
        simulation.clock.advance(timedelta(hours=1))
        assert await session.verify() == verified
    asked = simulation.journal.calls(Platform.KLAVIYO, endpoint="accounts")
    assert [entry.status for entry in asked] == ["200", "401", "200"]


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.CONNECTION_RESET,
        FaultKind.ANSWER_LOST,
        FaultKind.ANSWER_CUT_OFF,
        FaultKind.ANSWER_IS_HTML,
        FaultKind.SERVICE_UNAVAILABLE,
    ],
)
async def test_a_token_endpoint_that_is_away_costs_no_credential(
    workers: Workers, memory: Client, kind: FaultKind
) -> None:
    """An application stays connected, and its numbers come once tokens do."""
    simulation = workers.platforms.simulation
    grant(simulation, "refresh-1")
    simulation.faults.add(Fault(kind, Platform.KLAVIYO, endpoint="token", times=2))
    worker = workers.of(PARIS, credential=OAUTH)
    await read_under(worker, DateBasis.SEND)
    assert simulation.faults.unstruck() == ()
    assert await differs(memory, simulation, DateBasis.SEND) == []


@pytest.mark.parametrize(
    "credential",
    [
        {"api_key": "pk_of_nobody"},
        {**OAUTH, "refresh_token": "of-nobody"},
        {**OAUTH, "client_secret": "wrong"},
        {"client_id": "alone"},
    ],
)
async def test_a_credential_that_opens_nothing_ends_typed(
    workers: Workers, credential: dict[str, str]
) -> None:
    """It is never tried again by itself, and no secret is in what is said of it."""
    worker = workers.of(PARIS, credential=credential)
    await worker.read_days(SETTLED[0], SETTLED[-1])
    slices = await worker.rows("run_slices")
    assert {it["state"] for it in slices} == {SliceState.FAILED}
    assert {it["error"]["error_class"] for it in slices} == {ErrorClass.CREDENTIALS}
    told = str([tuple(it.values()) for it in slices])
    assert not [value for name, value in credential.items() if "id" not in name and value in told]


async def test_another_accounts_numbers_are_never_stored(workers: Workers, memory: Client) -> None:
    """A key of another account, a changed currency and a closed account each stop the reading."""
    simulation = workers.platforms.simulation
    other = {"api_key": workers.platforms.token(Platform.KLAVIYO, NEW_YORK)}
    worker = workers.of(PARIS, credential=other)
    await read_under(worker, DateBasis.SEND)
    paris = simulation.account(Platform.KLAVIYO, PARIS)
    worker = workers.of(PARIS)
    simulation.world = truth.with_account(simulation.world, replace(paris, currency_code="SEK"))
    await read_under(worker, DateBasis.EVENT)
    simulation.world = truth.with_account(
        simulation.world, replace(paris, state=AccountState.DISABLED)
    )
    await read_under(worker, DateBasis.SEND)
    slices = sorted(await worker.rows("run_slices"), key=lambda it: it["start_time"])
    assert [it["error"]["error_class"] for it in slices] == [
        ErrorClass.CREDENTIALS,
        ErrorClass.INVALID_DATA,
        ErrorClass.ACCOUNT_CLOSED,
    ]
    assert "SEK" in slices[1]["error"]["message"]
    assert [entry async for entry in memory.memory.list_entries()] == []


async def test_a_revision_that_is_retired_never_falls_forward(workers: Workers) -> None:
    """The old revision is refused instead of answered in other shapes."""
    worker = workers.of(PARIS, revision="2024-07-15")
    await read_under(worker, DateBasis.SEND)
    (slice_,) = await worker.rows("run_slices")
    assert slice_["error"]["error_class"] == ErrorClass.VERSION
    assert worker.source.capabilities.api_version_end_date == date(2026, 7, 15)


async def test_objects_have_names_states_and_parents(workers: Workers) -> None:
    """Campaigns, flows and the messages of both; archived ones too, under their names of now."""
    simulation = workers.platforms.simulation
    worker = workers.of(PARIS)
    (account,) = worker.connection.accounts
    async with session_of(worker) as session:
        found = {it.object_id: it async for it in session.objects(account)}
    paris = simulation.account(Platform.KLAVIYO, PARIS)
    now = simulation.clock.now()
    entities = truth.entities_of(simulation.world, paris, now=now)
    today = truth.local_day(paris, now)
    assert {
        id_: (it.level, it.display_name, it.parent_id or None) for id_, it in found.items()
    } == {
        it.entity_id: (it.level.value, truth.at(it.name, today), truth.at(it.parent, today))
        for it in entities
    }
    states = Counter((it.level, it.state) for it in found.values())
    assert states["CAMPAIGN", "archived"] == 1
    assert states["FLOW", "live"] == 3
    assert states["MESSAGE", "sent"] > 10


@pytest.mark.parametrize("basis", BASES)
async def test_deleted_campaigns_keep_their_numbers(
    workers: Workers, memory: Client, basis: DateBasis
) -> None:
    """Halving days finds their dates; by event, what has no campaign any more is kept aside."""
    simulation = workers.platforms.simulation
    paris = simulation.account(Platform.KLAVIYO, PARIS)
    for campaign in truth.entities_of(
        simulation.world, paris, now=simulation.clock.now(), level=Level.CAMPAIGN
    ):
        gone = (*campaign.state, (date(2026, 11, 1), EntityState.DELETED))
        simulation.world = truth.with_entity(simulation.world, replace(campaign, state=gone))
    worker = workers.of(PARIS)
    await worker.read_days(SETTLED[0], SETTLED[-1], date_bases=(basis.value,))
    comparison, true = reported(simulation, basis, account_ids=(PARIS,), days=SETTLED)
    stored = await stored_figures(memory, comparison)
    if basis is DateBasis.SEND:
        nameless = {
            key: figures | ({"name": ""} if key[0] == "CAMPAIGN" else {})
            for key, figures in true.items()
        }
        assert differences(nameless, stored) == []
        assert len(await worker.rows("run_slices")) > 3
        return
    letters = await worker.rows("dead_letters")
    campaigns = {key for key in true if key[0] == "CAMPAIGN"}
    assert len(letters) == len(campaigns) > 0
    assert {"campaign_id"} <= {part["field"].split(".")[-1] for part in letters[0]["errors"]}
    sums = {
        (key[0], figures["clicked"], figures["revenue_micros"], key[-1])
        for key, figures in true.items()
        if key[0] != "CAMPAIGN"
    }
    assert sums == {
        (key[0], figures["clicked"], figures["revenue_micros"], key[-1])
        for key, figures in stored.items()
    }


async def test_a_foreign_link_is_never_followed(crowded: Workers) -> None:
    """Of a link only the cursor is used; the key stays with Klaviyo."""
    simulation = crowded.platforms.simulation
    worker = crowded.of(PARIS)
    simulation.faults.add(
        Fault(FaultKind.NEXT_LINK_FOREIGN, Platform.KLAVIYO, endpoint="campaigns", times=None)
    )
    await read_under(worker, DateBasis.SEND)
    pages = simulation.journal.calls(Platform.KLAVIYO, endpoint="campaigns")
    assert [bool(it.call.parameters.get("page[cursor]")) for it in pages] == [False, True]


async def test_no_secret_leaves_the_session(workers: Workers) -> None:
    """Neither the ledger nor any address has the key in it."""
    simulation = workers.platforms.simulation
    key = workers.platforms.token(Platform.KLAVIYO, PARIS)
    simulation.faults.add(Fault(FaultKind.SERVER_ERROR, Platform.KLAVIYO, times=3))
    worker = workers.of(PARIS)
    await read_under(worker, DateBasis.SEND)
    for entry in simulation.journal.calls(Platform.KLAVIYO):
        assert key not in str(entry.call)
    for table in ("run_slices", "runs", "dead_letters"):
        assert key not in str([tuple(it.values()) for it in await worker.rows(table)])
