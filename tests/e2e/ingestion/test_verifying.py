"""Workers verify connections by themselves, each by one, on the database's clock."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import asyncpg
import pytest
from tests.e2e.ingestion.connecting import BAD, GOOD, OUTLET, SHOP, PickyPlatform, refusal
from tests.e2e.ingestion.platform_worker import WorldClock

from liftos_ingestion.adapters.credential_vault import KeyringVault
from liftos_ingestion.adapters.inmemory_rate_governor import InMemoryRateGovernor
from liftos_ingestion.adapters.postgres.connections import (
    PostgresConnectionOpener,
    PostgresConnections,
)
from liftos_ingestion.adapters.postgres.sources import PostgresSources
from liftos_ingestion.adapters.postgres.watched_orgs import PostgresWatchedOrgs
from liftos_ingestion.adapters.sources.klaviyo import KlaviyoSource
from liftos_ingestion.adapters.sources.meta import MetaSource
from liftos_ingestion.catalog_ports import NewSource
from liftos_ingestion.connection_ports import (
    ConnectionState,
    NewConnection,
    StoredConnection,
)
from liftos_ingestion.domain.alerts import AlertKind, AlertState
from liftos_ingestion.domain.failures import ErrorClass
from liftos_ingestion.source_ports import PlatformSource, Verified
from liftos_ingestion.usecases.connections import ConnectionAdministration
from liftos_ingestion.usecases.sources import Catalog
from liftos_ingestion.usecases.verifying import Verifying
from liftos_ingestion.usecases.watching_over import WatchingOver
from liftos_kit import postgres
from liftos_kit.core.clock import SystemClock
from liftos_kit.secrets.credentials import SecretPlaces
from liftos_kit.secrets.keyring import Keyring
from liftos_kit.secrets.secret import Secret
from liftos_platforms.meta import MetaFace
from liftos_platforms.simulation import Simulation
from liftos_platforms.testing import running_platforms
from liftos_platforms.truth import Platform, with_account, with_grant

DAY = timedelta(days=1)


def _build(spec: NewSource) -> NoReturn:
    raise AssertionError("no test here has a source of its own")


@dataclass
class Desk:
    """A worker's verifications over an org, and what is kept of its connections."""

    org: str
    pool: asyncpg.Pool
    sources: Mapping[str, PlatformSource]
    vault: KeyringVault = field(
        default_factory=lambda: KeyringVault(SecretPlaces(keyring=Keyring({"k1": os.urandom(32)})))
    )

    def __post_init__(self) -> None:
        self.connections = PostgresConnections(self.pool)
        self.opener = PostgresConnectionOpener(self.pool, self.vault)
        self.administration = ConnectionAdministration(
            store=self.connections,
            catalog=Catalog(self.sources, store=PostgresSources(self.pool), build=_build),
            opener=self.opener,
            vault=self.vault,
            governor=InMemoryRateGovernor(),
        )

    async def register(self, connection: str = "shop", **fields: str) -> None:
        """Keep a connection with a credential that was verified a day ago."""
        (platform,) = self.sources
        async with self.connections.write(self.org) as write:
            await write.insert(NewConnection(connection, connection, platform, {}, (), False))
            if fields:
                secrets = {field: Secret(value) for field, value in fields.items()}
                name = f"orgs/{self.org}/connections/{connection}"
                await write.set_credential(connection, self.vault.seal(secrets, resource_name=name))
        await self.do(
            "update connections set state = 2, verify_time = now() - interval '1 day'"
            " where connection = $1",
            connection,
        )

    async def age(self, by: timedelta = DAY) -> None:
        """Let every verification, and every try, be so much older."""
        await self.do(
            "update connections set verify_time = verify_time - $1::interval,"
            " verify_attempt_time = verify_attempt_time - $1::interval",
            by,
        )

    async def do(self, statement: str, *values: Any) -> None:
        """Change something behind the back of the service."""
        async with postgres.transaction(self.pool, org=self.org) as connection:
            await connection.execute(statement, *values)

    async def look(self) -> None:
        """Verify what is due, as one worker of several."""
        due = OfOneOrg(self.connections, self.org)
        await Verifying(due, self.administration, every=DAY).look(asyncio.Event())

    async def get(self, connection: str = "shop") -> StoredConnection:
        """Return a connection as it is kept."""
        return await self.connections.get(self.org, connection)

    async def open_alerts(self) -> set[AlertKind]:
        """Look at the org and return the kinds of its alerts."""
        await WatchingOver(PostgresWatchedOrgs(self.pool), {}, SystemClock()).look(self.org)
        async with postgres.transaction(self.pool, org=self.org) as connection:
            found = await connection.fetch("select kind, state from alerts")
        return {AlertKind(it["kind"]) for it in found if it["state"] != AlertState.RESOLVED}


