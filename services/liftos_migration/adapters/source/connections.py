"""Connections to the source: few, patient with its writers, and alike in how they write values."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from liftos_kit import postgres
from liftos_migration.adapters.source.log import SQL
from liftos_migration.capture_ports import Horizon
from liftos_migration.domain.migrations import Throttle
from liftos_migration.domain.projection import session_settings

_CONNECT_SECONDS: Final = 10.0

_SETTINGS: Final = {
    "application_name": "liftos-migration",
    "client_encoding": "UTF8",
    # Work that waits for long must not make the module's own writers wait behind it.
    "lock_timeout": "2s",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "synchronous_commit": "on",
}


class SourceConnections:
    """Opens connections to one source, a limited number at a time.

    Args:
        url: `postgresql://user:password@host:port/database`.
        schemas: Where tables are looked up.
        maximum: How many at a time, two at least: one reads, another looks after it.
    """

    def __init__(
        self,
        url: str,
        schemas: Sequence[str] = ("public",),
        maximum: int = Throttle().maximum_connections,
    ) -> None:
        self._url = url
        # The texts of values depend on these, in the log too.
        self._settings = {**_SETTINGS, **session_settings(schemas)}
        self._free = asyncio.Semaphore(max(2, maximum))

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[asyncpg.Connection]:
        """Yield a connection that may write.

        Raises:
            StoreUnavailableError: The source does not answer, or the connection was lost.
        """
        async with self._free:
            with postgres.translate_errors():
                connection = await asyncpg.connect(
                    self._url, timeout=_CONNECT_SECONDS, server_settings=self._settings
                )
                try:
                    yield connection
                    await connection.close(timeout=_CONNECT_SECONDS)
                except asyncpg.InterfaceError as error:
                    if connection.is_closed():
                        raise ConnectionResetError("the connection was lost") from error
                    raise
                finally:
                    # A statement may be under way where something failed.
                    connection.terminate()

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[tuple[asyncpg.Connection, Horizon]]:
        """Yield a connection that reads one snapshot, and what that sees.

        Raises:
            StoreUnavailableError: As above.
        """
        async with (
            self.connect() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            row = await SQL.horizon(connection)
            yield connection, Horizon(row["snapshot"], row["lsn"])
