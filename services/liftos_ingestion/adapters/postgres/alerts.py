"""Alerts and their messages in Postgres; see `liftos_ingestion.alert_ports`."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Final
from uuid import UUID

import asyncpg

from liftos_ingestion.alert_ports import ToldAlert
from liftos_ingestion.domain.alerts import AlertKind, AlertSeverity, AlertState, Condition
from liftos_ingestion.domain.names import ALERTS
from liftos_ingestion.run_view_ports import Page, Row
from liftos_kit import postgres
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import Repeatable
from liftos_kit.notify.outbox import DueMessage
from liftos_kit.notify.postgres_routes import PostgresOutbox
from liftos_kit.postgres_pages import Listing, Order, read_page, word_of
from liftos_kit.postgres_requests import begin, once

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


class PostgresAlertOutbox(PostgresOutbox[ToldAlert]):
    """Messages of alerts.

    One that has gone out stays until the alert is over, since who was told of an alert is told of
    its end.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        super().__init__(ALERTS, pool)

    async def told(self, connection: asyncpg.Connection, row: asyncpg.Record) -> ToldAlert:
        """Return what a message tells, and note that its target may know of the alert."""
        alert = await _SQL.tell_alert(connection, org=row["org"], message=row["alert_message"])
        return ToldAlert(
            alert=alert["alert"],
            resolved=alert["resolved"],
            kind=AlertKind(alert["kind"]),
            severity=AlertSeverity(alert["severity"]),
            summary=alert["summary"],
            remedy=alert["remedy"],
            occurrence_count=alert["occurrence_count"],
            first_time=alert["first_time"],
        )

    async def hush(self, connection: asyncpg.Connection, due: DueMessage) -> None:
        """Take a message back that nobody waits for any more."""
        await _SQL.hush_message(connection, org=due.org, message=due.message)
        await _SQL.drop_told_messages(connection, org=due.org, message=due.message)

    async def finish(self, connection: asyncpg.Connection, due: DueMessage, attempt: int) -> None:
        """Record that a message needs no further attempt, unless it has been taken anew."""
        await _SQL.message_sent(connection, org=due.org, message=due.message, attempt=attempt)
        await _SQL.drop_told_messages(connection, org=due.org, message=due.message)
