"""What all writes have in common: their connection, their end, and the requests they answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from asyncpg import Connection, DeadlockDetectedError

from liftos_kit import postgres
from liftos_kit.core.errors import RequestIdReusedError, StoreUnavailableError
from liftos_memory.adapters.postgres.database import Database, Write
from liftos_memory.ports import WriteContext

_SQL: Final = postgres.load_queries("liftos_memory", "sql/requests.sql")


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


class PostgresWrite:
    """A write under way; see `liftos_kit.core.repeatable.RequestMemory`."""

    def __init__(self, write: Write) -> None:
        self._write = write

    @property
    def _connection(self) -> Connection:
        return self._write.connection

    @property
    def version(self) -> int:
        """The org's version after this write."""
        return self._write.version

    async def finish(self) -> int:
        """Take the org's next version and return it."""
        return await self._write.finish()

    async def recall(self, method: str, request_id: UUID, payload_digest: bytes) -> bytes | None:
        """Return the stored answer of a request, or claim its id."""
        keys = {"org": self._write.org, "method": method, "request_id": request_id}
        if await _SQL.claim_request(self._connection, **keys, payload_digest=payload_digest):
            return None
        row = await _SQL.get_request(self._connection, **keys)
        if row["payload_digest"] != payload_digest:
            raise RequestIdReusedError(str(request_id))
        response: bytes = row["response"]
        return response

    async def remember(self, method: str, request_id: UUID, response: bytes) -> None:
        """Store the answer of a request."""
        await _SQL.answer_request(
            self._connection,
            org=self._write.org,
            method=method,
            request_id=request_id,
            response=response,
        )
