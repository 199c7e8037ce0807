"""Records of a table of the source, read by its projection."""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, cast

import asyncpg
import pyarrow as pa

from liftos_kit import postgres
from liftos_migration.adapters.source.catalog import read_inventory
from liftos_migration.adapters.source.log import SQL
from liftos_migration.adapters.source.reading import MAXIMUM_ROWS, read_arrow
from liftos_migration.adapters.source.tables_read import tables_read
from liftos_migration.copy_ports import Records, RowUnreadableError
from liftos_migration.domain.changes import Key
from liftos_migration.domain.inventory import Inventory
from liftos_migration.domain.mapping import Target
from liftos_migration.domain.moving import MovedTable
from liftos_migration.domain.projection import Projection
from liftos_migration.domain.rejects import RecordError
from liftos_migration.domain.sql_text import quoted

_RECORDS_AT_A_TIME: Final = 500
_RECORDS_BYTES: Final = 4 * 1024 * 1024

_ROW_FAULTS: Final = ("0A", "21", "22", "54", "P0", "38", "39", "2F")
"""Classes of SQLSTATE that a value can cause: a NaN as a whole number, several rows where one is
wanted, data, limits, and what functions raise."""


class PostgresRows:
    """Reads records; see `liftos_migration.copy_ports.RowReader`.

    Args:
        chunk_rows: Entries of one batch, at most.
    """

    def __init__(self, chunk_rows: int = MAXIMUM_ROWS) -> None:
        self._chunk_rows = chunk_rows

    async def inventory(self, connection: asyncpg.Connection, schemas: Sequence[str]) -> Inventory:
        """Return the tables of some schemas, and all else that they have."""
        return await read_inventory(connection, schemas)

    async def reads(
        self, connection: asyncpg.Connection, table: MovedTable, org: str
    ) -> Sequence[str]:
        """Return the tables that a projection reads beside the rows of its records."""
        if not table.has_records:
            return ()
        with postgres.translate_errors():
            return await tables_read(connection, table.mapping, table.item, org)

    async def schema(
        self, connection: asyncpg.Connection, schemas: Sequence[str]
    ) -> Mapping[str, Sequence[str]]:
        """Return columns and keys of all tables as text; costs next to nothing."""
        with postgres.translate_errors():
            found = {}
            async for row in SQL.columns_of_tables(connection, schemas=list(schemas)):
                # Without its place a column that was dropped and made again would be the same.
                columns = [f"column {each.partition(' ')[2]} ({each.partition(' ')[0]})"
                           for each in row["columns"]]  # fmt: skip
                key = f"key ({', '.join(row['key_columns'] or ())})"
                found[row["object"]] = [*columns, key]
            return found

    async def bounds(
        self, connection: asyncpg.Connection, projection: Projection, step: int
    ) -> Sequence[Key]:
        """Return every so manieth key, in order."""
        keys = ", ".join(projection.keys)
        rows = await self._fetch(
            connection,
            f"/* copy_bounds */ select {keys} from (select {keys}, row_number() over () as place"  # noqa: S608
            f" from ({projection.select()}) wanted) numbered where place % $1 = 0 order by place",
            step,
        )
        return [tuple(row) for row in rows]

    async def keys(
        self, connection: asyncpg.Connection, projection: Projection, after: Key | None,
        up_to: Key | None, limit: int,
    ) -> Sequence[Key]:  # fmt: skip
        """Return the next keys of a range, in order."""
        select = projection.select(after=after is not None, up_to=up_to is not None)
        rows = await self._fetch(
            connection,
            f"/* copy_keys */ select {', '.join(projection.keys)} from ({select}) wanted"  # noqa: S608
            f" limit {limit}",
            *(after or ()),
            *(up_to or ()),
        )
        return [tuple(row) for row in rows]

    async def range(
        self, connection: asyncpg.Connection, projection: Projection, after: Key | None,
        up_to: Key | None,
    ) -> AsyncGenerator[Records, None]:  # fmt: skip
        """Yield the records of a range of keys, in order."""
        select = projection.select(after=after is not None, up_to=up_to is not None)
        values = (*(after or ()), *(up_to or ()))
        try:
            # What fails must leave the snapshot readable.
            async with connection.transaction():
                if projection.target is Target.ENTRIES:
                    async for batch in read_arrow(
                        connection,
                        select,
                        projection.schema,
                        *values,
                        maximum_rows=self._chunk_rows,
                    ):
                        yield _entries(projection, batch)
                else:
                    with postgres.translate_errors():
                        read = _records(connection, projection, select, values)
                        async with aclosing(read) as batches:
                            async for records in batches:
                                yield records
        except (asyncpg.PostgresError, ValueError) as error:
            raise _fault(error) from error

    async def keyed(
        self, connection: asyncpg.Connection, projection: Projection, keys: Sequence[Key]
    ) -> Records:
        """Return the records with some keys; those that are not there are left out."""
        select = projection.select(where_keys=True)
        columns = [list(column) for column in zip(*keys, strict=True)]
        try:
            async with connection.transaction():
                rows = await self._fetch(connection, select, *columns)
            if projection.target is Target.ENTRIES:
                return _entries(projection, _batch(projection.schema, rows))
            return _keyed_records(projection, rows)
        except (asyncpg.PostgresError, ValueError) as error:
            raise _fault(error) from error

    async def raw(
        self, connection: asyncpg.Connection, projection: Projection, keys: Sequence[Key]
    ) -> Mapping[Key, dict[str, Any]]:
        """Return rows as the source has them, one for each key."""
        names = ", ".join(f"source.{quoted(column)}" for column in projection.key_columns)
        texts = ", ".join(f"source.{quoted(column)}::text" for column in projection.key_columns)
        given = [f"given{place}" for place, _ in enumerate(projection.key_types, 1)]
        arrays = ", ".join(f"${place}::text[]" for place, _ in enumerate(given, 1))
        casts = ", ".join(
            f"{name}::{type_}" for name, type_ in zip(given, projection.key_types, strict=True)
        )
        wanted = f"select {casts} from unnest({arrays}) given ({', '.join(given)})"  # noqa: S608
        rows = await self._fetch(
            connection,
            f"/* raw_rows */ select to_jsonb(source)::text, {texts} from {projection.table} source"  # noqa: S608
            f" where ({names}) in ({wanted})",
            *([list(column) for column in zip(*keys, strict=True)]),
        )
        return {tuple(key): json.loads(row) for row, *key in rows}

    async def normal(
        self, connection: asyncpg.Connection, projection: Projection, keys: Sequence[Key]
    ) -> Sequence[Key]:
        """Return keys as the projection writes them, each once; the log may write otherwise."""
        places = range(1, len(projection.key_columns) + 1)
        given = ", ".join(f"given{place}" for place in places)
        arrays = ", ".join(f"${place}::text[]" for place in places)
        texts = ", ".join(
            f"given{place}::{type_}::text"
            for place, type_ in zip(places, projection.key_types, strict=True)
        )
        rows = await self._fetch(
            connection,
            f"/* normal_keys */ select distinct {texts} from unnest({arrays}) given ({given})",  # noqa: S608
            *([list(column) for column in zip(*keys, strict=True)]),
        )
        return [tuple(row) for row in rows]

    async def identities(
        self, connection: asyncpg.Connection, projection: Projection, keys: Sequence[Key]
    ) -> Sequence[Mapping[str, Any]]:
        """Return what tells the records of some keys apart on Core, there or not."""
        columns = [list(column) for column in zip(*keys, strict=True)]
        try:
            async with connection.transaction():
                rows = await self._fetch(connection, projection.identities_sql(), *columns)
        except (asyncpg.PostgresError, ValueError) as error:
            _fault(error)
            if len(keys) == 1:
                # What cannot be told was never written.
                return []
            middle = len(keys) // 2
            return [
                *await self.identities(connection, projection, keys[:middle]),
                *await self.identities(connection, projection, keys[middle:]),
            ]
        return [{name: row[name] for name in projection.identity} for row in rows]

    async def _fetch(
        self, connection: asyncpg.Connection, sql: str, *values: object
    ) -> Sequence[asyncpg.Record]:
        with postgres.translate_errors():
            rows: Sequence[asyncpg.Record] = await connection.fetch(sql, *values)
            return rows


