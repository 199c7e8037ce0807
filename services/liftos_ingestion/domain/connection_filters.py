"""What filters of lists of connections and sources may use."""

from types import MappingProxyType
from typing import Final

from liftos_kit.core.filters import FieldType, FilterField

CONNECTION_FIELDS: Final = MappingProxyType(
    {
        "platform": FilterField(FieldType.TEXT),
        "state": FilterField(FieldType.ENUM, ("UNVERIFIED", "ACTIVE", "REJECTED", "DISABLED")),
        "display_name": FilterField(FieldType.TEXT),
        "disabled": FilterField(FieldType.BOOLEAN),
    }
)

SOURCE_FIELDS: Final = MappingProxyType(
    {
        "kind": FilterField(FieldType.ENUM, ("PLATFORM", "FILES", "HTTP", "PLUGIN")),
        "display_name": FilterField(FieldType.TEXT),
        "built_in": FilterField(FieldType.BOOLEAN),
    }
)
