"""Runs, slices and reconciliations as messages."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from liftos.common.v1.marketing_pb2 import DateRange, Progress
from liftos.ingestion.v1 import connection_pb2, object_pb2, run_pb2
from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos.memory.v1.entry_pb2 import EntryLevel
from liftos_ingestion.domain.failures import ErrorClass, outcome_of
from liftos_ingestion.domain.names import CONNECTION_NAME, connection_name
from liftos_ingestion.domain.windows import Days
from liftos_ingestion.run_ports import RunKind, RunState
from liftos_ingestion.run_view_ports import Row
from liftos_ingestion.usecases.planning import RunRequest
from liftos_kit.core.names import Pattern
from liftos_kit.date_ranges import ends_of
from liftos_kit.structs import timestamp

RUN_NAME: Final = Pattern("orgs/{org}/runs/{run}")
SCHEDULE_NAME: Final = Pattern("orgs/{org}/schedules/{schedule}")
SLICE_NAME: Final = Pattern("orgs/{org}/runs/{run}/slices/{slice}")


def run_id(name: str, *, field: str) -> UUID:
    """Return the id of a run from its name."""
    return UUID(RUN_NAME.parse(name, field=field)["run"])


def run_request(request: pb.StartRunRequest, subject: str) -> RunRequest:
    """Return what a request asks to be read.

    Raises:
        InvalidFieldsError: The days are none.
    """
    return RunRequest(
        kind=RunKind(request.kind or RunKind.INCREMENTAL),
        connection=CONNECTION_NAME.parse(request.parent)["connection"],
        days=days_of(request.date_range) if request.HasField("date_range") else None,
        account_ids=tuple(request.account_ids),
        levels=level_words(request.levels),
        force=request.force,
        subject=subject,
    )


def days_of(message: DateRange, *, field: str = "date_range") -> Days:
    """Return the days of a range.

    Raises:
        InvalidFieldsError: An end is no day, or it ends before it begins.
    """
    return Days(*ends_of(message, field=field))


def level_words(levels: Sequence[int]) -> tuple[str, ...]:
    """Return levels as words."""
    return tuple(EntryLevel.Name(level).removeprefix("ENTRY_LEVEL_") for level in levels)  # type: ignore[arg-type]


def run_message(org: str, row: Row) -> run_pb2.Run:
    """Return the message of a run; with its accounts where the row has them."""
    state = RunState(row["state"])
    return run_pb2.Run(
        name=RUN_NAME.format(org=org, run=row["run"].hex),
        kind=row["kind"],
        connection=connection_name(org, row["connection"]),
        schedule=SCHEDULE_NAME.format(org=org, schedule=row["schedule"]) if row["schedule"] else "",
        date_range=_date_range(row),
        levels=row["levels"],
        state=row["state"],
        progress=_progress(row),
        accounts=[_account(account) for account in row.get("accounts", ())],
        row_count=row["row_count"],
        upserted_count=row["upserted_count"],
        vanished_count=row["vanished_count"],
        dead_letter_count=row["dead_letter_count"],
        call_count=row["call_count"],
        size_bytes=row["size_bytes"],
        error=error_message(row["error"]),
        estimated_end_time=_estimate(row) if state is RunState.RUNNING else None,
        start_time=timestamp(row["start_time"]),
        end_time=timestamp(row["end_time"]),
        create_time=timestamp(row["create_time"]),
        update_time=timestamp(row["update_time"]),
        wait=_wait(row),
        left_out=_left_out(row),
    )


def slice_message(org: str, row: Row) -> run_pb2.RunSlice:
    """Return the message of a slice."""
    job = row["platform_job"]
    return run_pb2.RunSlice(
        name=SLICE_NAME.format(org=org, run=row["run"].hex, slice=row["slice"].hex),
        account_id=row["account_id"],
        level=row["level"],
        date_range=_date_range(row),
        attribution_key=row["attribution_key"],
        date_basis=row["date_basis"],
        state=row["state"],
        attempt=row["attempt"],
        platform_job_id="" if job is None else job["job_id"],
        wait=_wait(row),
        memory_slice=row["memory_slice"],
        row_count=row["row_count"],
        restated_count=row["restated_count"],
        vanished_count=row["vanished_count"],
        call_count=row["call_count"],
        error=error_message(row["error"]),
        start_time=timestamp(row["start_time"]),
        end_time=timestamp(row["end_time"]),
        kind=run_pb2.RUN_SLICE_KIND_ROWS if row["level"] else run_pb2.RUN_SLICE_KIND_OBJECTS,
    )


def object_message(row: Row) -> object_pb2.PlatformObject:
    """Return the message of an object."""
    return object_pb2.PlatformObject(
        platform=row["platform"],
        account_id=row["account_id"],
        level=row["level"],
        object_id=row["object_id"],
        parent_id=row["parent_id"],
        display_name=row["display_name"],
        state=row["state"],
        create_time=timestamp(row["create_time"]),
        update_time=timestamp(row["update_time"]),
    )


def reconciliation_message(org: str, row: Row) -> run_pb2.Reconciliation:
    """Return the message of a reconciliation."""
    stored, platform = row["stored_value"], row["platform_value"]
    return run_pb2.Reconciliation(
        run=RUN_NAME.format(org=org, run=row["run"].hex),
        platform=row["platform"],
        account_id=row["account_id"],
        level=row["level"],
        date=row["date"].isoformat(),
        metric=row["metric"],
        stored_value=stored,
        platform_value=platform,
        difference=(stored or 0) - (platform or 0),
        state=row["state"],
        detail=row["detail"],
        check_time=timestamp(row["check_time"]),
    )


def error_message(error: Mapping[str, Any] | None) -> run_pb2.RunError | None:
    """Return the message of a failure; None, which leaves a field unset, for none."""
    if error is None:
        return None
    time = Timestamp()
    time.FromJsonString(error["occur_time"])
    return run_pb2.RunError(
        error_class=run_pb2.ErrorClass.Value(f"ERROR_CLASS_{error['error_class']}"),
        message=error["message"],
        platform_code=error["platform_code"],
        platform_request_id=error["platform_request_id"],
        occur_time=time,
    )


def _account(row: Row) -> run_pb2.RunAccount:
    outcome = outcome_of(
        {ErrorClass(word) for word in row["failures"]},
        objects_failed=row["objects_failed"],
        rows_refused=row["rows_refused"],
        waits_for_quota=row["waits_for_quota"],
        committed=row["committed"],
    )
    return run_pb2.RunAccount(
        account_id=row["account_id"],
        outcome=connection_pb2.AccountOutcome.Value(f"ACCOUNT_OUTCOME_{outcome or 'UNSPECIFIED'}"),
        progress=_progress(row),
        # What a later try has made good is no news.
        error=error_message(row["error"]) if _is_news(row) else None,
    )


def _is_news(row: Row) -> bool:
    return bool(row["failures"] or row["objects_failed"] or row["waits_for_quota"])


def _left_out(row: Row) -> run_pb2.LeftOut | None:
    left_out = run_pb2.LeftOut(
        final_day_count=row["final_day_count"],
        in_hand_day_count=row["in_hand_day_count"],
        unanswered_day_count=row["unanswered_day_count"],
    )
    return left_out if left_out.ByteSize() else None


def _wait(row: Row) -> run_pb2.Wait | None:
    """Return what a run or a slice waits for; None, which leaves the field unset, for nothing."""
    if row["waits_for"] is None:
        return None
    return run_pb2.Wait(
        reason=row["waits_for"],
        detail=row["waits_for_detail"],
        resume_time=timestamp(row["resume_time"]),
    )


def _date_range(row: Row) -> DateRange:
    return DateRange(start_date=row["start_date"].isoformat(), end_date=row["end_date"].isoformat())


def _progress(row: Row) -> Progress:
    return Progress(
        total_count=row["total_count"],
        succeeded_count=row["succeeded_count"],
        failed_count=row["failed_count"],
        skipped_count=row["skipped_count"],
    )


def _estimate(row: Row) -> Timestamp | None:
    """Return when a run ends if it goes on as so far."""
    done = row["succeeded_count"] + row["failed_count"] + row["skipped_count"]
    if not done or row["start_time"] is None:
        return None
    now = datetime.now(UTC)
    seconds = (now - row["start_time"]).total_seconds() / done * (row["total_count"] - done)
    return timestamp(now + timedelta(seconds=seconds))
