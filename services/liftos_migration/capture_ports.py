"""How changes of a source are seen; one adapter for each mode of capture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from liftos_migration.domain.changes import DirtyRecords


class CaptureLostError(Exception):
    """Changes are missing: what is on Core cannot be brought up to date, only copied again.

    Attributes:
        problem: What happened.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"{problem} Changes of the source are missing since then: resume, and the tables are "
            "copied again."
        )
        self.problem = problem


class SchemaDriftError(Exception):
    """The source's schema is not what the mapping was made for; nothing after the change was taken.

    Attributes:
        changes: What changed, in words.
    """

    def __init__(self, changes: Sequence[str]) -> None:
        super().__init__(
            f"The source's schema changed: {'; '.join(changes)}. Change the mapping or waive what "
            "does not move, and resume."
        )
        self.changes = tuple(changes)


class WritersWaitedForError(Exception):
    """A lock could not be taken soon enough; nothing was changed, and another attempt may do."""


class SourceForbidsError(Exception):
    """What sees changes may not be made with the rights of the role.

    Attributes:
        problem: What is missing.
        statement: What the owner of the tables has to run.
    """

    def __init__(self, problem: str, statement: str) -> None:
        super().__init__(f"{problem} Let the owner of the tables run: {statement}")
        self.problem = problem
        self.statement = statement


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """Which server and which position of it a capture belongs to.

    Attributes:
        system: The server's identifier.
        timeline: Rises when a standby takes over.
        capture: Name of the slot or of the triggers.
    """

    system: str
    timeline: int
    capture: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed up to a snapshot, or up to a part of the way.

    Attributes:
        dirty: Records to read again in the snapshot.
        position: Given to `forget` once they are on Core; empty where nothing can be forgotten.
        complete: Whether these are all changes that the snapshot sees.
        count: Changes that were read.
    """

    dirty: DirtyRecords
    position: str
    complete: bool
    count: int


@dataclass(frozen=True, slots=True)
class CaptureStatus:
    """How a capture is doing.

    Attributes:
        retained_bytes: What the source keeps for it.
        oldest_transaction_seconds: Age of the oldest open transaction, which it cannot see past.
        replica_lag_seconds: Of the slowest replica; None where there is none.
    """

    retained_bytes: int
    oldest_transaction_seconds: float
    replica_lag_seconds: float | None


@dataclass(frozen=True, slots=True)
class Horizon:
    """What one snapshot sees; see `SourceReader`.

    Attributes:
        snapshot: As the database writes it.
        lsn: No change that it sees is in the log after this place.
    """

    snapshot: str
    lsn: int


class Capture(Protocol):
    """Sees changes of a source from the moment it was prepared."""

    async def prepare(self) -> SourceIdentity:
        """Begin to keep changes; does nothing where it has begun."""
        ...

    async def check(self, identity: SourceIdentity) -> CaptureStatus:
        """Say how it is doing.

        Raises:
            CaptureLostError: It is not what was prepared, or has lost changes.
        """
        ...

    async def read(self, horizon: Horizon) -> Changes:
        """Return changes that a snapshot sees and that were not forgotten.

        Raises:
            CaptureLostError: They are gone.
            SchemaDriftError: A table changed; the changes before it are given first.
        """
        ...

    async def forget(self, position: str) -> None:
        """Let the source drop changes that were read."""
        ...

    async def remove(self) -> None:
        """Take back all that `prepare` did; does nothing where there is nothing."""
        ...
