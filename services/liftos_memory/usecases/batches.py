"""From what a client sends to rows that can be written."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from liftos_kit.core.errors import ArrowInvalidError
from liftos_memory.domain.arrow_size import decoded_bytes, decompressed_bytes
from liftos_memory.domain.entry_rules import RowError, check_batch, check_keys
from liftos_memory.domain.quality import score_rows
from liftos_memory.domain.slices import SliceScope, split_by_scope

_MAXIMUM_EXPANDED_BYTES: Final = 128 * 1024 * 1024
"""Of buffers once decompressed, and of texts of dictionaries once each row has its own."""

_END_OF_STREAM: Final = b"\xff\xff\xff\xff\0\0\0\0"


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """Rows that are checked and scored, and an error for each row that is not among them.

    Attributes:
        rows: `ENTRY_SCHEMA` with entry_key, quality_score and quality_issues.
        errors: At least one for each refused row, by index.
    """

    rows: pa.Table
    errors: tuple[RowError, ...]

    def days(self) -> list[date]:
        """Return the days that the rows have, each once."""
        days: list[date] = self.rows["date"].unique().to_pylist()
        return days


@dataclass(frozen=True, slots=True)
class PreparedKeys:
    """Natural keys that are checked, and an error for each that is not among them.

    Attributes:
        days: Date of each key.
        digests: 16-byte digest of each key.
        errors: At least one for each refused key, by index.
    """

    days: Sequence[date]
    digests: Sequence[bytes]
    errors: tuple[RowError, ...]


def read_arrow(data: bytes, *, field: str = "arrow") -> pa.Table:
    """Return the table of an Arrow IPC stream.

    Args:
        data: The stream.
        field: The request field that held it.

    Raises:
        ArrowInvalidError: The bytes are not one whole, valid stream and nothing else.
    """
    source = pa.BufferReader(data)
    try:
        _check_size(decompressed_bytes(data), field)
        with pa.ipc.open_stream(source) as reader:
            table = reader.read_all()
        # Offsets out of bounds would crash the process at first use.
        table.validate(full=True)
        _check_size(decoded_bytes(table), field)
    except (pa.ArrowException, struct.error, OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:200]
        raise ArrowInvalidError(
            f"the {len(data)} bytes are no valid Arrow IPC stream: {reason}", field=field
        ) from error
    # Whatever comes after the first stream, or is cut off at the end of a batch, would be lost
    # without a word.
    read_bytes = source.tell()
    if read_bytes < len(data):
        raise ArrowInvalidError(
            f"the stream ends after {read_bytes} of {len(data)} bytes; send one stream a request",
            field=field,
        )
    if not data.endswith(_END_OF_STREAM):
        raise ArrowInvalidError(
            "the stream is cut off: its end of stream mark is missing", field=field
        )
    return table


def _check_size(size_bytes: int, field: str) -> None:
    if size_bytes > _MAXIMUM_EXPANDED_BYTES:
        raise ArrowInvalidError(
            f"the stream expands to {size_bytes} bytes, and at most {_MAXIMUM_EXPANDED_BYTES} are"
            " taken; send fewer rows a batch",
            field=field,
        )


def prepare_batch(
    batch: pa.Table | pa.RecordBatch,
    *,
    today: date,
    known_platforms: frozenset[str],
    scope: SliceScope | None = None,
    final: bool = False,
) -> PreparedBatch:
    """Check and score the rows of a batch. Pure and heavy: run it in an executor.

    Args:
        batch: Rows as they were sent.
        today: The newest day that has begun anywhere.
        known_platforms: Registered sources of the org.
        scope: The open slice that the rows must fit into.
        final: Mark all rows final.

    Raises:
        BatchTooLargeError: There are too many rows.
        BatchColumnsError: The columns are not those of an entry.
    """
    checked = check_batch(batch, today=today, known_platforms=known_platforms)
    rows = checked.rows.append_column("entry_key", pa.array(checked.digests, pa.binary()))
    errors = list(checked.errors)
    if scope is not None:
        refused = {error.index for error in errors}
        places = np.setdiff1d(np.arange(batch.num_rows), np.fromiter(refused, int, len(refused)))
        rows, _, outside = split_by_scope(rows, scope, pa.array(places))
        errors = sorted([*errors, *outside], key=lambda error: error.index)
    # A row that does not say so is not final.
    marks = pa.array(np.ones(rows.num_rows, bool)) if final else rows["final"].fill_null(False)
    rows = rows.set_column(rows.schema.get_field_index("final"), "final", marks)
    scores, issues = score_rows(rows, today=today)
    rows = rows.append_column("quality_score", pa.array(scores, pa.float64()))
    rows = rows.append_column("quality_issues", pa.array(issues, pa.string()))
    return PreparedBatch(rows, tuple(errors))


def prepare_keys(
    batch: pa.Table | pa.RecordBatch, *, today: date, known_platforms: frozenset[str]
) -> PreparedKeys:
    """Check the natural keys of a batch. Pure and heavy: run it in an executor.

    Raises:
        BatchTooLargeError: There are too many rows.
        BatchColumnsError: The columns are not those of a natural key.
    """
    checked = check_keys(batch, today=today, known_platforms=known_platforms)
    return PreparedKeys(checked.rows["date"].to_pylist(), checked.digests, checked.errors)


def prepare_together(
    batches: Sequence[pa.RecordBatch],
    *,
    today: date,
    known_platforms: frozenset[str],
    scope: SliceScope | None = None,
    final: bool = False,
) -> PreparedBatch | None:
    """Check and score several batches at the fixed price of one; arguments as in `prepare_batch`.

    Returns:
        The rows of all batches in their order, none of which is refused and no two of which are
        the same entry. None where that cannot be, or where what a row is worth depends on which
        others it came with: then each batch has to be prepared on its own.
    """
    together = pa.concat_tables(map(_as_table, batches), promote_options="default")
    prepared = prepare_batch(
        together, today=today, known_platforms=known_platforms, scope=scope, final=final
    )
    # Repeated numbers are looked for among the broken down rows of one batch.
    has_breakdowns = pc.any(pc.not_equal(prepared.rows["breakdown_key"], "")).as_py()
    return None if prepared.errors or has_breakdowns else prepared


def _as_table(batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch])
