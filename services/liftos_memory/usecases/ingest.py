"""Writing entries: single batches, and streams that are resumed by sequence."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import date
from typing import Final, TypeVar, assert_never
from uuid import UUID

import pyarrow as pa

from liftos_kit.core.errors import (
    SequenceError,
    StateTransitionError,
)
from liftos_kit.core.repeatable import AnsweredBeforeError, Repeatable
from liftos_memory.domain.entry_rules import RowError, RowErrorCode
from liftos_memory.ports import (
    EntryStore,
    EntryWrite,
    OpenSlice,
    SliceCounts,
    StreamPosition,
    UpsertCounts,
    WriteContext,
)
from liftos_memory.usecases.batches import (
    PreparedBatch,
    PreparedKeys,
    prepare_batch,
    prepare_keys,
    prepare_together,
)
from liftos_memory.usecases.stream_messages import (
    AbortSliceAction,
    Acknowledgement,
    CheckedMessages,
    CommitSliceAction,
    DeleteAction,
    MessageGroup,
    OpenSliceAction,
    Rows,
    StreamMessage,
    StreamOrder,
)

_CHECKED_AHEAD: Final = 2
_KEPT_ORGS: Final = 4_096
_NOTHING: Final = UpsertCounts(0, 0)

_Prepared = TypeVar("_Prepared", PreparedBatch, PreparedKeys)


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What a batch did. `version` is the org's after the write."""

    counts: UpsertCounts
    errors: tuple[RowError, ...]
    version: int


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
        prepared = await self._prepare(org, self._batch(rows, None))
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

        While messages are written the next ones are already being checked. Typed batches that wait
        at the same time share their checks and their commit; every message is answered for itself.

        Raises:
            SequenceError: A sequence is missing.
            StateTransitionError: A slice action does not fit what the stream has open.
        """
        position = await self._store.stream_position(org, stream_id)
        version = position.version
        groups: asyncio.Queue[MessageGroup | None] = asyncio.Queue(_CHECKED_AHEAD)
        reader = asyncio.create_task(self._read_ahead(org, position, messages, groups))
        try:
            while (group := await groups.get()) is not None:
                if group.is_duplicate:
                    for message in group.messages:
                        yield Acknowledgement(message.sequence, version, duplicate=True)
                    continue
                for checked in await self._start_checks(org, group):
                    for done in await self._apply(org, stream_id, checked):
                        version = done.version
                        yield done
            await reader
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            while not groups.empty():
                group = groups.get_nowait()
                if group is not None and group.checking is not None:
                    group.checking.cancel()

    async def _read_ahead(
        self,
        org: str,
        position: StreamPosition,
        messages: AsyncIterator[StreamMessage],
        groups: "asyncio.Queue[MessageGroup | None]",
    ) -> None:
        """Queue messages in groups; None ends the queue.

        The checks of a group begin when no further message can join it, or else when the writer
        has nothing more to do.
        """
        order = StreamOrder(position)
        group: MessageGroup | None = None
        try:
            async for message in messages:
                following = order.group(message)
                if group is None or not group.join(following):
                    if group is not None:
                        self._start_checks(org, group)
                    group = following
                if group.is_full:
                    self._start_checks(org, group)
                if group is following:
                    await groups.put(group)
        except asyncio.CancelledError:
            # The writer has gone: nobody makes room in the queue any more.
            if group is not None and group.checking is not None:
                group.checking.cancel()
            raise
        except Exception:
            await groups.put(None)
            raise
        await groups.put(None)

    def _start_checks(
        self, org: str, group: MessageGroup
    ) -> asyncio.Future[Sequence[CheckedMessages]]:
        """Begin the checks of a group, if they are not under way."""
        if group.checking is None:
            group.checking = asyncio.ensure_future(self._check(org, group))
        return group.checking

    async def _check(self, org: str, group: MessageGroup) -> Sequence[CheckedMessages]:
        """Check messages as one where that can be, and else each on its own."""
        if len(group.messages) > 1:
            together = await self._check_together(org, group)
            if together is not None:
                return [together]
        return [await self._check_one(org, message, group.opened) for message in group.messages]

    async def _check_one(
        self, org: str, message: StreamMessage, opened: OpenSlice | OpenSliceAction | None
    ) -> CheckedMessages:
        match message.action:
            case Rows() as rows:
                prepared = await self._prepare(org, self._batch(rows, opened))
                return CheckedMessages([message], prepared, [prepared.rows.num_rows])
            case DeleteAction(read):
                keys = await self._prepare(org, self._keys(read))
                return CheckedMessages([message], keys=keys)
            case _:
                return CheckedMessages([message])

    async def _apply(
        self, org: str, stream_id: str, group: CheckedMessages
    ) -> list[Acknowledgement]:
        context = group.messages[0].context
        if not context.fence_scope:
            context = replace(context, fence_scope=stream_id)
        if group.prepared is not None:
            await self._store.prepare_days(group.prepared.days())
        async with self._store.write(org, context) as write:
            position = await write.lock_stream(stream_id)
            rest = group.after(position.last_sequence)
            applied = group.messages[: len(group.messages) - len(rest.messages)]
            done = [Acknowledgement(each.sequence, 0, duplicate=True) for each in applied]
            if rest.messages:
                first = rest.messages[0].sequence
                if first != position.last_sequence + 1:
                    raise SequenceError(expected=position.last_sequence + 1, received=first)
                acknowledged, opened = await self._act(write, stream_id, position, rest)
                done += acknowledged
                given = [each.checkpoint for each in rest.messages if each.checkpoint is not None]
                await write.advance_stream(
                    stream_id,
                    sequence=rest.messages[-1].sequence,
                    checkpoint=given[-1] if given else position.checkpoint,
                    fencing_epoch=context.fencing_epoch or 0,
                    open_slice=opened,
                )
        for message, each in zip(group.messages, done, strict=True):
            if not each.duplicate:
                # Staged rows become entries, and count, at the commit of their slice.
                is_staged = group.prepared is not None and each.slice is not None
                self._measure(
                    message.arrived,
                    _NOTHING if is_staged else each.counts,
                    refused=_refused(each.errors),
                    vanished=each.vanished,
                )
        return [replace(each, version=write.version) for each in done]

    async def _act(
        self, write: EntryWrite, stream_id: str, position: StreamPosition, group: CheckedMessages
    ) -> tuple[list[Acknowledgement], UUID | None]:
        """Do what the messages ask for.

        Returns their acknowledgements and the slice that is open then.
        """
        opened = position.open_slice
        message = group.messages[0]
        match message.action:
            case Rows():
                return await self._write_rows(write, opened, group)
            case OpenSliceAction(scope, lineage, final):
                if opened is not None:
                    raise _slice_is_open(stream_id, "before the next")
                slice_id = await write.open_slice(stream_id, scope, lineage, final=final)
                return [Acknowledgement(message.sequence, 0, slice=slice_id)], slice_id
            case CommitSliceAction(raw):
                if opened is None:
                    raise _no_slice_is_open(stream_id, "commit")
                counts_of_slice = await write.commit_slice(opened, raw)
                return [_committed(message.sequence, opened.slice, counts_of_slice)], None
            case AbortSliceAction(reason):
                if opened is None:
                    raise _no_slice_is_open(stream_id, "abort")
                await write.abort_slice(opened.slice, reason)
                return [Acknowledgement(message.sequence, 0, slice=opened.slice)], None
            case DeleteAction():
                if opened is not None:
                    raise _slice_is_open(stream_id, "before you delete")
                return [await _delete(write, message.sequence, group.keys)], None
            case _:
                assert_never(message.action)

    async def _write_rows(
        self, write: EntryWrite, opened: OpenSlice | None, group: CheckedMessages
    ) -> tuple[list[Acknowledgement], UUID | None]:
        prepared = group.prepared
        assert prepared is not None
        slice_id = None if opened is None else opened.slice
        counts: Sequence[UpsertCounts]
        if slice_id is None:
            counts = await write.upsert_parts(prepared.rows, group.sizes)
        else:
            await write.stage(slice_id, prepared.rows)
            counts = [UpsertCounts(size, 0) for size in group.sizes]
        return [
            Acknowledgement(message.sequence, 0, count, prepared.errors, slice=slice_id)
            for message, count in zip(group.messages, counts, strict=True)
        ], slice_id

    async def _check_together(self, org: str, group: MessageGroup) -> CheckedMessages | None:
        """Check the batches of a group as one; None where each has to be checked on its own."""
        known = self._platforms.get(org)
        if known is None:
            return None
        actions = [message.action for message in group.messages]
        batches = [action for action in actions if isinstance(action, Rows)]

        def prepare() -> PreparedBatch | None:
            return prepare_together(
                [rows.read() for rows in batches],
                today=self._today(),
                known_platforms=known,
                scope=None if group.opened is None else group.opened.scope,
                final=group.opened is not None and group.opened.final,
            )

        prepared = await asyncio.get_running_loop().run_in_executor(self._executor, prepare)
        if prepared is None:
            return None
        sizes = [rows.typed_count for rows in batches]
        return CheckedMessages(group.messages, prepared, sizes)

    async def _prepare(self, org: str, prepare: Callable[[frozenset[str]], _Prepared]) -> _Prepared:
        """Run a check, which is given the platforms that are known, in the executor."""
        run = asyncio.get_running_loop().run_in_executor
        known = self._platforms.get(org)
        fresh = known is None
        if known is None:
            if len(self._platforms) >= _KEPT_ORGS:
                self._platforms.clear()
            known = self._platforms[org] = await self._store.platforms(org)
        prepared = await run(self._executor, prepare, known)
        if not fresh and any(
            error.code is RowErrorCode.UNKNOWN_PLATFORM for error in prepared.errors
        ):
            # Sources are only ever added: one that is unknown may be new.
            known = self._platforms[org] = await self._store.platforms(org)
            prepared = await run(self._executor, prepare, known)
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

    def _batch(
        self, rows: Rows, opened: OpenSlice | OpenSliceAction | None
    ) -> Callable[[frozenset[str]], PreparedBatch]:
        return lambda known_platforms: prepare_batch(
            rows.read(),
            today=self._today(),
            known_platforms=known_platforms,
            scope=None if opened is None else opened.scope,
            final=opened is not None and opened.final,
        )

    def _keys(self, read: Callable[[], pa.Table]) -> Callable[[frozenset[str]], PreparedKeys]:
        return lambda known_platforms: prepare_keys(
            read(), today=self._today(), known_platforms=known_platforms
        )


def _refused(errors: Sequence[RowError]) -> int:
    return len({error.index for error in errors})


async def _delete(write: EntryWrite, sequence: int, keys: PreparedKeys | None) -> Acknowledgement:
    assert keys is not None, "checked"
    counts = await write.delete(keys.days, keys.digests)
    return Acknowledgement(
        sequence, 0, UpsertCounts(0, counts.kept), keys.errors, vanished=counts.deleted
    )


def _slice_is_open(stream_id: str, before: str) -> StateTransitionError:
    return StateTransitionError(
        f"stream {stream_id}",
        state="SLICE_OPEN",
        allowed_states=["NO_SLICE_OPEN"],
        message=f"Stream {stream_id} has an open slice; commit or abort it {before}.",
    )


def _no_slice_is_open(stream_id: str, verb: str) -> StateTransitionError:
    return StateTransitionError(
        f"stream {stream_id}",
        state="NO_SLICE_OPEN",
        allowed_states=["SLICE_OPEN"],
        message=f"Stream {stream_id} has no open slice to {verb}; open one first.",
    )


def _committed(sequence: int, slice_id: UUID, counts: SliceCounts) -> Acknowledgement:
    upserted = counts.inserted + counts.restated + counts.settled
    return Acknowledgement(
        sequence,
        0,
        UpsertCounts(upserted, counts.rows - upserted),
        slice=slice_id,
        vanished=counts.vanished,
    )
