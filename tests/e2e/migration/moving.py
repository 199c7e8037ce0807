"""A module that moves in tests: tables of all kinds, a mapping for them, and what moves them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import asyncpg

from liftos_client import Client
from liftos_migration.adapters.core import CoreWriter
from liftos_migration.adapters.core_digests import MemoryDigests
from liftos_migration.adapters.postgres.copying import PostgresCopyLedger
from liftos_migration.adapters.postgres.ledger import PostgresLedger
from liftos_migration.adapters.postgres.migrations import PostgresMigrations
from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.adapters.source.latency import ModuleLatency
from liftos_migration.adapters.source.rows import PostgresRows
from liftos_migration.adapters.source.snapshot_reading import PostgresSnapshot
from liftos_migration.adapters.source.tools import PostgresTools
from liftos_migration.domain.mapping import Mapping, Rounding, Rows, Rule, TableMapping, Target
from liftos_migration.domain.migrations import (
    MigrationProgress,
    MigrationSpec,
    SourceStore,
    Throttle,
)
from liftos_migration.domain.preflight import CaptureMode
from liftos_migration.domain.states import MigrationState, Place
from liftos_migration.ledger_ports import Verdict
from liftos_migration.usecases.catching_up import CatchingUp, CatchUp, KeepUp
from liftos_migration.usecases.copying import CopyTables
from liftos_migration.usecases.preparing import PrepareCapture, moving
from liftos_migration.usecases.repairing import ComparedTables
from liftos_migration.usecases.steps import StepContext

TABLES: Final = """
create table days (
    campaign text not null, day date not null, spend text, clicks bigint,
    primary key (campaign, day));
create table fetched (
    id bigserial primary key, campaign text not null, day date not null, sent int,
    fetched_at timestamptz not null default clock_timestamp());
create table models (id text primary key, name text not null, settings jsonb);
create table model_parts (
    model text not null, no int not null, weight float8 not null, primary key (model, no));
