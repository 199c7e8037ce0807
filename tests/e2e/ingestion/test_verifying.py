"""Workers verify connections by themselves, each by one, on the database's clock."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
import structlog
from tests.e2e.ingestion.connecting import BAD, GOOD, OUTLET, SHOP, Delay, PickyPlatform, refusal
from tests.e2e.ingestion.desk import DAY, Desk, OfOneOrg
from tests.e2e.ingestion.platform_worker import WorldClock

from liftos_ingestion.adapters.inmemory_rate_governor import InMemoryRateGovernor
from liftos_ingestion.adapters.sources.klaviyo import KlaviyoSource
from liftos_ingestion.adapters.sources.meta import MetaSource
from liftos_ingestion.connection_ports import (
    ConnectionState,
)
from liftos_ingestion.domain.alerts import AlertKind
from liftos_ingestion.domain.failures import ErrorClass
from liftos_ingestion.source_ports import PlatformSource, Verified
from liftos_ingestion.usecases.verifying import Verifying
from liftos_kit.core.errors import StoreUnavailableError
from liftos_platforms.meta import MetaFace
from liftos_platforms.simulation import Simulation
from liftos_platforms.testing import running_platforms
from liftos_platforms.truth import Platform, with_account, with_grant


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(10):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


def suspending(what: str) -> str:
    """Return what suspends each connection, or its whole platform."""
    chosen = {"platform": "platform, ''", "connection": "'', connection"}[what]
    return (
        "insert into suspensions (org, suspension, platform, connection, account_id, reason,"
        f" subject) select org, gen_random_uuid(), {chosen}, '', 'test', 'test' from connections"
    )


STOPPING = {
    "disabled": "update connections set disabled = true",
    "suspended": suspending("connection"),
    "platform-suspended": suspending("platform"),
}


@pytest.fixture
def platform() -> PickyPlatform:
    """A platform that takes one token."""
    return PickyPlatform()


@pytest.fixture
async def desk(pool: asyncpg.Pool, org: str, platform: PickyPlatform) -> AsyncIterator[Desk]:
    """Verifications over that platform; its connections are gone afterwards."""
    made = Desk(org, pool, {"meta": platform})
    yield made
    await made.leave()


@pytest.fixture
async def own_desk(
    pool: asyncpg.Pool, org: str
) -> AsyncIterator[Callable[[Mapping[str, PlatformSource]], Desk]]:
    """Makes verifications over the sources of a test; their connections are gone afterwards."""
    made: list[Desk] = []

    def make(sources: Mapping[str, PlatformSource]) -> Desk:
        made.append(Desk(org, pool, sources))
        return made[-1]

    yield make
    for each in made:
        await each.leave()


async def test_once_a_day_by_one_worker(desk: Desk, platform: PickyPlatform) -> None:
    """Several that look at once try once, and what was verified today is left alone."""
    await desk.register(access_token=GOOD)
    await asyncio.gather(*(desk.look() for _ in range(4)))
    assert platform.shown == [GOOD]
    stored = await desk.get()
    assert stored.state is ConnectionState.ACTIVE
    assert [it.account_id for it in stored.accounts] == ["7", "8"]
    assert stored.verify_time is not None
    assert datetime.now(UTC) - stored.verify_time < timedelta(minutes=5)
    await desk.look()
    await desk.age(timedelta(hours=17))
    await desk.look()
    assert platform.shown == [GOOD]
    await desk.age(timedelta(hours=8))
    await desk.look()
    assert platform.shown == [GOOD, GOOD]


async def test_they_are_spread(pool: asyncpg.Pool, platform: PickyPlatform) -> None:
    """Connections that were made together are not verified together for ever."""
    # When each is due hangs on the names.
    desk = Desk("spread", pool, {"meta": platform})
    names = [f"shop-{number}" for number in range(12)]
    try:
        for name in names:
            await desk.register(name, access_token=GOOD)
        await desk.do("update connections set verify_time = now() - interval '21 hours'")
        await desk.look()
        assert 0 < len(platform.shown) < len(names)
        await desk.age(timedelta(hours=3))
        await desk.look()
        assert len(platform.shown) == len(names)
    finally:
        await desk.leave()


async def test_a_refused_credential_is_told_and_taken_back(
    desk: Desk, platform: PickyPlatform
) -> None:
    """An alert opens before any run, and ends once the platform takes the credential again."""
    await desk.register(access_token=BAD)
    await desk.look()
    assert (await desk.get()).state is ConnectionState.REJECTED
    assert await desk.open_alerts() == {AlertKind.CREDENTIALS_REJECTED}
    platform.answers[BAD] = Verified([SHOP])
    await desk.age()
    await desk.look()
    assert (await desk.get()).state is ConnectionState.ACTIVE
    assert await desk.open_alerts() == set()


async def test_what_became_of_it_is_told_once(desk: Desk, platform: PickyPlatform) -> None:
    """A refused credential is none that was verified, and one warning says whose it is."""
    platform.answers["EAAB-token-of-one-that-is-away"] = refusal(ErrorClass.TRANSIENT)
    await desk.register("refused", access_token=BAD)
    await desk.register("taken", access_token=GOOD)
    await desk.register("away", access_token="EAAB-token-of-one-that-is-away")
    with structlog.testing.capture_logs() as logged:
        await desk.look()
    assert {it["org"] for it in logged} == {desk.org}
    tried = {it["connection"]: it["state"] for it in logged if it["event"] == "connection_tried"}
    assert tried == {"refused": "REJECTED", "taken": "ACTIVE"}
    warned = [it["connection"] for it in logged if it["log_level"] == "warning"]
    assert sorted(warned) == ["away", "refused"]


async def test_a_credential_that_does_not_open_is_warned_of(desk: Desk) -> None:
    """Whether the platform takes it, nobody could ask."""
    await desk.register(access_token=GOOD)
    await desk.do("update connections set credential_key_id = 'gone'")
    with structlog.testing.capture_logs() as logged:
        await desk.look()
    (warned,) = [it for it in logged if it["log_level"] == "warning"]
    assert (warned["event"], warned["org"], warned["connection"]) == (
        "credential_not_verified",
        desk.org,
        "shop",
    )


async def test_a_fault_of_one_source_stops_nothing(desk: Desk, platform: PickyPlatform) -> None:
    """Others are verified, the fault is told, and the worker goes on until it is stopped."""
    fault: Exception = KeyError("id")
    platform.answers[BAD] = fault
    await desk.register("broken", access_token=BAD)
    await desk.register("sound", access_token=GOOD)
    stop = asyncio.Event()
    with structlog.testing.capture_logs() as logged:
        running = asyncio.create_task(desk.verifying().run(stop))
        await until(lambda: len(logged) >= 2)
        assert not running.done()
        stop.set()
        async with asyncio.timeout(5):
            await running
    told = {it["connection"]: (it["event"], it["log_level"]) for it in logged}
    assert told == {
        "broken": ("connection_not_verified", "error"),
        "sound": ("connection_tried", "info"),
    }
    assert [it.account_id for it in (await desk.get("sound")).accounts] == ["7", "8"]


async def test_a_platform_that_hangs_holds_up_no_other(desk: Desk, platform: PickyPlatform) -> None:
    """What is due behind it is verified meanwhile."""
    platform.delays[BAD] = Delay()
    await desk.register("hangs", access_token=BAD)
    await desk.do("update connections set verify_time = null")
    for number in range(6):
        await desk.register(f"shop-{number}", access_token=GOOD)
    look = asyncio.create_task(desk.look())
    await until(lambda: platform.shown.count(GOOD) >= 6)
    assert not look.done()
    platform.delays[BAD].over.set()
    await look


@pytest.mark.parametrize("patient", [True, False])
async def test_a_worker_leaves_in_time(
    desk: Desk, platform: PickyPlatform, *, patient: bool
) -> None:
    """What is under way may end within the grace; nothing is begun any more."""
    platform.delays[GOOD] = Delay()
    for number in range(6):
        await desk.register(f"shop-{number}", access_token=GOOD)
    stop = asyncio.Event()
    grace_seconds = 60.0 if patient else 0.05
    running = asyncio.create_task(desk.verifying(grace_seconds=grace_seconds).run(stop))
    await until(lambda: len(platform.shown) >= 4)
    stop.set()
    if patient:
        platform.delays[GOOD].over.set()
    async with asyncio.timeout(10):
        await running
    assert len(platform.shown) == 4
    described = [bool((await desk.get(f"shop-{number}")).accounts) for number in range(6)]
    assert described.count(True) == (4 if patient else 0)


async def test_accounts_are_brought_up_to_date(desk: Desk, platform: PickyPlatform) -> None:
    """What the platform has changed of them is known to the next run."""
    await desk.register(access_token=GOOD)
    await desk.look()
    moved = replace(SHOP, time_zone="Europe/Paris", currency_code="CHF")
    platform.answers[GOOD] = Verified([moved, OUTLET])
    await desk.age()
    await desk.look()
    shop, _ = (await desk.get()).accounts
    assert (shop.time_zone, shop.currency_code) == ("Europe/Paris", "CHF")


@pytest.mark.parametrize("stopping", STOPPING.values(), ids=STOPPING)
async def test_what_is_left_alone(desk: Desk, platform: PickyPlatform, stopping: str) -> None:
    """No call is made for what a person has stopped, and none without a credential."""
    await desk.register(access_token=GOOD)
    await desk.do(stopping)
    await desk.register("without")
    await desk.look()
    assert platform.shown == []


@pytest.mark.parametrize("stopping", STOPPING.values(), ids=STOPPING)
async def test_what_is_stopped_once_it_is_listed(
    desk: Desk, platform: PickyPlatform, stopping: str
) -> None:
    """A worker that waits for its turn makes no call for what a person has stopped meanwhile."""
    platform.delays[GOOD] = Delay()
    for number in range(5):
        await desk.register(f"shop-{number}", access_token=GOOD)
    look = asyncio.create_task(desk.look())
    await until(lambda: len(platform.shown) >= 4)
    await desk.do(stopping)
    platform.delays[GOOD].over.set()
    await look
    assert len(platform.shown) == 4


async def test_a_platform_that_does_not_answer(desk: Desk, platform: PickyPlatform) -> None:
    """Nothing is changed, the others are verified, and it is tried again an hour later."""
    platform.answers[BAD] = refusal(ErrorClass.TRANSIENT)
    await desk.register("down", access_token=BAD)
    await desk.register("up", access_token=GOOD)
    await desk.look()
    assert sorted(platform.shown) == sorted([BAD, GOOD])
    assert (await desk.get("down")).state is ConnectionState.ACTIVE
    await desk.look()
    assert platform.shown.count(BAD) == 1
    platform.answers[BAD] = Verified([SHOP])
    await desk.age(timedelta(hours=1))
    await desk.look()
    assert platform.shown.count(BAD) == 2
    verify_time = (await desk.get("down")).verify_time
    assert verify_time is not None
    assert datetime.now(UTC) - verify_time < timedelta(minutes=5)


async def test_a_token_of_meta_is_renewed_before_it_ends(
    own_desk: Callable[[Mapping[str, PlatformSource]], Desk],
) -> None:
    """Nobody has to do anything for as long as workers run, however many months that is."""
    simulation = Simulation()
    (grant,) = [it for it in simulation.world.grants if it.platform is Platform.META]
    ends = simulation.clock.now() + timedelta(days=20)
    simulation.world = with_grant(simulation.world, replace(grant, expires_at=ends))
    async with running_platforms(Platform.META, simulation=simulation) as platforms:
        clock = WorldClock(simulation.clock)
        source = MetaSource(
            platforms.url(Platform.META), version="v26.0", timeout_seconds=2.0, clock=clock
        )
        desk = own_desk({"meta": source})
        face = platforms.faces[Platform.META]
        assert isinstance(face, MetaFace)
        await desk.register(
            access_token=platforms.token(Platform.META),
            app_id=face.app_id,
            app_secret=face.app_secret,
        )
        ended = []
        for _ in range(4):
            await desk.look()
            stored = await desk.get()
            assert stored.state is ConnectionState.ACTIVE
            assert stored.credential.expire_time is not None
            ended.append(stored.credential.expire_time)
            assert ended[-1] > simulation.clock.now() + timedelta(days=30)
            simulation.clock.advance(timedelta(days=35))
            await desk.age()
        assert ended == sorted(set(ended))


async def test_a_currency_that_klaviyo_changes(
    own_desk: Callable[[Mapping[str, PlatformSource]], Desk],
) -> None:
    """It is known a day later, so that readings go on without a person."""
    simulation = Simulation()
    account = simulation.account(Platform.KLAVIYO, "KLvEU1")
    async with running_platforms(Platform.KLAVIYO, simulation=simulation) as platforms:
        url = platforms.url(Platform.KLAVIYO)
        source = KlaviyoSource(url, revision="2026-10-15", timeout_seconds=2.0)
        desk = own_desk({"klaviyo": source})
        await desk.register(api_key=platforms.token(Platform.KLAVIYO, account.account_id))
        found = []
        for currency in (account.currency_code, "CHF"):
            changed = replace(account, currency_code=currency)
            simulation.world = with_account(simulation.world, changed)
            # A day later: the limits of a second are over at the platform, and in a new worker.
            await replace(desk, governor=InMemoryRateGovernor()).look()
            (kept,) = (await desk.get()).accounts
            found.append(kept.currency_code)
            simulation.clock.advance(DAY)
            await desk.age()
        assert found == [account.currency_code, "CHF"]


class _Leaving(OfOneOrg):
    """A store that goes away after what is due was read."""

    async def claim_verification(
        self, org: str, connection: str, *, every: timedelta, again: timedelta
    ) -> bool:
        """Fail."""
        raise StoreUnavailableError("postgres")


async def test_an_outage_of_the_store_is_told_once(desk: Desk, platform: PickyPlatform) -> None:
    """It is none of the connections', and ends the round."""
    for number in range(6):
        await desk.register(f"shop-{number}", access_token=GOOD)
    due = _Leaving(desk.connections, desk.org)
    verifying = Verifying(due, desk.administration, every=DAY, grace_seconds=5.0)
    stop = asyncio.Event()
    with structlog.testing.capture_logs() as logged:
        running = asyncio.create_task(verifying.run(stop))
        await until(lambda: bool(logged))
        stop.set()
        async with asyncio.timeout(5):
            await running
    assert [(it["event"], it["log_level"]) for it in logged] == [
        ("connections_unverified", "warning")
    ]
    assert platform.shown == []
