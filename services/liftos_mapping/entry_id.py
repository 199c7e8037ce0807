"""Entry ids: a digest of the natural key, so that the same object and day has the same id anywhere.

The digest is xxh3_128 (seed 0, big-endian bytes) over the key columns of `NATURAL_KEY` in their
order, as UTF-8 text joined with the unit separator U+001F. The date is `YYYY-MM-DD`; a key that is
absent or null is the empty text. The org is no part of the digest: an id is unique below its org.

A key that holds U+001F itself is refused rather than escaped: every other control character is
refused by the entry rules as well, and without escapes the digest can be computed in one line of
any language. The separator therefore occurs exactly once between two keys, and different keys never
give the same text.
"""

import re
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from liftos_mapping.entry_fields import NATURAL_KEY

KEY_SEPARATOR: Final = "\x1f"
"""Stands between two keys; no key may hold it."""

DIGEST_SIZE_BYTES: Final = 16

_ENTRY_ID: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})-([0-9a-f]{32})")


class EntryIdError(ValueError):
    """A text is not an entry id."""

    def __init__(self, text: str, reason: str) -> None:
        self.text = text
        self.reason = reason
        super().__init__(
            f"{text[:80]!r} is not an entry id: {reason}; expected YYYYMMDD-<32 hexadecimal digits>"
        )


class EntryKeyError(ValueError):
    """A key column holds the separator, so that its digest would be ambiguous."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        self.columns = columns
        super().__init__(
            f"keys may not hold the control character U+001F, found in {', '.join(columns)};"
            " check the rows against the entry rules first"
        )


def entry_ids(entries: pa.RecordBatch | pa.Table) -> list[bytes]:
    """Return the 16-byte digest of each row's natural key, in the order of the rows.

    Columns outside the natural key are ignored; key columns may be missing.

    Raises:
        EntryKeyError: a key holds the separator.
    """
    if isinstance(entries, pa.RecordBatch):
        return _batch_ids(entries)
    digests: list[bytes] = []
    for batch in entries.to_batches():
        digests.extend(_batch_ids(batch))
    return digests


def _batch_ids(batch: pa.RecordBatch) -> list[bytes]:
    if batch.num_rows == 0:
        return []
    present = frozenset(batch.schema.names)
    columns = [
        _as_text(batch.column(name)) if name in present else pa.scalar("", pa.string())
        for name in NATURAL_KEY
    ]
    joined = pc.binary_join_element_wise(
        *columns, KEY_SEPARATOR, null_handling="replace", null_replacement=""
    )
    if isinstance(joined, pa.Scalar):  # a batch without any key column
        joined = pa.array([joined.as_py()] * batch.num_rows, pa.string())
    _refuse_separators(joined, batch)
    values = joined.cast(pa.binary()).to_numpy(zero_copy_only=False)
    return list(map(xxhash.xxh3_128_digest, values))


def _as_text(column: pa.Array) -> pa.Array:
    return column if column.type == pa.string() else column.cast(pa.string())


def _refuse_separators(joined: pa.Array, batch: pa.RecordBatch) -> None:
    _, offsets_buffer, text = joined.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32)[joined.offset :][: len(joined) + 1]
    bytes_ = np.frombuffer(text, np.uint8)[offsets[0] : offsets[-1]]
    expected = len(joined) * (len(NATURAL_KEY) - 1)
    if np.count_nonzero(bytes_ == ord(KEY_SEPARATOR)) != expected:
        raise EntryKeyError(
            tuple(
                name
                for name in NATURAL_KEY
                if name in batch.schema.names
                and pc.any(pc.match_substring(_as_text(batch.column(name)), KEY_SEPARATOR)).as_py()
            )
        )


def format_entry_id(day: date, digest: bytes) -> str:
    """Return the id of an entry from its date and its 16-byte digest."""
    if len(digest) != DIGEST_SIZE_BYTES:
        raise EntryIdError(digest.hex(), f"its digest has {len(digest)} bytes, not 16")
    return f"{day.year:04d}{day.month:02d}{day.day:02d}-{digest.hex()}"


def parse_entry_id(text: str) -> tuple[date, bytes]:
    """Return the date and the 16-byte digest of an entry id.

    Raises:
        EntryIdError: the text has another form or names a day that does not exist.
    """
    match = _ENTRY_ID.fullmatch(text)
    if match is None:
        raise EntryIdError(text, "it has another form")
    year, month, day, digest = match.groups()
    try:
        return date(int(year), int(month), int(day)), bytes.fromhex(digest)
    except ValueError as error:
        raise EntryIdError(text, f"its date does not exist ({error})") from error
