"""A source that is written to all the time is verified without a single false difference."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Final

import asyncpg
import pytest
from tests.e2e.migration.moving import MAPPING, TABLES, Move, create, taken

from liftos_client import connect
from liftos_kit import postgres
from liftos_kit.auth import issue_token
from liftos_kit.testing.server import SECRET, RunningServer
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, fresh_database
from liftos_migration.adapters.core_digests import MemoryDigests
from liftos_migration.adapters.postgres.database import SCHEMA
from liftos_migration.adapters.source.catalog import read_inventory
from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.adapters.source.snapshot_reading import PostgresSnapshot
from liftos_migration.domain.differences import Difference
from liftos_migration.domain.preflight import CaptureMode
from liftos_migration.domain.tables import Tables
from liftos_migration.domain.verification import EntityResult, Tier
from liftos_migration.usecases.accounting import TableComparison
from liftos_migration.usecases.verifying import verify_tables
from liftos_migration.usecases.verifying_touched import Evidence, verify_touched

_ROUNDS: Final = 8
_WRITERS: Final = 8

FILL: Final = """
insert into days select 'c' || c, date '2026-01-01' + d, (c * 1.25 + d)::text, c * d
    from generate_series(1, 20) c, generate_series(0, 29) d;
insert into days select 'quiet', date '2026-01-01' + d, '1', d from generate_series(1, 5) d;
insert into fetched (campaign, day, sent) select 'f' || c, date '2026-01-01' + d, v * 10
    from generate_series(1, 5) c, generate_series(0, 9) d, generate_series(1, 3) v;
insert into models select 'm' || n, 'Model ' || n, jsonb_build_object('n', n)
    from generate_series(1, 30) n;
insert into model_parts select 'm' || n, p, n / 4.0
    from generate_series(1, 30) n, generate_series(1, 3) p;
