"""Messages of an ingest stream: what they ask for, their order, and which of them share a commit.

The price of a few rows is mostly fixed: that of each call into Arrow and of each statement of a
commit. Typed batches have few rows, so those of a stream that wait at the same time are checked
and committed together. Every message is still acknowledged for itself, after its commit.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, assert_never
from uuid import UUID

import pyarrow as pa

from liftos_kit.core.errors import InvalidFieldsError, SequenceError
from liftos_memory.domain.entry_rules import RowError
from liftos_memory.domain.slices import MAXIMUM_DAYS, Lineage, SliceScope
from liftos_memory.ports import OpenSlice, StreamPosition, UpsertCounts, WriteContext
from liftos_memory.usecases.batches import PreparedBatch, PreparedKeys

MAXIMUM_ROWS_TOGETHER: Final = 1_000
"""Most rows of typed batches that share a commit.

Half of what a client may have under way: one half is checked while the other one is written.
"""

_NOTHING: Final = UpsertCounts(0, 0)


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch of rows, decoded when its turn comes.

    Attributes:
        read: Decodes it.
        typed_count: How many rows it has, where they are typed; 0 otherwise.
    """

    read: Callable[[], pa.Table | pa.RecordBatch]
    typed_count: int = 0


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


@dataclass(frozen=True, slots=True)
class DeleteAction:
    """Delete the entries of natural keys, which are decoded when their turn comes."""

    read: Callable[[], pa.Table]


Action = Rows | OpenSliceAction | CommitSliceAction | AbortSliceAction | DeleteAction


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
class CheckedMessages:
    """Messages that are ready for one commit.

    Attributes:
        messages: In the order of their sequence; several only where all are batches.
        prepared: The rows of all of them, one after the other, where they are batches. Only a
            single message has errors.
        sizes: How many of the rows each message has.
        keys: What a single message deletes.
    """

    messages: Sequence[StreamMessage]
    prepared: PreparedBatch | None = None
    sizes: Sequence[int] = (0,)
    keys: PreparedKeys | None = None

    def after(self, sequence: int) -> "CheckedMessages":
        """Return what is left when all up to a sequence have been applied."""
        applied = sum(message.sequence <= sequence for message in self.messages)
        prepared = self.prepared
        if applied and prepared is not None:
            rows = prepared.rows.slice(sum(self.sizes[:applied]))
            prepared = replace(prepared, rows=rows)
        return CheckedMessages(self.messages[applied:], prepared, self.sizes[applied:], self.keys)


@dataclass(slots=True)
class MessageGroup:
    """Messages that wait for their commit; several only where they may share it.

    Attributes:
        messages: In the order of their sequence.
        opened: The slice that is open when their turn comes.
        typed_count: How many rows they have, where all are typed batches; 0 otherwise.
        is_duplicate: They were applied before.
        checking: Their checks, once under way; from then on no message joins.
    """

    messages: list[StreamMessage]
    opened: OpenSlice | OpenSliceAction | None = None
    typed_count: int = 0
    is_duplicate: bool = False
    checking: asyncio.Future[Sequence[CheckedMessages]] | None = None

    @property
    def is_full(self) -> bool:
        """Whether no message can join."""
        return self.typed_count == 0 or self.typed_count >= MAXIMUM_ROWS_TOGETHER

    def join(self, other: "MessageGroup") -> bool:
        """Take the messages of a group that follows; return False if they may not join."""
        count = self.typed_count + other.typed_count
        if (
            self.checking is not None
            or self.is_full
            or other.is_full
            or count > MAXIMUM_ROWS_TOGETHER
            or self.opened != other.opened
            or self.messages[0].context != other.messages[0].context
        ):
            return False
        self.messages += other.messages
        self.typed_count = count
        return True


class StreamOrder:
    """Follows the messages of a stream: their sequence, and the slice that each one meets.

    Args:
        position: How far the stream has been committed.
    """

    def __init__(self, position: StreamPosition) -> None:
        self._last_sequence = position.last_sequence
        self._opened: OpenSlice | OpenSliceAction | None = position.open_slice

    def group(self, message: StreamMessage) -> MessageGroup:
        """Return the next message as a group of its own.

        Raises:
            SequenceError: A sequence is missing.
            InvalidFieldsError: It opens a slice of too many days.
        """
        if message.sequence <= self._last_sequence:
            return MessageGroup([message], is_duplicate=True)
        if message.sequence != self._last_sequence + 1:
            raise SequenceError(expected=self._last_sequence + 1, received=message.sequence)
        self._last_sequence = message.sequence
        typed_count = 0
        match message.action:
            case Rows() as rows:
                typed_count = rows.typed_count
            case OpenSliceAction() as action:
                _check_scope(action.scope)
                self._opened = action
            case CommitSliceAction() | AbortSliceAction():
                self._opened = None
            case DeleteAction():
                pass
            case _:
                assert_never(message.action)
        return MessageGroup([message], self._opened, typed_count)


def _check_scope(scope: SliceScope) -> None:
    days = (scope.end_date - scope.start_date).days + 1
    if days > MAXIMUM_DAYS:
        raise InvalidFieldsError.of(
            "open_slice.scope.date_range",
            f"has {days} days, and a slice may have {MAXIMUM_DAYS}",
            rule="slice.days",
        )
