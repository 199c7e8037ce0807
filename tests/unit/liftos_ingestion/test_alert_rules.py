"""When something needs a person, and that it no longer does."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise, takewhile
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_ingestion.domain.alert_rules import (
    RUN_ALLOWANCE,
    AccountFacts,
    ConnectionFacts,
    FailedRun,
    Mismatch,
    OrgFacts,
    QuotaWait,
    RefusedRows,
    ScheduleFacts,
    VersionEnd,
    conditions,
    promised_fire,
)
from liftos_ingestion.domain.alerts import AlertKind, AlertSeverity, Condition, one_line
from liftos_ingestion.domain.schedules import fire_times

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
RUN = UUID(int=1)
QUIET = ConnectionFacts("shop", "meta", False, None, None, None, (), (), None)
FAILED = FailedRun(RUN, False, ("7",), "the platform\nis away", "daily")
SCHEDULE = ScheduleFacts("daily", "shop", "meta", "0 6 * * *", "UTC", NOW - timedelta(days=30), ())


def _held(
    *connections: ConnectionFacts,
    schedules: tuple[ScheduleFacts, ...] = (),
    mismatches: tuple[Mismatch, ...] = (),
    versions: Mapping[str, VersionEnd] | None = None,
) -> list[tuple[AlertKind, AlertSeverity]]:
    found = _conditions(
        *connections, schedules=schedules, mismatches=mismatches, versions=versions or {}
    )
    return [(it.kind, it.severity) for it in found]


def _conditions(
    *connections: ConnectionFacts,
    schedules: tuple[ScheduleFacts, ...] = (),
    mismatches: tuple[Mismatch, ...] = (),
    versions: Mapping[str, VersionEnd] | None = None,
) -> list[Condition]:
    return list(conditions(OrgFacts(connections, schedules, mismatches), versions or {}, now=NOW))


def test_nothing_holds_where_nothing_is_wrong() -> None:
    """A run that succeeded, a credential that lasts, data that is there."""
    fine = replace(QUIET, expire_time=NOW + timedelta(days=8))
    schedule = replace(SCHEDULE, accounts=[AccountFacts("7", "UTC", NOW.date())])
    assert _held(fine, schedules=(schedule,)) == []


@pytest.mark.parametrize(
    ("partly", "severity"), [(False, AlertSeverity.CRITICAL), (True, AlertSeverity.WARNING)]
)
def test_a_run_that_failed(partly: bool, severity: AlertSeverity) -> None:
    """It is shown with its error; each further run that fails is other evidence."""
    run = replace(FAILED, partly=partly)
    (found,) = _conditions(replace(QUIET, failed_runs=[run]))
    assert (found.kind, found.severity) == (AlertKind.RUN_FAILED, severity)
    assert found.summary.endswith("the platform is away")
    assert "daily" in found.summary
    assert (found.account_id, found.run) == ("7", RUN)
    assert f"`liftos runs slices {RUN.hex}`" in found.remedy
    (again,) = _conditions(replace(QUIET, failed_runs=[replace(run, run=UUID(int=2))]))
    assert again.subject == found.subject
    assert again.evidence != found.evidence


def test_accounts_that_several_runs_failed() -> None:
    """They are one alert, of the newest of those runs."""
    newer = replace(FAILED, run=UUID(int=2), account_ids=("8", "6"), error="it is closed")
    (found,) = _conditions(replace(QUIET, failed_runs=[newer, FAILED]))
    assert found.run == newer.run
    assert found.account_id == ""
    assert found.summary.endswith("failed (accounts 6, 7, 8): it is closed")


def test_a_credential_that_is_refused() -> None:
    """When it was tried or when it was used; both are one alert."""
    tried = replace(QUIET, rejected=True, verify_time=NOW)
    critical = (AlertKind.CREDENTIALS_REJECTED, AlertSeverity.CRITICAL)
    assert _held(tried) == [critical]
    assert _held(replace(QUIET, refused_run=RUN)) == [critical]
    assert _held(replace(tried, refused_run=RUN)) == [critical]


@pytest.mark.parametrize(
    ("left", "severity"),
    [
        (timedelta(days=7, seconds=1), None),
        (timedelta(days=7), AlertSeverity.WARNING),
        (timedelta(days=1), AlertSeverity.CRITICAL),
        (-timedelta(days=3), AlertSeverity.CRITICAL),
    ],
)
def test_a_credential_that_ends(left: timedelta, severity: AlertSeverity | None) -> None:
    """A week before, and more urgently on its last day."""
    found = _held(replace(QUIET, expire_time=NOW + left))
    assert found == ([] if severity is None else [(AlertKind.CREDENTIALS_EXPIRING, severity)])


@pytest.mark.parametrize(
    ("cron", "waited", "holds"),
    [
        ("", timedelta(hours=6), False),
        ("", timedelta(hours=6, seconds=1), True),
        ("0 * * * *", timedelta(minutes=60), False),
        ("0 * * * *", timedelta(minutes=61), True),
        ("0 6 * * *", timedelta(hours=20), False),
        ("0 6 * * *", timedelta(hours=25), True),
    ],
)
def test_a_limit_that_lasts(cron: str, waited: timedelta, holds: bool) -> None:
    """As long as the next run of the schedule is not due, waiting is no news."""
    wait = QuotaWait(cron, "UTC" if cron else "", NOW - waited, 3, ("7",))
    short = QuotaWait("", "", NOW - HOUR, 2, ("8",))
    found = _conditions(replace(QUIET, quota_waits=[wait, short]))
    assert [it.kind for it in found] == ([AlertKind.QUOTA_EXHAUSTED] if holds else [])
    if holds:
        assert found[0].summary.startswith("3 slices")
        assert found[0].account_id == "7"


@pytest.mark.parametrize(
    ("newest", "severity"),
    [
        (date(2026, 3, 10), None),
        (date(2026, 3, 9), None),
        (date(2026, 3, 8), AlertSeverity.WARNING),
        (date(2026, 3, 6), AlertSeverity.CRITICAL),
        (None, AlertSeverity.WARNING),
    ],
)
def test_data_that_is_late(newest: date | None, severity: AlertSeverity | None) -> None:
    """At noon of the 10th, the run of 6 o'clock of the 9th must have brought that day."""
    schedule = replace(SCHEDULE, accounts=[AccountFacts("7", "UTC", newest)])
    found = _held(schedules=(schedule,))
    # The run of 6 o'clock today has until tomorrow.
    assert found == ([] if severity is None else [(AlertKind.DATA_LATE, severity)])
    changed = replace(schedule, since=NOW - timedelta(hours=20))
    assert _held(schedules=(changed,)) == [], "it promises nothing of before it was changed"


