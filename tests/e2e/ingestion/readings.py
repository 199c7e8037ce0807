"""Reading from a source that a test scripts, into a real ledger and a real Memory."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from uuid import UUID

import asyncpg

from liftos_client import Client
from liftos_ingestion.adapters.memory import MemoryEntryWriter
from liftos_ingestion.adapters.postgres.runs import PostgresRunLedger
from liftos_ingestion.connection_ports import OpenConnection
from liftos_ingestion.quota_ports import RateGovernor
from liftos_ingestion.run_ports import OBJECTS, NewRun, RunKind, SlicePlan
from liftos_ingestion.source_ports import (
    CallGate,
    Capabilities,
    Credential,
    JsonObject,
    Page,
    PlatformAccount,
    PlatformJob,
    PlatformObject,
    PlatformSource,
    ReadRequest,
    SourceSession,
    Verified,
    query_hash,
)
from liftos_ingestion.usecases.reading import BYTES_IN_HAND, AttemptMeasure, Reading
from liftos_kit import postgres
from liftos_kit.core.clock import SystemClock
from liftos_kit.jobs.queue import Job
from liftos_kit.secrets.secret import Secret
from liftos_mapping.mapping import PlatformMapping
from liftos_mapping.platforms import platform_mapping
from liftos_mapping.transform import TransformContext

DAY = date(2026, 3, 2)
Answer = Callable[[ReadRequest], "AsyncGenerator[Page | PlatformJob, None]"]


def row(campaign: str, clicks: object, *, day: date = DAY, spend: str = "1.50") -> JsonObject:
    """A row as Meta's Insights gives it."""
    return {
        "account_id": "7",
        "campaign_id": campaign,
        "campaign_name": f"Campaign {campaign}",
        "date_start": day.isoformat(),
        "date_stop": day.isoformat(),
        "clicks": clicks,
        "spend": spend,
    }


def pages(*of: Sequence[JsonObject]) -> Answer:
    """Answer with these pages."""

    async def answer(request: ReadRequest) -> AsyncGenerator[Page | PlatformJob, None]:
        for call, rows in enumerate(of, start=1):
            raw = repr(rows).encode()
            yield Page(
                rows,
                TransformContext(),
                raw=raw,
                request_id=f"call-{call}",
                query_hash=query_hash("rows"),
            )

    return answer


def failing(error: Exception, *before: Sequence[JsonObject]) -> Answer:
    """Answer with these pages, then fail."""

    async def answer(request: ReadRequest) -> AsyncGenerator[Page | PlatformJob, None]:
        for rows in before:
            yield Page(rows, TransformContext())
        raise error

    return answer


@dataclass
class ScriptedSource:
    """A source whose answers a test gives, one for each reading; the last one stays.

    Attributes:
        answers: What readings are given, in order.
        requests: What was asked.
        listed: What lists of objects hold, and what they break off or fail with.
        list_count: How often objects were listed.
        jobs: The platform's jobs that readings were given back.
        gates: What sessions were given to ask for leave.
        ended: Readings and sessions in the order in which they ended.
    """

    answers: list[Answer] = field(default_factory=list)
    listed: Sequence[PlatformObject | Exception] | Exception = ()
    list_count: int = 0
    requests: list[ReadRequest] = field(default_factory=list)
    jobs: list[PlatformJob | None] = field(default_factory=list)
    gates: list[CallGate] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    platform: str = "meta"
    display_name: str = "Meta"
    capabilities: Capabilities = Capabilities(  # noqa: RUF009 - frozen
        levels=("ACCOUNT", "CAMPAIGN"),
        date_bases=("INTERACTION",),
        restatement_days=28,
        retention_days=0,
        days_per_read=28,
        totals=True,
        api_version="v26.0",
    )
    credential_schema: JsonObject = field(default_factory=dict)
    settings_schema: JsonObject = field(default_factory=dict)
    mapping: PlatformMapping = field(default_factory=lambda: platform_mapping("meta"))

    @asynccontextmanager
    async def open(
        self, credential: Mapping[str, Secret], settings: JsonObject, gate: CallGate
    ) -> AsyncIterator[SourceSession]:
        """Begin a session."""
        self.gates.append(gate)
        try:
            yield self
        finally:
            self.ended.append("session")

    async def verify(self) -> Verified:
        """Take any credential."""
        return Verified([ACCOUNT])

    async def objects(self, account: PlatformAccount) -> AsyncGenerator[PlatformObject, None]:
        """List what the test says."""
        self.list_count += 1
        if isinstance(self.listed, Exception):
            raise self.listed
        for each in self.listed:
            if isinstance(each, Exception):
                raise each
            yield each

    async def read(
        self, request: ReadRequest, job: PlatformJob | None
    ) -> AsyncGenerator[Page | PlatformJob, None]:
        """Give the next answer."""
        self.requests.append(request)
        self.jobs.append(job)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        try:
            async with aclosing(answer(request)) as items:
                async for item in items:
                    yield item
        finally:
            self.ended.append("reading")


