"""The entry store on Postgres."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from io import BytesIO
from itertools import islice
from typing import Final

import pyarrow as pa
import zstandard
from asyncpg import Record

from liftos_kit import postgres, telemetry
from liftos_kit.core.errors import EpochFencedError
from liftos_kit.core.filters import Filter
from liftos_memory.adapters.postgres.database import Database
from liftos_memory.adapters.postgres.entry_columns import (
    BATCH_COLUMNS,
    CREATE_BATCH,
    ENTRY_SQL_NAMES,
    STAGE_SQL,
    copy_messages,
    database_table,
    entry_condition,
    restated_condition,
    upsert_sql,
)
from liftos_memory.adapters.postgres.writes import PostgresWrite, affected, begin
from liftos_memory.domain.slices import Lineage, SliceScope, SliceState
from liftos_memory.domain.sources import BUILT_IN_PLATFORMS
from liftos_memory.ports import (
    DeleteCounts,
    EntryWrite,
    OpenSlice,
    Row,
    SliceCounts,
    StoredSlice,
    StreamPosition,
    UpsertCounts,
    WriteContext,
    WriteFence,
)

_SQL: Final = postgres.load_queries("liftos_memory", "sql/entries.sql")
_CREATE_BATCH: Final = f"/* create_batch */{CREATE_BATCH}"
_STAGE_BATCH: Final = f"/* stage_batch */{STAGE_SQL}"
_UPSERT_BATCH: Final = f"/* upsert_batch */{upsert_sql('batch')}"
_UPSERT_STAGED: Final = f"""/* upsert_staged */
with written as ({
    upsert_sql(
        "(select "
        + ", ".join(BATCH_COLUMNS)
        + " from staged_entries where org = $1 and slice = $2::uuid order by date, entry_key)"
    )
}
returning old.org is null as inserted, {restated_condition("old", "new")} as restated)
select count(*) filter (where inserted), count(*) filter (where restated and not inserted),
       count(*) filter (where not restated)
