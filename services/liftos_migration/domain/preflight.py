"""Whether a source can be moved: what it allows, what is missing, and what to do. Fail closed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from liftos_migration.domain.inventory import Inventory, Item

_CLOCK_SECONDS: Final = 0.5
_OLDEST_TRANSACTION_SECONDS: Final = 60.0
_FREE_SLOTS: Final = 2
"""One for changes, one for the way back of a drill."""

_UNKNOWN_TYPES: Final = ("xml", "point", "line", "lseg", "box", "path", "polygon", "circle")
"""Types whose values Postgres cannot compare or hash."""


class CaptureMode(IntEnum):
    """How changes of the source are seen; the numbers are the contract's."""

    LOG = 1
    LOG_STREAM = 2
    TRIGGER = 3
    FREEZE = 4


class Severity(IntEnum):
    """How much a finding matters; the numbers are the contract's."""

    INFO = 1
    WARNING = 2
    BLOCKER = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        severity: How much it matters.
        code: Stable word.
        object: What it is about; empty for the source as a whole.
        found: What there is.
        wanted: What is needed.
        remedy: What to do, with the statement to run where there is one.
    """

    severity: Severity
    code: str
    object: str
    found: str
    wanted: str
    remedy: str


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What a source says of itself. None is what could not be found out, and counts as missing.

    Attributes:
        server_version: As a number, 150018 for 15.18.
        role: The user that looks.
        database: Its name.
        wal_level: `replica` or `logical`.
        can_replicate: Whether the role may read the log.
        can_create_schema: Whether it may make a schema for triggers and progress.
        slots_free: Replication slots that may still be made.
        senders_free: Connections that may still read the log.
        selectable: Whether each table may be read.
        triggerable: Whether each table may be given triggers.
        writable: Whether each table may be written, which the way back needs.
        identities: How the log tells rows of each table apart: default, full, index or nothing.
        oldest_transaction_seconds: Age of the oldest open transaction.
        prepared_transactions: Transactions that were prepared and not ended.
        large_objects: Large objects, which the log does not have.
        clock_offset_seconds: The source's clock less Core's.
        is_standby: Whether it only follows another server.
        session_is_pooled: Whether a pooler stands between, which keeps no session.
    """

    server_version: int | None
    role: str
    database: str
    wal_level: str | None
    can_replicate: bool | None
    can_create_schema: bool | None
    slots_free: int | None
    senders_free: int | None
    selectable: Mapping[str, bool]
    triggerable: Mapping[str, bool]
    writable: Mapping[str, bool]
    identities: Mapping[str, str]
    oldest_transaction_seconds: float | None
    prepared_transactions: int | None
    large_objects: int | None
    clock_offset_seconds: float | None
    is_standby: bool | None
    session_is_pooled: bool | None


@dataclass(frozen=True, slots=True)
class Preflight:
    """What a source allows.

    Attributes:
        findings: Blockers first.
        capture_modes: Modes that would work, best first.
    """

    findings: tuple[Finding, ...]
    capture_modes: tuple[CaptureMode, ...]

    @property
    def startable(self) -> bool:
        """Whether nothing blocks the start."""
        return all(each.severity is not Severity.BLOCKER for each in self.findings)


def preflight(facts: SourceFacts, inventory: Inventory) -> Preflight:
    """Judge a source."""
    tables = list(inventory.tables())
    modes = tuple(_modes(facts, tables))
    findings = [
        *_server(facts),
        *_access(facts, tables),
        *_capture(facts, modes),
        *(finding for table in tables for finding in _table(facts, table)),
    ]
    findings.sort(key=lambda each: (-each.severity, each.code, each.object))
    return Preflight(tuple(findings), modes)


def _modes(facts: SourceFacts, tables: Sequence[Item]) -> Iterator[CaptureMode]:
    reads_log = (
        facts.wal_level == "logical"
        and facts.can_replicate is True
        and (facts.slots_free or 0) >= _FREE_SLOTS
        and (facts.senders_free or 0) >= _FREE_SLOTS
        and facts.is_standby is False
        and facts.session_is_pooled is False
    )
    if reads_log:
        yield CaptureMode.LOG
        yield CaptureMode.LOG_STREAM
    if facts.can_create_schema is True and all(
        facts.triggerable.get(table.object) is True for table in tables
    ):
        yield CaptureMode.TRIGGER
        yield CaptureMode.FREEZE


