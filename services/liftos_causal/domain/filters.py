"""What filters of performance may name."""

from typing import Final

from liftos_kit.core.filters import FieldType, FilterField

PERFORMANCE_FIELDS: Final = {
    "platform": FilterField(FieldType.TEXT),
    "channel": FilterField(FieldType.TEXT),
    "account_id": FilterField(FieldType.TEXT),
    "campaign_id": FilterField(FieldType.TEXT),
}
