"""What needs a person: kinds of alerts, what each is about, and what it says."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import IntEnum
from typing import Final
from uuid import UUID


class AlertKind(IntEnum):
    """What an alert is about; numbers as in the contract."""

    RUN_FAILED = 1
    CREDENTIALS_REJECTED = 2
    CREDENTIALS_EXPIRING = 3
    QUOTA_EXHAUSTED = 4
    DATA_LATE = 5
    RECONCILIATION_FAILED = 6
    DEAD_LETTERS_GROWING = 7
    VERSION_RETIRING = 8


class AlertSeverity(IntEnum):
    """How soon a person should look; numbers as in the contract."""

    INFO = 1
    WARNING = 2
    CRITICAL = 3


class AlertState(IntEnum):
    """Where an alert is; numbers as in the contract."""

    OPEN = 1
    ACKNOWLEDGED = 2
    RESOLVED = 3


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that holds and needs a person.

    Attributes:
        kind: What it is about.
        subject: What it is about in particular; a kind and a subject are one alert.
        severity: How soon to look.
        summary: One sentence.
        remedy: What to do.
        evidence: What shows it; the same evidence seen again is no other occurrence.
        platform, connection, account_id: Where; empty where it is about none.
        run: The newest run that showed it; None where none did.
    """

    kind: AlertKind
    subject: str
    severity: AlertSeverity
    summary: str
    remedy: str
    evidence: str
    platform: str = ""
    connection: str = ""
    account_id: str = ""
    run: UUID | None = None


_MAXIMUM_LINE: Final = 250


def one_line(text: str, *, maximum: int = _MAXIMUM_LINE) -> str:
    """Return a text as one printable line of at most so many characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= maximum else f"{line[: maximum - 1]}…"


def run_failed(
    *,
    connection: str,
    platform: str,
    run: UUID,
    partly: bool,
    account_ids: Sequence[str],
    error: str,
    schedule: str,
) -> Condition:
    """Return that the last run of accounts of a connection did not read all of them."""
    what = "read only a part" if partly else "failed"
    started = f" of the schedule {schedule}" if schedule else ""
    accounts = "account" if len(account_ids) == 1 else "accounts"
    because = f": {one_line(error)}" if error else "."
    return Condition(
        kind=AlertKind.RUN_FAILED,
        subject=f"connections/{connection}",
        severity=AlertSeverity.WARNING if partly else AlertSeverity.CRITICAL,
        summary=(
            f"The last run{started} of the connection {connection} {what} ({accounts}"
            f" {_first(account_ids)}){because}"
        ),
        remedy=(
            f"See how each account went with `liftos runs get {run.hex}` and what failed with"
            f" `liftos runs slices {run.hex}`, mend it, and read those accounts again with `liftos"
            f" runs start {connection}`; what was committed stays. Only a run of the same accounts"
            " ends this alert; an account that is closed for good can be left out with `liftos"
            f" connections update {connection}`."
        ),
        evidence=run.hex,
        platform=platform,
        connection=connection,
        account_id=account_ids[0] if len(account_ids) == 1 else "",
        run=run,
    )


def credentials_rejected(
    *, connection: str, platform: str, run: UUID | None, evidence: str
) -> Condition:
    """Return that a platform does not take the credential of a connection."""
    return Condition(
        kind=AlertKind.CREDENTIALS_REJECTED,
        subject=f"connections/{connection}",
        severity=AlertSeverity.CRITICAL,
        summary=f"{platform} refuses the credential of the connection {connection}.",
        remedy="Get another credential from the platform and set it; nothing is read until then.",
        evidence=evidence,
        platform=platform,
        connection=connection,
        run=run,
    )


def credentials_expiring(
    *, connection: str, platform: str, expire_time: datetime, critical: bool, over: bool
) -> Condition:
    """Return that the credential of a connection ends soon, or has ended."""
    when = f"{expire_time:%Y-%m-%d %H:%M} UTC"
    return Condition(
        kind=AlertKind.CREDENTIALS_EXPIRING,
        subject=f"connections/{connection}",
        severity=AlertSeverity.CRITICAL if critical else AlertSeverity.WARNING,
        summary=(
            f"The credential of the connection {connection} {'ended' if over else 'ends'} at"
            f" {when}."
        ),
        remedy=f"Get another credential from {platform} and set it before it ends.",
        evidence=expire_time.isoformat(),
        platform=platform,
        connection=connection,
    )


def quota_exhausted(
    *, connection: str, platform: str, slice_count: int, since: datetime, account_ids: Sequence[str]
) -> Condition:
    """Return that slices of a connection wait for a limit of the platform for too long."""
    return Condition(
        kind=AlertKind.QUOTA_EXHAUSTED,
        subject=f"connections/{connection}",
        severity=AlertSeverity.WARNING,
        summary=(
            f"{_count(slice_count, 'slice')} of the connection {connection} (accounts"
            f" {_first(account_ids)}) wait for a limit of {platform} since"
            f" {since:%Y-%m-%d %H:%M} UTC."
        ),
        remedy=(
            "Look at the limits with GetQuota; read fewer days or levels, read less often, or ask"
            " the platform for a higher limit. Waiting slices go on by themselves."
        ),
        evidence=since.isoformat(),
        platform=platform,
        connection=connection,
        account_id=account_ids[0] if len(account_ids) == 1 else "",
    )


def data_late(
    *,
    connection: str,
    platform: str,
    account_id: str,
    schedule: str,
    promised: date,
    newest: date | None,
    critical: bool,
) -> Condition:
    """Return that an account's newest day is older than its schedule promises."""
    have = "nothing was committed yet" if newest is None else f"the newest day is {newest}"
    return Condition(
        kind=AlertKind.DATA_LATE,
        subject=f"connections/{connection}/accounts/{account_id}",
        severity=AlertSeverity.CRITICAL if critical else AlertSeverity.WARNING,
        summary=(
            f"The account {account_id} of the connection {connection} is late: its schedule"
            f" {schedule} promises {promised}, and {have}."
        ),
        remedy=(
            "Look at the last runs of the schedule and at the other alerts of the connection; once"
            " they are mended, the next run reads the missing days."
        ),
        evidence=promised.isoformat(),
        platform=platform,
        connection=connection,
        account_id=account_id,
    )


