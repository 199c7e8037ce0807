"""What Migration puts into a source: in a schema of its own, and gone with it."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg

from liftos_migration.capture_ports import WritersWaitedForError

SCHEMA: Final = "liftos_migration"

_TRIES_SECONDS: Final = 30.0
_LOCK_TIMEOUT: Final = "200ms"
_LONGEST_PAUSE_SECONDS: Final = 0.4


async def with_locks(
    connection: asyncpg.Connection,
    work: Callable[[], Awaitable[None]],
    *,
    what: str,
    seconds: float = _TRIES_SECONDS,
) -> None:
    """Do something that needs locks which the module's writers hold, in one transaction.

    Whoever waits for a lock makes all writers wait that come after it. So each attempt waits for
    a moment only, and another one follows a little later.

    Args:
        connection: Not within a transaction.
        work: What is done; may be tried several times.
        what: Names it, for the error.
        seconds: How long it is tried.

    Raises:
        WritersWaitedForError: The locks were not free in that time; nothing was done.
    """
    now = asyncio.get_running_loop().time
    deadline = now() + seconds
    while True:
        try:
            async with connection.transaction():
                await connection.execute(f"set local lock_timeout = '{_LOCK_TIMEOUT}'")
                await work()
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            if now() > deadline:
                raise WritersWaitedForError(
                    f"{what} waits for transactions of the source that were open for more than "
                    f"{seconds:.0f} s. End them, and resume."
                ) from error
            pause = random.uniform(0.0, _LONGEST_PAUSE_SECONDS)  # noqa: S311 - spreads attempts
            await asyncio.sleep(pause)
        else:
            return


async def ensure_schema(connection: asyncpg.Connection) -> None:
    """Make the schema where it is missing."""
    # Asked first, since whoever may not make schemas may use one that is there.
    if not await connection.fetchval("select to_regnamespace($1) is not null", SCHEMA):
        await connection.execute(f"create schema if not exists {SCHEMA}")


async def drop_functions(connection: asyncpg.Connection, name: str, *, what: str) -> None:
    """Drop the functions of a name with the triggers that call them, and the schema once empty.

    Only a table's owner may drop a trigger of it; with its function everybody can who made that.
    """
    functions = await connection.fetch(
        "select p.oid::regprocedure::text as function from pg_proc p"
        " where p.pronamespace = to_regnamespace($1) and starts_with(p.proname, $2 || '_')",
        SCHEMA,
        name,
    )

    async def drop() -> None:
        for row in functions:
            await connection.execute(f"drop function if exists {row['function']} cascade")

    await with_locks(connection, drop, what=what)


async def drop_schema_if_empty(connection: asyncpg.Connection) -> None:
    """Drop the schema unless another migration has something in it."""
    try:
        await connection.execute(f"drop schema if exists {SCHEMA} restrict")
    except (asyncpg.DependentObjectsStillExistError, asyncpg.InsufficientPrivilegeError):
        # Of another migration, or made by an administrator who keeps it.
        return
