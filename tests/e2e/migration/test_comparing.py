"""Copies of tables compared: nothing is overlooked, and nothing is invented."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, fresh_database
from liftos_migration.adapters.source.sums import compare_tables
from liftos_migration.domain.comparing import ComparedTable, Differences, Exactness

TABLE = """
create type mood as enum ({moods});
create table measured (
    id bigint primary key, day date, at timestamptz, amount numeric(18, 6), rate float8, name text,
    tags text[], body jsonb, plain json, place point, mood mood, raw bytea
);
"""
TYPES = {
    "id": "bigint",
    "day": "date",
    "at": "timestamp with time zone",
    "amount": "numeric(18,6)",
    "rate": "double precision",
    "name": "text",
    "tags": "text[]",
    "body": "jsonb",
    "plain": "json",
    "place": "point",
    "mood": "mood",
    "raw": "bytea",
}
FILL = """
insert into measured
select n, date '2025-01-01' + (n % 700)::int,
       timestamptz '2025-01-01' + n * interval '1 minute', n / 7.0,
       case n % 50 when 0 then 'NaN' when 1 then 'Infinity' when 2 then '-0' else n / 3.0 end,
       case n % 9 when 0 then null when 1 then '' when 2 then '<null>' else 'n|' || n end,
       case n % 5 when 0 then null else array['a', n::text] end,
       jsonb_build_object('n', n, 'x', null),
       '{"b": 1, "a": 2}', point(n, 1), 'calm', decode(md5(n::text), 'hex')
from generate_series(-3000, 20000) n
"""


@pytest.fixture(scope="module")
def databases(stores: Stack) -> Iterator[tuple[TestDatabase, TestDatabase]]:
    """Two databases of their own."""
    with fresh_database(stores) as one, fresh_database(stores) as other:
        yield one, other


@pytest.fixture(scope="module")
async def pair(
    databases: tuple[TestDatabase, TestDatabase],
) -> AsyncIterator[tuple[asyncpg.Connection, asyncpg.Connection]]:
    """The same rows twice; words of the enumeration have other numbers in the other catalog."""
    connections = [await asyncpg.connect(each.owner_url) for each in databases]
    for connection, moods in zip(connections, ("'calm', 'wild'", "'wild', 'calm'"), strict=True):
        await connection.execute(TABLE.format(moods=moods))
        # Sessions that write values in other ways.
        await connection.execute(FILL)
    await connections[1].execute("set timezone = 'Asia/Tokyo'; set datestyle = 'German'")
    await connections[1].execute("set extra_float_digits = -3; set intervalstyle = 'iso_8601'")
    yield connections[0], connections[1]
    for connection in connections:
        await connection.close()


@asynccontextmanager
async def snapshots(*connections: asyncpg.Connection) -> AsyncIterator[None]:
    """Let each connection see one state."""
    begun = [each.transaction(isolation="repeatable_read") for each in connections]
    for transaction in begun:
        await transaction.start()
    try:
        yield
    finally:
        for transaction in begun:
            await transaction.rollback()


async def _differences(
    pair: tuple[asyncpg.Connection, asyncpg.Connection],
    *,
    exactness: Exactness = Exactness.VALUES,
    key: tuple[str, ...] = ("id",),
) -> Differences:
    table = ComparedTable("measured", key, TYPES)
    return await compare_tables(*pair, (table, table), exactness=exactness)


@pytest.mark.parametrize("exactness", Exactness)
@pytest.mark.parametrize("key", [("id",), ("day", "id")])
async def test_equal_copies_have_no_differences(
    pair: tuple[asyncpg.Connection, asyncpg.Connection],
    exactness: Exactness,
    key: tuple[str, ...],
) -> None:
    """Whatever the sessions write values like, and whatever number an enumeration's word has."""
    async with snapshots(*pair):
        found = await _differences(pair, exactness=exactness, key=key)
    assert not found, found
    assert (found.row_count, found.compared_row_count) == (23_001, 0)
    assert (found.completeness, found.accuracy) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("change", "row"),
    [
        ("update measured set name = '' where id = 9", "(9)"),
        ("update measured set name = '<null>' where id = 1801", "(1801)"),
        ("update measured set rate = rate + 1e-9 where id = 7", "(7)"),
        ("update measured set amount = amount + 0.000001 where id = -2999", "(-2999)"),
        ("update measured set tags = array['a,5'] where id = 5001", "(5001)"),
        ("update measured set body = body || '{\"x\": 0}' where id = 1", "(1)"),
        ('update measured set plain = \'{"a": 2, "b": 2}\' where id = -1024', "(-1024)"),
        ("update measured set place = point(0, 0) where id = 1023", "(1023)"),
        ("update measured set mood = 'wild' where id = 1024", "(1024)"),
        ("update measured set raw = raw || '\\x00' where id = 0", "(0)"),
        ("update measured set at = at + interval '1 microsecond' where id = -1023", "(-1023)"),
    ],
)
@pytest.mark.parametrize("exactness", Exactness)
async def test_the_smallest_change_is_found(
    pair: tuple[asyncpg.Connection, asyncpg.Connection],
    exactness: Exactness,
    change: str,
    row: str,
) -> None:
    """One row, one bit; and only its neighbours had to be looked at one by one."""
    async with snapshots(*pair):
        await pair[1].execute(change)
        found = await _differences(pair, exactness=exactness)
    assert (found.missing, found.extra, found.differing) == ((), (), (row,))
    assert found.compared_row_count <= 2_048


