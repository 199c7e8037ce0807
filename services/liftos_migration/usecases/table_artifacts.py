"""Whole tables as artifacts: Parquet in pieces that one artifact takes, the same each time."""

import hashlib
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import pyarrow as pa
from pyarrow import parquet

from liftos_migration.domain.inventory import Item
from liftos_migration.domain.records import MAXIMUM_CONTENT_BYTES, ArtifactRecord
from liftos_migration.domain.targets import ARTIFACT_KINDS
from liftos_migration.verification_ports import NotComparableError

CONTENT_TYPE: Final = "application/vnd.apache.parquet"

_TABLE: Final = ARTIFACT_KINDS.index("TABLE") + 1
_PART_BYTES: Final = 4 * 1024 * 1024
"""Arrow from which on a part is full; Parquet is no larger than that but for a little."""
_CARRIED: Final = "table:"
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,120}")


@dataclass(frozen=True, slots=True)
class _Part:
    table: pa.Table
    number: int
    is_last: bool


def part_prefix(table: str) -> str:
    """Return how the ids of the parts of a table begin; different tables never have the same."""
    if _PLAIN_NAME.fullmatch(table):
        return f"{_CARRIED}{table}:"
    return f"{_CARRIED}{hashlib.sha256(table.encode()).hexdigest()}:"


def is_carried(record_id: str) -> bool:
    """Tell whether an artifact is part of a table that was carried whole."""
    return record_id.startswith(_CARRIED)


async def table_artifacts(
    item: Item, scope: str, batches: AsyncIterator[pa.RecordBatch]
) -> AsyncIterator[ArtifactRecord]:
    """Yield the artifacts of a table, at least one: the parts of its rows in order.

    Whole numbers, doubles and truth values are of their own types, all else is text as the database
    writes it, so that `text::type` gives every value back. The body has what is needed for that.

    Args:
        item: The table.
        scope: Of the artifacts.
        batches: All of its rows by key, with nothing but its columns.

    Raises:
        NotComparableError: A row is larger than an artifact.
    """
    async for part in _parts(batches, _schema(item)):
        content = _written(part.table)
        if len(content) > MAXIMUM_CONTENT_BYTES:
            raise NotComparableError(
                f"{item.object} has a row of more than {MAXIMUM_CONTENT_BYTES:,} bytes, which no"
                " artifact takes. Waive its large column, or map the table row by row."
            )
        yield ArtifactRecord(
            id=f"{part_prefix(item.object)}{part.number:05}",
            scope=scope,
            kind=_TABLE,
            display_name=f"{item.object[:150]}, part {part.number}",
            body=_body(item, part, content),
            content=content,
            content_type=CONTENT_TYPE,
        )


def rows_of(content: bytes) -> pa.Table:
    """Return the rows of a part."""
    return parquet.read_table(BytesIO(content))


def _body(item: Item, part: _Part, content: bytes) -> Mapping[str, Any]:
    return {
        "table": item.object,
        "columns": [{"name": each.name, "type": each.type} for each in item.columns],
        "key_columns": list(item.key_columns),
        "part": part.number,
        "last": part.is_last,
        "row_count": part.table.num_rows,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _schema(item: Item) -> pa.Schema:
    native = {
        "smallint": pa.int64(),
        "integer": pa.int64(),
        "bigint": pa.int64(),
        "real": pa.float64(),
        "double precision": pa.float64(),
        "boolean": pa.bool_(),
    }
    return pa.schema([(each.name, native.get(each.type, pa.string())) for each in item.columns])


async def _parts(batches: AsyncIterator[pa.RecordBatch], schema: pa.Schema) -> AsyncIterator[_Part]:
    """Put rows together until a part is full; where it ends depends on the rows alone."""
    number, waiting, size = 1, [schema.empty_table()], 0
    async for batch in batches:
        for few in _halves(batch.select(schema.names).cast(schema)):
            if size and size + few.nbytes > _PART_BYTES:
                yield _Part(pa.concat_tables(waiting), number, is_last=False)
                number, waiting, size = number + 1, [], 0
            waiting.append(pa.Table.from_batches([few]))
            size += few.nbytes
    yield _Part(pa.concat_tables(waiting), number, is_last=True)


def _halves(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a batch, in pieces of which at least two go into a part."""
    if batch.num_rows > 1 and batch.nbytes > _PART_BYTES // 2:
        middle = batch.num_rows // 2
        yield from _halves(batch.slice(0, middle))
        yield from _halves(batch.slice(middle))
    else:
        yield batch


def _written(table: pa.Table) -> bytes:
    buffer = BytesIO()
    parquet.write_table(table.combine_chunks(), buffer, compression="zstd", version="2.6")
    return buffer.getvalue()