@dataclass(frozen=True)
class OfOneOrg:
    """What is due of one org, since other tests have connections as well."""

    connections: PostgresConnections
    org: str

    async def due_verifications(
        self, *, every: timedelta, again: timedelta
    ) -> list[tuple[str, str]]:
        """Return what is due."""
        due = await self.connections.due_verifications(every=every, again=again)
        return [it for it in due if it[0] == self.org]

    async def claim_verification(self, org: str, connection: str, *, again: timedelta) -> bool:
        """Begin a try."""
        return await self.connections.claim_verification(org, connection, again=again)


def suspending(what: str) -> str:
    """Return what suspends each connection, or its whole platform."""
    chosen = {"platform": "platform, ''", "connection": "'', connection"}[what]
    return (
        "insert into suspensions (org, suspension, platform, connection, account_id, reason,"
        f" subject) select org, gen_random_uuid(), {chosen}, '', 'test', 'test' from connections"
    )


@pytest.fixture
def platform() -> PickyPlatform:
    """A platform that takes one token."""
    return PickyPlatform()


@pytest.fixture
async def desk(pool: asyncpg.Pool, org: str, platform: PickyPlatform) -> AsyncIterator[Desk]:
    """Verifications over that platform; its connections are gone afterwards."""
    made = Desk(org, pool, {"meta": platform})
    yield made
    await made.do("delete from connections")


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


async def test_they_are_spread(desk: Desk, platform: PickyPlatform) -> None:
    """Connections that were made together are not verified together for ever."""
    names = [f"shop-{number}" for number in range(12)]
    for name in names:
        await desk.register(name, access_token=GOOD)
    await desk.do("update connections set verify_time = now() - interval '21 hours'")
    await desk.look()
    assert 0 < len(platform.shown) < len(names)
    await desk.age(timedelta(hours=3))
    await desk.look()
    assert len(platform.shown) >= len(names)


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


@pytest.mark.parametrize(
    "left_alone",
    ["update connections set disabled = true", suspending("connection"), suspending("platform")],
    ids=["disabled", "suspended", "platform-suspended"],
)
async def test_what_is_left_alone(desk: Desk, platform: PickyPlatform, left_alone: str) -> None:
    """No call is made for what a person has stopped, and none without a credential."""
    await desk.register(access_token=GOOD)
    await desk.do(left_alone)
    await desk.register("without")
    await desk.look()
    assert platform.shown == []
    await desk.do("delete from suspensions")


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


async def test_a_token_of_meta_is_renewed_before_it_ends(pool: asyncpg.Pool, org: str) -> None:
    """Nobody has to do anything for as long as workers run, however many months that is."""
    simulation = Simulation()
    (grant,) = [it for it in simulation.world.grants if it.platform is Platform.META]
    ends = simulation.clock.now() + timedelta(days=20)
    simulation.world = with_grant(simulation.world, replace(grant, expires_at=ends))
    async with running_platforms(Platform.META, simulation=simulation) as platforms:
        clock = WorldClock(simulation.clock)
        source = MetaSource(platforms.url(Platform.META), "v26.0", None, 2.0, clock=clock)
        desk = Desk(org, pool, {"meta": source})
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
    await desk.do("delete from connections")


async def test_a_currency_that_klaviyo_changes(pool: asyncpg.Pool, org: str) -> None:
    """It is known a day later, so that readings go on without a person."""
    simulation = Simulation()
    account = simulation.account(Platform.KLAVIYO, "KLvEU1")
    async with running_platforms(Platform.KLAVIYO, simulation=simulation) as platforms:
        url = platforms.url(Platform.KLAVIYO)
        desk = Desk(org, pool, {"klaviyo": KlaviyoSource(url, "2026-10-15", None, 2.0)})
        await desk.register(api_key=platforms.token(Platform.KLAVIYO, account.account_id))
        found = []
        for currency in (account.currency_code, "CHF"):
            changed = replace(account, currency_code=currency)
            simulation.world = with_account(simulation.world, changed)
            # A day later: the limits of a second are over at the platform, and in a new worker.
            await replace(desk).look()
            (kept,) = (await desk.get()).accounts
            found.append(kept.currency_code)
            simulation.clock.advance(DAY)
            await desk.age()
        assert found == [account.currency_code, "CHF"]
    await desk.do("delete from connections")