def _server(facts: SourceFacts) -> Iterator[Finding]:
    if facts.server_version is None or facts.server_version < 140_000:
        yield Finding(
            Severity.BLOCKER,
            "SERVER_VERSION",
            "",
            _said(facts.server_version),
            "Postgres 14 or later",
            "upgrade the server, or move a restored copy of it",
        )
    if facts.is_standby is not False:
        yield Finding(
            Severity.BLOCKER,
            "STANDBY",
            "",
            "a server that follows another" if facts.is_standby else "not known",
            "the server that takes writes",
            "name the primary's address in the database reference",
        )
    if facts.session_is_pooled is not False:
        yield Finding(
            Severity.BLOCKER,
            "POOLER",
            "",
            "a pooler that keeps no session" if facts.session_is_pooled else "not known",
            "sessions that hold a snapshot",
            "name the server itself, or a pooler in session mode, in the database reference",
        )
    offset = facts.clock_offset_seconds
    if offset is None or abs(offset) > _CLOCK_SECONDS:
        yield Finding(
            Severity.WARNING,
            "CLOCK_OFFSET",
            "",
            "not known" if offset is None else f"{offset:+.3f} s",
            f"at most {_CLOCK_SECONDS} s either way",
            "let both machines follow a time server; order is taken from the log, not from clocks",
        )
    oldest = facts.oldest_transaction_seconds
    if oldest is None or oldest > _OLDEST_TRANSACTION_SECONDS:
        yield Finding(
            Severity.WARNING,
            "OLD_TRANSACTION",
            "",
            "not known" if oldest is None else f"one is open for {oldest:.0f} s",
            f"none older than {_OLDEST_TRANSACTION_SECONDS:.0f} s",
            "end it, or wait: the copy begins when it has ended; see pg_stat_activity",
        )
    if facts.prepared_transactions != 0:
        yield Finding(
            Severity.BLOCKER,
            "PREPARED_TRANSACTIONS",
            "",
            _said(facts.prepared_transactions),
            "none",
            "commit or roll back what pg_prepared_xacts lists: a fence cannot wait for them",
        )
    if facts.large_objects != 0:
        yield Finding(
            Severity.WARNING,
            "LARGE_OBJECTS",
            "",
            _said(facts.large_objects),
            "none",
            "they are not in the log; move them into a bytea column, or waive them by name",
        )


def _access(facts: SourceFacts, tables: Sequence[Item]) -> Iterator[Finding]:
    unreadable = [each.object for each in tables if facts.selectable.get(each.object) is not True]
    for name in unreadable:
        yield Finding(
            Severity.BLOCKER,
            "SELECT_MISSING",
            name,
            f"{facts.role} may not read it",
            "SELECT",
            f"GRANT SELECT ON {name} TO {facts.role}",
        )
    for table in tables:
        if facts.writable.get(table.object) is not True:
            yield Finding(
                Severity.WARNING,
                "WRITE_MISSING",
                table.object,
                f"{facts.role} may not write it",
                "INSERT, UPDATE and DELETE, for the way back",
                f"GRANT INSERT, UPDATE, DELETE ON {table.object} TO {facts.role}",
            )


def _capture(facts: SourceFacts, modes: Sequence[CaptureMode]) -> Iterator[Finding]:
    log = CaptureMode.LOG in modes
    severity = Severity.INFO if log else Severity.WARNING
    if facts.wal_level != "logical":
        yield Finding(
            severity,
            "WAL_LEVEL",
            "",
            facts.wal_level or "not known",
            "logical, to read changes from the log",
            "ALTER SYSTEM SET wal_level = 'logical', then restart; on managed servers it is a"
            " parameter such as rds.logical_replication",
        )
    if facts.can_replicate is not True:
        yield Finding(
            severity,
            "REPLICATION_MISSING",
            "",
            f"{facts.role} may not read the log" if facts.can_replicate is False else "not known",
            "REPLICATION",
            f"ALTER ROLE {facts.role} REPLICATION",
        )
    for code, free, setting in (
        ("SLOTS", facts.slots_free, "max_replication_slots"),
        ("SENDERS", facts.senders_free, "max_wal_senders"),
    ):
        if free is None or free < _FREE_SLOTS:
            yield Finding(
                severity,
                code,
                "",
                "not known" if free is None else f"{free} free",
                f"{_FREE_SLOTS} free",
                f"raise {setting} and restart, or drop slots that nobody reads",
            )
    if not modes:
        yield Finding(
            Severity.BLOCKER,
            "NO_CAPTURE_MODE",
            "",
            "changes can be seen neither in the log nor by triggers",
            "one of them",
            f"solve what is named about the log, or GRANT TRIGGER on all tables and"
            f" GRANT CREATE ON DATABASE {facts.database} to {facts.role}",
        )


def _table(facts: SourceFacts, table: Item) -> Iterator[Finding]:
    if not table.key_columns and facts.identities.get(table.object) not in ("full", "index"):
        yield Finding(
            Severity.BLOCKER,
            "NO_KEY",
            table.object,
            "rows cannot be told apart",
            "a primary key, key_columns in the mapping, or a waiver",
            f"ALTER TABLE {table.object} ADD PRIMARY KEY (…), or name key_columns in its mapping",
        )
    if table.definition.startswith("unlogged"):
        yield Finding(
            Severity.WARNING,
            "UNLOGGED",
            table.object,
            "its changes are not in the log",
            "a logged table",
            f"ALTER TABLE {table.object} SET LOGGED, or waive it",
        )
    for column in table.columns:
        base = column.type.removesuffix("[]")
        if base in _UNKNOWN_TYPES:
            yield Finding(
                Severity.WARNING,
                "TYPE_NOT_COMPARABLE",
                f"{table.object}.{column.name}",
                column.type,
                "a type whose values can be compared",
                "it is carried and compared as text",
            )


def _said(value: int | None) -> str:
    return "not known" if value is None else str(value)
