"""Schedules and backfill plans as messages, and messages as what a person decided."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration

from liftos.common.v1.marketing_pb2 import DateRange
from liftos.ingestion.v1 import schedule_pb2
from liftos.memory.v1.entry_pb2 import DateBasis, EntryLevel
from liftos_ingestion.convert.runs import RUN_NAME, SCHEDULE_NAME, level_words
from liftos_ingestion.domain.names import CONNECTION_NAME, connection_name
from liftos_ingestion.domain.schedules import CATCHUP
from liftos_ingestion.schedule_ports import OverlapPolicy, ScheduleSpec, StoredSchedule
from liftos_ingestion.usecases.backfills import BackfillPlan
from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.structs import timestamp

_SPEC_FIELDS: Final = {
    "display_name": "display_name",
    "connection": "connection",
    "account_ids": "account_ids",
    "levels": "levels",
    "cron": "cron",
    "time_zone": "time_zone",
    "lookback_days": "lookback_days",
    "overlap_policy": "overlap_policy",
    "catchup_window": "catchup",
    "paused": "paused",
}
"""Field of the specification for each field of the message that a writer gives."""


def schedule_id(name: str, *, field: str) -> str:
    """Return the id of a schedule from its name."""
    return SCHEDULE_NAME.parse(name, field=field)["schedule"]


def schedule_spec(message: schedule_pb2.Schedule) -> ScheduleSpec:
    """Return what a message says that a schedule does."""
    return ScheduleSpec(
        display_name=message.display_name,
        connection=CONNECTION_NAME.parse(message.connection, field="schedule.connection")[
            "connection"
        ],
        account_ids=tuple(message.account_ids),
        levels=level_words(message.levels),
        cron=message.cron,
        time_zone=message.time_zone,
        lookback_days=message.lookback_days,
        overlap_policy=OverlapPolicy(message.overlap_policy or OverlapPolicy.SKIP),
        catchup=message.catchup_window.ToTimedelta()
        if message.HasField("catchup_window")
        else CATCHUP,
        paused=message.paused,
    )


def spec_fields(paths: Sequence[str]) -> Sequence[str]:
    """Return the fields of the specification that a mask means; all where it names none.

    Raises:
        InvalidFieldsError: It names others.
    """
    wrong = [path for path in paths if path not in _SPEC_FIELDS]
    if wrong:
        raise InvalidFieldsError(
            FieldViolation(
                "update_mask",
                f"{path} cannot be changed; the fields are {', '.join(_SPEC_FIELDS)}",
                "field_mask",
            )
            for path in wrong
        )
    return [_SPEC_FIELDS[path] for path in paths or _SPEC_FIELDS]


def schedule_message(
    org: str, stored: StoredSchedule, next_times: Sequence[datetime]
) -> schedule_pb2.Schedule:
    """Return the message of a schedule."""
    spec = stored.spec
    catchup = Duration()
    catchup.FromTimedelta(spec.catchup)
    return schedule_pb2.Schedule(
        name=SCHEDULE_NAME.format(org=org, schedule=stored.schedule),
        display_name=spec.display_name,
        connection=connection_name(org, spec.connection),
        account_ids=spec.account_ids,
        levels=[EntryLevel.Value(f"ENTRY_LEVEL_{level}") for level in spec.levels],
        cron=spec.cron,
        time_zone=spec.time_zone,
        lookback_days=spec.lookback_days,
        overlap_policy=schedule_pb2.OverlapPolicy.ValueType(spec.overlap_policy),
        catchup_window=catchup,
        paused=spec.paused,
        next_run_times=[timestamp(time) for time in next_times],
        last_run=""
        if stored.last_run is None
        else RUN_NAME.format(org=org, run=stored.last_run.hex),
        create_time=timestamp(stored.create_time),
        update_time=timestamp(stored.update_time),
        etag=str(stored.revision),
    )


def plan_message(plan: BackfillPlan) -> schedule_pb2.BackfillPlan:
    """Return the message of a backfill plan."""
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=plan.seconds))
    return schedule_pb2.BackfillPlan(
        windows=[
            schedule_pb2.BackfillWindow(
                account_id=window.account_id,
                level=EntryLevel.Value(f"ENTRY_LEVEL_{window.level}"),
                date_range=DateRange(
                    start_date=window.days.start.isoformat(), end_date=window.days.end.isoformat()
                ),
                call_count=window.call_count,
                row_count=window.row_count,
                committed=window.committed,
                date_basis=DateBasis.Value(f"DATE_BASIS_{window.date_basis}"),
            )
            for window in plan.windows
        ],
        call_count=plan.call_count,
        duration=duration,
        end_time=timestamp(plan.end_time),
        caveats=plan.caveats,
    )
