"""When something needs a person: from what is stored of an org to the conditions that hold."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise, takewhile
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from liftos_ingestion.domain import alerts
from liftos_ingestion.domain.alerts import AlertKind, AlertSeverity, Condition
from liftos_ingestion.domain.schedules import fire_times

EXPIRY_NOTICE: Final = timedelta(days=7)
"""How long before its end a credential is told of."""

RETIREMENT_NOTICE: Final = timedelta(days=60)
"""How long before its end a version is told of."""

QUOTA_PATIENCE: Final = timedelta(hours=6)
"""How long slices without a schedule may wait for a limit."""

RUN_ALLOWANCE: Final = timedelta(hours=2)
"""Time that a run has at least until what it reads is late, however often it is repeated."""

REFUSED_AGAIN: Final = 3
"""Refusals of one row that show that it will not pass by itself."""

REFUSED_ROWS: Final = 100
"""Refused rows within a day that are too many, even if each is new."""

_LAST_DAY: Final = timedelta(days=1)
_LAST_MONTH: Final = timedelta(days=30)
_LAST_WEEK: Final = timedelta(days=7)
_VERY_LATE: Final = timedelta(days=3)
_LOOK_BACK: Final = timedelta(days=1500)


@dataclass(frozen=True, slots=True)
class FailedRun:
    """A run that did not read all of some accounts, of which no newer run has ended.

    Attributes:
        run: Its id.
        partly: Whether something was committed.
        account_ids: Those accounts.
        error: Their last failure; empty where rows were refused and nothing failed.
        schedule: Its schedule; empty where it was started by hand.
    """

    run: UUID
    partly: bool
    account_ids: tuple[str, ...]
    error: str
    schedule: str


@dataclass(frozen=True, slots=True)
class QuotaWait:
    """Slices of one schedule, or of none, that wait for a limit.

    Attributes:
        cron, time_zone: Of the schedule; empty where there is none.
        since: Since when the first of them waits.
        slice_count: How many there are.
        account_ids: Of which accounts.
    """

    cron: str
    time_zone: str
    since: datetime
    slice_count: int
    account_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RefusedRows:
    """Open dead letters of a connection.

    Attributes:
        open_count: All.
        recent_count: Those that were refused within the last day.
        recent_again_count: Those of them that were refused at least `REFUSED_AGAIN` times.
        newest_time: When one was refused last.
    """

    open_count: int
    recent_count: int
    recent_again_count: int
    newest_time: datetime


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """What is stored of a connection that is not disabled.

    Attributes:
        connection: Its id.
        platform: Its source.
        rejected: Whether the platform refused its credential when it was last tried.
        verify_time: When that was; None where it never was.
        expire_time: When the credential ends; None where unknown.
        refused_run: Its newest run that ended, where that was for its credential, and no other
            one was taken since.
        failed_runs: Runs that failed accounts, newest first, those that ended for the credential
            left out.
        quota_waits: What waits for limits.
        refused: Its open dead letters; None where there are none.
    """

    connection: str
    platform: str
    rejected: bool
    verify_time: datetime | None
    expire_time: datetime | None
    refused_run: UUID | None
    failed_runs: Sequence[FailedRun]
    quota_waits: Sequence[QuotaWait]
    refused: RefusedRows | None


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """An account that a schedule reads.

    Attributes:
        account_id: The platform's id.
        time_zone: Bounds its days.
        newest: The newest day that was committed; None where none was.
    """

    account_id: str
    time_zone: str
    newest: date | None


@dataclass(frozen=True, slots=True)
class ScheduleFacts:
    """A schedule that is neither paused nor of a disabled connection.

    Attributes:
        schedule: Its id.
        connection, platform: What it reads.
        cron, time_zone: When it fires.
        since: When a person last changed it; it promises nothing of before.
        accounts: Accounts that it reads, those that are closed left out.
    """

    schedule: str
    connection: str
    platform: str
    cron: str
    time_zone: str
    since: datetime
    accounts: Sequence[AccountFacts]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Sums of one account that differ from the platform's at their newest check.

    Attributes:
        platform, account_id: Of which account.
        connection: Of the run that was checked; empty where it is gone.
        sum_count: How many.
        newest: The newest day.
        run: The run that was checked last.
    """

    platform: str
    account_id: str
    connection: str
    sum_count: int
    newest: date
    run: UUID


@dataclass(frozen=True, slots=True)
class OrgFacts:
    """What is stored of an org."""

    connections: Sequence[ConnectionFacts]
    schedules: Sequence[ScheduleFacts]
    mismatches: Sequence[Mismatch]


@dataclass(frozen=True, slots=True)
class VersionEnd:
    """The version of a platform's API that is asked for.

    Attributes:
        version: Its name.
        end_date: First day on which it may be gone.
    """

    version: str
    end_date: date


KINDS: Final = frozenset(AlertKind)
"""Kinds that these rules decide."""


