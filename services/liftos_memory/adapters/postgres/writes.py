"""What all writes have in common: their connection, their end, and the requests they answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asyncpg import DeadlockDetectedError

from liftos_kit import postgres
from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.postgres_requests import PostgresRequests
from liftos_memory.adapters.postgres.database import Database, Write
from liftos_memory.ports import WriteContext


@asynccontextmanager
async def begin(database: Database, org: str, context: WriteContext) -> AsyncIterator[Write]:
    """Yield a write; one that met another in a deadlock can be tried again.

    Raises:
        FenceClosedError: The scope, or the whole org, is closed for writes.
        EpochFencedError: A writer with a higher epoch has taken over.
        StoreUnavailableError: Two writers of the same rows met in a circle, and the other went on.
    """
    try:
        async with database.write(org, context) as write:
            yield write
    except DeadlockDetectedError as error:
        raise StoreUnavailableError(postgres.STORE, retry_after_seconds=0.1) from error


def affected(tag: str) -> int:
    """Return how many rows a statement wrote, from the tag that it ended with."""
    return int(tag.rsplit(" ", 1)[1])


class PostgresWrite(PostgresRequests):
    """A write under way, with the requests that it answers."""

    def __init__(self, write: Write) -> None:
        super().__init__(write.connection, write.org)
        self._write = write

    @property
    def version(self) -> int:
        """The org's version after this write."""
        return self._write.version

    async def finish(self) -> int:
        """Take the org's next version and return it."""
        return await self._write.finish()
