"""A stream of batches that goes on by itself after a lost connection.

Messages are numbered. At most four wait for their acknowledgement; they are kept until it comes.
After UNAVAILABLE the stream asks how far the service has committed (`GetStreamPosition`), forgets
what is committed, and sends the rest again: each batch is applied exactly once.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeAlias

import grpc

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1.entry_pb2 import Entry, EntryBatch
from liftos.memory.v1.slice_pb2 import Lineage, SliceScope
from liftos_client.calls import Calls, backoff_seconds
from liftos_client.errors import (
    FrameError,
    LiftosError,
    NotFoundError,
    ServiceFaultError,
    UnavailableError,
    decode_error,
)
from liftos_client.write_result import WriteResult

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from grpc.aio import StreamStreamCall

    from liftos.memory.v1.memory_service_pb2_grpc import MemoryServiceAsyncStub

    Rows: TypeAlias = Sequence[Entry] | pa.Table | pa.RecordBatch | pd.DataFrame
    _Call: TypeAlias = StreamStreamCall[pb.IngestEntriesRequest, pb.IngestEntriesResponse]

MAXIMUM_UNACKNOWLEDGED: Final = 4
MAXIMUM_TYPED_ROWS: Final = 500
_ABORT_SECONDS: Final = 5.0
_CUT_OFF: Final = "Internal error from Core"


@dataclass(slots=True)
class PendingMessage:
    """A message whose acknowledgement has not come."""

    message: pb.IngestEntriesRequest
    rows: int = 0
    first_row: int = 0
    answer: pb.IngestEntriesResponse | None = None


class IngestStream:
    """Writes entries over one stream; use it in `async with`, from one task.

    A slice that an earlier writer of the same stream left open is aborted at the beginning.

    Attributes:
        result: What the stream did so far; final after `async with`.
        checkpoint: The last checkpoint that was committed when the stream was opened.
    """

    def __init__(
        self,
        stub: "MemoryServiceAsyncStub",
        calls: Calls,
        *,
        parent: str,
        stream_id: str,
        origin: str,
        fence_scope: str = "",
        fencing_epoch: int | None = None,
        resume_seconds: float = 300.0,
        on_progress: Callable[[WriteResult], None] | None = None,
    ) -> None:
        self._stub = stub
        self._calls = calls
        self._parent = parent
        self._stream_id = stream_id
        self._origin = origin
        self._fence_scope = fence_scope
        self._fencing_epoch = fencing_epoch
        self._resume_seconds = resume_seconds
        self._on_progress = on_progress
        self.result = WriteResult()
        self.checkpoint = b""
        self._next_sequence = 1
        self._given_rows = 0
        # In order of sequence; the first `_sent` of them are on their way.
        self._pending: deque[PendingMessage] = deque()
        self._sent = 0
        # How many may be on their way. After a failure it is one until that is acknowledged, so
        # that a refusal is not hidden behind a write that it cut off.
        self._window = MAXIMUM_UNACKNOWLEDGED
        self._failure: Exception | None = None
        self._closing = False
        self._changed = asyncio.Condition()
        self._runner: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        position = await self._position()
        self.checkpoint = position.checkpoint
        self.result.last_sequence = position.last_sequence
        self.result.write_token = position.write_token
        self._next_sequence = position.last_sequence + 1
        self._runner = asyncio.create_task(self._run())
        if position.open_slice:
            abort = pb.SliceAbort(reason="its writer began again")
            await self.send(pb.IngestEntriesRequest(abort_slice=abort))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._runner is not None, "entered"
        try:
            if error is None:
                await self.flush()
                async with self._changed:
                    self._closing = True
                    self._changed.notify_all()
                await asyncio.wait({self._runner})
        finally:
            self._runner.cancel()
            # Unlike awaiting it, this tells its cancellation from that of the present task.
            await asyncio.wait({self._runner})

    async def write(self, rows: "Rows", *, checkpoint: bytes = b"") -> None:
        """Send rows; returns once they are on their way, not when they are committed.

        Args:
            rows: Entries, or the columns of an entry in Arrow or pandas; see
                `liftos_client.frames.table_of_frame` for what a frame may have.
            checkpoint: Kept in the same transaction as the last of the rows, at most 64 KiB.

        Raises:
            FrameError: The columns or values of a frame do not fit, and nothing of the rows was
                sent; or a row is too large for a message, and those before it may have been.
            LiftosError: The stream has failed; rows before may be committed or not.
        """
        await self._send_all(_batches(rows), checkpoint)

    async def _send_all(
        self, batches: AsyncIterator[tuple[int, pb.IngestEntriesRequest]], checkpoint: bytes
    ) -> None:
        """Send messages, each with its number of rows, the last one with the checkpoint."""
        held: tuple[int, pb.IngestEntriesRequest] | None = None
        async for batch in batches:
            if held is not None:
                row_count, message = held
                await self.send(message, rows=row_count)
            held = batch
        if held is not None:
            row_count, message = held
            message.checkpoint = checkpoint
            await self.send(message, rows=row_count)
        elif checkpoint:
            raise FrameError("there are no rows to keep the checkpoint with")

    async def delete(
        self, keys: "pa.Table | pa.RecordBatch | pd.DataFrame", *, checkpoint: bytes = b""
    ) -> None:
        """Delete entries of the stream's origin; returns once the keys are on their way.

        Those of other origins stand and count as unchanged, what is gone counts as vanished, and a
        key that is not there as neither.

        Args:
            keys: Columns of the natural key in Arrow or pandas: date, platform, level and
                account_id, and those of its other columns that are not empty.
            checkpoint: Kept in the same transaction as the last of the deletions, at most 64 KiB.

        Raises:
            FrameError: The columns or values of a frame do not fit, and nothing was sent.
            LiftosError: The stream has failed; what was sent before may be committed or not.
        """
        await self._send_all(_deletions(keys), checkpoint)

    async def flush(self) -> None:
        """Wait until all that was sent is committed.

        Raises:
            LiftosError: The stream has failed.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: not self._pending or self._failure is not None)
        if self._failure is not None:
            raise self._failure

    def slice(
        self,
        scope: SliceScope,
        lineage: Lineage | None = None,
        *,
        final: bool = False,
        raw: bytes = b"",
    ) -> "SliceWriter":
        """Replace all entries of a scope by what is written within `async with`, as a whole.

        Args:
            scope: What is replaced.
            lineage: Where the rows come from.
            final: True where the platform no longer restates these days.
            raw: The platform's raw answer, at most 8 MiB; may also be set on the writer later.
        """
        opening = pb.SliceOpening(scope=scope, lineage=lineage, final=final)
        return SliceWriter(self, opening, raw)

    async def send(self, message: pb.IngestEntriesRequest, *, rows: int = 0) -> PendingMessage:
        """Number a message and put it in line, once fewer than four wait for acknowledgement."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: len(self._pending) < MAXIMUM_UNACKNOWLEDGED or self._failure is not None
            )
            if self._failure is not None:
                raise self._failure
            if self._runner is None or self._runner.done() or self._closing:
                raise RuntimeError("the stream is not open; write within its `async with`")
            message.parent = self._parent
            message.stream_id = self._stream_id
            message.sequence = self._next_sequence
            message.origin = self._origin
            message.fence_scope = self._fence_scope
            if self._fencing_epoch is not None:
                message.fencing_epoch = self._fencing_epoch
            pending = PendingMessage(message, rows=rows, first_row=self._given_rows)
            self._next_sequence += 1
            self._given_rows += rows
            self._pending.append(pending)
            self._changed.notify_all()
            return pending

    async def _position(self) -> pb.GetStreamPositionResponse:
        request = pb.GetStreamPositionRequest(parent=self._parent, stream_id=self._stream_id)
        try:
            return await self._calls.unary(self._stub.GetStreamPosition, request, None)
        except NotFoundError:
            return pb.GetStreamPositionResponse()

    async def _run(self) -> None:
        """Keep a call open until the stream is closed; its one background task."""
        now = asyncio.get_running_loop().time
        failures, failing_since = 0, 0.0
        while True:
            committed = self.result.last_sequence
            try:
                if failures:
                    await self._forget_committed()
                await self._converse()
            except LiftosError as error:
                failure: LiftosError = error
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                # The channel was closed: this task has to go on, or writers would wait for ever.
                failure = _ended_early()
            except Exception as error:
                # A fault of the client must not leave writers waiting.
                await self._fail(error)
                return
            else:
                return
            if self._closing and not self._pending:
                return
            if self.result.last_sequence > committed or not failures:
                failures, failing_since = 0, now()
            failures += 1
            self._window = 1
            if not failure.retriable or now() - failing_since >= self._resume_seconds:
                await self._fail(failure)
                return
            await asyncio.sleep((failure.retry_after_seconds or 0.0) + backoff_seconds(failures))

    async def _converse(self) -> None:
        """Send what is pending and read acknowledgements over one call, until it ends."""
        self._sent = 0
        call = self._calls.open(self._stub.IngestEntries)
        reader = asyncio.create_task(self._read(call))
        writer = asyncio.create_task(self._write(call))
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            if writer.done():
                writer.result()
            await reader
        except grpc.aio.AioRpcError as error:
            # A call that ends while something is written is given this status by gRPC in place of
            # the server's own, which is learnt by trying again.
            cut_off = error.code() is grpc.StatusCode.INTERNAL and error.details() == _CUT_OFF
            if cut_off or error.code() is grpc.StatusCode.CANCELLED:
                raise _ended_early() from None
            raise decode_error(error) from None
        finally:
            call.cancel()
            reader.cancel()
            writer.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)
        if self._pending or not self._closing:
            raise _ended_early()

    async def _write(self, call: "_Call") -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(
                    lambda: self._sent < min(len(self._pending), self._window) or self._closing
                )
            try:
                if not self._pending:
                    await call.done_writing()
                    return
                message = self._pending[self._sent].message
                self._sent += 1
                await call.write(message)
            except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
                # The call has ended; its status, which the reader has, says why.
                return

    async def _read(self, call: "_Call") -> None:
        while True:
            answer = await call.read()
            if not isinstance(answer, pb.IngestEntriesResponse):
                return
            if not self._sent or self._pending[0].message.sequence != answer.sequence:
                raise ServiceFaultError(
                    f"the service acknowledged message {answer.sequence} out of order",
                    code=grpc.StatusCode.INTERNAL,
                )
            pending = self._pending.popleft()
            self._sent -= 1
            self._window = MAXIMUM_UNACKNOWLEDGED
            pending.answer = answer
            self._count(pending, answer)
            await self._tell_progress()

    async def _tell_progress(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self.result)
        async with self._changed:
            self._changed.notify_all()

    def _count(self, pending: PendingMessage, answer: pb.IngestEntriesResponse) -> None:
        result = self.result
        result.row_count += pending.rows
        result.last_sequence = answer.sequence
        result.write_token = answer.write_token
        result.add_errors(answer.item_errors, first_row=pending.first_row)
        if answer.duplicate:
            result.unreported_count += pending.rows
        elif not (answer.slice and pending.rows):
            # Rows of an open slice are only staged; its commit counts what became of them.
            result.upserted_count += answer.upserted_count
            result.unchanged_count += answer.unchanged_count
            result.vanished_count += answer.vanished_count

    async def _forget_committed(self) -> None:
        """Drop messages that were committed although their acknowledgement did not arrive."""
        position = await self._position()
        while self._pending and self._pending[0].message.sequence <= position.last_sequence:
            pending = self._pending.popleft()
            self.result.row_count += pending.rows
            self.result.unreported_count += pending.rows
            self.result.last_sequence = pending.message.sequence
            self.result.write_token = position.write_token
            await self._tell_progress()

    async def _fail(self, failure: Exception) -> None:
        self._failure = failure
        async with self._changed:
            self._changed.notify_all()


class SliceWriter:
    """A slice that is being written; made by `IngestStream.slice`.

    It is committed at the end of `async with`, and aborted where that is left by an exception.
    Refused rows do not keep it from being committed: call `stream.flush()` and look at
    `stream.result` before the end where they should.

    Attributes:
        raw: The platform's raw answer, kept compressed with the slice.
        name: `orgs/{org}/slices/{slice}`, known after `async with`; empty where the connection was
            lost just when the slice was opened and again when it was committed.
    """

    def __init__(self, stream: IngestStream, opening: pb.SliceOpening, raw: bytes) -> None:
        self._stream = stream
        self._opening = opening
        self.raw = raw
        self.name = ""

    async def __aenter__(self) -> Self:
        message = pb.IngestEntriesRequest(open_slice=self._opening)
        self._opened = await self._stream.send(message)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            commit = pb.IngestEntriesRequest()
            # Set in its place and given up here, since each copy is as large as the answer.
            commit.commit_slice.raw, self.raw = self.raw, b""
            closed = await self._stream.send(commit)
            await self._stream.flush()
        else:
            abort = pb.SliceAbort(reason=f"its writer failed: {type(error).__name__}")
            # The error of the body is the one to tell; the next writer aborts what stays open.
            with suppress(LiftosError, TimeoutError):
                async with asyncio.timeout(_ABORT_SECONDS):
                    await self._stream.send(pb.IngestEntriesRequest(abort_slice=abort))
                    await self._stream.flush()
            return
        answers = (self._opened.answer, closed.answer)
        self.name = next((answer.slice for answer in answers if answer and answer.slice), "")

    async def write(self, rows: "Rows", *, checkpoint: bytes = b"") -> None:
        """Send rows of the slice; see `IngestStream.write`."""
        await self._stream.write(rows, checkpoint=checkpoint)


def _ended_early() -> UnavailableError:
    return UnavailableError(
        "the server ended the stream before its time", code=grpc.StatusCode.UNAVAILABLE
    )


async def _batches(rows: "Rows") -> AsyncIterator[tuple[int, pb.IngestEntriesRequest]]:
    """Split rows into messages, each with its number of rows."""
    if isinstance(rows, Sequence):
        for start in range(0, len(rows), MAXIMUM_TYPED_ROWS):
            part = rows[start : start + MAXIMUM_TYPED_ROWS]
            yield len(part), pb.IngestEntriesRequest(rows=EntryBatch(entries=part))
        return
    async for row_count, data in _arrow_streams(rows):
        yield row_count, pb.IngestEntriesRequest(arrow=data)


async def _deletions(
    keys: "pa.Table | pa.RecordBatch | pd.DataFrame",
) -> AsyncIterator[tuple[int, pb.IngestEntriesRequest]]:
    """Split keys into messages, each with its number of keys."""
    async for row_count, data in _arrow_streams(keys):
        yield row_count, pb.IngestEntriesRequest(delete_arrow=data)


async def _arrow_streams(
    rows: "pa.Table | pa.RecordBatch | pd.DataFrame",
) -> AsyncIterator[tuple[int, bytes]]:
    """Split columns into Arrow IPC streams, each with its number of rows."""
    from liftos_client.frames import split_rows  # noqa: PLC0415  # pandas is slow to load

    parts = split_rows(rows)
    # Turning columns into bytes takes long enough to hold up the loop.
    while (part := await asyncio.to_thread(next, parts, None)) is not None:
        yield part