ACCOUNT = PlatformAccount("7", "Shop", "Europe/Berlin", "EUR")


class OneConnection:
    """Opens one connection, whatever its name."""

    async def open(self, org: str, connection: str) -> OpenConnection:
        """Return it."""
        return OpenConnection(
            "meta", {}, Credential({}), [ACCOUNT, PlatformAccount("8", "B", "UTC", "EUR")]
        )


class OneSource:
    """Knows one source, whatever is asked for."""

    def __init__(self, source: PlatformSource) -> None:
        self._source = source

    async def source(self, org: str, platform: str) -> PlatformSource:
        """Return it."""
        return self._source


class SilentQueue:
    """Keeps jobs instead of waking anybody; the test reads slices itself."""

    async def enqueue(
        self, jobs: Sequence[Job], *, connection: asyncpg.Connection | None = None
    ) -> None:
        """Forget them."""


@dataclass
class Harness:
    """A worker over one org.

    Attributes:
        measures: What its tries came to.
    """

    org: str
    source: ScriptedSource
    ledger: PostgresRunLedger
    writer: MemoryEntryWriter
    pool: asyncpg.Pool
    governor: RateGovernor
    measures: list[AttemptMeasure] = field(default_factory=list)

    def reading(self, worker: str = "worker-1", *, bytes_in_hand: int = BYTES_IN_HAND) -> Reading:
        """Return a worker."""
        return Reading(
            ledger=self.ledger,
            connections=OneConnection(),
            catalog=OneSource(self.source),
            governor=self.governor,
            writer=self.writer,
            executor=ThreadPoolExecutor(1),
            clock=SystemClock(),
            worker=worker,
            bytes_in_hand=bytes_in_hand,
            on_attempt=self.measures.append,
        )

    async def start(
        self,
        *,
        days: int = 1,
        accounts: Sequence[str] = ("7",),
        levels: Sequence[str] = ("CAMPAIGN",),
        objects: bool = False,
    ) -> UUID:
        """Start a run of the first days of March, of the objects of the accounts too if wanted."""
        end = DAY.replace(day=DAY.day + days - 1)
        run = await self.ledger.start(
            self.org,
            NewRun(
                kind=RunKind.INCREMENTAL,
                connection="shop",
                platform="meta",
                start_date=DAY,
                end_date=end,
                levels=tuple(levels),
                account_ids=tuple(accounts),
                force=False,
                slices=[
                    SlicePlan(account, level, "", "INTERACTION", DAY, end, 0)
                    for account in accounts
                    for level in levels
                ]
                + [
                    SlicePlan(account, OBJECTS, "", "", end, end, 1)
                    for account in accounts
                    if objects
                ],
                subject="test",
            ),
        )
        assert run is not None
        return run

    async def read_due(self, *, worker: str = "worker-1") -> int:
        """Read each slice that is open, whether its time has come or not; return how many."""
        async with postgres.transaction(self.pool, org=self.org) as connection:
            await connection.execute(
                "update run_slices set next_attempt_time = now() where state in (1, 3)"
            )
            slices = await connection.fetch(
                "select slice from run_slices where state in (1, 2, 3) order by start_date, level"
            )
        for found in slices:
            await self.reading(worker).read(self.org, found["slice"])
        return len(slices)

    async def rows(self, table: str) -> Sequence[asyncpg.Record]:
        """Return the rows of a table."""
        async with postgres.transaction(self.pool, org=self.org) as connection:
            found: Sequence[asyncpg.Record] = await connection.fetch(f"select * from {table}")
        return found


async def add_connection(
    pool: asyncpg.Pool, org: str, *account_ids: str, time_zone: str = "UTC"
) -> str:
    """Register a connection of an org with accounts, by default one, and return its name."""
    async with postgres.transaction(pool, org=org) as session:
        await session.execute(
            "insert into connections (org, connection, display_name, platform, settings, disabled,"
            " state, credential_update_time)"
            " values ($1, 'shop', 'Shop', 'meta', '{}', false, 2, now())",
            org,
        )
        await session.executemany(
            "insert into accounts (org, connection, account_id, named, disabled, display_name,"
            " time_zone, currency_code) values ($1, 'shop', $2, false, false, $2, $3, 'EUR')",
            [(org, account_id, time_zone) for account_id in account_ids or ("7",)],
        )
    return f"orgs/{org}/connections/shop"


async def stored(memory: Client) -> dict[tuple[str, str], int | None]:
    """Return the clicks of all that Memory holds, by campaign and day."""
    entries = [entry async for entry in memory.memory.list_entries()]
    return {
        (entry.campaign_id, entry.date): entry.metrics.clicks
        if entry.metrics.HasField("clicks")
        else None
        for entry in entries
    }


def at_noon(day: date) -> datetime:
    """Return noon of a day."""
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
