"""A worker that reads a simulated platform into a real ledger and a real Memory."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from uuid import UUID

import asyncpg
from redis.asyncio import Redis
from tests.e2e.ingestion.readings import OneSource, SilentQueue

from liftos_client import Client
from liftos_ingestion.adapters.memory import MemoryEntryWriter
from liftos_ingestion.adapters.postgres.runs import PostgresRunLedger
from liftos_ingestion.adapters.redis.rate_governor import RedisRateGovernor
from liftos_ingestion.connection_ports import ConnectionOpener, OpenConnection
from liftos_ingestion.domain.windows import Days, windows
from liftos_ingestion.quota_ports import RateGovernor
from liftos_ingestion.run_ports import OBJECTS, NewRun, RunKind, SlicePlan
from liftos_ingestion.source_ports import (
    Credential,
    JsonObject,
    PlatformAccount,
    PlatformSource,
)
from liftos_ingestion.usecases.reading import Reading
from liftos_kit import postgres
from liftos_kit.secrets.secret import Secret
from liftos_platforms.clock import VirtualClock
from liftos_platforms.simulation import Simulation
from liftos_platforms.truth import Account, Platform, accounts_of

_OPEN_STATES = "(1, 2, 3)"


class WorldClock:
    """The time of a simulated world; sleeping moves it on instead of waiting."""

    def __init__(self, world: VirtualClock) -> None:
        self._world = world

    def now(self) -> datetime:
        """Return the world's moment."""
        return self._world.now()

    def today(self) -> date:
        """Return the world's date, in UTC."""
        return self._world.now().date()

    def monotonic_seconds(self) -> float:
        """Return the world's seconds."""
        return self._world.now().timestamp()

    async def sleep(self, seconds: float) -> None:
        """Move the world on."""
        self._world.advance(timedelta(seconds=seconds))


def described(account: Account) -> PlatformAccount:
    """An account of the truth as a source describes it."""
    return PlatformAccount(
        account.account_id, account.name, account.time_zone, account.currency_code
    )


def described_accounts(simulation: Simulation, platform: Platform) -> Sequence[PlatformAccount]:
    """All accounts of a platform that have figures of their own."""
    return [
        described(account)
        for account in accounts_of(simulation.world, platform)
        if not account.is_manager
    ]


@dataclass
class FixedConnection:
    """Opens one connection, whatever its name.

    Attributes:
        kept: Fields that a session renewed, in order.
    """

    platform: str
    accounts: Sequence[PlatformAccount]
    credential: Mapping[str, str]
    settings: JsonObject = field(default_factory=dict)
    kept: list[Mapping[str, str]] = field(default_factory=list)

    async def open(self, org: str, connection: str) -> OpenConnection:
        """Return it."""
        fields = {name: Secret(value) for name, value in self.credential.items()}

        async def keep(renewed: Mapping[str, Secret], _: datetime | None) -> bool:
            self.credential = {name: value.reveal() for name, value in renewed.items()}
            self.kept.append(self.credential)
            return True

        return OpenConnection(self.platform, self.settings, Credential(fields, keep), self.accounts)


@dataclass
class PlatformWorker:
    """A worker over one org, one platform and one connection, with the time of its world.

    The governor has the world's time too, so that a limit of minutes ends when the world's clock
    is moved on. A slice takes it a second: what the world knows stays, and calls are apart.
    """

    org: str
    simulation: Simulation
    source: PlatformSource
    connection: FixedConnection
    pool: asyncpg.Pool
    memory: Client
    redis: Redis

    def __post_init__(self) -> None:
        self.ledger = PostgresRunLedger(self.pool, SilentQueue())
        self._clock_key = f"clock:{self.org}"
        self._read_count = 0
        self.read_through(self.connection)

    def make_governor(self) -> RateGovernor:
        """Return a governor that has the world's time."""
        return RedisRateGovernor(self.redis, clock_command=("LRANGE", self._clock_key, "0", "1"))

    def read_through(self, connections: ConnectionOpener) -> None:
        """Take connections from there from now on."""
        self._reading = Reading(
            ledger=self.ledger,
            connections=connections,
            catalog=OneSource(self.source),
            governor=self.make_governor(),
            writer=MemoryEntryWriter(lambda _: self.memory),
            executor=ThreadPoolExecutor(1),
            clock=WorldClock(self.simulation.clock),
            worker="worker",
        )

    async def start(
        self,
        first: date,
        last: date,
        *,
        account_ids: Sequence[str] = (),
        levels: Sequence[str] = (),
        date_bases: Sequence[str] = (),
    ) -> UUID:
        """Start a run of these days; of all accounts, levels and bases where none is named.

        `OBJECTS` among the levels are the objects of the accounts.
        """
        accounts = account_ids or [it.account_id for it in self.connection.accounts]
        capabilities = self.source.capabilities
        slices = [
            SlicePlan(account, level, "", basis, days.start, days.end, 0)
            for account in accounts
            for level in levels or capabilities.levels
            if level != OBJECTS
            for basis in date_bases or capabilities.date_bases
            for days in windows(Days(first, last), days_per_read=capabilities.days_per_read)
        ]
        if OBJECTS in levels:
            slices += [SlicePlan(account, OBJECTS, "", "", last, last, 1) for account in accounts]
        run = await self.ledger.start(
            self.org,
            NewRun(
                kind=RunKind.INCREMENTAL,
                connection="shop",
                platform=self.source.platform,
                start_date=first,
                end_date=last,
                levels=tuple(it for it in levels or capabilities.levels if it != OBJECTS),
                account_ids=tuple(accounts),
                force=True,
                slices=slices,
                subject="test",
            ),
        )
        assert run is not None
        return run

    async def read_due(self) -> int:
        """Read each open slice once, whether its time has come or not; return how many."""
        async with postgres.transaction(self.pool, org=self.org) as connection:
            await connection.execute(
                f"update run_slices set next_attempt_time = now() where state in {_OPEN_STATES}"
            )
            slices = await connection.fetch(
                f"select slice from run_slices where state in {_OPEN_STATES}"
                " order by start_date, level, slice"
            )
        for found in slices:
            await self._set_clock()
            await self._reading.read(self.org, found["slice"])
            self._read_count += 1
        return len(slices)

    async def _set_clock(self) -> None:
        moment = self.simulation.clock.now().timestamp() + self._read_count
        await self.redis.delete(self._clock_key)
        await self.redis.rpush(self._clock_key, str(int(moment)), str(int(moment % 1 * 1e6)))

    async def read_all(self, *, rounds: int = 60, minutes_between: float = 0.0) -> int:
        """Read until no slice is open; return how many rounds that took.

        Args:
            rounds: After so many the test has failed.
            minutes_between: How far the world's clock moves on after each round.
        """
        for number in range(rounds):
            if not await self.read_due():
                return number
            self.simulation.clock.advance(timedelta(minutes=minutes_between))
        raise AssertionError(f"slices are still open: {await self.rows('run_slices')}")

    async def read_days(self, first: date, last: date, **which: Sequence[str]) -> UUID:
        """Start a run and read it to its end."""
        run = await self.start(first, last, **which)
        await self.read_all()
        return run

    async def rows(self, table: str) -> Sequence[asyncpg.Record]:
        """Return the rows of a table of the ledger."""
        async with postgres.transaction(self.pool, org=self.org) as connection:
            found: Sequence[asyncpg.Record] = await connection.fetch(f"select * from {table}")
        return found
