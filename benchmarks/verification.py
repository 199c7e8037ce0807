"""Verification's figures: two equal tables on two servers compared, by us and by reladiff."""

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import asyncpg
import pyarrow as pa
import pyarrow.compute as pc
from reladiff import connect_to_table, diff_tables

from benchmarks.memory import Bench, memory_server
from benchmarks.results import DifferenceError, Measurement
from liftos_client import connect
from liftos_kit.auth import issue_token
from liftos_local import stack
from liftos_local.ports import PortPlan
from liftos_migration.adapters.core import CoreWriter
from liftos_migration.adapters.core_digests import MemoryDigests
from liftos_migration.adapters.source.catalog import read_inventory
from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.adapters.source.snapshot_reading import PostgresSnapshot
from liftos_migration.adapters.source.sums import compare_tables
from liftos_migration.domain.comparing import ComparedTable, Differences
from liftos_migration.domain.mapping import Mapping, Rounding, Rule, TableMapping, Target
from liftos_migration.domain.projection import Projection
from liftos_migration.domain.tables import Tables
from liftos_migration.domain.verification import Tier
from liftos_migration.usecases.verifying import verify_tables

ROWS: Final = 1_000_000
PLANTED: Final = 20_000
ROUNDS: Final = 3

_TABLE: Final = """
create table measured (
    id bigint primary key, day date not null, platform text not null, campaign text not null,
    spend numeric(18, 6), impressions bigint, clicks int, rate double precision,
    updated_at timestamptz not null
)
"""
_TYPES: Final = {
    "id": "bigint",
    "day": "date",
    "platform": "text",
    "campaign": "text",
    "spend": "numeric(18,6)",
    "impressions": "bigint",
    "clicks": "integer",
    "rate": "double precision",
    "updated_at": "timestamp with time zone",
}
_FILL: Final = """
insert into measured
select n, date '2024-01-01' + (n / 1500)::int,
       (array['meta', 'google_ads', 'klaviyo', 'tiktok'])[n % 4 + 1], 'campaign ' || n % 1500,
       (n % 90007) / 7.0, n * 37 % 1000003, n * 13 % 20011, n % 997 / 997.0,
       timestamptz '2024-01-01' + n * interval '63 seconds'
from generate_series(1, $1) n
"""


def measure() -> Iterator[Measurement]:
    """Measure everything, one figure after the other."""
    with ExitStack() as running:
        urls = [_server(running) for _ in range(2)]
        yield from asyncio.run(_identical(urls))
        with memory_server(cache=False) as bench:
            yield from asyncio.run(_transformed(urls[0], bench))


def _server(running: ExitStack) -> str:
    """Run a Postgres of its own; return its address."""
    folder = running.enter_context(tempfile.TemporaryDirectory(prefix="liftos-bench-"))
    stores = stack.start(Path(folder), ports=PortPlan.automatic(), stores_only=True)
    return running.enter_context(stores).postgres_admin_url()


_SOURCE: Final = """
create table performance (
    id bigint primary key, org text not null, day date not null, platform text not null,
    campaign text not null, spend text, clicks bigint, impressions bigint, conversions float8)
"""
_SOURCE_FILL: Final = """
insert into performance
select n, 'bench', date '2024-01-01' + (n / 1500)::int,
       (array['meta', 'google_ads'])[n % 2 + 1], 'c' || n % 1500, ((n % 90007) / 7.0)::text,
       n * 13 % 20011, n * 37 % 1000003, n % 97 / 4.0
from generate_series(1, $1) n
"""
_FIELDS: Final = {
    "date": "day",
    "platform": "platform",
    "level": "'CAMPAIGN'",
    "account_id": "'a1'",
    "campaign_id": "campaign",
    "campaign_name": "'Campaign ' || campaign",
    "currency_code": "'USD'",
    "spend_micros": "spend::numeric * 1000000",
    "clicks": "clicks",
    "impressions": "impressions",
    "conversions_micros": "conversions * 1000000",
}
_MAPPING: Final = Mapping(
    (
        TableMapping(
            "public.performance",
            Target.ENTRIES,
            tuple(
                Rule(name, sql, Rounding.HALF_EVEN if name.endswith("_micros") else Rounding.NONE)
                for name, sql in _FIELDS.items()
            ),
            row_filter="org = :org",
        ),
    )
)


