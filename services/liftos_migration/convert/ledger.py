"""Rows of the ledger as messages."""

from typing import Any

from google.protobuf import json_format

from liftos.migration.v1 import ledger_pb2 as pb
from liftos.migration.v1 import migration_pb2, trigger_pb2
from liftos_kit.structs import struct_of, timestamp
from liftos_migration.convert.durations import seconds
from liftos_migration.domain.ledger import Decision, JsonObject, Step
from liftos_migration.domain.names import DECISION_NAME, SNAPSHOT_NAME, STEP_NAME
from liftos_migration.domain.snapshots import Snapshot


def step_message(org: str, migration: str, step: Step) -> pb.Step:
    """Return the message of an attempt of a step."""
    return pb.Step(
        name=STEP_NAME.format(org=org, migration=migration, step=str(step.sequence)),
        sequence=step.sequence,
        title=step.title,
        phase=migration_pb2.MigrationState.ValueType(step.phase),
        state=pb.StepState.ValueType(step.state),
        attempt=step.attempt,
        epoch=step.epoch,
        snapshot=SNAPSHOT_NAME.format(org=org, migration=migration, snapshot=step.snapshot)
        if step.snapshot
        else "",
        input=struct_of(step.input or {}),
        output=struct_of(step.output or {}),
        error=step.error,
        previous_sha256=step.previous_sha256,
        sha256=step.sha256,
        start_time=timestamp(step.start_time),
        end_time=timestamp(step.end_time),
    )


def decision_message(org: str, migration: str, decision: Decision) -> pb.Decision:
    """Return the message of a decision."""
    return pb.Decision(
        name=DECISION_NAME.format(org=org, migration=migration, decision=str(decision.sequence)),
        sequence=decision.sequence,
        action=decision.action,
        subject=decision.subject,
        reason=decision.reason,
        readings=map(_reading, decision.readings),
        inputs=struct_of(decision.inputs or {}),
        state_before=migration_pb2.MigrationState.ValueType(decision.state_before),
        state_after=migration_pb2.MigrationState.ValueType(decision.state_after),
        dry_run=decision.dry_run,
        previous_sha256=decision.previous_sha256,
        sha256=decision.sha256,
        create_time=timestamp(decision.create_time),
    )


def snapshot_message(
    org: str, migration: str, snapshot: Snapshot, *, before_step: int
) -> pb.Snapshot:
    """Return the message of a snapshot.

    Args:
        org: Whose.
        migration: Of which migration.
        snapshot: It.
        before_step: Number of the step that it was taken before; 0 where that has not begun.
    """
    restored = snapshot.restore_seconds
    return pb.Snapshot(
        name=SNAPSHOT_NAME.format(org=org, migration=migration, snapshot=snapshot.id),
        before_step=before_step,
        tables=snapshot.tables,
        row_count=snapshot.row_count,
        size_bytes=snapshot.size_bytes,
        sha256=snapshot.sha256,
        restore_tested=snapshot.counts,
        restore_duration=None if restored is None else seconds(restored),
        create_time=timestamp(snapshot.create_time),
    )


def _reading(reading: JsonObject) -> trigger_pb2.TriggerReading:
    values: dict[str, Any] = dict(reading)
    return json_format.ParseDict(values, trigger_pb2.TriggerReading())
