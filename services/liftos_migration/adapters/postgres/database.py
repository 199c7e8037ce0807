"""Migration's own tables: their schema, and transactions that prove a worker's lease."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

import asyncpg

from liftos_kit import postgres
from liftos_migration.ledger_ports import Lease, LeaseLostError

SCHEMA: Final = "migration"
SCHEMA_VERSION: Final = 1
"""The schema that this code needs; servers and workers refuse to start on an older one."""

_IDLE: Final = "5s"


def schema_files() -> Traversable:
    """Return the directory of Migration's schema files."""
    return files("liftos_migration") / "sql" / "schema"


@asynccontextmanager
async def held(pool: asyncpg.Pool, lease: Lease) -> AsyncIterator[asyncpg.Connection]:
    """Yield a transaction of a worker that has a migration; a successor waits for its end.

    Every write of a worker to Migration's tables is in one, so that a worker which was frozen and
    wakes up after another one has taken over changes nothing. A worker that is frozen within one
    loses it after `_IDLE`, so nothing but statements may be waited for in it.

    Raises:
        LeaseLostError: Another worker has taken the migration.
        StoreUnavailableError: Postgres does not answer.
    """
    async with postgres.transaction(pool, org=lease.org) as connection:
        epoch = await connection.fetchval(
            "/* prove_lease */ select epoch, "
            "set_config('idle_in_transaction_session_timeout', $3, true) "
            "from migrations where org = $1 and migration = $2 for no key update",
            lease.org,
            lease.migration,
            _IDLE,
        )
        if epoch != lease.epoch:
            raise LeaseLostError
        yield connection
