"""Reading one slice: from a platform, through the mapping, into Memory, whole or not at all.

The objects of an account are a slice too, which is read into the ledger.
"""

import asyncio
import random
from collections.abc import AsyncIterable, Callable
from concurrent.futures import Executor
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeAlias, assert_never
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog

from liftos_ingestion.connection_ports import ConnectionOpener, OpenConnection
from liftos_ingestion.domain.failures import (
    MAXIMUM_ATTEMPTS,
    ErrorClass,
    Failure,
    NotReadyError,
    ReadingError,
)
from liftos_ingestion.domain.rate_limits import Priority
from liftos_ingestion.quota_ports import RateGovernor
from liftos_ingestion.run_ports import (
    OBJECTS,
    EntryWriter,
    HeldSlice,
    Hold,
    HoldLostError,
    LeaseEndedError,
    Loss,
    RunLedger,
    SliceResult,
    SliceWriter,
    Usage,
    WaitReason,
)
from liftos_ingestion.source_ports import (
    Page,
    PlatformAccount,
    PlatformJob,
    PlatformObject,
    PlatformSource,
    ReadRequest,
    SourceCatalog,
)
from liftos_ingestion.usecases.byte_budget import ByteBudget
from liftos_ingestion.usecases.gate import GovernedGate
from liftos_ingestion.usecases.intake import Intake
from liftos_kit.core.clock import Clock
from liftos_kit.core.errors import DomainError, StoreUnavailableError
from liftos_kit.core.retry import Backoff

LEASE_SECONDS: Final = 15.0
"""How long a lane stays held by a worker that has fallen silent."""

_LOOK_SECONDS: Final = 1.5
"""How often a worker asks whether it may go on; a cancelled run is let go within that time."""

BYTES_IN_HAND: Final = 8 * 1024 * 1024
"""Bytes of answers that all slices of a worker parse, map and write at a time."""

_OBJECTS_AT_ONCE: Final = 1_000
"""Objects of an account that a worker holds before they are kept."""

_OUTAGE_SECONDS: Final = 10.0
"""When a slice is tried again that a store of ours kept from being read."""

_BACKOFF: Final = Backoff(base_seconds=2.0, maximum_seconds=600.0)

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.ingestion")


@dataclass(frozen=True, slots=True)
class ObjectsResult:
    """How many objects of an account were kept."""

    count: int


_Attempt: TypeAlias = asyncio.Task[SliceResult | ObjectsResult]
"""Ends with what was committed or kept."""


