"""The ledger of runs in Postgres; see `liftos_ingestion.run_ports.RunLedger`."""

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Final, Protocol
from uuid import UUID, uuid4

import asyncpg

from liftos_ingestion.adapters.postgres.database import (
    basis_code,
    basis_word,
    level_code,
    level_word,
)
from liftos_ingestion.adapters.postgres.storable import json_text, storable_object, storable_text
from liftos_ingestion.domain.failures import (
    AccountOutcome,
    ErrorClass,
    Failure,
    Scope,
    outcome_of,
)
from liftos_ingestion.domain.rate_limits import Priority
from liftos_ingestion.domain.windows import Days, without
from liftos_ingestion.run_ports import (
    OBJECTS,
    AccountLag,
    HeldSlice,
    Hold,
    HoldLostError,
    Lane,
    NewRun,
    SlicePlan,
    SliceResult,
    SliceState,
    Usage,
    WaitReason,
)
from liftos_ingestion.source_ports import PlatformJob, PlatformObject
from liftos_kit import postgres
from liftos_kit.jobs.queue import Job
from liftos_kit.telemetry import inject_carrier

READ_SLICE: Final = "read_slice"
"""Kind of the jobs that wake a worker for a slice."""

RECONCILE_RUN: Final = "reconcile_run"
"""Kind of the jobs that compare a run that has ended."""

_SQL: Final = postgres.load_queries("liftos_ingestion", "sql/runs.sql")
_OUTCOMES: Final = tuple(AccountOutcome)


def slice_job(org: str, slice_id: UUID, priority: int, *, delay_seconds: float = 0.0) -> Job:
    """Return the job that wakes a worker for a slice."""
    return Job(
        READ_SLICE,
        json.dumps({"org": org, "slice": slice_id.hex}).encode(),
        priority=-priority,
        delay_seconds=delay_seconds,
        dedupe_key=slice_id.hex,
    )


def reconcile_job(org: str, run: UUID) -> Job:
    """Return the job that compares a run with the platform's sums."""
    return Job(
        RECONCILE_RUN,
        json.dumps({"org": org, "run": run.hex}).encode(),
        priority=-Priority.RESTATED,
        dedupe_key=run.hex,
    )


class Jobs(Protocol):
    """The part of a queue of jobs that the ledger needs; see `liftos_kit.jobs.queue.JobQueue`."""

    async def enqueue(
        self, jobs: Sequence[Job], *, connection: asyncpg.Connection | None = None
    ) -> None:
        """Add jobs, within the transaction of the connection where one is given."""


