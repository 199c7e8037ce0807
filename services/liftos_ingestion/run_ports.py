"""What runs are kept in: the ledger, and Memory as the place that they write to."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, datetime
from enum import IntEnum, StrEnum
from typing import Final, Protocol
from uuid import UUID

import pyarrow as pa

from liftos_ingestion.domain.failures import Failure
from liftos_ingestion.source_ports import JsonObject, PlatformJob, PlatformObject, ReadRequest

OBJECTS: Final = "OBJECTS"
"""In the place of a level: what is read are the objects of the account, and not their numbers."""


class RunKind(IntEnum):
    """Why a run was started; numbers as in the contract."""

    INCREMENTAL = 1
    BACKFILL = 2
    REPLAY = 3


class RunState(IntEnum):
    """Where a run is; numbers as in the contract."""

    PENDING = 1
    RUNNING = 2
    SUCCEEDED = 3
    PARTIALLY_SUCCEEDED = 4
    FAILED = 5
    CANCELLING = 6
    CANCELLED = 7

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self not in (RunState.PENDING, RunState.RUNNING, RunState.CANCELLING)


class SliceState(IntEnum):
    """Where a slice of a run is; numbers as in the contract."""

    PENDING = 1
    RUNNING = 2
    PARKED = 3
    COMMITTED = 4
    UNCHANGED = 5
    FAILED = 6
    CANCELLED = 7


class WaitReason(IntEnum):
    """What a slice waits for; numbers as in the contract."""

    QUOTA = 1
    RETRY = 2
    PLATFORM_JOB = 3
    SUSPENSION = 4
    STORE = 5


@dataclass(frozen=True, slots=True)
class Lane:
    """What replaces slices of one account, level, attribution and date basis, one after the other.

    Attributes:
        org: Whose.
        platform, account_id, level, attribution_key, date_basis: As in its entries. The objects of
            an account are a lane of its own: of level `OBJECTS` and no date basis.
    """

    org: str
    platform: str
    account_id: str
    level: str
    attribution_key: str
    date_basis: str


@dataclass(frozen=True, slots=True)
class SlicePlan:
    """A slice that a run will read.

    Attributes:
        account_id, level, attribution_key, date_basis: Its lane.
        start_date, end_date: Its days, both included.
        priority: Who goes first; lower goes before higher, see `rate_limits.Priority`.
    """

    account_id: str
    level: str
    attribution_key: str
    date_basis: str
    start_date: date
    end_date: date
    priority: int


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that is about to be started.

    Attributes:
        kind: Why.
        connection, platform: What is read.
        start_date, end_date: Days that it reads.
        levels: Levels that it reads.
        account_ids: Accounts that it reads.
        force: Whether days are read that are final.
        slices: What it reads.
        schedule: Its schedule; empty where it is started by hand.
        fire_time: The moment of the schedule that it is for.
        subject: Who started it.
        final_day_count: Days that are not read since they are final, each counted for an account,
            level and date basis.
        unanswered_day_count: Days that are not read since the platform does not answer them.
    """

    kind: RunKind
    connection: str
    platform: str
    start_date: date
    end_date: date
    levels: tuple[str, ...]
    account_ids: tuple[str, ...]
    force: bool
    slices: Sequence[SlicePlan]
    subject: str
    schedule: str = ""
    fire_time: datetime | None = None
    final_day_count: int = 0
    unanswered_day_count: int = 0


@dataclass(frozen=True, slots=True)
class HeldSlice:
    """A slice that a worker holds: it alone writes the lane, until the lease ends.

    Attributes:
        lane: Its lane.
        slice: Its id.
        run: The id of its run, the origin of what it writes.
        connection: What is read.
        start_date, end_date: Its days.
        priority: Who goes first; lower goes before higher, see `rate_limits.Priority`.
        attempt: From 1.
        epoch: Above that of every holder of the lane before.
        platform_job: The platform's job of an earlier attempt.
    """

    lane: Lane
    slice: UUID
    run: UUID
    connection: str
    start_date: date
    end_date: date
    priority: int
    attempt: int
    epoch: int
    platform_job: PlatformJob | None


