"""Dead letters: as people look at them, and as a run of kind REPLAY tries them again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import IntEnum
from typing import Protocol
from uuid import UUID

from liftos_ingestion.domain.failures import Failure
from liftos_ingestion.run_ports import Lane, WaitReason
from liftos_ingestion.run_view_ports import Page, Row
from liftos_ingestion.source_ports import JsonObject
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import Repeatable


class DeadLetterState(IntEnum):
    """What became of a dead letter; numbers as in the contract."""

    OPEN = 1
    REPLAYED = 2
    DISCARDED = 3
    OVERTAKEN = 4


@dataclass(frozen=True, slots=True)
class Selection:
    """Dead letters that a person chooses.

    Attributes:
        run: Only those that this run met last; None means any.
        dead_letters: These, each of which must be open; none where a filter chooses.
        where: Open ones that it is true for.
    """

    run: UUID | None
    dead_letters: tuple[UUID, ...]
    where: Filter | None


class DeadLetterStore(Protocol):
    """Dead letters of an org, as people deal with them."""

    async def get(self, org: str, dead_letter: UUID) -> Row | None:
        """Return a dead letter; None where there is none."""

    async def list_dead_letters(
        self, org: str, run: UUID | None, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> Page:
        """Return dead letters, newest first; of one run, or of all where it is None."""

    async def discard(
        self, org: str, selection: Selection, reason: str, repeatable: Repeatable[int] | None
    ) -> int:
        """Give dead letters up, and return how many.

        Raises:
            AnsweredBeforeError: The same request was done before.
            NotFoundError: One that is named does not exist.
            RequestIdReusedError: Another request was.
            StateTransitionError: One that is named is not open.
        """

    async def start_replay(
        self,
        org: str,
        selection: Selection,
        subject: str,
        repeatable: Repeatable[tuple[Row, int]] | None,
    ) -> tuple[Row, int]:
        """Start a run that tries dead letters again; return it and how many it tries.

        Raises:
            AnsweredBeforeError: The same request was done before.
            InvalidFieldsError: There are none, or they are of several connections.
            NotFoundError: One that is named does not exist.
            RequestIdReusedError: Another request was.
            StateTransitionError: One that is named is not open.
        """


@dataclass(frozen=True, slots=True)
class ReplayedRun:
    """A run that tries dead letters again.

    Attributes:
        platform: Whose rows they are.
        connection: What they were read through.
    """

    platform: str
    connection: str


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter that is tried again.

    Attributes:
        dead_letter: Its id.
        row: As the platform gave it.
        context: What else is needed to map it.
        counted: Whether its figures are among the sums of its day.
        read_time: When the platform answered it last.
    """

    dead_letter: UUID
    row: JsonObject
    context: JsonObject
    counted: bool
    read_time: datetime


@dataclass(frozen=True, slots=True)
class TakenLetters:
    """Dead letters of one lane, in the hands of the lane's holder.

    Attributes:
        run: Which run tries them.
        lane: Whose rows they are.
        epoch: The holder's.
        letters: Empty where all of the lane were tried.
    """

    run: UUID
    lane: Lane
    epoch: int
    letters: Sequence[Letter]


@dataclass(frozen=True, slots=True)
class CommittedDay:
    """A day of a lane.

    Attributes:
        commit_time: When it was last read.
        final: Whether the platform no longer restates it.
    """

    commit_time: datetime
    final: bool


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of dead letters.

    Attributes:
        taken_in: Those that became entries.
        overtaken: Those whose days have newer answers.
        refused: (field, code, message) of every rule that each of the others breaks.
        upserted_count: Entries that are new or changed.
        day_sums: What they add to the sums of their days.
    """

    taken_in: Sequence[UUID]
    overtaken: Sequence[UUID]
    refused: Mapping[UUID, Sequence[tuple[str, str, str]]]
    upserted_count: int
    day_sums: Mapping[date, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a run is put off.

    Attributes:
        reason: What it waits for.
        detail: The same for a person.
    """

    reason: WaitReason
    detail: str


class ReplayLedger(Protocol):
    """What runs of kind REPLAY still have to try."""

    async def replayed(self, org: str, run: UUID) -> ReplayedRun | None:
        """Return what a run tries again; None where it has ended, or is none."""

    async def lanes(self, org: str, run: UUID) -> Sequence[Lane]:
        """Return the lanes of what a run still has to try."""

    async def take(
        self, run: UUID, lane: Lane, *, worker: str, lease_seconds: float, limit: int
    ) -> TakenLetters | None:
        """Take a lane with its next dead letters.

        Returns:
            None where the lane is held or suspended, or the run has ended.
        """

    async def days(self, lane: Lane, days: Sequence[date]) -> Mapping[date, CommittedDay]:
        """Return those days of a lane that were ever committed."""

    async def record(self, taken: TakenLetters, result: Replayed) -> None:
        """Record what became of dead letters, and let the lane go.

        Raises:
            HoldLostError: Another worker has the lane; nothing was recorded.
        """

    async def let_go(self, taken: TakenLetters) -> None:
        """Let a lane go; its dead letters are tried later."""

    async def fail(self, org: str, run: UUID, failure: Failure) -> None:
        """End a run whose dead letters cannot be tried; they stay as they were."""

    async def move_on(
        self, org: str, run: UUID, *, delay_seconds: float, wait: Wait | None = None
    ) -> None:
        """Line up what a run still has to try, and tell what for it waits; or end it."""