async def _transformed(url: str, bench: Bench) -> Iterator[Measurement]:
    """Compare a table of a module with the entries that it became."""
    source = SourceConnections(url)
    async with source.connect() as connection:
        await connection.execute(_SOURCE)
        await connection.execute(_SOURCE_FILL, ROWS, timeout=300)
        await connection.execute("vacuum analyze performance", timeout=300)
    token = issue_token(secret=bench.environment["LIFTOS_JWT_SECRET"].encode(), org="bench")
    async with connect(bench.address, token=token) as client, source.snapshot() as (snapshot, _):
        inventory = await read_inventory(snapshot, ["public"])
        items = {"public.performance": next(
            item for item in inventory.tables() if item.object == "public.performance"
        )}  # fmt: skip
        tables = Tables(_MAPPING, items, "bench", "bench")
        reader = PostgresSnapshot(snapshot, ["public"])
        core = MemoryDigests(client.memory, "migrations/bench")
        writer = CoreWriter(client.memory, org="bench", migration="bench", epoch=1)
        projection = tables.projection(_MAPPING.tables[0])
        columns = projection.schema.names[len(projection.keys) :]
        async with writer.entries("copy") as entries:
            async for batch in reader.rows(projection):
                await entries.write(batch.select(columns))
        owner = await bench.owner()
        await owner.execute("vacuum analyze entries", timeout=300)
        await owner.close()
        equal = await _timed(tables, reader, core, planted=0, rounds=ROUNDS)
        exact = await _timed(tables, reader, core, planted=0, rounds=1, tier=Tier.EXACT)
        planted = await _plant_on_core(reader, projection, writer)
        found = await _timed(tables, reader, core, planted=planted, rounds=1)
    return iter(
        (
            Measurement(
                "verification_transformed_rows_per_second",
                ROWS / equal,
                100_000.0,
                "higher",
                f"{ROWS:,} rows against their entries by sums: {equal:.2f} s; every single hash:"
                f" {exact:.2f} s",
            ),
            Measurement(
                "verification_transformed_planted_seconds",
                found,
                90.0,
                "lower",
                f"{planted:,} planted differences on Core, all found and none invented",
            ),
        )
    )


async def _timed(
    tables: Tables,
    reader: PostgresSnapshot,
    core: MemoryDigests,
    *,
    planted: int,
    rounds: int,
    tier: Tier = Tier.VALUE,
) -> float:
    """Return the middle seconds that a comparison takes.

    Raises:
        DifferenceError: It overlooks or invents a difference.
    """
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        (compared,) = await verify_tables(tables, reader, core, tier=tier)
        seconds.append(time.perf_counter() - started)
        if len(compared.differences) != planted:
            raise DifferenceError(f"{len(compared.differences):,} of {planted:,} differences")
    return statistics.median(seconds)


async def _plant_on_core(
    reader: PostgresSnapshot, projection: Projection, writer: CoreWriter
) -> int:
    """Change, delete and add entries all over; return how many there are."""
    columns = projection.schema.names[len(projection.keys) :]
    kinds = 3
    step = ROWS * kinds // PLANTED
    planted = 0
    async with writer.entries("plant") as entries:
        async for batch in reader.rows(projection):
            rows = batch.select(columns)
            places = list(range(0, rows.num_rows, step))
            changed = rows.take(places)
            clicks = changed.schema.get_field_index("clicks")
            await entries.write(changed.set_column(clicks, "clicks", pc.add(changed["clicks"], 1)))
            gone = rows.take([place + 1 for place in places if place + 1 < rows.num_rows])
            await entries.delete(pa.Table.from_batches([gone]).select(list(projection.identity)))
            campaigns = changed.schema.get_field_index("campaign_id")
            added = pa.array([f"planted-{name}" for name in changed["campaign_id"].to_pylist()])
            await entries.write(changed.set_column(campaigns, "campaign_id", added))
            planted += changed.num_rows * 2 + gone.num_rows
    return planted