def test_an_account_has_its_own_days() -> None:
    """What is still the 9th in UTC is the 10th in Auckland."""
    schedule = replace(SCHEDULE, cron="0 13 * * *")
    auckland = AccountFacts("7", "Pacific/Auckland", date(2026, 3, 8))
    denver = AccountFacts("8", "America/Denver", date(2026, 3, 8))
    found = _conditions(schedules=(replace(schedule, accounts=[auckland, denver]),))
    assert [it.account_id for it in found] == ["7"]


def test_schedules_of_one_account() -> None:
    """Two that promise the same account are one alert."""
    account = AccountFacts("7", "UTC", date(2026, 3, 7))
    daily = replace(SCHEDULE, accounts=[account])
    hourly = replace(daily, schedule="hourly", cron="0 * * * *")
    (found,) = _conditions(schedules=(daily, hourly))
    assert found.severity is AlertSeverity.CRITICAL, "of the one that promises more"
    assert "hourly" in found.summary


def test_rows_that_are_refused() -> None:
    """Again and again, or very many; old ones that nobody looks at are no news."""
    refused = RefusedRows(500, 99, 0, NOW)
    assert _held(replace(QUIET, refused=refused)) == []
    for worse in (replace(refused, recent_count=100), replace(refused, recent_again_count=1)):
        assert [kind for kind, _ in _held(replace(QUIET, refused=worse))] == [
            AlertKind.DEAD_LETTERS_GROWING
        ]


def test_sums_that_differ() -> None:
    """One alert an account."""
    mismatch = Mismatch("meta", "7", "shop", 3, date(2026, 3, 9), RUN)
    (found,) = _conditions(mismatches=(mismatch,))
    assert found.kind is AlertKind.RECONCILIATION_FAILED
    assert (found.account_id, found.run) == ("7", RUN)


@pytest.mark.parametrize(
    ("days", "severity"),
    [
        (61, None),
        (60, AlertSeverity.INFO),
        (30, AlertSeverity.WARNING),
        (7, AlertSeverity.CRITICAL),
        (-1, AlertSeverity.CRITICAL),
    ],
)
def test_a_version_that_ends(days: int, severity: AlertSeverity | None) -> None:
    """More urgently as it comes near, and only for those who read that platform."""
    end = VersionEnd("v26.0", NOW.date() + timedelta(days=days))
    found = _held(QUIET, versions={"meta": end, "klaviyo": end})
    assert found == ([] if severity is None else [(AlertKind.VERSION_RETIRING, severity)])


_CRONS = ("*/7 * * * *", "0 * * * *", "15 6 * * *", "30 2 * * 1-5", "0 0 1 * *", "5 4 29 * 0")
_ZONES = ("UTC", "Europe/Berlin", "Australia/Lord_Howe")


@given(
    st.sampled_from(_CRONS),
    st.sampled_from(_ZONES),
    st.timedeltas(timedelta(0), timedelta(days=365)).map(lambda it: NOW + it),
)
def test_the_promised_moment(cron: str, zone: str, now: datetime) -> None:
    """It is the newest whose run had its time and whose next one is due."""
    found = promised_fire(cron, zone, now=now)
    assert found is not None
    later = fire_times(cron, zone, after=found - timedelta(seconds=1))
    over = [
        fire
        for fire, _ in pairwise(takewhile(lambda fire: fire <= now, later))
        if fire <= now - RUN_ALLOWANCE
    ]
    assert over == [found]


@given(st.text(max_size=600), st.integers(1, 300))
def test_one_line(text: str, maximum: int) -> None:
    """Whatever a platform said is one printable line."""
    line = one_line(text, maximum=maximum)
    assert line.isprintable()
    assert len(line) <= maximum
