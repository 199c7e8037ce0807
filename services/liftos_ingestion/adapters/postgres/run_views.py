"""Runs as rows; see `liftos_ingestion.run_view_ports.RunViews`."""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID, uuid4

import asyncpg

from liftos_ingestion.adapters.postgres.database import basis_word, level_word
from liftos_ingestion.adapters.postgres.runs import PostgresRunLedger
from liftos_ingestion.domain.run_filters import (
    RECONCILIATION_STATES,
    RUN_KINDS,
    RUN_STATES,
    SLICE_KINDS,
    SLICE_STATES,
)
from liftos_ingestion.run_ports import NewRun, RunKind, RunState, WaitReason
from liftos_ingestion.run_view_ports import Page, Row
from liftos_kit import postgres
from liftos_kit.core.errors import NotFoundError, StateTransitionError
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import Repeatable
from liftos_kit.postgres_pages import Listing, Order, read_page, word_of
from liftos_kit.postgres_requests import begin, once
from liftos_mapping.entry_fields import LEVELS

_SUSPENDED: Final = """
    left join lateral (
        select u.reason from suspensions u
        where u.org = s.org and u.end_time is null and u.platform in ('', s.platform)
          and u.connection in ('', s.connection) and u.account_id in ('', s.account_id)
        order by u.create_time limit 1
    ) u on s.state in (1, 3)"""
"""Why a slice `s` that could be taken is suspended; null where it is not."""

_WAIT: Final = f"""
       case when u.reason is not null then {WaitReason.SUSPENSION:d}
            when s.state = 3 and s.next_attempt_time > clock_timestamp() then s.wait_reason
       end as waits_for,
       coalesce(u.reason, s.wait_detail) as waits_for_detail,
       case when u.reason is null then s.next_attempt_time end as resume_time"""
"""What a slice `s` waits for; `waits_for` is null where it does not."""

_RUN: Final = f"""
select r.run, r.kind, {word_of(RUN_KINDS, "r.kind")} as kind_word, r.connection, r.platform,
       r.schedule, r.start_date, r.end_date, r.levels, r.state,
       {word_of(RUN_STATES, "r.state")} as state_word, r.reason, r.error, r.revision,
       r.create_time, r.start_time, r.end_time, r.update_time, r.final_day_count,
       r.in_hand_day_count, r.unanswered_day_count, s.*, w.*
from runs r cross join lateral (
    select count(*) as total_count,
           count(*) filter (where state = 4) as succeeded_count,
           count(*) filter (where state in (6, 7)) as failed_count,
           count(*) filter (where state = 5) as skipped_count,
           coalesce(sum(row_count) filter (where level > 0), 0)::bigint as row_count,
           coalesce(sum(upserted_count) filter (where level > 0), 0)::bigint as upserted_count,
           coalesce(sum(vanished_count), 0)::bigint as vanished_count,
           coalesce(sum(dead_letter_count), 0)::bigint as dead_letter_count,
           coalesce(sum(call_count), 0)::bigint as call_count,
           coalesce(sum(size_bytes), 0)::bigint as size_bytes
    from run_slices where org = r.org and run = r.run
) s
left join lateral (
    -- All that is left waits: told is what goes on first.
    select case when bool_and(o.waits_for is not null) then
               (array_agg(o.waits_for order by o.resume_time))[1] end as waits_for,
           (array_agg(o.waits_for_detail order by o.resume_time))[1] as waits_for_detail,
           min(o.resume_time) as resume_time
    from (
        select{_WAIT}
        from run_slices s{_SUSPENDED}
        where s.org = r.org and s.run = r.run and s.state in (1, 2, 3)
        union all
        select case when u.reason is not null then {WaitReason.SUSPENSION:d}
                    when r.next_attempt_time > clock_timestamp() then r.wait_reason end,
               coalesce(u.reason, r.wait_detail),
               case when u.reason is null then r.next_attempt_time end
        from (select) replay left join lateral (
            select u.reason from suspensions u
            where u.org = r.org and u.end_time is null
              and u.platform in ('', r.platform) and u.connection in ('', r.connection)
              and (u.account_id = '' or r.account_ids = array[u.account_id])
            order by u.create_time limit 1
        ) u on true
        where r.kind = {RunKind.REPLAY:d}
    ) o
) w on r.state in (1, 2)
where r.org = $1"""  # noqa: S608 - words are ours