class PostgresRunLedger:
    """Runs in Postgres.

    Whoever changes a slice or ends a run also lines up what may be read next, in the same
    transaction.
    """

    def __init__(self, pool: asyncpg.Pool, jobs: Jobs) -> None:
        self._pool = pool
        self._jobs = jobs

    async def start(self, org: str, run: NewRun) -> UUID | None:
        """Store a run and line its slices up."""
        run_id = uuid4()
        async with postgres.transaction(self._pool, org=org) as connection:
            return await self.start_in(connection, org, run_id, run)

    async def start_in(
        self, connection: asyncpg.Connection, org: str, run_id: UUID, run: NewRun
    ) -> UUID | None:
        """Store a run within a transaction of the caller's; see `start`."""
        await _SQL.lock_planning(connection, org=org, platform=run.platform)
        plans = await _not_in_hand(connection, org, run)
        stored = await _SQL.insert_run(
            connection,
            org=org,
            run=run_id,
            kind=run.kind,
            connection=run.connection,
            platform=run.platform,
            schedule=run.schedule,
            fire_time=run.fire_time,
            start_date=run.start_date,
            end_date=run.end_date,
            levels=[level_code(level) for level in run.levels],
            account_ids=list(run.account_ids),
            force=run.force,
            subject=run.subject,
            trace_parent=inject_carrier().get("traceparent"),
            final_day_count=run.final_day_count,
            in_hand_day_count=_day_count(run.slices) - _day_count(plans),
            unanswered_day_count=run.unanswered_day_count,
        )
        if stored is None:
            return None
        ids = [uuid4() for _ in plans]
        await _SQL.insert_slices(
            connection,
            org=org,
            run=run_id,
            connection=run.connection,
            platform=run.platform,
            slices=ids,
            slice_account_ids=[plan.account_id for plan in plans],
            slice_levels=[level_code(plan.level) for plan in plans],
            attribution_keys=[plan.attribution_key for plan in plans],
            date_bases=[basis_code(plan.date_basis) for plan in plans],
            start_dates=[plan.start_date for plan in plans],
            end_dates=[plan.end_date for plan in plans],
            priorities=[plan.priority for plan in plans],
        )
        # A lane is read in order, so only its first slice is lined up.
        first = {_lane_of(plan): (id_, plan) for id_, plan in zip(ids, plans, strict=True)}
        for id_, plan in zip(ids, plans, strict=True):
            if plan.start_date > first[_lane_of(plan)][1].start_date:
                first[_lane_of(plan)] = (id_, plan)
        await self._jobs.enqueue(
            [slice_job(org, id_, plan.priority) for id_, plan in first.values()],
            connection=connection,
        )
        if not plans:
            await _SQL.end_run(connection, org=org, run=run_id)
        return run_id

    async def claim(
        self, org: str, slice_id: UUID, *, worker: str, lease_seconds: float
    ) -> HeldSlice | None:
        """Take a slice."""
        async with postgres.transaction(self._pool, org=org) as connection:
            row = await _SQL.claim_slice(
                connection, org=org, slice=slice_id, worker=worker, lease_seconds=lease_seconds
            )
        if row is None:
            return None
        job = row["platform_job"]
        return HeldSlice(
            lane=Lane(
                org,
                row["platform"],
                row["account_id"],
                level_word(row["level"]),
                row["attribution_key"],
                basis_word(row["date_basis"]),
            ),
            slice=slice_id,
            run=row["run"],
            connection=row["connection"],
            start_date=row["start_date"],
            end_date=row["end_date"],
            priority=row["priority"],
            attempt=row["attempt"],
            epoch=row["epoch"],
            platform_job=None if job is None else PlatformJob(job["job_id"], job["state"]),
        )

    async def extend(self, held: HeldSlice, *, lease_seconds: float) -> Hold:
        """Go on holding a slice."""
        async with postgres.transaction(self._pool, org=held.lane.org) as connection:
            row = await _SQL.extend_lease(
                connection, **_lane(held), slice=held.slice, lease_seconds=lease_seconds
            )
        if row is None or not row["held"]:
            return Hold.LOST
        if row["cancelled"]:
            return Hold.CANCELLED
        return Hold.SUSPENDED if row["suspended"] else Hold.HELD

    async def keep_job(self, held: HeldSlice, job: PlatformJob) -> None:
        """Keep the platform's job."""
        async with self._as_holder(held) as connection:
            await _SQL.keep_job(
                connection,
                org=held.lane.org,
                slice=held.slice,
                platform_job={"job_id": job.job_id, "state": dict(job.state)},
            )

    async def finish(self, held: HeldSlice, result: SliceResult, usage: Usage) -> None:
        """Record that a slice was committed."""
        changed = result.upserted_count + result.vanished_count
        async with self._as_holder(held) as connection:
            await _SQL.finish_slice(
                connection,
                org=held.lane.org,
                slice=held.slice,
                state=SliceState.COMMITTED if changed else SliceState.UNCHANGED,
                memory_slice=result.memory_slice,
                row_count=result.row_count,
                upserted_count=result.upserted_count,
                restated_count=result.restated_count,
                vanished_count=result.vanished_count,
                dead_letter_count=len(result.dead_letters),
                **asdict(usage),
            )
            await _store_sums(connection, held, result)
            await _store_dead_letters(connection, held, result)
            await self._move_on(connection, held, committed=True)

    async def keep_objects(self, held: HeldSlice, objects: Sequence[PlatformObject]) -> None:
        """Store some of the objects of an account."""
        # A list that changes while it is read can name one twice; the later page is the newer one.
        found = list({(it.level, it.object_id): it for it in objects}.values())
        async with self._as_holder(held) as connection:
            await _SQL.keep_objects(
                connection,
                org=held.lane.org,
                slice=held.slice,
                platform=held.lane.platform,
                account_id=held.lane.account_id,
                levels=[level_code(it.level) for it in found],
                object_ids=[storable_text(it.object_id) for it in found],
                parent_ids=[storable_text(it.parent_id) for it in found],
                display_names=[storable_text(it.display_name) for it in found],
                states=[storable_text(it.state) for it in found],
            )

    async def finish_objects(self, held: HeldSlice, count: int, usage: Usage) -> None:
        """Record that all objects of an account were stored."""
        lane = {key: value for key, value in _lane(held).items() if key != "epoch"}
        slice_ = {"org": held.lane.org, "slice": held.slice}
        async with self._as_holder(held) as connection:
            # Counted as they were kept, by tries that ended early too.
            changed = (await _SQL.upserted_of_slice(connection, **slice_))["upserted_count"]
            await _SQL.finish_slice(
                connection,
                **slice_,
                state=SliceState.COMMITTED if changed else SliceState.UNCHANGED,
                memory_slice="",
                row_count=count,
                upserted_count=changed,
                restated_count=0,
                vanished_count=0,
                dead_letter_count=0,
                **asdict(usage),
            )
            # Its day is done with, so that no other run lists them again on it.
            await _SQL.upsert_lane_days(
                connection,
                **lane,
                start_date=held.start_date,
                end_date=held.end_date,
                final_through=held.end_date,
                unchanged=[],
            )
            await self._move_on(connection, held)

    async def park(
        self,
        held: HeldSlice,
        *,
        seconds: float,
        reason: WaitReason,
        detail: str,
        counts: bool,
        failure: Failure | None,
        usage: Usage,
    ) -> None:
        """Let a slice wait."""
        async with self._as_holder(held) as connection:
            await _SQL.park_slice(
                connection,
                org=held.lane.org,
                slice=held.slice,
                seconds=seconds,
                reason=reason,
                detail=storable_text(detail),
                counts=counts,
                error=None if failure is None else _failure(failure),
                **asdict(usage),
            )
            await self._move_on(connection, held)

    async def split(self, held: HeldSlice, failure: Failure, usage: Usage) -> None:
        """Replace a slice by its halves."""
        middle = held.start_date + (held.end_date - held.start_date) // 2
        async with self._as_holder(held) as connection:
            await _SQL.split_slice(
                connection,
                org=held.lane.org,
                slice=held.slice,
                middle=middle,
                end_date=held.end_date,
                half=uuid4(),
                error=_failure(failure),
                **asdict(usage),
            )
            await self._move_on(connection, held)

    async def give_up(self, held: HeldSlice, failure: Failure, usage: Usage) -> None:
        """Record that a slice failed, with all that fails with it."""
        scope = failure.disposition.scope
        if held.lane.level == OBJECTS and scope is Scope.ACCOUNT:
            # What keeps objects from being listed need not keep numbers from being read.
            scope = Scope.SLICE
        async with self._as_holder(held) as connection:
            failed = [
                row["slice"]
                async for row in _SQL.fail_slices(
                    connection,
                    org=held.lane.org,
                    run=held.run,
                    slice=held.slice,
                    account_id=held.lane.account_id,
                    scope=scope,
                    error=_failure(failure),
                    **asdict(usage),
                )
            ]
            assert held.slice in failed, "its holder alone ends it"
            if failure.error_class is ErrorClass.CREDENTIALS:
                await _SQL.reject_connection(
                    connection, org=held.lane.org, connection=held.connection
                )
            if failure.account_changed:
                await _SQL.ask_for_verification(
                    connection, org=held.lane.org, connection=held.connection
                )
            if failure.error_class is ErrorClass.INVALID_DATA:
                lane = {key: value for key, value in _lane(held).items() if key != "epoch"}
                await _SQL.reopen_lane_days(
                    connection, **lane, start_date=held.start_date, end_date=held.end_date
                )
            await self._move_on(connection, held)

    async def let_go(self, held: HeldSlice, usage: Usage) -> None:
        """Give a slice back as it was."""
        try:
            async with self._as_holder(held) as connection:
                await _SQL.let_go_slice(
                    connection, org=held.lane.org, slice=held.slice, **asdict(usage)
                )
                await self._move_on(connection, held)
        except HoldLostError:
            return

    async def cancel(self, org: str, run_id: UUID, reason: str) -> bool:
        """Stop a run: what waits is cancelled at once, what is read when its worker looks.

        Returns:
            False where it had ended, or does not exist.
        """
        async with postgres.transaction(self._pool, org=org) as connection:
            return await self.cancel_in(connection, org, run_id, reason)

    async def cancel_in(
        self, connection: asyncpg.Connection, org: str, run_id: UUID, reason: str
    ) -> bool:
        """Stop a run within a transaction of the caller's; see `cancel`."""
        # Slices before their run, as whoever ends a slice takes them; a run that ended has none.
        await _SQL.cancel_waiting_slices(connection, org=org, run=run_id)
        if await _SQL.cancel_run(connection, org=org, run=run_id, reason=reason) is None:
            return False
        await _SQL.end_run(connection, org=org, run=run_id)
        return True

    async def line_up_due(self, *, limit: int) -> int:
        """Line up slices of all orgs that are due and whose wake-up may have been lost."""
        with postgres.translate_errors():
            async with self._pool.acquire() as connection:
                jobs = [
                    slice_job(row["org"], row["slice"], row["priority"])
                    async for row in _SQL.due_slices(connection, limit=limit)
                ]
        if jobs:
            await self._jobs.enqueue(jobs)
        return len(jobs)

    async def account_lags(self) -> Sequence[AccountLag]:
        """Return how old the newest committed day of each account of all orgs is."""
        with postgres.translate_errors():
            async with self._pool.acquire() as connection:
                return [AccountLag(**row) async for row in _SQL.account_lags(connection)]

    @asynccontextmanager
    async def _as_holder(self, held: HeldSlice) -> AsyncIterator[asyncpg.Connection]:
        async with postgres.transaction(self._pool, org=held.lane.org) as connection:
            if await _SQL.lock_lane(connection, **_lane(held)) is None:
                raise HoldLostError
            yield connection

    async def _move_on(
        self, connection: asyncpg.Connection, held: HeldSlice, *, committed: bool = False
    ) -> None:
        """Let the lane go, line up its next slice, and end the run with its last slice."""
        org = held.lane.org
        await _SQL.free_lane(connection, **_lane(held))
        following = {key: value for key, value in _lane(held).items() if key != "epoch"}
        await self._jobs.enqueue(
            [
                slice_job(org, row["slice"], row["priority"], delay_seconds=row["wait_seconds"])
                async for row in _SQL.next_of_lane(connection, **following)
            ],
            connection=connection,
        )
        await _SQL.lock_run(connection, org=org, run=held.run)
        accounts = [
            row["account_id"]
            async for row in _SQL.failed_accounts(connection, org=org, run=held.run)
        ]
        for account_id in sorted({held.lane.account_id, *accounts}):
            await _store_outcome(
                connection,
                held,
                account_id,
                committed=committed and account_id == held.lane.account_id,
            )
        if await _SQL.end_run(connection, org=org, run=held.run) is None:
            await _SQL.touch_run(connection, org=org, run=held.run)
        else:
            await self._jobs.enqueue([reconcile_job(org, held.run)], connection=connection)


