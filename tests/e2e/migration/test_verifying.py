"""Tables verified against Core: what differs is found, nothing is invented, and it is mended."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final

import asyncpg
import pytest

from liftos_client import Client, connect
from liftos_kit.auth import issue_token
from liftos_kit.testing.server import SECRET, RunningServer
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, fresh_database
from liftos_migration.adapters.core import CoreWriter
from liftos_migration.adapters.core_digests import MemoryDigests
from liftos_migration.adapters.source.catalog import read_inventory
from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.adapters.source.rows import PostgresRows
from liftos_migration.adapters.source.snapshot_reading import PostgresSnapshot
from liftos_migration.domain.differences import Difference
from liftos_migration.domain.mapping import Mapping as TableMappings
from liftos_migration.domain.mapping import Rows, Rule, TableMapping, Target, Waiver
from liftos_migration.domain.migrations import MigrationSpec, SourceStore, Throttle
from liftos_migration.domain.moving import moved_tables
from liftos_migration.domain.tables import Refusals, Tables
from liftos_migration.domain.verification import EntityResult, Tier
from liftos_migration.ledger_ports import Lease
from liftos_migration.usecases.delivering import apply
from liftos_migration.usecases.repairing import ComparedTables
from liftos_migration.usecases.steps import StepContext
from liftos_migration.usecases.verifying import verify_tables

ORG: Final = "acme"
MIGRATION: Final = "shop"
SOURCE: Final = """
create schema shop;
create table shop.spend (
    id bigint primary key, org text not null, day date not null, campaign text not null,
    amount text, clicks int, fetched_at timestamp not null);
insert into shop.spend
select n, case n % 10 when 9 then 'other' else 'acme' end, date '2025-01-01' + (n % 50)::int,
       'c' || n % 20, (n * 13 % 997) / 7.0, n % 100, timestamp '2026-01-01' + n * interval '1 s'
from generate_series(1, 4000) n;
create table shop.orders (day date primary key, orders int, revenue numeric(12, 2));
insert into shop.orders
select date '2025-01-01' + n, n, n * 10.5 from generate_series(1, 60) n;
create table shop.models (
    id int primary key, name text not null, settings jsonb not null, fitted bytea);
insert into shop.models
select n, 'Model ' || n, jsonb_build_object('alpha', n / 4.0, 'grid', array[n, 2]),
       decode(md5(n::text), 'hex') from generate_series(1, 40) n;
create table shop.inputs (model int references shop.models, name text, primary key (model, name));
insert into shop.inputs select n % 40 + 1, 'input ' || n from generate_series(1, 80) n;
create table shop.remarks (id int primary key, said text not null, tags text[] not null);
insert into shop.remarks
select n, 'Remark ' || n, array['t' || n % 3] from generate_series(1, 30) n;
create table shop.rates (
    day date, currency char(3), usd numeric(18, 8), primary key (day, currency));
insert into shop.rates
select date '2025-01-01' + n, 'EUR', 1 + n / 1000.0 from generate_series(1, 50) n;
create table shop."Odd Things" (
    a int, "B c" text, body jsonb, at timestamptz, ratio float8, ok boolean,
    primary key (a, "B c"));
insert into shop."Odd Things"
select n, 'b' || n, jsonb_build_object('n', n), timestamptz '2025-01-01' + n * interval '1 min',
       case n % 7 when 0 then 'NaN' when 1 then null else n / 3.0 end, n % 2 = 0
