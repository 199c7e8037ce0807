"""What filters of dead letters may name."""

from typing import Final

from liftos_kit.core.filters import FieldType, FilterField
from liftos_mapping.entry_fields import LEVELS

DEAD_LETTER_STATES: Final = ("OPEN", "REPLAYED", "DISCARDED", "OVERTAKEN")

_TEXT: Final = FilterField(FieldType.TEXT)

DEAD_LETTER_FIELDS: Final = {
    "state": FilterField(FieldType.ENUM, DEAD_LETTER_STATES),
    "platform": _TEXT,
    "account_id": _TEXT,
    "level": FilterField(FieldType.ENUM, LEVELS),
    "date": FilterField(FieldType.DATE),
}
