"""What filters of schedules may name."""

from typing import Final

from liftos_kit.core.filters import FieldType, FilterField

SCHEDULE_FIELDS: Final = {
    "connection": FilterField(FieldType.TEXT),
    "display_name": FilterField(FieldType.TEXT),
    "paused": FilterField(FieldType.BOOLEAN),
}
