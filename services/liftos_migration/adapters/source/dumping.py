"""Snapshots of sources as dumps in a directory; see `liftos_migration.snapshot_ports`."""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from liftos_kit.dumps.dumping import DumpRequest, take_dump
from liftos_kit.dumps.errors import DumpError, DumpProblem
from liftos_kit.dumps.restoring import check_dump, drop_database, scratch_database
from liftos_kit.dumps.shelf import Dump, list_dumps, prune, read_dump
from liftos_migration.adapters.source.objects import SCHEMA
from liftos_migration.adapters.source.references import SourceReferences
from liftos_migration.domain.snapshots import Snapshot
from liftos_migration.snapshot_ports import Progress, SnapshotRequest

_SCHEMA: Final = "schema_sha256"
_PLAN: Final = "plan_sha256"
_SHOWN_TABLES: Final = 1000


class DumpedSnapshots:
    """Takes, keeps and tests snapshots.

    Args:
        directory: A folder for each org in it has a folder for each migration.
        references: Where the addresses of sources are.
        restore_url: Address of the server on which they are tested, for a role that may create
            databases, and should have no other right: a source's own functions run as it.
        jobs: Tables at a time.
    """

    def __init__(
        self, directory: Path, references: SourceReferences, restore_url: str, *, jobs: int
    ) -> None:
        self._directory = directory
        self._references = references
        self._restore_url = restore_url
        self._jobs = jobs

    async def list(self, org: str, migration: str) -> Sequence[Snapshot]:
        """Return the whole snapshots of a migration."""
        listing = await asyncio.to_thread(list_dumps, self._folder(org, migration))
        return [_snapshot(each) for each in listing.dumps]

    async def take(
        self, org: str, migration: str, request: SnapshotRequest, on_progress: Progress
    ) -> Snapshot:
        """Take a snapshot."""
        url = self._references.url(
            org, request.source.database_reference, path="migration.source.database_reference"
        )
        dump = await take_dump(
            url,
            self._folder(org, migration),
            DumpRequest(
                schemas=request.source.schemas,
                # What triggers call by which changes are seen.
                bare_schemas=(SCHEMA,),
                jobs=self._jobs,
                labels={_SCHEMA: request.schema_sha256, _PLAN: request.plan_sha256},
            ),
            on_progress=on_progress,
        )
        return _snapshot(dump)

    async def test(
        self, org: str, migration: str, snapshot: str, on_progress: Progress
    ) -> Snapshot:
        """Restore a snapshot into a scratch database and compare it."""
        dump = await asyncio.to_thread(read_dump, self._folder(org, migration) / snapshot)
        return _snapshot(
            await check_dump(self._restore_url, dump, jobs=self._jobs, on_progress=on_progress)
        )

    async def prune(self, org: str, migration: str, *, keep: int) -> Sequence[str]:
        """Delete all but the newest that count."""
        return await asyncio.to_thread(prune, self._folder(org, migration), keep=keep)

    async def delete_all(self, org: str, migration: str) -> None:
        """Delete all snapshots of a migration, and what tests that were cut off have left."""
        folder = self._folder(org, migration)
        listing = await asyncio.to_thread(list_dumps, folder)
        for dump in listing.dumps:
            if dump.test is None:
                await drop_database(self._restore_url, scratch_database(dump))
        try:
            await asyncio.to_thread(_delete, folder)
        except OSError as error:
            raise DumpError(
                DumpProblem.PERMISSION,
                f"{folder} cannot be deleted: {error.strerror}",
                remedy="let the worker write there, or delete it by hand",
            ) from error

    def _folder(self, org: str, migration: str) -> Path:
        return self._directory / org / migration


def _delete(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _snapshot(dump: Dump) -> Snapshot:
    manifest = dump.manifest
    return Snapshot(
        id=dump.id,
        tables=tuple(manifest.tables)[:_SHOWN_TABLES],
        row_count=manifest.row_count,
        size_bytes=manifest.size_bytes,
        sha256=dump.sha256,
        schema_sha256=manifest.labels.get(_SCHEMA, ""),
        plan_sha256=manifest.labels.get(_PLAN, ""),
        lsn=manifest.lsn,
        create_time=manifest.create_time,
        restore_seconds=None if dump.test is None else dump.test.restore_seconds,
    )
