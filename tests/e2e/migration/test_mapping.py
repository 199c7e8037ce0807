"""Mappings against a source: what does not fit is named, and what fits is the same on Core."""

import json
import math
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liftos_cli.mapping_files import read_mapping_file
from liftos_client import connect
from liftos_kit.auth import issue_token
from liftos_kit.testing.server import SECRET, RunningServer
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, fresh_database
from liftos_mapping.entry_digests import unsigned
from liftos_migration.adapters.source.catalog import read_inventory
from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.adapters.source.projecting import mapping_problems
from liftos_migration.adapters.source.reading import read_arrow
from liftos_migration.adapters.source.sampling import sample_records, sample_rows
from liftos_migration.adapters.source.tables_read import tables_read
from liftos_migration.convert.mappings import mapping_of
from liftos_migration.domain.coverage import forgotten, unknown
from liftos_migration.domain.drafting import draft
from liftos_migration.domain.inventory import Inventory
from liftos_migration.domain.mapping import (
    InverseRule,
    Mapping,
    Reverse,
    Rounding,
    Rows,
    Rule,
    TableMapping,
    Target,
)
from liftos_migration.domain.mapping_rules import violations
from liftos_migration.domain.projection import Projection, projection
from liftos_migration.domain.tables import without
from liftos_migration.domain.targets import TARGET_FIELDS

HERE = Path(__file__).parent
ORG = "acme"

MEASURED = """
create table public.measured (
    id bigint primary key, day date, account text, campaign text, name text, money numeric,
    share float8, often float8, quality real, is_final boolean, happened jsonb
);
create table public.kept (id text primary key, title text, body jsonb, raw bytea, tags text[]);
"""
ENTRIES = TableMapping(
    "public.measured",
    Target.ENTRIES,
    (
        Rule("date", "day"),
        Rule("platform", "case when id % 2 = 0 then 'klaviyo' else 'meta' end"),
        Rule("level", "'CAMPAIGN'"),
        Rule("account_id", "account"),
        Rule("campaign_id", "campaign"),
        Rule("campaign_name", "name"),
        Rule("currency_code", "'EUR'"),
        Rule("spend_micros", "money * 1000000", Rounding.HALF_EVEN),
        Rule("revenue_micros", "money * 1000000", Rounding.HALF_AWAY),
        Rule("conversions_micros", "share * 1000000", Rounding.HALF_EVEN),
        Rule("frequency", "often"),
        Rule("keyword_quality_score", "quality"),
        Rule("clicks", "id"),
        Rule("actions", "happened"),
        Rule("final", "is_final"),
    ),
)
BUCKETS = 4


@pytest.fixture(scope="module")
def source(stores: Stack) -> Iterator[TestDatabase]:
    """A database for the shop and for rows of all kinds."""
    with fresh_database(stores) as fresh:
        yield fresh


