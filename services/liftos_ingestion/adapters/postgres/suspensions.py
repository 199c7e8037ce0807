"""Suspensions in Postgres; see `liftos_ingestion.suspension_ports.SuspensionStore`."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID, uuid4

import asyncpg

from liftos_ingestion.adapters.postgres.database import (
    basis_code,
    basis_word,
    level_code,
    level_word,
)
from liftos_ingestion.adapters.postgres.runs import Jobs, slice_job
from liftos_ingestion.domain.names import connection_name
from liftos_ingestion.run_ports import Lane
from liftos_ingestion.run_view_ports import Page, Row
from liftos_ingestion.suspension_ports import HeldLane, SuspensionScope
from liftos_kit import postgres
from liftos_kit.core.errors import NotFoundError
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import Repeatable
from liftos_kit.postgres_pages import Listing, Order, read_page
from liftos_kit.postgres_requests import begin, once

_SQL: Final = postgres.load_queries("liftos_ingestion", "sql/suspensions.sql")

_SUSPENSION: Final = """
select u.*, u.end_time is not null as ended, w.waiting_run_count
from suspensions u cross join lateral (
    select count(*) as waiting_run_count from runs r
    where r.org = u.org and r.state in (1, 2) and u.end_time is null
      and u.platform in ('', r.platform) and u.connection in ('', r.connection)
      and (u.account_id = '' or case
          when r.kind = 3 then u.account_id = any(r.account_ids)
          else exists (select from run_slices s where s.org = r.org and s.run = r.run
                       and s.account_id = u.account_id and s.state in (1, 2, 3)) end)
) w
where u.org = $1"""
_SUSPENSIONS: Final = Listing(
    name="list_suspensions",
    select=f"{_SUSPENSION} and ($2 or u.end_time is null)",
    order=(
        Order("ended", "boolean"),
        Order("create_time", "timestamptz", descends=True),
        Order("suspension", "uuid"),
    ),
    fields={},
)


class PostgresSuspensions:
    """Suspensions in Postgres.

    Args:
        pool: Where they are.
        jobs: Wakes workers for what waited.
    """

    def __init__(self, pool: asyncpg.Pool, jobs: Jobs) -> None:
        self._pool = pool
        self._jobs = jobs

    async def suspend(
        self,
        org: str,
        scope: SuspensionScope,
        *,
        reason: str,
        subject: str,
        repeatable: Repeatable[Row] | None,
    ) -> Row:
        """Keep lanes of a scope from being taken."""
        suspension = uuid4()

        async def act(connection: asyncpg.Connection) -> Row:
            await _SQL.lock_suspending(connection, org=org)
            if scope.connection:
                found = await _SQL.has_connection(connection, org=org, connection=scope.connection)
                if found is None:
                    raise NotFoundError(connection_name(org, scope.connection))
            await _SQL.insert_suspension(
                connection,
                org=org,
                suspension=suspension,
                **_columns(scope),
                reason=reason,
                subject=subject,
            )
            row = await _get(connection, org, suspension)
            assert row is not None, "just stored"
            return row

        return await once(begin(self._pool, org), repeatable, act)

    async def held_lanes(self, org: str, scope: SuspensionScope) -> Sequence[HeldLane]:
        """Return lanes of a scope that are held although they are suspended."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            return [
                HeldLane(
                    lane=Lane(
                        org,
                        row["platform"],
                        row["account_id"],
                        level_word(row["level"]),
                        row["attribution_key"],
                        basis_word(row["date_basis"]),
                    ),
                    epoch=row["epoch"],
                    lease_over=row["lease_over"],
                )
                async for row in _SQL.held_lanes(connection, org=org, **_columns(scope))
            ]

    async def take_away(self, held: HeldLane) -> None:
        """Free a lane of a holder that has fallen silent."""
        lane = held.lane
        async with postgres.transaction(self._pool, org=lane.org) as connection:
            await _SQL.take_lane_away(
                connection,
                org=lane.org,
                platform=lane.platform,
                account_id=lane.account_id,
                level=level_code(lane.level),
                attribution_key=lane.attribution_key,
                date_basis=basis_code(lane.date_basis),
                epoch=held.epoch,
            )

    async def resume(
        self,
        org: str,
        suspension: UUID,
        *,
        reason: str,
        subject: str,
        repeatable: Repeatable[Row] | None,
    ) -> Row | None:
        """Lift a suspension and line up what waited."""

        async def act(connection: asyncpg.Connection) -> Row:
            await _SQL.end_suspension(
                connection, org=org, suspension=suspension, reason=reason, subject=subject
            )
            row = await _get(connection, org, suspension)
            if row is None:
                raise _NothingThereError
            await self._jobs.enqueue(
                [
                    slice_job(org, due["slice"], due["priority"])
                    async for due in _SQL.due_in_scope(connection, org=org, suspension=suspension)
                ],
                connection=connection,
            )
            return row

        try:
            return await once(begin(self._pool, org), repeatable, act)
        except _NothingThereError:
            return None

    async def list_suspensions(
        self, org: str, *, include_ended: bool, cursor: JsonValue, limit: int
    ) -> Page:
        """Return suspensions, those that hold first, then newest first."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            return await read_page(
                connection,
                _SUSPENSIONS,
                [org, include_ended],
                where=None,
                cursor=cursor,
                limit=limit,
            )


class _NothingThereError(Exception):
    """Leaves a write without a commit."""


def _columns(scope: SuspensionScope) -> dict[str, str]:
    return {
        "platform": scope.platform,
        "connection": scope.connection,
        "account_id": scope.account_id,
    }


async def _get(connection: asyncpg.Connection, org: str, suspension: UUID) -> Row | None:
    row: Row | None = await connection.fetchrow(
        f"/* get_suspension */{_SUSPENSION} and u.suspension = $2", org, suspension
    )
    return row
