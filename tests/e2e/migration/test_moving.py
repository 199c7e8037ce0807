"""Tables copied and kept up with: what is on Core is what the source's own SQL makes of them."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from tests.e2e.migration.module_writers import writing
from tests.e2e.migration.moving import MAPPING, TABLES, Move, create, taken

from liftos_client import Client, connect
from liftos_kit import postgres
from liftos_kit.auth import issue_token
from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.structs import plain
from liftos_kit.testing.server import SECRET, RunningServer
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, fresh_database
from liftos_migration.adapters.postgres.database import SCHEMA
from liftos_migration.adapters.source.catalog import read_inventory
from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.adapters.source.facts import read_facts
from liftos_migration.adapters.source.latency import ModuleLatency
from liftos_migration.adapters.source.rows import PostgresRows
from liftos_migration.domain.migrations import MigrationProgress, Throttle
from liftos_migration.domain.preflight import CaptureMode, Preflight, preflight
from liftos_migration.domain.states import MigrationState
from liftos_migration.usecases.preparing import moving
from liftos_migration.usecases.steps import StepContext, StepFailedError, StepStoppedError

FILL = """
insert into days select 'c' || c, date '2026-01-01' + d, (c * 1.25 + d)::text, c * d
    from generate_series(1, 40) c, generate_series(0, 59) d;
insert into fetched (campaign, day, sent) select 'f' || c, date '2026-01-01' + d, v * 10
    from generate_series(1, 10) c, generate_series(0, 9) d, generate_series(1, 3) v;
insert into models select 'm' || n, 'Model ' || n, jsonb_build_object('n', n, 'text', 'ü"\\')
    from generate_series(1, 120) n;
insert into model_parts select 'm' || n, p, n / 4.0
    from generate_series(1, 50) n, generate_series(1, 3) p;
insert into remarks select n, 'Title ' || n, 'Words of ' || n from generate_series(1, 60) n;
insert into rates select date '2026-01-01' + n, 'EUR', 1.05 + n / 1000.0
    from generate_series(0, 30) n;
insert into lists select 'k' || n, n / 3.0, array['a', null, 'b"'] from generate_series(1, 30) n;
"""


@pytest.fixture(scope="module")
async def pool(core_database: TestDatabase) -> AsyncIterator[asyncpg.Pool]:
    """Connections of Migration to its tables."""
    opened = await postgres.create_pool(
        core_database.url, application_name="test", minimum=1, maximum=6, schema=SCHEMA
    )
    yield opened
    await opened.close()


@pytest.fixture
async def client(memory_server: RunningServer) -> AsyncIterator[Client]:
    """Core's client for an org of its own."""
    org = f"org-{secrets.token_hex(4)}"
    token = issue_token(secret=SECRET.encode(), org=org, subject="mover", roles=["admin"])
    async with connect(memory_server.target, token=token) as opened:
        yield opened


@pytest.fixture
async def source(stores: Stack) -> AsyncIterator[SourceConnections]:
    """A filled module's database."""
    with fresh_database(stores) as fresh:
        connections = SourceConnections(stores.postgres_admin_url(fresh.name), maximum=20)
        async with connections.connect() as connection:
            await connection.execute(TABLES + FILL)
        yield connections


@pytest.fixture(params=[CaptureMode.LOG, CaptureMode.TRIGGER])
async def move(
    request: pytest.FixtureRequest,
    pool: asyncpg.Pool,
    source: SourceConnections,
    client: Client,
) -> AsyncIterator[Move]:
    """A migration in each mode."""
    await create(pool, client, "shop", request.param)
    made = await taken(pool, source, client, "shop")
    assert made is not None
    yield made
    await made.prepare.undo(made.context)


