"""Schedules: as they are kept, and as the clock sees them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Protocol
from uuid import UUID

from liftos_ingestion.run_ports import NewRun
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import Repeatable


class OverlapPolicy(IntEnum):
    """What happens where a run is due while the one before still runs; as in the contract."""

    SKIP = 1
    BUFFER_ONE = 2
    CANCEL_OTHER = 3


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """What a person decides about a schedule.

    Attributes:
        display_name: Shown to people.
        connection: Id of what is read.
        account_ids: Only these; none means all.
        levels: Only these; none means all that the source reports.
        cron: Five fields.
        time_zone: IANA name of the zone of the clock.
        lookback_days: Days before today that each run reads; 0 follows the restatement window.
        overlap_policy: What happens where the run before still runs.
        catchup: How late a missed run may still start.
        paused: Whether nothing starts.
    """

    display_name: str
    connection: str
    account_ids: tuple[str, ...]
    levels: tuple[str, ...]
    cron: str
    time_zone: str
    lookback_days: int
    overlap_policy: OverlapPolicy
    catchup: timedelta
    paused: bool


@dataclass(frozen=True, slots=True)
class StoredSchedule:
    """A schedule.

    Attributes:
        schedule: Its id.
        spec: What a person decided.
        due_after: Moments up to this one are done with.
        buffered_fire_time: A moment whose run waits for the one before; None where none does.
        last_run: The newest run; None where none started.
        revision: Grows with each change by a person; its etag.
        create_time, update_time: When.
    """

    schedule: str
    spec: ScheduleSpec
    due_after: datetime
    buffered_fire_time: datetime | None
    last_run: UUID | None
    revision: int
    create_time: datetime
    update_time: datetime


class Tick(Protocol):
    """One schedule, locked against other workers until the end of the block.

    Attributes:
        schedule: As it is now.
        running: Its run that has not ended; None where there is none.
    """

    schedule: StoredSchedule
    running: UUID | None

    async def start(self, run: NewRun) -> None:
        """Start a run, once for its fire time, and be done with that moment."""

    async def buffer(self, fire_time: datetime) -> None:
        """Keep a moment until the run before has ended, in place of one that was kept."""

    async def pass_over(self, fire_time: datetime) -> None:
        """Be done with a moment without a run."""

    async def cancel(self, run: UUID, reason: str) -> None:
        """Cancel the run before."""


class ScheduleClock(Protocol):
    """The schedules of all orgs, for the worker that starts their runs."""

    async def active(self) -> Sequence[tuple[str, str]]:
        """Return (org, schedule) of all that are neither paused nor disabled."""

    def tick(self, org: str, schedule: str) -> AbstractAsyncContextManager[Tick | None]:
        """Lock a schedule; None where another worker has it, or it is gone or paused."""


class ScheduleStore(Protocol):
    """Schedules of an org, as people change them. Each change is one transaction."""

    async def create(
        self,
        org: str,
        schedule: str,
        spec: ScheduleSpec,
        repeatable: Repeatable[StoredSchedule] | None,
    ) -> StoredSchedule:
        """Store a schedule that fires from now on.

        Raises:
            AlreadyExistsError: The id is taken.
            AnsweredBeforeError: The same request was done before.
            NotFoundError: Its connection does not exist.
            RequestIdReusedError: Another request was.
        """

    async def change(
        self,
        org: str,
        schedule: str,
        change: Callable[[StoredSchedule], ScheduleSpec],
        repeatable: Repeatable[StoredSchedule] | None,
    ) -> StoredSchedule:
        """Store what `change` makes of a schedule.

        Raises:
            AnsweredBeforeError: The same request was done before.
            NotFoundError: There is none, or its connection does not exist.
            RequestIdReusedError: Another request was.
        """

    async def delete(
        self,
        org: str,
        schedule: str,
        check: Callable[[StoredSchedule], None],
        repeatable: Repeatable[None] | None,
    ) -> None:
        """Remove a schedule that passes a check.

        Raises:
            AnsweredBeforeError: The same request was done before.
            NotFoundError: There is none.
            RequestIdReusedError: Another request was.
        """

    async def get(self, org: str, schedule: str) -> StoredSchedule | None:
        """Return a schedule; None where there is none."""

    async def list_page(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[StoredSchedule], JsonValue]:
        """Return schedules by id, and the cursor of the next page; None at the end."""
