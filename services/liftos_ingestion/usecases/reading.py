"""Reading one slice: from a platform, through the mapping, into Memory, whole or not at all.

The objects of an account are a slice too, which is read into the ledger.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import Final, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from liftos_ingestion.connection_ports import ConnectionOpener, OpenConnection
from liftos_ingestion.domain.day_sums import DaySums, last_of_each, row_keys
from liftos_ingestion.domain.failures import (
    MAXIMUM_ATTEMPTS,
    ErrorClass,
    Failure,
    NotReadyError,
    ReadingError,
)
from liftos_ingestion.domain.rate_limits import Limit, Observation, Priority, Renewal
from liftos_ingestion.quota_ports import Admitted, Parked, RateGovernor
from liftos_ingestion.run_ports import (
    OBJECTS,
    DeadLetter,
    EntryWriter,
    HeldSlice,
    Hold,
    HoldLostError,
    RunLedger,
    SliceResult,
    SliceWriter,
    Usage,
    WaitReason,
)
from liftos_ingestion.source_ports import (
    JsonObject,
    Page,
    PlatformAccount,
    PlatformJob,
    PlatformObject,
    PlatformSource,
    ReadRequest,
    SourceCatalog,
)
from liftos_kit.core.clock import Clock
from liftos_kit.core.errors import DomainError, StoreUnavailableError
from liftos_kit.core.retry import Backoff
from liftos_mapping.engine import TransformContext, TransformResult, days_of, evaluate

LEASE_SECONDS: Final = 15.0
"""How long a lane stays held by a worker that has fallen silent."""

_LOOK_SECONDS: Final = 1.5
"""How often a worker asks whether it may go on; a cancelled run is let go within that time."""

_RAW_BYTES: Final = 8 * 1024 * 1024
"""The largest raw answer that Memory keeps with a slice."""

_PAGES_AT_ONCE: Final = 3
"""Pages of all slices of a worker that are mapped and written at a time, to bound its memory."""

_UNANSWERED_ROWS: Final = 10_000
"""Rows of a slice that Memory may still have to answer for when the next page is taken."""

_OUTAGE_SECONDS: Final = 10.0
"""When a slice is tried again that a store of ours kept from being read."""

_PATIENCE_SECONDS: Final = 70.0
"""How long a reading that has begun waits for a limit: a little over a window of one minute. One
that gave up each time would begin anew, and never end where it needs more than a window holds."""

_BACKOFF: Final = Backoff(base_seconds=2.0, maximum_seconds=600.0)

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.ingestion")

_Problem: TypeAlias = tuple[str, str, str]
"""Field, code and message of a rule that a row breaks."""

_Attempt: TypeAlias = "asyncio.Task[SliceResult | Sequence[PlatformObject]]"


@dataclass(frozen=True, slots=True)
class AttemptMeasure:
    """What one try of a slice came to, for metrics.

    Attributes:
        platform: What was read.
        row_count: Rows of a committed slice; 0 of any other.
        usage: What was used.
        error_class: Why it failed; None where it did not.
    """

    platform: str
    row_count: int
    usage: Usage
    error_class: ErrorClass | None


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
        on_attempt: Told of every try that ended.
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
        self._pages = asyncio.Semaphore(_PAGES_AT_ONCE)

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
        )
        attempt = asyncio.create_task(self._attempt(held, gate), name=f"read {slice_id.hex}")
        try:
            if await self._watch(held, attempt, gate):
                await self._conclude(held, attempt, gate)
            else:
                await self._ledger.let_go(held, gate.usage)
        except HoldLostError:
            _log.warning("slice_lost", slice=slice_id.hex, epoch=held.epoch)
        except asyncio.CancelledError:
            await _end(attempt)
            await self._ledger.let_go(held, gate.usage)
            raise
        finally:
            await _end(attempt)
            await gate.leave()

    async def _watch(self, held: HeldSlice, attempt: _Attempt, gate: "GovernedGate") -> bool:
        """Wait for the attempt while the slice is held; False where it had to be stopped."""
        while True:
            await asyncio.wait({attempt}, timeout=_LOOK_SECONDS)
            if attempt.done():
                return True
            match await self._ledger.extend(held, lease_seconds=LEASE_SECONDS):
                case Hold.HELD:
                    await gate.renew()
                case Hold.LOST:
                    raise HoldLostError
                case Hold.CANCELLED | Hold.SUSPENDED as hold:
                    _log.info("slice_stopped", slice=held.slice.hex, reason=hold.name.lower())
                    await _end(attempt)
                    return False

    async def _conclude(self, held: HeldSlice, attempt: _Attempt, gate: "GovernedGate") -> None:
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
            await self._fail(held, error.failure, gate.usage)
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
            await self._fail(held, Failure(ErrorClass.PERMANENT, error.message), gate.usage)
        except Exception as error:
            # A fault of ours: told in full to the log, and tried again like an outage.
            _log.error("slice_failed", slice=held.slice.hex, exc_info=True)
            failure = Failure(
                ErrorClass.TRANSIENT,
                f"A fault of the worker ({type(error).__name__}); its log says more.",
            )
            await self._fail(held, failure, gate.usage)
        else:
            if isinstance(result, SliceResult):
                await self._ledger.finish(held, result, gate.usage)
                self._measure(held, gate.usage, row_count=result.row_count)
            else:
                await self._ledger.finish_objects(held, result, gate.usage)
                self._measure(held, gate.usage)

    def _measure(
        self,
        held: HeldSlice,
        usage: Usage,
        *,
        row_count: int = 0,
        error_class: ErrorClass | None = None,
    ) -> None:
        self._on_attempt(AttemptMeasure(held.lane.platform, row_count, usage, error_class))

    async def _fail(self, held: HeldSlice, failure: Failure, usage: Usage) -> None:
        self._measure(held, usage, error_class=failure.error_class)
        too_large = failure.error_class is ErrorClass.TOO_LARGE
        if too_large and held.end_date > held.start_date:
            await self._ledger.split(held, failure, usage)
            return
        disposition = failure.disposition
        exhausted = disposition.costs_attempt and held.attempt >= MAXIMUM_ATTEMPTS
        if exhausted or not disposition.retried:
            await self._ledger.give_up(held, failure, usage)
            return
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

    async def _attempt(
        self, held: HeldSlice, gate: "GovernedGate"
    ) -> SliceResult | Sequence[PlatformObject]:
        lane = held.lane
        connection = await self._connections.open(lane.org, held.connection)
        account = connection.account(lane.account_id)
        source = await self._catalog.source(lane.org, connection.platform)
        if account is None:
            raise ReadingError(
                Failure(ErrorClass.PERMANENT, "The account is gone; start another run.")
            )
        if lane.level == OBJECTS:
            async with source.open(connection.credential, connection.settings, gate) as session:
                return [it async for it in session.objects(account)]
        return await self._numbers(held, gate, connection, account, source)

    async def _numbers(
        self,
        held: HeldSlice,
        gate: "GovernedGate",
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
        intake = _Intake(source, request, final_through, self._executor)
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(
                source.open(connection.credential, connection.settings, gate)
            )
            writer: SliceWriter | None = None

            async def opened() -> SliceWriter:
                return await stack.enter_async_context(
                    self._writer.slice(
                        held,
                        request,
                        source=source.platform,
                        api_version=source.capabilities.api_version,
                        fetch_time=self._clock.now(),
                    )
                )

            async for item in session.read(request, held.platform_job):
                if isinstance(item, PlatformJob):
                    await self._ledger.keep_job(held, item)
                    continue
                # Only now: until a platform's job is done nothing is open in Memory.
                writer = writer or await opened()
                async with self._pages:
                    await intake.take(item, writer)
            writer = writer or await opened()
            return await intake.commit(writer, final_through)


@dataclass(slots=True)
class _Pending:
    """A page of which Memory has not answered for all rows."""

    first_row: int
    end_row: int
    page: Page
    source_index: Sequence[int]


class _Intake:
    """Takes the pages of one slice in, and keeps account of every row."""

    def __init__(
        self,
        source: PlatformSource,
        request: ReadRequest,
        final_through: date,
        executor: Executor,
    ) -> None:
        self._source = source
        self._request = request
        self._final_through = final_through
        self._executor = executor
        self._sums = DaySums()
        self._raw: list[bytes] = []
        self._raw_bytes = 0
        self._row_count = 0
        self._written_count = 0
        self._pending: deque[_Pending] = deque()
        self._dead_letters: list[DeadLetter] = []

    async def take(self, page: Page, writer: SliceWriter) -> None:
        """Map a page and send its entries on."""
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(self._executor, self._map, page)
        self._row_count += len(page.rows)
        self._raw_bytes += len(page.raw)
        if self._raw_bytes <= _RAW_BYTES:
            self._raw.append(page.raw)
        else:
            # A part of the answer would look like the whole.
            self._raw.clear()
        self._refuse_unmapped(page, result)
        rows = result.table.num_rows
        if rows:
            end = self._written_count + rows
            self._pending.append(_Pending(self._written_count, end, page, result.source_index))
            self._written_count = end
            await writer.write(_known_columns(result.table))
            if self._written_count - writer.acknowledged_count >= _UNANSWERED_ROWS:
                await writer.flush()
        self._collect_refused(writer)

    async def commit(self, writer: SliceWriter, final_through: date) -> SliceResult:
        """Commit the slice once Memory has answered for every row."""
        await writer.flush()
        self._collect_refused(writer)
        raw = b"\n".join(self._raw)
        self._raw.clear()
        written = await writer.commit(raw)
        return SliceResult(
            memory_slice=written.memory_slice,
            row_count=self._row_count,
            upserted_count=written.upserted_count,
            restated_count=written.restated_count,
            vanished_count=written.vanished_count,
            dead_letters=self._dead_letters,
            day_sums={
                day: sums
                for day, sums in self._sums.by_day().items()
                if self._request.start_date <= day <= self._request.end_date
            },
            final_through=final_through,
        )

    def _context(self, page: Page) -> TransformContext:
        account = self._request.account
        return replace(
            page.context,
            account_id=account.account_id,
            account_name=page.context.account_name or account.display_name or None,
            currency_code=account.currency_code or None,
            time_zone=account.time_zone,
            level=self._request.level,
            date_basis=self._request.date_basis,
        )

    def _map(self, page: Page) -> TransformResult:
        result = evaluate(self._source.mapping, page.rows, self._context(page))
        table = result.table
        final = pc.less_equal(table["date"], pa.scalar(self._final_through, pa.date32()))
        table = table.set_column(table.schema.get_field_index("final"), "final", final)
        keys = row_keys(table)
        kept = last_of_each(keys)
        if not kept.all():
            table = table.filter(pa.array(kept))
            index = [it for it, stays in zip(result.source_index, kept, strict=True) if stays]
            result = replace(result, source_index=index)
        self._sums.add(table, keys[kept])
        return replace(result, table=table)

    def _refuse_unmapped(self, page: Page, result: TransformResult) -> None:
        errors: dict[int, list[_Problem]] = {}
        for error in result.errors:
            errors.setdefault(error.index, []).append((error.field, error.code, error.message))
        self._refuse(page, errors, counted=False)

    def _collect_refused(self, writer: SliceWriter) -> None:
        """Keep what Memory has refused, and forget the pages that it has answered for."""
        errors: dict[int, list[_Problem]] = {}
        for refused in writer.refused():
            it = (refused.field, refused.code, refused.message)
            errors.setdefault(refused.index, []).append(it)
        for pending in self._pending if errors else ():
            of_page: dict[int, list[_Problem]] = {}
            for row in range(pending.first_row, pending.end_row):
                if row in errors:
                    index = pending.source_index[row - pending.first_row]
                    of_page.setdefault(index, []).extend(errors[row])
            self._refuse(pending.page, of_page, counted=True)
        while self._pending and self._pending[0].end_row <= writer.acknowledged_count:
            self._pending.popleft()

    def _refuse(
        self, page: Page, errors: Mapping[int, Sequence[_Problem]], *, counted: bool
    ) -> None:
        """Keep rows of a page, by their positions, as dead letters."""
        if not errors:
            return
        rows = [page.rows[index] for index in errors]
        context = {k: v for k, v in asdict(self._context(page)).items() if v not in (None, (), "")}
        self._dead_letters += [
            DeadLetter(row, context, day, found, counted)
            for row, day, found in zip(rows, self._days(page, rows), errors.values(), strict=True)
        ]

    def _days(self, page: Page, rows: Sequence[JsonObject]) -> Sequence[date | None]:
        """Return the day of each row, as far as it can be read."""
        shared = page.context.date
        day = date.fromisoformat(shared) if isinstance(shared, str) else shared
        if self._source.mapping.grouping is not None:
            # Its columns are made of several rows.
            return [day] * len(rows)
        return [own or day for own in days_of(self._source.mapping, rows)]


def _known_columns(rows: pa.Table) -> pa.Table:
    """Return the columns in which a row says anything; Memory takes the others for unset."""
    return rows.select([it for it in rows.column_names if rows[it].null_count < rows.num_rows])


class GovernedGate:
    """Leave to call for one session; see `liftos_ingestion.source_ports.CallGate`.

    Args:
        governor: Limits that all workers share.
        org: Whose limits they are.
        caller: Who asks, one call at a time, such as a slice of a run.
        priority: Who goes first.
    """

    def __init__(
        self, governor: RateGovernor, *, org: str, caller: str, priority: Priority
    ) -> None:
        self._governor = governor
        self._org = org
        self._caller = caller
        self._priority = priority
        self._leased: list[Admitted] = []
        self._calls = 0
        self._bytes = 0

    @property
    def org(self) -> str:
        """Whose limits they are."""
        return self._org

    @property
    def usage(self) -> Usage:
        """What was used so far."""
        return Usage(self._calls, self._bytes)

    async def enter(self, limits: Sequence[Limit], *, is_poll: bool = False) -> None:
        """Ask for leave for one call; wait for it a while once others were made."""
        waited = 0.0
        while isinstance(answer := await self._admit(limits), Parked):
            waited += answer.wait_seconds
            if not self._calls or waited > _PATIENCE_SECONDS:
                raise NotReadyError(answer.reason, seconds=answer.wait_seconds, quota=True)
            await asyncio.sleep(answer.wait_seconds)
        if any(limit.renewal is Renewal.LEASED for limit in limits):
            self._leased.append(answer)
        self._calls += not is_poll

    async def _admit(self, limits: Sequence[Limit]) -> Admitted | Parked:
        return await self._governor.admit(limits, caller=self._caller, priority=self._priority)

    async def observe(self, observations: Sequence[Observation]) -> None:
        """Tell what the platform said of its limits."""
        if observations:
            await self._governor.observe(observations)

    def received(self, size_bytes: int) -> None:
        """Count bytes as they came over the wire."""
        self._bytes += size_bytes

    async def renew(self) -> None:
        """Hold leased units for another lease; one that is lost is missed at the next call."""
        with suppress(StoreUnavailableError):
            for admitted in self._leased:
                await self._governor.renew(admitted)

    async def leave(self) -> None:
        """Give leased units back; those that cannot be end with their lease."""
        with suppress(StoreUnavailableError):
            for admitted in self._leased:
                await self._governor.release(admitted)


async def _end(task: _Attempt) -> None:
    task.cancel()
    await asyncio.wait({task})
