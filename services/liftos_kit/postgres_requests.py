"""Requests that can be repeated, and the answers that they were given, in Postgres.

They are in the table `request_ids` of the service's schema: `org`, `method` and `request_id`, its
key, with `payload_digest` and `response`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, TypeVar
from uuid import UUID

import asyncpg

from liftos_kit import postgres
from liftos_kit.core.errors import RequestIdReusedError
from liftos_kit.core.repeatable import Repeatable

Result = TypeVar("Result")

_SQL: Final = postgres.load_queries("liftos_kit", "sql/requests.sql")


class PostgresRequests:
    """Those of a write under way; see `liftos_kit.core.repeatable.RequestMemory`.

    Args:
        connection: The write's transaction.
        org: Whose.
    """

    def __init__(self, connection: asyncpg.Connection, org: str) -> None:
        self._connection = connection
        self._org = org

    @property
    def connection(self) -> asyncpg.Connection:
        """The write's transaction."""
        return self._connection

    async def recall(self, method: str, request_id: UUID, payload_digest: bytes) -> bytes | None:
        """Return the stored answer of a request, or claim its id."""
        claimed = await _SQL.claim_request(
            self._connection,
            org=self._org,
            method=method,
            request_id=request_id,
            payload_digest=payload_digest,
        )
        if claimed:
            return None
        return await find_answer(self._connection, self._org, method, request_id, payload_digest)

    async def remember(self, method: str, request_id: UUID, response: bytes) -> None:
        """Store the answer of a request."""
        await _SQL.answer_request(
            self._connection,
            org=self._org,
            method=method,
            request_id=request_id,
            response=response,
        )


@asynccontextmanager
async def begin(pool: asyncpg.Pool, org: str) -> AsyncIterator[PostgresRequests]:
    """Yield a write that is one transaction."""
    async with postgres.transaction(pool, org=org) as connection:
        yield PostgresRequests(connection, org)


async def once(
    begun: AbstractAsyncContextManager[PostgresRequests],
    repeatable: Repeatable[Result] | None,
    act: Callable[[asyncpg.Connection], Awaitable[Result]],
) -> Result:
    """Do something in one write, and for a request with an id once.

    What `act` raises rolls all of it back, the claim of the id too.

    Raises:
        AnsweredBeforeError: The same request was done before.
        RequestIdReusedError: Another request was.
    """
    async with begun as requests:
        if repeatable is not None:
            await repeatable.recall(requests)
        result = await act(requests.connection)
        if repeatable is not None:
            await repeatable.remember(requests, result)
    return result


async def find_answer(
    connection: asyncpg.Connection, org: str, method: str, request_id: UUID, payload_digest: bytes
) -> bytes | None:
    """Return the stored answer of a request without claiming its id; None where there is none.

    Raises:
        RequestIdReusedError: The id was used for another payload.
    """
    row = await _SQL.get_request(connection, org=org, method=method, request_id=request_id)
    if row is None:
        return None
    if row["payload_digest"] != payload_digest:
        raise RequestIdReusedError(str(request_id))
    response: bytes = row["response"]
    return response
