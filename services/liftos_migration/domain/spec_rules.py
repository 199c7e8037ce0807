"""Rules of what a person decides about a migration; none of them needs the source."""

from collections.abc import Iterator
from datetime import timedelta

from liftos_kit.core.cron import cron_problem
from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.core.time_zones import time_zone_problem
from liftos_migration.domain.mapping_rules import violations
from liftos_migration.domain.migrations import CutOverWindow, MigrationSpec, Throttle


def require_valid(spec: MigrationSpec) -> None:
    """Refuse a specification that breaks rules which need no source.

    Raises:
        InvalidFieldsError: Names all of them.
    """
    found = [*violations(spec.mapping, path="migration.mapping")]
    if spec.gates.hold_accuracy > spec.gates.minimum_accuracy:
        found.append(
            FieldViolation(
                "migration.gates.hold_accuracy",
                "is above minimum_accuracy; between the two a migration holds",
                "gates.hold_accuracy",
            )
        )
    kinds = [trigger.kind for trigger in spec.triggers]
    found += [
        FieldViolation(
            f"migration.triggers[{index}].kind", f"{kind.name} stands twice", "triggers.unique"
        )
        for index, kind in enumerate(kinds)
        if kind in kinds[:index]
    ]
    found += _negative(_lengths(spec), path="migration")
    found += _negative(_throttle_lengths(spec.throttle), path="migration.throttle")
    for index, window in enumerate(spec.cut_over_windows):
        found += _window(window, path=f"migration.cut_over_windows[{index}]")
    if found:
        raise InvalidFieldsError(found)


def require_valid_throttle(throttle: Throttle) -> None:
    """Refuse limits that are less than nothing.

    Raises:
        InvalidFieldsError: Names all of them.
    """
    found = [*_negative(_throttle_lengths(throttle), path="throttle")]
    if found:
        raise InvalidFieldsError(found)


def _lengths(spec: MigrationSpec) -> Iterator[tuple[str, timedelta | None]]:
    gates, budgets = spec.cut_over_gates, spec.budgets
    yield "gates.maximum_latency_increase", gates.maximum_latency_increase
    yield "gates.maximum_lag", gates.maximum_lag
    yield "gates.maximum_verification_age", gates.maximum_verification_age
    yield "budgets.maximum_downtime", budgets.maximum_downtime
    yield "budgets.maximum_pause", budgets.maximum_pause
    yield "budgets.maximum_rollback", budgets.maximum_rollback
    for index, trigger in enumerate(spec.triggers):
        yield f"triggers[{index}].window", trigger.window


def _throttle_lengths(throttle: Throttle) -> Iterator[tuple[str, timedelta | None]]:
    yield "maximum_source_latency", throttle.maximum_source_latency
    yield "maximum_replica_lag", throttle.maximum_replica_lag


def _negative(
    lengths: Iterator[tuple[str, timedelta | None]], *, path: str
) -> Iterator[FieldViolation]:
    for name, length in lengths:
        if length is not None and length < timedelta():
            yield FieldViolation(f"{path}.{name}", "is less than nothing", "duration.not_negative")


def _window(window: CutOverWindow, *, path: str) -> Iterator[FieldViolation]:
    """Yield what is wrong with a window."""
    for field, problem in (
        ("cron", cron_problem(window.cron)),
        ("time_zone", time_zone_problem(window.time_zone)),
        ("duration", "" if window.duration > timedelta() else "leaves no time"),
    ):
        if problem:
            yield FieldViolation(f"{path}.{field}", problem, f"window.{field}")
