"""Sources of orgs' own in Postgres."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from liftos_ingestion.catalog_ports import NewSource, SourceKind, SourceWrite, StoredSource
from liftos_kit import postgres
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.postgres_pages import Listing, Order, Row, read_page, word_of
from liftos_kit.postgres_requests import PostgresRequests

_SQL: Final = postgres.load_queries("liftos_ingestion", "sql/sources.sql")
_SOURCES: Final = Listing(
    name="list_sources",
    select="select * from sources where org = $1",
    order=(Order("source", "text"),),
    fields={
        "display_name": "display_name",
        "kind": word_of([kind.name for kind in SourceKind], "kind"),
        "built_in": "false",
    },
)


class PostgresSourceWrite(PostgresRequests):
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
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[StoredSource], JsonValue]:
        """Return a page of sources by id, and the cursor of the next one; None at the end."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as reading:
            rows, next_cursor = await read_page(
                reading, _SOURCES, [org], where=where, cursor=cursor, limit=limit
            )
        return [_stored(row) for row in rows], next_cursor


def _stored(row: Row) -> StoredSource:
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
