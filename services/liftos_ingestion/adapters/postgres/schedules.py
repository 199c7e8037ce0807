"""Schedules in Postgres; see `liftos_ingestion.schedule_ports`."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg

from liftos_ingestion.adapters.postgres.database import level_code, level_word
from liftos_ingestion.adapters.postgres.runs import PostgresRunLedger
from liftos_ingestion.domain.names import connection_name
from liftos_ingestion.run_ports import NewRun
from liftos_ingestion.schedule_ports import OverlapPolicy, ScheduleSpec, StoredSchedule, Tick
from liftos_kit import postgres
from liftos_kit.core.errors import AlreadyExistsError, NotFoundError
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import Repeatable
from liftos_kit.postgres_pages import Listing, Order, read_page
from liftos_kit.postgres_requests import begin, once

_SQL: Final = postgres.load_queries("liftos_ingestion", "sql/schedules.sql")
_NAME: Final = "orgs/{org}/schedules/{schedule}"


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


def stored_schedule(row: Mapping[str, Any]) -> StoredSchedule:
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


_SCHEDULES: Final = Listing(
    name="list_schedules",
    select="select * from schedules s where s.org = $1",
    order=(Order("schedule", "text"),),
    fields={
        "connection": "'orgs/' || $1 || '/connections/' || connection",
        "display_name": "display_name",
        "paused": "paused",
    },
)


class PostgresScheduleStore:
    """Schedules of an org; see `liftos_ingestion.schedule_ports.ScheduleStore`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def create(
        self,
        org: str,
        schedule: str,
        spec: ScheduleSpec,
        repeatable: Repeatable[StoredSchedule] | None,
    ) -> StoredSchedule:
        """Store a schedule."""

        async def created(connection: asyncpg.Connection) -> StoredSchedule:
            with _connection_exists(org, spec):
                row = await _SQL.insert_schedule(
                    connection, org=org, schedule=schedule, **_columns(spec)
                )
            if row is None:
                raise AlreadyExistsError(_NAME.format(org=org, schedule=schedule))
            return stored_schedule(row)

        return await once(begin(self._pool, org), repeatable, created)

    async def change(
        self,
        org: str,
        schedule: str,
        change: Callable[[StoredSchedule], ScheduleSpec],
        repeatable: Repeatable[StoredSchedule] | None,
    ) -> StoredSchedule:
        """Store what `change` makes of a schedule."""

        async def changed(connection: asyncpg.Connection) -> StoredSchedule:
            spec = change(await _locked(connection, org, schedule))
            with _connection_exists(org, spec):
                row = await _SQL.update_schedule(
                    connection, org=org, schedule=schedule, **_columns(spec)
                )
            return stored_schedule(row)

        return await once(begin(self._pool, org), repeatable, changed)

    async def delete(
        self,
        org: str,
        schedule: str,
        check: Callable[[StoredSchedule], None],
        repeatable: Repeatable[None] | None,
    ) -> None:
        """Remove a schedule."""

        async def deleted(connection: asyncpg.Connection) -> None:
            check(await _locked(connection, org, schedule))
            await _SQL.delete_schedule(connection, org=org, schedule=schedule)

        await once(begin(self._pool, org), repeatable, deleted)

    async def get(self, org: str, schedule: str) -> StoredSchedule | None:
        """Return a schedule."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            row = await _SQL.get_schedule(connection, org=org, schedule=schedule)
        return None if row is None else stored_schedule(row)

    async def list_page(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[StoredSchedule], JsonValue]:
        """Return schedules by id."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            rows, following = await read_page(
                connection, _SCHEDULES, [org], where=where, cursor=cursor, limit=limit
            )
        return [stored_schedule(row) for row in rows], following


async def _locked(connection: asyncpg.Connection, org: str, schedule: str) -> StoredSchedule:
    row = await _SQL.lock_for_change(connection, org=org, schedule=schedule)
    if row is None:
        raise NotFoundError(_NAME.format(org=org, schedule=schedule))
    return stored_schedule(row)


@contextmanager
def _connection_exists(org: str, spec: ScheduleSpec) -> Iterator[None]:
    try:
        yield
    except asyncpg.ForeignKeyViolationError:
        raise NotFoundError(connection_name(org, spec.connection)) from None


def _columns(spec: ScheduleSpec) -> dict[str, object]:
    return {
        "display_name": spec.display_name,
        "connection": spec.connection,
        "account_ids": list(spec.account_ids),
        "levels": [level_code(level) for level in spec.levels],
        "cron": spec.cron,
        "time_zone": spec.time_zone,
        "lookback_days": spec.lookback_days,
        "overlap_policy": spec.overlap_policy,
        "catchup_seconds": int(spec.catchup.total_seconds()),
        "paused": spec.paused,
    }
