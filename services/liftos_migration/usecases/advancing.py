"""The work on one migration: its steps in order, and what goes on beside them."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import replace
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import structlog

from liftos_kit.core.clock import pause
from liftos_kit.core.errors import DomainError, StoreUnavailableError
from liftos_kit.core.retry import Backoff
from liftos_kit.redaction import redact_text
from liftos_migration.domain.ledger import JsonObject, Step, StepState
from liftos_migration.domain.migrations import Throttle
from liftos_migration.domain.states import (
    REACHED,
    TO_VERIFIED,
    WORKING,
    MigrationState,
    TransitionError,
)
from liftos_migration.failpoints import failpoint
from liftos_migration.ledger_ports import (
    Lease,
    LeaseLostError,
    Ledger,
    StoredMigration,
    Verdict,
)
from liftos_migration.usecases.holding import Hold
from liftos_migration.usecases.steps import (
    ContinuousWork,
    Source,
    StepContext,
    StepFailedError,
    StepStoppedError,
    StepWork,
)

Result = TypeVar("Result")

WORKER: Final = "worker"
"""Who decides, where the worker does."""

_AGAIN: Final = Backoff(base_seconds=0.5, maximum_seconds=15.0)
_CANCEL_SECONDS: Final = 5.0
_STEADY_SECONDS: Final = 5.0
"""After so long, work that a store had kept waiting is taken to go on."""

_STOPS: Final = {
    MigrationState.PAUSED: "pause",
    MigrationState.HELD: "hold",
    MigrationState.RESNAPSHOT_REQUIRED: "require a new copy",
}

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.migration")


class Plan(Protocol):
    """All that the migrations of a worker consist of."""

    def steps(self, migration: StoredMigration) -> Sequence[StepWork]:
        """Return the steps of a migration up to VERIFIED, those of a state in their order."""
        ...

    def continuous(self, migration: StoredMigration) -> Sequence[ContinuousWork]:
        """Return the work that goes on beside its steps."""
        ...


Connect: TypeAlias = Callable[
    [StoredMigration, Lease], AbstractAsyncContextManager[tuple[Source, Any]]
]
"""Opens the source, and the writer to Core, of a migration."""


class Advance:
    """The work on one migration under one lease."""

    def __init__(
        self,
        ledger: Ledger,
        plan: Plan,
        connect: Connect,
        hold: Hold,
        traced: Callable[[str], AbstractContextManager[object]],
    ) -> None:
        self._ledger = ledger
        self._plan = plan
        self._connect = connect
        self._hold = hold
        self._lease = hold.lease
        self._traced = traced

    async def run(self) -> None:
        """Go on until the migration stops, ends, or the worker does."""
        stored = await self._hold.read()
        while stored.state in WORKING and not self._hold.stop.is_set():
            try:
                async with self._connect(stored, self._lease) as (source, core):
                    await self._through_states(source, core)
            except StepStoppedError:
                pass
            except (LeaseLostError, StoreUnavailableError):
                raise
            except Exception as error:
                await self._stop(_failure(error, "The migration"))
            stored = await self._hold.read()

    async def _through_states(self, source: Source, core: Any) -> None:  # noqa: ANN401
        stored = await self._hold.read()
        while stored.state in WORKING and not self._hold.stop.is_set():
            with self._hold.leg(stored) as leg:
                context = StepContext(
                    lease=self._lease,
                    spec=stored.spec,
                    source=source,
                    core=core,
                    stop=leg.stop,
                    progress=self._hold.tell,
                    throttle=self._throttle,
                    purge=stored.purge,
                )
                if stored.state is MigrationState.ROLLING_BACK:
                    await self._take_back(stored, context)
                else:
                    await self._beside(stored, context)
            stored = await self._hold.read()

    def _throttle(self) -> Throttle:
        assert self._hold.stored is not None, "read before any step"
        return self._hold.stored.spec.throttle

    async def _beside(self, stored: StoredMigration, context: StepContext) -> None:
        """Do the steps of a state, and beside them what goes on in it."""
        ended = asyncio.Event()
        beside = replace(context, stop=ended)

        async def stopped() -> None:
            await context.stop.wait()
            ended.set()

        watch = asyncio.create_task(stopped())
        tasks = [
            asyncio.create_task(self._continue(work, beside))
            for work in self._plan.continuous(stored)
            if stored.state in work.phases
        ]
        tasks.append(asyncio.create_task(self._go_on(stored, context)))
        steps = tasks[-1]
        # The end of the steps, and any failure, let the others end after the batch in hand.
        steps.add_done_callback(lambda _: ended.set())
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            context.stop.set()
            await asyncio.wait(tasks)
        finally:
            for task in (watch, *tasks):
                task.cancel()
            await asyncio.wait({watch, *tasks}, timeout=_CANCEL_SECONDS)
        errors = [task.exception() for task in tasks]
        failures = [error for error in errors if isinstance(error, Exception)]
        if failures:
            raise min(failures, key=_weight)

    async def _continue(self, work: ContinuousWork, context: StepContext) -> None:
        """Run what goes on beside steps, again where a store is away."""
        waits = _AGAIN.waits_seconds(lambda low, high: (low + high) / 2)
        waiting = False
        while not context.stop.is_set():
            running = asyncio.create_task(_one_error(work.run(context)))
            try:
                with self._traced(work.title):
                    done, _ = await asyncio.wait({running}, timeout=_STEADY_SECONDS)
                    if waiting and not done:
                        waiting = False
                        waits = _AGAIN.waits_seconds(lambda low, high: (low + high) / 2)
                        await self._ledger.say(self._lease, "")
                    await running
            except StepStoppedError:
                return
            except StoreUnavailableError as error:
                waiting = True
                await self._wait(work.title, error, context, next(waits))
            except (LeaseLostError, StepFailedError):
                raise
            except Exception as error:
                raise _failure(error, work.title) from error
            finally:
                running.cancel()
                await asyncio.wait({running}, timeout=_CANCEL_SECONDS)

    async def _go_on(self, stored: StoredMigration, context: StepContext) -> None:
        """Do what is left of a state, and go on to the next one where there is one."""
        state = stored.state
        if state not in TO_VERIFIED or state is MigrationState.VERIFIED:
            await context.stop.wait()
            raise StepStoppedError
        following = MigrationState(state + 1)
        phases: list[MigrationState] = [] if state in REACHED else [state]
        if following in REACHED:
            phases.append(following)
        newest = {(step.phase, step.title): step for step in await self._newest()}
        for phase in phases:
            for work in self._plan.steps(stored):
                step = newest.get((work.phase, work.title))
                is_done = (
                    step is not None
                    and step.state is StepState.DONE
                    and step.generation == stored.generation
                )
                if work.phase is phase and not is_done:
                    await self._do(work, context)
        await self._move(stored, following)

    async def _newest(self) -> Sequence[Step]:
        return await self._ledger.newest_steps(self._lease)

    async def _move(self, stored: StoredMigration, after: MigrationState) -> None:
        def decide(present: StoredMigration) -> Verdict | None:
            if (present.place, present.generation) != (stored.place, stored.generation):
                return None  # a person decided otherwise meanwhile
            return Verdict(
                action="go on",
                subject=WORKER,
                reason=f"all steps of {stored.state.name} are done",
                place=stored.place.moved(after),
                state_reason="",
            )

        await self._ledger.decide(self._lease, decide)

    async def _do(self, work: StepWork, context: StepContext) -> None:
        """Do and verify a step, as often as it takes."""
        context.check_stop()
        step = await self._ledger.begin(self._lease, work.phase, work.title, given={})
        _log.info("step_begun", step=work.title, attempt=step.attempt)

        async def done() -> JsonObject:
            await failpoint("step.before_do")
            output = await work.do(context)
            await failpoint("step.after_do")
            await work.verify(context)
            await failpoint("step.after_verify")
            return output

        with self._traced(work.title):
            output = await self._attempted(work.title, step, context, done)
        await self._ledger.finish(self._lease, step, output)
        _log.info("step_done", step=work.title, attempt=step.attempt)

    async def _take_back(self, stored: StoredMigration, context: StepContext) -> None:
        """Undo all steps, the newest first, and end."""
        works = {(work.phase, work.title): work for work in self._plan.steps(stored)}
        for begun in reversed(await self._newest()):
            if begun.state is StepState.UNDONE:
                continue
            work = works.get((begun.phase, begun.title))
            if work is None:
                raise StepFailedError(
                    "STEP_UNKNOWN",
                    f"The step {begun.title!r} was done for another mapping, and is not in this"
                    " one.",
                    "Put what it is about back into the mapping, and resume.",
                )
            await self._undo(work, context)

        def decide(present: StoredMigration) -> Verdict | None:
            if present.place != stored.place or stored.rollback_end is None:
                return None
            return Verdict(
                action="end",
                subject=WORKER,
                reason="all steps are taken back",
                place=stored.place.moved(stored.rollback_end),
            )

        await self._ledger.decide(self._lease, decide)

    async def _undo(self, work: StepWork, context: StepContext) -> None:
        context.check_stop()
        step = await self._ledger.begin(self._lease, work.phase, work.title, given={"undo": True})

        async def undone() -> JsonObject:
            await work.undo(context)
            await failpoint("step.after_undo")
            return {}

        with self._traced(f"undo {work.title}"):
            await self._attempted(work.title, step, context, undone)
        await self._ledger.undo(self._lease, step)
        _log.info("step_undone", step=work.title)

    async def _attempted(
        self,
        title: str,
        step: Step,
        context: StepContext,
        attempt: Callable[[], Coroutine[Any, Any, JsonObject]],
    ) -> JsonObject:
        """Run an attempt of a step, again where a store is away; one that ends early is recorded.

        Raises:
            StepFailedError, StepStoppedError: As the attempt did; the ledger has it.
            LeaseLostError: Another worker has the migration.
        """
        waits = _AGAIN.waits_seconds(lambda low, high: (low + high) / 2)
        waited = False
        while True:
            try:
                output: JsonObject = await _one_error(attempt())
            except StoreUnavailableError as error:
                waited = True
                await self._wait(title, error, context, next(waits))
                if context.stop.is_set():
                    await self._ledger.fail(self._lease, step, f"Stopped: {error.message}")
                    raise StepStoppedError from error
            except StepStoppedError:
                await self._ledger.fail(
                    self._lease, step, "Stopped after the batch in hand; the next attempt goes on."
                )
                raise
            except LeaseLostError:
                raise
            except Exception as error:
                failed = _failure(error, title)
                await self._ledger.fail(self._lease, step, str(failed))
                raise failed from error
            else:
                if waited:
                    await self._ledger.say(self._lease, "")
                return output

    async def _wait(
        self, title: str, error: StoreUnavailableError, context: StepContext, seconds: float
    ) -> None:
        _log.warning("step_waits", step=title, error=error.message)
        await self._ledger.say(
            self._lease, f"{title} waits, and goes on by itself: {error.message}"
        )
        await pause(context.stop, seconds)

    async def _stop(self, error: StepFailedError) -> None:
        """Stop the migration where it is, and say what to do."""

        def decide(present: StoredMigration) -> Verdict | None:
            if present.state not in WORKING:
                return None  # a person stopped it meanwhile
            try:
                place = present.place.moved(error.state)
            except TransitionError:
                place = present.place.moved(MigrationState.PAUSED)
            return Verdict(
                action=_STOPS[place.state],
                subject=WORKER,
                reason=error.message,
                place=place,
                state_reason=str(error).strip(),
                inputs={"code": error.code},
            )

        _log.warning("migration_stopped", code=error.code, reason=str(error))
        await self._ledger.decide(self._lease, decide)


async def _one_error(work: Coroutine[Any, Any, Result]) -> Result:
    """Do some work; of errors of several tasks at once the one that matters most is raised."""
    try:
        return await work
    except ExceptionGroup as group:
        raise min(_leaves(group), key=_weight) from group


def _leaves(group: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _weight(error: Exception) -> int:
    """Return the place of an error among several: what ends more comes first."""
    match error:
        case LeaseLostError():
            return 0
        case StepStoppedError():
            return 4
        case StoreUnavailableError():
            return 3
        case StepFailedError() | DomainError():
            return 2
        case _:
            return 1


def _failure(error: Exception, title: str) -> StepFailedError:
    """Return what a person is told of an error."""
    match error:
        case StepFailedError():
            return error
        case DomainError():
            return StepFailedError(error.reason, f"{title}: {error.message}", "")
        case _:
            _log.error("step_broke", step=title, exc_info=error)
            return StepFailedError(
                "INTERNAL",
                f"{title} broke: {type(error).__name__}: {redact_text(str(error))}.",
                "The log of the worker says more; resume to try it again.",
            )
