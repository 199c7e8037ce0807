"""Sums and hashes of a table's rows, computed where the rows are."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import asyncpg

from liftos_kit import postgres
from liftos_migration.domain.comparing import (
    ROWS_PER_BUCKET,
    BucketSum,
    ComparedTable,
    Differences,
    Exactness,
    compared,
    differing_buckets,
)

_SESSION: Final = """
set local timezone = 'UTC'; set local datestyle = 'ISO, MDY'; set local intervalstyle = 'postgres';
set local extra_float_digits = 1; set local bytea_output = 'hex'; set local lc_monetary = 'C'
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
            self._hashes = tuple(f"hash_record_extended(row({values}), {seed})" for seed in (0, 42))
        else:
            digest = f"sha256(convert_to(row({columns})::text, 'UTF8'))"
            self._hashes = tuple(
                f"('x' || encode(substr({digest}, {start}, 8), 'hex'))::bit(64)::bigint"
                for start in (1, 9)
            )
        self._key = f"row({', '.join(table.key_columns)})::text"

    async def prepare(self) -> None:
        """Let the session write values as the other side does."""
        await self._connection.execute(_SESSION)

    async def buckets(self) -> Mapping[int, BucketSum]:
        """Return the sums of all buckets, in one scan."""
        rows = await self._connection.fetch(
            f"""/* bucket_sums */
            select {self._bucket} as bucket, count(*) as count, bit_xor(first) as exclusive_or,
                   sum(second) as total
            from (select {", ".join(self._table.key_columns)}, {self._hashes[0]} as first,
                         {self._hashes[1]} as second
                  from {self._table.table}) hashed
            group by 1
            """  # noqa: S608 - names come from the catalog
        )
        return {
            row["bucket"]: BucketSum(row["count"], row["exclusive_or"], int(row["total"]))
            for row in rows
        }

    async def rows(self, buckets: Sequence[int] | None) -> Mapping[str, tuple[int, ...]]:
        """Return the hashes of rows by key; of some buckets, or of all."""
        where, values = "true", []
        if buckets is not None:
            where, values = self._of_buckets, [list(buckets)]
        found: dict[str, tuple[int, ...]] = {}
        rows = await self._connection.fetch(
            f"""/* row_hashes */
            select {self._key} as key, {self._hashes[0]} as hash from {self._table.table}
            where {where}
            """,  # noqa: S608 - as above
            *values,
        )
        for key, value in rows:
            found[key] = tuple(sorted((*found.get(key, ()), value)))
        return found

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
            return compared({}, {}, row_count=row_count, bucket_count=count)
        chosen = None if len(wrong) > _MANY * count else wrong
        our_rows, their_rows = await asyncio.gather(left.rows(chosen), right.rows(chosen))
    return await asyncio.to_thread(
        compared, our_rows, their_rows, row_count=row_count, bucket_count=count
    )
