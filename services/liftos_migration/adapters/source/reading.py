"""Rows of a query of the source, as Arrow or as records, in bounded memory."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from io import BytesIO
from typing import Any, Final

import asyncpg
import pyarrow as pa
import pyarrow.csv

from liftos_kit import postgres

MAXIMUM_ROWS: Final = 65_536
"""Rows of one batch, at most."""

_MAXIMUM_BYTES: Final = 4 * 1024 * 1024
"""Text from which on a batch is full; the batch in Arrow is about as large."""

_WAITING: Final = 2
"""Pieces of text that may wait for whoever reads."""


async def read_arrow(
    connection: asyncpg.Connection,
    sql: str,
    schema: pa.Schema,
    *values: object,
    maximum_rows: int = MAXIMUM_ROWS,
) -> AsyncGenerator[pa.RecordBatch, None]:
    """Stream the rows of a query.

    Null stays null, and empty text empty text. The source is read no faster than batches are
    taken.

    Args:
        connection: To the source; the query runs in its transaction, if it is in one.
        sql: One statement with as many columns as the schema, in its order.
        schema: Types; lists come as texts of JSON.
        values: For `$1` and so on of the statement.
        maximum_rows: Of one batch.

    Yields:
        Batches of a few MiB at most, in the order of the query.

    Raises:
        asyncpg.PostgresError: The query fails. What came before was yielded.
        pyarrow.ArrowInvalid: A value does not fit its type.
        StoreUnavailableError: The source does not answer.
    """
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(_WAITING)

    async def feed() -> None:
        try:
            with postgres.translate_errors():
                await connection.copy_from_query(sql, *values, output=queue.put, format="csv")
        except Exception:
            await queue.put(None)
            raise
        await queue.put(None)

    reader = asyncio.create_task(feed())
    try:
        pieces = _Pieces(maximum_rows)
        while (data := await queue.get()) is not None:
            if pieces.add(data):
                yield await _batch(pieces.take(), schema)
        if text := pieces.take():
            yield await _batch(text, schema)
        await reader
    finally:
        if not reader.done():
            reader.cancel()
            # The statement under way is given up with the connection's transaction.
            await asyncio.wait({reader})


async def read_records(
    connection: asyncpg.Connection, sql: str, *values: object
) -> Sequence[dict[str, Any]]:
    """Return the rows of a query as mappings.

    Args:
        connection: To the source.
        sql: One statement with `$1` and so on.
        values: For those.

    Raises:
        asyncpg.PostgresError: The query fails.
        StoreUnavailableError: The source does not answer.
    """
    with postgres.translate_errors():
        return [dict(row) for row in await connection.fetch(sql, *values)]


class _Pieces:
    """Collects text until it is a batch of whole rows."""

    def __init__(self, maximum_rows: int) -> None:
        self._maximum_rows = maximum_rows
        self._pieces: list[bytes] = []
        self._size = 0
        self._rows = 0
        self._is_quoted = False

    def add(self, data: bytes) -> bool:
        """Add text; tell whether there is enough of it, and whole rows alone."""
        self._pieces.append(data)
        self._size += len(data)
        # Not less than there are: a line end within a value counts too.
        self._rows += data.count(b"\n")
        self._is_quoted ^= data.count(b'"') % 2 == 1
        whole = not self._is_quoted and data.endswith(b"\n")
        return whole and (self._size >= _MAXIMUM_BYTES or self._rows >= self._maximum_rows)

    def take(self) -> bytes:
        """Return what was collected, and begin anew."""
        text = b"".join(self._pieces)
        self._pieces, self._size, self._rows = [], 0, 0
        return text


async def _batch(text: bytes, schema: pa.Schema) -> pa.RecordBatch:
    return await asyncio.to_thread(_parsed, text, schema)


def _parsed(text: bytes, schema: pa.Schema) -> pa.RecordBatch:
    table = pyarrow.csv.read_csv(
        BytesIO(text),
        read_options=pyarrow.csv.ReadOptions(
            column_names=schema.names, block_size=len(text) + 1, use_threads=False
        ),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={field.name: _read_as(field.type) for field in schema},
            # The database writes null as nothing and empty text as "".
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )
    (batch,) = table.combine_chunks().to_batches()
    columns = [
        _lists(column, field.type) if pa.types.is_list(field.type) else column
        for column, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _read_as(type_: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_list(type_) else type_


def _lists(texts: pa.Array, type_: pa.DataType) -> pa.Array:
    values = [None if text is None else json.loads(text) for text in texts.to_pylist()]
    return pa.array(values, type_)