async def _store_outcome(
    connection: asyncpg.Connection, held: HeldSlice, account_id: str, *, committed: bool
) -> None:
    slices = [
        row
        async for row in _SQL.account_slices(
            connection, org=held.lane.org, run=held.run, account_id=account_id
        )
    ]
    numbers = [row for row in slices if not row["of_objects"]]
    outcome = outcome_of(
        {ErrorClass(row["error_class"]) for row in numbers if row["state"] == SliceState.FAILED},
        objects_failed=any(
            row["of_objects"] and row["state"] == SliceState.FAILED for row in slices
        ),
        rows_refused=any(row["rows_refused"] for row in slices),
        waits_for_quota=any(row["waits_for_quota"] for row in slices),
        committed=any(
            row["state"] in (SliceState.COMMITTED, SliceState.UNCHANGED) for row in numbers
        ),
    )
    await _SQL.store_outcome(
        connection,
        org=held.lane.org,
        connection=held.connection,
        account_id=account_id,
        outcome=0 if outcome is None else _OUTCOMES.index(outcome) + 1,
        committed=committed,
    )


def _lane_of(plan: SlicePlan) -> tuple[str, str, str, str]:
    return plan.account_id, plan.level, plan.attribution_key, plan.date_basis


async def _not_in_hand(
    connection: asyncpg.Connection, org: str, run: NewRun
) -> Sequence[SlicePlan]:
    """Return the plans of a run without the days that another run will read anyway."""
    in_hand: dict[tuple[str, str, str, str], list[Days]] = {}
    async for row in _SQL.days_in_hand(connection, org=org, platform=run.platform):
        lane = (
            row["account_id"],
            level_word(row["level"]),
            row["attribution_key"],
            basis_word(row["date_basis"]),
        )
        in_hand.setdefault(lane, []).append(Days(row["start_date"], row["end_date"]))
    return [
        SlicePlan(*_lane_of(plan), left.start, left.end, plan.priority)
        for plan in run.slices
        for left in without(Days(plan.start_date, plan.end_date), in_hand.get(_lane_of(plan), ()))
    ]


