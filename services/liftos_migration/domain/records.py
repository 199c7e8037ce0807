"""Artifacts, notes and exchange rates as a projection gives them, held against Core's limits.

A body is JSON whose numbers are doubles on Core. A number that a double does not hold is refused
rather than changed: as text it is kept.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from liftos_mapping.record_digests import artifact_hash, canonical_json, note_hash
from liftos_migration.domain.targets import ARTIFACT_KINDS, RATE_DECIMALS

JsonObject = Mapping[str, object]
Row = Mapping[str, Any]
"""A row of `Projection.select`, by column."""

MAXIMUM_BODY_BYTES: Final = 1024 * 1024
MAXIMUM_ATTRIBUTES_BYTES: Final = 64 * 1024
MAXIMUM_CONTENT_BYTES: Final = 8 * 1024 * 1024
MAXIMUM_TEXT_CHARACTERS: Final = 20_000
_TITLE_CHARACTERS: Final = 200
_CONTENT_TYPE_CHARACTERS: Final = 100
_LABELS: Final = 50
_LABEL_CHARACTERS: Final = 64
_RATE_DIGITS: Final = 12

RECORD_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")


class RecordInvalidError(ValueError):
    """A row becomes no record that Core takes.

    Attributes:
        field: Of the target.
        code: Stable word.
        problem: What is wrong and what to do, in one sentence.
    """

    def __init__(self, field: str, code: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field
        self.code = code
        self.problem = problem


@dataclass(frozen=True, slots=True)
class ArtifactRecord:
    """An artifact; `kind` is the contract's number."""

    id: str
    scope: str
    kind: int
    display_name: str
    body: JsonObject | None
    content: bytes
    content_type: str

    def hash(self) -> bytes:
        """Return its hash as Memory's `DigestRecords` tells it."""
        return artifact_hash(
            self.id,
            scope=self.scope,
            kind=self.kind,
            display_name=self.display_name,
            body=self.body,
            content=self.content,
        )


@dataclass(frozen=True, slots=True)
class NoteRecord:
    """A note."""

    id: str
    scope: str
    title: str
    text: str
    labels: tuple[str, ...]
    attributes: JsonObject | None

    def hash(self) -> bytes:
        """Return its hash as Memory's `DigestRecords` tells it."""
        return note_hash(
            self.id,
            scope=self.scope,
            title=self.title,
            labels=self.labels,
            attributes=self.attributes,
            text=self.text,
        )


@dataclass(frozen=True, slots=True)
class RateRecord:
    """An exchange rate; `rate` is a decimal without needless zeros."""

    currency_code: str
    date: date
    rate: str
    source: str


def artifact_of(row: Row, scope: str) -> ArtifactRecord:
    """Return the artifact of a projected row.

    Raises:
        RecordInvalidError: Core would not take it.
    """
    kind = row["kind"]
    if kind not in ARTIFACT_KINDS:
        raise RecordInvalidError(
            "kind", "UNKNOWN_KIND", f"is {kind[:40]!r}; it is one of {', '.join(ARTIFACT_KINDS)}"
        )
    content = row["content"] or b""
    if len(content) > MAXIMUM_CONTENT_BYTES:
        raise _too_long("content", len(content), MAXIMUM_CONTENT_BYTES, "bytes")
    return ArtifactRecord(
        id=_id(row["id"]),
        scope=scope,
        kind=ARTIFACT_KINDS.index(kind) + 1,
        display_name=_text("display_name", row["display_name"], _TITLE_CHARACTERS),
        body=_json("body", row["body"], MAXIMUM_BODY_BYTES),
        content=content,
        content_type=_text("content_type", row["content_type"], _CONTENT_TYPE_CHARACTERS),
    )


