"""Routes of insights and their messages in Postgres; see `liftos_memory.insight_route_ports`."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar
from uuid import UUID

import asyncpg

from liftos_kit import postgres
from liftos_kit.core.errors import AlreadyExistsError, NotFoundError
from liftos_kit.core.repeatable import Repeatable
from liftos_kit.postgres_requests import find_answer
from liftos_memory.adapters.postgres.database import Database
from liftos_memory.adapters.postgres.insights import PostgresInsightStore
from liftos_memory.adapters.postgres.writes import PostgresWrite, begin
from liftos_memory.domain.insights import ORIGIN, InsightKind, route_name
from liftos_memory.insight_route_ports import (
    DueMessage,
    RouteSpec,
    SealedTarget,
    StoredRoute,
    TakenMessage,
)
from liftos_memory.ports import WriteContext

_SQL: Final = postgres.load_queries("liftos_memory", "sql/insight_routes.sql")

Result = TypeVar("Result")


class PostgresInsightRoutes:
    """Routes in Postgres; see `liftos_memory.insight_route_ports.InsightRouteStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_answer(
        self, org: str, method: str, request_id: UUID, payload_digest: bytes
    ) -> bytes | None:
        """Return the answer that a request was given before."""
        async with self._database.read(org) as connection:
            return await find_answer(connection, org, method, request_id, payload_digest)

    async def create(
        self,
        org: str,
        insight_route: str,
        spec: RouteSpec,
        target: SealedTarget,
        repeatable: Repeatable[StoredRoute] | None,
    ) -> StoredRoute:
        """Store a route."""

        async def act(connection: asyncpg.Connection) -> StoredRoute:
            row = await _SQL.insert_route(
                connection, org=org, insight_route=insight_route, **_columns(spec, target)
            )
            if row is None:
                raise AlreadyExistsError(route_name(org, insight_route))
            return _route(row)

        return await _once(self._database, org, repeatable, act)

    async def change(
        self,
        org: str,
        insight_route: str,
        change: Callable[[StoredRoute], tuple[RouteSpec, SealedTarget]],
        repeatable: Repeatable[StoredRoute] | None,
    ) -> StoredRoute:
        """Store what `change` makes of a route."""

        async def act(connection: asyncpg.Connection) -> StoredRoute:
            spec, target = change(await _locked(connection, org, insight_route))
            row = await _SQL.change_route(
                connection, org=org, insight_route=insight_route, **_columns(spec, target)
            )
            return _route(row)

        return await _once(self._database, org, repeatable, act)

    async def delete(
        self,
        org: str,
        insight_route: str,
        check: Callable[[StoredRoute], None],
        repeatable: Repeatable[None] | None,
    ) -> None:
        """Remove a route that passes a check, with its messages."""

        async def act(connection: asyncpg.Connection) -> None:
            check(await _locked(connection, org, insight_route))
            await _SQL.delete_route(connection, org=org, insight_route=insight_route)

        await _once(self._database, org, repeatable, act)

    async def record_sending(
        self, org: str, insight_route: str, error: str, repeatable: Repeatable[str] | None
    ) -> None:
        """Store whether a message went out."""

        async def act(connection: asyncpg.Connection) -> str:
            await _SQL.record_sending(connection, org=org, insight_route=insight_route, error=error)
            return error

        await _once(self._database, org, repeatable, act)

    async def get(self, org: str, insight_route: str) -> StoredRoute | None:
        """Return a route."""
        async with self._database.read(org) as connection:
            row = await _SQL.get_route(connection, org=org, insight_route=insight_route)
        return None if row is None else _route(row)

    async def list_page(self, org: str, *, after: str, limit: int) -> Sequence[StoredRoute]:
        """Return routes by id."""
        async with self._database.read(org) as connection:
            return [
                _route(row)
                async for row in _SQL.list_routes(connection, org=org, after=after, limit=limit)
            ]


class PostgresInsightOutbox:
    """Messages in Postgres; see `liftos_memory.insight_route_ports.InsightOutbox`."""

    def __init__(self, pool: asyncpg.Pool, insights: PostgresInsightStore) -> None:
        self._pool = pool
        self._insights = insights

    async def due(self, *, limit: int) -> Sequence[DueMessage]:
        """Return messages whose time has come."""
        with postgres.translate_errors():
            async with self._pool.acquire() as connection:
                return [
                    DueMessage(row["org"], row["insight_route"], row["insight_message"])
                    async for row in _SQL.due_messages(connection, limit=limit)
                ]

    async def take(self, due: DueMessage, *, lease_seconds: float) -> TakenMessage | None:
        """Take a message."""
        key = {"org": due.org, "insight_message": due.message}
        async with postgres.transaction(self._pool, org=due.org) as connection:
            await _SQL.hush_message(connection, **key)
            row = await _SQL.take_message(connection, **key, lease_seconds=lease_seconds)
        if row is None:
            return None
        found = await self._insights.fetch(due.org, row["found_ids"])
        return TakenMessage(
            due=due,
            attempt=row["attempt"],
            target=_target(row),
            found=sorted(found, key=lambda it: (-it.insight.severity, it.insight.insight_id)),
            resolved=await self._insights.fetch(due.org, row["resolved_ids"]),
        )

    async def sent(self, taken: TakenMessage) -> None:
        """Record that a message has gone out."""
        await self._record(taken, "", drop=True)

    async def failed(self, taken: TakenMessage, error: str, *, retry_seconds: float | None) -> None:
        """Record that a message has not gone out."""
        await self._record(taken, error, drop=retry_seconds is None, retry_seconds=retry_seconds)

    async def _record(
        self, taken: TakenMessage, error: str, *, drop: bool, retry_seconds: float | None = None
    ) -> None:
        due = taken.due
        key = {"org": due.org, "insight_message": due.message, "attempt": taken.attempt}
        route = {"org": due.org, "insight_route": due.insight_route}
        async with postgres.transaction(self._pool, org=due.org) as connection:
            if drop:
                await _SQL.drop_message(connection, **key)
            if retry_seconds is not None:
                await _SQL.postpone_route(connection, **route, retry_seconds=retry_seconds)
            await _SQL.record_sending(connection, **route, error=error)


async def _once(
    database: Database,
    org: str,
    repeatable: Repeatable[Result] | None,
    act: Callable[[asyncpg.Connection], Awaitable[Result]],
) -> Result:
    """Do something as one commit of the org, and for a request with an id once.

    It is marked as one of insights, so that nobody looks for some because of it.
    """
    async with begin(database, org, WriteContext(origin=ORIGIN)) as begun:
        write = PostgresWrite(begun)
        if repeatable is not None:
            await repeatable.recall(write)
        result = await act(begun.connection)
        await write.finish()
        if repeatable is not None:
            await repeatable.remember(write, result)
    return result


async def _locked(connection: asyncpg.Connection, org: str, insight_route: str) -> StoredRoute:
    row = await _SQL.lock_route(connection, org=org, insight_route=insight_route)
    if row is None:
        raise NotFoundError(route_name(org, insight_route))
    return _route(row)


def _columns(spec: RouteSpec, target: SealedTarget) -> dict[str, object]:
    return {
        "display_name": spec.display_name,
        "target_kind": target.kind,
        "target_sealed": target.sealed,
        "target_key_id": target.key_id,
        "kinds": [int(kind) for kind in spec.kinds],
        "minimum_severity": spec.minimum_severity,
        "platforms": list(spec.platforms),
        "disabled": spec.disabled,
    }


def _target(row: asyncpg.Record) -> SealedTarget:
    return SealedTarget(row["target_kind"], row["target_sealed"], row["target_key_id"])


def _route(row: asyncpg.Record) -> StoredRoute:
    return StoredRoute(
        insight_route=row["insight_route"],
        spec=RouteSpec(
            display_name=row["display_name"],
            kinds=tuple(InsightKind(kind) for kind in row["kinds"]),
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
