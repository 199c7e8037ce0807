"""Verifications: asked for, run by a worker, and read again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import Repeatable
from liftos_migration.domain.checks import Check, CheckKind
from liftos_migration.domain.differences import Difference
from liftos_migration.domain.verification import EntityResult, Tier, VerificationState
from liftos_migration.ledger_ports import Lease


@dataclass(frozen=True, slots=True)
class NewVerification:
    """What is asked for.

    Attributes:
        tier: How records are compared.
        incremental: Whether only what was touched since the last one counts.
        tables: Only these; none means all.
        check_kinds: Only these checks; none means all.
        repair: Whether what differs is written again before it is compared anew.
        subject: Who asks; empty where a step does.
    """

    tier: Tier = Tier.EXACT
    incremental: bool = False
    tables: tuple[str, ...] = ()
    check_kinds: tuple[CheckKind, ...] = ()
    repair: bool = False
    subject: str = ""


@dataclass(frozen=True, slots=True)
class StoredVerification:
    """A verification, asked for and perhaps ended.

    Attributes:
        verification: Its id.
        asked: What for.
        state: Where it is.
        entities: Each table, worst first; none in lists.
        checks: Against the gates; none in lists.
        accuracy: Of the worst table.
        completeness: Of the worst table.
        source_position: Snapshot of the source that was compared, as the source writes it.
        write_token: State of Memory that was compared.
        error: Why it could not be ended; empty where it was.
        start_time: When it began; None while it waits for a worker.
        end_time: When it ended.
    """

    verification: UUID
    asked: NewVerification
    state: VerificationState
    entities: tuple[EntityResult, ...]
    checks: tuple[Check, ...]
    accuracy: float
    completeness: float
    source_position: str
    write_token: str
    error: str
    start_time: datetime | None
    end_time: datetime | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a verification came to; see `StoredVerification`."""

    state: VerificationState
    entities: tuple[EntityResult, ...] = ()
    differences: tuple[Difference, ...] = ()
    checks: tuple[Check, ...] = ()
    source_position: str = ""
    write_token: str = ""
    error: str = ""


class Verifications(Protocol):
    """Verifications as people ask for and see them.

    Raises:
        NotFoundError: There is no such migration or verification.
        AnsweredBeforeError, RequestIdReusedError: See `Repeatable`.
    """

    async def ask(
        self,
        org: str,
        migration: str,
        asked: NewVerification,
        repeatable: Repeatable[StoredVerification] | None,
    ) -> StoredVerification:
        """Keep that a verification is asked for."""
        ...

    async def get(self, org: str, migration: str, verification: UUID) -> StoredVerification:
        """Return a verification with its tables and checks."""
        ...

    async def list_page(
        self, org: str, migration: str, *, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[StoredVerification], JsonValue]:
        """Return verifications, newest first, without their tables."""
        ...

    async def list_differences(
        self,
        org: str,
        migration: str,
        verification: UUID,
        *,
        where: Filter | None,
        cursor: JsonValue,
        limit: int,
    ) -> tuple[Sequence[Difference], JsonValue]:
        """Return records that differ, by table and key; fields: see `DIFFERENCE_FIELDS`."""
        ...

    async def count_differences(
        self, org: str, migration: str, verification: UUID, tables: Sequence[str]
    ) -> int:
        """Return how many records differ, of some tables or of all."""
        ...


class VerificationRuns(Protocol):
    """Verifications as a worker runs them; every method proves the lease, see `Ledger`."""

    async def ask_of_step(self, lease: Lease, asked: NewVerification) -> StoredVerification:
        """Keep that a step asks for a verification."""
        ...

    async def next_asked(self, lease: Lease) -> StoredVerification | None:
        """Return the oldest that has not ended; one that a lost worker began comes again."""
        ...

    async def begun(self, lease: Lease, verification: UUID) -> None:
        """Keep that it begins."""
        ...

    async def ended(self, lease: Lease, verification: UUID, outcome: Outcome) -> StoredVerification:
        """Keep what it came to."""
        ...

    async def cancel_all(self, lease: Lease) -> None:
        """End all that have not ended."""
        ...
