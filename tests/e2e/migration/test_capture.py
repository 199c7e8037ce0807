"""Changes of a source as its log and its triggers tell them, from a real server."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, fresh_database
from liftos_migration.adapters.source import pgoutput
from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.adapters.source.freezing import REFUSED, Fence
from liftos_migration.adapters.source.log import LogCapture, lsn_number
from liftos_migration.adapters.source.outbox import OutboxCapture
from liftos_migration.capture_ports import (
    Capture,
    CaptureLostError,
    SchemaDriftError,
    SourceIdentity,
    WritersWaitedForError,
)
from liftos_migration.domain.changes import Mark, Watched

TABLES: Final = """
create type shade as enum ('light', 'dark');
create table items (id bigint primary key, name text, body text, shade shade, at timestamptz);
create table "Days" (id bigserial primary key, thing text not null, day date not null, n int);
create table parts (item bigint not null, no int not null, note text, primary key (item, no));
create table readings (at date not null, sensor int not null, v float8, primary key (at, sensor))
    partition by range (at);
create table readings_old partition of readings for values from (minvalue) to ('2026-01-01');
create table readings_new partition of readings for values from ('2026-01-01') to (maxvalue);
create table settings (k text primary key, v text);
create table remarks (words text);
"""

WATCHED: Final[Watched] = {
    "public.items": (Mark("public.items", ("id",)),),
    # Several rows make one record, whose key is not that of the rows.
    'public."Days"': (Mark('public."Days"', ("thing", "day")),),
    "public.parts": (Mark("public.items", ("item",)),),
    "public.readings": (Mark("public.readings", ("at", "sensor")),),
    # Read by the query of items, without a key of theirs.
    "public.settings": (Mark("public.settings", ("k",)), Mark("public.items", ())),
    "public.remarks": (Mark("public.remarks", ()),),
}

COLUMNS: Final = {
    "public.items": ("id", "name", "body", "shade", "at"),
    'public."Days"': ("id", "thing", "day", "n"),
    "public.parts": ("item", "no", "note"),
    "public.readings": ("at", "sensor", "v"),
    "public.settings": ("k", "v"),
    "public.remarks": ("words",),
}

Kind = Callable[[str], Capture]


@pytest.fixture(scope="module")
def database(stores: Stack) -> Iterator[TestDatabase]:
    """An empty database."""
    with fresh_database(stores) as fresh:
        yield fresh


@pytest.fixture(scope="module")
async def source(stores: Stack, database: TestDatabase) -> SourceConnections:
    """The source."""
    connections = SourceConnections(stores.postgres_admin_url(database.name), maximum=20)
    async with connections.connect() as connection:
        await connection.execute(TABLES)
    return connections


@pytest.fixture(params=["log", "outbox"])
async def capture(
    request: pytest.FixtureRequest, source: SourceConnections
) -> AsyncIterator[Capture]:
    """A capture of each mode over empty tables, taken back after the test."""
    name = f"test_{secrets.token_hex(4)}"
    async with source.connect() as connection:
        await connection.execute(f"truncate {', '.join(WATCHED)} restart identity")
    kind = OutboxCapture if request.param == "outbox" else _log_capture
    made = kind(source.connect, name, WATCHED)
    yield made
    await made.remove()


def _log_capture(connect: "Connect", name: str, watched: Watched) -> LogCapture:
    return LogCapture(connect, name, watched, columns=COLUMNS)


Connect = Callable[[], AbstractAsyncContextManager[asyncpg.Connection]]


async def _dirty(
    source: SourceConnections, capture: Capture
) -> tuple[dict[str, set[tuple[str, ...]]], set[str]]:
    """Read what is dirty, and let the source forget it."""
    async with source.snapshot() as (_, horizon):
        changes = await capture.read(horizon)
        assert changes.complete
    if changes.position:
        await capture.forget(changes.position)
    return dict(changes.dirty.keys), set(changes.dirty.whole)


async def test_every_change_makes_its_records_dirty(
    source: SourceConnections, capture: Capture
) -> None:
    """Old keys and new ones, of rows and of what they are parts of; aborted work is none."""
    async with source.connect() as connection:
        await connection.execute("insert into items values (1, 'before')")
        await capture.prepare()
        assert await _dirty(source, capture) == ({}, set()), "what was there is for the copy"
        await connection.execute("insert into items values (2, 'b', null, 'dark', now())")
        await connection.execute("update items set id = 3 where id = 2")
        await connection.execute("insert into parts values (9, 1)")
        await connection.execute("delete from parts")
        await connection.execute("insert into readings values ('2025-12-31', 1, 1)")
        await connection.execute("update readings set at = '2026-01-01'")
        async with connection.transaction():
            await connection.execute("savepoint a; insert into items values (4)")
            await connection.execute("rollback to a; insert into items values (5)")
        aborted = connection.transaction()
        await aborted.start()
        await connection.execute("insert into items values (6)")
        await aborted.rollback()
        keys, whole = await _dirty(source, capture)
        assert keys["public.items"] == {("2",), ("3",), ("5",), ("9",)}
        assert keys["public.readings"] == {("2025-12-31", "1"), ("2026-01-01", "1")}
        assert whole == set()
        assert await _dirty(source, capture) == ({}, set()), "it was forgotten"


async def test_records_of_several_rows_lose_and_win(
    source: SourceConnections, capture: Capture
) -> None:
    """A row that moves to another record makes both dirty, and one that goes its own."""
    async with source.connect() as connection:
        await connection.execute(
            """insert into "Days" (thing, day, n) values ('a', '2026-01-01', 1),
            ('a', '2026-01-01', 2), ('b', '2026-01-02', 3)"""
        )
        await capture.prepare()
        await connection.execute("""update "Days" set n = 5 where n = 1""")
        assert (await _dirty(source, capture))[0] == {'public."Days"': {("a", "2026-01-01")}}
        await connection.execute(
            """update "Days" set day = '2026-02-02', thing = 'ü' where n = 2"""
        )
        await connection.execute("""delete from "Days" where n = 3""")
        keys, whole = await _dirty(source, capture)
        assert keys['public."Days"'] == {
            ("a", "2026-01-01"), ("ü", "2026-02-02"), ("b", "2026-01-02")
        }  # fmt: skip
        assert not whole


async def test_what_tells_no_key_makes_the_whole_table_dirty(
    source: SourceConnections, capture: Capture
) -> None:
    """Truncates, and changes of what a query merely reads."""
    async with source.connect() as connection:
        await connection.execute("insert into items values (1), (2)")
        await capture.prepare()
        await connection.execute("insert into settings values ('a', 'b')")
        assert await _dirty(source, capture) == (
            {"public.settings": {("a",)}}, {"public.items"}
        )  # fmt: skip
        await connection.execute("truncate readings")
        keys, whole = await _dirty(source, capture)
        assert (keys, whole) == ({}, {"public.readings"})


async def test_a_table_without_a_key_can_still_be_written(
    source: SourceConnections, capture: Capture
) -> None:
    """Postgres refuses changes of a published table whose rows it cannot tell apart."""
    async with source.connect() as connection:
        await connection.execute("insert into remarks values ('a'), ('b')")
        await capture.prepare()
        for change in ("update remarks set words = 'c'", "delete from remarks"):
            await connection.execute(change)
            assert await _dirty(source, capture) == ({}, {"public.remarks"})


async def test_large_values_that_did_not_change_do_not_hide_a_key(
    source: SourceConnections, capture: Capture
) -> None:
    """The log leaves them out."""
    async with source.connect() as connection:
        large = secrets.token_hex(50_000)
        await connection.execute("insert into items values (1, 'a', $1)", large)
        await capture.prepare()
        await connection.execute("update items set name = 'b'")
        assert await _dirty(source, capture) == ({"public.items": {("1",)}}, set())


async def test_a_transaction_that_a_snapshot_does_not_see_comes_again(
    source: SourceConnections, capture: Capture
) -> None:
    """Whatever ends after the snapshot was taken stays for the next round, and holds up none."""
    await capture.prepare()
    async with source.connect() as early, source.connect() as late:
        open_one = early.transaction()
        await open_one.start()
        await early.execute("insert into items values (1)")
        await late.execute("insert into items values (2)")
        async with source.snapshot() as (_, horizon):
            await late.execute("insert into items values (3)")
            await open_one.commit()
            first = await capture.read(horizon)
            assert first.dirty.keys == {"public.items": {("2",)}}
        await capture.forget(first.position)
        async with source.snapshot() as (_, horizon):
            again = await capture.read(horizon)
        assert {("1",), ("3",)} <= again.dirty.keys["public.items"]
        assert again.position
        await capture.forget(again.position)
        assert await _dirty(source, capture) == ({}, set())


async def test_what_was_not_forgotten_comes_again(
    source: SourceConnections, capture: Capture
) -> None:
    """Whoever dies between reading and writing loses nothing, and positions go one way."""
    await capture.prepare()
    await capture.prepare()
    async with source.connect() as connection:
        await connection.execute("insert into items values (1)")
        async with source.snapshot() as (_, horizon):
            first = await capture.read(horizon)
            assert (await capture.read(horizon)).dirty.keys == first.dirty.keys
        await connection.execute("insert into items values (2)")
        async with source.snapshot() as (_, horizon):
            second = await capture.read(horizon)
        assert second.dirty.keys == {"public.items": {("1",), ("2",)}}
        await capture.forget(second.position)
        await capture.forget(first.position)
        assert await _dirty(source, capture) == ({}, set())


async def test_nothing_is_left_in_the_source(source: SourceConnections, capture: Capture) -> None:
    """Slots, publications, triggers, functions, schemas and identities are as before."""
    async with source.connect() as connection:
        before = await _traces(connection)
        identity = await capture.prepare()
        status = await capture.check(identity)
        assert status.retained_bytes >= 0
        assert await _traces(connection) != before
        await capture.remove()
        assert await _traces(connection) == before
        await capture.remove()
        with pytest.raises(CaptureLostError):
            await capture.check(identity)
        with pytest.raises(CaptureLostError):
            await _dirty(source, capture)


async def _traces(connection: asyncpg.Connection) -> Mapping[str, object]:
    names = {
        "slots": "select slot_name from pg_replication_slots",
        "publications": "select pubname from pg_publication",
        "triggers": "select tgname from pg_trigger where not tgisinternal",
        "schemas": "select nspname from pg_namespace where nspname not like 'pg_%'",
        "identities": "select relname || relreplident::text from pg_class"
        " where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace",
    }
    return {
        name: sorted(row[0] for row in await connection.fetch(sql)) for name, sql in names.items()
    }


async def test_another_server_or_a_lost_slot_is_told(source: SourceConnections) -> None:
    """A slot that is gone, or whose log is, is never made again in silence."""
    capture = _log_capture(source.connect, f"test_{secrets.token_hex(4)}", WATCHED)
    identity = await capture.prepare()
    other = SourceIdentity("1", identity.timeline, identity.capture)
    with pytest.raises(CaptureLostError, match="another server"):
        await capture.check(other)
    later = SourceIdentity(identity.system, identity.timeline + 1, identity.capture)
    with pytest.raises(CaptureLostError, match="standby"):
        await capture.check(later)
    async with source.connect() as connection:
        await connection.execute("alter system set max_slot_wal_keep_size = '1MB'")
        await connection.execute("select pg_reload_conf()")
        try:
            for _ in range(4):
                await connection.execute("insert into items select generate_series(1, 20000)")
                await connection.execute("delete from items")
                await connection.execute("select pg_switch_wal()")
                await connection.execute("checkpoint")
            with pytest.raises(CaptureLostError, match="max_slot_wal_keep_size"):
                await capture.check(identity)
            with pytest.raises(CaptureLostError):
                await _dirty(source, capture)
        finally:
            await connection.execute("alter system reset max_slot_wal_keep_size")
            await connection.execute("select pg_reload_conf()")
    await capture.remove()


async def test_a_table_that_changes_its_columns_stops_the_log_there(
    source: SourceConnections,
) -> None:
    """What was before is given; what is after is not taken."""
    capture = _log_capture(source.connect, f"test_{secrets.token_hex(4)}", WATCHED)
    async with source.connect() as connection:
        await connection.execute("truncate settings, items")
        await capture.prepare()
        await connection.execute("insert into settings values ('a', 'b')")
        await connection.execute("alter table settings add column more int")
        await connection.execute("insert into settings values ('c', 'd', 1)")
        async with source.snapshot() as (_, horizon):
            before = await capture.read(horizon)
            assert before.dirty.keys == {"public.settings": {("a",)}}
            assert not before.complete
            await capture.forget(before.position)
            with pytest.raises(SchemaDriftError, match="new columns more"):
                await capture.read(horizon)
        await connection.execute("alter table settings drop column more")
    await capture.remove()


async def test_a_read_of_many_changes_goes_on_in_the_same_snapshot(
    source: SourceConnections,
) -> None:
    """Limits are kept by whole transactions, and a table of too many keys is dirty as a whole."""
    capture = LogCapture(
        source.connect, f"test_{secrets.token_hex(4)}", WATCHED, columns=COLUMNS,
        changes_at_a_time=50,
    )  # fmt: skip
    async with source.connect() as connection:
        await connection.execute("truncate items")
        await capture.prepare()
        for start in range(0, 300, 20):
            await connection.execute(
                "insert into items select generate_series($1::int, $1 + 19)", start
            )
        found: set[tuple[str, ...]] = set()
        reads = 0
        async with source.snapshot() as (_, horizon):
            await connection.execute("insert into items values (1000)")
            complete = False
            while not complete:
                changes = await capture.read(horizon)
                found |= changes.dirty.keys.get("public.items", set())
                complete = changes.complete
                await capture.forget(changes.position)
                reads += 1
        assert found == {(str(each),) for each in range(300)}
        assert reads > 4
        await connection.execute("insert into items select generate_series(2000, 60000)")
        async with source.snapshot() as (_, horizon):
            changes = await capture.read(horizon)
        assert "50,000" in changes.dirty.whole["public.items"]
    await capture.remove()


async def test_a_fence_refuses_writes_and_drains_those_under_way(
    source: SourceConnections,
) -> None:
    """Transactions from before the fence end or are refused; the place in the log is after them."""
    fence = Fence(source.connect, f"test_{secrets.token_hex(4)}", list(WATCHED))
    async with source.connect() as writer, source.connect() as old, source.connect() as admin:
        await admin.execute("truncate items, readings")
        await fence.install()
        await writer.execute("insert into items values (1)")
        prepared = await writer.prepare("insert into items values ($1)")
        snapshot = old.transaction(isolation="repeatable_read")
        await snapshot.start()
        await old.fetchval("select count(*) from items")
        under_way = writer.transaction()
        await under_way.start()
        await prepared.fetch(2)
        closing = asyncio.create_task(fence.close(7, "moves to Core"))
        await asyncio.sleep(0.5)
        assert not closing.done(), "it waits for whoever writes"
        await writer.fetchval("insert into items values (3) returning id")
        await under_way.commit()
        end = lsn_number(await closing)
        assert end >= await admin.fetchval("select pg_current_wal_flush_lsn()")
        assert await fence.is_closed()
        for connection in (old, writer):
            with pytest.raises(asyncpg.PostgresError) as refused:
                await connection.execute("insert into items values (4)")
            assert refused.value.sqlstate == REFUSED
            assert "moves to Core (epoch 7)" in str(refused.value)
        await snapshot.rollback()
        for statement in (
            "update items set name = 'x'", "delete from items", "truncate items",
            "insert into readings_new values ('2026-05-05', 1, 1)", "truncate readings_old",
        ):  # fmt: skip
            with pytest.raises(asyncpg.PostgresError, match="moves to Core"):
                await writer.execute(statement)
        with pytest.raises(asyncpg.PostgresError, match="moves to Core"):
            await prepared.fetch(5)
        await fence.install()
        assert await fence.is_closed(), "put in again, it stays as it is"
        await fence.open()
        await prepared.fetch(6)
        assert [r[0] for r in await admin.fetch("select id from items order by 1")] == [1, 2, 3, 6]
    await fence.remove()
    async with source.connect() as connection:
        assert (await _traces(connection))["triggers"] == []


async def test_a_fence_gives_up_where_somebody_does_not_end(source: SourceConnections) -> None:
    """And is open then."""
    fence = Fence(source.connect, f"test_{secrets.token_hex(4)}", ["public.items"])
    await fence.install()
    async with source.connect() as writer:
        async with writer.transaction():
            await writer.execute("insert into items values (999)")
            with pytest.raises(WritersWaitedForError):
                await fence.close(1, "moves", seconds=0.6)
        assert not await fence.is_closed()
        await writer.execute("delete from items where id = 999")
    await fence.remove()


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["insert", "update", "move", "delete"]),
        st.integers(1, 6),
        st.integers(1, 6),
        st.one_of(st.none(), TEXTS),
        st.sampled_from([0, 10_000]),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(transactions=st.lists(st.tuples(CHANGES, st.booleans()), max_size=5), full=st.booleans())
async def test_messages_replayed_give_the_table(
    stores: Stack, database: TestDatabase, source: SourceConnections,
    transactions: list[tuple[list[tuple[str, int, int, str | None, int]], bool]], full: bool,
) -> None:  # fmt: skip
    """Every message of the plugin is read: the rows that it tells of are those of the table."""
    slot = f"test_{secrets.token_hex(4)}"
    async with source.connect() as connection:
        await connection.execute(
            "drop table if exists replayed; drop publication if exists replayed;"
            " create table replayed (id int primary key, name text, body text, shade shade);"
            f" alter table replayed replica identity {'full' if full else 'default'};"
            " create publication replayed for table replayed"
        )
        await connection.fetchval("select pg_create_logical_replication_slot($1, 'pgoutput')", slot)
        try:
            for changes, commits in transactions:
                transaction = connection.transaction()
                await transaction.start()
                for change in changes:
                    await _change(connection, change)
                await (transaction.commit() if commits else transaction.rollback())
            rows = {
                str(row["id"]): tuple(row)[1:]
                for row in await connection.fetch("select id, name, body, shade from replayed")
            }
            data = await connection.fetch(
                "select data from pg_logical_slot_get_binary_changes($1, null, null,"
                " 'proto_version', '1', 'publication_names', 'replayed', 'messages', 'true')",
                slot,
            )
        finally:
            await connection.fetch("select pg_drop_replication_slot($1)", slot)
    assert _replayed([pgoutput.decode(row["data"]) for row in data]) == rows


async def _change(
    connection: asyncpg.Connection, change: tuple[str, int, int, str | None, int]
) -> None:
    kind, key, other, text, size = change
    body = secrets.token_hex(size // 2) if size else text
    match kind:
        case "insert":
            await connection.execute(
                "insert into replayed values ($1, $2, $3, 'dark') on conflict do nothing",
                key, text, body,
            )  # fmt: skip
        case "update":
            await connection.execute("update replayed set name = $2 where id = $1", key, text)
        case "move":
            await connection.execute(
                "update replayed set id = $2 where id = $1"
                " and not exists (select from replayed where id = $2)",
                key, other,
            )  # fmt: skip
        case "delete":
            await connection.execute("delete from replayed where id = $1", key)
            await connection.execute("select pg_logical_emit_message(true, 'word', $1)", "gone")


def _replayed(messages: list[pgoutput.LogMessage]) -> dict[str, tuple[pgoutput.Value, ...]]:
    rows: dict[str, tuple[pgoutput.Value, ...]] = {}

    def put(old: pgoutput.Values | None, new: pgoutput.Values) -> None:
        assert isinstance(new[0], str)
        before = rows.pop(str(old[0])) if old is not None else rows.get(new[0], ())
        rows[new[0]] = tuple(
            before[place] if value is pgoutput.Unchanged.VALUE else value
            for place, value in enumerate(new[1:])
        )

    for message in messages:
        match message:
            case pgoutput.Insert():
                put(None, message.new)
            case pgoutput.Update():
                put(message.old, message.new)
            case pgoutput.Delete():
                rows.pop(str(message.old[0]))
            case pgoutput.Message():
                assert (message.prefix, message.content) == ("word", b"gone")
            case pgoutput.Relation():
                assert message.columns == ("id", "name", "body", "shade")
            case pgoutput.Type():
                assert message.name == "shade"
            case _:
                pass
    return rows