@pytest.fixture(scope="module")
async def shop(source: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection that sees the shop as Migration does."""
    owner = await asyncpg.connect(source.owner_url)
    await owner.execute((HERE / "shop_module.sql").read_text())
    await owner.close()
    async with SourceConnections(source.owner_url, ["shop"]).connect() as connection:
        yield connection


@pytest.fixture(scope="module")
async def inventory(shop: asyncpg.Connection) -> Inventory:
    """What the shop holds."""
    return await read_inventory(shop, ["shop"])


@pytest.fixture(scope="module")
def mapping() -> Mapping:
    """What becomes of it."""
    _, message = read_mapping_file(HERE / "shop_module.yaml")
    return mapping_of(message)


async def test_a_shop_moves_without_code(
    shop: asyncpg.Connection, inventory: Inventory, mapping: Mapping
) -> None:
    """Keys, partitions, enumerations, arrays, ranges and JSON, there and back."""
    assert violations(mapping) == []
    assert forgotten(mapping, inventory) == []
    assert unknown(mapping, inventory) == []
    assert await mapping_problems(shop, mapping, inventory, ORG) == []
    items = {item.object: item for item in inventory.tables()}
    read = {
        table.table: await tables_read(shop, table, items[table.table], ORG)
        for table in mapping.tables
    }
    assert {table: names for table, names in read.items() if names} == {
        "shop.orders": ["shop.order_lines"],
        "shop.ad_spend": ["shop.campaigns"],
    }


def _rule(field: str, expression: str, **more: Any) -> Callable[[TableMapping], TableMapping]:
    """Return what replaces a rule of a table."""

    def changed(table: TableMapping) -> TableMapping:
        rules = [each for each in table.rules if each.field != field]
        return replace(table, rules=(*rules, Rule(field, expression, **more)))

    return changed


def _inverse(column: str, expression: str) -> Callable[[TableMapping], TableMapping]:
    def changed(table: TableMapping) -> TableMapping:
        rules = [each for each in table.inverse if each.column != column]
        return replace(table, inverse=(*rules, InverseRule(column, expression)))

    return changed


def _without_inverse(column: str) -> Callable[[TableMapping], TableMapping]:
    return lambda table: replace(
        table, inverse=tuple(each for each in table.inverse if each.column != column)
    )


BROKEN: dict[str, tuple[str, Callable[[TableMapping], TableMapping], str, str]] = {
    "a column that is not there": (
        "shop.ad_spend", _rule("clicks", "clics"), "EXPRESSION",
        'column "clics" does not exist',
    ),
    "a word that is no SQL": (
        "shop.ad_spend", _rule("clicks", "clicks plus 1"), "EXPRESSION", "syntax error",
    ),
    "a number with decimals": (
        "shop.ad_spend", _rule("clicks", "conversions"), "TYPE", "gives float4",
    ),
    "a moment for a day": (
        "shop.ad_spend", _rule("date", "day::timestamp"), "TYPE", "gives timestamp",
    ),
    "a sum over a row": (
        "shop.ad_spend", _rule("clicks", "sum(clicks)"), "EXPRESSION", "GROUP BY",
    ),
    "a set": (
        "shop.letters", _rule("title", "unnest(labels)"), "EXPRESSION", "set-returning",
    ),
    "a window": (
        "shop.ad_spend", _rule("clicks", "row_number() over (order by day)"), "EXPRESSION",
        "window",
    ),
    "a row of a group": (
        "shop.payments", _rule("orders", "amount::bigint"), "EXPRESSION", "GROUP BY",
    ),
    "a condition that is none": (
        "shop.weather", lambda table: replace(table, row_filter="city"), "EXPRESSION", "boolean",
    ),
    "a function that changes": (
        "shop.ad_spend", _rule("clicks", "clicks + lo_creat(1)::int"), "FUNCTION",
        "another value each time",
    ),
    "a function that reads": (
        "shop.ad_spend", _rule("clicks", "clicks + pg_temp.none()"), "EXPRESSION", "does not exist",
    ),
    "a key column that is not there": (
        "shop.ad_spend", lambda table: replace(table, key_columns=("days",)), "UNKNOWN_COLUMN",
        "no column days",
    ),
    "a key that several rows have": (
        "shop.stock_counts", lambda table: replace(table, rows=Rows.ONE, order_by=""),
        "KEY_NOT_UNIQUE", "(SKU-001) (5 rows)",
    ),
    "a key with nulls": (
        "shop.letters",
        lambda table: replace(
            _rule("id", "'l-' || id || customer_id")(table), key_columns=("id", "customer_id")
        ),
        "KEY_NULL", "5 rows have a null",
    ),
    "an id that a deleted row does not tell": (
        "shop.customers", _rule("id", "'customer-' || email"), "IDENTITY", '"email" does not exist',
    ),
    "an id without a part of the key": (
        "shop.orders", _rule("id", "'order-' || id"), "IDENTITY", "placed_on tells rows apart",
    ),
    "an id that several keys give": (
        "shop.customers", _rule("id", "'customer-' || id % 7"), "IDENTITY_NOT_UNIQUE",
        "(9 keys)",
    ),
    "a table without a key": (
        "shop.audit_log",
        lambda table: TableMapping(
            table.table, Target.ARTIFACTS,
            (Rule("id", "who::text"), Rule("kind", "'RESULT'"), Rule("body.change", "change")),
            scope="log",
        ),
        "NO_KEY", "no primary key",
    ),
    "a row that fails": (
        "shop.ad_spend", _rule("clicks", "(100 / (clicks - 39))::bigint"), "ROWS_FAIL",
        "division by zero",
    ),
    "a number that JSON does not keep": (
        "shop.customers", _rule("body.lifetime", "lifetime + 12345678901234567"), "NUMBER_INEXACT",
        "rows hold a number",
    ),
    "a part that tells half of a key": (
        "shop.order_lines", lambda table: replace(table, key_columns=("order_id",)), "PART_KEY",
        "1 columns for the 2 of shop.orders: id, placed_on",
    ),
    "a way back that forgets a column": (
        "shop.customers", _without_inverse("email"), "NO_WAY_BACK", "no rule of email",
    ),
    "a way back that cannot be read": (
        "shop.customers", _inverse("email", "body ->> email"), "NO_WAY_BACK",
        '"email" does not exist',
    ),
    "a way back to another type": (
        "shop.letters", _inverse("labels", "title"), "NO_WAY_BACK", "malformed array literal",
    ),
    "a way back to something else": (
        "shop.customers", _inverse("name", "coalesce(body ->> 'name', 'nobody')"), "NO_WAY_BACK",
        "8 of 60 rows come back otherwise, in name (8)",
    ),
    "a way back that loses rows": (
        "shop.order_lines",
        lambda table: replace(
            table,
            inverse_rows=table.inverse_rows.replace("body -> 'lines'", "(body -> 'lines') - 0"),
        ),
        "NO_WAY_BACK", "rows do not come back",
    ),
    "a way back that takes records of others": (
        "shop.ad_spend", lambda table: replace(table, inverse_filter="platform = 'offline'"),
        "NO_WAY_BACK", "of shop.weather",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
async def test_what_does_not_fit_is_named(
    shop: asyncpg.Connection, inventory: Inventory, mapping: Mapping, case: str
) -> None:
    """With the place, in Postgres' words, and what to do."""
    name, change, code, fragment = BROKEN[case]
    concerned = (name, "shop.orders", "shop.weather")
    tables = tuple(
        change(each) if each.table == name else each
        for each in mapping.tables
        if each.table in concerned
    )
    found = await mapping_problems(shop, replace(mapping, tables=tables), inventory, ORG)
    of_table = [each for each in found if each.object.startswith(name)]
    # What cannot be evaluated cannot come back either.
    assert {each.code for each in of_table} - {"NO_WAY_BACK"} == {code} - {"NO_WAY_BACK"}
    assert any(fragment in each.found for each in of_table if each.code == code), of_table
    assert all(each.wanted and each.remedy for each in of_table)


async def test_a_row_that_does_not_come_back_is_found(
    shop: asyncpg.Connection, inventory: Inventory, mapping: Mapping
) -> None:
    """One row among others that the inverse of none of them showed."""
    table = next(each for each in mapping.tables if each.table == "shop.ad_spend")
    coarse = replace(
        _rule("spend_micros", "spend_cents / 10 * 100000")(table), reverse=Reverse.INVERSE
    )
    tables = tuple(coarse if each is table else each for each in mapping.tables)
    found = await mapping_problems(shop, replace(mapping, tables=tables), inventory, ORG)
    (lossy,) = found
    count = await shop.fetchval("select count(*) from shop.ad_spend where spend_cents % 10 <> 0")
    assert f"{count:,} of 2,400 rows come back otherwise, in spend_cents ({count:,})" in lossy.found


@pytest.mark.parametrize("module", ["shop", "causal"])
async def test_a_draft_is_a_mapping_that_the_source_takes(
    shop: asyncpg.Connection, module_database: TestDatabase, module: str
) -> None:
    """Each table is spoken of, each guess is a question, and what is decided can be read."""
    schema = "shop" if module == "shop" else "public"
    async with AsyncExitStack() as stack:
        connection = shop
        if module == "causal":
            opened = SourceConnections(module_database.owner_url)
            connection = await stack.enter_async_context(opened.connect())
        found = await read_inventory(connection, [schema])
        rows = {item.object: await sample_rows(connection, item, 50) for item in found.tables()}
        drafted = draft(found, rows, module)
        assert violations(drafted.mapping) == []
        assert await mapping_problems(connection, drafted.mapping, found, ORG) == []
        asked = {question.object for question in drafted.questions}
        assert {each.code for each in forgotten(drafted.mapping, found)} <= {
            "NOT_MAPPED",
            "COLUMNS_NOT_MAPPED",
        }
        assert {each.object for each in forgotten(drafted.mapping, found)} <= asked
        targets = {each.table: each.target for each in drafted.mapping.tables}
        assert targets.keys() == {item.object for item in found.tables()}
        assert targets.items() >= DRAFTED[module].items()
        items = {item.object: item for item in found.tables()}
        samples = [
            sample
            for table in drafted.mapping.tables
            if TARGET_FIELDS[table.target]
            for sample in await sample_records(connection, table, items[table.table], ORG, 2)
        ]
        assert samples
        for sample in samples:
            assert sample.errors == ()
            assert sample.source_row
            assert sample.target_record


DRAFTED = {
    "shop": {
        "shop.ad_spend": Target.ENTRIES,
        "shop.weather": Target.ENTRIES,
        "shop.rates": Target.EXCHANGE_RATES,
        "shop.letters": Target.NOTES,
        "shop.customers": Target.ARTIFACTS,
        "shop.audit_log": Target.TABLE_ARTIFACT,
    },
    "causal": {
        "public.campaign_performance": Target.ENTRIES,
        "public.external_factors": Target.ENTRIES,
        "public.exchange_rates": Target.EXCHANGE_RATES,
        "public.attribution_models": Target.ARTIFACTS,
        "public.model_settings": Target.ARTIFACTS,
        "public.channel_daily": Target.UNDECIDED,
    },
}


@pytest.fixture(scope="module")
async def measured(source: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection to tables of rows of all kinds."""
    owner = await asyncpg.connect(source.owner_url)
    await owner.execute(MEASURED)
    await owner.close()
    async with SourceConnections(source.owner_url).connect() as connection:
        yield connection


TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"])
    | st.sampled_from("aZ9 ,\"'\\äß日🙂\u2028\u0301{}NULL"),
    max_size=8,
) | st.sampled_from(["a\nb", "a\tb", "\x1f", "\x01", "\x85"])
IDS = st.sampled_from(["1", "a b", 'x"y', "日本", "0", "-", "\u0301e"])
NUMBERS = st.sampled_from(
    [
        "0", "-0", "0.0000005", "0.0000015", "12.5", "1e-9", "NaN", "9223372036854.775807",
        "1e30", "-3", "0.1", "1234567.123456",
    ]
)  # fmt: skip
REALS = st.sampled_from([0.0, -0.0, 1.0, 1.5, 0.1 + 0.2, math.nan, math.inf, 1e300, 7e-10, 3.25])
SHARES = st.sampled_from([1.0, 1.5, 1.1, 9.999999, 2.0**0.5, math.nan, -0.0])
ACTIONS = st.none() | st.lists(
    st.fixed_dictionaries(
        {"action_type": st.sampled_from(["buy", "日", 'q"']), "count_micros": st.integers(0, 9)},
        optional={"window": st.sampled_from(["7d", ""]), "value_micros": st.none()},
    ),
    max_size=3,
)
ROWS = st.lists(
    st.tuples(
        IDS,
        IDS,
        st.none() | TEXTS,
        st.none() | NUMBERS,
        st.none() | REALS,
        st.none() | SHARES,
        st.none() | SHARES,
        st.none() | st.booleans(),
        ACTIONS,
    ),
    min_size=1,
    max_size=40,
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=ROWS)
async def test_what_is_projected_is_what_core_stores(
    measured: asyncpg.Connection, memory_server: RunningServer, rows: list[tuple[Any, ...]]
) -> None:
    """Whatever rows hold: those that Core takes have the hashes that the source computes."""
    found = await read_inventory(measured, ["public"])
    item = next(each for each in found.tables() if each.object == "public.measured")
    async with measured.transaction():
        await measured.execute("truncate measured")
        await measured.set_type_codec(
            "numeric", schema="pg_catalog", encoder=str, decoder=str, format="text"
        )
        await measured.executemany(
            "insert into measured values ($1::int8, date '2025-03-01' + $1::int8::int, $2, $3, $4,"
            " $5::numeric, $6, $7, $8, $9, $10::text::jsonb)",
            [(place, *row[:-1], _json(row[-1])) for place, row in enumerate(rows, 1)],
        )
        whole = projection(ENTRIES, item, ORG)
        broken = [
            (str(place),)
            for place in range(1, len(rows) + 1)
            if not await _is_readable(measured, whole, str(place))
        ]
        readable = without(whole, broken)
        batches = [
            batch async for batch in read_arrow(measured, readable.select(), readable.schema)
        ]
        org = f"org-{secrets.token_hex(6)}"
        token = issue_token(secret=SECRET.encode(), org=org)
        async with connect(memory_server.target, token=token) as client:
            stream = client.memory.ingest("s", origin="test")
            async with stream:
                for batch in batches:
                    await stream.write(batch.select(list(readable.values)))
            refused = {error.row for error in stream.result.item_errors}
            keys = [key for batch in batches for key in batch.column("key1").to_pylist()]
            stored = without(whole, [*broken, *((keys[place],) for place in refused)])
            expected = {
                row["bucket"]: (
                    row["row_count"],
                    unsigned(row["hash_xor"]),
                    unsigned(int(row["hash_sum"])),
                )
                for row in await measured.fetch(stored.sums_sql(BUCKETS))
            }
            answer = await client.memory.digest_entries(BUCKETS, bucketing="KEY_MD5")
            assert {
                each.bucket: (each.row_count, each.hash_xor, each.hash_sum)
                for each in answer.buckets
            } == expected
            hashes = await measured.fetch(stored.hashes_sql(BUCKETS), list(range(BUCKETS)))
            listed = [
                row.hash.hex()
                async for row in client.memory.list_entry_digests(
                    BUCKETS, list(range(BUCKETS)), bucketing="KEY_MD5"
                )
            ]
            assert sorted(row["hash"] for row in hashes) == sorted(listed)


async def _is_readable(connection: asyncpg.Connection, rows: Projection, key: str) -> bool:
    """Tell whether the projection of a row can be computed."""
    try:
        async with connection.transaction():
            await connection.fetch(rows.select(where_keys=True), [key])
    except asyncpg.PostgresError:
        return False
    return True


def _json(actions: list[dict[str, Any]] | None) -> str | None:
    return None if actions is None else json.dumps(actions)