def reconciliation_failed(
    *, platform: str, connection: str, account_id: str, sum_count: int, newest: date, run: UUID
) -> Condition:
    """Return that sums of an account differ from the platform's own totals."""
    return Condition(
        kind=AlertKind.RECONCILIATION_FAILED,
        subject=f"platforms/{platform}/accounts/{account_id}",
        severity=AlertSeverity.WARNING,
        summary=(
            f"{_count(sum_count, 'daily sum')} of the account {account_id} differ from the totals"
            f" of {platform}, the newest of {newest}."
        ),
        remedy=(
            "List the reconciliations with state = MISMATCHED, and read those days again with"
            " force; where they still differ, look at dead letters of those days."
        ),
        evidence=run.hex,
        platform=platform,
        connection=connection,
        account_id=account_id,
        run=run,
    )


def dead_letters_growing(
    *, connection: str, platform: str, open_count: int, recent_count: int, newest_time: datetime
) -> Condition:
    """Return that rows of a connection are refused again and again."""
    return Condition(
        kind=AlertKind.DEAD_LETTERS_GROWING,
        subject=f"connections/{connection}",
        severity=AlertSeverity.WARNING,
        summary=(
            f"Rows of the connection {connection} are refused again and again: {recent_count}"
            f" within a day, and {open_count} wait for a person."
        ),
        remedy=(
            "List the dead letters; mend the mapping and replay them, or discard those that are"
            " of no use."
        ),
        evidence=newest_time.isoformat(),
        platform=platform,
        connection=connection,
    )


def version_retiring(
    *, platform: str, version: str, end_date: date, severity: AlertSeverity
) -> Condition:
    """Return that the version of a platform's API that is asked for ends soon."""
    return Condition(
        kind=AlertKind.VERSION_RETIRING,
        subject=f"platforms/{platform}",
        severity=severity,
        summary=f"The version {version} of the API of {platform} may be gone from {end_date} on.",
        remedy="Have the operator install a release that asks for a newer version.",
        evidence=f"{version} {end_date}",
        platform=platform,
    )


def _first(account_ids: Sequence[str]) -> str:
    return ", ".join(account_ids[:5]) + (" and others" if len(account_ids) > 5 else "")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
