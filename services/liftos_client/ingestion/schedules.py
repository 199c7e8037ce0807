"""Schedules, and plans of backfills."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from google.protobuf.duration_pb2 import Duration

from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos.ingestion.v1.schedule_pb2 import BackfillPlan, OverlapPolicy, Schedule
from liftos_client.arguments import (
    Day,
    chosen_request_id,
    date_range,
    enum_value,
    field_mask,
    text_list,
)
from liftos_client.ingestion.base import IngestionCalls, Level, level_values
from liftos_client.pages import Pages

if TYPE_CHECKING:
    Overlap: TypeAlias = OverlapPolicy.ValueType | str
else:
    # The generated code names this type for type checkers only.
    Overlap = int | str


class ScheduleMethods(IngestionCalls):
    """Methods about schedules and backfills."""

    async def create_schedule(
        self,
        schedule_id: str,
        *,
        display_name: str,
        connection: str,
        cron: str,
        time_zone: str,
        account_ids: Sequence[str] = (),
        levels: Iterable[Level] = (),
        lookback_days: int = 0,
        overlap_policy: Overlap = "UNSPECIFIED",
        catchup_window: timedelta | None = None,
        paused: bool = False,
        validate_only: bool = False,
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> Schedule:
        """Start runs of a connection by the clock.

        Args:
            schedule_id: Lower case letters, digits and hyphens.
            display_name: Shown to people.
            connection: What to read.
            cron: Five fields, such as "15 6 * * *".
            time_zone: IANA name of the zone of the clock.
            account_ids: Only these accounts; none means all.
            levels: Only these; none means all that the source reports.
            lookback_days: Days before today that each run reads again; 0 follows the platform.
            overlap_policy: "SKIP", "BUFFER_ONE" or "CANCEL_OTHER"; by default SKIP.
            catchup_window: How late a missed run may still start; by default an hour.
            paused: True keeps runs from starting.
            validate_only: Check and answer with the next times; store nothing.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            AlreadyExistsError: The id is taken.
            NotFoundError: There is no such connection.
        """
        window: Duration | None = None
        if catchup_window is not None:
            window = Duration()
            window.FromTimedelta(catchup_window)
        request = pb.CreateScheduleRequest(
            schedule=Schedule(
                name=self._name("schedules", schedule_id),
                display_name=display_name,
                connection=self._connection_name(connection),
                account_ids=text_list(account_ids, field="account_ids"),
                levels=level_values(levels),
                cron=cron,
                time_zone=time_zone,
                lookback_days=lookback_days,
                overlap_policy=enum_value(OverlapPolicy, overlap_policy, field="overlap_policy"),
                catchup_window=window,
                paused=paused,
            ),
            validate_only=validate_only,
            request_id=chosen_request_id(request_id),
        )
        answer = await self._calls.unary(self._stub.CreateSchedule, request, timeout_seconds)
        return answer.schedule

    async def get_schedule(self, name: str, *, timeout_seconds: float | None = None) -> Schedule:
        """Read one schedule.

        Raises:
            NotFoundError: There is none.
        """
        request = pb.GetScheduleRequest(name=self._name("schedules", name))
        return (await self._calls.unary(self._stub.GetSchedule, request, timeout_seconds)).schedule

    def list_schedules(
        self,
        *,
        filter: str = "",  # noqa: A002  # the contract's word
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[Schedule, pb.ListSchedulesResponse]:
        """List schedules by name; filter over connection, display_name, paused."""
        return self._pages(
            self._stub.ListSchedules,
            pb.ListSchedulesRequest(parent=self._parent, filter=filter, page_size=page_size),
            lambda page: page.schedules,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def update_schedule(
        self,
        schedule: Schedule,
        *,
        update_mask: Iterable[str] = (),
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> Schedule:
        """Change a schedule; `paused` is one of its fields.

        Args:
            schedule: As read, with its etag, and changed.
            update_mask: Fields to change; none means all that a writer gives.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            EtagMismatchError: It was changed since it was read.
        """
        request = pb.UpdateScheduleRequest(
            schedule=schedule,
            update_mask=field_mask(update_mask),
            request_id=chosen_request_id(request_id),
        )
        answer = await self._calls.unary(self._stub.UpdateSchedule, request, timeout_seconds)
        return answer.schedule

    async def delete_schedule(
        self,
        name: str,
        *,
        etag: str = "",
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> None:
        """Remove a schedule; its runs stay.

        Raises:
            EtagMismatchError: It was changed since it was read with this etag.
        """
        request = pb.DeleteScheduleRequest(
            name=self._name("schedules", name), etag=etag, request_id=chosen_request_id(request_id)
        )
        await self._calls.unary(self._stub.DeleteSchedule, request, timeout_seconds)

    async def plan_backfill(
        self,
        connection: str,
        start_date: Day,
        end_date: Day,
        *,
        account_ids: Sequence[str] = (),
        levels: Iterable[Level] = (),
        timeout_seconds: float | None = None,
    ) -> BackfillPlan:
        """Compute what reading a long range would take; `start_run` with kind "BACKFILL" does it.

        Args:
            connection: What to read.
            start_date: First day.
            end_date: Last day.
            account_ids: Only these accounts; none means all.
            levels: Only these; none means all that the source reports.
            timeout_seconds: Deadline.
        """
        request = pb.PlanBackfillRequest(
            parent=self._connection_name(connection),
            date_range=date_range(start_date, end_date),
            account_ids=text_list(account_ids, field="account_ids"),
            levels=level_values(levels),
        )
        return (await self._calls.unary(self._stub.PlanBackfill, request, timeout_seconds)).plan