async def test_everything_arrives_and_changes_follow(
    move: Move, source: SourceConnections, client: Client
) -> None:
    """Of all targets: new rows, other values, other keys, gone rows, emptied tables."""
    await move.all()
    assert await move.differing() == {}
    memory = client.memory
    assert await _weight(client) == 0.5
    assert (await memory.get_note("remark-7")).text == "Words of 7"
    assert len([r async for r in memory.list_exchange_rates()]) == 31
    entries = [e async for e in memory.list_entries(filter='campaign_id = "f3"')]
    assert {entry.metrics.sent for entry in entries} == {30}
    assert len(entries) == 10
    async with source.connect() as connection:
        await connection.execute("update days set spend = '7.5' where campaign = 'c1'")
        await connection.execute("update days set campaign = 'new' where campaign = 'c2'")
        await connection.execute("delete from days where campaign = 'c3'")
        await connection.execute("delete from fetched where sent = 30 and campaign = 'f3'")
        await connection.execute("delete from fetched where campaign = 'f4'")
        await connection.execute("update model_parts set weight = 9 where model = 'm2' and no = 3")
        await connection.execute("delete from models where id = 'm9'")
        await connection.execute("update remarks set id = id + 1000 where id < 5")
        await connection.execute("update rates set usd = 2 where day = '2026-01-05'")
        await connection.execute("update lists set v = 0 where k = 'k1'")
    done = await move.catching_up.round(move.context)
    assert done.applied > 0
    assert await move.differing() == {}
    assert await _weight(client) == 9
    assert len([e async for e in memory.list_entries(filter='campaign_id = "c3"')]) == 0
    assert len([e async for e in memory.list_entries(filter='campaign_id = "new"')]) == 60
    left = [e async for e in memory.list_entries(filter='campaign_id = "f3"')]
    assert {entry.metrics.sent for entry in left} == {20}
    notes = {note.name.rpartition("/")[2] async for note in memory.list_notes()}
    assert {"remark-1001", "remark-1004", "remark-5"} <= notes
    assert not {"remark-1", "remark-4"} & notes
    async with source.connect() as connection:
        await connection.execute("truncate remarks, fetched")
    await move.catching_up.round(move.context)
    assert await move.differing() == {}
    assert [note async for note in memory.list_notes()] == []
    assert (await move.catching_up.round(move.context)).applied == 0


async def _weight(client: Client) -> Any:
    """Return a weight of a model that is kept in a part."""
    body: Any = plain((await client.memory.get_artifact("model-m2")).body)
    return body["weights"]["3"]


async def test_what_writers_do_meanwhile_arrives_too(move: Move, source: SourceConnections) -> None:
    """Long, aborted and nested transactions, moved keys and emptied tables, all the way."""
    async with writing(source):
        await asyncio.sleep(0.5)
        await move.prepare.do(move.context)
        await asyncio.sleep(0.5)
        await move.copy.do(move.context)
        found = await moving(move.context, PostgresRows())
        for _ in range(8):
            await move.catching_up.round(move.context, found)
            await asyncio.sleep(0.05)
    await move.catch_up.do(move.context)
    assert await move.differing() == {}
    async with source.connect() as connection:
        written = await connection.fetchval("select count(*) from days where campaign like 'c1__'")
    assert written > 0, "keys moved"