async def test_values_are_equal_however_they_are_written(
    pair: tuple[asyncpg.Connection, asyncpg.Connection],
) -> None:
    """The same json in another order is the same value and another text."""
    async with snapshots(*pair):
        await pair[1].execute("""update measured set plain = '{"a": 2, "b": 1}' where id < 0""")
        assert not await _differences(pair)
        found = await _differences(pair, exactness=Exactness.TEXTS)
    assert len(found.differing) == 3_000


async def test_rows_that_exchange_their_values_are_found(
    pair: tuple[asyncpg.Connection, asyncpg.Connection],
) -> None:
    """Sums of the bucket's values alone would not see it."""
    async with snapshots(*pair):
        await pair[1].execute(
            "update measured m set (name, rate) = (select o.name, o.rate from measured o"
            " where o.id = 13 - m.id) where m.id in (3, 10)"
        )
        found = await _differences(pair)
    assert found.differing == ("(10)", "(3)")


async def test_many_planted_differences_are_all_found(
    pair: tuple[asyncpg.Connection, asyncpg.Connection],
) -> None:
    """Missing, extra and changed rows all over the table."""
    chosen = random.Random(5).sample(range(-3_000, 20_000), 900)
    gone, changed = sorted(chosen[:300]), sorted(chosen[300:600])
    async with snapshots(*pair):
        await pair[1].execute("delete from measured where id = any($1)", gone)
        await pair[1].execute("update measured set amount = -1 where id = any($1)", changed)
        await pair[1].execute(
            "insert into measured (id, name) select n, 'extra' from unnest($1::bigint[]) n",
            [30_000 + each for each in sorted(chosen[600:])],
        )
        found = await _differences(pair)
    assert set(found.missing) == {f"({each})" for each in gone}
    assert set(found.differing) == {f"({each})" for each in changed}
    assert len(found.extra) == 300
    assert found.completeness == pytest.approx(1 - 300 / 23_001)
    assert found.accuracy == pytest.approx(1 - 600 / 23_001)


_VALUES = st.one_of(
    st.none(),
    st.sampled_from(["", "<null>", "null", "a|b", "(a,b)", '"', "\\", "NULL", ",", "a,b"]),
    st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4),
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rows=st.lists(st.tuples(_VALUES, _VALUES), min_size=1, max_size=6),
    others=st.lists(st.tuples(_VALUES, _VALUES), min_size=1, max_size=6),
    exactness=st.sampled_from(Exactness),
)
def test_tables_are_equal_just_where_their_rows_are(
    stores: Stack, rows: list[Any], others: list[Any], exactness: Exactness
) -> None:
    """Separators, quotes, nulls and words for them make no two different rows alike."""

    async def run() -> Differences:
        one = await asyncpg.connect(stores.postgres_admin_url())
        other = await asyncpg.connect(stores.postgres_admin_url())
        try:
            for connection, given_rows in ((one, rows), (other, others)):
                await connection.execute(
                    "create temporary table pairs (n int, left_word text, right_word text)"
                )
                await connection.executemany(
                    "insert into pairs values ($1, $2, $3)",
                    [(number, *each) for number, each in enumerate(given_rows)],
                )
            types = {"n": "integer", "left_word": "text", "right_word": "text"}
            table = ComparedTable("pairs", ("n",), types)
            async with snapshots(one, other):
                return await compare_tables(one, other, (table, table), exactness=exactness)
        finally:
            await one.close()
            await other.close()

    found = asyncio.run(run())
    both = range(min(len(rows), len(others)))
    assert set(found.differing) == {f"({n})" for n in both if rows[n] != others[n]}
    assert len(found.missing) == max(len(rows) - len(others), 0)
    assert len(found.extra) == max(len(others) - len(rows), 0)
