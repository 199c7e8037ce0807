"""A move whose worker is killed at random while writers write, held against the truth."""

import asyncio
import json
import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
from tests.e2e.migration.module_writers import writing
from tests.e2e.migration.moving import TABLES, create, taken

from liftos_client import Client
from liftos_local.processes import guarded, inherited_environment
from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.copy_ports import Differing
from liftos_migration.domain.preflight import CaptureMode

STATIC: Final = """
insert into days select 's' || c, date '2024-01-01' + d, (c * 1.25 + d)::text, c * d
    from generate_series(1, {campaigns}) c, generate_series(0, 499) d;
insert into models select 's' || n, 'Model ' || n, '{{}}' from generate_series(1, 300) n;
"""
"""Rows that no writer changes: whatever is killed, each is written to Core once."""

CHUNK_ROWS: Final = 500
LEASE_SECONDS: Final = 0.8


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a move came to.

    Attributes:
        kills: Workers that were killed.
        lost: Records that Core lacks.
        doubled: Records that Core has beyond the source, or with other values.
        rewritten: Entries that nobody changed and that were written more than once.
        chunks: Chunks that were recorded.
    """

    kills: int
    lost: int
    doubled: int
    rewritten: int
    chunks: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a move takes place: URLs of Core's and of the module's database, and Memory."""

    core: str
    source: str
    memory: str
    token: str


async def killed_move(
    place: Place,
    client: Client,
    pool: asyncpg.Pool,
    folder: Path,
    *,
    mode: CaptureMode,
    kills: int,
    campaigns: int,
    seed: int,
    migration: str,
) -> Outcome:
    """Move a module while its worker is killed, and compare what is there in the end.

    Args:
        place: Where.
        client: Core's client for the org.
        pool: Connections to Migration's tables.
        folder: For the logs of workers.
        mode: How changes are seen.
        kills: How often a worker is killed.
        campaigns: How much there is to copy, 500 rows each.
        seed: When a worker is killed, and what writers do.
        migration: The id.
    """
    source = SourceConnections(place.source, maximum=20)
    async with source.connect() as connection:
        await connection.execute(TABLES + STATIC.format(campaigns=campaigns))
    await create(pool, client, migration, mode)
    chance = random.Random(seed)
    environment = {
        **inherited_environment(),
        "PYTHONPATH": ":".join(sys.path),
        "MOVER": json.dumps(
            {"core": place.core, "source": place.source, "memory": place.memory,
             "token": place.token, "migration": migration}
        ),
    }  # fmt: skip
    async with writing(source, seed=seed):
        following = asyncio.create_task(_started(environment, folder / "mover-1.log"))
        for number in range(1, kills + 1):
            worker = await following
            if number < kills:
                # It waits for the lease meanwhile, as a second replica does.
                log = folder / f"mover-{number + 1}.log"
                following = asyncio.create_task(_started(environment, log))
            await _live_and_die(worker, chance)
    await asyncio.sleep(LEASE_SECONDS)
    move = await taken(pool, source, client, migration, owner="last", chunk_rows=CHUNK_ROWS)
    assert move is not None, "the lease has ended"
    if await move.copies.capture(move.context.lease) is None:
        await move.prepare.do(move.context)
    for step in (move.copy, move.catch_up):
        await step.do(move.context)
    differing = await move.differing()
    chunks = await _chunks(pool, client.org, migration)
    rewritten = await _rewritten(client)
    await move.prepare.undo(move.context)
    return Outcome(
        kills,
        sum(len(each.keys) for each in differing.values() if isinstance(each, Differing)),
        sum(len(each.extra) for each in differing.values() if isinstance(each, Differing)),
        rewritten,
        chunks,
    )


@dataclass(frozen=True, slots=True)
class _Worker:
    """A worker that looks for a migration to move, and where it writes what goes wrong."""

    process: asyncio.subprocess.Process
    log: Path


async def _started(environment: Mapping[str, str], log: Path) -> _Worker:
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *guarded((sys.executable, "-m", "tests.e2e.migration.mover")),
            env=dict(environment),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdout is not None
    if not await process.stdout.readline():
        words = await asyncio.to_thread(log.read_text)
        raise AssertionError(f"a worker did not start: {words[-3000:]}")
    return _Worker(process, log)


async def _live_and_die(worker: _Worker, chance: random.Random) -> None:
    # Its predecessor's lease has to end first.
    await asyncio.sleep(LEASE_SECONDS * chance.uniform(1.25, 4))
    if worker.process.returncode is not None:
        words = await asyncio.to_thread(worker.log.read_text)
        raise AssertionError(f"a worker ended by itself: {words[-3000:]}")
    worker.process.kill()
    await worker.process.wait()


async def _chunks(pool: asyncpg.Pool, org: str, migration: str) -> int:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("select set_config('liftos.org', $1, true)", org)
        rows = await connection.fetch(
            "select p.row_count, sum(c.row_count) as copied, count(*) as chunks, p.chunk_count"
            " from parts p join chunks c using (org, migration, generation, table_name, part)"
            " where migration = $1 group by p.row_count, p.chunk_count, p.table_name, p.part",
            migration,
        )
    assert all(row["row_count"] == row["copied"] for row in rows)
    assert all(row["chunk_count"] == row["chunks"] for row in rows)
    return sum(row["chunks"] for row in rows)


async def _rewritten(client: Client) -> int:
    """Count static entries that were changed after they were written."""
    count = 0
    pages = client.memory.list_entries(
        filter='campaign_id : "s*"', read_mask=["create_time", "update_time"], page_size=1_000
    )
    async for entry in pages:
        count += entry.create_time != entry.update_time
    return count