def conditions(
    facts: OrgFacts, versions: Mapping[str, VersionEnd], *, now: datetime
) -> Sequence[Condition]:
    """Return all that holds, each kind and subject once.

    Args:
        facts: What is stored of the org.
        versions: By platform; those without an end are left out.
        now: The present.
    """
    found = [
        *(it for connection in facts.connections for it in _of_connection(connection, now)),
        *_late(facts.schedules, now),
        *(_of_mismatch(it) for it in facts.mismatches),
        *_retiring({it.platform for it in facts.connections}, versions, now.date()),
    ]
    worst: dict[tuple[AlertKind, str], Condition] = {}
    for condition in found:
        key = condition.kind, condition.subject
        if key not in worst or worst[key].severity < condition.severity:
            worst[key] = condition
    return list(worst.values())


def _of_connection(facts: ConnectionFacts, now: datetime) -> Iterator[Condition]:
    where = {"connection": facts.connection, "platform": facts.platform}
    if facts.failed_runs:
        # A newer run of other accounts mends nothing of those that failed.
        run = facts.failed_runs[0]
        yield alerts.run_failed(
            **where,
            run=run.run,
            partly=run.partly,
            account_ids=sorted({id_ for it in facts.failed_runs for id_ in it.account_ids}),
            error=run.error,
            schedule=run.schedule,
        )
    if facts.rejected or facts.refused_run is not None:
        tried = "" if facts.verify_time is None else facts.verify_time.isoformat()
        evidence = tried if facts.refused_run is None else facts.refused_run.hex
        yield alerts.credentials_rejected(**where, run=facts.refused_run, evidence=evidence)
    if facts.expire_time is not None and facts.expire_time <= now + EXPIRY_NOTICE:
        yield alerts.credentials_expiring(
            **where,
            expire_time=facts.expire_time,
            critical=facts.expire_time <= now + _LAST_DAY,
            over=facts.expire_time <= now,
        )
    waits = [wait for wait in facts.quota_waits if now - wait.since > _patience(wait, now)]
    if waits:
        yield alerts.quota_exhausted(
            **where,
            slice_count=sum(wait.slice_count for wait in waits),
            since=min(wait.since for wait in waits),
            account_ids=sorted({it for wait in waits for it in wait.account_ids}),
        )
    refused = facts.refused
    if refused is not None and (refused.recent_again_count or refused.recent_count >= REFUSED_ROWS):
        yield alerts.dead_letters_growing(
            **where,
            open_count=refused.open_count,
            recent_count=refused.recent_count,
            newest_time=refused.newest_time,
        )


def _patience(wait: QuotaWait, now: datetime) -> timedelta:
    """Return how long slices may wait: until the next run of their schedule is due as well."""
    if not wait.cron:
        return QUOTA_PATIENCE
    times = fire_times(wait.cron, wait.time_zone, after=now)
    first, second = next(times), next(times)
    return second - first


def promised_fire(cron: str, time_zone: str, *, now: datetime) -> datetime | None:
    """Return the newest moment of a schedule whose run must be over by now; None where none must.

    A run has until the next one is due, and `RUN_ALLOWANCE` at least.
    """
    latest = now - RUN_ALLOWANCE
    reach = RUN_ALLOWANCE
    while reach <= _LOOK_BACK:
        past = takewhile(
            lambda fire: fire <= now, fire_times(cron, time_zone, after=latest - reach)
        )
        over = [fire for fire, _ in pairwise(past) if fire <= latest]
        if over:
            return over[-1]
        reach *= 5
    return None


def _late(schedules: Sequence[ScheduleFacts], now: datetime) -> Iterator[Condition]:
    for schedule in schedules:
        fire = promised_fire(schedule.cron, schedule.time_zone, now=now)
        if fire is None or fire < schedule.since:
            continue
        for account in schedule.accounts:
            # A run reads up to the day on which it is due.
            promised = fire.astimezone(ZoneInfo(account.time_zone)).date()
            if account.newest is not None and account.newest >= promised:
                continue
            behind = None if account.newest is None else promised - account.newest
            yield alerts.data_late(
                connection=schedule.connection,
                platform=schedule.platform,
                account_id=account.account_id,
                schedule=schedule.schedule,
                promised=promised,
                newest=account.newest,
                critical=behind is not None and behind >= _VERY_LATE,
            )


def _of_mismatch(mismatch: Mismatch) -> Condition:
    return alerts.reconciliation_failed(
        platform=mismatch.platform,
        connection=mismatch.connection,
        account_id=mismatch.account_id,
        sum_count=mismatch.sum_count,
        newest=mismatch.newest,
        run=mismatch.run,
    )


def _retiring(
    platforms: set[str], versions: Mapping[str, VersionEnd], today: date
) -> Iterator[Condition]:
    for platform in sorted(platforms & versions.keys()):
        end = versions[platform]
        left = end.end_date - today
        if left > RETIREMENT_NOTICE:
            continue
        severity = AlertSeverity.INFO
        if left <= _LAST_MONTH:
            severity = AlertSeverity.WARNING
        if left <= _LAST_WEEK:
            severity = AlertSeverity.CRITICAL
        yield alerts.version_retiring(
            platform=platform, version=end.version, end_date=end.end_date, severity=severity
        )
