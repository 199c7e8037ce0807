"""Rows of Migration's tables as what they stand for, and back."""

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter

from liftos_migration.domain.checks import Gates
from liftos_migration.domain.ledger import Decision, Head, Step, StepState, canonical_json
from liftos_migration.domain.mapping import Mapping as TargetMapping
from liftos_migration.domain.migrations import (
    Budgets,
    CutOverGates,
    CutOverWindow,
    MigrationProgress,
    MigrationSpec,
    Pace,
    SourceStore,
    Throttle,
    Trigger,
)
from liftos_migration.domain.preflight import CaptureMode
from liftos_migration.domain.states import (
    CutOverPhase,
    MigrationState,
    Place,
    RollbackLevel,
)
from liftos_migration.ledger_ports import StoredMigration

Value = TypeVar("Value")

_PARTS: Final[Mapping[str, Any]] = {
    "source": SourceStore,
    "mapping": TargetMapping,
    "gates": Gates,
    "cut_over_gates": CutOverGates,
    "budgets": Budgets,
    "throttle": Throttle,
    "triggers": tuple[Trigger, ...],
    "cut_over_windows": tuple[CutOverWindow, ...],
}
"""Columns that hold a part of the specification as JSON."""

_PLAN: Final = ("source", "mapping", "gates", "cut_over_gates", "budgets")
"""Parts of which a change asks for a new snapshot."""


def to_json(kind: Any, value: object) -> Any:  # noqa: ANN401 - a type, and any JSON value
    """Return what a value is kept as in a column of type jsonb."""
    return _adapter(kind).dump_python(value, mode="json")


def from_json(kind: type[Value], value: object) -> Value:
    """Return the value that a column of type jsonb holds."""
    hashable: Any = kind
    result: Value = _adapter(hashable).validate_python(value)
    return result


def spec_columns(spec: MigrationSpec) -> dict[str, object]:
    """Return the columns of a specification, with the digest of its plan."""
    parts = {name: to_json(kind, getattr(spec, name)) for name, kind in _PARTS.items()}
    plan = canonical_json({name: parts[name] for name in _PLAN})
    return {
        **parts,
        "display_name": spec.display_name,
        "module": spec.module,
        "capture_mode": spec.capture_mode or 0,
        "pace": spec.pace,
        "rehearsal": spec.rehearsal,
        "plan_sha256": hashlib.sha256(plan).hexdigest(),
    }


def migration_of(row: Mapping[str, Any]) -> StoredMigration:
    """Return a migration from its row."""
    parts = {name: from_json(kind, row[name]) for name, kind in _PARTS.items()}
    resume, rollback_end = row["resume_state"], row["rollback_end"]
    return StoredMigration(
        migration=row["migration"],
        spec=MigrationSpec(
            display_name=row["display_name"],
            module=row["module"],
            capture_mode=CaptureMode(row["capture_mode"]) if row["capture_mode"] else None,
            pace=Pace(row["pace"]),
            rehearsal=row["rehearsal"],
            **parts,
        ),
        place=Place(
            MigrationState(row["state"]), None if resume is None else MigrationState(resume)
        ),
        state_reason=row["state_reason"],
        cut_over_phase=CutOverPhase(row["cut_over_phase"]),
        rollback_level=RollbackLevel(row["rollback_level"]),
        rollback_end=None if rollback_end is None else MigrationState(rollback_end),
        purge=row["purge"],
        progress=from_json(MigrationProgress, row["progress"]),
        progress_time=row["progress_time"],
        generation=row["generation"],
        epoch=row["epoch"],
        lease_owner=row["lease_holder"],
        plan_sha256=row["plan_sha256"],
        snapshot_plan_sha256=row["snapshot_plan_sha256"],
        head=Head(row["head_link"], row["head_sha256"]),
        revision=row["revision"],
        create_time=row["create_time"],
        update_time=row["update_time"],
    )


def step_of(row: Mapping[str, Any]) -> Step:
    """Return an attempt of a step from its row."""
    return Step(
        sequence=row["sequence"],
        phase=MigrationState(row["phase"]),
        title=row["title"],
        generation=row["generation"],
        attempt=row["attempt"],
        state=StepState(row["state"]),
        epoch=row["epoch"],
        start_time=row["start_time"],
        snapshot=row["snapshot"],
        input=row["input"],
        output=row["output"],
        error=row["error"],
        end_time=row["end_time"],
        link=row["link"] or 0,
        previous_sha256=row["previous_sha256"] or b"",
        sha256=row["sha256"] or b"",
    )


def decision_of(row: Mapping[str, Any]) -> Decision:
    """Return a decision from its row."""
    return Decision(
        sequence=row["sequence"],
        action=row["action"],
        subject=row["subject"],
        reason=row["reason"],
        state_before=MigrationState(row["state_before"]),
        state_after=MigrationState(row["state_after"]),
        create_time=row["create_time"],
        readings=tuple(row["readings"]),
        inputs=row["inputs"],
        dry_run=row["dry_run"],
        link=row["link"],
        previous_sha256=row["previous_sha256"],
        sha256=row["sha256"],
    )


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - types of any kind
    return TypeAdapter(kind)
