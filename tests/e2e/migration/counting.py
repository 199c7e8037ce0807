"""Steps with an effect that can be counted: rows of a table, each written once.

Run as a program it is a worker with such steps, to be killed and frozen: it takes the address of
its database, its name and the seconds of its lease as arguments.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from liftos_kit import postgres
from liftos_migration.adapters.postgres.database import SCHEMA, held
from liftos_migration.adapters.postgres.ledger import PostgresLedger
from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.domain.ledger import JsonObject
from liftos_migration.domain.states import MigrationState
from liftos_migration.ledger_ports import Lease, StoredMigration
from liftos_migration.usecases.running import RunnerTimes, Running
from liftos_migration.usecases.steps import (
    ContinuousWork,
    Source,
    StepContext,
    StepFailedError,
    StepWork,
)

S: Final = MigrationState

TABLES: Final = """
create table migration.effects (
    org text, migration text, title text, number int, epoch bigint, write_count int default 1,
    primary key (org, migration, title, number)
);
create table migration.rounds (org text, migration text, epoch bigint, count bigint,
    primary key (org, migration, epoch));
grant select, insert, update, delete on migration.effects, migration.rounds to liftos_app;
"""

TITLES: Final = (
    (S.PREFLIGHT, "look"),
    (S.INVENTORIED, "list"),
    (S.SNAPSHOTTED, "keep"),
    (S.PREPARED, "prepare"),
    (S.COPYING, "copy a"),
    (S.COPYING, "copy b"),
    (S.CATCHING_UP, "catch up"),
    (S.VERIFYING, "compare"),
)
ROWS: Final = 5
"""Rows that each step writes, one a transaction."""


@dataclass(frozen=True, slots=True)
class Counting:
    """Writes rows, one a batch, and goes on after those that are there."""

    pool: asyncpg.Pool
    phase: MigrationState
    title: str
    pause_seconds: float = 0.002

    async def do(self, context: StepContext) -> JsonObject:
        """Write what is missing."""
        while True:
            context.check_stop()
            async with held(self.pool, context.lease) as connection:
                count = await self._count(connection, context)
                if count == ROWS:
                    return {"rows": count}
                await connection.execute(
                    "insert into effects (org, migration, title, number, epoch)"
                    " values ($1, $2, $3, $4, $5) on conflict (org, migration, title, number)"
                    " do update set write_count = effects.write_count + 1",
                    context.org,
                    context.migration,
                    self.title,
                    count + 1,
                    context.epoch,
                )
            await asyncio.sleep(self.pause_seconds)

    async def verify(self, context: StepContext) -> None:
        """Count."""
        async with held(self.pool, context.lease) as connection:
            count = await self._count(connection, context)
        if count != ROWS:
            raise StepFailedError("ROWS_MISSING", f"There are {count} rows.", "Look again.")

    async def undo(self, context: StepContext) -> None:
        """Delete all."""
        async with held(self.pool, context.lease) as connection:
            await connection.execute(
                "delete from effects where org = $1 and migration = $2 and title = $3",
                context.org,
                context.migration,
                self.title,
            )

    async def _count(self, connection: asyncpg.Connection, context: StepContext) -> int:
        count: int = await connection.fetchval(
            "select count(*) from effects where org = $1 and migration = $2 and title = $3",
            context.org,
            context.migration,
            self.title,
        )
        return count


@dataclass(frozen=True, slots=True)
class Rounds:
    """Goes round and round, and counts it."""

    pool: asyncpg.Pool
    title: str = "rounds"
    phases: frozenset[MigrationState] = frozenset({S.CATCHING_UP, S.VERIFYING, S.VERIFIED})

    async def run(self, context: StepContext) -> None:
        """Go round until it is to stop."""
        while not context.stop.is_set():
            async with held(self.pool, context.lease) as connection:
                await connection.execute(
                    "insert into rounds values ($1, $2, $3, 1)"
                    " on conflict (org, migration, epoch) do update set count = rounds.count + 1",
                    context.org,
                    context.migration,
                    context.epoch,
                )
            await asyncio.sleep(0.02)


@dataclass(frozen=True, slots=True)
class ListedPlan:
    """The same steps for all migrations."""

    works: Sequence[StepWork]
    beside: Sequence[ContinuousWork] = ()

    def steps(self, migration: StoredMigration) -> Sequence[StepWork]:
        """Return all."""
        return self.works

    def continuous(self, migration: StoredMigration) -> Sequence[ContinuousWork]:
        """Return all."""
        return self.beside


def counting_plan(pool: asyncpg.Pool, *, pause_seconds: float = 0.002) -> ListedPlan:
    """Return the plan of the program."""
    return ListedPlan(
        [Counting(pool, phase, title, pause_seconds) for phase, title in TITLES], [Rounds(pool)]
    )


@asynccontextmanager
async def unconnected(_: StoredMigration, __: Lease) -> AsyncIterator[tuple[Source, Any]]:
    """Open nothing: these steps need neither a source nor Core."""
    yield SourceConnections("postgresql://nowhere.invalid/none"), None


async def main(url: str, owner: str, lease_seconds: float) -> None:
    """Work until a signal."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    pool = await postgres.create_pool(
        url, application_name=owner, minimum=1, maximum=6, schema=SCHEMA
    )
    running = Running(
        PostgresLedger(pool),
        counting_plan(pool, pause_seconds=0.02),
        unconnected,
        owner=owner,
        times=RunnerTimes(lease_seconds=lease_seconds, grace_seconds=5),
    )
    print("working", flush=True)
    await running.run(stop, asyncio.Event())
    await pool.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
