"""Arrow IPC streams in pieces of whole messages; the same table gives the same bytes."""

from collections.abc import Iterator
from typing import Final

import pyarrow as pa

MAXIMUM_PIECE_BYTES: Final = 1024 * 1024
"""Most bytes of Arrow in one message of a stream."""

# A continuation marker and a length of zero, see the IPC streaming format of Apache Arrow.
_END_OF_STREAM: Final = b"\xff\xff\xff\xff\0\0\0\0"
_ROWS_PER_PIECE: Final = 8_192


def stream_pieces(table: pa.Table) -> Iterator[tuple[bytes, int]]:
    """Yield the stream of a table in pieces, each with its number of rows.

    The first piece is the schema, the last one the mark of the stream's end.
    """
    yield table.schema.serialize().to_pybytes(), 0
    for batch in table.combine_chunks().to_batches(max_chunksize=_ROWS_PER_PIECE):
        for part in _fitting(batch):
            yield part.serialize().to_pybytes(), part.num_rows
    yield _END_OF_STREAM, 0


def _fitting(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    if batch.num_rows <= 1 or pa.ipc.get_record_batch_size(batch) <= MAXIMUM_PIECE_BYTES:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _fitting(batch.slice(0, half))
    yield from _fitting(batch.slice(half))
