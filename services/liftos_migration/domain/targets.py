"""What rows can become, and the fields that each of these has."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

import pyarrow as pa

from liftos_mapping.entry_fields import ENTRY_FIELDS, NATURAL_KEY
from liftos_migration.domain.mapping import Target


class FieldType(Enum):
    """What a field holds, and as which types of SQL that may be given."""

    TEXT = "text"
    DATE = "date"
    INTEGER = "whole number"
    REAL = "double"
    DECIMAL = "decimal"
    BOOLEAN = "truth value"
    JSON = "JSON"
    BYTES = "bytes"
    TEXTS = "texts"
    ACTIONS = "actions"


@dataclass(frozen=True, slots=True)
class TargetField:
    """A field.

    Attributes:
        name: As rules name it.
        type: What it holds.
        is_required: Whether each record needs it.
        identifies: Whether it is part of what tells records apart.
        has_members: Whether rules may give its members one by one, as `body.name`.
    """

    name: str
    type: FieldType
    is_required: bool = False
    identifies: bool = False
    has_members: bool = False


_ARROW: Final = {
    pa.string(): FieldType.TEXT,
    pa.date32(): FieldType.DATE,
    pa.int64(): FieldType.INTEGER,
    pa.float64(): FieldType.REAL,
    pa.bool_(): FieldType.BOOLEAN,
}

RATE_DECIMALS: Final = 12
"""Decimal places of an exchange rate."""

TARGET_FIELDS: Final[Mapping[Target, tuple[TargetField, ...]]] = {
    Target.ENTRIES: tuple(
        TargetField(
            field.name,
            _ARROW.get(field.type, FieldType.ACTIONS),
            is_required=field.name in ("date", "platform", "level", "account_id"),
            identifies=field.name in NATURAL_KEY,
        )
        for field in ENTRY_FIELDS
    ),
    Target.ARTIFACTS: (
        TargetField("id", FieldType.TEXT, is_required=True, identifies=True),
        TargetField("kind", FieldType.TEXT, is_required=True),
        TargetField("display_name", FieldType.TEXT),
        TargetField("body", FieldType.JSON, has_members=True),
        TargetField("content", FieldType.BYTES),
        TargetField("content_type", FieldType.TEXT),
    ),
    Target.NOTES: (
        TargetField("id", FieldType.TEXT, is_required=True, identifies=True),
        TargetField("title", FieldType.TEXT),
        TargetField("text", FieldType.TEXT, is_required=True),
        TargetField("labels", FieldType.TEXTS),
        TargetField("attributes", FieldType.JSON, has_members=True),
    ),
    Target.EXCHANGE_RATES: (
        TargetField("currency_code", FieldType.TEXT, is_required=True, identifies=True),
        TargetField("date", FieldType.DATE, is_required=True, identifies=True),
        TargetField("rate", FieldType.DECIMAL, is_required=True),
        TargetField("source", FieldType.TEXT),
    ),
    Target.TABLE_ARTIFACT: (),
    Target.PART: (),
    Target.UNDECIDED: (),
}
"""The fields of each target, in the order in which a projection gives them."""

ARTIFACT_KINDS: Final = ("MODEL", "RESULT", "CONFIGURATION", "MODULE_MEMORY", "TABLE")
"""Kinds of artifacts in the order of their numbers in the contract, which start at 1."""


def target_field(target: Target, name: str) -> TargetField | None:
    """Return the field that a rule names, or that has the member that it names."""
    whole, _, member = name.partition(".")
    field = next((each for each in TARGET_FIELDS[target] if each.name == whole), None)
    return field if field is not None and (not member or field.has_members) else None
