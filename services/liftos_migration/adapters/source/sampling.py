"""A few rows of each table; see `liftos_migration.drafting_ports.SourceSampler`."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

import asyncpg

from liftos_kit import postgres
from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.adapters.source.references import SourceReferences
from liftos_migration.adapters.source.rows import PostgresRows
from liftos_migration.domain.inventory import Inventory, Item
from liftos_migration.domain.mapping import Mapping as Plan
from liftos_migration.domain.mapping import TableMapping, Target
from liftos_migration.domain.migrations import SourceStore
from liftos_migration.domain.projection import Projection, projection
from liftos_migration.domain.records import RecordInvalidError, artifact_of, note_of, rate_of
from liftos_migration.domain.targets import TARGET_FIELDS
from liftos_migration.drafting_ports import JsonRow, MappingSample, SampleError

_JSON: Final = ("body", "attributes", "actions")


class PostgresSampler:
    """Reads a few rows of sources.

    Args:
        references: Where their addresses are.
    """

    def __init__(self, references: SourceReferences) -> None:
        self._references = references

    async def rows(
        self, org: str, source: SourceStore, inventory: Inventory, count: int
    ) -> Mapping[str, Sequence[JsonRow]]:
        """Return some rows of each table."""
        async with self._connections(org, source).connect() as connection:
            return {
                item.object: await sample_rows(connection, item, count)
                for item in inventory.tables()
            }

    async def samples(
        self, org: str, source: SourceStore, mapping: Plan, inventory: Inventory, count: int
    ) -> Sequence[MappingSample]:
        """Return some rows beside what they become."""
        items = {item.object: item for item in inventory.tables()}
        found: list[MappingSample] = []
        async with self._connections(org, source).connect() as connection:
            for table in mapping.tables:
                if table.table in items and TARGET_FIELDS[table.target]:
                    found += await sample_records(connection, table, items[table.table], org, count)
        return found

    def _connections(self, org: str, source: SourceStore) -> SourceConnections:
        path = "migration.source.database_reference"
        url = self._references.url(org, source.database_reference, path=path)
        return SourceConnections(url, source.schemas, maximum=1)


async def sample_rows(connection: asyncpg.Connection, item: Item, count: int) -> Sequence[JsonRow]:
    """Return some rows of a table, as JSON."""
    table = item.object
    with postgres.translate_errors():
        rows = await connection.fetch(
            f"/* sample_rows */ select to_jsonb(one)::text from {table} one limit $1",  # noqa: S608
            count,
        )
    return [json.loads(row[0]) for row in rows]


async def sample_records(
    connection: asyncpg.Connection, table: TableMapping, item: Item, org: str, count: int
) -> Sequence[MappingSample]:
    """Return records of a table with a row of each; where none can be made, rows alone."""
    rows = projection(table, item, org)
    try:
        with postgres.translate_errors():
            records = await connection.fetch(
                f"/* sample_records */ select * from ({rows.select()}) record limit $1",  # noqa: S608
                count,
            )
    except asyncpg.PostgresError as error:
        told = SampleError("", f"Postgres says: {error.as_dict().get('message', error)}")
        return [
            MappingSample(table.table, row, None, (told,))
            for row in await sample_rows(connection, item, count)
        ]
    keys = [tuple(record[name] for name in rows.keys) for record in records]
    raw = await PostgresRows().raw(connection, rows, keys) if keys else {}
    return [
        _sample(rows, raw.get(key, {}), dict(record))
        for key, record in zip(keys, records, strict=True)
    ]


def _sample(rows: Projection, row: JsonRow, record: dict[str, Any]) -> MappingSample:
    try:
        match rows.target:
            case Target.ARTIFACTS:
                artifact_of(record, rows.scope)
            case Target.NOTES:
                note_of(record, rows.scope)
            case Target.EXCHANGE_RATES:
                rate_of(record)
    except RecordInvalidError as error:
        return MappingSample(rows.table, row, None, (SampleError(error.field, error.problem),))
    values = {
        name: _shown(name, record[name])
        for name in rows.values
        if record[name] is not None and record[name] not in ("", [], b"")
    }
    return MappingSample(rows.table, row, values)


def _shown(name: str, value: Any) -> Any:  # noqa: ANN401 - of JSON
    match value:
        case str() if name in _JSON:
            return json.loads(value)
        case bytes():
            return f"{len(value):,} bytes"
        case date():
            return value.isoformat()
        case _:
            return value