_ACCOUNTS: Final = """/* run_accounts */
select account_id, count(*) as total_count,
       count(*) filter (where state = 4) as succeeded_count,
       count(*) filter (where state in (6, 7)) as failed_count,
       count(*) filter (where state = 5) as skipped_count,
       bool_or(wait_reason = 1) as waits_for_quota,
       bool_or(state = 6 and level = 0) as objects_failed,
       sum(dead_letter_count) > 0 as rows_refused,
       bool_or(state in (4, 5) and level > 0) as committed,
       coalesce(array_agg(distinct error ->> 'error_class')
           filter (where state = 6 and level > 0), '{}') as failures,
       (array_agg(error order by end_time desc nulls first)
           filter (where error is not null))[1] as error
from run_slices where org = $1 and run = $2 group by account_id order by account_id
"""

_ROWS_A_DAY: Final = """/* rows_a_day */
select account_id, level, attribution_key, date_basis,
       (sum(row_count) / sum(end_date - start_date + 1))::float8 as rows_a_day
from run_slices
where org = $1 and platform = $2 and state in (4, 5) and level > 0
  and end_time > now() - interval '30 days'
group by account_id, level, attribution_key, date_basis
"""

_RUNS: Final = Listing(
    name="list_runs",
    select=_RUN,
    order=(Order("create_time", "timestamptz", descends=True), Order("run", "uuid")),
    fields={
        "kind": "kind_word",
        "state": "state_word",
        "connection": "'orgs/' || $1 || '/connections/' || connection",
        "schedule": "'orgs/' || $1 || '/schedules/' || schedule",
        "create_time": "create_time::date",
    },
)
_SLICES: Final = Listing(
    name="list_slices",
    select=f"""
select s.*, {word_of(SLICE_STATES, "s.state")} as state_word,
       {word_of(LEVELS, "s.level")} as level_word,
       {word_of(SLICE_KINDS, "case when s.level > 0 then 1 else 2 end")} as kind_word,{_WAIT}
from run_slices s{_SUSPENDED}
where s.org = $1 and s.run = $2""",  # noqa: S608 - words are ours
    order=(
        Order("account_id", "text"),
        Order("level", "smallint"),
        Order("start_date", "date"),
        Order("slice", "uuid"),
    ),
    fields={
        "kind": "kind_word",
        "account_id": "account_id",
        "level": "level_word",
        "state": "state_word",
    },
)
_OBJECTS: Final = Listing(
    name="list_objects",
    select=f"""
select o.*, {word_of(LEVELS, "o.level")} as level_word
from objects o where o.org = $1""",  # noqa: S608 - words are ours
    order=(
        Order("platform", "text"),
        Order("account_id", "text"),
        Order("level", "smallint"),
        Order("object_id", "text"),
    ),
    fields={
        "platform": "platform",
        "account_id": "account_id",
        "level": "level_word",
        "object_id": "object_id",
        "parent_id": "parent_id",
        "display_name": "display_name",
        "state": "state",
        "update_time": "update_time::date",
    },
)
_RECONCILIATIONS: Final = Listing(
    name="list_reconciliations",
    select=f"""
select c.*, {word_of(RECONCILIATION_STATES, "c.state")} as state_word,
       {word_of(LEVELS, "c.level")} as level_word,
       'orgs/' || c.org || '/runs/' || replace(c.run::text, '-', '') as run_name
from reconciliations c where c.org = $1""",  # noqa: S608 - words are ours
    order=(
        Order("check_time", "timestamptz", descends=True),
        Order("run", "uuid"),
        Order("account_id", "text"),
        Order("level", "smallint"),
        Order("date_basis", "smallint"),
        Order("date", "date"),
        Order("metric", "text"),
    ),
    fields={
        "run": "run_name",
        "platform": "platform",
        "account_id": "account_id",
        "level": "level_word",
        "date": "date",
        "metric": "metric",
        "state": "state_word",
    },
)


