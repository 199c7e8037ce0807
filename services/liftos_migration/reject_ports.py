"""Refused rows as people decide on them, and as a worker tries them again."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import Repeatable
from liftos_migration.domain.ledger import JsonObject
from liftos_migration.domain.rejects import RecordError, RejectState
from liftos_migration.ledger_ports import Lease


@dataclass(frozen=True, slots=True)
class StoredReject:
    """A refused row.

    Attributes:
        reject: Its id.
        table: As schema.table.
        key: Of its record, as compact JSON.
        phase: `copy`, `apply` or `reverse`.
        row: As the source gave it.
        errors: Every rule that it breaks.
        state: What became of it.
        reason: Why; empty while nobody decided.
        subject: Who decided.
        create_time: Of the first attempt.
        end_time: When it was resolved or waived.
    """

    reject: UUID
    table: str
    key: str
    phase: str
    row: JsonObject
    errors: tuple[RecordError, ...]
    state: RejectState
    reason: str
    subject: str
    create_time: datetime
    end_time: datetime | None


@dataclass(frozen=True, slots=True)
class Choice:
    """Which refused rows are meant: those with some ids, or those that a filter lets through."""

    ids: tuple[UUID, ...] = ()
    where: Filter | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """What trying again came to: rows that were taken in, and rows that are still refused."""

    resolved_count: int
    open_count: int


class Rejects(Protocol):
    """Refused rows of an org.

    Raises:
        NotFoundError: There is no such row.
        StateTransitionError: A chosen one is not open.
        AnsweredBeforeError, RequestIdReusedError: See `Repeatable`.
    """

    async def list_page(
        self, org: str, migration: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[StoredReject], JsonValue]:
        """Return refused rows by table and key; fields: see `REJECT_FIELDS`."""
        ...

    async def ask(
        self, org: str, migration: str, choice: Choice, *, subject: str, reason: str
    ) -> Sequence[UUID]:
        """Keep that open rows are to be tried again, and wake workers; return which."""
        ...

    async def tried(self, org: str, migration: str, rejects: Sequence[UUID]) -> Tried | None:
        """Return what trying them came to; None while a worker has not tried all."""
        ...

    async def answer(self, org: str, tried: Tried, repeatable: Repeatable[Tried] | None) -> Tried:
        """Keep the answer of a request."""
        ...

    async def waive(
        self,
        org: str,
        migration: str,
        choice: Choice,
        *,
        subject: str,
        reason: str,
        repeatable: Repeatable[int] | None,
    ) -> int:
        """Give open rows up; return how many."""
        ...


class RejectRuns(Protocol):
    """Refused rows as a worker tries them; every method proves the lease, see `Ledger`."""

    async def asked(self, lease: Lease) -> Mapping[UUID, str]:
        """Return the rows that are to be tried again, each with its table."""
        ...

    async def end_asking(self, lease: Lease, rejects: Collection[UUID]) -> None:
        """Keep that rows were tried; those of them that are open were refused again."""
        ...
