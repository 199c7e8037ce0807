"""Preflight fails closed: what is not known counts as missing."""

from dataclasses import fields, replace
from typing import Any

import pytest

from liftos_migration.domain.inventory import Column, Inventory, Item, ItemKind
from liftos_migration.domain.preflight import CaptureMode, Severity, SourceFacts, preflight

_TABLE = Item(
    ItemKind.TABLE,
    "public.t",
    "table",
    columns=(Column("id", "integer", False),),
    key_columns=("id",),
)
_INVENTORY = Inventory((_TABLE,))
_GOOD = SourceFacts(
    server_version=150_018,
    role="mover",
    database="module",
    encoding="UTF8",
    wal_level="logical",
    can_replicate=True,
    can_create_schema=True,
    slots_free=10,
    senders_free=10,
    selectable={"public.t": True},
    triggerable={"public.t": True},
    writable={"public.t": True},
    owners={"public.t": "shop"},
    owned={"public.t": True},
    identities={"public.t": "default"},
    oldest_transaction_seconds=0.1,
    prepared_transactions=0,
    large_objects=0,
    clock_offset_seconds=0.01,
    is_standby=False,
    session_is_pooled=False,
)


def test_a_source_that_allows_everything_has_no_findings() -> None:
    """All modes work, the log first."""
    report = preflight(_GOOD, _INVENTORY)
    assert report.findings == ()
    assert report.startable
    assert report.capture_modes == tuple(CaptureMode)


@pytest.mark.parametrize(
    "name", [each.name for each in fields(SourceFacts) if "None" in str(each.type)]
)
def test_what_is_not_known_is_a_finding(name: str) -> None:
    """Each fact that could not be found out is told, with what to do."""
    if name == "can_create_schema":
        report = preflight(replace(_GOOD, can_create_schema=None), _INVENTORY)
        assert CaptureMode.TRIGGER not in report.capture_modes
        return
    unknown: dict[str, Any] = {name: None}
    report = preflight(replace(_GOOD, **unknown), _INVENTORY)
    assert report.findings
    assert all(each.remedy and each.wanted for each in report.findings)


@pytest.mark.parametrize(
    ("changes", "code", "severity"),
    [
        ({"server_version": 130_000}, "SERVER_VERSION", Severity.BLOCKER),
        ({"encoding": "LATIN1"}, "ENCODING", Severity.BLOCKER),
        ({"encoding": "SQL_ASCII"}, "ENCODING", Severity.BLOCKER),
        ({"is_standby": True}, "STANDBY", Severity.BLOCKER),
        ({"session_is_pooled": True}, "POOLER", Severity.BLOCKER),
        ({"prepared_transactions": 2}, "PREPARED_TRANSACTIONS", Severity.BLOCKER),
        ({"selectable": {}}, "SELECT_MISSING", Severity.BLOCKER),
        ({"large_objects": 3}, "LARGE_OBJECTS", Severity.WARNING),
        ({"clock_offset_seconds": -0.7}, "CLOCK_OFFSET", Severity.WARNING),
        ({"oldest_transaction_seconds": 90.0}, "OLD_TRANSACTION", Severity.WARNING),
        ({"writable": {}}, "WRITE_MISSING", Severity.WARNING),
        ({"wal_level": "replica"}, "WAL_LEVEL", Severity.WARNING),
        ({"slots_free": 1}, "SLOTS", Severity.WARNING),
        ({"senders_free": 0}, "SENDERS", Severity.WARNING),
        ({"wal_level": "replica", "triggerable": {}}, "NO_CAPTURE_MODE", Severity.BLOCKER),
    ],
)
def test_what_is_missing_is_told(changes: dict[str, Any], code: str, severity: Severity) -> None:
    """With its weight; blockers keep the migration from starting."""
    report = preflight(replace(_GOOD, **changes), _INVENTORY)
    found = {each.code: each.severity for each in report.findings}
    assert found[code] is severity
    assert report.startable is (severity is not Severity.BLOCKER)


def test_rows_without_a_key_need_one() -> None:
    """Unless the log has whole rows."""
    keyless = Inventory((replace(_TABLE, key_columns=()),))
    assert [each.code for each in preflight(_GOOD, keyless).findings] == ["NO_KEY"]
    full = replace(_GOOD, identities={"public.t": "full"})
    assert preflight(full, keyless).findings == ()
