"""Tables copied and kept up with: what is on Core is what the source's own SQL makes of them."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from tests.e2e.migration.moving import TABLES, Move, make_move

from liftos_client import Client, connect
from liftos_kit import postgres
from liftos_kit.auth import issue_token
from liftos_kit.structs import plain
from liftos_kit.testing.server import SECRET, RunningServer
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, fresh_database
from liftos_migration.adapters.postgres.database import SCHEMA
from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.domain.preflight import CaptureMode

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
        connections = SourceConnections(stores.postgres_admin_url(fresh.name), maximum=6)
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
    made = await make_move(pool, source, client, "shop", request.param)
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
