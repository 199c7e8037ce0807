"""What a worker asks of the tables, each operation in one transaction.

PgQueuer writes and takes jobs; its own worker is not used. That one deletes the jobs that a stop
cuts off, lets a worker that was frozen end, extend or give back a job that another has by now, and
takes no jobs after a lost connection until the last one in hand has ended. Here whoever touches a
job that was taken has to be the one who took it.

A key is stored as `:kind:key` while its job waits, and with the job's id in front of it from when
the job is taken, which frees the key. While it is written, Postgres locks the job that waits with
it, so that nobody can take that job before the writer has committed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Literal, TypeAlias
from uuid import UUID

import asyncpg
from pgqueuer.domain.models import Job as StoredJob
from pgqueuer.domain.models import TracebackRecord
from pgqueuer.domain.types import QueueEntrypoint, QueueManagerId
from pgqueuer.ports.repository import EntrypointExecutionParameter

from liftos_kit.jobs.queue import Delivery, Job, KindDepth
from liftos_kit.jobs.tables import JobTables

_UNLIMITED: Final = EntrypointExecutionParameter(concurrency_limit=0)
_HISTORY: Final = timedelta(days=7)
_PRUNED_AT_ONCE: Final = 10_000

Carrier: TypeAlias = Mapping[str, str]


class Return(StrEnum):
    """What became of a job that was to be given back."""

    WAITS = "waits"
    REPLACED = "replaced"
    NOT_HELD = "not_held"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class TakenJob:
    """A job that this worker has taken.

    Attributes:
        delivery: What the handler gets.
        failures: How often a handler raised, since a store was away or for another reason.
        carrier: Trace of the one who added it.
        stored: PgQueuer's view of it.
    """

    delivery: Delivery
    failures: int
    carrier: Carrier
    stored: StoredJob


@dataclass(frozen=True, slots=True)
class Failure:
    """What a handler raised, without the secrets that its text may hold.

    Attributes:
        error_type: Name of its class.
        message: Its text.
        stack: Where it came from.
    """

    error_type: str
    message: str
    stack: str


async def add(
    connection: asyncpg.Connection, tables: JobTables, jobs: Sequence[Job], carrier: Carrier
) -> None:
    """Add jobs, all or none."""
    # Two who write the same keys in different orders would wait for each other.
    ordered = sorted(_without_repeats(jobs), key=lambda job: _waiting_key(job) or "")
    if not ordered:
        return
    await tables.queries(connection, name="add_jobs").enqueue(
        [job.kind for job in ordered],
        [job.payload for job in ordered],
        [job.priority for job in ordered],
        [timedelta(seconds=job.delay_seconds) for job in ordered],
        [_waiting_key(job) for job in ordered],
        [dict(carrier) for _ in ordered],
        on_conflict="update_priority",
    )


async def take(
    connection: asyncpg.Connection,
    tables: JobTables,
    *,
    owner: UUID,
    kinds: Collection[str],
    limit: int,
    stale_seconds: float,
) -> list[TakenJob]:
    """Take jobs that are due, or whose owner has sent no heartbeat for `stale_seconds`."""
    async with connection.transaction():
        stored = await tables.queries(connection, name="take_jobs").dequeue(
            batch_size=limit,
            entrypoints={QueueEntrypoint(kind): _UNLIMITED for kind in kinds},
            queue_manager_id=QueueManagerId(owner),
            global_concurrency_limit=None,
            heartbeat_timeout=timedelta(seconds=stale_seconds),
        )
        if not stored:
            return []
        rows = await connection.fetch(
            f"""/* free_keys */
            with freed as (
                update {tables.queue} set dedupe_key = id || dedupe_key
                where id = any($1) and dedupe_key like ':%'
            )
            select job_id, count(*) as deliveries from {tables.log}
            where job_id = any($1) and status = 'picked' group by job_id
            """,  # noqa: S608
            [job.id for job in stored],
        )
    deliveries = {row["job_id"]: row["deliveries"] for row in rows}
    return [
        TakenJob(
            delivery=Delivery(
                job_id=job.id,
                kind=job.entrypoint,
                payload=job.payload or b"",
                # The history may have been lost or pruned.
                number=max(deliveries.get(job.id, 1), job.attempts + 1),
                enqueue_time=job.created,
            ),
            failures=job.attempts,
            carrier={key: str(value) for key, value in (job.headers or {}).items()},
            stored=job,
        )
        for job in stored
    ]


async def keep(
    connection: asyncpg.Connection, tables: JobTables, *, owner: UUID, job_ids: Collection[int]
) -> set[int]:
    """Send a heartbeat for jobs in hand; return those that are still this worker's."""
    rows = await connection.fetch(
        f"""/* keep_jobs */
        update {tables.queue} set heartbeat = now()
        where id = any($1) and queue_manager_id = $2 and status = 'picked' returning id
        """,  # noqa: S608
        list(job_ids),
        owner,
    )
    return {row["id"] for row in rows}


