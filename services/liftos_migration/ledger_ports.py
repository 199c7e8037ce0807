"""What migrations are kept in, as people see them and as workers advance them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import Repeatable
from liftos_migration.domain.ledger import BadLink, Decision, Head, JsonObject, Step
from liftos_migration.domain.migrations import MigrationProgress, MigrationSpec
from liftos_migration.domain.states import (
    CutOverPhase,
    MigrationState,
    Place,
    RollbackLevel,
)


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's hold of a migration: it alone advances it.

    Attributes:
        org, migration: Which.
        owner: The worker; a restarted one is another owner.
        epoch: Above that of all holders before; lower ones are refused everywhere.
    """

    org: str
    migration: str
    owner: str
    epoch: int


class LeaseLostError(Exception):
    """Another worker has the migration, or may have it; nothing was written."""


@dataclass(frozen=True, slots=True)
class StoredMigration:
    """A migration.

    Attributes:
        migration: Its id.
        spec: What a person decided.
        place: Its state, and where it goes on.
        state_reason: Why it is paused, held or rolling back, or what it waits for; what to do.
        cut_over_phase: Where the cut-over is.
        rollback_level: How far the rollback goes.
        rollback_end: The state in which the rollback ends; None where none is under way.
        purge: Whether the rollback also deletes what was written to Core.
        progress: How far it is.
        progress_time: When that was measured; None before anything was.
        generation: Rises where what was done before no longer counts and is done again.
        epoch: Rises with every takeover by a worker.
        lease_owner: The worker that has it; empty where none does.
        plan_sha256: Digest of source, mapping, gates and budgets, in hex.
        snapshot_plan_sha256: The same at the newest snapshot; empty before the first.
        head: End of the ledger's chain.
        revision: Grows with each change by a person or of the state; its etag.
        create_time, update_time: When.
    """

    migration: str
    spec: MigrationSpec
    place: Place
    state_reason: str
    cut_over_phase: CutOverPhase
    rollback_level: RollbackLevel
    rollback_end: MigrationState | None
    purge: bool
    progress: MigrationProgress
    progress_time: datetime | None
    generation: int
    epoch: int
    lease_owner: str
    plan_sha256: str
    snapshot_plan_sha256: str
    head: Head
    revision: int
    create_time: datetime
    update_time: datetime

    @property
    def state(self) -> MigrationState:
        """Its state."""
        return self.place.state


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is decided about a migration, and what becomes of it.

    Attributes:
        action: Such as `start`.
        subject: Who decided.
        reason: Why, in one sentence.
        place: Where it is afterwards; None leaves it.
        state_reason: What a person is told; None leaves it.
        begins_anew: Whether what was done before no longer counts.
        rollback_level, rollback_end, purge: Of a rollback that begins; None leaves them.
        inputs: What it rests on.
        readings: What each trigger said.
        dry_run: Write the decision alone.
    """

    action: str
    subject: str
    reason: str
    place: Place | None = None
    state_reason: str | None = None
    begins_anew: bool = False
    rollback_level: RollbackLevel | None = None
    rollback_end: MigrationState | None = None
    purge: bool | None = None
    inputs: JsonObject = field(default_factory=dict)
    readings: tuple[JsonObject, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a worker hears when it renews its lease; see `StoredMigration`."""

    state: MigrationState
    generation: int
    revision: int