async def test_records_that_do_not_fit_are_put_aside_and_the_others_land(
    move: Move, source: SourceConnections, client: Client
) -> None:
    """What SQL cannot evaluate, what no record can hold, what Core refuses; mended, they come."""
    async with source.connect() as connection:
        await connection.execute(
            """insert into days values
                ('bad', '2026-01-01', 'abc', 1), ('bad', '2026-01-02', '', 1),
                ('bad', '2026-01-03', '1e30', 1), ('bad', '2026-01-04', '1', -5),
                ('bad', '2026-01-05', 'NaN', 1),
                ('good', '2026-01-01', '1', 1), ('bad', '0044-03-15 BC', '1', 1);
            insert into remarks values
                (900, 'T', ''), (901, 'T', repeat('x', 20001)), (902, '', 'ok');
            insert into models values ('no/id', 'Name', '{}'), ('nan', 'Name', '{"n": 1e400}')"""
        )
    await move.all()
    rejects = await move.copies.refusals(client.org, "shop")
    assert {key[1] for key in rejects["public.days"].open} == {
        "2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04", "2026-01-05", "0044-03-15 BC"
    }  # fmt: skip
    assert {key[0] for key in rejects["public.remarks"].open} == {"900", "901"}
    assert {key[0] for key in rejects["public.models"].open} == {"no/id", "nan"}
    assert await move.copies.open_rejects(move.context.lease) == 10
    assert await move.differing() == {}
    good = [e async for e in client.memory.list_entries(filter='campaign_id = "good"')]
    assert [entry.metrics.spend_micros for entry in good] == [1_000_000]
    async with source.connect() as connection:
        await connection.execute(
            """update days set spend = '2', clicks = 2 where campaign = 'bad';
            delete from days where day < '2000-01-01';
            update days set spend = 'worse' where campaign = 'good';
            update remarks set body = 'words' where id in (900, 901);
            delete from models where id in ('no/id', 'nan')"""
        )
    await move.catching_up.round(move.context)
    rejects = await move.copies.refusals(client.org, "shop")
    assert set(rejects) == {"public.days"}
    assert rejects["public.days"].open == {("good", "2026-01-01")}
    told = {table.table: table for table in move.progress.tables}
    assert (told["public.days"].reject_count, told["public.remarks"].reject_count) == (1, 0)
    assert told["public.days"].copied_count == 2_407
    assert move.progress.rows_per_second > 0
    assert await move.differing() == {}
    assert [e async for e in client.memory.list_entries(filter='campaign_id = "good"')] == []
    assert len([e async for e in client.memory.list_entries(filter='campaign_id = "bad"')]) == 5
    async with source.connect() as connection:
        await connection.execute(
            """truncate days, remarks;
            insert into days values ('late', '2026-02-01', 'odd', 1), ('late', '2026-02-02', '3', 1)
            """
        )
    await move.catching_up.round(move.context)
    rejects = await move.copies.refusals(client.org, "shop")
    assert rejects["public.days"].open == {("late", "2026-02-01")}
    assert await move.differing() == {}
    left = [e async for e in client.memory.list_entries(filter='platform = "meta"')]
    assert [entry.metrics.spend_micros for entry in left] == [3_000_000]


async def test_a_changed_schema_stops_everything_with_what_changed(
    move: Move, source: SourceConnections
) -> None:
    """Nothing of after the change is taken; put back as it was, it goes on."""
    await move.all()
    async with source.connect() as connection:
        await connection.execute("update days set spend = '5' where campaign = 'c1'")
        await connection.execute("alter table days add column more text")
        with pytest.raises(StepFailedError) as stopped:
            await move.catching_up.round(move.context)
        assert stopped.value.code == "SCHEMA_CHANGED"
        assert "public.days has now column more text" in stopped.value.message
        with pytest.raises(StepFailedError, match="more text"):
            await move.copy.do(move.context)
        await connection.execute("alter table days drop column more")
    await move.catching_up.round(move.context)
    assert await move.differing() == {}


async def test_changes_that_were_lost_ask_for_another_copy(
    move: Move, source: SourceConnections
) -> None:
    """A slot or an outbox that is gone is told, and never made again in silence."""
    await move.all()
    kept = await move.copies.capture(move.context.lease)
    assert kept is not None
    async with source.connect() as connection:
        if kept.mode is CaptureMode.LOG:
            await connection.execute(f"select pg_drop_replication_slot('{kept.identity.capture}')")
        else:
            await connection.execute(f"drop table liftos_migration.{kept.identity.capture}_outbox")
    with pytest.raises(StepFailedError) as stopped:
        await move.catching_up.round(move.context)
    assert stopped.value.state is MigrationState.RESNAPSHOT_REQUIRED


async def test_a_source_that_breaks_off_is_gone_on_with(
    move: Move, source: SourceConnections
) -> None:
    """Connections that are cut in the midst cost another attempt, and no record."""
    await move.prepare.do(move.context)
    done = asyncio.Event()

    async def cut() -> None:
        async with source.connect() as connection:
            await connection.execute("set application_name = 'cutter'")
            for _ in range(6):
                await asyncio.sleep(0.1)
                await connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where application_name = 'liftos-migration' and datname = current_database()"
                )
        done.set()

    cutting = asyncio.create_task(cut())
    failures = 0
    while True:
        try:
            await move.copy.do(move.context)
            await move.catch_up.do(move.context)
        except StoreUnavailableError:
            failures += 1
            await asyncio.sleep(0.05)
        else:
            if done.is_set():
                break
    await cutting
    assert failures > 0
    assert await move.differing() == {}


