"""What filters of migrations and of their ledger may name."""

from typing import Final

from liftos_kit.core.filters import FieldType, FilterField
from liftos_migration.domain.differences import DifferenceKind
from liftos_migration.domain.inventory import ItemKind
from liftos_migration.domain.ledger import StepState
from liftos_migration.domain.rejects import RejectState
from liftos_migration.domain.states import MigrationState

_TEXT: Final = FilterField(FieldType.TEXT)
_BOOLEAN: Final = FilterField(FieldType.BOOLEAN)
_STATE: Final = FilterField(FieldType.ENUM, tuple(state.name for state in MigrationState))

MIGRATION_FIELDS: Final = {
    "module": _TEXT,
    "state": _STATE,
    "rehearsal": _BOOLEAN,
    "display_name": _TEXT,
}
STEP_FIELDS: Final = {
    "phase": _STATE,
    "state": FilterField(FieldType.ENUM, tuple(state.name for state in StepState)),
}
DECISION_FIELDS: Final = {
    "subject": _TEXT,
    "state_before": _STATE,
    "state_after": _STATE,
    "dry_run": _BOOLEAN,
}
ITEM_FIELDS: Final = {
    "kind": FilterField(FieldType.ENUM, tuple(kind.name for kind in ItemKind)),
    "object": _TEXT,
    "mapped": _BOOLEAN,
    "waived": _BOOLEAN,
}
DIFFERENCE_FIELDS: Final = {
    "table": _TEXT,
    "kind": FilterField(FieldType.ENUM, tuple(kind.name for kind in DifferenceKind)),
    "cause": _TEXT,
}
REJECT_FIELDS: Final = {
    "table": _TEXT,
    "phase": _TEXT,
    "state": FilterField(FieldType.ENUM, tuple(state.name for state in RejectState)),
}
