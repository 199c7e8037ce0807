"""Whether a source can be moved: what it allows, what is missing, and what to do. Fail closed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from liftos_migration.domain.inventory import Inventory, Item
from liftos_migration.domain.mapping import Mapping as TargetMapping
from liftos_migration.domain.mapping import Reverse, TableMapping, Target

_CLOCK_SECONDS: Final = 0.5
_OLDEST_TRANSACTION_SECONDS: Final = 60.0
_FREE_SLOTS: Final = 2
"""One for changes, one for the way back of a drill."""

_COPIED_ROWS_PER_SECOND: Final = 25_000
_COMPARED_ROWS_PER_SECOND: Final = 250_000
_SHORTEST_PAUSE_SECONDS: Final = 0.2
"""What was measured on two shared cores; a larger machine is faster."""

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
        encoding: How the database encodes texts, such as UTF8.
        wal_level: `replica` or `logical`.
        can_replicate: Whether the role may read the log.
        can_create_schema: Whether it may make a schema for triggers and progress.
        slots_free: Replication slots that may still be made.
        senders_free: Connections that may still read the log.
        selectable: Whether each table may be read.
        triggerable: Whether each table may be given triggers.
        writable: Whether each table may be written, which the way back needs.
        owners: Owner of each table, as SQL writes it.
        owned: Whether the role may act as the owner of each table, which publishing it needs.
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
    encoding: str | None
    wal_level: str | None
    can_replicate: bool | None
    can_create_schema: bool | None
    slots_free: int | None
    senders_free: int | None
    selectable: Mapping[str, bool]
    triggerable: Mapping[str, bool]
    writable: Mapping[str, bool]
    owners: Mapping[str, str]
    owned: Mapping[str, bool]
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
        cut_over_allowed: Whether nothing blocks a cut-over: every table that moves has its way
            back, and may be written.
        row_count: Rows to copy.
        size_bytes: What they take on disk.
        clock_offset_seconds: The source's clock less Core's; None where it is not known.
    """

    findings: tuple[Finding, ...]
    capture_modes: tuple[CaptureMode, ...]
    cut_over_allowed: bool = False
    row_count: int = 0
    size_bytes: int = 0
    clock_offset_seconds: float | None = None

    @property
    def startable(self) -> bool:
        """Whether nothing blocks the start."""
        return all(each.severity is not Severity.BLOCKER for each in self.findings)

    @property
    def estimated_copy_seconds(self) -> float:
        """What copying should take."""
        return self.row_count / _COPIED_ROWS_PER_SECOND

    @property
    def estimated_pause_seconds(self) -> float:
        """How long writes should pause: all that is there is compared in the meantime."""
        return _SHORTEST_PAUSE_SECONDS + self.row_count / _COMPARED_ROWS_PER_SECOND

    @property
    def estimated_rollback_seconds(self) -> float:
        """What a rollback should take: the same the other way."""
        return self.estimated_pause_seconds


def preflight(
    facts: SourceFacts,
    inventory: Inventory,
    mapping: TargetMapping | None = None,
    problems: Sequence[Finding] = (),
) -> Preflight:
    """Judge a source.

    Args:
        facts: What it says of itself.
        inventory: What it holds.
        mapping: What becomes of it; tables that it waives need nothing. None looks at all tables.
        problems: What the source itself finds wrong with the mapping.
    """
    tables = [
        table
        for table in inventory.tables()
        if mapping is None or mapping.waived(table.object) is None
    ]
    mapped = {each.table: each for each in mapping.tables} if mapping is not None else {}
    modes = tuple(_modes(facts, tables))
    findings = [
        *_server(facts),
        *_emptiness(inventory),
        *_access(facts, tables),
        *_capture(facts, tables, modes),
        *(
            finding
            for table in tables
            for finding in _table(facts, table, mapped.get(table.object))
        ),
        *([] if mapping is None else _way_back(mapping)),
        *problems,
    ]
    findings.sort(key=lambda each: (-each.severity, each.code, each.object))
    moving = [table for table in tables if mapping is None or table.object in mapped]
    return Preflight(
        tuple(findings),
        modes,
        cut_over_allowed=mapping is not None
        and not any(each.severity is Severity.BLOCKER for each in findings)
        and not any(each.code in ("NO_WAY_BACK", "WRITE_MISSING") for each in findings),
        row_count=sum(table.row_count for table in moving),
        size_bytes=sum(table.size_bytes for table in moving),
        clock_offset_seconds=facts.clock_offset_seconds,
    )


def _modes(facts: SourceFacts, tables: Sequence[Item]) -> Iterator[CaptureMode]:
    reads_log = (
        facts.wal_level == "logical"
        and facts.can_replicate is True
        and (facts.slots_free or 0) >= _FREE_SLOTS
        and (facts.senders_free or 0) >= _FREE_SLOTS
        and facts.is_standby is False
        and facts.session_is_pooled is False
        and facts.can_create_schema is True
        and all(facts.owned.get(table.object) is True for table in tables)
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
    if facts.encoding != "UTF8":
        yield Finding(
            Severity.BLOCKER,
            "ENCODING",
            "",
            facts.encoding or "not known",
            "UTF8: hashes are over the bytes of texts, and Core's are in UTF-8",
            f"dump {facts.database}, restore it into a database that is created with"
            " ENCODING 'UTF8', and name that one in the database reference",
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


def _emptiness(inventory: Inventory) -> Iterator[Finding]:
    if not any(inventory.tables()):
        yield Finding(
            Severity.BLOCKER,
            "NO_TABLES",
            "",
            "its schemas have no tables",
            "the schemas of the module",
            "name them in the source of the migration; without any, public is looked at",
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


def _capture(
    facts: SourceFacts, tables: Sequence[Item], modes: Sequence[CaptureMode]
) -> Iterator[Finding]:
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
    for table in tables:
        if facts.owned.get(table.object) is not True:
            yield Finding(
                severity,
                "OWNER_MISSING",
                table.object,
                f"{facts.role} may not publish its changes",
                "the rights of its owner, to read changes from the log",
                f"GRANT {facts.owners.get(table.object, 'its owner')} TO {facts.role}",
            )
    if facts.can_create_schema is not True:
        yield Finding(
            severity,
            "CREATE_MISSING",
            "",
            f"{facts.role} may make nothing in {facts.database}"
            if facts.can_create_schema is False
            else "not known",
            "CREATE, for a publication or for triggers",
            f"GRANT CREATE ON DATABASE {facts.database} TO {facts.role}",
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


def _way_back(mapping: TargetMapping) -> Iterator[Finding]:
    for table in mapping.tables:
        if table.reverse is Reverse.REFUSE and table.target is not Target.PART:
            yield Finding(
                Severity.INFO,
                "NO_WAY_BACK",
                table.table,
                "its mapping has no way back",
                "reverse INVERSE or READ_ONLY, before a cut-over",
                "give its mapping an inverse, or reverse: READ_ONLY where it is not written"
                " afterwards",
            )


def _table(facts: SourceFacts, table: Item, mapped: TableMapping | None) -> Iterator[Finding]:
    # What becomes one artifact is compared and written as a whole.
    is_whole = mapped is not None and mapped.target is Target.TABLE_ARTIFACT
    told_apart = table.key_columns or is_whole or (mapped is not None and mapped.key_columns)
    if not told_apart and facts.identities.get(table.object) not in ("full", "index"):
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