def _day_count(plans: Sequence[SlicePlan]) -> int:
    """Return how many days are read; that objects are listed is none."""
    return sum(len(Days(plan.start_date, plan.end_date)) for plan in plans if plan.level != OBJECTS)


def _lane(held: HeldSlice) -> dict[str, object]:
    lane = held.lane
    return {
        "org": lane.org,
        "platform": lane.platform,
        "account_id": lane.account_id,
        "level": level_code(lane.level),
        "attribution_key": lane.attribution_key,
        "date_basis": basis_code(lane.date_basis),
        "epoch": held.epoch,
    }


def _failure(failure: Failure) -> dict[str, object]:
    return {**storable_object(asdict(failure)), "occur_time": datetime.now(UTC).isoformat()}


async def _store_sums(connection: asyncpg.Connection, held: HeldSlice, result: SliceResult) -> None:
    """Store the sums of each day, and whether they changed."""
    lane = {key: value for key, value in _lane(held).items() if key != "epoch"}
    days = {"start_date": held.start_date, "end_date": held.end_date}
    before: dict[date, dict[str, int]] = {}
    async for row in _SQL.day_sums(connection, **lane, **days):
        before.setdefault(row["date"], {})[row["metric"]] = int(row["value"])
    every = _every_day(held)
    await _SQL.upsert_lane_days(
        connection,
        **lane,
        **days,
        final_through=result.final_through,
        unchanged=[day for day in every if before.get(day) == result.day_sums.get(day)],
    )
    await _SQL.drop_day_sums(connection, **lane, **days)
    sums = [(d, m, v) for d, metrics in result.day_sums.items() for m, v in metrics.items()]
    await _SQL.insert_day_sums(
        connection,
        **lane,
        run=held.run,
        dates=[day for day, _, _ in sums],
        metrics=[metric for _, metric, _ in sums],
        sums=[value for _, _, value in sums],
    )


