"""Artifacts and notes in Postgres."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from liftos_kit import postgres
from liftos_kit.core.errors import EtagMismatchError
from liftos_kit.core.filters import Filter
from liftos_memory.adapters.postgres.database import Database
from liftos_memory.adapters.postgres.record_columns import RECORD_COLUMNS, record_condition
from liftos_memory.adapters.postgres.writes import PostgresWrite, affected, begin
from liftos_memory.domain.records import Collection, Record, record_name
from liftos_memory.ports import DeleteCounts, Row, UpsertCounts, WriteContext
from liftos_memory.record_ports import RecordWrite

_SQL: Final = postgres.load_queries("liftos_memory", "sql/records.sql")
_COLUMNS: Final = ", ".join(RECORD_COLUMNS)
_PAGE_BYTES: Final = 6 * 1024 * 1024
"""Texts and bodies of one page, at most, but for the first of it; a message holds 16 MiB."""


class PostgresRecordWrite(PostgresWrite):
    """One write of records; see `liftos_memory.record_ports.RecordWrite`."""

    async def upsert(self, collection: Collection, records: Sequence[Record]) -> UpsertCounts:
        """Write records; those that are the same stay as they are."""
        expected = {record.record_id: int(record.etag, 16) for record in records if record.etag}
        new_ids = [record_id for record_id, tx in expected.items() if tx == 0]
        if expected:
            await self._lock(collection, expected)
        tag = await _SQL.upsert_records(
            self._connection,
            org=self._write.org,
            collection=collection,
            origin=self._write.origin,
            tx=self._write.tx,
            record_ids=[record.record_id for record in records],
            kinds=[record.kind for record in records],
            scopes=[record.scope for record in records],
            titles=[record.title for record in records],
            texts=[record.text for record in records],
            # As JSON, because arrays of arrays must have equal lengths.
            labels=[json.dumps(record.labels) for record in records],
            bodies=[record.body for record in records],
            contents=[record.content or None for record in records],
            content_types=[record.content_type for record in records],
            digests=[record.sha256() for record in records],
            new_ids=new_ids,
        )
        if new_ids:
            await self._check_new(collection, new_ids)
        upserted = affected(tag)
        return UpsertCounts(upserted, len(records) - upserted)

    async def _lock(self, collection: Collection, expected: Mapping[str, int]) -> None:
        """Lock records, and check that they are as expected; 0 expects none."""
        found = _SQL.lock_records(
            self._connection,
            org=self._write.org,
            collection=collection,
            record_ids=list(expected),
        )
        positions = {row["record_id"]: row["tx"] async for row in found}
        for record_id, tx in expected.items():
            if positions.get(record_id, 0) != tx:
                raise EtagMismatchError(record_name(self._write.org, collection, record_id))

    async def _check_new(self, collection: Collection, record_ids: Sequence[str]) -> None:
        """Check that nobody else wrote records meanwhile, which no lock could keep from it."""
        found = _SQL.records_of_others(
            self._connection,
            org=self._write.org,
            collection=collection,
            record_ids=record_ids,
            tx=self._write.tx,
        )
        async for row in found:
            raise EtagMismatchError(record_name(self._write.org, collection, row["record_id"]))

    async def keep_checkpoint(self, scope: str, checkpoint: bytes) -> None:
        """Store how far the writer of a scope is."""
        await _SQL.keep_checkpoint(
            self._connection, org=self._write.org, scope=scope, checkpoint=checkpoint
        )

    async def delete(
        self, collection: Collection, record_ids: Sequence[str], *, origin: str
    ) -> DeleteCounts:
        """Delete records; with an origin only those that it wrote last."""
        row = await _SQL.delete_records(
            self._connection,
            org=self._write.org,
            collection=collection,
            record_ids=record_ids,
            origin=origin,
        )
        return DeleteCounts(**row)

    async def purge(self, collection: Collection, origin: str) -> int:
        """Delete what an origin wrote last."""
        return affected(
            await _SQL.purge_records(
                self._connection, org=self._write.org, collection=collection, origin=origin
            )
        )


class PostgresRecordStore:
    """Records in Postgres; see `liftos_memory.record_ports.RecordStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def write(self, org: str, context: WriteContext) -> AsyncIterator[RecordWrite]:
        """Begin a write."""
        async with begin(self._database, org, context) as write:
            yield PostgresRecordWrite(write)

    async def get(
        self, org: str, collection: Collection, record_id: str, version: int
    ) -> Row | None:
        """Return one version of a record."""
        keys = {"org": org, "collection": collection, "record_id": record_id}
        row: Row | None
        async with self._database.read(org) as connection:
            if version:
                row = await _SQL.record_version(connection, **keys, version=version)
            else:
                row = await _SQL.newest_record(connection, **keys)
        return row

    async def list_page(
        self,
        org: str,
        collection: Collection,
        *,
        where: Filter | None,
        after: str | None,
        limit: int,
    ) -> tuple[Sequence[Row], bool]:
        """Return newest versions by id, after an id."""
        condition, values = record_condition(collection, where, first_parameter=5)
        source = f"""
            select {_COLUMNS} from records
            where org = $1 and collection = $2 and record_id > $3 and {condition}
            order by record_id limit $4
        """  # noqa: S608 - names are ours, values are parameters
        return await self._page(
            org, source, "record_id", [org, int(collection), after or "", limit + 1, *values], limit
        )

    async def list_versions(
        self, org: str, collection: Collection, record_id: str, *, before: int | None, limit: int
    ) -> tuple[Sequence[Row], bool]:
        """Return versions of one record, newest first."""
        of_record = (
            "where org = $1 and collection = $2 and record_id = $3"
            " and ($5::bigint is null or version < $5)"
        )
        source = f"""
            select {_COLUMNS} from records {of_record}
            union all
            select {_COLUMNS} from record_history {of_record}
            order by version desc limit $4
        """  # noqa: S608 - names are ours, values are parameters
        return await self._page(
            org, source, "version desc", [org, int(collection), record_id, limit + 1, before], limit
        )

    async def _page(
        self, org: str, source: str, order: str, parameters: Sequence[object], limit: int
    ) -> tuple[Sequence[Row], bool]:
        """Return the rows of the source that fit a page, at least one, and whether more are left.

        The source gives one row more than the limit.
        """
        statement = f"""/* page_of_records */
            select * from (
                select found.*, row_number() over (order by {order}) as place,
                       count(*) over () as found_count,
                       sum(octet_length(text) + coalesce(octet_length(body::text), 0))
                           over (order by {order}) as size_bytes
                from ({source}) found
            ) measured
            where place = 1 or size_bytes <= {_PAGE_BYTES}
            order by {order}
        """  # noqa: S608 - names are ours, values are parameters
        async with self._database.read(org) as connection:
            rows: Sequence[Row] = await connection.fetch(statement, *parameters)
        page = rows[:limit]
        return page, bool(rows) and rows[0]["found_count"] > len(page)

    async def sample_of_origin(
        self, org: str, collection: Collection, origin: str, *, limit: int
    ) -> tuple[int, Sequence[str]]:
        """Return what a purge would delete."""
        keys = {"org": org, "collection": collection, "origin": origin}
        async with self._database.read(org, snapshot=True) as connection:
            count = await _SQL.count_of_origin(connection, **keys)
            ids = [
                row["record_id"]
                async for row in _SQL.sample_of_origin(connection, **keys, limit=limit)
            ]
        return count, ids

    async def last_version(self, org: str) -> int:
        """Return the org's newest version."""
        return await self._database.last_version(org)
