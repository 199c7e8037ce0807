"""Routes and their messages in Postgres.

For a topic such as `alert`, the service's schema has `alert_routes`, `alert_messages` and the
function `due_alert_messages`; whatever else a message tells is the service's own.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cache, partial
from typing import Any, Final, Generic, TypeAlias
from uuid import UUID

import asyncpg

from liftos_kit import postgres
from liftos_kit.core.errors import AlreadyExistsError, NotFoundError
from liftos_kit.core.repeatable import Repeatable
from liftos_kit.notify.outbox import DueMessage, TakenMessage, Told
from liftos_kit.notify.route_store import RouteSpec, StoredRoute
from liftos_kit.notify.targets import SealedTarget
from liftos_kit.notify.topic import Topic
from liftos_kit.postgres_requests import PostgresRequests, begin, find_answer, once

_PAGE_BYTES: Final = 1024 * 1024

Begin: TypeAlias = Callable[[str], AbstractAsyncContextManager[PostgresRequests]]
"""Begins a write of an org."""


class PostgresRoutes:
    """Routes in Postgres; see `liftos_kit.notify.route_store.RouteStore`.

    Args:
        topic: What is told by them.
        pool: For reading.
        begin_write: For writing; by default a transaction of the pool.
    """

    def __init__(
        self, topic: Topic, pool: asyncpg.Pool, *, begin_write: Begin | None = None
    ) -> None:
        self._topic = topic
        self._sql = _statements(topic)
        self._pool = pool
        self._begin = begin_write or partial(begin, pool)

    async def find_answer(
        self, org: str, method: str, request_id: UUID, payload_digest: bytes
    ) -> bytes | None:
        """Return the answer that a request was given before."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            return await find_answer(connection, org, method, request_id, payload_digest)

    async def create(
        self,
        org: str,
        route: str,
        spec: RouteSpec,
        target: SealedTarget,
        repeatable: Repeatable[StoredRoute] | None,
    ) -> StoredRoute:
        """Store a route."""

        async def act(connection: asyncpg.Connection) -> StoredRoute:
            row = await self._sql.insert_route(
                connection, org=org, route=route, **_columns(spec, target)
            )
            if row is None:
                raise AlreadyExistsError(self._topic.route_name(org, route))
            return _route(row)

        return await once(self._begin(org), repeatable, act)

    async def change(
        self,
        org: str,
        route: str,
        change: Callable[[StoredRoute], tuple[RouteSpec, SealedTarget]],
        repeatable: Repeatable[StoredRoute] | None,
    ) -> StoredRoute:
        """Store what `change` makes of a route."""

        async def act(connection: asyncpg.Connection) -> StoredRoute:
            spec, target = change(await self._locked(connection, org, route))
            row = await self._sql.change_route(
                connection, org=org, route=route, **_columns(spec, target)
            )
            return _route(row)

        return await once(self._begin(org), repeatable, act)

    async def delete(
        self,
        org: str,
        route: str,
        check: Callable[[StoredRoute], None],
        repeatable: Repeatable[None] | None,
    ) -> None:
        """Remove a route that passes a check, with its messages."""

        async def act(connection: asyncpg.Connection) -> None:
            check(await self._locked(connection, org, route))
            await self._sql.delete_route(connection, org=org, route=route)

        await once(self._begin(org), repeatable, act)

    async def record_sending(
        self, org: str, route: str, error: str, repeatable: Repeatable[str] | None
    ) -> None:
        """Store whether a message went out."""

        async def act(connection: asyncpg.Connection) -> str:
            await self._sql.record_sending(connection, org=org, route=route, error=error)
            return error

        await once(self._begin(org), repeatable, act)

    async def get(self, org: str, route: str) -> StoredRoute | None:
        """Return a route."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            row = await self._sql.get_route(connection, org=org, route=route)
        return None if row is None else _route(row)

    async def list_page(
        self, org: str, *, after: str, limit: int
    ) -> tuple[Sequence[StoredRoute], bool]:
        """Return routes by id, and whether there are more."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            rows = [
                row
                async for row in self._sql.list_routes(
                    connection, org=org, after=after, limit=limit, maximum_bytes=_PAGE_BYTES
                )
            ]
        return [_route(row) for row in rows], bool(rows) and rows[0]["found_count"] > len(rows)

    async def _locked(self, connection: asyncpg.Connection, org: str, route: str) -> StoredRoute:
        row = await self._sql.lock_route(connection, org=org, route=route)
        if row is None:
            raise NotFoundError(self._topic.route_name(org, route))
        return _route(row)