from generate_series(1, 300) n;
create table shop.derived (day date primary key);
insert into shop.derived select day from shop.orders;
"""


def _rules(**fields: str) -> tuple[Rule, ...]:
    return tuple(Rule(name.replace("__", "."), sql) for name, sql in fields.items())


MAPPING: Final = TableMappings(
    tables=(
        TableMapping(
            "shop.spend",
            Target.ENTRIES,
            _rules(
                date="day", platform="'meta'", level="'CAMPAIGN'", account_id="'a1'",
                campaign_id="campaign", campaign_name="'Campaign ' || campaign",
                currency_code="'USD'", spend_micros="round(amount::numeric * 1000000)::bigint",
                clicks="clicks",
            ),
            key_columns=("day", "campaign"),
            row_filter="org = :org",
            rows=Rows.NEWEST,
            order_by="fetched_at desc, id desc",
        ),
        TableMapping(
            "shop.orders",
            Target.ENTRIES,
            _rules(
                date="day", platform="'shop'", level="'OUTCOME'", account_id="'s1'",
                currency_code="'USD'", orders="orders",
                revenue_micros="(revenue * 1000000)::bigint",
            ),
        ),
        TableMapping(
            "shop.models",
            Target.ARTIFACTS,
            _rules(
                id="'model-' || id", kind="'MODEL'", display_name="name",
                body__settings="settings", content="fitted",
                body__inputs="(select jsonb_agg(i.name order by i.name) from shop.inputs i"
                " where i.model = models.id)",
            ),
            scope="shop.models",
        ),
        TableMapping("shop.inputs", Target.PART, part_of="shop.models"),
        TableMapping(
            "shop.remarks",
            Target.NOTES,
            _rules(id="'remark-' || id", title="'Remark'", text="said", labels="tags"),
            scope="shop.remarks",
        ),
        TableMapping(
            "shop.rates",
            Target.EXCHANGE_RATES,
            _rules(currency_code="currency", date="day", rate="usd"),
        ),
        TableMapping('shop."Odd Things"', Target.TABLE_ARTIFACT, scope="shop.tables"),
    ),
    waivers=(
        Waiver("shop.derived", "computed from orders"),
        Waiver("shop.spend:filtered", "other organisations"),
    ),
)  # fmt: skip
SPEC: Final = MigrationSpec(
    "Shop", "shop", SourceStore("SHOP_DATABASE_URL", ("shop",)), mapping=MAPPING
)


class Shop:
    """A source and what a migration of it wrote to Core."""

    def __init__(self, database: TestDatabase, client: Client, owner: asyncpg.Connection) -> None:
        self.connections = SourceConnections(database.owner_url, ("shop",))
        self.memory = client.memory
        self.owner = owner
        self.refused: dict[str, Refusals] = {}
        self.core = MemoryDigests(self.memory, f"migrations/{MIGRATION}")
        self._writer = CoreWriter(self.memory, org=ORG, migration=MIGRATION, epoch=1)
        self._whole = ComparedTables(lambda *_: self.core, PostgresSnapshot, self)

    async def refusals(self, org: str, migration: str) -> Mapping[str, Refusals]:
        """Return what was refused."""
        return self.refused

    async def verify(
        self, tier: Tier = Tier.VALUE, mapping: TableMappings = MAPPING
    ) -> tuple[dict[str, EntityResult], list[Difference]]:
        """Compare all tables in a snapshot of now."""
        async with self.connections.snapshot() as (connection, _):
            inventory = await read_inventory(connection, ["shop"])
            items = {item.object: item for item in inventory.tables()}
            tables = Tables(mapping, items, ORG, MIGRATION, self.refused)
            snapshot = PostgresSnapshot(connection, ["shop"])
            compared = await verify_tables(tables, snapshot, self.core, tier=tier)
        results = {each.result.table: each.result for each in compared}
        assert all(each.is_accounted_for or each.unverified for each in results.values()), results
        return results, [found for each in compared for found in each.differences]

    async def mend(self, *names: str) -> None:
        """Write what differs, and nothing else."""
        context = StepContext(
            Lease(ORG, MIGRATION, "test", 1), SPEC, self.connections, self._writer,
            asyncio.Event(), lambda _: None, Throttle(),
        )  # fmt: skip
        async with self.connections.snapshot() as (connection, _):
            inventory = await read_inventory(connection, ["shop"])
            tables = moved_tables(MAPPING, inventory, ORG)
            of = [
                table
                for table in tables
                if table.has_records and (table.name in names or not names)
            ]
            differing = await self._whole.differing(context, connection, tables, of)
            for name, each in differing.items():
                projection = next(table.projection for table in tables if table.name == name)
                await apply(
                    PostgresRows(), connection, projection, self._writer,
                    keys=each.keys, extra=each.extra, stream=f"mend/{name}",
                )  # fmt: skip
            for table in tables:
                if not table.has_records and (table.name in names or not names):
                    await self._whole.write_artifact(context, connection, table)


@pytest.fixture(scope="module")
def source(stores: Stack) -> Iterator[TestDatabase]:
    """The module's database."""
    with fresh_database(stores) as fresh:
        yield fresh


@pytest.fixture(scope="module")
async def shop(
    source: TestDatabase, memory_server: RunningServer, core_database: TestDatabase
) -> AsyncIterator[Shop]:
    """A source whose records are all on Core."""
    connection = await asyncpg.connect(source.owner_url)
    await connection.execute(SOURCE)
    await connection.close()
    owner = await asyncpg.connect(
        core_database.owner_url, server_settings={"search_path": "memory"}
    )
    token = issue_token(secret=SECRET.encode(), org=ORG)
    async with connect(memory_server.target, token=token) as client:
        await client.memory.upsert_source("shop", display_name="Shop")
        moved = Shop(source, client, owner)
        await moved.mend()
        yield moved
    await owner.close()


@pytest.mark.parametrize("tier", Tier)
async def test_equal_tables_have_no_differences(shop: Shop, tier: Tier) -> None:
    """Every row is in exactly one count."""
    results, found = await shop.verify(tier)
    assert found == []
    assert all(each.accuracy == each.completeness == 1 for each in results.values())
    spend = results["shop.spend"]
    # A tenth is of another organisation; of the others the newest of each campaign and day counts.
    assert (spend.source_count, spend.waived_count) == (4_000, 400)
    assert spend.matched_count + spend.merged_count == 3_600
    assert spend.source_root == spend.target_root != b""
    assert results["shop.orders"].matched_count == 60
    assert results["shop.orders"].source_root == results["shop.orders"].target_root
    assert results["shop.models"].matched_count == 40
    assert results["shop.inputs"].merged_count == 80
    assert results["shop.remarks"].matched_count == 30
    assert results["shop.rates"].matched_count == 50
    assert results['shop."Odd Things"'].matched_count == 300
    assert results["shop.derived"].waived_count == 60
