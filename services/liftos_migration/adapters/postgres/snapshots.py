"""Snapshots as the ledger has them; see `liftos_migration.snapshot_ports.SnapshotRecords`."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import asyncpg

from liftos_kit import postgres
from liftos_kit.core.paging import JsonValue
from liftos_kit.postgres_pages import Listing, Order, Row, read_page
from liftos_migration.adapters.postgres.database import held
from liftos_migration.domain.snapshots import Snapshot
from liftos_migration.ledger_ports import Lease

_SQL: Final = postgres.load_queries("liftos_migration", "sql/snapshots.sql")
_SNAPSHOTS: Final = Listing(
    name="list_snapshots",
    select="select * from snapshots where org = $1 and migration = $2",
    order=(Order("create_time", "timestamptz", descends=True), Order("snapshot", "text")),
    fields={},
)


class PostgresSnapshotRecords:
    """The snapshots of migrations."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def keep(self, lease: Lease, snapshot: Snapshot) -> None:
        """Keep a snapshot."""
        columns = asdict(snapshot)
        columns["snapshot"] = columns.pop("id")
        columns["tables"] = list(snapshot.tables)
        async with held(self._pool, lease) as connection:
            await _SQL.keep_snapshot(
                connection, org=lease.org, migration=lease.migration, **columns
            )

    async def forget(self, lease: Lease, snapshots: Sequence[str] | None) -> None:
        """Forget snapshots that were deleted."""
        keys = {"org": lease.org, "migration": lease.migration}
        async with held(self._pool, lease) as connection:
            if snapshots is None:
                await _SQL.forget_all_snapshots(connection, **keys)
            else:
                await _SQL.forget_snapshots(connection, **keys, snapshots=list(snapshots))

    async def list_page(
        self, org: str, migration: str, *, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[tuple[Snapshot, int]], JsonValue]:
        """Return snapshots, newest first, each with the step that it was taken before."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            rows, following = await read_page(
                connection, _SNAPSHOTS, [org, migration], where=None, cursor=cursor, limit=limit
            )
        return [(_snapshot(row), row["before_step"]) for row in rows], following


def _snapshot(row: Row) -> Snapshot:
    return Snapshot(
        id=row["snapshot"],
        tables=tuple(row["tables"]),
        row_count=row["row_count"],
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
        schema_sha256=row["schema_sha256"],
        plan_sha256=row["plan_sha256"],
        lsn=row["lsn"],
        create_time=row["create_time"],
        restore_seconds=row["restore_seconds"],
    )