async def _records(
    connection: asyncpg.Connection, projection: Projection, select: str, values: Sequence[str]
) -> AsyncGenerator[Records, None]:
    held: list[asyncpg.Record] = []
    size = 0
    async for row in connection.cursor(select, *values, prefetch=_RECORDS_AT_A_TIME // 10):
        held.append(row)
        size += sum(len(value) for value in row if isinstance(value, str | bytes))
        if len(held) == _RECORDS_AT_A_TIME or size >= _RECORDS_BYTES:
            yield _keyed_records(projection, held)
            held, size = [], 0
    if held:
        yield _keyed_records(projection, held)


def _keyed_records(projection: Projection, rows: Sequence[asyncpg.Record]) -> Records:
    names = projection.keys
    keys = [tuple(row[name] for name in names) for row in rows]
    fields = [{name: row[name] for name in projection.values} for row in rows]
    return Records(cast("list[Key]", keys), None, fields)


def _entries(projection: Projection, batch: pa.RecordBatch) -> Records:
    columns = [batch.column(name).to_pylist() for name in projection.keys]
    keys = list(zip(*columns, strict=True))
    return Records(keys, batch.select(list(projection.values)), [])


def _batch(schema: pa.Schema, rows: Sequence[asyncpg.Record]) -> pa.RecordBatch:
    columns = [
        pa.array(
            [
                json.loads(row[field.name])
                if pa.types.is_list(field.type) and row[field.name] is not None
                else row[field.name]
                for row in rows
            ],
            field.type,
        )
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _fault(error: Exception) -> RowUnreadableError:
    """Return that a value is at fault; any other error is raised again."""
    if isinstance(error, asyncpg.PostgresError):
        state: str = error.sqlstate or ""
        if not state.startswith(_ROW_FAULTS):
            raise error
        return RowUnreadableError(RecordError(state, str(error)))
    return RowUnreadableError(RecordError("VALUE_UNREADABLE", str(error)))