async def end(
    connection: asyncpg.Connection, tables: JobTables, *, owner: UUID, jobs: Sequence[TakenJob]
) -> set[int]:
    """Remove jobs that are done; return the ids of those that were still this worker's."""
    async with connection.transaction():
        return await _remove(connection, tables, owner, jobs, "successful")


async def give_back(
    connection: asyncpg.Connection,
    tables: JobTables,
    *,
    owner: UUID,
    job: TakenJob,
    pause_seconds: float,
    failure: Failure | None,
) -> Return:
    """Let a job wait again.

    Args:
        connection: The worker's.
        tables: Where.
        owner: The worker.
        job: Taken by it.
        pause_seconds: Least time until it is taken again.
        failure: What its handler raised; None if it was stopped.
    """
    try:
        async with connection.transaction():
            if not await _lock_held(connection, tables, owner, [job]):
                return Return.NOT_HELD
            await tables.queries(connection, name="give_back_job").retry_job(
                job.stored, timedelta(seconds=pause_seconds), _record(job, failure)
            )
            await connection.execute(
                f"""/* restore_key */
                update {tables.queue}
                set dedupe_key = substring(dedupe_key from position(':' in dedupe_key)),
                    attempts = $2
                where id = $1
                """,  # noqa: S608
                job.stored.id,
                job.failures + (failure is not None),
            )
    except asyncpg.LockNotAvailableError:
        # Somebody is writing the same key, and has not committed.
        return Return.BLOCKED
    except asyncpg.UniqueViolationError:
        async with connection.transaction():
            removed = await _remove(connection, tables, owner, [job], "canceled")
        return Return.REPLACED if removed else Return.NOT_HELD
    return Return.WAITS


async def depth(connection: asyncpg.Connection, tables: JobTables) -> tuple[KindDepth, ...]:
    """Count the jobs by kind."""
    rows = await connection.fetch(
        f"""/* count_jobs */
        select
            entrypoint as kind,
            count(*) filter (where status = 'queued' and execute_after <= now()) as waiting,
            count(*) filter (where status = 'queued' and execute_after > now()) as delayed,
            count(*) filter (where status = 'picked') as running,
            coalesce(extract(epoch from now() - min(execute_after)
                filter (where status = 'queued' and execute_after <= now())), 0)::float8 as oldest
        from {tables.queue} group by entrypoint order by entrypoint collate "C"
        """  # noqa: S608
    )
    return tuple(
        KindDepth(
            kind=row["kind"],
            waiting=row["waiting"],
            delayed=row["delayed"],
            running=row["running"],
            oldest_waiting_seconds=row["oldest"],
        )
        for row in rows
    )


async def prune_history(connection: asyncpg.Connection, tables: JobTables) -> None:
    """Delete a batch of history that is older than a week; PgQueuer keeps it for ever."""
    await connection.execute(
        f"""/* prune_job_history */
        delete from {tables.log} where id in (
            select id from {tables.log} where created < now() - $1::interval
            order by created limit $2
        )
        """,  # noqa: S608
        _HISTORY,
        _PRUNED_AT_ONCE,
    )


def _without_repeats(jobs: Sequence[Job]) -> list[Job]:
    """Join the jobs of one call that have the same key, as those of two calls are joined."""
    joined: dict[str | int, Job] = {}
    for index, job in enumerate(jobs):
        place = _waiting_key(job) or index
        earlier = joined.get(place, job)
        joined[place] = replace(earlier, priority=max(earlier.priority, job.priority))
    return list(joined.values())


def _waiting_key(job: Job) -> str | None:
    return None if job.dedupe_key is None else f":{job.kind}:{job.dedupe_key}"


async def _remove(
    connection: asyncpg.Connection,
    tables: JobTables,
    owner: UUID,
    jobs: Sequence[TakenJob],
    status: Literal["successful", "canceled"],
) -> set[int]:
    held = await _lock_held(connection, tables, owner, jobs)
    await tables.queries(connection, name="end_jobs").log_jobs(
        [(job.stored, status, None) for job in jobs if job.stored.id in held]
    )
    return held


async def _lock_held(
    connection: asyncpg.Connection, tables: JobTables, owner: UUID, jobs: Sequence[TakenJob]
) -> set[int]:
    """Return those of the jobs that are this worker's, and stay so in this transaction."""
    rows = await connection.fetch(
        f"""/* lock_jobs */
        select id from {tables.queue}
        where id = any($1) and queue_manager_id = $2 and status = 'picked' for update
        """,  # noqa: S608
        [job.stored.id for job in jobs],
        owner,
    )
    return {row["id"] for row in rows}


def _record(job: TakenJob, failure: Failure | None) -> TracebackRecord | None:
    if failure is None:
        return None
    return TracebackRecord(
        job_id=job.stored.id,
        timestamp=datetime.now(UTC),
        exception_type=failure.error_type,
        exception_message=failure.message,
        traceback=failure.stack,
        additional_context=None,
    )
