"""Records: artifacts and notes, what modules keep beside their entries."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import pyarrow as pa
from pyarrow import parquet

from liftos_kit.core.errors import FieldViolation
from liftos_kit.core.filters import FieldType, FilterField
from liftos_mapping.record_digests import JsonObject, canonical_json, record_sha256

MAXIMUM_BODY_BYTES: Final = 1024 * 1024
"""Largest body of an artifact, as canonical JSON."""

MAXIMUM_ATTRIBUTES_BYTES: Final = 64 * 1024
"""Largest attributes of a note, as canonical JSON."""

ARTIFACT_KINDS: Final = ("MODEL", "RESULT", "CONFIGURATION", "MODULE_MEMORY", "TABLE")
"""Kinds in the order of their numbers in the contract, which start at 1."""


class Collection(IntEnum):
    """A collection of records; the numbers are the contract's."""

    ARTIFACTS = 1
    NOTES = 2


RECORD_FILTER_FIELDS: Final[Mapping[Collection, Mapping[str, FilterField]]] = {
    Collection.ARTIFACTS: {
        "kind": FilterField(FieldType.ENUM, ARTIFACT_KINDS),
        "scope": FilterField(FieldType.TEXT),
        "origin": FilterField(FieldType.TEXT),
        "display_name": FilterField(FieldType.TEXT),
        "version": FilterField(FieldType.INTEGER),
    },
    Collection.NOTES: {
        "scope": FilterField(FieldType.TEXT),
        "origin": FilterField(FieldType.TEXT),
        "title": FilterField(FieldType.TEXT),
        "version": FilterField(FieldType.INTEGER),
    },
}
"""Fields that a filter of a collection may name."""


@dataclass(frozen=True, slots=True)
class Record:
    """An artifact or a note as a writer gives it.

    Attributes:
        record_id: Its id below the collection.
        scope: Module or purpose that it belongs to.
        title: Display name of an artifact, title of a note.
        body: Body of an artifact, attributes of a note; None where there are none.
        kind: Number of an artifact's kind; 0 for a note.
        content: Binary part of an artifact.
        content_type: MIME type of the content.
        text: Text of a note.
        labels: Words of a note.
        etag: What it must be before the write, as it was read; "0" where it must not exist; empty
            for whatever it is.
    """

    record_id: str
    scope: str
    title: str
    body: JsonObject | None
    kind: int = 0
    content: bytes = b""
    content_type: str = ""
    text: str = ""
    labels: tuple[str, ...] = ()
    etag: str = ""

    def sha256(self) -> bytes:
        """Return the digest of the record's substance."""
        # A record has either: artifacts content, notes text.
        return record_sha256(self.body, self.content or self.text.encode())


def record_name(org: str, collection: Collection, record_id: str) -> str:
    """Return the name of a record."""
    match collection:
        case Collection.ARTIFACTS:
            return f"orgs/{org}/artifacts/{record_id}"
        case Collection.NOTES:
            return f"orgs/{org}/notes/{record_id}"


def check_body(
    body: JsonObject | None, *, field: str, maximum_bytes: int
) -> Sequence[FieldViolation]:
    """Return what is wrong with the body of a record.

    Args:
        body: The body.
        field: Where it stands in the request, such as `notes[3].attributes`.
        maximum_bytes: Largest body as canonical JSON.
    """
    if body is None:
        return ()
    violations = []
    if _holds_nul(body):
        violations.append(FieldViolation(field, "may not hold the character U+0000", "nul"))
    if _holds_non_finite(body):
        problem = "holds a number that is not finite, which JSON cannot"
        violations.append(FieldViolation(field, problem, "json.finite"))
    elif (size_bytes := len(canonical_json(body))) > maximum_bytes:
        problem = f"has {size_bytes} bytes as JSON, and may have {maximum_bytes}"
        violations.append(FieldViolation(field, problem, "json.max_bytes"))
    return violations


def check_table(content: bytes, *, field: str) -> Sequence[FieldViolation]:
    """Return what is wrong with the content of a table, which may be left out.

    Args:
        content: Parquet.
        field: Where it stands in the request, such as `artifacts[3].content`.
    """
    if not content or _is_parquet(content):
        return ()
    problem = (
        f"of a TABLE is Parquet; these {len(content):,} bytes cannot be read as such. Write the"
        " table as a Parquet file, or choose another kind"
    )
    return (FieldViolation(field, problem, "parquet"),)


def _is_parquet(content: bytes) -> bool:
    if not content.startswith(b"PAR1"):
        return False
    try:
        parquet.read_metadata(pa.BufferReader(content))
    except (pa.ArrowException, OSError):
        return False
    return True


def check_unique(record_ids: Sequence[str], *, field: str) -> list[FieldViolation]:
    """Return a violation for each record whose id came before in the batch."""
    seen: set[str] = set()
    violations = []
    for index, record_id in enumerate(record_ids):
        if record_id in seen:
            violations.append(
                FieldViolation(
                    f"{field}[{index}].name",
                    "stands in the batch twice; send each name once",
                    "unique",
                )
            )
        seen.add(record_id)
    return violations


def _holds_nul(value: object) -> bool:
    match value:
        case str():
            return "\0" in value
        case Mapping():
            return any(_holds_nul(key) or _holds_nul(inner) for key, inner in value.items())
        case list() | tuple():
            return any(map(_holds_nul, value))
        case _:
            return False


def _holds_non_finite(value: object) -> bool:
    match value:
        case float():
            return not math.isfinite(value)
        case Mapping():
            return any(map(_holds_non_finite, value.values()))
        case list() | tuple():
            return any(map(_holds_non_finite, value))
        case _:
            return False