insert into remarks select n, 'Title ' || n, 'Words of ' || n from generate_series(1, 30) n;
"""
WRITES: Final = (
    "insert into days values ('c{n}', date '2026-03-01' + {m}, '{n}', {m}) on conflict do nothing",
    "update days set spend = '{n}.5', clicks = {m} where campaign = 'c{m}'",
    "update days set campaign = 'd{n}' where campaign = 'c{m}' and day = date '2026-01-01' + {m}",
    "delete from days where campaign = 'c{m}' and day > '2026-03-01'",
    "insert into fetched (campaign, day, sent) values ('f{m}', '2026-01-0{d}', {n})",
    "delete from fetched where campaign = 'f{m}' and sent = 30",
    "insert into models values ('x{n}', 'New {n}', '{{}}') on conflict do nothing",
    "update models set settings = '{{\"n\": {n}}}' where id = 'm{m}'",
    "delete from models where id = 'x{n}'",
    "update model_parts set weight = {n} where model = 'm{m}'",
    "update remarks set id = id + 1000 where id = {m}",
    "insert into remarks values ({n} + 5000, 'T', 'W{m}') on conflict do nothing",
)


async def write(source: SourceConnections, seed: int, stop: asyncio.Event) -> int:
    """Write in transactions of all kinds; return how many were committed."""
    chance = random.Random(seed)
    committed = 0
    async with source.connect() as connection:
        while not stop.is_set():
            transaction = connection.transaction()
            await transaction.start()
            try:
                for _ in range(chance.randint(1, 4)):
                    sql = chance.choice(WRITES).format(
                        n=chance.randint(1, 60), m=chance.randint(1, 20), d=chance.randint(1, 9)
                    )
                    if chance.random() < 0.2:
                        savepoint = connection.transaction()
                        await savepoint.start()
                        await connection.execute(sql)
                        await savepoint.rollback()
                    else:
                        await connection.execute(sql)
                    await asyncio.sleep(chance.choice((0, 0, 0.01, 0.4)) * chance.random())
                if chance.random() < 0.2:
                    await transaction.rollback()
                else:
                    await transaction.commit()
                    committed += 1
            except (asyncpg.UniqueViolationError, asyncpg.DeadlockDetectedError):
                await transaction.rollback()
    return committed


@pytest.fixture
async def move(
    stores: Stack, core_database: TestDatabase, memory_server: RunningServer
) -> AsyncIterator[Move]:
    """A migration whose tables are copied, by the log."""
    pool = await postgres.create_pool(
        core_database.url, application_name="test", minimum=1, maximum=4, schema=SCHEMA
    )
    token = issue_token(
        secret=SECRET.encode(), org=f"org-{secrets.token_hex(4)}", subject="m", roles=["admin"]
    )
    with fresh_database(stores) as fresh:
        source = SourceConnections(stores.postgres_admin_url(fresh.name), maximum=_WRITERS + 4)
        async with source.connect() as connection:
            await connection.execute(TABLES + FILL)
        async with connect(memory_server.target, token=token) as client:
            await create(pool, client, "live", CaptureMode.LOG)
            made = await taken(pool, source, client, "live")
            assert made is not None
            await made.all()
            yield made
            await made.prepare.undo(made.context)
    await pool.close()


async def verified(move: Move, tier: Tier) -> tuple[list[Difference], int]:
    """Compare all tables at a point that both sides have; return differences and records."""
    context = move.context
    core = MemoryDigests(move.client.memory, f"migrations/{context.migration}")
    async with move.catching_up.aligned(context) as (connection, _):
        inventory = await read_inventory(connection, ["public"])
        items = {item.object: item for item in inventory.tables()}
        tables = Tables(MAPPING, items, context.org, context.migration)
        compared = await verify_tables(
            tables, PostgresSnapshot(connection, ["public"]), core, tier=tier
        )
    results = [each.result for each in compared]
    assert all(each.is_accounted_for for each in results), results
    found = [difference for each in compared for difference in each.differences]
    return found, sum(each.matched_count for each in results)


async def _again(move: Move, evidence: Evidence) -> Sequence[TableComparison] | None:
    """Compare what was written since."""
    context = move.context
    core = MemoryDigests(move.client.memory, f"migrations/{context.migration}")
    async with move.catching_up.aligned(context) as (connection, _):
        inventory = await read_inventory(connection, ["public"])
        items = {item.object: item for item in inventory.tables()}
        tables = Tables(MAPPING, items, context.org, context.migration)
        source = PostgresSnapshot(connection, ["public"])
        touched = move.catching_up.touched(context)
        assert touched is not None
        told = await verify_touched(
            tables, source, core, touched=touched, evidence=evidence, tier=Tier.VALUE
        )
        whole = await verify_tables(tables, source, core, tier=Tier.VALUE)
        if told is not None:
            ours = {each.result.table: _counts(each.result) for each in told}
            assert ours == {each.result.table: _counts(each.result) for each in whole}
        return told


def _counts(result: EntityResult) -> EntityResult:
    return replace(result, source_root=b"", target_root=b"")


async def test_what_was_written_since_is_verified_alone(move: Move) -> None:
    """It says the same as comparing everything, and knows when it cannot."""
    context, memory = move.context, move.client.memory
    core = MemoryDigests(memory, f"migrations/{context.migration}")
    async with move.catching_up.aligned(context) as (connection, _):
        inventory = await read_inventory(connection, ["public"])
        items = {item.object: item for item in inventory.tables()}
        tables = Tables(MAPPING, items, context.org, context.migration)
        source = PostgresSnapshot(connection, ["public"])
        compared = await verify_tables(tables, source, core, tier=Tier.VALUE)
        results = {each.result.table: each.result for each in compared}
        evidence = Evidence(context.epoch, results)
        move.catching_up.track(context)
    stop = asyncio.Event()
    writers = [asyncio.create_task(write(move.source, seed, stop)) for seed in range(4)]
    for _ in range(2):
        told = await _again(move, evidence)
        assert told is not None
        assert not any(each.differences for each in told)
    stop.set()
    await asyncio.gather(*writers)
    async with move.source.connect() as connection:
        await connection.execute("update days set clicks = 7 where campaign = 'c5'")
        await connection.execute("delete from days where campaign = 'c6'")
    await move.catching_up.round(context)
    listed = memory.list_entries(filter='platform = "meta" AND campaign_id = "c5"')
    entry = await anext(aiter(listed))
    entry.metrics.clicks = 8
    await memory.batch_upsert_entries([entry], origin=core.origin)
    told = await _again(move, evidence)
    assert told is not None
    (found,) = [difference for each in told for difference in each.differences]
    assert [field.field for field in found.fields] == ["clicks"]
    await memory.purge_entries(core.origin, filter='campaign_id = "quiet"', force=True)
    assert await _again(move, evidence) is None, "which entries are gone, all of them tell"


async def test_no_round_invents_a_difference_while_all_write(move: Move) -> None:
    """Long, aborted and partly undone transactions; then what is planted is found at once."""
    stop = asyncio.Event()
    writers = [asyncio.create_task(write(move.source, seed, stop)) for seed in range(_WRITERS)]
    for number in range(_ROUNDS):
        found, matched = await verified(move, Tier.EXACT if number % 4 == 3 else Tier.VALUE)
        assert found == [], f"round {number}"
        assert matched > 500
    entry = await anext(aiter(move.client.memory.list_entries(filter='platform = "meta"')))
    entry.metrics.clicks += 1
    await move.client.memory.batch_upsert_entries([entry], origin="migrations/live")
    found, _ = await verified(move, Tier.VALUE)
    stop.set()
    committed = await asyncio.gather(*writers)
    assert len(found) <= 1, "unless it was written again in between"
    assert sum(committed) > _ROUNDS * 10
