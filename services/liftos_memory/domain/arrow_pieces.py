"""Arrow IPC streams in pieces of whole messages; the same table gives the same bytes."""

from collections.abc import AsyncIterator, Iterator
from typing import Final

import pyarrow as pa

MAXIMUM_PIECE_BYTES: Final = 1024 * 1024
"""Most bytes of Arrow in one message of a stream."""

# A continuation marker and a length of zero, see the IPC streaming format of Apache Arrow.
_END: Final = (b"\xff\xff\xff\xff\0\0\0\0", 0)
_ROWS_PER_PIECE: Final = 8_192


Piece = tuple[bytes, int]
"""A piece of a stream, and how many rows are in it."""


def table_pieces(table: pa.Table) -> Iterator[Piece]:
    """Yield the stream of a table in pieces.

    The first piece is the schema, the last one the mark of the stream's end.
    """
    yield _opening(table.schema)
    for batch in table.combine_chunks().to_batches(max_chunksize=_ROWS_PER_PIECE):
        yield from _pieces(batch)
    yield _END


async def batch_pieces(
    batches: AsyncIterator[pa.RecordBatch], schema: pa.Schema
) -> AsyncIterator[Piece]:
    """Yield one stream of batches in pieces, as `table_pieces`."""
    yield _opening(schema)
    async for batch in batches:
        for piece in _pieces(batch):
            yield piece
    yield _END


def _opening(schema: pa.Schema) -> Piece:
    return schema.serialize().to_pybytes(), 0


def _pieces(batch: pa.RecordBatch) -> Iterator[Piece]:
    for part in _fitting(batch):
        yield part.serialize().to_pybytes(), part.num_rows


def _fitting(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    if batch.num_rows <= 1 or pa.ipc.get_record_batch_size(batch) <= MAXIMUM_PIECE_BYTES:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _fitting(batch.slice(0, half))
    yield from _fitting(batch.slice(half))