class Hold(IntEnum):
    """Whether a worker may go on with its slice."""

    HELD = 1
    """It may."""

    CANCELLED = 2
    """Its run was cancelled."""

    SUSPENDED = 3
    """It has to wait."""

    LOST = 4
    """Another worker has the lane."""


class HoldLostError(Exception):
    """Another worker has the lane by now; nothing was recorded."""


class LeaseEndedError(HoldLostError):
    """The lease could not be extended in time, and another worker may have the lane."""


class Loss(StrEnum):
    """How a try of a slice lost its lane, for metrics."""

    TAKEN = "taken"
    LEASE_ENDED = "lease_ended"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A row that could not be taken in.

    Attributes:
        row: As the platform gave it.
        context: What else is needed to map it again.
        day: Its day; None where the row does not say.
        errors: (field, code, message) of every rule that it breaks.
        counted: Whether its figures are among the sums of its day: Memory alone did not take it.
    """

    row: JsonObject
    context: JsonObject
    day: date | None
    errors: Sequence[tuple[str, str, str]]
    counted: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """What a try of a slice used.

    Attributes:
        call_count: Calls to the platform, polls of its jobs apart.
        size_bytes: Bytes as they came over the wire.
    """

    call_count: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SliceResult:
    """What became of a slice that was committed.

    Attributes:
        memory_slice: `orgs/{org}/slices/{slice}`.
        row_count: Rows that the platform answered.
        upserted_count, restated_count, vanished_count: What it did to the entries.
        dead_letters: Rows that were refused.
        day_sums: For each day the sums of the metrics that the platform reported.
        final_through: The newest day that the platform no longer restates.
    """

    memory_slice: str
    row_count: int
    upserted_count: int
    restated_count: int
    vanished_count: int
    dead_letters: Sequence[DeadLetter]
    day_sums: Mapping[date, Mapping[str, int]]
    final_through: date


@dataclass(frozen=True, slots=True)
class AccountLag:
    """How far what is stored of an account lies behind today.

    Attributes:
        org, platform, account_id: Whose.
        days: From its newest committed day; without any, from the first that was asked for.
    """

    org: str
    platform: str
    account_id: str
    days: int


class RunLedger(Protocol):
    """Runs and their slices. What is recorded of a slice is recorded by its holder alone."""

    async def start(self, org: str, run: NewRun) -> UUID | None:
        """Store a run with its slices and line them up; None where its fire time has a run.

        Days of a lane that another run has in hand are left out.
        """

    async def claim(
        self, org: str, slice_id: UUID, *, worker: str, lease_seconds: float
    ) -> HeldSlice | None:
        """Take a slice; None where it is not open, not due, suspended, or its lane is held."""

    async def extend(self, held: HeldSlice, *, lease_seconds: float) -> Hold:
        """Go on holding a slice."""

    async def keep_job(self, held: HeldSlice, job: PlatformJob) -> None:
        """Keep the platform's job, to take it up again.

        Raises:
            HoldLostError: Another worker has the lane.
        """

    async def finish(self, held: HeldSlice, result: SliceResult, usage: Usage) -> None:
        """Record that a slice was committed, and end the run with its last slice.

        Raises:
            HoldLostError: Another worker has the lane.
        """

    async def keep_objects(self, held: HeldSlice, objects: Sequence[PlatformObject]) -> None:
        """Store some of the objects of an account; all others stay as they were.

        Raises:
            HoldLostError: Another worker has the lane.
        """

    async def finish_objects(self, held: HeldSlice, count: int, usage: Usage) -> None:
        """Record that all objects of an account were stored, so many as the platform listed.

        Raises:
            HoldLostError: Another worker has the lane.
        """

    async def park(
        self,
        held: HeldSlice,
        *,
        seconds: float,
        reason: WaitReason,
        detail: str,
        counts: bool,
        failure: Failure | None,
        usage: Usage,
    ) -> None:
        """Let a slice wait, and let its lane go.

        Args:
            held: The slice.
            seconds: When it is tried again.
            reason: What is waited for.
            detail: The same for a person.
            counts: Whether the try counts as an attempt.
            failure: Why, where something went wrong.
            usage: What the try used.

        Raises:
            HoldLostError: Another worker has the lane.
        """

    async def split(self, held: HeldSlice, failure: Failure, usage: Usage) -> None:
        """Replace a slice by its halves.

        Raises:
            HoldLostError: Another worker has the lane.
        """

    async def give_up(self, held: HeldSlice, failure: Failure, usage: Usage) -> None:
        """Record that a slice failed, with all that fails with it.

        Raises:
            HoldLostError: Another worker has the lane.
        """

    async def let_go(self, held: HeldSlice, usage: Usage) -> None:
        """Give a slice back as it was: it was cancelled, suspended, or its worker ends."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that Memory did not take.

    Attributes:
        index: Its position among all rows of the slice.
        field, code, message: Which rule it breaks.
    """

    index: int
    field: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Written:
    """What a slice did to the entries.

    Attributes:
        memory_slice: `orgs/{org}/slices/{slice}`.
        upserted_count, restated_count, vanished_count: Entries.
    """

    memory_slice: str
    upserted_count: int
    restated_count: int
    vanished_count: int


@dataclass(frozen=True, slots=True)
class Upserted:
    """What rows that belong to no slice did to the entries.

    Attributes:
        upserted_count: Entries that are new or changed.
        refused: Rows that Memory did not take.
    """

    upserted_count: int
    refused: Sequence[Refused]


class SliceWriter(Protocol):
    """Writes the rows of one slice."""

    async def write(self, rows: pa.Table) -> None:
        """Send rows, in the columns of an entry."""

    def refused(self) -> Sequence[Refused]:
        """Return rows that Memory has refused since this was last asked."""

    @property
    def acknowledged_count(self) -> int:
        """How many rows Memory has answered for."""

    async def flush(self) -> None:
        """Wait until Memory has answered for all rows."""

    async def held_counts(self) -> Mapping[date, int]:
        """Return how many entries Memory holds of each day of the slice until it is committed."""

    async def commit(self, raw: Callable[[], bytes]) -> Written:
        """Replace the scope of the slice by what was written.

        Args:
            raw: Returns the platform's raw answer; asked in a thread, once it is this one's turn.
        """


class EntryWriter(Protocol):
    """Memory, as the place that runs write to."""

    def slice(
        self,
        held: HeldSlice,
        request: ReadRequest,
        *,
        source: str,
        api_version: str,
        fetch_time: datetime,
        request_id: str,
        query_hash: str,
    ) -> AbstractAsyncContextManager[SliceWriter]:
        """Begin to replace a slice; it is aborted where the block ends without a commit.

        Args:
            held: The slice.
            request: What it replaces.
            source: Who answered.
            api_version: Of the platform's API.
            fetch_time: When it came.
            request_id: The platform's id of the call that it came by, for its support; empty
                where it gave none.
            query_hash: Of what the platform was asked; empty where the source does not say.

        Raises:
            HoldLostError: A writer with a higher epoch has the lane.
        """

    async def upsert(self, lane: Lane, rows: pa.Table, *, epoch: int, origin: UUID) -> Upserted:
        """Write rows of a lane and leave all others of it as they are.

        Args:
            lane: Its holder writes.
            rows: In the columns of an entry.
            epoch: The holder's.
            origin: The run that writes.

        Raises:
            HoldLostError: A writer with a higher epoch has the lane.
            ReadingError: Memory refuses the rows as a whole.
            StoreUnavailableError: Memory does not answer.
        """

    async def fence(self, lane: Lane, *, epoch: int) -> None:
        """Refuse all writers of a lane below an epoch."""