create table remarks (id int primary key, title text, body text);
create table rates (day date, currency char(3), usd numeric(18, 8), primary key (day, currency));
create table lists (k text primary key, v numeric, tags text[]);
"""


def _entries(platform: str, **fields: str) -> tuple[Rule, ...]:
    given = {
        "date": "day",
        "platform": f"'{platform}'",
        "level": "'CAMPAIGN'",
        "account_id": "'act_1'",
        "campaign_id": "campaign",
        "currency_code": "'USD'",
        "time_zone": "'UTC'",
        **fields,
    }
    return tuple(
        Rule(name, sql, Rounding.HALF_EVEN if name.endswith("_micros") else Rounding.NONE)
        for name, sql in given.items()
    )


MAPPING: Final = Mapping(
    (
        TableMapping(
            "public.days",
            Target.ENTRIES,
            _entries("meta", spend_micros="spend::numeric * 1000000", clicks="clicks"),
        ),
        TableMapping(
            "public.fetched",
            Target.ENTRIES,
            _entries("klaviyo", sent="sent"),
            key_columns=("campaign", "day"),
            rows=Rows.NEWEST,
            order_by="fetched_at desc",
        ),
        TableMapping(
            "public.models",
            Target.ARTIFACTS,
            (
                Rule("id", "'model-' || id"),
                Rule("kind", "'MODEL'"),
                Rule("display_name", "name"),
                Rule("body.settings", "settings"),
                Rule(
                    "body.weights",
                    "(select coalesce(jsonb_object_agg(p.no, p.weight), '{}')"
                    " from model_parts p where p.model = models.id)",
                ),
            ),
            scope="shop.models",
        ),
        TableMapping(
            "public.model_parts", Target.PART, key_columns=("model",), part_of="public.models"
        ),
        TableMapping(
            "public.remarks",
            Target.NOTES,
            (Rule("id", "'remark-' || id"), Rule("title", "title"), Rule("text", "body")),
            scope="shop.remarks",
        ),
        TableMapping(
            "public.rates",
            Target.EXCHANGE_RATES,
            (Rule("date", "day"), Rule("currency_code", "currency"), Rule("rate", "usd")),
        ),
        TableMapping("public.lists", Target.TABLE_ARTIFACT, scope="shop.lists"),
    ),
    version="1",
)


@dataclass(slots=True)
class Move:
    """A migration that one worker has, and what moves it; `memory` is Core's client."""

    pool: asyncpg.Pool
    source: SourceConnections
    client: Client
    context: StepContext
    chunk_rows: int = 65_536
    snapshot_seconds: float = 300.0
    progress: MigrationProgress = field(default_factory=MigrationProgress)
    copies: PostgresCopyLedger = field(init=False)
    catching_up: CatchingUp = field(init=False)
    prepare: PrepareCapture = field(init=False)
    copy: CopyTables = field(init=False)
    catch_up: CatchUp = field(init=False)
    keep_up: KeepUp = field(init=False)
    whole: ComparedTables = field(init=False)

    def __post_init__(self) -> None:
        reader, tools = PostgresRows(self.chunk_rows), PostgresTools()
        self.copies = PostgresCopyLedger(self.pool)
        self.whole = ComparedTables(
            lambda _, migration: MemoryDigests(self.client.memory, f"migrations/{migration}"),
            PostgresSnapshot,
            self.copies,
        )
        self.catching_up = CatchingUp(
            reader, tools, self.copies, self.whole, latency=ModuleLatency()
        )
        ledger = PostgresLedger(self.pool)
        self.prepare = PrepareCapture(reader, tools, ledger, self.copies)
        self.copy = CopyTables(
            reader,
            self.copies,
            self.catching_up,
            self.whole,
            snapshot_seconds=self.snapshot_seconds,
        )
        self.catch_up = CatchUp(self.catching_up)
        self.keep_up = KeepUp(self.catching_up, reader)

    def tell(self, change: Callable[[MigrationProgress], MigrationProgress]) -> None:
        """Take progress."""
        self.progress = change(self.progress)

    async def all(self) -> None:
        """Prepare, copy and catch up."""
        for step in (self.prepare, self.copy, self.catch_up):
            await step.do(self.context)
            await step.verify(self.context)

    async def differing(self) -> dict[str, object]:
        """Compare everything in a moment in which Core has what a snapshot has; no difference."""
        async with self.catching_up.aligned(self.context) as (connection, _):
            found = await moving(self.context, PostgresRows())
            with_records = [table for table in found.tables if table.has_records]
            compared = await self.whole.differing(
                self.context, connection, found.tables, with_records
            )
            rejected = await self.copies.refusals(self.context.org, self.context.migration)
            return {
                name: each
                for name, each in compared.items()
                if each.extra
                or set(each.keys) - (rejected[name].open if name in rejected else set())
            }


async def taken(
    pool: asyncpg.Pool,
    source: SourceConnections,
    client: Client,
    name: str,
    *,
    owner: str = "worker-1",
    lease_seconds: float = 600.0,
    chunk_rows: int = 65_536,
    snapshot_seconds: float = 300.0,
) -> Move | None:
    """Take a migration as a worker; None where another one has it."""
    ledger = PostgresLedger(pool)
    lease = await ledger.take(client.org, name, owner=owner, seconds=lease_seconds)
    if lease is None:
        return None
    stored = await ledger.read(lease)
    context = StepContext(
        lease=lease,
        spec=stored.spec,
        source=source,
        core=CoreWriter(client.memory, org=client.org, migration=name, epoch=lease.epoch),
        stop=asyncio.Event(),
        progress=lambda _: None,
        throttle=Throttle,
    )
    move = Move(pool, source, client, context, chunk_rows, snapshot_seconds)
    move.context = replace(context, progress=move.tell)
    return move


async def create(
    pool: asyncpg.Pool, client: Client, name: str, mode: CaptureMode, mapping: Mapping = MAPPING
) -> None:
    """Create a migration that a worker may take."""
    spec = MigrationSpec(
        "Shop", "shop", SourceStore("SHOP_DATABASE_URL"), mapping, capture_mode=mode
    )
    migrations = PostgresMigrations(pool)
    await migrations.create(client.org, name, spec, None)
    verdict = Verdict("start", "ann", "it is time", place=Place(MigrationState.PREFLIGHT))
    await migrations.decide(client.org, name, lambda _: verdict, None)
