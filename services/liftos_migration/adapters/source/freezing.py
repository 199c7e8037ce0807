"""A fence that refuses writes to tables of the source.

Triggers call a function whose body is exchanged: nothing of the table changes when it closes, and
whoever has begun to write ends first. A flag in a row would not do, since a transaction that began
before the flag was set goes on seeing it unset.
"""

from collections.abc import Sequence
from typing import Final

import asyncpg

from liftos_kit import postgres
from liftos_migration.adapters.source.log import SQL, Connect, lsn_text
from liftos_migration.adapters.source.objects import (
    SCHEMA,
    drop_functions,
    drop_schema_if_empty,
    ensure_schema,
    with_locks,
)

REFUSED: Final = "55006"
"""SQLSTATE of a refused write, `object_in_use`."""


class Fence:
    """Refuses writes to tables, or lets them through.

    Args:
        connect: Opens connections.
        name: Of its triggers; lower case letters, digits and underscores.
        tables: Names as SQL writes them.
    """

    def __init__(self, connect: Connect, name: str, tables: Sequence[str]) -> None:
        self._connect = connect
        self._name = name
        # In one order, so that two who close fences do not wait for each other.
        self._tables = sorted(tables)
        self._function = f"{SCHEMA}.{name}_fence_gate"

    async def install(self) -> None:
        """Put the triggers in, open; where they are, the fence stays as it is.

        Raises:
            WritersWaitedForError: A transaction was open for too long.
        """
        async with self._connect() as connection:
            await ensure_schema(connection)
            if await self._is_closed(connection) is None:
                await connection.execute(self._definition("return null;"))
            relations = [row async for row in SQL.relations(connection, tables=self._tables)]
            for row in sorted(relations, key=lambda each: str(each["object"])):
                await self._guard(connection, row)

    async def close(self, epoch: int, reason: str, *, seconds: float = 30.0) -> str:
        """Refuse writes from now on, and return the place in the log after the last one.

        Args:
            epoch: Told to whoever is refused.
            reason: Why, in a sentence; told too.
            seconds: How long it is tried.

        Raises:
            WritersWaitedForError: A transaction was open for too long; the fence is open.
        """
        words = postgres.quote_literal(f"{reason} (epoch {epoch})")
        body = f"raise exception using errcode = '{REFUSED}', message = {words};"
        async with self._connect() as connection:

            async def exchange() -> None:
                # Waits until whoever writes has ended.
                await connection.execute(
                    f"lock table {', '.join(self._tables)} in share row exclusive mode"
                )
                await connection.execute(self._definition(body))

            await with_locks(connection, exchange, what="The fence", seconds=seconds)
            return lsn_text(await connection.fetchval("select pg_current_wal_insert_lsn()"))

    async def open(self) -> None:
        """Let writes through."""
        async with self._connect() as connection:
            if await self._is_closed(connection):
                await connection.execute(self._definition("return null;"))

    async def is_closed(self) -> bool:
        """Tell whether writes are refused."""
        async with self._connect() as connection:
            return bool(await self._is_closed(connection))

    async def remove(self) -> None:
        """Take the triggers out."""
        async with self._connect() as connection:
            await drop_functions(connection, f"{self._name}_fence", what="Taking the fence out")
            await drop_schema_if_empty(connection)

    def _definition(self, body: str) -> str:
        text = postgres.quote_literal(f"begin {body} end")
        return (
            f"create or replace function {self._function}() returns trigger language plpgsql"
            f" as {text}"
        )

    async def _is_closed(self, connection: asyncpg.Connection) -> bool | None:
        """Tell whether writes are refused; None where there is no fence."""
        body: str | None = await connection.fetchval(
            "select prosrc from pg_proc where oid = to_regprocedure($1)", f"{self._function}()"
        )
        return None if body is None else REFUSED in body

    async def _guard(self, connection: asyncpg.Connection, relation: asyncpg.Record) -> None:
        async def make() -> None:
            for table in (relation["object"], *relation["partitions"]):
                # Named so that it comes before the module's own.
                await connection.execute(
                    f'create or replace trigger "!{self._name}_fence" before insert or update or'
                    f" delete or truncate on {table} for each statement"
                    f" execute function {self._function}()"
                )

        await with_locks(connection, make, what=f"Making the fence of {relation['object']}")
