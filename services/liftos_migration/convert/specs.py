"""What a person decides about a migration, both ways; unset fields take the defaults."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, overload

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from liftos.migration.v1 import migration_pb2 as pb
from liftos.migration.v1 import plan_pb2, trigger_pb2
from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_migration.convert.durations import duration
from liftos_migration.convert.mappings import mapping_message, mapping_of
from liftos_migration.domain.checks import Gates
from liftos_migration.domain.migrations import (
    Budgets,
    CutOverGates,
    CutOverWindow,
    MigrationSpec,
    Pace,
    SourceStore,
    Throttle,
    Trigger,
    TriggerAction,
    TriggerKind,
)
from liftos_migration.domain.preflight import CaptureMode

SPEC_FIELDS: Final = {
    "display_name": ("display_name",),
    "module": ("module",),
    "source": ("source",),
    "mapping": ("mapping",),
    "capture_mode": ("capture_mode",),
    "gates": ("gates", "cut_over_gates"),
    "budgets": ("budgets",),
    "throttle": ("throttle",),
    "triggers": ("triggers",),
    "cut_over_windows": ("cut_over_windows",),
    "pace": ("pace",),
    "rehearsal": ("rehearsal",),
}
"""Fields of the specification for each field of the message that a writer gives."""

_GATES: Final = (
    *("minimum_accuracy", "hold_accuracy", "minimum_completeness"),
    *("minimum_recall", "minimum_success"),
)


def spec_fields(paths: Sequence[str]) -> Sequence[str]:
    """Return the fields of the specification that a mask means; all where it names none.

    Raises:
        InvalidFieldsError: It names others.
    """
    wrong = [path for path in paths if path not in SPEC_FIELDS]
    if wrong:
        raise InvalidFieldsError(
            FieldViolation(
                "update_mask",
                f"{path} cannot be changed; the fields are {', '.join(SPEC_FIELDS)}",
                "field_mask",
            )
            for path in wrong
        )
    return [field for path in paths or SPEC_FIELDS for field in SPEC_FIELDS[path]]


def spec_of(message: pb.Migration, *, subject: str) -> MigrationSpec:
    """Return what a message says of a migration.

    Args:
        message: As it was given; its output-only fields are left alone.
        subject: Who gives it.
    """
    source = message.source
    return MigrationSpec(
        display_name=message.display_name,
        module=message.module,
        source=SourceStore(
            database_reference=source.database_reference,
            schemas=tuple(source.schemas) or ("public",),
            redis_reference=source.redis_reference,
            configuration_files=tuple(source.configuration_files),
            probe_target=source.probe_target,
        ),
        mapping=mapping_of(message.mapping, subject=subject),
        capture_mode=CaptureMode(message.capture_mode) if message.capture_mode else None,
        gates=_gates(message.gates),
        cut_over_gates=_cut_over_gates(message.gates),
        budgets=_budgets(message.budgets),
        throttle=throttle_of(message.throttle),
        triggers=tuple(
            Trigger(
                TriggerKind(each.kind),
                TriggerAction(each.action or TriggerAction.ROLL_BACK),
                each.threshold,
                _length(each, "window"),
            )
            for each in message.triggers
        ),
        cut_over_windows=tuple(
            CutOverWindow(each.cron, each.time_zone, each.duration.ToTimedelta())
            for each in message.cut_over_windows
        ),
        pace=Pace(message.pace or Pace.NORMAL),
        rehearsal=message.rehearsal,
    )


def throttle_of(message: pb.Throttle) -> Throttle:
    """Return the throttle of a message."""
    default = Throttle()
    share = message.maximum_share if message.HasField("maximum_share") else default.maximum_share
    return Throttle(
        maximum_share=share,
        maximum_connections=message.maximum_connections or default.maximum_connections,
        maximum_source_latency=_length(message, "maximum_source_latency"),
        maximum_replica_lag=_length(message, "maximum_replica_lag"),
        maximum_retained_bytes=message.maximum_retained_bytes or default.maximum_retained_bytes,
    )


def fill_spec(message: pb.Migration, spec: MigrationSpec) -> None:
    """Fill the fields of a message that a person decides, with the defaults that hold."""
    message.display_name = spec.display_name
    message.module = spec.module
    message.source.CopyFrom(
        pb.SourceStore(
            database_reference=spec.source.database_reference,
            schemas=spec.source.schemas,
            redis_reference=spec.source.redis_reference,
            configuration_files=spec.source.configuration_files,
            probe_target=spec.source.probe_target,
        )
    )
    message.mapping.CopyFrom(mapping_message(spec.mapping))
    message.capture_mode = plan_pb2.CaptureMode.ValueType(spec.capture_mode or 0)
    message.gates.CopyFrom(_gates_message(spec))
    message.budgets.CopyFrom(
        pb.Budgets(
            maximum_downtime=duration(spec.budgets.maximum_downtime),
            maximum_pause=duration(spec.budgets.maximum_pause),
            maximum_rollback=duration(spec.budgets.maximum_rollback),
        )
    )
    message.throttle.CopyFrom(_throttle_message(spec.throttle))
    message.triggers.extend(
        trigger_pb2.Trigger(
            kind=trigger_pb2.TriggerKind.ValueType(each.kind),
            action=trigger_pb2.TriggerAction.ValueType(each.action),
            threshold=each.threshold,
            window=duration(each.window),
        )
        for each in spec.triggers
    )
    message.cut_over_windows.extend(
        pb.CutOverWindow(cron=each.cron, time_zone=each.time_zone, duration=duration(each.duration))
        for each in spec.cut_over_windows
    )
    message.pace = pb.Pace.ValueType(spec.pace)
    message.rehearsal = spec.rehearsal


def _gates(message: pb.Gates) -> Gates:
    given = {name: getattr(message, name) for name in _GATES if message.HasField(name)}
    return Gates(**given)


def _cut_over_gates(message: pb.Gates) -> CutOverGates:
    default = CutOverGates()
    return CutOverGates(
        maximum_latency_ratio=message.maximum_latency_ratio
        if message.HasField("maximum_latency_ratio")
        else default.maximum_latency_ratio,
        maximum_latency_increase=_length(
            message, "maximum_latency_increase", default.maximum_latency_increase
        ),
        maximum_lag=_length(message, "maximum_lag", default.maximum_lag),
        maximum_verification_age=_length(
            message, "maximum_verification_age", default.maximum_verification_age
        ),
        minimum_samples=message.minimum_samples
        if message.HasField("minimum_samples")
        else default.minimum_samples,
    )


def _budgets(message: pb.Budgets) -> Budgets:
    default = Budgets()
    return Budgets(
        maximum_downtime=_length(message, "maximum_downtime", default.maximum_downtime),
        maximum_pause=_length(message, "maximum_pause", default.maximum_pause),
        maximum_rollback=_length(message, "maximum_rollback", default.maximum_rollback),
    )


def _gates_message(spec: MigrationSpec) -> pb.Gates:
    later = spec.cut_over_gates
    return pb.Gates(
        minimum_accuracy=spec.gates.minimum_accuracy,
        hold_accuracy=spec.gates.hold_accuracy,
        minimum_completeness=spec.gates.minimum_completeness,
        minimum_recall=spec.gates.minimum_recall,
        minimum_success=spec.gates.minimum_success,
        maximum_latency_ratio=later.maximum_latency_ratio,
        maximum_latency_increase=duration(later.maximum_latency_increase),
        maximum_lag=duration(later.maximum_lag),
        maximum_verification_age=duration(later.maximum_verification_age),
        minimum_samples=later.minimum_samples,
    )


def _throttle_message(throttle: Throttle) -> pb.Throttle:
    return pb.Throttle(
        maximum_share=throttle.maximum_share,
        maximum_connections=throttle.maximum_connections,
        maximum_source_latency=duration(throttle.maximum_source_latency),
        maximum_replica_lag=duration(throttle.maximum_replica_lag),
        maximum_retained_bytes=throttle.maximum_retained_bytes,
    )


@overload
def _length(message: Message, field: str, default: timedelta) -> timedelta: ...
@overload
def _length(message: Message, field: str, default: None = None) -> timedelta | None: ...
def _length(message: Message, field: str, default: timedelta | None = None) -> timedelta | None:
    """Return a length of time; the default where it is unset."""
    if not message.HasField(field):
        return default
    given: Duration = getattr(message, field)
    return given.ToTimedelta()