from written
"""  # noqa: S608 - column names are ours
_RAW_COMPRESSION_LEVEL: Final = 6
_ENCODED_AT_ONCE_ROWS: Final = 1_024
"""Up to here an encoding takes about a millisecond, and a thread would cost more."""


class PostgresEntryWrite(PostgresWrite):
    """One write of entries; see `liftos_memory.ports.EntryWrite`."""

    async def _copy_batch(self, rows: pa.Table) -> None:
        if not self._write.staging_exists:
            await self._connection.execute(_CREATE_BATCH)
            self._write.staging_exists = True
        with telemetry.postgres_span("COPY", "batch"):
            await self._connection.copy_to_table(
                "batch",
                schema_name="pg_temp",
                format="binary",
                source=_encoded(rows),
            )

    async def upsert(self, rows: pa.Table) -> UpsertCounts:
        """Write rows; those that are the same stay as they are."""
        if rows.num_rows == 0:
            return UpsertCounts(0, 0)
        await self._copy_batch(rows)
        tag = await self._connection.execute(
            _UPSERT_BATCH, self._write.org, None, self._write.origin, self._write.tx
        )
        upserted = affected(tag)
        return UpsertCounts(upserted, rows.num_rows - upserted)

    async def upsert_parts(self, rows: pa.Table, sizes: Sequence[int]) -> Sequence[UpsertCounts]:
        """Write rows that are parts of these sizes; return what each part did."""
        total = await self.upsert(rows)
        if len(sizes) == 1:
            return [total]
        if not total.unchanged:
            return [UpsertCounts(size, 0) for size in sizes]
        if not total.upserted:
            return [UpsertCounts(0, size) for size in sizes]
        written = {
            row["entry_key"]
            async for row in _SQL.written_entries(
                self._connection, org=self._write.org, tx=self._write.tx
            )
        }
        keys = iter(rows["entry_key"].to_pylist())
        upserted = [sum(key in written for key in islice(keys, size)) for size in sizes]
        return [
            UpsertCounts(count, size - count) for count, size in zip(upserted, sizes, strict=True)
        ]

    async def purge(self, origin: str, where: Filter | None) -> int:
        """Delete what belongs to an origin."""
        condition, values = entry_condition(where, first_parameter=3)
        tag = await self._connection.execute(
            "/* purge_entries */ delete from entries"  # noqa: S608 - values are parameters
            f" where org = $1 and origin = $2 and {condition}",
            self._write.org,
            origin,
            *values,
        )
        return affected(tag)

    async def delete(self, days: Sequence[date], digests: Sequence[bytes]) -> DeleteCounts:
        """Delete entries of the write's origin."""
        by_day: dict[date, list[bytes]] = {}
        for day, digest in zip(days, digests, strict=True):
            by_day.setdefault(day, []).append(digest)
        deleted = kept = 0
        # In the order of days, as those who write them, so that two do not wait in a circle.
        for day in sorted(by_day):
            counts = await _SQL.delete_entries(
                self._connection,
                org=self._write.org,
                origin=self._write.origin,
                day=day,
                digests=by_day[day],
            )
            deleted += counts["deleted"]
            kept += counts["kept"]
        return DeleteCounts(deleted, kept)

    async def lock_stream(self, stream_id: str) -> StreamPosition:
        """Read a stream's position under a lock."""
        keys = {"org": self._write.org, "stream_id": stream_id}
        row = await _SQL.lock_stream(self._connection, **keys)
        if row is None:
            await _SQL.claim_stream(self._connection, **keys)
            row = await _SQL.lock_stream(self._connection, **keys)
        return _position(row)

    async def advance_stream(
        self,
        stream_id: str,
        *,
        sequence: int,
        checkpoint: bytes,
        fencing_epoch: int,
        open_slice: uuid.UUID | None,
    ) -> None:
        """Store how far the stream is."""
        await _SQL.advance_stream(
            self._connection,
            org=self._write.org,
            stream_id=stream_id,
            last_sequence=sequence,
            checkpoint=checkpoint,
            fencing_epoch=fencing_epoch,
            open_slice=open_slice,
        )

    async def open_slice(
        self, stream_id: str, scope: SliceScope, lineage: Lineage, *, final: bool
    ) -> uuid.UUID:
        """Begin a slice."""
        slice_id = uuid.uuid4()
        await _SQL.open_slice(
            self._connection,
            org=self._write.org,
            slice=slice_id,
            stream_id=stream_id,
            platform=scope.platform,
            account_id=scope.account_id,
            level=scope.level,
            start_date=scope.start_date,
            end_date=scope.end_date,
            attribution_key=scope.attribution_key,
            date_basis=scope.date_basis,
            source=lineage.source,
            api_version=lineage.api_version,
            request_id=lineage.request_id,
            query_hash=lineage.query_hash,
            fetch_time=lineage.fetch_time,
            final=final,
            origin=self._write.origin,
        )
        return slice_id

    async def stage(self, slice_id: uuid.UUID, rows: pa.Table) -> int:
        """Keep rows of an open slice aside."""
        if rows.num_rows == 0:
            return 0
        await self._copy_batch(rows)
        await self._connection.execute(_STAGE_BATCH, self._write.org, slice_id, self._write.origin)
        return int(rows.num_rows)

    async def commit_slice(self, opened: OpenSlice, raw: bytes) -> SliceCounts:
        """Replace the slice's scope by its staged rows."""
        org, scope = self._write.org, opened.scope
        vanished = affected(
            await _SQL.vanish(
                self._connection,
                org=org,
                slice=opened.slice,
                platform=scope.platform,
                account_id=scope.account_id,
                level=scope.level,
                start_date=scope.start_date,
                end_date=scope.end_date,
                attribution_key=scope.attribution_key,
                date_basis=scope.date_basis,
            )
        )
        inserted, restated, settled = await self._connection.fetchrow(
            _UPSERT_STAGED, org, opened.slice, self._write.origin, self._write.tx
        )
        rows = affected(await _SQL.drop_staged(self._connection, org=org, slice=opened.slice))
        counts = SliceCounts(rows, inserted, restated, settled, vanished)
        await self._close_slice(opened.slice, SliceState.COMMITTED, counts, raw=raw)
        return counts

    async def abort_slice(self, slice_id: uuid.UUID, reason: str) -> None:
        """Drop the staged rows of a slice."""
        await _SQL.drop_staged(self._connection, org=self._write.org, slice=slice_id)
        await self._close_slice(
            slice_id, SliceState.ABORTED, SliceCounts(0, 0, 0, 0, 0), abort_reason=reason
        )

    async def _close_slice(
        self,
        slice_id: uuid.UUID,
        state: SliceState,
        counts: SliceCounts,
        *,
        raw: bytes = b"",
        abort_reason: str = "",
    ) -> None:
        compressed = (
            await asyncio.to_thread(zstandard.compress, raw, _RAW_COMPRESSION_LEVEL)
            if raw
            else None
        )
        await _SQL.close_slice(
            self._connection,
            org=self._write.org,
            slice=slice_id,
            state=state,
            row_count=counts.rows,
            inserted_count=counts.inserted,
            restated_count=counts.restated,
            settled_count=counts.settled,
            vanished_count=counts.vanished,
            raw=compressed,
            raw_size_bytes=len(raw),
            abort_reason=abort_reason,
        )


