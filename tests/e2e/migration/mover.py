"""A worker process that moves a module in tests, to be killed at any moment."""

import asyncio
import json
import os
import sys

from tests.e2e.migration.killing import CHUNK_ROWS, LEASE_SECONDS
from tests.e2e.migration.moving import Move, taken

from liftos_client import connect
from liftos_kit import postgres
from liftos_kit.core.errors import StoreUnavailableError
from liftos_migration.adapters.postgres.database import SCHEMA
from liftos_migration.adapters.postgres.ledger import PostgresLedger
from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.ledger_ports import LeaseLostError

_BEAT_SECONDS = 0.1


async def _move(move: Move) -> None:
    if await move.copies.capture(move.context.lease) is None:
        await move.prepare.do(move.context)
    await move.copy.do(move.context)
    await move.catch_up.do(move.context)
    await move.keep_up.run(move.context)


async def _held(ledger: PostgresLedger, move: Move) -> None:
    while True:
        await ledger.renew(move.context.lease, seconds=LEASE_SECONDS, progress=None)
        await asyncio.sleep(_BEAT_SECONDS)


async def main() -> None:
    """Take the migration whenever it is free, and move it until killed."""
    given = json.loads(os.environ["MOVER"])
    pool = await postgres.create_pool(
        given["core"], application_name="mover", minimum=1, maximum=4, schema=SCHEMA
    )
    ledger = PostgresLedger(pool)
    source = SourceConnections(given["source"])
    async with connect(given["memory"], token=given["token"]) as client:
        print("ready", flush=True)
        while True:
            move = await taken(
                pool, source, client, given["migration"], owner=f"mover-{os.getpid()}",
                lease_seconds=LEASE_SECONDS, chunk_rows=CHUNK_ROWS, snapshot_seconds=1.0,
            )  # fmt: skip
            if move is None:
                await asyncio.sleep(_BEAT_SECONDS)
                continue
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_held(ledger, move))
                    group.create_task(_move(move))
            except* (LeaseLostError, StoreUnavailableError) as lost:
                print(f"again: {lost.exceptions}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
