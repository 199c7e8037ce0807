"""Sources of orgs' own in Postgres."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from liftos_ingestion.adapters.postgres.requests import PostgresWrite
from liftos_ingestion.catalog_ports import NewSource, SourceKind, SourceWrite, StoredSource
from liftos_kit import postgres
from liftos_kit.core.filters import Filter, to_sql

_SQL: Final = postgres.load_queries("liftos_ingestion", "sql/sources.sql")
_COLUMNS: Final = {
    "display_name": "display_name",
    "kind": f"(array[{', '.join(repr(kind.name) for kind in SourceKind)}])[kind]",
    "built_in": "false",
}
"""What filters may use."""


class PostgresSourceWrite(PostgresWrite):
    """A change in Postgres; see `liftos_ingestion.catalog_ports.SourceWrite`."""

    async def lock(self, source: str) -> StoredSource | None:
        """Return a source as it is now and keep others from changing or using it anew."""
        row = await _SQL.lock_source(self._connection, org=self._org, source=source)
        return None if row is None else _stored(row)

    async def upsert(self, spec: NewSource) -> StoredSource:
        """Store a source."""
        row = await _SQL.upsert_source(
            self._connection,
            org=self._org,
            source=spec.source,
            display_name=spec.display_name,
            kind=spec.kind,
            definition=dict(spec.definition),
            mapping=dict(spec.mapping),
        )
        return _stored(row)

    async def user_of(self, source: str) -> str | None:
        """Return the id of a connection that uses a source."""
        row = await _SQL.user_of_source(self._connection, org=self._org, source=source)
        return None if row is None else row["connection"]

    async def delete(self, source: str) -> None:
        """Remove a source."""
        await _SQL.delete_source(self._connection, org=self._org, source=source)


class PostgresSources:
    """Sources in Postgres; see `liftos_ingestion.catalog_ports.SourceStore`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def write(self, org: str) -> AsyncIterator[SourceWrite]:
        """Begin a change."""
        async with postgres.transaction(self._pool, org=org) as connection:
            yield PostgresSourceWrite(connection, org)

    async def find(self, org: str, source: str) -> StoredSource | None:
        """Return a source."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as reading:
            row = await _SQL.get_source(reading, org=org, source=source)
        return None if row is None else _stored(row)

    async def list_page(
        self, org: str, *, where: Filter | None, after: str, limit: int
    ) -> Sequence[StoredSource]:
        """Return sources by id, from behind `after` on."""
        condition, values = to_sql(where, columns=_COLUMNS, first_parameter=4)
        statement = f"""
            /* list_sources */ select * from sources
            where org = $1 and source > $2 and {condition}
            order by source limit $3
        """  # noqa: S608 - names are ours, values are parameters
        async with postgres.transaction(self._pool, org=org, read_only=True) as reading:
            rows = await reading.fetch(statement, org, after, limit, *values)
        return [_stored(row) for row in rows]


def _stored(row: asyncpg.Record) -> StoredSource:
    return StoredSource(
        spec=NewSource(
            source=row["source"],
            display_name=row["display_name"],
            kind=SourceKind(row["kind"]),
            definition=row["definition"],
            mapping=row["mapping"],
        ),
        revision=row["revision"],
        create_time=row["create_time"],
        update_time=row["update_time"],
    )
