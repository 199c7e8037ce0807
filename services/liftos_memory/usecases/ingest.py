"""Writing entries: single batches, and streams that are resumed by sequence."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final, assert_never
from uuid import UUID

import pyarrow as pa

from liftos_kit.core.errors import (
    InvalidFieldsError,
    SequenceError,
    StateTransitionError,
)
from liftos_kit.core.repeatable import AnsweredBeforeError, Repeatable
from liftos_memory.domain.entry_rules import RowError, RowErrorCode
from liftos_memory.domain.slices import MAXIMUM_DAYS, Lineage, SliceScope
from liftos_memory.ports import (
    EntryStore,
    EntryWrite,
    OpenSlice,
    SliceCounts,
    StreamPosition,
    UpsertCounts,
    WriteContext,
)
from liftos_memory.usecases.batches import PreparedBatch, prepare_batch

_PREPARED_AHEAD: Final = 2
_KEPT_ORGS: Final = 4_096
_NOTHING: Final = UpsertCounts(0, 0)


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What a batch did. `version` is the org's after the write."""

    counts: UpsertCounts
    errors: tuple[RowError, ...]
    version: int


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch of rows, decoded when its turn comes."""

    read: Callable[[], pa.Table | pa.RecordBatch]


@dataclass(frozen=True, slots=True)
class OpenSliceAction:
    """Open a slice; batches after it belong to it."""

    scope: SliceScope
    lineage: Lineage
    final: bool


@dataclass(frozen=True, slots=True)
class CommitSliceAction:
    """Replace the open slice's scope by its batches."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class AbortSliceAction:
    """Give the open slice up."""

    reason: str


Action = Rows | OpenSliceAction | CommitSliceAction | AbortSliceAction


