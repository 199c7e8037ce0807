"""What a person decides about a migration is held against rules before anything is written."""

from dataclasses import replace
from datetime import timedelta

import pytest

from liftos_kit.core.errors import InvalidFieldsError
from liftos_migration.domain.migrations import (
    Budgets,
    CutOverGates,
    CutOverWindow,
    MigrationSpec,
    SourceStore,
    Throttle,
    Trigger,
    TriggerKind,
)
from liftos_migration.domain.spec_rules import require_valid, require_valid_throttle

_SPEC = MigrationSpec("Shop", "shop", SourceStore("SHOP_URL"))
_HOUR = timedelta(hours=1)
_LESS = timedelta(microseconds=-1)


def _fields(spec: MigrationSpec) -> list[str]:
    with pytest.raises(InvalidFieldsError) as raised:
        require_valid(spec)
    return [each.field for each in raised.value.violations]


def test_lengths_of_time_are_not_negative() -> None:
    """Each that is stands by its place; nothing at all is a length too."""
    wrong = replace(
        _SPEC,
        budgets=Budgets(maximum_pause=_LESS),
        cut_over_gates=CutOverGates(maximum_lag=_LESS, maximum_verification_age=timedelta()),
        throttle=Throttle(maximum_replica_lag=_LESS),
        triggers=(
            Trigger(TriggerKind.ACCURACY),
            Trigger(TriggerKind.LATENCY, window=_LESS),
        ),
    )
    assert _fields(wrong) == [
        "migration.gates.maximum_lag",
        "migration.budgets.maximum_pause",
        "migration.triggers[1].window",
        "migration.throttle.maximum_replica_lag",
    ]


def test_limits_are_held_against_the_same_rule() -> None:
    """They may be changed while a migration runs."""
    require_valid_throttle(Throttle(maximum_source_latency=timedelta()))
    with pytest.raises(InvalidFieldsError) as raised:
        require_valid_throttle(Throttle(maximum_source_latency=_LESS))
    assert [each.field for each in raised.value.violations] == ["throttle.maximum_source_latency"]


@pytest.mark.parametrize(
    ("window", "field"),
    [
        (CutOverWindow("0 2 * *", "Europe/Berlin", _HOUR), "cron"),
        (CutOverWindow("0 25 * * *", "Europe/Berlin", _HOUR), "cron"),
        (CutOverWindow("0 2 30 2 *", "Europe/Berlin", _HOUR), "cron"),
        (CutOverWindow("0 2 * * 6", "Europe/Berlyn", _HOUR), "time_zone"),
        (CutOverWindow("0 2 * * 6", "Europe/Berlin", timedelta()), "duration"),
        (CutOverWindow("0 2 * * 6", "Europe/Berlin", -_HOUR), "duration"),
    ],
)
def test_windows_open_some_time(window: CutOverWindow, field: str) -> None:
    """One that can never open is refused."""
    good = CutOverWindow("0 2 * * 6", "Europe/Berlin", _HOUR)
    require_valid(replace(_SPEC, cut_over_windows=(good,)))
    wrong = replace(_SPEC, cut_over_windows=(good, window))
    assert _fields(wrong) == [f"migration.cut_over_windows[1].{field}"]
