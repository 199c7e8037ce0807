"""Tables verified against Core: what differs is found, nothing is invented, and it is mended."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from typing import Any, Final

import asyncpg
import pandas as pd
import pytest

from liftos.memory.v1.artifact_pb2 import Artifact
from liftos.memory.v1.source_pb2 import ExchangeRate
from liftos_client import Client, connect
from liftos_kit.auth import issue_token
from liftos_kit.core.errors import InvalidFieldsError
from liftos_kit.testing.server import SECRET, RunningServer
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, fresh_database
from liftos_migration.adapters.core import CoreWriter
from liftos_migration.adapters.core_digests import MemoryDigests
from liftos_migration.adapters.source.catalog import read_inventory
from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.adapters.source.rows import PostgresRows
from liftos_migration.adapters.source.snapshot_reading import PostgresSnapshot
from liftos_migration.domain.differences import ROUNDING, Difference, DifferenceKind, changed_by
from liftos_migration.domain.inventory import Inventory
from liftos_migration.domain.lineage import edges
from liftos_migration.domain.mapping import Mapping as TableMappings
from liftos_migration.domain.mapping import Rows, Rule, TableMapping, Target, Waiver
from liftos_migration.domain.migrations import MigrationSpec, SourceStore, Throttle
from liftos_migration.domain.moving import moved_tables
from liftos_migration.domain.tables import Refusals, Tables
from liftos_migration.domain.verification import EntityResult, Tier
from liftos_migration.ledger_ports import Lease
from liftos_migration.usecases.delivering import apply
from liftos_migration.usecases.lineage import Lineage
from liftos_migration.usecases.measuring import invariants, quality
from liftos_migration.usecases.repairing import ComparedTables
from liftos_migration.usecases.steps import StepContext
from liftos_migration.usecases.verifying import verify_tables
from liftos_migration.verification_ports import Collection

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
            asyncio.Event(), lambda _: None, Throttle,
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


async def _write(shop: Shop, origin: str, *rows: dict[str, Any]) -> None:
    """Write entries of a campaign and day over those that are there."""
    given = {
        "platform": "meta", "level": "CAMPAIGN", "account_id": "a1", "currency_code": "USD",
    }  # fmt: skip
    frame = pd.DataFrame([given | row for row in rows])
    written = await shop.memory.upsert_frame(frame, origin=origin)
    assert not written.item_errors


async def _newest(shop: Shop, day: date, campaign: str) -> dict[str, Any]:
    async with shop.connections.connect() as connection:
        row = await connection.fetchrow(
            "select amount, clicks from shop.spend where org = 'acme' and day = $1"
            " and campaign = $2 order by fetched_at desc limit 1",
            day,
            campaign,
        )
    return {
        "date": day,
        "campaign_id": campaign,
        "campaign_name": f"Campaign {campaign}",
        "spend_micros": round(float(row["amount"]) * 1_000_000),
        "clicks": row["clicks"],
    }


@pytest.mark.parametrize("tier", Tier)
async def test_what_is_planted_is_found_and_nothing_else(shop: Shop, tier: Tier) -> None:
    """A micro, a missing and an extra entry, a swapped pair, another writer; then all is mended."""
    ours = f"migrations/{MIGRATION}"
    day, other_day = date(2025, 1, 3), date(2025, 1, 4)
    micro = await _newest(shop, day, "c2")
    one, other = await _newest(shop, other_day, "c3"), await _newest(shop, day, "c12")
    await _write(shop, ours, micro | {"spend_micros": micro["spend_micros"] + 1})
    await _write(shop, ours, one | {"clicks": other["clicks"]}, other | {"clicks": one["clicks"]})
    await _write(shop, ours, micro | {"campaign_id": "planted"})
    late = await _newest(shop, date(2025, 1, 5), "c4")
    await _write(shop, "people", late | {"clicks": 12345})
    await shop.memory.purge_entries(
        ours, filter='date = "2025-01-06" AND campaign_id = "c5"', force=True
    )
    results, found = await shop.verify(tier)
    told = {(each.key, each.kind): each for each in found}
    different, missing, extra = (
        DifferenceKind.DIFFERENT, DifferenceKind.MISSING, DifferenceKind.EXTRA,
    )  # fmt: skip
    planted = [key for key, kind in told if kind is extra]
    assert set(told) == {
        ('{"day":"2025-01-03","campaign":"c2"}', different),
        ('{"day":"2025-01-04","campaign":"c3"}', different),
        ('{"day":"2025-01-03","campaign":"c12"}', different),
        ('{"day":"2025-01-05","campaign":"c4"}', different),
        ('{"day":"2025-01-06","campaign":"c5"}', missing),
        (planted[0], extra),
    }
    rounded = told['{"day":"2025-01-03","campaign":"c2"}', different]
    assert rounded.cause == ROUNDING
    (field,) = rounded.fields
    assert field.field == "spend_micros"
    assert int(field.target_value) == int(field.source_value) + 1
    assert told['{"day":"2025-01-05","campaign":"c4"}', different].cause == changed_by("people")
    spend = results["shop.spend"]
    assert (spend.different_count, spend.missing_count, spend.extra_count) == (4, 1, 1)
    assert spend.completeness < 1
    assert spend.source_root != spend.target_root
    assert results["shop.orders"].accuracy == 1
    assert results["shop.orders"].source_root == results["shop.orders"].target_root
    await shop.mend("shop.spend")
    assert (await shop.verify(tier))[1] == []


async def test_many_planted_differences_are_all_found(shop: Shop) -> None:
    """More than are told field by field, and in more buckets than are read one by one."""
    ours = f"migrations/{MIGRATION}"
    await shop.memory.purge_entries(
        ours, filter='level = "CAMPAIGN" AND date >= "2025-01-20"', force=True
    )
    results, found = await shop.verify()
    async with shop.connections.connect() as connection:
        wanted = await connection.fetch(
            "select distinct day, campaign from shop.spend where org = 'acme'"
            " and day >= '2025-01-20'"
        )
    assert {each.key for each in found} == {
        f'{{"day":"{day}","campaign":"{campaign}"}}' for day, campaign in wanted
    }
    assert all(each.kind is DifferenceKind.MISSING for each in found)
    assert results["shop.spend"].missing_count == len(wanted)
    await shop.mend("shop.spend")
    async with shop.connections.connect() as connection:
        await connection.execute("create table kept as select * from shop.spend")
        await connection.execute("truncate shop.spend")
    found = (await shop.verify())[1]
    assert {each.kind for each in found} == {DifferenceKind.EXTRA}
    await shop.mend("shop.spend")
    assert (await shop.verify())[1] == []
    async with shop.connections.connect() as connection:
        await connection.execute("insert into shop.spend select * from kept; drop table kept")
    await shop.mend("shop.spend")
    assert (await shop.verify())[1] == []


async def test_records_are_compared_by_all_that_they_hold(shop: Shop) -> None:
    """A model's content, a note's label, a rate, a row of a whole table; what is gone and extra."""
    ours = f"migrations/{MIGRATION}"
    model = await shop.memory.get_artifact("model-3")
    model.content += b"."
    await shop.memory.batch_upsert_artifacts([model], origin=ours)
    planted = Artifact(name=f"orgs/{ORG}/artifacts/model-99", kind=model.kind, scope=model.scope)
    foreign = Artifact(name=f"orgs/{ORG}/artifacts/model-98", kind=model.kind, scope=model.scope)
    await shop.memory.batch_upsert_artifacts([planted], origin=ours)
    await shop.memory.batch_upsert_artifacts([foreign], origin="people")
    note = await shop.memory.get_note("remark-4")
    note.labels.append("new")
    await shop.memory.batch_upsert_notes([note], origin=ours)
    await shop.memory.batch_delete_records("NOTES", ["remark-5"], origin=ours)
    await shop.memory.upsert_exchange_rates(
        [ExchangeRate(currency_code="EUR", date="2025-01-09", rate="1.5")]
    )
    async with shop.connections.connect() as connection:
        await connection.execute(
            """update shop."Odd Things" set ok = not ok where a = 77;
            delete from shop."Odd Things" where a = 78"""
        )
    _, found = await shop.verify()
    told = {(each.table, each.key, each.kind.name) for each in found}
    assert told == {
        ("shop.models", '{"id":3}', "DIFFERENT"),
        ("shop.models", '{"record":"model-99"}', "EXTRA"),
        ("shop.remarks", '{"id":4}', "DIFFERENT"),
        ("shop.remarks", '{"id":5}', "MISSING"),
        ("shop.rates", '{"day":"2025-01-09","currency":"EUR"}', "DIFFERENT"),
        ('shop."Odd Things"', '{"a":77,"B c":"b77"}', "DIFFERENT"),
        ('shop."Odd Things"', '{"a":78,"B c":"b78"}', "EXTRA"),
    }
    fields = {each.key: [field.field for field in each.fields] for each in found}
    assert fields['{"id":3}'] == ["content"]
    assert fields['{"id":4}'] == ["labels"]
    assert fields['{"a":77,"B c":"b77"}'] == ["ok"]
    await shop.mend()
    assert (await shop.verify())[1] == []
    assert (await shop.memory.get_artifact("model-98")).origin == "people"


async def test_refused_records_are_counted_and_others_are_compared(shop: Shop) -> None:
    """A value that an expression does not take leaves its table unverified until it is a reject."""
    async with shop.connections.connect() as connection:
        await connection.execute(
            "insert into shop.spend values (9999, 'acme', '2025-03-01', 'c1', 'much', 1, now())"
        )
    results, found = await shop.verify()
    spend = results["shop.spend"]
    assert "much" in spend.unverified
    assert (spend.accuracy, spend.completeness) == (0, 0)
    assert results["shop.orders"].accuracy == 1, "which is compared all the same"
    assert found == []
    shop.refused = {"shop.spend": Refusals(open=frozenset({("2025-03-01", "c1")}))}
    spend = (await shop.verify())[0]["shop.spend"]
    assert spend.rejected_count == 1
    assert spend.completeness < 1
    shop.refused = {"shop.spend": Refusals(waived=frozenset({("2025-03-01", "c1")}))}
    spend = (await shop.verify())[0]["shop.spend"]
    assert (spend.waived_count, spend.completeness) == (401, 1)
    async with shop.connections.connect() as connection:
        await connection.execute("delete from shop.spend where id = 9999")
    shop.refused = {}


async def test_rows_whose_key_is_null_are_left_out_once_they_are_refused(shop: Shop) -> None:
    """Nothing can name them one by one."""
    async with shop.connections.connect() as connection:
        await connection.execute(
            "alter table shop.spend alter column campaign drop not null;"
            "insert into shop.spend values (9998, 'acme', '2025-03-02', null, '1', 1, now())"
        )
    assert (await shop.verify())[0]["shop.spend"].missing_count == 1
    gone = frozenset({("2025-03-02", None), ("2025-01-02", "c1")})
    shop.refused = {"shop.spend": Refusals(open=gone)}  # type: ignore[arg-type]
    spend = (await shop.verify())[0]["shop.spend"]
    assert (spend.missing_count, spend.rejected_count, spend.extra_count) == (0, 2, 1)
    shop.refused = {}
    async with shop.connections.connect() as connection:
        await connection.execute("delete from shop.spend where id = 9998")


async def test_a_table_that_nobody_decided_about_is_unverified(shop: Shop) -> None:
    """It does not pass by being left out."""
    undecided = replace(MAPPING, waivers=())
    results, _ = await shop.verify(mapping=undecided)
    assert results["shop.derived"].unverified
    assert results["shop.derived"].accuracy == 0


async def test_sums_and_quality_are_compared_beyond_rows(shop: Shop) -> None:
    """By level, day and platform, to the last micro; every entry has its score."""
    async with shop.connections.snapshot() as (connection, _):
        inventory = await read_inventory(connection, ["shop"])
        items = {item.object: item for item in inventory.tables()}
        tables = Tables(MAPPING, items, ORG, MIGRATION)
        source = PostgresSnapshot(connection, ["shop"])
        late = date(2025, 1, 7)
        campaign, outcome = await invariants(tables, source, shop.core)
        assert campaign.passed, campaign
        assert outcome.passed, outcome
        assert outcome.detail == "60 sums by day and platform"
        row = await _newest(shop, late, "c6")
        await _write(shop, shop.core.origin, row | {"clicks": row["clicks"] + 1})
        campaign, outcome = await invariants(tables, source, shop.core)
        assert not campaign.passed
        assert "2025-01-07, meta, USD: clicks" in campaign.detail
        assert outcome.passed
    (scored,) = await quality(shop.core)
    assert scored.passed, scored
    await shop.mend("shop.spend")


async def test_lineage_leads_from_rows_to_records_and_back(shop: Shop) -> None:
    """By key of the source, and by name on Core; hashes are those that digests tell."""

    @asynccontextmanager
    async def opened(
        org: str, spec: MigrationSpec
    ) -> AsyncIterator[tuple[Inventory, PostgresSnapshot]]:
        async with shop.connections.snapshot() as (connection, _):
            inventory = await read_inventory(connection, ["shop"])
            yield inventory, PostgresSnapshot(connection, ["shop"])

    lineage = Lineage(opened, lambda *_: shop.core)
    key = '{"day":"2025-01-03","campaign":"c2"}'
    (down,) = await lineage.of_row(ORG, MIGRATION, SPEC, table="shop.spend", source_key=key)
    (up,) = await lineage.of_record(ORG, MIGRATION, SPEC, target_record=down.target_record)
    assert up == down
    assert down.source_key == key
    entry = await shop.memory.get_entry(down.target_record)
    assert (entry.campaign_id, entry.date) == ("c2", "2025-01-03")
    digests = {each async for each in shop.core.entry_hashes(1, [0])}
    assert (down.target_record.rpartition("/")[2], down.target_hash) in digests
    (model,) = await lineage.of_row(
        ORG, MIGRATION, SPEC, table="shop.models", source_key='{"id":7}'
    )
    assert model.target_record == f"orgs/{ORG}/artifacts/model-7"
    held = await shop.core.record_hashes(Collection.ARTIFACTS, "shop.models")
    assert held["model-7"] == model.target_hash
    assert await lineage.of_record(ORG, MIGRATION, SPEC, target_record=model.target_record) == [
        model
    ]
    nobody = f"orgs/{ORG}/artifacts/model-98"
    assert await lineage.of_record(ORG, MIGRATION, SPEC, target_record=nobody) == []
    with pytest.raises(InvalidFieldsError, match=r'\{"day":…,"campaign":…\}'):
        await lineage.of_row(ORG, MIGRATION, SPEC, table="shop.spend", source_key='{"id":7}')
    with pytest.raises(InvalidFieldsError, match=r"shop\.orders"):
        await lineage.of_row(ORG, MIGRATION, SPEC, table="shop.derived", source_key='{"id":7}')
    with pytest.raises(InvalidFieldsError, match="name of an entry"):
        await lineage.of_record(ORG, MIGRATION, SPEC, target_record="orgs/other/entries/1")


async def test_lineage_of_columns_follows_from_the_rules(shop: Shop) -> None:
    """Columns of the table that an expression names, and members of a field with it."""
    async with shop.connections.snapshot() as (connection, _):
        inventory = await read_inventory(connection, ["shop"])
    items = {item.object: item for item in inventory.tables()}
    (name,) = edges(MAPPING, items, table="shop.spend", target_field="campaign_name")
    assert name.source_columns == ("campaign",)
    body = edges(MAPPING, items, table="shop.models", target_field="body")
    assert [(each.target_field, each.source_columns) for each in body] == [
        ("body.settings", ("settings",)),
        ("body.inputs", ("id",)),
    ]
    assert len(edges(MAPPING, items, table='shop."Odd Things"')) == 6