async def test_a_role_with_what_preflight_asks_for_is_enough(
    stores: Stack, pool: asyncpg.Pool, client: Client
) -> None:
    """Without that, preparing says what the owner has to run, and goes on where they did."""
    role, owner = f"mover_{secrets.token_hex(4)}", f"owner_{secrets.token_hex(4)}"
    with fresh_database(stores) as fresh:
        address = stores.postgres_admin_url(fresh.name)
        admin = await asyncpg.connect(address)
        await admin.execute(TABLES + FILL)
        await admin.execute(
            f"create role {role} login password 'mover-password'; create role {owner};"
            f" grant select on all tables in schema public to {role}"
        )
        for table in ("days", "fetched", "models", "model_parts", "remarks", "rates", "lists"):
            await admin.execute(f"alter table {table} owner to {owner}")
        host = address.rpartition("@")[2]
        source = SourceConnections(f"postgresql://{role}:mover-password@{host}")
        await create(pool, client, "granted", CaptureMode.LOG)
        move = await taken(pool, source, client, "granted")
        assert move is not None
        try:
            with pytest.raises(StepFailedError, match="create publication liftos_granted_") as told:
                await move.prepare.do(move.context)
            assert told.value.code == "SOURCE_FORBIDS"
            statement = told.value.remedy.partition(": ")[2].removesuffix(". Then resume.")
            await admin.execute(f"alter role {role} replication; {statement}")
            await move.prepare.do(move.context)
            await admin.execute("update days set clicks = 5 where campaign = 'c2'")
            assert (await move.catching_up.round(move.context)).applied == 60
            await move.prepare.undo(move.context)
            name = await admin.fetchval("select pubname from pg_publication")
            await admin.execute(f"drop publication {name}; alter role {role} noreplication")
            wanted = {"REPLICATION_MISSING", "OWNER_MISSING", "CREATE_MISSING"}
            before = await _looked_at(source)
            assert before.capture_modes == ()
            for finding in before.findings:
                if finding.code in wanted:
                    await admin.execute(finding.remedy)
            assert {finding.code for finding in before.findings} >= wanted
            assert (await _looked_at(source)).capture_modes[0] is CaptureMode.LOG
            await move.all()
            await admin.execute("delete from days where campaign = 'c1'; delete from models")
            assert (await move.catching_up.round(move.context)).applied > 0
            assert await move.differing() == {}
            await move.prepare.undo(move.context)
            for left in ("pg_publication", f"pg_replication_slots where database = '{fresh.name}'"):
                assert await admin.fetchval(f"select count(*) from {left}") == 0
        finally:
            await admin.execute(
                f"reassign owned by {owner} to current_user;"
                f" drop owned by {role}, {owner}; drop role {role}, {owner}"
            )
            await admin.close()


async def _looked_at(source: SourceConnections) -> Preflight:
    async with source.connect() as connection:
        inventory = await read_inventory(connection, ["public"])
        facts = await read_facts(connection, [table.object for table in inventory.tables()])
    return preflight(facts, inventory, MAPPING)


async def test_work_slows_down_while_the_module_does_not_answer_in_time(
    pool: asyncpg.Pool, source: SourceConnections, client: Client, memory_server: RunningServer
) -> None:
    """Asked at its probe target, or by a row of its database; what is not there is the slowest."""
    await create(pool, client, "slow", CaptureMode.LOG)
    move = await taken(pool, source, client, "slow")
    assert move is not None
    await move.prepare.do(move.context)

    def limited(limit: timedelta, target: str) -> StepContext:
        spec = move.context.spec
        return replace(
            move.context,
            spec=replace(spec, source=replace(spec.source, probe_target=target)),
            throttle=lambda: Throttle(maximum_source_latency=limit),
        )

    assert await ModuleLatency()(move.context) is None
    for target in ("", memory_server.target):
        latency = ModuleLatency()
        assert 0 < (await latency(limited(timedelta(seconds=20), target)) or 0) < 20
        await latency.close()
    latency = ModuleLatency()
    assert await latency(limited(timedelta(seconds=20), "127.0.0.1:1")) == 40
    await latency.close()
    context = limited(timedelta(milliseconds=50), "")
    pacing = await move.catching_up.pacing(context, copies=True)
    now = asyncio.get_running_loop().time
    async with source.connect() as connection, connection.transaction():
        await connection.execute("lock table days")
        began = now()
        await pacing.worked(0.0)
        assert now() - began >= 0.2
    assert move.progress.throttle_reason == "source p95 100 ms > 50 ms"
    await move.prepare.undo(move.context)


