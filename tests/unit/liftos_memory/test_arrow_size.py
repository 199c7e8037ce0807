"""Payloads are measured before they are unpacked."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_kit.core.errors import ArrowInvalidError
from liftos_memory.domain.arrow_size import decoded_bytes, decompressed_bytes
from liftos_memory.usecases.batches import read_arrow


def _stream(table: pa.Table, compression: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=100)
    return bytes(sink.getvalue())


def _table(texts: list[str | None]) -> pa.Table:
    return pa.table(
        {
            "campaign_id": pa.array(texts, pa.string()),
            "channel": pa.array(texts, pa.string()).dictionary_encode(),
            "clicks": pa.array(range(len(texts)), pa.int64()),
        }
    )


@given(
    texts=st.lists(st.none() | st.text(max_size=30), max_size=300),
    compression=st.sampled_from(("zstd", "lz4")),
)
def test_compressed_streams_are_as_large_as_what_they_hold(
    texts: list[str | None], compression: str
) -> None:
    """What is told without unpacking is the size without compression, padding aside."""
    table = _table(texts)
    plain, packed = _stream(table), _stream(table, compression)
    buffers = 8 * (1 + len(texts) // 100) + 3
    assert decompressed_bytes(plain) - 64 * buffers <= decompressed_bytes(packed)
    assert decompressed_bytes(packed) <= decompressed_bytes(plain) <= len(plain)
    assert read_arrow(packed).equals(table)


@given(st.lists(st.none() | st.text(max_size=30), max_size=300))
def test_dictionaries_are_as_large_as_their_rows(texts: list[str | None]) -> None:
    """Each row counts the text that it points to."""
    assert decoded_bytes(_table(texts)) == _bytes(texts)


@given(st.lists(st.none() | st.text(max_size=30), max_size=50), st.data())
def test_views_are_as_large_as_their_rows(texts: list[str | None], data: st.DataObject) -> None:
    """Also where they are a part of an array, or the texts of a dictionary."""
    views = pa.array(texts, pa.string_view())
    start = data.draw(st.integers(0, len(texts)))
    assert decoded_bytes(pa.table({"campaign_id": views[start:]})) == _bytes(texts[start:])
    places = st.sampled_from(range(len(texts))) if texts else st.none()
    indices = data.draw(st.lists(st.none() | places, max_size=50))
    shared = pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), views)
    rows = [texts[index] for index in indices if index is not None]
    assert decoded_bytes(pa.table({"channel": shared})) == _bytes(rows)


def _bytes(texts: list[str | None]) -> int:
    return sum(len(text.encode()) for text in texts if text is not None)


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_little_that_becomes_much_is_refused(compression: str) -> None:
    """Neither compression nor a dictionary gets more than the limit past the door."""
    rows = 60_000
    long = pa.table({"campaign_id": pa.array(["x" * 3_000] * rows)})
    one_text = pa.DictionaryArray.from_arrays(
        pa.array([0] * rows, pa.int32()), pa.array(["x" * 1_000_000])
    )
    for data in (_stream(long, compression), _stream(pa.table({"campaign_id": one_text}))):
        assert len(data) < 8 * 1024 * 1024
        with pytest.raises(ArrowInvalidError, match="expands to"):
            read_arrow(data)