async def _identical(urls: list[str]) -> Iterator[Measurement]:
    """Compare tables with the same columns: first equal ones, then with planted differences."""
    connections = [await asyncpg.connect(url) for url in urls]
    for connection in connections:
        await connection.execute(_TABLE)
        await connection.execute("set statement_timeout = 0")
        await connection.execute(_FILL, ROWS, timeout=300)
        await connection.execute("vacuum analyze measured", timeout=300)
    ours, theirs = await _race(connections, urls, planted=set())
    equal = Measurement(
        "verification_equal_rows_vs_reladiff",
        theirs / ours,
        5.0,
        "higher",
        f"{ROWS:,} rows x {len(_TYPES)} columns on two servers: {ours:.2f} s,"
        f" reladiff {theirs:.2f} s",
    )
    planted = await _plant(connections[1])
    ours, theirs = await _race(connections, urls, planted=planted)
    differing = Measurement(
        "verification_planted_differences_vs_reladiff",
        theirs / ours,
        3.0,
        "higher",
        f"{PLANTED:,} planted differences, all found and none invented: {ours:.2f} s,"
        f" reladiff {theirs:.2f} s",
    )
    for connection in connections:
        await connection.close()
    return iter((equal, differing))


async def _plant(copy: asyncpg.Connection) -> set[int]:
    """Change, delete and add rows all over the copy; return their keys."""
    chosen = random.Random(7).sample(range(1, ROWS), PLANTED)
    third = PLANTED // 3
    gone, changed = chosen[:third], chosen[third : 2 * third]
    added = [ROWS + each for each in chosen[2 * third :]]
    await copy.execute("delete from measured where id = any($1)", gone)
    await copy.execute("update measured set clicks = clicks + 1 where id = any($1)", changed)
    await copy.execute(
        "insert into measured select id, '2030-01-01', 'meta', 'extra', 1, 1, 1, 1, now()"
        " from unnest($1::bigint[]) id",
        added,
    )
    await copy.execute("vacuum analyze measured", timeout=300)
    return {*gone, *changed, *added}


async def _race(
    connections: list[asyncpg.Connection], urls: list[str], *, planted: set[int]
) -> tuple[float, float]:
    """Return the middle seconds that we and reladiff take, in turn.

    Raises:
        DifferenceError: One of them overlooks or invents a difference.
    """
    ours, theirs = [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        found = await _compared(connections)
        ours.append(time.perf_counter() - started)
        _check("our comparison", _keys(found), planted)
        started = time.perf_counter()
        keys = await asyncio.to_thread(_reladiff, urls)
        theirs.append(time.perf_counter() - started)
        _check("reladiff", keys, planted)
    return statistics.median(ours), statistics.median(theirs)


async def _compared(connections: list[asyncpg.Connection]) -> Differences:
    table = ComparedTable("measured", ("id",), _TYPES)
    one, other = connections
    async with (
        one.transaction(isolation="repeatable_read", readonly=True),
        other.transaction(isolation="repeatable_read", readonly=True),
    ):
        return await compare_tables(one, other, (table, table))


def _keys(found: Differences) -> set[int]:
    return {int(key.strip("()")) for key in (*found.missing, *found.extra, *found.differing)}


def _reladiff(urls: list[str]) -> set[int]:
    """Return the keys of rows that reladiff, as it comes, finds different."""
    columns = tuple(name for name in _TYPES if name != "id")
    tables = [connect_to_table(url, "measured", "id", extra_columns=columns) for url in urls]
    try:
        with diff_tables(*tables) as found:
            return {int(row[0]) for _, row in found}
    finally:
        for table in tables:
            table.database.close()


def _check(whose: str, found: set[int], planted: set[int]) -> None:
    if found != planted:
        raise DifferenceError(
            f"{whose} overlooks {len(planted - found):,} differences and invents"
            f" {len(found - planted):,}"
        )