async def test_a_copy_that_is_stopped_goes_on_at_its_chunk(
    pool: asyncpg.Pool, source: SourceConnections, client: Client
) -> None:
    """It ends after the batch in hand, and the next worker copies the rest alone."""
    await create(pool, client, "stopped", CaptureMode.LOG)
    first = await taken(pool, source, client, "stopped", chunk_rows=100)
    assert first is not None
    await first.prepare.do(first.context)
    async with source.connect() as connection:
        await connection.execute(
            "insert into days select 's' || c, date '2025-01-01' + d, '1', 1"
            " from generate_series(1, 60) c, generate_series(0, 299) d"
        )

    def stop(change: Callable[[MigrationProgress], MigrationProgress]) -> None:
        first.tell(change)
        # Other tables may be copied before the first chunk of this one.
        told = {table.table: table.copied_count for table in first.progress.tables}
        if told.get("public.days"):
            first.context.stop.set()

    first.context = replace(first.context, progress=stop)
    with pytest.raises(StepStoppedError):
        await first.copy.do(first.context)
    lease = first.context.lease
    before = {part.number: part for part in await first.copies.parts(lease, "public.days")}
    assert 0 < sum(part.row_count for part in before.values()) < 20_400
    first.context = replace(first.context, stop=asyncio.Event(), progress=first.tell)
    output = await first.copy.do(first.context)
    after = await first.copies.parts(lease, "public.days")
    assert sum(part.row_count for part in after) == 20_400
    assert output["chunks"] > sum(part.chunk_count for part in before.values())
    assert await first.differing() == {}
    await first.prepare.undo(first.context)


async def test_a_frozen_module_is_copied_and_thawed(
    pool: asyncpg.Pool, source: SourceConnections, client: Client
) -> None:
    """Writes are refused from before the copy on, and pass again once it is taken back."""
    await create(pool, client, "frozen", CaptureMode.FREEZE)
    move = await taken(pool, source, client, "frozen")
    assert move is not None
    await move.all()
    async with source.connect() as connection:
        with pytest.raises(asyncpg.PostgresError, match="being moved"):
            await connection.execute("delete from days")
        assert await move.differing() == {}
        await move.prepare.undo(move.context)
        await connection.execute("delete from lists")
        assert not await connection.fetchval("select to_regnamespace('liftos_migration')")


async def test_changes_are_applied_between_chunks_where_the_source_keeps_too_many(
    pool: asyncpg.Pool, source: SourceConnections, client: Client
) -> None:
    """A copy never waits for what only it can let go of, and says what slows it down."""
    await create(pool, client, "kept", CaptureMode.LOG)
    move = await taken(pool, source, client, "kept", chunk_rows=100)
    assert move is not None
    reasons: set[str] = set()

    def tell(change: Callable[[MigrationProgress], MigrationProgress]) -> None:
        move.tell(change)
        reasons.add(move.progress.throttle_reason)

    limits = [replace(Throttle(), maximum_retained_bytes=1)]
    move.context = replace(move.context, progress=tell, throttle=lambda: limits[-1])
    await move.prepare.do(move.context)
    copying = asyncio.create_task(move.copy.do(move.context))
    await asyncio.sleep(3.0)
    # A slot always keeps a little, so that the least limit holds for ever.
    limits.append(Throttle())
    await copying
    assert any("of changes for us" in reason for reason in reasons)
    assert await move.differing() == {}
    await move.prepare.undo(move.context)