class Ledger(Protocol):
    """Migrations as a worker advances them.

    Everything but `due` and `take` proves the lease in the transaction that writes:

    Raises:
        LeaseLostError: Another worker has taken the migration; nothing was written.
        StoreUnavailableError: Postgres does not answer.
    """

    async def due(self, *, limit: int) -> Sequence[tuple[str, str]]:
        """Return org and id of migrations, of all orgs, that could go on and that nobody has."""
        ...

    async def take(self, org: str, migration: str, *, owner: str, seconds: float) -> Lease | None:
        """Take a migration for so long, by the database's clock; None where it is not to be had."""
        ...

    async def renew(
        self, lease: Lease, *, seconds: float, progress: MigrationProgress | None
    ) -> Renewal:
        """Go on holding a migration for so long, and write its progress where there is any."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give a migration back; does nothing where it is lost."""
        ...

    async def read(self, lease: Lease) -> StoredMigration:
        """Return the migration as it is."""
        ...

    async def newest_steps(self, lease: Lease) -> Sequence[Step]:
        """Return the newest attempt of each step, of the newest generation that has it."""
        ...

    async def begin(
        self,
        lease: Lease,
        phase: MigrationState,
        title: str,
        *,
        given: JsonObject,
    ) -> Step:
        """Begin an attempt of a step; one that a lost worker left under way is ended first.

        From PREPARED on it rests on the newest snapshot whose restore was tested.
        """
        ...

    async def finish(self, lease: Lease, step: Step, output: JsonObject) -> Step:
        """End an attempt as done."""
        ...

    async def fail(self, lease: Lease, step: Step, error: str) -> Step:
        """End an attempt as failed or stopped."""
        ...

    async def undo(self, lease: Lease, step: Step) -> Step:
        """End an attempt as taken back."""
        ...

    async def decide(
        self, lease: Lease, decide: Callable[[StoredMigration], Verdict | None]
    ) -> StoredMigration:
        """Change the state with the decision that says so, in one transaction.

        Args:
            lease: Of the worker.
            decide: Is given the migration, locked; None leaves it as it is.
        """
        ...

    async def say(self, lease: Lease, state_reason: str) -> None:
        """Tell people what it waits for; empty where it does not wait any more."""
        ...


class Migrations(Protocol):
    """Migrations of an org as people make, steer and see them."""

    async def create(
        self,
        org: str,
        migration: str,
        spec: MigrationSpec,
        repeatable: Repeatable[StoredMigration] | None,
    ) -> StoredMigration:
        """Store a draft.

        Raises:
            AlreadyExistsError: The id is taken.
            AnsweredBeforeError, RequestIdReusedError: See `Repeatable`.
        """
        ...

    async def change(
        self,
        org: str,
        migration: str,
        change: Callable[[StoredMigration], MigrationSpec],
        repeatable: Repeatable[StoredMigration] | None,
    ) -> StoredMigration:
        """Store what `change` makes of a migration, which is locked meanwhile.

        Raises:
            NotFoundError: There is none.
            AnsweredBeforeError, RequestIdReusedError: See `Repeatable`.
        """
        ...

    async def delete(
        self,
        org: str,
        migration: str,
        check: Callable[[StoredMigration], None],
        repeatable: Repeatable[None] | None,
    ) -> None:
        """Remove a migration with all that belongs to it, unless `check` raises.

        Raises:
            NotFoundError: There is none.
            AnsweredBeforeError, RequestIdReusedError: See `Repeatable`.
        """
        ...

    async def decide(
        self,
        org: str,
        migration: str,
        decide: Callable[[StoredMigration], Verdict],
        repeatable: Repeatable[tuple[StoredMigration, Decision]] | None,
    ) -> tuple[StoredMigration, Decision]:
        """Decide about a migration, which is locked meanwhile, and wake workers.

        Raises:
            NotFoundError: There is none.
            AnsweredBeforeError, RequestIdReusedError: See `Repeatable`.
        """
        ...

    async def get(self, org: str, migration: str) -> StoredMigration | None:
        """Return a migration."""
        ...

    async def list_page(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[StoredMigration], JsonValue]:
        """Return migrations, newest first; fields: see `MIGRATION_FIELDS`."""
        ...

    async def list_steps(
        self, org: str, migration: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[Step], JsonValue]:
        """Return attempts of steps in order; fields: see `STEP_FIELDS`."""
        ...

    async def list_decisions(
        self, org: str, migration: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[Decision], JsonValue]:
        """Return decisions, newest first; fields: see `DECISION_FIELDS`."""
        ...

    async def verify_ledger(self, org: str, migration: str) -> BadLink | None:
        """Return the first place where the ledger's chain breaks, or None where it holds."""
        ...
