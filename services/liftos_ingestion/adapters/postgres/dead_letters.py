"""Dead letters in Postgres; see `liftos_ingestion.dead_letter_ports`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Final
from uuid import UUID, uuid4

import asyncpg

from liftos_ingestion.adapters.postgres.database import (
    basis_code,
    basis_word,
    level_code,
    level_word,
)
from liftos_ingestion.adapters.postgres.run_views import get_run
from liftos_ingestion.adapters.postgres.runs import Jobs, reconcile_job, slice_job
from liftos_ingestion.adapters.postgres.storable import json_text, storable_object
from liftos_ingestion.dead_letter_ports import (
    CommittedDay,
    DeadLetterState,
    Letter,
    Replayed,
    ReplayedRun,
    Selection,
    TakenLetters,
    Wait,
)
from liftos_ingestion.domain.dead_letter_filters import DEAD_LETTER_STATES
from liftos_ingestion.domain.failures import ErrorClass, Failure
from liftos_ingestion.run_ports import HoldLostError, Lane, RunKind, SliceState
from liftos_ingestion.run_view_ports import Page, Row
from liftos_kit import postgres
from liftos_kit.core.errors import InvalidFieldsError, NotFoundError, StateTransitionError
from liftos_kit.core.filters import Filter, to_sql
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import Repeatable
from liftos_kit.jobs.queue import Job
from liftos_kit.postgres_pages import Listing, Order, read_page, word_of
from liftos_kit.postgres_requests import begin, once
from liftos_kit.telemetry import inject_carrier
from liftos_mapping.entry_fields import LEVELS

REPLAY: Final = "replay_dead_letters"
"""Kind of the jobs that wake a worker for a run of kind REPLAY."""

MAXIMUM_LETTERS: Final = 100_000
"""Dead letters that one request may choose."""

_SQL: Final = postgres.load_queries("liftos_ingestion", "sql/dead_letters.sql")
_RUNS: Final = postgres.load_queries("liftos_ingestion", "sql/runs.sql")
_STATE_WORD: Final = word_of(DEAD_LETTER_STATES, "d.state")
_LEVEL_WORD: Final = word_of(LEVELS, "d.level")
_CHOSEN_BY: Final = {
    "state": _STATE_WORD,
    "platform": "d.platform",
    "account_id": "d.account_id",
    "level": _LEVEL_WORD,
    "date": "d.date",
}
_LETTER: Final = f"""
select d.*, {_STATE_WORD} as state_word, {_LEVEL_WORD} as level_word
from dead_letters d where d.org = $1"""  # noqa: S608 - words are ours
_LETTERS: Final = Listing(
    name="list_dead_letters",
    select=f"{_LETTER} and ($2::uuid is null or d.run = $2)",
    order=(Order("create_time", "timestamptz", descends=True), Order("dead_letter", "uuid")),
    fields={
        "state": "state_word",
        "platform": "platform",
        "account_id": "account_id",
        "level": "level_word",
        "date": "date",
    },
)


class PostgresDeadLetters:
    """Dead letters in Postgres; see `liftos_ingestion.dead_letter_ports.DeadLetterStore`.

    Args:
        pool: Where they are.
        jobs: Wakes workers.
    """

    def __init__(self, pool: asyncpg.Pool, jobs: Jobs) -> None:
        self._pool = pool
        self._jobs = jobs

    async def get(self, org: str, dead_letter: UUID) -> Row | None:
        """Return a dead letter."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            row: Row | None = await connection.fetchrow(
                f"/* get_dead_letter */{_LETTER} and d.dead_letter = $2", org, dead_letter
            )
        return row

    async def list_dead_letters(
        self, org: str, run: UUID | None, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> Page:
        """Return dead letters, newest first."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            return await read_page(
                connection, _LETTERS, [org, run], where=where, cursor=cursor, limit=limit
            )

    async def discard(
        self, org: str, selection: Selection, reason: str, repeatable: Repeatable[int] | None
    ) -> int:
        """Give dead letters up."""

        async def act(connection: asyncpg.Connection) -> int:
            chosen = await _choose(connection, org, selection)
            await connection.execute(
                "/* discard_dead_letters */ update dead_letters"
                " set state = 3, discard_reason = $3, update_time = now()"
                " where org = $1 and dead_letter = any($2::uuid[])",
                org,
                [row["dead_letter"] for row in chosen],
                reason,
            )
            return len(chosen)

        return await once(begin(self._pool, org), repeatable, act)

    async def start_replay(
        self,
        org: str,
        selection: Selection,
        subject: str,
        repeatable: Repeatable[tuple[Row, int]] | None,
    ) -> tuple[Row, int]:
        """Start a run that tries dead letters again."""
        run_id = uuid4()

        async def act(connection: asyncpg.Connection) -> tuple[Row, int]:
            chosen = await _choose(connection, org, selection)
            _check_one_connection(chosen)
            await _RUNS.insert_run(
                connection,
                org=org,
                run=run_id,
                kind=RunKind.REPLAY,
                connection=chosen[0]["connection"],
                platform=chosen[0]["platform"],
                schedule="",
                fire_time=None,
                start_date=min(row["start_date"] for row in chosen),
                end_date=max(row["end_date"] for row in chosen),
                levels=sorted({row["level"] for row in chosen}),
                account_ids=sorted({row["account_id"] for row in chosen}),
                force=False,
                subject=subject,
                trace_parent=inject_carrier().get("traceparent"),
                final_day_count=0,
                in_hand_day_count=0,
                unanswered_day_count=0,
            )
            await _SQL.plan_replay(
                connection, org=org, run=run_id, letters=[row["dead_letter"] for row in chosen]
            )
            await self._jobs.enqueue([_replay_job(org, run_id)], connection=connection)
            started = await get_run(connection, org, run_id)
            assert started is not None, "just stored"
            return started, len(chosen)

        return await once(begin(self._pool, org), repeatable, act)


class PostgresReplays:
    """Runs of kind REPLAY; see `liftos_ingestion.dead_letter_ports.ReplayLedger`.

    Args:
        pool: Where they are.
        jobs: Wakes workers.
    """

    def __init__(self, pool: asyncpg.Pool, jobs: Jobs) -> None:
        self._pool = pool
        self._jobs = jobs

    async def replayed(self, org: str, run: UUID) -> ReplayedRun | None:
        """Return what a run tries again."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            row = await _SQL.run_of_replay(connection, org=org, run=run)
        return None if row is None else ReplayedRun(row["platform"], row["connection"])

    async def lanes(self, org: str, run: UUID) -> Sequence[Lane]:
        """Return the lanes of what a run still has to try."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            return [
                Lane(
                    org,
                    row["platform"],
                    row["account_id"],
                    level_word(row["level"]),
                    row["attribution_key"],
                    basis_word(row["date_basis"]),
                )
                async for row in _SQL.lanes_of_replay(connection, org=org, run=run)
            ]

    async def take(
        self, run: UUID, lane: Lane, *, worker: str, lease_seconds: float, limit: int
    ) -> TakenLetters | None:
        """Take a lane with its next dead letters."""
        async with postgres.transaction(self._pool, org=lane.org) as connection:
            await _SQL.lock_claiming(connection, org=lane.org)
            begun = await _SQL.begin_replay(connection, org=lane.org, run=run)
            if begun is None:
                return None
            held = await _SQL.take_lane(
                connection,
                **_columns(lane),
                run=run,
                connection=begun["connection"],
                worker=worker,
                lease_seconds=lease_seconds,
            )
            if held is None:
                return None
            await _SQL.forget_closed_letters(connection, org=lane.org, run=run)
            letters = [
                Letter(
                    dead_letter=row["dead_letter"],
                    row=row["row"],
                    context=row["context"],
                    counted=row["counted"],
                    read_time=row["read_time"],
                )
                async for row in _SQL.letters_of_lane(
                    connection, **_columns(lane), run=run, limit=limit
                )
            ]
        return TakenLetters(run, lane, held["epoch"], letters)

    async def days(self, lane: Lane, days: Sequence[date]) -> Mapping[date, CommittedDay]:
        """Return those days of a lane that were ever committed."""
        async with postgres.transaction(self._pool, org=lane.org, read_only=True) as connection:
            return {
                row["date"]: CommittedDay(row["commit_time"], row["final"])
                async for row in _SQL.committed_days(connection, **_columns(lane), days=list(days))
            }

    async def record(self, taken: TakenLetters, result: Replayed) -> None:
        """Record what became of dead letters, and let the lane go."""
        lane, org, run = taken.lane, taken.lane.org, taken.run
        sums = [(d, m, v) for d, metrics in result.day_sums.items() for m, v in metrics.items()]
        dates = [day for day, _, _ in sums]
        async with postgres.transaction(self._pool, org=org) as connection:
            held = await _RUNS.lock_lane(connection, **_columns(lane), epoch=taken.epoch)
            if held is None:
                raise HoldLostError
            await _SQL.letters_taken_in(connection, org=org, run=run, letters=result.taken_in)
            await _SQL.letters_overtaken(connection, org=org, letters=result.overtaken)
            await _SQL.letters_refused_again(
                connection,
                org=org,
                letters=list(result.refused),
                errors=[
                    json_text([{"field": f, "code": c, "message": m} for f, c, m in problems])
                    for problems in result.refused.values()
                ],
            )
            await _SQL.forget_tried_letters(
                connection,
                org=org,
                run=run,
                letters=[letter.dead_letter for letter in taken.letters],
            )
            await _SQL.add_day_sums(
                connection,
                **_columns(lane),
                run=run,
                dates=dates,
                metrics=[metric for _, metric, _ in sums],
                sums=[value for _, _, value in sums],
            )
            await _SQL.touch_days(connection, **_columns(lane), dates=dates)
            await _insert_tried(connection, taken, result)
            await _RUNS.touch_run(connection, org=org, run=run)
            await self._free(connection, taken)

    async def let_go(self, taken: TakenLetters) -> None:
        """Let a lane go."""
        async with postgres.transaction(self._pool, org=taken.lane.org) as connection:
            await self._free(connection, taken)

    async def fail(self, org: str, run: UUID, failure: Failure) -> None:
        """End a run whose dead letters cannot be tried."""
        async with postgres.transaction(self._pool, org=org) as connection:
            await _SQL.drop_replay(connection, org=org, run=run)
            await _SQL.fail_replay(connection, org=org, run=run, error=_error(failure))

    async def move_on(
        self, org: str, run: UUID, *, delay_seconds: float, wait: Wait | None = None
    ) -> None:
        """Line up what a run still has to try, and tell what for it waits; or end it."""
        async with postgres.transaction(self._pool, org=org) as connection:
            await _SQL.forget_closed_letters(connection, org=org, run=run)
            if await _SQL.has_letters_to_try(connection, org=org, run=run):
                job = _replay_job(org, run, delay_seconds=delay_seconds)
                await self._jobs.enqueue([job], connection=connection)
                if wait is not None:
                    await _SQL.put_off_replay(
                        connection,
                        org=org,
                        run=run,
                        seconds=delay_seconds,
                        reason=wait.reason,
                        detail=wait.detail,
                    )
                return
            await _SQL.drop_replay(connection, org=org, run=run)
            if await _RUNS.end_run(connection, org=org, run=run) is not None:
                await self._jobs.enqueue([reconcile_job(org, run)], connection=connection)

    async def _free(self, connection: asyncpg.Connection, taken: TakenLetters) -> None:
        lane = _columns(taken.lane)
        await _RUNS.free_lane(connection, **lane, epoch=taken.epoch)
        await self._jobs.enqueue(
            [
                slice_job(
                    taken.lane.org,
                    row["slice"],
                    row["priority"],
                    delay_seconds=row["wait_seconds"],
                )
                async for row in _RUNS.next_of_lane(connection, **lane)
            ],
            connection=connection,
        )


def _replay_job(org: str, run: UUID, *, delay_seconds: float = 0.0) -> Job:
    return Job(
        REPLAY,
        json.dumps({"org": org, "run": run.hex}).encode(),
        delay_seconds=delay_seconds,
        dedupe_key=run.hex,
    )


async def _choose(
    connection: asyncpg.Connection, org: str, selection: Selection
) -> Sequence[asyncpg.Record]:
    """Return open dead letters, locked, with the days of the runs that met them."""
    values: list[object] = [org, selection.run]
    if selection.dead_letters:
        values.append(list(selection.dead_letters))
        condition = "d.dead_letter = any($3::uuid[])"
    else:
        condition, given = to_sql(selection.where, columns=_CHOSEN_BY, first_parameter=3)
        condition = f"d.state = 1 and {condition}"
        values += given
    chosen: Sequence[asyncpg.Record] = await connection.fetch(
        f"""
        /* choose_dead_letters */
        select d.dead_letter, d.run, d.state, d.connection, d.platform, d.account_id, d.level,
               coalesce(d.date, r.start_date) as start_date,
               coalesce(d.date, r.end_date) as end_date
        from dead_letters d join runs r on r.org = d.org and r.run = d.run
        where d.org = $1 and ($2::uuid is null or d.run = $2) and {condition}
        order by d.dead_letter limit {MAXIMUM_LETTERS + 1} for update of d
        """,  # noqa: S608 - names are ours, values are parameters
        *values,
    )
    if len(chosen) > MAXIMUM_LETTERS:
        raise InvalidFieldsError.of(
            "filter",
            f"chooses more than {MAXIMUM_LETTERS:,} rows; narrow it, such as to one account",
            rule="filter.rows",
        )
    _check_open(org, selection, {row["dead_letter"]: row for row in chosen})
    return chosen


def _check_open(org: str, selection: Selection, found: Mapping[UUID, asyncpg.Record]) -> None:
    for named in selection.dead_letters:
        row = found.get(named)
        run = "-" if row is None else row["run"].hex
        name = f"orgs/{org}/runs/{run}/deadLetters/{named.hex}"
        if row is None:
            raise NotFoundError(name)
        if row["state"] != DeadLetterState.OPEN:
            raise StateTransitionError(
                name,
                state=DeadLetterState(row["state"]).name,
                allowed_states=[DeadLetterState.OPEN.name],
            )


def _check_one_connection(chosen: Sequence[asyncpg.Record]) -> None:
    connections = sorted({row["connection"] for row in chosen})
    if not connections:
        raise InvalidFieldsError.of("filter", "chooses no open row", rule="filter.rows")
    if len(connections) > 1:
        raise InvalidFieldsError.of(
            "filter",
            f"chooses rows of the connections {', '.join(connections[:10])}; a run is of one, so"
            " narrow it by platform or account_id",
            rule="filter.connection",
        )


async def _insert_tried(
    connection: asyncpg.Connection, taken: TakenLetters, result: Replayed
) -> None:
    error = None
    state = SliceState.COMMITTED if result.upserted_count else SliceState.UNCHANGED
    if result.refused and not result.taken_in:
        state = SliceState.FAILED
        message = "No row could be taken in; each says why."
        error = _error(Failure(ErrorClass.INVALID_DATA, message))
    await _SQL.insert_tried(
        connection,
        **_columns(taken.lane),
        run=taken.run,
        start_date=min(result.day_sums, default=None),
        end_date=max(result.day_sums, default=None),
        state=state,
        row_count=len(taken.letters),
        upserted_count=result.upserted_count,
        dead_letter_count=len(result.refused),
        error=error,
    )


def _columns(lane: Lane) -> dict[str, object]:
    return {
        "org": lane.org,
        "platform": lane.platform,
        "account_id": lane.account_id,
        "level": level_code(lane.level),
        "attribution_key": lane.attribution_key,
        "date_basis": basis_code(lane.date_basis),
    }


def _error(failure: Failure) -> dict[str, object]:
    return {**storable_object(asdict(failure)), "occur_time": datetime.now(UTC).isoformat()}
