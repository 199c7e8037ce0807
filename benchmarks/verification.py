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
from reladiff import connect_to_table, diff_tables

from benchmarks.results import DifferenceError, Measurement
from liftos_local import stack
from liftos_local.ports import PortPlan
from liftos_migration.adapters.source.sums import compare_tables
from liftos_migration.domain.comparing import ComparedTable, Differences

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


def _server(running: ExitStack) -> str:
    """Run a Postgres of its own; return its address."""
    folder = running.enter_context(tempfile.TemporaryDirectory(prefix="liftos-bench-"))
    stores = stack.start(Path(folder), ports=PortPlan.automatic(), stores_only=True)
    return running.enter_context(stores).postgres_admin_url()


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