class PostgresRunViews:
    """Runs, as people start, stop and look at them."""

    def __init__(self, pool: asyncpg.Pool, ledger: PostgresRunLedger) -> None:
        self._pool = pool
        self._ledger = ledger

    async def get(self, org: str, run: UUID) -> Row | None:
        """Return a run with its accounts."""
        async with postgres.transaction(
            self._pool, org=org, read_only=True, isolation="repeatable read"
        ) as connection:
            return await get_run(connection, org, run)

    async def revision(self, org: str, run: UUID) -> int | None:
        """Return what grows with each change of a run."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            revision: int | None = await connection.fetchval(
                "/* run_revision */ select revision from runs where org = $1 and run = $2", org, run
            )
        return revision

    async def list_runs(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> Page:
        """Return runs, newest first."""
        return await self._page(_RUNS, [org], where, cursor, limit)

    async def list_slices(
        self, org: str, run: UUID, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> Page:
        """Return the slices of a run."""
        return await self._page(_SLICES, [org, run], where, cursor, limit)

    async def list_objects(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> Page:
        """Return objects by platform, account, level and id."""
        return await self._page(_OBJECTS, [org], where, cursor, limit)

    async def list_reconciliations(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> Page:
        """Return reconciliations, newest first."""
        return await self._page(_RECONCILIATIONS, [org], where, cursor, limit)

    async def start(self, org: str, run: NewRun, repeatable: Repeatable[Row] | None) -> Row:
        """Start a run and return it."""
        run_id = uuid4()

        async def started(connection: asyncpg.Connection) -> Row:
            await self._ledger.start_in(connection, org, run_id, run)
            return await _known(connection, org, run_id)

        return await once(begin(self._pool, org), repeatable, started)

    async def cancel(
        self, org: str, run: UUID, reason: str, repeatable: Repeatable[Row] | None
    ) -> Row:
        """Cancel a run and return it."""

        async def cancelled(connection: asyncpg.Connection) -> Row:
            if not await self._ledger.cancel_in(connection, org, run, reason):
                state = RunState((await _known(connection, org, run))["state"])
                raise StateTransitionError(
                    f"orgs/{org}/runs/{run.hex}",
                    state=state.name,
                    allowed_states=[RunState.PENDING.name, RunState.RUNNING.name],
                )
            return await _known(connection, org, run)

        return await once(begin(self._pool, org), repeatable, cancelled)

    async def rows_a_day(
        self, org: str, platform: str
    ) -> Mapping[tuple[str, str, str, str], float]:
        """Return how many rows a day had lately."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            rows = await connection.fetch(_ROWS_A_DAY, org, platform)
        return {
            (
                row["account_id"],
                level_word(row["level"]),
                row["attribution_key"],
                basis_word(row["date_basis"]),
            ): row["rows_a_day"]
            for row in rows
        }

    async def _page(
        self,
        listing: Listing,
        parameters: Sequence[object],
        where: Filter | None,
        cursor: JsonValue,
        limit: int,
    ) -> Page:
        async with postgres.transaction(
            self._pool, org=str(parameters[0]), read_only=True
        ) as connection:
            return await read_page(
                connection, listing, parameters, where=where, cursor=cursor, limit=limit
            )


async def _known(connection: asyncpg.Connection, org: str, run: UUID) -> Row:
    row = await get_run(connection, org, run)
    if row is None:
        raise NotFoundError(f"orgs/{org}/runs/{run.hex}")
    return row


async def get_run(connection: asyncpg.Connection, org: str, run: UUID) -> Row | None:
    """Return a run with its accounts; None where there is none."""
    row = await connection.fetchrow(f"/* get_run */{_RUN} and r.run = $2", org, run)
    if row is None:
        return None
    return {**row, "accounts": await connection.fetch(_ACCOUNTS, org, run)}