class PostgresEntryStore:
    """Entries in Postgres; see `liftos_memory.ports.EntryStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def write(self, org: str, context: WriteContext) -> AsyncIterator[EntryWrite]:
        """Begin a write."""
        async with begin(self._database, org, context) as write:
            yield PostgresEntryWrite(write)

    async def prepare_days(self, days: Sequence[date]) -> None:
        """Make room for entries of these days."""
        await self._database.ensure_partitions(days)

    async def platforms(self, org: str) -> frozenset[str]:
        """Return every registered source of the org."""
        async with self._database.read(org) as connection:
            own = [row["source"] async for row in _SQL.registered_sources(connection, org=org)]
        return frozenset(own) | BUILT_IN_PLATFORMS

    async def stream_position(self, org: str, stream_id: str) -> StreamPosition:
        """Return how far a stream has been committed."""
        async with self._database.read(org) as connection:
            row = await _SQL.stream_position(connection, org=org, stream_id=stream_id)
            if row is None:
                row = await _SQL.record_position(connection, org=org, scope=stream_id)
        return StreamPosition() if row is None else _position(row)

    async def get(self, org: str, day: date, key: bytes) -> Row | None:
        """Return one entry, in one round trip."""
        return await self._database.entry_reads.fetchrow(org, day, key)

    async def list_page(
        self,
        org: str,
        *,
        where: Filter | None,
        order_by: Sequence[tuple[str, bool]],
        after: Sequence[object] | None,
        limit: int,
    ) -> Sequence[Row]:
        """Return entries in order, beginning after a row."""
        order = [
            *((ENTRY_SQL_NAMES[name], descends) for name, descends in order_by),
            ("date", False),
            ("entry_key", False),
        ]
        condition, values = entry_condition(where, first_parameter=3)
        values = [org, limit, *values]
        if after is not None:
            beyond, after_values = _beyond(order, after, first_parameter=len(values) + 1)
            condition += f" and ({beyond})"
            values += after_values
        ordering = ", ".join(
            f"{column} {'desc nulls last' if descends else 'asc nulls first'}"
            for column, descends in order
        )
        async with self._database.read(org) as connection:
            rows: Sequence[Row] = await connection.fetch(
                f"/* list_entries */ select * from entries where org = $1 and {condition}"  # noqa: S608
                f" order by {ordering} limit $2",
                *values,
            )
        return rows

    async def sample_of_origin(
        self, org: str, origin: str, where: Filter | None, *, limit: int
    ) -> tuple[int, Sequence[tuple[date, bytes]]]:
        """Return what a purge would delete."""
        condition, values = entry_condition(where, first_parameter=3)
        matching = f"from entries where org = $1 and origin = $2 and {condition}"
        async with self._database.read(org, snapshot=True) as connection:
            count = await connection.fetchval(
                f"/* count_entries_of_origin */ select count(*) {matching}", org, origin, *values
            )
            rows = await connection.fetch(
                f"/* sample_entries_of_origin */ select date, entry_key {matching}"
                f" order by date, entry_key limit ${len(values) + 3}",
                org,
                origin,
                *values,
                limit,
            )
        return count, [(row["date"], row["entry_key"]) for row in rows]

    async def get_slice(
        self, org: str, slice_id: uuid.UUID, *, with_raw: bool
    ) -> StoredSlice | None:
        """Return one slice."""
        async with self._database.read(org) as connection:
            row = await _SQL.get_slice(connection, org=org, slice=slice_id, with_raw=with_raw)
        return None if row is None else await _slice(row)

    async def set_fence(
        self, org: str, scope: str, *, epoch: int, closed: bool
    ) -> tuple[WriteFence, int]:
        """Set a fence once no write of the scope is under way."""
        async with postgres.transaction(self._database.pool, org=org) as connection:
            await _SQL.lock_fence(connection, org=org, scope=scope)
            row = await _SQL.set_fence(connection, org=org, scope=scope, epoch=epoch, closed=closed)
            if row is None:
                current = await _SQL.get_fence(connection, org=org, scope=scope)
                raise EpochFencedError(current_epoch=current["epoch"], received=epoch)
            version = await _SQL.last_version(connection, org=org)
        return WriteFence(**row), version or 0

    async def get_fence(self, org: str, scope: str) -> WriteFence | None:
        """Return the fence of a scope."""
        async with self._database.read(org) as connection:
            row = await _SQL.get_fence(connection, org=org, scope=scope)
        return None if row is None else WriteFence(**row)

    async def last_version(self, org: str) -> int:
        """Return the org's newest version."""
        return await self._database.last_version(org)


