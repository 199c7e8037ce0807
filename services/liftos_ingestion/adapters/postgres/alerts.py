"""Alerts, their routes and their messages in Postgres; see `liftos_ingestion.alert_ports`."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from typing import Final
from uuid import UUID

import asyncpg

from liftos_ingestion.adapters.postgres.pages import Listing, Order, read_page, word_of
from liftos_ingestion.alert_ports import (
    DueNotice,
    RouteSpec,
    SealedTarget,
    StoredRoute,
    TakenNotice,
)
from liftos_ingestion.domain.alerts import AlertKind, AlertSeverity, AlertState, Condition
from liftos_ingestion.domain.names import route_name
from liftos_ingestion.run_view_ports import Page, Row
from liftos_kit import postgres
from liftos_kit.core.errors import AlreadyExistsError, NotFoundError
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import Repeatable
from liftos_kit.postgres_requests import begin, find_answer, once

_SQL: Final = postgres.load_queries("liftos_ingestion", "sql/alerts.sql")


_ALERT: Final = f"""
select a.*, {word_of([it.name for it in AlertKind], "a.kind")} as kind_word,
       {word_of([it.name for it in AlertSeverity], "a.severity")} as severity_word,
       {word_of([it.name for it in AlertState], "a.state")} as state_word
from alerts a where a.org = $1"""  # noqa: S608 - words are ours
_ALERTS: Final = Listing(
    name="list_alerts",
    select=_ALERT,
    order=(
        # As numbers: open, acknowledged, resolved.
        Order("state", "smallint"),
        Order("first_time", "timestamptz", descends=True),
        Order("alert", "uuid"),
    ),
    fields={
        "kind": "kind_word",
        "severity": "severity_word",
        "state": "state_word",
        "platform": "platform",
        "connection": "'orgs/' || $1 || '/connections/' || nullif(connection, '')",
        "account_id": "account_id",
    },
)


class PostgresAlerts:
    """Alerts in Postgres; see `liftos_ingestion.alert_ports.AlertStore`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def get(self, org: str, alert: UUID) -> Row | None:
        """Return an alert."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            return await _get(connection, org, alert)

    async def list_alerts(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> Page:
        """Return alerts, open ones first, then newest first."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            return await read_page(
                connection, _ALERTS, [org], where=where, cursor=cursor, limit=limit
            )

    async def acknowledge(
        self,
        org: str,
        alert: UUID,
        *,
        subject: str,
        comment: str,
        repeatable: Repeatable[Row] | None,
    ) -> Row | None:
        """Take an alert up and return it."""

        async def act(connection: asyncpg.Connection) -> Row:
            taken_up = await _SQL.acknowledge_alert(
                connection, org=org, alert=alert, subject=subject, comment=comment
            )
            if taken_up is None:
                raise _NothingDoneError
            found = await _get(connection, org, alert)
            assert found is not None, "just changed"
            return found

        try:
            return await once(begin(self._pool, org), repeatable, act)
        except _NothingDoneError:
            return None


class _NothingDoneError(Exception):
    """Leaves a write without a commit."""


async def record_conditions(
    connection: asyncpg.Connection,
    org: str,
    conditions: Sequence[Condition],
    *,
    kinds: Collection[AlertKind],
) -> int:
    """Make the alerts of some kinds those that hold, within a transaction of the caller's.

    See `liftos_ingestion.alert_ports.Watch.record`.
    """
    changed = 0
    for condition in conditions:
        row = await _SQL.upsert_alert(connection, org=org, **asdict(condition))
        if not row["louder"]:
            continue
        changed += 1
        if row["state"] == AlertState.OPEN:
            await _SQL.write_messages(connection, org=org, alert=row["alert"])
    resolved = [
        row["alert"]
        async for row in _SQL.resolve_alerts(
            connection,
            org=org,
            kinds=[int(kind) for kind in kinds],
            held_kinds=[int(it.kind) for it in conditions],
            held_subjects=[it.subject for it in conditions],
        )
    ]
    if resolved:
        await _SQL.write_last_messages(connection, org=org, alerts=resolved)
    return changed + len(resolved)


async def _get(connection: asyncpg.Connection, org: str, alert: UUID) -> Row | None:
    row: Row | None = await connection.fetchrow(
        f"/* get_alert */{_ALERT} and a.alert = $2", org, alert
    )
    return row


