"""A worker: one connection, one loop that takes, keeps and ends jobs, and a task for each handler.

Everything that the worker says to Postgres goes one after the other over a connection of its own,
so that handlers which use up the pool cannot hold up heartbeats. Notifications only make it look
sooner than at its next tick, and losing one loses nothing.
"""

import asyncio
import json
import random
import time
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Final, assert_never
from uuid import uuid4

import asyncpg
import structlog

from liftos_kit import telemetry
from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.core.retry import Backoff
from liftos_kit.jobs import store
from liftos_kit.jobs.queue import Handler
from liftos_kit.jobs.store import Failure, Return, TakenJob
from liftos_kit.jobs.tables import JobTables
from liftos_kit.postgres import STORE, translate_errors
from liftos_kit.redaction import redact_text

_TICK_SECONDS: Final = 0.5
_CONNECT_TIMEOUT_SECONDS: Final = 5.0
_LEAST_STATEMENT_SECONDS: Final = 1.0
_LOCK_TIMEOUT_SECONDS: Final = 0.2
_CANCEL_SECONDS: Final = 5.0
_MEASURE_SECONDS: Final = 10.0
_PRUNE_SECONDS: Final = 600.0
_STEADY_SECONDS: Final = 10.0
_RECONNECT: Final = Backoff(base_seconds=0.1, maximum_seconds=1.0)
_PAUSE: Final = Backoff(base_seconds=1.0, maximum_seconds=600.0)
_AWAY_SECONDS: Final = 2.0
"""How long a job pauses at most for which a store was away: outages end at once, for all jobs."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.jobs")


class Outcome(StrEnum):
    """How a run of a job ended.

    `done`: the job is over. `raised`: it comes again after a pause. `away`: so it does, since a
    store did not answer. `stopped`: it was given back. `lost`: another worker has it. `replaced`:
    it was to come again, and another with its key waits.
    """

    DONE = "done"
    RAISED = "raised"
    AWAY = "away"
    STOPPED = "stopped"
    LOST = "lost"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class WorkerTimes:
    """How patient a worker is.

    Attributes:
        heartbeat_seconds: Between two signs of life. After three without one, a job is given to
            another worker, so a third of it is the longest that anything may block the loop.
        grace_seconds: Time that handlers have to end after a stop.
    """

    heartbeat_seconds: float = 5.0
    grace_seconds: float = 20.0

    def __post_init__(self) -> None:
        if self.heartbeat_seconds <= 0 or self.grace_seconds < 0:
            raise ValueError("heartbeat_seconds must be above 0, and grace_seconds at least 0")

    @property
    def stale_seconds(self) -> float:
        """Silence after which a job is given to another worker."""
        return 3.0 * self.heartbeat_seconds


@dataclass(slots=True, eq=False)
class _Run:
    job: TakenJob
    task: "asyncio.Task[None]"
    start: float
    end: float | None = None
    cancelled_as: Outcome | None = None


class Worker:
    """Takes jobs and has them done; see `JobQueue.work`.

    Args:
        url: Of the connection; it listens, so no pooler may stand between that shares sessions.
        tables: The queue.
        times: Patience.
        handlers: By kind.
        concurrency: Jobs in hand at most.
        stop: Ends the work.
    """

    def __init__(
        self,
        url: str,
        tables: JobTables,
        times: WorkerTimes,
        *,
        handlers: Mapping[str, Handler],
        concurrency: int,
        stop: asyncio.Event,
    ) -> None:
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        if not handlers:
            raise ValueError("a worker without handlers has nothing to do")
        self._url = url
        self._tables = tables
        self._times = times
        self._handlers = dict(handlers)
        self._concurrency = concurrency
        self._stop = stop
        self._owner = uuid4()
        self._runs: dict[int, _Run] = {}
        self._wake = asyncio.Event()
        self._cancel_at: float | None = None
        self._kept_at = time.monotonic()
        self._measure_at = 0.0
        self._prune_at = time.monotonic() + _jittered(_PRUNE_SECONDS)
        self._measured_kinds = set(self._handlers)

    async def run(self) -> None:
        """Work until the stop.

        Raises:
            asyncpg.PostgresError: A statement failed for another reason than an outage.
        """
        stopped = asyncio.create_task(self._stop.wait())
        stopped.add_done_callback(lambda _: self._wake.set())
        failures = 0
        try:
            while True:
                begun = time.monotonic()
                try:
                    async with self._connect() as connection:
                        await self._serve(connection)
                        return
                except StoreUnavailableError as error:
                    steady = time.monotonic() - begun >= _STEADY_SECONDS
                    failures = 0 if steady else failures + 1
                    wait = _jittered(_RECONNECT.bound_seconds(failures))
                    _log.warning(
                        "jobs_connection_lost", cause=repr(error.__cause__), retry_seconds=wait
                    )
                if self._is_over():
                    return
                await asyncio.sleep(wait)
        finally:
            stopped.cancel()
            await self._abandon()

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[asyncpg.Connection]:
        # One that hangs must leave time for a new connection to send the heartbeat.
        statement_seconds = max(_LEAST_STATEMENT_SECONDS, self._times.heartbeat_seconds)
        with translate_errors():
            connection = await asyncpg.connect(
                self._url,
                timeout=_CONNECT_TIMEOUT_SECONDS,
                command_timeout=statement_seconds,
                server_settings={
                    "application_name": f"liftos jobs {self._tables.schema}",
                    "timezone": "UTC",
                    "lock_timeout": _milliseconds(_LOCK_TIMEOUT_SECONDS),
                    "statement_timeout": _milliseconds(statement_seconds),
                    # One that is frozen while it takes jobs must not keep them locked.
                    "idle_in_transaction_session_timeout": _milliseconds(statement_seconds),
                },
            )
            try:
                connection.add_query_logger(_measure_statement)
                connection.add_termination_listener(lambda _: self._wake.set())
                await connection.add_listener(self._tables.channel, self._notified)
                yield connection
            except asyncpg.InterfaceError as error:
                if not connection.is_closed():
                    raise
                raise StoreUnavailableError(STORE) from error
            except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError) as error:
                raise StoreUnavailableError(STORE) from error
            finally:
                connection.terminate()

    def _notified(self, _: object, __: int, ___: str, payload: object) -> None:
        # Jobs that were taken and ended are told of as well.
        with suppress(ValueError):
            if json.loads(str(payload)).get("operation") == "insert":
                self._wake.set()

    async def _serve(self, connection: asyncpg.Connection) -> None:
        keep_at = 0.0
        while True:
            self._wake.clear()
            if time.monotonic() >= keep_at:
                await self._keep(connection)
                keep_at = time.monotonic() + self._times.heartbeat_seconds
            await self._settle(connection)
            if self._is_over():
                return
            await self._take(connection)
            await self._look_after(connection)
            wait = min(_TICK_SECONDS, max(0.0, keep_at - time.monotonic()))
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    async def _keep(self, connection: asyncpg.Connection) -> None:
        """Send the heartbeats, and cancel what has been given to another worker meanwhile."""
        silent_seconds = time.monotonic() - self._kept_at
        kept: set[int] = set()
        if self._runs:
            if silent_seconds > self._times.stale_seconds:
                _log.error(
                    "jobs_heartbeat_late", seconds=round(silent_seconds, 3), jobs=len(self._runs)
                )
            kept = await store.keep(
                connection, self._tables, owner=self._owner, job_ids=self._runs.keys()
            )
        self._kept_at = time.monotonic()
        for job_id, run in self._runs.items():
            if job_id not in kept:
                _cancel(run, Outcome.LOST)

    async def _settle(self, connection: asyncpg.Connection) -> None:
        """Tell Postgres what has become of the runs that ended."""
        done: list[_Run] = []
        for run in tuple(self._runs.values()):
            if not run.task.done():
                continue
            outcome = _outcome(run)
            match outcome:
                case Outcome.DONE:
                    done.append(run)
                case Outcome.RAISED | Outcome.AWAY:
                    await self._give_back(connection, run, outcome, _failure(run.task))
                case Outcome.STOPPED:
                    await self._give_back(connection, run, outcome, None)
                case Outcome.LOST:
                    self._forget(run, Outcome.LOST)
                case Outcome.REPLACED:
                    raise AssertionError("only giving a job back finds that it was replaced")
                case _:
                    assert_never(outcome)
        if done:
            held = await store.end(
                connection, self._tables, owner=self._owner, jobs=[run.job for run in done]
            )
            for run in done:
                is_held = run.job.delivery.job_id in held
                self._forget(run, Outcome.DONE if is_held else Outcome.LOST)

    async def _give_back(
        self,
        connection: asyncpg.Connection,
        run: _Run,
        outcome: Outcome,
        failure: Failure | None,
    ) -> None:
        is_fault, pause = outcome is Outcome.RAISED, 0.0
        if failure is not None:
            bound = _PAUSE.bound_seconds(run.job.failures) if is_fault else _AWAY_SECONDS
            pause = _jittered(bound)
        result = await store.give_back(
            connection,
            self._tables,
            owner=self._owner,
            job=run.job,
            pause_seconds=pause,
            failure=failure,
        )
        match result:
            case Return.WAITS:
                pass
            case Return.REPLACED:
                outcome = Outcome.REPLACED
            case Return.NOT_HELD:
                outcome = Outcome.LOST
            case Return.BLOCKED:
                return
            case _:
                assert_never(result)
        if failure is not None and is_fault:
            _log.error(
                "job_raised",
                job_id=run.job.delivery.job_id,
                job_kind=run.job.delivery.kind,
                error_type=failure.error_type,
                error=failure.message,
                stack=failure.stack,
                outcome=outcome,
                failures=run.job.failures + 1,
                retry_seconds=round(pause, 3),
            )
        self._forget(run, outcome)

    def _forget(self, run: _Run, outcome: Outcome) -> None:
        delivery = run.job.delivery
        del self._runs[delivery.job_id]
        if outcome in {Outcome.AWAY, Outcome.LOST, Outcome.REPLACED, Outcome.STOPPED}:
            _log.warning(
                "job_not_done",
                job_id=delivery.job_id,
                job_kind=delivery.kind,
                outcome=outcome,
                reason=_reason(run.task),
            )
        attributes = {telemetry.JOB_KIND: delivery.kind, telemetry.OUTCOME: str(outcome)}
        telemetry.jobs_ended.add(1, attributes)
        end = run.end if run.end is not None else time.monotonic()
        telemetry.job_duration.record(end - run.start, attributes)

    async def _take(self, connection: asyncpg.Connection) -> None:
        free = self._concurrency - len(self._runs)
        if self._stop.is_set() or free <= 0:
            return
        jobs = await store.take(
            connection,
            self._tables,
            owner=self._owner,
            kinds=self._handlers,
            limit=free,
            stale_seconds=self._times.stale_seconds,
        )
        for job in jobs:
            delivery = job.delivery
            # A worker that was frozen after its heartbeat may take what it has in hand.
            if delivery.job_id in self._runs:
                continue
            if delivery.number > job.failures + 1:
                telemetry.jobs_come_again.add(1, {telemetry.JOB_KIND: delivery.kind})
                _log.warning(
                    "job_comes_again",
                    job_id=delivery.job_id,
                    job_kind=delivery.kind,
                    delivery=delivery.number,
                )
            run = _Run(job, asyncio.create_task(self._handle(job)), time.monotonic())
            self._runs[delivery.job_id] = run
            run.task.add_done_callback(partial(self._ended, run))

    def _ended(self, run: _Run, _: object) -> None:
        run.end = time.monotonic()
        self._wake.set()

    async def _handle(self, job: TakenJob) -> None:
        delivery = job.delivery
        with (
            telemetry.background_span(f"job {delivery.kind}", job.carrier) as span,
            structlog.contextvars.bound_contextvars(job_id=delivery.job_id, job_kind=delivery.kind),
        ):
            span.set_attribute(telemetry.JOB_KIND, delivery.kind)
            span.set_attribute(telemetry.JOB_ID, delivery.job_id)
            span.set_attribute(telemetry.JOB_DELIVERY, delivery.number)
            await self._handlers[delivery.kind](delivery)

    async def _look_after(self, connection: asyncpg.Connection) -> None:
        now = time.monotonic()
        if now >= self._measure_at:
            self._measure_at = now + _MEASURE_SECONDS
            await self._measure(connection)
        if now >= self._prune_at:
            self._prune_at = now + _PRUNE_SECONDS
            await store.prune_history(connection, self._tables)

    async def _measure(self, connection: asyncpg.Connection) -> None:
        depths = {each.kind: each for each in await store.depth(connection, self._tables)}
        self._measured_kinds.update(depths)
        for kind in self._measured_kinds:
            depth = depths.get(kind)
            attributes = {telemetry.JOB_KIND: kind}
            telemetry.jobs_waiting.set(depth.waiting if depth else 0, attributes)
            telemetry.jobs_delayed.set(depth.delayed if depth else 0, attributes)
            telemetry.jobs_running.set(depth.running if depth else 0, attributes)
            telemetry.jobs_oldest_waiting.set(
                depth.oldest_waiting_seconds if depth else 0.0, attributes
            )

    def _is_over(self) -> bool:
        """Return whether there is nothing more to do; cancel the handlers when their grace ends."""
        if not self._stop.is_set():
            return False
        now = time.monotonic()
        if self._cancel_at is None:
            self._cancel_at = now + self._times.grace_seconds
        if now >= self._cancel_at:
            for run in self._runs.values():
                _cancel(run, Outcome.STOPPED)
        return not self._runs or now >= self._cancel_at + _CANCEL_SECONDS

    async def _abandon(self) -> None:
        """Cancel what is left; those jobs come again when their heartbeats have been missed."""
        if not self._runs:
            return
        for run in self._runs.values():
            _cancel(run, Outcome.STOPPED)
        _log.error("jobs_abandoned", job_ids=sorted(self._runs))
        await asyncio.wait([run.task for run in self._runs.values()], timeout=_CANCEL_SECONDS)


def _cancel(run: _Run, outcome: Outcome) -> None:
    if run.cancelled_as is None and not run.task.done():
        run.cancelled_as = outcome
        run.task.cancel()


def _outcome(run: _Run) -> Outcome:
    if run.cancelled_as is Outcome.LOST:
        return Outcome.LOST
    if not run.task.cancelled():
        match run.task.exception():
            case None:
                return Outcome.DONE
            case StoreUnavailableError():
                return Outcome.AWAY
            case _:
                return Outcome.RAISED
    # A handler that cancels itself has not done its job.
    return run.cancelled_as or Outcome.RAISED


def _reason(task: "asyncio.Task[None]") -> str:
    """Return which store was away; empty where none was."""
    error = task.exception() if task.done() and not task.cancelled() else None
    return redact_text(error.message) if isinstance(error, StoreUnavailableError) else ""


def _failure(task: "asyncio.Task[None]") -> Failure:
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    assert error is not None
    return Failure(
        error_type=type(error).__qualname__,
        message=redact_text(str(error)),
        stack=redact_text("".join(traceback.format_exception(error))),
    )


def _milliseconds(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def _jittered(seconds: float) -> float:
    """Return between half and all of it, so that those who failed together do not meet again."""
    return random.uniform(seconds / 2, seconds)  # noqa: S311


def _measure_statement(statement: Any) -> None:  # noqa: ANN401 - a record of an untyped library
    telemetry.record_statement(statement.query, statement.elapsed, statement.exception)