def _beyond(
    order: Sequence[tuple[str, bool]], after: Sequence[object], *, first_parameter: int
) -> tuple[str, list[object]]:
    """Return the condition of rows after `after`; nulls are first ascending, last descending."""
    alternatives = []
    equal: list[str] = []
    for offset, ((column, descends), value) in enumerate(zip(order, after, strict=True)):
        place = f"${first_parameter + offset}"
        comparison = "<" if descends else ">"
        if value is None:
            further = "false" if descends else f"{column} is not null"
        else:
            further = f"{column} {comparison} {place}"
            if descends:
                further = f"({further} or {column} is null)"
        alternatives.append(" and ".join([*equal, further]))
        equal.append(f"{column} is not distinct from {place}")
    return " or ".join(f"({alternative})" for alternative in alternatives), list(after)


def _position(row: Record) -> StreamPosition:
    opened = None
    if row["slice"] is not None:
        opened = OpenSlice(row["slice"], _scope(row), row["final"])
    return StreamPosition(
        last_sequence=row["last_sequence"],
        checkpoint=row["checkpoint"],
        fencing_epoch=row["fencing_epoch"],
        open_slice=opened,
        version=row["last_version"] or 0,
    )


def _scope(row: Record) -> SliceScope:
    return SliceScope(
        platform=row["platform"],
        account_id=row["account_id"],
        level=row["level"],
        start_date=row["start_date"],
        end_date=row["end_date"],
        attribution_key=row["attribution_key"],
        date_basis=row["date_basis"],
    )


async def _slice(row: Record) -> StoredSlice:
    raw = row["raw"]
    return StoredSlice(
        slice=row["slice"],
        scope=_scope(row),
        lineage=Lineage(
            row["source"],
            row["api_version"],
            row["request_id"],
            row["query_hash"],
            row["fetch_time"],
        ),
        state=SliceState(row["state"]),
        counts=SliceCounts(
            row["row_count"],
            row["inserted_count"],
            row["restated_count"],
            row["settled_count"],
            row["vanished_count"],
        ),
        raw_size_bytes=row["raw_size_bytes"],
        raw=None if raw is None else await asyncio.to_thread(zstandard.decompress, raw),
        origin=row["origin"],
        create_time=row["create_time"],
        end_time=row["end_time"],
    )


def _encoded(rows: pa.Table) -> BytesIO | AsyncIterator[bytes]:
    """Return rows as binary COPY data; a large table is encoded in a thread, on its way."""
    if rows.num_rows <= _ENCODED_AT_ONCE_ROWS:
        return BytesIO(b"".join(copy_messages(database_table(rows))))
    return _produced(lambda: copy_messages(database_table(rows)))


async def _produced(start: Callable[[], Iterator[bytes]]) -> AsyncIterator[bytes]:
    """Run a heavy generator in a thread, one item ahead of its reader."""
    end = object()
    items = await asyncio.to_thread(start)
    following = asyncio.ensure_future(asyncio.to_thread(next, items, end))
    while (item := await following) is not end:
        following = asyncio.ensure_future(asyncio.to_thread(next, items, end))
        assert isinstance(item, bytes)
        yield item