@dataclass(frozen=True, slots=True)
class AttemptMeasure:
    """What one try of a slice came to, for metrics.

    Attributes:
        platform: What was read.
        row_count: Rows of a committed slice; 0 of any other.
        usage: What was used.
        error_class: Why it failed; None where it did not.
        loss: How its lane was lost; None where it was not.
    """

    platform: str
    row_count: int
    usage: Usage
    error_class: ErrorClass | None
    loss: Loss | None = None


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a try ended, as far as it is measured; one that waits or was let go has nothing."""

    row_count: int = 0
    error_class: ErrorClass | None = None
    loss: Loss | None = None


class Reading:
    """Reads slices; every ending is recorded in the ledger.

    Args:
        ledger: Where slices are taken from, and what became of them.
        connections: Gives credentials.
        catalog: What can be read.
        governor: Limits that all workers share.
        writer: Memory.
        executor: Where rows are mapped.
        clock: Now.
        worker: The name of this worker.
        bytes_in_hand: Bytes of answers that all slices together parse, map and write at a time.
        on_attempt: Told of every try, however it ended.
    """

    def __init__(
        self,
        *,
        ledger: RunLedger,
        connections: ConnectionOpener,
        catalog: SourceCatalog,
        governor: RateGovernor,
        writer: EntryWriter,
        executor: Executor,
        clock: Clock,
        worker: str,
        bytes_in_hand: int = BYTES_IN_HAND,
        on_attempt: Callable[[AttemptMeasure], None] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._connections = connections
        self._catalog = catalog
        self._governor = governor
        self._writer = writer
        self._executor = executor
        self._clock = clock
        self._worker = worker
        self._on_attempt = on_attempt
        self._budget = ByteBudget(bytes_in_hand)

    async def read(self, org: str, slice_id: UUID) -> None:
        """Read a slice, where it is due and its lane is free; otherwise do nothing."""
        held = await self._ledger.claim(
            org, slice_id, worker=self._worker, lease_seconds=LEASE_SECONDS
        )
        if held is None:
            return
        gate = GovernedGate(
            self._governor,
            org=held.lane.org,
            caller=held.slice.hex,
            priority=Priority(held.priority),
            run=held.run.hex,
            budget=self._budget,
        )
        attempt = asyncio.create_task(self._attempt(held, gate), name=f"read {slice_id.hex}")
        ending = _Ending()
        try:
            if await self._watch(held, attempt, gate):
                ending = await self._conclude(held, attempt, gate)
            else:
                await self._ledger.let_go(held, gate.usage)
        except LeaseEndedError as error:
            # Whoever finds the lane free reads the slice anew.
            _log.warning("slice_lease_ended", slice=slice_id.hex, reason=str(error.__cause__))
            ending = _Ending(loss=Loss.LEASE_ENDED)
        except HoldLostError:
            _log.warning("slice_lost", slice=slice_id.hex, epoch=held.epoch)
            ending = _Ending(loss=Loss.TAKEN)
        except asyncio.CancelledError:
            await _end(attempt)
            # Where the store is away, the lane is free once its lease has ended.
            with suppress(StoreUnavailableError):
                await self._ledger.let_go(held, gate.usage)
            raise
        finally:
            await _end(attempt)
            await gate.leave()
            self._on_attempt(
                AttemptMeasure(
                    held.lane.platform,
                    ending.row_count,
                    gate.usage,
                    ending.error_class,
                    ending.loss,
                )
            )

    async def _watch(self, held: HeldSlice, attempt: _Attempt, gate: GovernedGate) -> bool:
        """Wait for the attempt while the slice is held; False where it had to be stopped.

        Raises:
            HoldLostError: Another worker has the lane.
            LeaseEndedError: The lease has ended, and could not be extended.
        """
        now = asyncio.get_running_loop().time
        held_until = now() + LEASE_SECONDS
        while True:
            await asyncio.wait({attempt}, timeout=_LOOK_SECONDS)
            if attempt.done():
                return True
            asked = now()
            try:
                hold = await self._ledger.extend(held, lease_seconds=LEASE_SECONDS)
            except StoreUnavailableError as error:
                # Nobody else takes the lane before the lease ends; after that Memory refuses us.
                if now() >= held_until:
                    raise LeaseEndedError from error
                _log.warning("slice_not_extended", slice=held.slice.hex, reason=error.message)
                continue
            match hold:
                case Hold.HELD:
                    held_until = asked + LEASE_SECONDS
                    await gate.renew()
                case Hold.LOST:
                    raise HoldLostError
                case Hold.CANCELLED | Hold.SUSPENDED:
                    _log.info("slice_stopped", slice=held.slice.hex, reason=hold.name.lower())
                    await _end(attempt)
                    return False
                case _:
                    assert_never(hold)

    async def _conclude(self, held: HeldSlice, attempt: _Attempt, gate: GovernedGate) -> _Ending:
        """Record what became of an attempt that is done, and return it.

        Raises:
            HoldLostError: Another worker has the lane; nothing is recorded.
        """
        try:
            result = attempt.result()
        except NotReadyError as wait:
            await self._ledger.park(
                held,
                seconds=wait.seconds,
                reason=WaitReason.QUOTA if wait.quota else WaitReason.PLATFORM_JOB,
                detail=wait.reason,
                counts=False,
                failure=None,
                usage=gate.usage,
            )
        except ReadingError as error:
            return await self._fail(held, error.failure, gate.usage)
        except HoldLostError:
            raise
        except StoreUnavailableError as error:
            # An outage of ours is no failure of the slice, however long it lasts.
            await self._ledger.park(
                held,
                seconds=max(_OUTAGE_SECONDS, error.retry_after_seconds or 0.0),
                reason=WaitReason.STORE,
                detail=error.message,
                counts=False,
                failure=Failure(ErrorClass.TRANSIENT, error.message),
                usage=gate.usage,
            )
        except DomainError as error:
            return await self._fail(held, Failure(ErrorClass.PERMANENT, error.message), gate.usage)
        except Exception as error:
            # A fault of ours: told in full to the log, and tried again like an outage.
            _log.error("slice_failed", slice=held.slice.hex, exc_info=True)
            failure = Failure(
                ErrorClass.TRANSIENT,
                f"A fault of the worker ({type(error).__name__}); its log says more.",
            )
            return await self._fail(held, failure, gate.usage)
        else:
            match result:
                case SliceResult():
                    await self._ledger.finish(held, result, gate.usage)
                    return _Ending(row_count=result.row_count)
                case ObjectsResult():
                    await self._ledger.finish_objects(held, result.count, gate.usage)
                case _:
                    assert_never(result)
        return _Ending()

    async def _fail(self, held: HeldSlice, failure: Failure, usage: Usage) -> _Ending:
        ending = _Ending(error_class=failure.error_class)
        too_large = failure.error_class is ErrorClass.TOO_LARGE
        if (too_large or failure.fewer_days) and held.end_date > held.start_date:
            await self._ledger.split(held, failure, usage)
            return ending
        disposition = failure.disposition
        exhausted = disposition.costs_attempt and held.attempt >= MAXIMUM_ATTEMPTS
        if exhausted or not disposition.retried:
            await self._ledger.give_up(held, failure, usage)
            return ending
        wait = random.uniform(0.5, 1.0) * _BACKOFF.bound_seconds(held.attempt)  # noqa: S311
        await self._ledger.park(
            held,
            seconds=max(wait, failure.retry_after_seconds or 0.0),
            reason=WaitReason.RETRY if disposition.costs_attempt else WaitReason.QUOTA,
            detail=failure.message,
            counts=disposition.costs_attempt,
            failure=failure,
            usage=usage,
        )
        return ending

    async def _attempt(self, held: HeldSlice, gate: GovernedGate) -> SliceResult | ObjectsResult:
        lane = held.lane
        connection = await self._connections.open(lane.org, held.connection)
        account = connection.account(lane.account_id)
        source = await self._catalog.source(lane.org, connection.platform)
        if account is None:
            raise ReadingError(
                Failure(ErrorClass.PERMANENT, "The account is gone; start another run.")
            )
        if lane.level == OBJECTS:
            async with (
                source.open(connection.credential, connection.settings, gate) as session,
                aclosing(session.objects(account)) as objects,
            ):
                return await self._keep(held, objects)
        return await self._numbers(held, gate, connection, account, source)

    async def _keep(self, held: HeldSlice, objects: AsyncIterable[PlatformObject]) -> ObjectsResult:
        """Keep objects as they come."""
        count, found = 0, list[PlatformObject]()
        async for it in objects:
            found.append(it)
            count += 1
            if len(found) == _OBJECTS_AT_ONCE:
                await self._ledger.keep_objects(held, found)
                found = []
        if found:
            await self._ledger.keep_objects(held, found)
        return ObjectsResult(count)

    async def _numbers(
        self,
        held: HeldSlice,
        gate: GovernedGate,
        connection: OpenConnection,
        account: PlatformAccount,
        source: PlatformSource,
    ) -> SliceResult:
        lane = held.lane
        request = ReadRequest(
            account=account,
            level=lane.level,
            date_basis=lane.date_basis,
            attribution_key=lane.attribution_key,
            start_date=held.start_date,
            end_date=held.end_date,
        )
        today = self._clock.now().astimezone(ZoneInfo(account.time_zone)).date()
        final_through = today - timedelta(days=source.capabilities.restatement_days + 1)
        intake = Intake(source, request, final_through, self._executor)
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(
                source.open(connection.credential, connection.settings, gate)
            )
            writer: SliceWriter | None = None

            async def opened(first: Page | None) -> SliceWriter:
                return await stack.enter_async_context(
                    self._writer.slice(
                        held,
                        request,
                        source=source.platform,
                        api_version=source.capabilities.api_version,
                        fetch_time=self._clock.now(),
                        request_id=first.request_id if first else "",
                        query_hash=first.query_hash if first else "",
                    )
                )

            async with aclosing(session.read(request, held.platform_job)) as items:
                async for item in items:
                    if isinstance(item, PlatformJob):
                        await self._ledger.keep_job(held, item)
                        continue
                    # Only now: until a platform's job is done nothing is open in Memory.
                    writer = writer or await opened(item)
                    async with gate.in_hand(item.size_bytes):
                        await intake.take(item, writer)
            writer = writer or await opened(None)
            return await intake.commit(writer)


async def _end(task: _Attempt) -> None:
    task.cancel()
    await asyncio.wait({task})
