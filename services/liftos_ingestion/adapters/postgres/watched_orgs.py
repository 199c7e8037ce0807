"""What the rules of alerts decide by, in Postgres; see `liftos_ingestion.alert_ports.Watch`."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Final

import asyncpg

from liftos_ingestion.adapters.postgres.alerts import record_conditions
from liftos_ingestion.alert_ports import Watch
from liftos_ingestion.domain.alert_rules import (
    REFUSED_AGAIN,
    AccountFacts,
    ConnectionFacts,
    FailedRun,
    Mismatch,
    OrgFacts,
    QuotaWait,
    RefusedRows,
    ScheduleFacts,
)
from liftos_ingestion.domain.alerts import AlertKind, Condition
from liftos_ingestion.run_ports import RunState
from liftos_kit import postgres

_ALERTS: Final = postgres.load_queries("liftos_ingestion", "sql/alerts.sql")
_SQL: Final = postgres.load_queries("liftos_ingestion", "sql/watching.sql")


class PostgresWatchedOrgs:
    """Orgs in Postgres; see `liftos_ingestion.alert_ports.WatchedOrgs`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def orgs(self) -> Sequence[str]:
        """Return orgs that something can be said of."""
        with postgres.translate_errors():
            async with self._pool.acquire() as connection:
                return [row["org"] async for row in _ALERTS.watched_orgs(connection)]

    @asynccontextmanager
    async def watch(self, org: str) -> AsyncIterator[Watch | None]:
        """Begin a look."""
        async with postgres.transaction(self._pool, org=org) as connection:
            locked = await _ALERTS.try_watch(connection, org=org)
            yield _PostgresWatch(connection, org) if locked["held"] else None


class _PostgresWatch:
    """A look, as one transaction."""

    def __init__(self, connection: asyncpg.Connection, org: str) -> None:
        self._connection = connection
        self._org = org

    async def facts(self) -> OrgFacts:
        """Return what the rules decide by."""
        waits: dict[str, list[QuotaWait]] = {}
        async for row in _SQL.quota_waits(self._connection, org=self._org):
            waits.setdefault(row["connection"], []).append(
                QuotaWait(
                    row["cron"],
                    row["time_zone"],
                    row["since"],
                    row["slice_count"],
                    tuple(row["account_ids"]),
                )
            )
        refused = {
            row["connection"]: RefusedRows(
                row["open_count"],
                row["recent_count"],
                row["recent_again_count"],
                row["newest_time"],
            )
            async for row in _SQL.refused_rows(self._connection, org=self._org, again=REFUSED_AGAIN)
        }
        failed = _failed_runs(
            [row async for row in _SQL.failed_accounts(self._connection, org=self._org)]
        )
        return OrgFacts(
            connections=[
                ConnectionFacts(
                    connection=row["connection"],
                    platform=row["platform"],
                    rejected=row["rejected"],
                    verify_time=row["verify_time"],
                    expire_time=row["expire_time"],
                    refused_run=row["refused_run"],
                    failed_runs=failed.get(row["connection"], ()),
                    quota_waits=waits.get(row["connection"], ()),
                    refused=refused.get(row["connection"]),
                )
                async for row in _SQL.watched_connections(self._connection, org=self._org)
            ],
            schedules=_schedules(
                [row async for row in _SQL.scheduled_accounts(self._connection, org=self._org)]
            ),
            mismatches=[
                Mismatch(
                    platform=row["platform"],
                    account_id=row["account_id"],
                    connection=row["connection"],
                    sum_count=row["sum_count"],
                    newest=row["newest"],
                    run=row["run"],
                )
                async for row in _SQL.mismatches(self._connection, org=self._org)
            ],
        )

    async def record(self, conditions: Sequence[Condition], *, kinds: Collection[AlertKind]) -> int:
        """Make the alerts of some kinds those that hold now."""
        return await record_conditions(self._connection, self._org, conditions, kinds=kinds)


def _failed_runs(rows: Sequence[asyncpg.Record]) -> Mapping[str, Sequence[FailedRun]]:
    """Return the failed runs of connections, in the order of the rows."""
    found: dict[str, list[FailedRun]] = {}
    for (connection, run), group in groupby(rows, key=lambda row: (row["connection"], row["run"])):
        accounts = list(group)
        first = accounts[0]
        found.setdefault(connection, []).append(
            FailedRun(
                run=run,
                partly=first["run_state"] == RunState.PARTIALLY_SUCCEEDED,
                account_ids=tuple(row["account_id"] for row in accounts),
                error=next(filter(None, (row["error"] for row in accounts)), ""),
                schedule=first["schedule"],
            )
        )
    return found


def _schedules(rows: Sequence[asyncpg.Record]) -> Sequence[ScheduleFacts]:
    schedules = []
    for schedule, group in groupby(rows, key=lambda row: row["schedule"]):
        accounts = list(group)
        first = accounts[0]
        schedules.append(
            ScheduleFacts(
                schedule=schedule,
                connection=first["connection"],
                platform=first["platform"],
                cron=first["cron"],
                time_zone=first["time_zone"],
                since=first["since"],
                accounts=[
                    AccountFacts(row["account_id"], row["account_time_zone"], row["newest"])
                    for row in accounts
                ],
            )
        )
    return schedules
