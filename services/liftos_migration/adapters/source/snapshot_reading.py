"""One snapshot of a source, read as its tables' projections: counts, sums, hashes and records."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import pyarrow as pa

from liftos_kit import postgres
from liftos_mapping.entry_digests import unsigned
from liftos_mapping.entry_fields import ADDITIVE_METRICS, NATURAL_KEY
from liftos_migration.adapters.source.reading import read_arrow
from liftos_migration.domain.changes import Key
from liftos_migration.domain.comparing import BucketSum
from liftos_migration.domain.differences import Value
from liftos_migration.domain.projection import Projection, session_settings
from liftos_migration.domain.sql_text import quoted
from liftos_migration.verification_ports import (
    NotComparableError,
    ObjectDays,
    RowCounts,
    SourceRecord,
    Totals,
)

_PREFETCH: Final = 20
"""Records at a time; one may have 8 MiB."""
_KEYS_OF_RECORD: Final = 100
_OBJECT: Final = tuple(
    name for name in NATURAL_KEY if name in ("platform", "level") or name.endswith("_id")
)
_WRONG: Final = (
    asyncpg.DataError,
    asyncpg.SyntaxOrAccessError,
    asyncpg.CardinalityViolationError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.PLPGSQLError,
)
"""What says that a statement does not fit the rows or the schema, and no outage does."""


class PostgresSnapshot:
    """See `liftos_migration.verification_ports.SnapshotReader`.

    Args:
        connection: In a transaction at repeatable read.
        schemas: In which tables without a schema are looked for.
    """

    def __init__(self, connection: asyncpg.Connection, schemas: Sequence[str]) -> None:
        self._connection = connection
        self._settings = session_settings(schemas)

    async def counts(self, table: str, condition: str = "") -> RowCounts:
        """Count the rows of a table, all of them and those for which a condition holds."""
        passing = f"count(*) filter (where {condition})" if condition else "count(*)"
        async with self._evaluating(table):
            row = await self._connection.fetchrow(
                f"/* row_counts */ select count(*), {passing} from {table}"  # noqa: S608
            )
        return RowCounts(*row)

    async def sums(self, projection: Projection, bucket_count: int) -> Mapping[int, BucketSum]:
        """Return sums over the hashes of entries."""
        async with self._evaluating(projection.table):
            rows = await self._connection.fetch(projection.sums_sql(bucket_count))
        return {
            row["bucket"]: BucketSum(
                row["row_count"], unsigned(row["hash_xor"]), unsigned(int(row["hash_sum"]))
            )
            for row in rows
        }

    async def hashes(
        self, projection: Projection, bucket_count: int, buckets: Sequence[int]
    ) -> AsyncIterator[pa.RecordBatch]:
        """Yield keys, natural key and hash of the entries of some buckets."""
        statement = projection.hashes_sql(bucket_count)
        schema = pa.schema(
            [
                *((key, pa.string()) for key in projection.keys),
                *(projection.schema.field(name) for name in NATURAL_KEY),
                ("bucket", pa.int32()),
                ("hash", pa.string()),
            ]
        )
        async for batch in self._arrow(projection, statement, schema, list(buckets)):
            yield batch

    async def records(
        self, projection: Projection, keys: Sequence[Key] | None = None
    ) -> AsyncIterator[SourceRecord]:
        """Yield records by key."""
        columns = len(projection.key_columns)
        given: Sequence[list[str]] = ()
        if keys is not None:
            given = [[key[place] for key in keys] for place in range(columns)]
        statement = projection.select(where_keys=keys is not None)
        names = projection.schema.names[columns:]
        async with self._evaluating(projection.table):
            async for row in self._connection.cursor(statement, *given, prefetch=_PREFETCH):
                values: tuple[Any, ...] = tuple(row)
                fields = dict(zip(names, values[columns:], strict=True))
                yield SourceRecord(values[:columns], fields)

    async def rows(self, projection: Projection) -> AsyncIterator[pa.RecordBatch]:
        """Yield all that a projection selects, by key."""
        async for batch in self._arrow(projection, projection.select(), projection.schema):
            yield batch

    async def totals(self, projection: Projection) -> Mapping[str, Totals]:
        """Return the sums of entries by level."""
        summed = [name for name in ADDITIVE_METRICS if name in projection.schema.names]
        columns = ", ".join(f"sum({quoted(name)}) as {quoted(name)}" for name in summed)
        currency = "currency_code" if "currency_code" in projection.schema.names else "null"
        async with self._evaluating(projection.table):
            rows = await self._connection.fetch(
                f"""/* totals */
                select level, date::text, platform, coalesce({currency}, '') as currency,
                       count(*) as entries {", " + columns if columns else ""}
                from ({projection.select()}) projected group by 1, 2, 3, 4
                """  # noqa: S608 - names are ours
            )
        totals: dict[str, dict[tuple[str, ...], dict[str, int]]] = {}
        for row in rows:
            level, *group = row[0], row[1], row[2], row[3]
            sums = {name: int(row[name]) for name in summed if row[name] is not None}
            totals.setdefault(level, {})[tuple(group)] = {"entries": row["entries"], **sums}
        return totals

    async def record_count(self, projection: Projection) -> int:
        """Count the records that a projection gives."""
        keys = ", ".join(projection.rows.key_sql)
        where = f" where {projection.rows.condition}" if projection.rows.condition else ""
        async with self._evaluating(projection.table):
            count: int = await self._connection.fetchval(
                f"""/* record_count */
                select count(*) from (select distinct {keys} from {projection.table}{where}) keys
                """  # noqa: S608 - names come from the catalog
            )
        return count

    async def identities(
        self, projection: Projection, keys: Sequence[Key]
    ) -> Mapping[Key, Mapping[str, Value]]:
        """Return what tells the records of some keys apart on Core, whether or not they exist."""
        width = len(projection.key_columns)
        async with self._evaluating(projection.table):
            rows = await self._connection.fetch(
                projection.identities_sql(),
                *([key[place] for key in keys] for place in range(width)),
            )
        return {
            tuple(row)[:width]: {name: row[name] for name in projection.identity} for row in rows
        }

    async def row_hashes(self, projection: Projection, keys: Sequence[Key]) -> Mapping[Key, bytes]:
        """Return a hash over all rows of each record."""
        columns = [f"source.{quoted(column)}" for column in projection.key_columns]
        names = ", ".join(f"given{place}" for place, _ in enumerate(columns))
        arrays = ", ".join(f"${place}::text[]" for place, _ in enumerate(columns, 1))
        typed = ", ".join(
            f"given{place}::{type_}" for place, type_ in enumerate(projection.key_types)
        )
        texts = ", ".join(f"{column}::text" for column in columns)
        async with self._evaluating(projection.table):
            rows = await self._connection.fetch(
                f"""/* row_hashes */
                select {texts}, md5(string_agg(source::text, chr(10) order by source::text)) as h
                from {projection.table} source
                where ({", ".join(columns)}) in (select {typed} from unnest({arrays}) g ({names}))
                group by {", ".join(columns)}
                """,  # noqa: S608 - names come from the catalog
                *([key[place] for key in keys] for place, _ in enumerate(columns)),
            )
        return {tuple(row)[:-1]: bytes.fromhex(row["h"]) for row in rows}

    async def keys_of(self, projection: Projection, identity: Mapping[str, Value]) -> Sequence[Key]:
        """Return the keys of records with some values."""
        conditions = " and ".join(
            f"{quoted(name)}::text = ${place}" for place, name in enumerate(identity, 1)
        )
        async with self._evaluating(projection.table):
            rows = await self._connection.fetch(
                f"""/* keys_of_record */
                select {", ".join(projection.keys)} from ({projection.select()}) projected
                where {conditions} limit {_KEYS_OF_RECORD}
                """,  # noqa: S608 - names are ours
                *map(str, identity.values()),
            )
        return [tuple(row) for row in rows]

    async def objects(self, projection: Projection) -> Sequence[ObjectDays]:
        """Return the objects that entries are of, in order."""
        columns = ", ".join(_OBJECT)
        async with self._evaluating(projection.table):
            rows = await self._connection.fetch(
                f"""/* objects */
                select {columns}, count(distinct date_trunc('week', date)) as weeks
                from ({projection.select()}) projected group by {columns} order by {columns}
                """  # noqa: S608 - names are ours
            )
        return [
            ObjectDays({name: row[name] for name in _OBJECT if row[name]}, row["weeks"])
            for row in rows
        ]

    async def _arrow(
        self, projection: Projection, statement: str, schema: pa.Schema, *values: object
    ) -> AsyncIterator[pa.RecordBatch]:
        async with self._evaluating(projection.table):
            async for batch in read_arrow(self._connection, statement, schema, *values):
                yield batch

    @asynccontextmanager
    async def _evaluating(self, table: str) -> AsyncIterator[None]:
        """Run a statement apart, so that its failure leaves the snapshot as it is."""
        with postgres.translate_errors():
            try:
                async with self._connection.transaction():
                    for name, value in self._settings.items():
                        await self._connection.execute(
                            "select set_config($1, $2, true)", name, value
                        )
                    yield
            except _WRONG as error:
                raise NotComparableError(
                    f"{table} cannot be read as its mapping says: {error}. Change the"
                    " mapping, or resolve or waive the rows that it does not fit."
                ) from error
            except pa.ArrowInvalid as error:
                raise NotComparableError(
                    f"{table} gives a value that is not of its field's type: {error}."
                ) from error
