"""Which messages of a stream share a commit."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import pyarrow as pa
import pytest

from liftos_kit.core.errors import SequenceError
from liftos_memory.domain.slices import Lineage, SliceScope
from liftos_memory.ports import StreamPosition, WriteContext
from liftos_memory.usecases.batches import PreparedBatch
from liftos_memory.usecases.stream_messages import (
    MAXIMUM_ROWS_TOGETHER,
    AbortSliceAction,
    Action,
    CheckedMessages,
    MessageGroup,
    OpenSliceAction,
    Rows,
    StreamMessage,
    StreamOrder,
)

_SCOPE = SliceScope("meta", "1", 1, date(2026, 1, 1), date(2026, 1, 2), "", 1)
_OPEN = OpenSliceAction(_SCOPE, Lineage(), final=False)


def _rows(typed_count: int) -> Rows:
    return Rows(lambda: pa.table({}), typed_count)


def _groups(
    *actions: Action, last_sequence: int = 0, contexts: Sequence[WriteContext] = ()
) -> list[list[int]]:
    """Return the sequences that share a commit when all messages wait together."""
    order = StreamOrder(StreamPosition(last_sequence=last_sequence))
    groups: list[MessageGroup] = []
    for sequence, action in enumerate(actions, 1):
        context = contexts[sequence - 1] if contexts else WriteContext()
        following = order.group(StreamMessage(sequence, action, context, None))
        if not groups or not groups[-1].join(following):
            groups.append(following)
    return [[message.sequence for message in group.messages] for group in groups]


def test_typed_batches_join_up_to_a_number_of_rows() -> None:
    """A batch that would be too many begins a group of its own."""
    half = MAXIMUM_ROWS_TOGETHER // 2
    assert _groups(*[_rows(half)] * 5) == [[1, 2], [3, 4], [5]]
    assert _groups(_rows(half), _rows(half + 1), _rows(1)) == [[1], [2, 3]]


def test_what_is_no_typed_batch_stands_alone() -> None:
    """Arrow, empty batches and actions on slices are no company for typed batches."""
    assert _groups(_rows(1), _rows(0), _rows(1), _rows(1)) == [[1], [2], [3, 4]]
    assert _groups(_rows(1), _OPEN, _rows(1), _rows(1), AbortSliceAction(""), _rows(1)) == [
        [1],
        [2],
        [3, 4],
        [5],
        [6],
    ]


def test_messages_of_another_writer_stand_alone() -> None:
    """Origin, scope and epoch are those of a whole commit."""
    first = WriteContext(origin="a", fence_scope="s", fencing_epoch=1)
    for other in (
        replace(first, origin="b"),
        replace(first, fence_scope="t"),
        replace(first, fencing_epoch=2),
        replace(first, fencing_epoch=None),
    ):
        groups = _groups(*[_rows(1)] * 4, contexts=[first, first, other, other])
        assert groups == [[1, 2], [3, 4]]


def test_what_was_applied_before_stands_alone() -> None:
    """Nothing new joins a duplicate, nor the other way round."""
    assert _groups(*[_rows(1)] * 4, last_sequence=2) == [[1], [2], [3, 4]]


def test_a_missing_sequence_is_refused() -> None:
    """The error says which one is missing."""
    order = StreamOrder(StreamPosition(last_sequence=4))
    with pytest.raises(SequenceError):
        order.group(StreamMessage(6, _rows(1), WriteContext(), None))


@pytest.mark.parametrize(("sequence", "left"), [(3, "aabbbc"), (4, "bbbc"), (5, "c"), (6, "")])
def test_what_another_connection_has_applied_is_left_out(sequence: int, left: str) -> None:
    """The rows that are left are those of the messages that are left."""
    messages = [StreamMessage(each, _rows(1), WriteContext(), None) for each in (4, 5, 6)]
    rows = pa.table({"letter": list("aabbbc")})
    rest = CheckedMessages(messages, PreparedBatch(rows, ()), [2, 3, 1]).after(sequence)
    assert [message.sequence for message in rest.messages] == list(range(sequence + 1, 7))
    assert rest.prepared is not None
    assert "".join(rest.prepared.rows["letter"].to_pylist()) == left
    assert sum(rest.sizes) == len(left)
