"""How one record differs, field by field, and what is likely behind it."""

import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import IntEnum
from typing import Final, TypeAlias

Value: TypeAlias = object
"""Of a field, as Postgres or the contract gives it; None where it is not set."""

ROUNDING: Final = "rounding"
WRITTEN_OTHERWISE: Final = "white space or Unicode form"
APPLIED_LATE: Final = "applied late"
CLAIMED_TWICE: Final = "several source rows give this record"
EXPIRED: Final = "expired on one side only"

_WHOLE: Final = ("smallint", "integer", "bigint")
_CLOSE: Final = 1e-12
_LONGEST_TEXT: Final = 1_000


class DifferenceKind(IntEnum):
    """How a record differs; the numbers are the contract's."""

    MISSING = 1
    EXTRA = 2
    DIFFERENT = 3


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """A field: its value of the source after the transform, and that of the record, as text."""

    field: str
    source_value: str
    target_value: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A record that is not equal on both sides.

    Attributes:
        table: Where it comes from, as schema.table.
        key: Its key as compact JSON, columns by name.
        kind: How it differs.
        target_record: Name of the entry, artifact or note; empty where there is none.
        fields: Fields that differ; all of them where it is missing.
        cause: What is likely behind it; empty where unknown.
    """

    table: str
    key: str
    kind: DifferenceKind
    target_record: str = ""
    fields: tuple[FieldDifference, ...] = ()
    cause: str = ""


def key_of(columns: Sequence[str], types: Sequence[str], key: Sequence[str]) -> str:
    """Return a record's key as compact JSON; whole numbers are numbers, all else is text.

    Args:
        columns: Of the key.
        types: Theirs, as SQL writes them.
        key: Their values, as the database writes them.
    """
    return key_text(
        {
            column: int(value) if type_ in _WHOLE else value
            for column, type_, value in zip(columns, types, key, strict=True)
        }
    )


def key_text(key: Mapping[str, Value]) -> str:
    """Return a key as compact JSON, columns in the order given."""
    return json.dumps(
        {name: _plain(value) for name, value in key.items()},
        separators=(",", ":"),
        ensure_ascii=False,
    )


def read_key(text: str) -> Mapping[str, Value]:
    """Return the columns of a key.

    Raises:
        ValueError: It is no JSON object.
    """
    key = json.loads(text)
    if not isinstance(key, dict):
        raise ValueError(f"{text[:80]} is no JSON object of columns")  # noqa: TRY004
    return key


def changed_by(origin: str) -> str:
    """Return the cause of a record that another writer wrote last."""
    return f"changed on Core by {origin or 'a writer without an origin'}"


def differing_fields(
    source: Mapping[str, Value], record: Mapping[str, Value], *, by_value: bool
) -> Sequence[FieldDifference]:
    """Return the fields that differ, in the order of the source's.

    Args:
        source: Values after the transform.
        record: Values on Core; fields that it does not have are unset.
        by_value: Whether 1.0 and 1.00 are equal.
    """
    names = [*source, *(name for name in record if name not in source)]
    return [
        FieldDifference(name, text_of(source.get(name)), text_of(record.get(name)))
        for name in names
        if not _equal(source.get(name), record.get(name), by_value=by_value)
    ]


def likely_cause(source: Mapping[str, Value], record: Mapping[str, Value]) -> str:
    """Return what the values themselves tell of why they differ; empty where they do not."""
    differing = [
        (source.get(name), record.get(name))
        for name in {**source, **record}
        if not _equal(source.get(name), record.get(name), by_value=True)
    ]
    if differing and all(_rounded(*pair) for pair in differing):
        return ROUNDING
    if differing and all(_written_otherwise(*pair) for pair in differing):
        return WRITTEN_OTHERWISE
    return ""


def text_of(value: Value) -> str:
    """Return a value for a person: JSON for what is nested, at most 1,000 characters."""
    match value:
        case None:
            return ""
        case str():
            text = value
        case bool():
            text = "true" if value else "false"
        case date() | datetime():
            text = value.isoformat()
        case dict() | list() | tuple():
            text = json.dumps(_plain(value), separators=(",", ":"), ensure_ascii=False)
        case bytes():
            text = value.hex()
        case _:
            text = str(value)
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"


def _plain(value: Value) -> Value:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case bytes():
            return value.hex()
        case date() | datetime():
            return value.isoformat()
        case _:
            return str(value)


def _equal(one: Value, other: Value, *, by_value: bool) -> bool:
    return _comparable(one, by_value=by_value) == _comparable(other, by_value=by_value)


def _comparable(value: Value, *, by_value: bool) -> object:
    """Return what is equal just where values are; what is true is never what is 1."""
    comparable: object
    match value:
        case bool():
            comparable = ("boolean", value)
        case int() | float() | Decimal():
            comparable = ("number", _number(value) if by_value else str(value))
        case Mapping():
            comparable = {
                key: _comparable(inner, by_value=by_value) for key, inner in value.items()
            }
        case list() | tuple():
            comparable = [_comparable(inner, by_value=by_value) for inner in value]
        case _:
            comparable = value
    return comparable


def _number(value: float | Decimal) -> Decimal | str:
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    return "NaN" if number.is_nan() else number


def _rounded(one: Value, other: Value) -> bool:
    """Tell whether two numbers are one unit of the last place apart, or as close as doubles get."""
    match one, other:
        case (bool(), _) | (_, bool()):
            return False
        case (int(), int()):
            return abs(one - other) <= 1
        case (int() | float(), int() | float()):
            return math.isclose(one, other, rel_tol=_CLOSE)
        case _:
            return False


def _written_otherwise(one: Value, other: Value) -> bool:
    match one, other:
        case (str(), str()):
            return _normalised(one) == _normalised(other)
        case _:
            return False


def _normalised(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())
