"""Transactions of Memory: reads of one org, and writes that end as one commit."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

import asyncpg

from liftos_kit import postgres
from liftos_kit.core.errors import EpochFencedError, FenceClosedError
from liftos_kit.telemetry import inject_carrier
from liftos_memory.ports import WriteContext

SCHEMA: Final = "memory"
SCHEMA_VERSION: Final = 8
"""The schema that this code needs; servers and workers refuse to start on an older one."""

_POINT_READ_CONNECTIONS: Final = 4
_FENCE_CLOSED: Final = "LF001"
_EPOCH_FENCED: Final = "LF002"


def schema_files() -> Traversable:
    """Return the directory of Memory's schema files."""
    return files("liftos_memory") / "sql" / "schema"


@dataclass(slots=True)
class Write:
    """A write under way: its connection, its number, and after its end its version."""

    connection: asyncpg.Connection
    org: str
    origin: str
    tx: int
    staging_exists: bool
    version: int = 0

    async def finish(self) -> int:
        """Take the org's next version and return it.

        The org's row stays locked until the commit, so this comes as late as can be.
        """
        if not self.version:
            self.version = await self.connection.fetchval(
                "/* end_write */ select end_write($1, $2, $3)",
                self.org,
                self.origin,
                inject_carrier().get("traceparent"),
            )
        return self.version


class Database:
    """Memory's Postgres.

    Every write runs between `begin_write` and `end_write`: the first takes the fences, the second
    gives the org's next version. What happens in between is one commit, or nothing.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool: Final = pool
        self.entry_reads: Final = postgres.PointReads(
            pool,
            "select * from read_entry($1, $2, $3)",
            name="read_entry",
            collection="entries",
            connections=_POINT_READ_CONNECTIONS,
        )
        self.state_reads: Final = postgres.PointReads(
            pool,
            "select * from read_state($1)",
            name="read_state",
            collection="orgs",
            connections=_POINT_READ_CONNECTIONS,
        )
        self._months: set[date] = set()

    async def close(self) -> None:
        """Close all connections."""
        await self.entry_reads.close()
        await self.state_reads.close()
        await self.pool.close()

    @asynccontextmanager
    async def read(self, org: str, *, snapshot: bool = False) -> AsyncIterator[asyncpg.Connection]:
        """Yield a connection that sees the org's rows.

        With `snapshot` all its statements see one state of the database.
        """
        async with postgres.transaction(
            self.pool,
            org=org,
            read_only=True,
            isolation="repeatable read" if snapshot else "read committed",
        ) as connection:
            yield connection

    @asynccontextmanager
    async def write(self, org: str, context: WriteContext) -> AsyncIterator[Write]:
        """Yield a write that is committed as the org's next version when the block ends.

        Raises:
            FenceClosedError: The scope, or the whole org, is closed for writes.
            EpochFencedError: A writer with a higher epoch has taken over.
        """
        async with postgres.transaction(self.pool, org=org) as connection:
            try:
                row = await connection.fetchrow(
                    "/* begin_write */ select tx, staging_exists from begin_write($1, $2, $3)",
                    org,
                    context.fence_scope,
                    context.fencing_epoch,
                )
            except asyncpg.PostgresError as error:
                raise _fence_error(error, context) from error
            write = Write(connection, org, context.origin, row["tx"], row["staging_exists"])
            yield write
            await write.finish()

    async def ensure_partitions(self, days: Iterable[date]) -> None:
        """Make the monthly partitions that these days need; a no-op for months seen before."""
        missing = {day.replace(day=1) for day in days} - self._months
        if missing:
            async with postgres.transaction(self.pool, org=None) as connection:
                await connection.execute(
                    "/* ensure_entry_partitions */ select ensure_entry_partitions($1::date[])",
                    sorted(missing),
                )
            self._months |= missing

    async def last_version(self, org: str) -> int:
        """Return the org's newest version, 0 where it never wrote."""
        async with self.read(org) as connection:
            version = await connection.fetchval(
                "/* last_version */ select last_version from orgs where org = $1", org
            )
        return version or 0


def _fence_error(error: asyncpg.PostgresError, context: WriteContext) -> Exception:
    if error.sqlstate == _FENCE_CLOSED:
        epoch, _, scope = str(error.detail).partition(" ")
        return FenceClosedError(scope, epoch=int(epoch))
    if error.sqlstate == _EPOCH_FENCED:
        return EpochFencedError(
            current_epoch=int(str(error.detail)), received=context.fencing_epoch or 0
        )
    unchanged: Exception = error
    return unchanged