@dataclass(frozen=True, slots=True)
class StreamMessage:
    """One message of a stream; `checkpoint` None keeps the one from before."""

    sequence: int
    action: Action
    context: WriteContext
    checkpoint: bytes | None
    arrived: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What one message did, after its commit."""

    sequence: int
    version: int
    counts: UpsertCounts = _NOTHING
    errors: tuple[RowError, ...] = ()
    duplicate: bool = False
    slice: UUID | None = None
    vanished: int = 0


@dataclass(frozen=True, slots=True)
class BatchMeasure:
    """One message that was committed.

    Attributes:
        seconds: From its arrival to its commit.
        rows: How many rows were upserted, unchanged, refused or vanished. Those of a slice count
            when it is committed.
    """

    seconds: float
    rows: Mapping[str, int]


class Ingest:
    """Writes entries through the store; checks and scores them in an executor.

    Args:
        store: Where entries are.
        executor: For checks and scores.
        today: The newest day that has begun anywhere.
        on_batch: Told of each message that was committed.
    """

    def __init__(
        self,
        store: EntryStore,
        executor: Executor,
        *,
        today: Callable[[], date],
        on_batch: Callable[[BatchMeasure], None],
    ) -> None:
        self._store = store
        self._executor = executor
        self._today = today
        self._on_batch = on_batch
        self._platforms: dict[str, frozenset[str]] = {}

    async def upsert(
        self,
        org: str,
        rows: Rows,
        context: WriteContext,
        *,
        validate_only: bool = False,
        repeatable: Repeatable[BatchResult] | None = None,
    ) -> BatchResult | bytes:
        """Write one batch.

        Args:
            org: The org.
            rows: The batch.
            context: Who writes.
            validate_only: Check only.
            repeatable: Set where the request carries a request_id.

        Returns:
            The result, or the answer that the same request was given before.
        """
        arrived = time.perf_counter()
        prepared = await self._prepare(org, rows, None)
        if validate_only:
            counts = UpsertCounts(prepared.rows.num_rows, 0)
            return BatchResult(counts, prepared.errors, await self._store.last_version(org))
        await self._store.prepare_days(prepared.days())
        try:
            async with self._store.write(org, context) as write:
                if repeatable is not None:
                    await repeatable.recall(write)
                counts = await write.upsert(prepared.rows)
                result = BatchResult(counts, prepared.errors, await write.finish())
                if repeatable is not None:
                    await repeatable.remember(write, result)
        except AnsweredBeforeError as answered:
            return answered.response
        self._measure(arrived, counts, refused=_refused(prepared.errors))
        return result

    async def stream(
        self, org: str, stream_id: str, messages: AsyncIterator[StreamMessage]
    ) -> AsyncIterator[Acknowledgement]:
        """Apply the messages of a stream in order and acknowledge each after its commit.

        While one message is written the next one is already being checked.

        Raises:
            SequenceError: A sequence is missing.
            StateTransitionError: A slice action does not fit what the stream has open.
        """
        position = await self._store.stream_position(org, stream_id)
        last_sequence = position.last_sequence
        ahead: asyncio.Queue[tuple[StreamMessage, asyncio.Future[PreparedBatch] | None] | None]
        ahead = asyncio.Queue(_PREPARED_AHEAD)
        reader = asyncio.create_task(self._read_ahead(org, position, messages, ahead))
        try:
            while (item := await ahead.get()) is not None:
                message, preparing = item
                if message.sequence <= last_sequence:
                    yield Acknowledgement(message.sequence, position.version, duplicate=True)
                    continue
                last_sequence = message.sequence
                prepared = None if preparing is None else await preparing
                done = await self._apply(org, stream_id, message, prepared)
                if not done.duplicate:
                    # Staged rows become entries, and count, at the commit of their slice.
                    is_staged = prepared is not None and done.slice is not None
                    self._measure(
                        message.arrived,
                        _NOTHING if is_staged else done.counts,
                        refused=_refused(done.errors),
                        vanished=done.vanished,
                    )
                yield done
            await reader
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            while not ahead.empty():
                item = ahead.get_nowait()
                if item is not None and item[1] is not None:
                    item[1].cancel()

    async def _read_ahead(
        self,
        org: str,
        position: StreamPosition,
        messages: AsyncIterator[StreamMessage],
        ahead: "asyncio.Queue[tuple[StreamMessage, asyncio.Future[PreparedBatch] | None] | None]",
    ) -> None:
        """Queue messages with the checks of their batches under way; None ends the queue."""
        opened: OpenSlice | OpenSliceAction | None = position.open_slice
        last_sequence = position.last_sequence
        preparing: asyncio.Future[PreparedBatch] | None = None
        try:
            async for message in messages:
                preparing = None
                if message.sequence > last_sequence:
                    if message.sequence != last_sequence + 1:
                        raise SequenceError(expected=last_sequence + 1, received=message.sequence)
                    last_sequence = message.sequence
                    match message.action:
                        case Rows() as rows:
                            preparing = asyncio.ensure_future(self._prepare(org, rows, opened))
                        case OpenSliceAction() as action:
                            _check_scope(action.scope)
                            opened = action
                        case CommitSliceAction() | AbortSliceAction():
                            opened = None
                        case _:
                            assert_never(message.action)
                await ahead.put((message, preparing))
        except asyncio.CancelledError:
            # The writer has gone: nobody makes room in the queue any more.
            if preparing is not None:
                preparing.cancel()
            raise
        except Exception:
            await ahead.put(None)
            raise
        await ahead.put(None)

    async def _apply(
        self, org: str, stream_id: str, message: StreamMessage, prepared: PreparedBatch | None
    ) -> Acknowledgement:
        context = message.context
        if not context.fence_scope:
            context = replace(context, fence_scope=stream_id)
        if prepared is not None:
            await self._store.prepare_days(prepared.days())
        async with self._store.write(org, context) as write:
            position = await write.lock_stream(stream_id)
            if message.sequence <= position.last_sequence:
                done = Acknowledgement(message.sequence, position.version, duplicate=True)
            elif message.sequence != position.last_sequence + 1:
                raise SequenceError(expected=position.last_sequence + 1, received=message.sequence)
            else:
                done, opened = await self._act(write, stream_id, position, message, prepared)
                await write.advance_stream(
                    stream_id,
                    sequence=message.sequence,
                    checkpoint=position.checkpoint
                    if message.checkpoint is None
                    else message.checkpoint,
                    fencing_epoch=context.fencing_epoch or 0,
                    open_slice=opened,
                )
        return replace(done, version=write.version)

    async def _act(
        self,
        write: EntryWrite,
        stream_id: str,
        position: StreamPosition,
        message: StreamMessage,
        prepared: PreparedBatch | None,
    ) -> tuple[Acknowledgement, UUID | None]:
        """Do what a message asks for.

        Returns its acknowledgement and the slice that is open then.
        """
        opened = position.open_slice
        match message.action:
            case Rows():
                assert prepared is not None
                if opened is None:
                    counts = await write.upsert(prepared.rows)
                    return Acknowledgement(message.sequence, 0, counts, prepared.errors), None
                staged = await write.stage(opened.slice, prepared.rows)
                return Acknowledgement(
                    message.sequence,
                    0,
                    UpsertCounts(staged, 0),
                    prepared.errors,
                    slice=opened.slice,
                ), opened.slice
            case OpenSliceAction(scope, lineage, final):
                if opened is not None:
                    raise _slice_state_error(stream_id, "OPEN", ["rows", "commit", "abort"])
                slice_id = await write.open_slice(stream_id, scope, lineage, final=final)
                return Acknowledgement(message.sequence, 0, slice=slice_id), slice_id
            case CommitSliceAction(raw):
                if opened is None:
                    raise _slice_state_error(stream_id, "NONE_OPEN", ["rows", "open"])
                counts_of_slice = await write.commit_slice(opened, raw)
                return _committed(message.sequence, opened.slice, counts_of_slice), None
            case AbortSliceAction(reason):
                if opened is None:
                    raise _slice_state_error(stream_id, "NONE_OPEN", ["rows", "open"])
                await write.abort_slice(opened.slice, reason)
                return Acknowledgement(message.sequence, 0, slice=opened.slice), None
            case _:
                assert_never(message.action)

    async def _prepare(
        self, org: str, rows: Rows, opened: OpenSlice | OpenSliceAction | None
    ) -> PreparedBatch:
        known = self._platforms.get(org)
        fresh = known is None
        if known is None:
            if len(self._platforms) >= _KEPT_ORGS:
                self._platforms.clear()
            known = self._platforms[org] = await self._store.platforms(org)
        prepared = await self._run_prepare(rows, known, opened)
        if not fresh and any(
            error.code is RowErrorCode.UNKNOWN_PLATFORM for error in prepared.errors
        ):
            # Sources are only ever added: one that is unknown may be new.
            known = self._platforms[org] = await self._store.platforms(org)
            prepared = await self._run_prepare(rows, known, opened)
        return prepared

    def _measure(
        self, arrived: float, counts: UpsertCounts, *, refused: int, vanished: int = 0
    ) -> None:
        rows = {
            "upserted": counts.upserted,
            "unchanged": counts.unchanged,
            "refused": refused,
            "vanished": vanished,
        }
        self._on_batch(BatchMeasure(time.perf_counter() - arrived, rows))

    async def _run_prepare(
        self,
        rows: Rows,
        known_platforms: frozenset[str],
        opened: OpenSlice | OpenSliceAction | None,
    ) -> PreparedBatch:
        def prepare() -> PreparedBatch:
            return prepare_batch(
                rows.read(),
                today=self._today(),
                known_platforms=known_platforms,
                scope=None if opened is None else opened.scope,
                final=opened is not None and opened.final,
            )

        return await asyncio.get_running_loop().run_in_executor(self._executor, prepare)


def _refused(errors: Sequence[RowError]) -> int:
    return len({error.index for error in errors})


def _check_scope(scope: SliceScope) -> None:
    days = (scope.end_date - scope.start_date).days + 1
    if days > MAXIMUM_DAYS:
        raise InvalidFieldsError.of(
            "open_slice.scope.date_range",
            f"has {days} days, and a slice may have {MAXIMUM_DAYS}",
            rule="slice.days",
        )


def _slice_state_error(stream_id: str, state: str, allowed: list[str]) -> StateTransitionError:
    return StateTransitionError(f"stream {stream_id}", state=state, allowed_states=allowed)


def _committed(sequence: int, slice_id: UUID, counts: SliceCounts) -> Acknowledgement:
    upserted = counts.inserted + counts.restated + counts.settled
    return Acknowledgement(
        sequence,
        0,
        UpsertCounts(upserted, counts.rows - upserted),
        slice=slice_id,
        vanished=counts.vanished,
    )