class PostgresAlertRoutes:
    """Routes in Postgres; see `liftos_ingestion.alert_ports.AlertRouteStore`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def find_answer(
        self, org: str, method: str, request_id: UUID, payload_digest: bytes
    ) -> bytes | None:
        """Return the answer that a request was given before."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            return await find_answer(connection, org, method, request_id, payload_digest)

    async def create(
        self,
        org: str,
        alert_route: str,
        spec: RouteSpec,
        target: SealedTarget,
        repeatable: Repeatable[StoredRoute] | None,
    ) -> StoredRoute:
        """Store a route."""

        async def act(connection: asyncpg.Connection) -> StoredRoute:
            row = await _SQL.insert_route(
                connection, org=org, alert_route=alert_route, **_columns(spec, target)
            )
            if row is None:
                raise AlreadyExistsError(route_name(org, alert_route))
            return _route(row)

        return await once(begin(self._pool, org), repeatable, act)

    async def change(
        self,
        org: str,
        alert_route: str,
        change: Callable[[StoredRoute], tuple[RouteSpec, SealedTarget]],
        repeatable: Repeatable[StoredRoute] | None,
    ) -> StoredRoute:
        """Store what `change` makes of a route."""

        async def act(connection: asyncpg.Connection) -> StoredRoute:
            spec, target = change(await _locked(connection, org, alert_route))
            row = await _SQL.change_route(
                connection, org=org, alert_route=alert_route, **_columns(spec, target)
            )
            return _route(row)

        return await once(begin(self._pool, org), repeatable, act)

    async def delete(
        self,
        org: str,
        alert_route: str,
        check: Callable[[StoredRoute], None],
        repeatable: Repeatable[None] | None,
    ) -> None:
        """Remove a route that passes a check, with its messages."""

        async def act(connection: asyncpg.Connection) -> None:
            check(await _locked(connection, org, alert_route))
            await _SQL.delete_route(connection, org=org, alert_route=alert_route)

        await once(begin(self._pool, org), repeatable, act)

    async def record_sending(
        self, org: str, alert_route: str, error: str, repeatable: Repeatable[str] | None
    ) -> None:
        """Store whether a message went out."""

        async def act(connection: asyncpg.Connection) -> str:
            await _SQL.record_sending(connection, org=org, alert_route=alert_route, error=error)
            return error

        await once(begin(self._pool, org), repeatable, act)

    async def get(self, org: str, alert_route: str) -> StoredRoute | None:
        """Return a route."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            row = await _SQL.get_route(connection, org=org, alert_route=alert_route)
        return None if row is None else _route(row)

    async def list_page(self, org: str, *, after: str, limit: int) -> Sequence[StoredRoute]:
        """Return routes by id."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            return [
                _route(row)
                async for row in _SQL.list_routes(connection, org=org, after=after, limit=limit)
            ]


class PostgresOutbox:
    """Messages in Postgres; see `liftos_ingestion.alert_ports.Outbox`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def due(self, *, limit: int) -> Sequence[DueNotice]:
        """Return messages whose time has come."""
        with postgres.translate_errors():
            async with self._pool.acquire() as connection:
                return [
                    DueNotice(row["org"], row["alert_route"], row["alert_message"])
                    async for row in _SQL.due_messages(connection, limit=limit)
                ]

    async def take(self, due: DueNotice, *, lease_seconds: float) -> TakenNotice | None:
        """Take a message."""
        key = {"org": due.org, "alert_message": due.notice}
        async with postgres.transaction(self._pool, org=due.org) as connection:
            await _SQL.hush_message(connection, **key)
            await _SQL.drop_told_messages(connection, **key)
            row = await _SQL.take_message(connection, **key, lease_seconds=lease_seconds)
        if row is None:
            return None
        return TakenNotice(
            due=due,
            attempt=row["attempt"],
            target=_target(row),
            resolved=row["resolved"],
            alert=row["alert"],
            kind=AlertKind(row["kind"]),
            severity=AlertSeverity(row["severity"]),
            summary=row["summary"],
            remedy=row["remedy"],
            occurrence_count=row["occurrence_count"],
            first_time=row["first_time"],
            last_time=row["last_time"],
        )

    async def sent(self, taken: TakenNotice) -> None:
        """Record that a message has gone out."""
        due = taken.due
        key = {"org": due.org, "alert_message": due.notice}
        async with postgres.transaction(self._pool, org=due.org) as connection:
            await _SQL.message_sent(connection, **key, attempt=taken.attempt)
            await _SQL.drop_told_messages(connection, **key)
            await _SQL.record_sending(
                connection, org=due.org, alert_route=due.alert_route, error=""
            )

    async def failed(
        self, taken: TakenNotice, error: str, *, retry_seconds: float | None, pause_route: bool
    ) -> None:
        """Record that a message has not gone out."""
        due = taken.due
        key = {"org": due.org, "alert_message": due.notice}
        async with postgres.transaction(self._pool, org=due.org) as connection:
            if retry_seconds is None:
                await _SQL.message_sent(connection, **key, attempt=taken.attempt)
                await _SQL.drop_told_messages(connection, **key)
            else:
                await _SQL.message_failed(
                    connection, **key, attempt=taken.attempt, retry_seconds=retry_seconds
                )
            if pause_route and retry_seconds is not None:
                await _SQL.pause_route(
                    connection,
                    org=due.org,
                    alert_route=due.alert_route,
                    retry_seconds=retry_seconds,
                )
            await _SQL.record_sending(
                connection, org=due.org, alert_route=due.alert_route, error=error
            )


async def _locked(connection: asyncpg.Connection, org: str, alert_route: str) -> StoredRoute:
    row = await _SQL.lock_route(connection, org=org, alert_route=alert_route)
    if row is None:
        raise NotFoundError(route_name(org, alert_route))
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
        alert_route=row["alert_route"],
        spec=RouteSpec(
            display_name=row["display_name"],
            kinds=tuple(AlertKind(kind) for kind in row["kinds"]),
            minimum_severity=AlertSeverity(row["minimum_severity"]),
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
