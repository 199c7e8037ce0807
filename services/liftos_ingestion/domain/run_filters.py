"""What filters of runs and of what belongs to them may name."""

from typing import Final

from liftos_kit.core.filters import FieldType, FilterField
from liftos_mapping.entry_fields import LEVELS

RUN_KINDS: Final = ("INCREMENTAL", "BACKFILL", "REPLAY")
RUN_STATES: Final = (
    "PENDING",
    "RUNNING",
    "SUCCEEDED",
    "PARTIALLY_SUCCEEDED",
    "FAILED",
    "CANCELLING",
    "CANCELLED",
)
SLICE_STATES: Final = (
    "PENDING",
    "RUNNING",
    "PARKED",
    "COMMITTED",
    "UNCHANGED",
    "FAILED",
    "CANCELLED",
)
SLICE_KINDS: Final = ("ROWS", "OBJECTS")
RECONCILIATION_STATES: Final = ("MATCHED", "MISMATCHED", "NOT_COMPARABLE")

_TEXT: Final = FilterField(FieldType.TEXT)
_DATE: Final = FilterField(FieldType.DATE)
_LEVEL: Final = FilterField(FieldType.ENUM, LEVELS)

RUN_FIELDS: Final = {
    "kind": FilterField(FieldType.ENUM, RUN_KINDS),
    "state": FilterField(FieldType.ENUM, RUN_STATES),
    "connection": _TEXT,
    "schedule": _TEXT,
    "create_time": _DATE,
}
SLICE_FIELDS: Final = {
    "kind": FilterField(FieldType.ENUM, SLICE_KINDS),
    "account_id": _TEXT,
    "level": _LEVEL,
    "state": FilterField(FieldType.ENUM, SLICE_STATES),
}
OBJECT_FIELDS: Final = {
    "platform": _TEXT,
    "account_id": _TEXT,
    "level": _LEVEL,
    "object_id": _TEXT,
    "parent_id": _TEXT,
    "display_name": _TEXT,
    "state": _TEXT,
    "update_time": _DATE,
}
RECONCILIATION_FIELDS: Final = {
    "run": _TEXT,
    "platform": _TEXT,
    "account_id": _TEXT,
    "level": _LEVEL,
    "date": _DATE,
    "metric": _TEXT,
    "state": FilterField(FieldType.ENUM, RECONCILIATION_STATES),
}
