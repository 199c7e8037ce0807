"""Sums and hashes of a table's rows, computed where the rows are."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import asyncpg
import numpy as np

from liftos_kit import postgres
from liftos_migration.domain.comparing import (
    ROWS_PER_BUCKET,
    BucketSum,
    ComparedTable,
    Differences,
    Exactness,
    Integers,
    RowHashes,
    compare_hashes,
    differing_buckets,
)

_SESSION: Final = """
set local timezone = 'UTC'; set local datestyle = 'ISO, MDY'; set local intervalstyle = 'postgres';
set local extra_float_digits = 1; set local bytea_output = 'hex'; set local lc_monetary = 'C';
set local jit = off
"""
"""What a value's text depends on, so that both sides write it alike."""

_MANY: Final = 0.2
"""Share of differing buckets from which on all rows are read at once."""


class TableSums:
    """Sums of one table, from the snapshot that the connection's transaction sees.

    Args:
        connection: In a transaction at repeatable read.
        table: What is summed.
        exactness: What counts as equal.
    """

    def __init__(
        self, connection: asyncpg.Connection, table: ComparedTable, exactness: Exactness
    ) -> None:
        self._connection = connection
        self._table = table
        columns = ", ".join(table.types)
        values = ", ".join(map(table.value, table.types))
        if exactness is Exactness.VALUES:
            self._hash = f"hash_record_extended(row({values}), 0)"
        else:
            digest = f"sha256(convert_to(row({columns})::text, 'UTF8'))"
            self._hash = f"('x' || encode(substr({digest}, 1, 8), 'hex'))::bit(64)::bigint"
        self._key = f"row({', '.join(table.key_columns)})::text"

    async def prepare(self) -> None:
        """Let the session write values as the other side does."""
        await self._connection.execute(_SESSION)

    async def buckets(self) -> Mapping[int, BucketSum]:
        """Return the sums of all buckets, in one scan."""
        rows = await self._connection.fetch(
            f"""/* bucket_sums */
            select {self._bucket} as bucket, count(*) as count, bit_xor(hash) as exclusive_or,
                   sum(hash) as total
            from (select {", ".join(self._table.key_columns)}, {self._hash} as hash
                  from {self._table.table} offset 0) hashed
            group by 1
            """  # noqa: S608 - names come from the catalog
        )
        return {
            row["bucket"]: BucketSum(row["count"], row["exclusive_or"], int(row["total"]))
            for row in rows
        }

    async def hashes(self, buckets: Sequence[int] | None) -> RowHashes:
        """Return the hashes of rows; of some buckets, or of all."""
        where, values = "true", []
        if buckets is not None:
            where, values = self._of_buckets, [list(buckets)]
        data = bytearray()

        async def take(piece: bytes) -> None:
            data.extend(piece)

        await self._connection.copy_from_query(
            f"""/* row_hashes */
            select {self._key_number}, {self._hash} from {self._table.table} where {where}
            """,  # noqa: S608 - as above
            *values,
            output=take,
            format="binary",
        )
        return _row_hashes(data)

    async def keys(self, numbers: Integers) -> Sequence[str]:
        """Return the keys that numbers stand for, as texts, in order."""
        if self._table.has_number_key:
            return sorted(f"({number})" for number in numbers.tolist())
        if not numbers.size:
            return []
        rows = await self._connection.fetch(
            f"""/* differing_keys */
            select distinct {self._key} from {self._table.table}
            where {self._key_number} = any($1::bigint[])
            """,  # noqa: S608 - as above
            numbers.tolist(),
        )
        return sorted(row[0] for row in rows)

    @property
    def _key_number(self) -> str:
        if self._table.has_number_key:
            return f"{self._table.key_columns[0]}::bigint"
        return f"hashtextextended({self._key}, 7)"

    @property
    def _bucket(self) -> str:
        if self._table.has_number_key:
            return f"{self._table.key_columns[0]}::bigint / {ROWS_PER_BUCKET}"
        return f"hashtextextended({self._key}, 0) & 4095"

    @property
    def _of_buckets(self) -> str:
        if self._table.has_number_key:
            column = self._table.key_columns[0]
            # As ranges, which the index of the key serves. Division cuts towards zero.
            return f"""exists (
                select from unnest($1::bigint[]) b
                where {column} between
                    case when b > 0 then b * {ROWS_PER_BUCKET}
                         else (b - 1) * {ROWS_PER_BUCKET} + 1 end
                    and case when b < 0 then b * {ROWS_PER_BUCKET}
                             else (b + 1) * {ROWS_PER_BUCKET} - 1 end)"""
        return f"{self._bucket} = any($1::bigint[])"


async def compare_tables(
    original: asyncpg.Connection,
    copy: asyncpg.Connection,
    tables: tuple[ComparedTable, ComparedTable],
    *,
    exactness: Exactness = Exactness.VALUES,
) -> Differences:
    """Compare a table with its copy, row by row where sums differ.

    Args:
        original: Connection to the one, within the transaction that is compared.
        copy: To the other.
        tables: As each has it; the same columns in the same order.
        exactness: What counts as equal.

    Raises:
        StoreUnavailableError: One of them does not answer.
    """
    with postgres.translate_errors():
        left = TableSums(original, tables[0], exactness)
        right = TableSums(copy, tables[1], exactness)
        await asyncio.gather(left.prepare(), right.prepare())
        ours, theirs = await asyncio.gather(left.buckets(), right.buckets())
        row_count = sum(each.count for each in ours.values())
        count = len(ours.keys() | theirs.keys())
        wrong = differing_buckets(ours, theirs)
        if not wrong:
            return Differences((), (), (), row_count, count, 0)
        chosen = None if len(wrong) > _MANY * count else wrong
        our_rows, their_rows = await asyncio.gather(left.hashes(chosen), right.hashes(chosen))
        found = await asyncio.to_thread(compare_hashes, our_rows, their_rows)
        missing, extra = await asyncio.gather(left.keys(found.missing), right.keys(found.extra))
        differing = await left.keys(found.differing)
    return Differences(
        tuple(missing), tuple(extra), tuple(differing), row_count, count, our_rows.keys.size
    )


_ROW: Final = np.dtype(
    [("fields", ">i2"), ("key_size", ">i4"), ("key", ">i8"), ("size", ">i4"), ("hash", ">i8")]
)
"""A row of two numbers as COPY writes it in binary."""
_HEADER_BYTES: Final = 19
_TRAILER_BYTES: Final = 2


def _row_hashes(data: bytearray) -> RowHashes:
    rows = np.frombuffer(memoryview(data)[_HEADER_BYTES:-_TRAILER_BYTES], _ROW)
    return RowHashes(rows["key"].astype(np.int64), rows["hash"].astype(np.int64))