def _every_day(held: HeldSlice) -> Sequence[date]:
    count = (held.end_date - held.start_date).days + 1
    return [held.start_date + timedelta(days=number) for number in range(count)]


async def _store_dead_letters(
    connection: asyncpg.Connection, held: HeldSlice, result: SliceResult
) -> None:
    # The same row twice in one answer is one dead letter.
    by_row = {json_text(letter.row): letter for letter in result.dead_letters}
    rows, letters = list(by_row), list(by_row.values())
    digests = [hashlib.sha256(row.encode()).digest() for row in rows]
    await _SQL.overtake_dead_letters(
        connection,
        **{key: value for key, value in _lane(held).items() if key != "epoch"},
        start_date=held.start_date,
        end_date=held.end_date,
        row_digests=digests,
    )
    if not rows:
        return
    await _SQL.insert_dead_letters(
        connection,
        org=held.lane.org,
        run=held.run,
        connection=held.connection,
        platform=held.lane.platform,
        account_id=held.lane.account_id,
        level=level_code(held.lane.level),
        attribution_key=held.lane.attribution_key,
        date_basis=basis_code(held.lane.date_basis),
        dates=[letter.day for letter in letters],
        rows=rows,
        row_digests=digests,
        contexts=[json_text(letter.context) for letter in letters],
        counted=[letter.counted for letter in letters],
        errors=[
            json_text([{"field": f, "code": c, "message": m} for f, c, m in letter.errors])
            for letter in letters
        ],
    )
