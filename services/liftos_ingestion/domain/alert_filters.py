"""What filters of alerts may name."""

from typing import Final

from liftos_ingestion.domain.alerts import AlertKind, AlertSeverity, AlertState
from liftos_kit.core.filters import FieldType, FilterField

_TEXT: Final = FilterField(FieldType.TEXT)

ALERT_FIELDS: Final = {
    "kind": FilterField(FieldType.ENUM, tuple(it.name for it in AlertKind)),
    "severity": FilterField(FieldType.ENUM, tuple(it.name for it in AlertSeverity)),
    "state": FilterField(FieldType.ENUM, tuple(it.name for it in AlertState)),
    "platform": _TEXT,
    "connection": _TEXT,
    "account_id": _TEXT,
}