class PostgresOutbox(ABC, Generic[Told]):
    """Messages in Postgres; see `liftos_kit.notify.outbox.Outbox`.

    A message is dropped when it has gone out or is given up, or when its route is switched off.
    A service whose messages live longer overrides `hush` and `finish`.

    Args:
        topic: What is told.
        pool: Of a role that may call the function that finds messages of all orgs.
    """

    def __init__(self, topic: Topic, pool: asyncpg.Pool) -> None:
        self._sql = _statements(topic)
        self._pool = pool

    @abstractmethod
    async def told(self, connection: asyncpg.Connection, row: asyncpg.Record) -> Told:
        """Return what a message tells, of its row, within the transaction that takes it."""

    async def hush(self, connection: asyncpg.Connection, due: DueMessage) -> None:
        """Take a message back that nobody waits for any more."""
        await self._sql.hush_message(connection, org=due.org, message=due.message)

    async def finish(self, connection: asyncpg.Connection, due: DueMessage, attempt: int) -> None:
        """Record that a message needs no further attempt, unless it has been taken anew."""
        await self._sql.drop_message(connection, org=due.org, message=due.message, attempt=attempt)

    async def due(self, *, limit: int) -> Sequence[DueMessage]:
        """Return messages whose time has come."""
        with postgres.translate_errors():
            async with self._pool.acquire() as connection:
                return [
                    DueMessage(row["org"], row["route"], row["message"])
                    async for row in self._sql.due_messages(connection, limit=limit)
                ]

    async def take(self, due: DueMessage, *, lease_seconds: float) -> TakenMessage[Told] | None:
        """Take a message."""
        async with postgres.transaction(self._pool, org=due.org) as connection:
            await self.hush(connection, due)
            row = await self._sql.take_message(
                connection, org=due.org, message=due.message, lease_seconds=lease_seconds
            )
            if row is None:
                return None
            told = await self.told(connection, row)
        return TakenMessage(due, row["attempt"], _target(row), told)

    async def sent(self, taken: TakenMessage[Told]) -> None:
        """Record that a message has gone out."""
        await self._record(taken, "", retry_seconds=None)

    async def failed(
        self, taken: TakenMessage[Told], error: str, *, retry_seconds: float | None
    ) -> None:
        """Record that a message has not gone out."""
        await self._record(taken, error, retry_seconds=retry_seconds)

    async def _record(
        self, taken: TakenMessage[Told], error: str, *, retry_seconds: float | None
    ) -> None:
        due = taken.due
        route = {"org": due.org, "route": due.route}
        async with postgres.transaction(self._pool, org=due.org) as connection:
            if retry_seconds is None:
                await self.finish(connection, due, taken.attempt)
            else:
                await self._sql.postpone_message(
                    connection,
                    org=due.org,
                    message=due.message,
                    attempt=taken.attempt,
                    retry_seconds=retry_seconds,
                )
                await self._sql.pause_route(connection, **route, retry_seconds=retry_seconds)
            await self._sql.record_sending(connection, **route, error=error)


def schema_sql(topic: Topic) -> str:
    """Return the statements that make the tables of a topic, for a schema file of the service.

    They are written down there, with columns of its own for what a message tells, because what was
    applied must not change with a release of the kit.
    """
    return postgres.read_sql("liftos_kit", "sql/routes_schema.sql", noun=topic.noun)


@cache
def _statements(topic: Topic) -> Any:  # noqa: ANN401 - see `load_queries`
    return postgres.load_queries("liftos_kit", "sql/routes.sql", noun=topic.noun)


def _columns(spec: RouteSpec, target: SealedTarget) -> dict[str, object]:
    return {
        "display_name": spec.display_name,
        "target_kind": target.kind,
        "target_sealed": target.sealed,
        "target_key_id": target.key_id,
        "kinds": list(spec.kinds),
        "minimum_severity": spec.minimum_severity,
        "platforms": list(spec.platforms),
        "disabled": spec.disabled,
    }


def _target(row: asyncpg.Record) -> SealedTarget:
    return SealedTarget(row["target_kind"], row["target_sealed"], row["target_key_id"])


def _route(row: asyncpg.Record) -> StoredRoute:
    return StoredRoute(
        route=row["route"],
        spec=RouteSpec(
            display_name=row["display_name"],
            kinds=tuple(row["kinds"]),
            minimum_severity=row["minimum_severity"],
            platforms=tuple(row["platforms"]),
            disabled=row["disabled"],
        ),
        target=_target(row),
        send_time=row["send_time"],
        send_error=row["send_error"],
        revision=row["revision"],
        create_time=row["create_time"],
        update_time=row["update_time"],
    )
