"""Schedules in Postgres; see `liftos_ingestion.schedule_ports`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import asyncpg

from liftos_ingestion.adapters.postgres.database import level_word
from liftos_ingestion.adapters.postgres.runs import PostgresRunLedger
from liftos_ingestion.run_ports import NewRun
from liftos_ingestion.schedule_ports import OverlapPolicy, ScheduleSpec, StoredSchedule, Tick
from liftos_kit import postgres

_SQL: Final = postgres.load_queries("liftos_ingestion", "sql/schedules.sql")


class PostgresScheduleClock:
    """The schedules of all orgs."""

    def __init__(self, pool: asyncpg.Pool, ledger: PostgresRunLedger) -> None:
        self._pool = pool
        self._ledger = ledger

    async def active(self) -> Sequence[tuple[str, str]]:
        """Return all that may fire."""
        with postgres.translate_errors():
            async with self._pool.acquire() as connection:
                return [
                    (row["org"], row["schedule"]) async for row in _SQL.active_schedules(connection)
                ]

    @asynccontextmanager
    async def tick(self, org: str, schedule: str) -> AsyncIterator[Tick | None]:
        """Lock a schedule."""
        async with postgres.transaction(self._pool, org=org) as connection:
            row = await _SQL.lock_schedule(connection, org=org, schedule=schedule)
            if row is None:
                yield None
                return
            running = await _SQL.running_of(connection, org=org, schedule=schedule)
            yield _PostgresTick(
                connection,
                self._ledger,
                org,
                stored_schedule(row),
                None if running is None else running["run"],
            )


class _PostgresTick:
    """A locked schedule."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        ledger: PostgresRunLedger,
        org: str,
        schedule: StoredSchedule,
        running: UUID | None,
    ) -> None:
        self._connection = connection
        self._ledger = ledger
        self._keys = {"org": org, "schedule": schedule.schedule}
        self.schedule = schedule
        self.running = running

    async def start(self, run: NewRun) -> None:
        """Start a run."""
        run_id = await self._ledger.start_in(self._connection, self._keys["org"], uuid4(), run)
        await _SQL.started(self._connection, **self._keys, fire_time=run.fire_time, run=run_id)

    async def buffer(self, fire_time: datetime) -> None:
        """Keep a moment."""
        await _SQL.buffered(self._connection, **self._keys, fire_time=fire_time)

    async def pass_over(self, fire_time: datetime) -> None:
        """Be done with a moment."""
        await _SQL.started(self._connection, **self._keys, fire_time=fire_time, run=None)

    async def cancel(self, run: UUID, reason: str) -> None:
        """Cancel the run before."""
        await self._ledger.cancel_in(self._connection, self._keys["org"], run, reason)


def stored_schedule(row: asyncpg.Record) -> StoredSchedule:
    """Return a schedule from its row."""
    return StoredSchedule(
        schedule=row["schedule"],
        spec=ScheduleSpec(
            display_name=row["display_name"],
            connection=row["connection"],
            account_ids=tuple(row["account_ids"]),
            levels=tuple(level_word(code) for code in row["levels"]),
            cron=row["cron"],
            time_zone=row["time_zone"],
            lookback_days=row["lookback_days"],
            overlap_policy=OverlapPolicy(row["overlap_policy"]),
            catchup=timedelta(seconds=row["catchup_seconds"]),
            paused=row["paused"],
        ),
        due_after=row["due_after"],
        buffered_fire_time=row["buffered_fire_time"],
        last_run=row["last_run"],
        revision=row["revision"],
        create_time=row["create_time"],
        update_time=row["update_time"],
    )