def note_of(row: Row, scope: str) -> NoteRecord:
    """Return the note of a projected row.

    Raises:
        RecordInvalidError: Core would not take it.
    """
    text = _text("text", row["text"], MAXIMUM_TEXT_CHARACTERS)
    if not text:
        raise RecordInvalidError("text", "REQUIRED", "is empty, and a note is its text; filter it")
    return NoteRecord(
        id=_id(row["id"]),
        scope=scope,
        title=_text("title", row["title"], _TITLE_CHARACTERS),
        text=text,
        labels=_labels(row["labels"]),
        attributes=_json("attributes", row["attributes"], MAXIMUM_ATTRIBUTES_BYTES),
    )


def rate_of(row: Row) -> RateRecord:
    """Return the exchange rate of a projected row.

    Raises:
        RecordInvalidError: Core would not take it.
    """
    currency, day = row["currency_code"], row["date"]
    if not _CURRENCY.fullmatch(currency):
        raise RecordInvalidError(
            "currency_code", "UNKNOWN_CURRENCY", f"is {currency[:40]!r}; it is as EUR"
        )
    if day is None:
        raise RecordInvalidError("date", "REQUIRED", "is null; filter such rows")
    try:
        rate = Decimal(row["rate"] or "NaN").normalize()
    except InvalidOperation:
        rate = Decimal("NaN")
    if not (rate.is_finite() and 0 < rate < 10**_RATE_DIGITS):
        raise RecordInvalidError("rate", "OUT_OF_RANGE", f"is {row['rate']}; it is above 0")
    if rate != round(rate, RATE_DECIMALS):
        raise RecordInvalidError(
            "rate",
            "TOO_LONG",
            f"is {row['rate']} and may have {RATE_DECIMALS} decimal places; give it a rounding",
        )
    return RateRecord(currency, day, f"{rate:f}", row["source"])


def _id(text: str) -> str:
    if not RECORD_ID.fullmatch(text):
        raise RecordInvalidError(
            "id",
            "INVALID_ID",
            f"is {text[:80]!r}; an id has 1 to 200 letters, digits and ._:- and begins with a"
            " letter or digit",
        )
    return text


def _text(field: str, text: str, most: int) -> str:
    if len(text) > most:
        raise _too_long(field, len(text), most, "characters")
    return text


def _too_long(field: str, size: int, most: int, unit: str) -> RecordInvalidError:
    return RecordInvalidError(
        field, "TOO_LONG", f"has {size:,} {unit} and may have {most:,}; cut it in the mapping"
    )


def _labels(labels: Sequence[str | None]) -> tuple[str, ...]:
    told = tuple(label or "" for label in labels)
    if len(told) > _LABELS:
        raise _too_long("labels", len(told), _LABELS, "labels")
    if len(set(told)) < len(told):
        raise RecordInvalidError("labels", "DUPLICATE", "holds a label twice; make them distinct")
    for label in told:
        if not 1 <= len(label) <= _LABEL_CHARACTERS:
            raise RecordInvalidError(
                "labels",
                "TOO_LONG",
                f"holds {label[:80]!r}; a label has 1 to {_LABEL_CHARACTERS} characters",
            )
    return told


def _json(field: str, text: str | None, most: int) -> JsonObject | None:
    if text is None:
        return None

    def number(digits: str) -> float:
        value = float(digits)
        # A double is written with as many digits as tell it from others, and read again as it was.
        if math.isinf(value) or Decimal(digits) != Decimal(repr(value)):
            raise RecordInvalidError(
                field,
                "NUMBER_INEXACT",
                f"holds the number {digits[:40]}, of which a double keeps {value!r}; give it as"
                " text, as in amount::text",
            )
        return value

    value = json.loads(text, parse_int=number, parse_float=number)
    if not isinstance(value, dict):
        raise RecordInvalidError(
            field, "NOT_AN_OBJECT", "is no JSON object; build one with jsonb_build_object"
        )
    size = len(canonical_json(value))
    if size > most:
        raise _too_long(field, size, most, "bytes as JSON")
    return value
