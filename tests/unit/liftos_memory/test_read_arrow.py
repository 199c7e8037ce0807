"""Arrow payloads: one whole stream, or an error; never a part of it."""

from contextlib import suppress

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_kit.core.errors import ArrowInvalidError
from liftos_memory.usecases.batches import read_arrow


def _stream(table: pa.Table, rows_a_batch: int) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows_a_batch)
    return bytes(sink.getvalue())


_tables = st.lists(
    st.tuples(st.text(max_size=5), st.none() | st.integers(-(2**63), 2**63 - 1)), max_size=12
).map(
    lambda rows: pa.table(
        {
            "campaign_id": pa.array([text for text, _ in rows], pa.string()),
            "clicks": pa.array([number for _, number in rows], pa.int64()),
        }
    )
)
_streams = st.tuples(_tables, st.integers(1, 5))


@given(_streams)
def test_a_whole_stream_is_read_as_it_was_written(made: tuple[pa.Table, int]) -> None:
    """However many batches it has."""
    table, rows_a_batch = made
    assert read_arrow(_stream(table, rows_a_batch)).equals(table)


@given(_streams, st.data())
def test_no_part_of_a_stream_is_taken_for_the_whole(
    made: tuple[pa.Table, int], data: st.DataObject
) -> None:
    """A stream that is cut anywhere, also between two batches, is refused."""
    whole = _stream(*made)
    length = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ArrowInvalidError):
        read_arrow(whole[:length])


def test_bytes_that_are_no_stream_are_named_as_such() -> None:
    """The reader's own words come after what was being read."""
    with pytest.raises(ArrowInvalidError, match=r"^the 9 bytes are no valid Arrow IPC stream: "):
        read_arrow(b"date,cost")


@given(_streams, st.binary(min_size=1, max_size=40))
def test_nothing_may_follow_a_stream(made: tuple[pa.Table, int], rest: bytes) -> None:
    """Not a few bytes, and not another stream: they would be lost without a word."""
    whole = _stream(*made)
    for more in (rest, whole):
        with pytest.raises(ArrowInvalidError, match="one stream a request"):
            read_arrow(whole + more)


@given(_streams, st.data())
def test_damaged_streams_are_read_or_refused(
    made: tuple[pa.Table, int], data: st.DataObject
) -> None:
    """Flipped bytes are an error of the payload or another value, and nothing else."""
    damaged = bytearray(_stream(*made))
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=4)):
        damaged[place] = data.draw(st.integers(0, 255))
    with suppress(ArrowInvalidError):
        table = read_arrow(bytes(damaged))
        assert len(table.to_pylist()) == table.num_rows
