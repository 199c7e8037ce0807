"""A migration as a person describes it, and how far it is."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import IntEnum

from liftos_migration.domain.checks import Gates
from liftos_migration.domain.mapping import Mapping
from liftos_migration.domain.preflight import CaptureMode


class Pace(IntEnum):
    """How long samples are watched; the numbers are the contract's."""

    NORMAL = 1
    DEMO = 2


class TriggerKind(IntEnum):
    """What a trigger watches; the numbers are the contract's."""

    ACCURACY = 1
    LATENCY = 2
    ERRORS = 3
    PROBE = 4
    REPORT = 5
    INTERNAL = 6


class TriggerAction(IntEnum):
    """What a failing trigger does; the numbers are the contract's."""

    ROLL_BACK = 1
    PAUSE = 2
    LOG = 3


@dataclass(frozen=True, slots=True)
class SourceStore:
    """The store that is left behind.

    Attributes:
        database_reference: Variable with the URL of its Postgres database.
        schemas: Its schemas.
        redis_reference: Variable with the URL of its Redis; empty where it has none.
        configuration_files: Relative paths of files with its configuration.
        probe_target: host:port of the module itself; empty where it is not probed.
    """

    database_reference: str
    schemas: tuple[str, ...] = ("public",)
    redis_reference: str = ""
    configuration_files: tuple[str, ...] = ()
    probe_target: str = ""


@dataclass(frozen=True, slots=True)
class CutOverGates:
    """What a cut-over needs beyond what a verification does; see Gates of the contract."""

    maximum_latency_ratio: float = 0.2
    maximum_latency_increase: timedelta = timedelta(milliseconds=3)
    maximum_lag: timedelta = timedelta(seconds=2)
    maximum_verification_age: timedelta = timedelta(minutes=10)
    minimum_samples: int = 2995


@dataclass(frozen=True, slots=True)
class Budgets:
    """What a migration may cost: all write pauses together, one of them, and one rollback."""

    maximum_downtime: timedelta = timedelta(hours=2)
    maximum_pause: timedelta = timedelta(seconds=30)
    maximum_rollback: timedelta = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Throttle:
    """How hard a migration may work.

    Attributes:
        maximum_share: Share of the time, 0 to 1.
        maximum_connections: To the source.
        maximum_source_latency: 95th percentile of the module's answers; None does not look.
        maximum_replica_lag: Of the source's replicas; None does not look.
        maximum_retained_bytes: Log that the source keeps for the migration.
    """

    maximum_share: float = 1.0
    maximum_connections: int = 4
    maximum_source_latency: timedelta | None = None
    maximum_replica_lag: timedelta | None = None
    maximum_retained_bytes: int = 4 * 2**30


@dataclass(frozen=True, slots=True)
class Trigger:
    """A condition that takes a migration back; 0 and None take the default of its kind."""

    kind: TriggerKind
    action: TriggerAction = TriggerAction.ROLL_BACK
    threshold: float = 0.0
    window: timedelta | None = None


@dataclass(frozen=True, slots=True)
class CutOverWindow:
    """When a cut-over may begin: each time that a clock in a zone shows, and for how long."""

    cron: str
    time_zone: str
    duration: timedelta


@dataclass(frozen=True, slots=True)
class MigrationSpec:
    """What a person decides about a migration; see Migration of the contract.

    Attributes:
        capture_mode: None lets preflight choose.
    """

    display_name: str
    module: str
    source: SourceStore
    mapping: Mapping = field(default_factory=Mapping)
    capture_mode: CaptureMode | None = None
    gates: Gates = field(default_factory=Gates)
    cut_over_gates: CutOverGates = field(default_factory=CutOverGates)
    budgets: Budgets = field(default_factory=Budgets)
    throttle: Throttle = field(default_factory=Throttle)
    triggers: tuple[Trigger, ...] = ()
    cut_over_windows: tuple[CutOverWindow, ...] = ()
    pace: Pace = Pace.NORMAL
    rehearsal: bool = False


@dataclass(frozen=True, slots=True)
class TableProgress:
    """How far one table is; see TableProgress of the contract.

    Attributes:
        table: schema.table.
        row_count: Rows of the source; counted where `exact`, else estimated.
    """

    table: str
    row_count: int = 0
    exact: bool = False
    copied_count: int = 0
    applied_count: int = 0
    chunk_count: int = 0
    verified_chunk_count: int = 0
    dirty_chunk_count: int = 0
    bad_chunk_count: int = 0
    reject_count: int = 0


@dataclass(frozen=True, slots=True)
class MigrationProgress:
    """How far a migration is; see MigrationProgress of the contract. None is unknown."""

    tables: tuple[TableProgress, ...] = ()
    rows_per_second: float = 0.0
    lag: timedelta | None = None
    reverse_lag: timedelta | None = None
    retained_bytes: int = 0
    throttle_reason: str = ""
    waits_for: str = ""
    accuracy: float | None = None
    completeness: float | None = None
    percent: float = 0.0
    downtime: timedelta = timedelta()
    estimated_rollback: timedelta | None = None
    estimated_seconds_left: float | None = None

    def with_tables(self, *tables: TableProgress) -> "MigrationProgress":
        """Return it with some tables replaced, or added."""
        held = {each.table: each for each in self.tables} | {each.table: each for each in tables}
        return replace(self, tables=tuple(held[name] for name in sorted(held)))
