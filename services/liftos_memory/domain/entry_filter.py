"""What filters and orders of entries may name."""

from collections.abc import Mapping, Sequence
from typing import Final

from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.core.filters import FieldType, FilterField
from liftos_mapping.entry_fields import DATE_BASES, ENTRY_FIELDS, LEVELS, FieldKind

MAXIMUM_ORDER_FIELDS: Final = 4

_WORDS: Final = {"level": LEVELS, "date_basis": DATE_BASES}


def _filter_fields() -> Mapping[str, FilterField]:
    fields: dict[str, FilterField] = {}
    for field in ENTRY_FIELDS:
        if field.kind not in (FieldKind.KEY, FieldKind.ATTRIBUTE) or field.name == "time_zone":
            continue
        if field.name in _WORDS:
            fields[field.name] = FilterField(FieldType.ENUM, _WORDS[field.name])
        elif field.name == "date":
            fields[field.name] = FilterField(FieldType.DATE)
        else:
            fields[field.name] = FilterField(FieldType.TEXT)
    return fields | {
        "final": FilterField(FieldType.BOOLEAN),
        "origin": FilterField(FieldType.TEXT),
        "slice": FilterField(FieldType.UUID),
        "quality.score": FilterField(FieldType.REAL),
    }


ENTRY_FILTER_FIELDS: Final = _filter_fields()
"""Fields that a filter of entries may name."""


def parse_order(text: str, fields: Mapping[str, FilterField]) -> Sequence[tuple[str, bool]]:
    """Return the fields of an order such as "date desc, campaign_id".

    Each comes with whether it descends.

    Raises:
        InvalidFieldsError: A field is unknown or named twice, or there are too many.
    """
    order: list[tuple[str, bool]] = []
    for part in text.split(",") if text.strip() else ():
        name, _, direction = part.strip().partition(" ")
        direction = direction.strip().lower()
        if name not in fields or direction not in ("", "asc", "desc"):
            raise _order_error(
                f"{part!r:.80} is not a field with an optional asc or desc; fields: "
                + ", ".join(sorted(fields))
            )
        order.append((name, direction == "desc"))
    if len(order) > MAXIMUM_ORDER_FIELDS or len({name for name, _ in order}) < len(order):
        raise _order_error(f"name at most {MAXIMUM_ORDER_FIELDS} fields, each once")
    return order


def _order_error(description: str) -> InvalidFieldsError:
    return InvalidFieldsError([FieldViolation("order_by", description, "order_by")])
