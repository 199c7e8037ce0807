"""Snapshots that steps rest on: taken, restored once, and used again while they fit."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.dumps.errors import DumpError, DumpProblem
from liftos_migration.domain.ledger import JsonObject
from liftos_migration.domain.snapshots import Snapshot, Wanted, best
from liftos_migration.domain.states import MigrationState
from liftos_migration.inspection_ports import SourceInspector
from liftos_migration.ledger_ports import Ledger
from liftos_migration.snapshot_ports import SnapshotRecords, SnapshotRequest, SnapshotStore
from liftos_migration.usecases.steps import StepContext, StepFailedError, StepStoppedError, StepWork

T = TypeVar("T")

KEPT: Final = 2
"""Snapshots that count and stay: the newest, and the one before it."""

_TITLE: Final = "take a snapshot and restore it once"


def _untold(_: str, __: int, ___: int) -> None:
    """Tell nobody about progress: a migration counts rows that it copies."""


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Sees to it that a step has a snapshot to rest on.

    Attributes:
        store: Where snapshots are kept; None where the operator named no place.
        records: Where the ledger has them.
        ledger: Knows the plan.
        inspector: Looks at the source, whose definitions must be those of the snapshot.
        maximum_age: How old a snapshot may be that is used again.
        clock: The time.
    """

    store: SnapshotStore | None
    records: SnapshotRecords
    ledger: Ledger
    inspector: SourceInspector
    maximum_age: timedelta
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def ensure(self, context: StepContext) -> Snapshot:
        """Return a snapshot that counts, of the source and the plan as they are.

        One that a worker that died took but did not test is tested, and not taken again.

        Raises:
            StepFailedError: None can be taken, or it does not give back what it holds.
            StepStoppedError, StoreUnavailableError, LeaseLostError: As for steps.
        """
        store = self._store()
        org, migration = context.org, context.migration
        wanted = await self._wanted(context)
        found = best(await self._untroubled(store.list(org, migration)), wanted, self.clock())
        if found is None:
            request = SnapshotRequest(context.spec.source, wanted.schema_sha256, wanted.plan_sha256)
            found = await self._unless_stopped(
                context, store.take(org, migration, request, _untold)
            )
        if not found.counts:
            found = await self._unless_stopped(
                context, store.test(org, migration, found.id, _untold)
            )
        await self.records.keep(context.lease, found)
        gone = await self._untroubled(store.prune(org, migration, keep=KEPT))
        if gone:
            await self.records.forget(context.lease, gone)
        return found

    async def find(self, context: StepContext) -> Snapshot | None:
        """Return the snapshot that a step may rest on now, if there is one that counts."""
        store = self._store()
        found = best(
            await self._untroubled(store.list(context.org, context.migration)),
            await self._wanted(context),
            self.clock(),
        )
        return found if found is not None and found.counts else None

    async def delete(self, context: StepContext) -> None:
        """Delete all snapshots of a migration."""
        if self.store is not None:
            await self._untroubled(self.store.delete_all(context.org, context.migration))
        await self.records.forget(context.lease, None)

    def _store(self) -> SnapshotStore:
        if self.store is None:
            raise StepFailedError(
                "SNAPSHOTS_OFF",
                "There is no place for snapshots of the source.",
                "Set LIFTOS_SNAPSHOT_DIRECTORY and LIFTOS_SNAPSHOT_RESTORE_URL of the worker, and"
                " resume.",
            )
        return self.store

    async def _wanted(self, context: StepContext) -> Wanted:
        inventory = await self.inspector.inventory(
            context.org, context.spec.source, context.mapping
        )
        plan = (await self.ledger.read(context.lease)).plan_sha256
        return Wanted(inventory.sha256, plan, self.maximum_age)

    async def _unless_stopped(self, context: StepContext, work: Coroutine[Any, Any, T]) -> T:
        """Do work that can only be done whole; what was begun goes when it is to stop."""
        working = asyncio.create_task(self._untroubled(work))
        stopping = asyncio.create_task(context.stop.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise StepStoppedError
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.wait((working, stopping))

    async def _untroubled(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        except DumpError as error:
            if error.problem is DumpProblem.UNREACHABLE:
                raise StoreUnavailableError("postgres") from error
            details = f" ({'; '.join(error.details[:3])})" if error.details else ""
            raise StepFailedError(
                f"SNAPSHOT_{error.problem}",
                f"The snapshot of the source: {error.message}{details}.",
                f"{error.remedy[:1].upper()}{error.remedy[1:]}, and resume.",
            ) from error


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """The step after which the source can be restored."""

    snapshots: Snapshots
    title: str = _TITLE
    phase: MigrationState = MigrationState.SNAPSHOTTED

    async def do(self, context: StepContext) -> JsonObject:
        """Take a snapshot and restore it once, unless there is one."""
        found = await self.snapshots.ensure(context)
        return {
            "snapshot": found.id,
            "sha256": found.sha256,
            "tables": len(found.tables),
            "rows": found.row_count,
            "bytes": found.size_bytes,
            "lsn": found.lsn,
            "restore_seconds": found.restore_seconds,
        }

    async def verify(self, context: StepContext) -> None:
        """Find it again."""
        if await self.snapshots.find(context) is None:
            raise StepFailedError(
                "SNAPSHOT_MISSING",
                "The snapshot of the source is not there, or not of the source as it is now.",
                "Resume, which takes another one.",
            )

    async def undo(self, context: StepContext) -> None:
        """Delete the snapshots of the migration."""
        await self.snapshots.delete(context)


@dataclass(frozen=True, slots=True)
class AfterSnapshot:
    """A step that changes something on the source, which can be restored as it was before.

    A snapshot that still fits is used again; one that is too old, or of other definitions, is
    followed by another one before the step begins.

    Attributes:
        step: What is done.
        snapshots: Where its snapshot comes from.
    """

    step: StepWork
    snapshots: Snapshots

    @property
    def title(self) -> str:
        """What the step does."""
        return self.step.title

    @property
    def phase(self) -> MigrationState:
        """The state that the step belongs to."""
        return self.step.phase

    async def do(self, context: StepContext) -> JsonObject:
        """Do the step once there is a snapshot to rest on."""
        await self.snapshots.ensure(context)
        return await self.step.do(context)

    async def verify(self, context: StepContext) -> None:
        """Check what the step did."""
        await self.step.verify(context)

    async def undo(self, context: StepContext) -> None:
        """Take the step back."""
        await self.step.undo(context)
