"""Where snapshots of sources are kept, and where the ledger has them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from liftos_kit.core.paging import JsonValue
from liftos_migration.domain.migrations import SourceStore
from liftos_migration.domain.snapshots import Snapshot
from liftos_migration.ledger_ports import Lease

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    """What a snapshot is taken of.

    Attributes:
        source: The store; all tables of its schemas.
        schema_sha256: Digest of its definitions, in hex.
        plan_sha256: Digest of the plan of the migration, in hex.
    """

    source: SourceStore
    schema_sha256: str
    plan_sha256: str


class SnapshotStore(Protocol):
    """Takes, keeps and tests snapshots. One that was cut off in the middle never counts.

    All methods raise `DumpError` of `liftos_kit.dumps` where it cannot be done, with what to do.
    """

    async def list(self, org: str, migration: str) -> Sequence[Snapshot]:
        """Return the whole snapshots of a migration, oldest first."""
        ...

    async def take(
        self, org: str, migration: str, request: SnapshotRequest, on_progress: Progress
    ) -> Snapshot:
        """Take a snapshot, in one moment of the source, while it is written.

        Raises:
            InvalidFieldsError: The org may not name the source.
        """
        ...

    async def test(
        self, org: str, migration: str, snapshot: str, on_progress: Progress
    ) -> Snapshot:
        """Restore a snapshot into a scratch database, compare every table, and drop it again."""
        ...

    async def prune(self, org: str, migration: str, *, keep: int) -> Sequence[str]:
        """Delete all but the newest that count; return their ids."""
        ...

    async def delete_all(self, org: str, migration: str) -> None:
        """Delete all snapshots of a migration."""
        ...


class SnapshotRecords(Protocol):
    """The snapshots as the ledger has them, for whoever lists them."""

    async def keep(self, lease: Lease, snapshot: Snapshot) -> None:
        """Keep a snapshot, as taken before the next step, or that it counts now.

        Raises:
            LeaseLostError: Another worker has the migration.
            StoreUnavailableError: Postgres does not answer.
        """
        ...

    async def forget(self, lease: Lease, snapshots: Sequence[str] | None) -> None:
        """Forget snapshots that were deleted; all where none is named.

        Raises:
            LeaseLostError, StoreUnavailableError: As above.
        """
        ...

    async def list_page(
        self, org: str, migration: str, *, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[tuple[Snapshot, int]], JsonValue]:
        """Return snapshots, newest first, each with the number of the step that follows it.

        Raises:
            StoreUnavailableError: As above.
        """
        ...
