"""Digests of artifacts and notes, as Memory's `DigestRecords` tells them.

A record's sha256 covers its substance: the canonical JSON of the body of an artifact or of the
attributes of a note, then the content or the text. Its hash is the md5 of what describes it and of
that sha256, so that records are compared without their contents.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Final

from liftos_mapping.entry_id import KEY_SEPARATOR

JsonObject = Mapping[str, object]

_EXACT_INTEGERS: Final = 2.0**53
_QUOTED_CHARACTERS: Final = frozenset(' {},"\\\t\n\r\v\f')


def canonical_json(value: JsonObject) -> bytes:
    """Return the one JSON text of an object: keys sorted by code point, no spaces, UTF-8.

    Whole numbers below 2^53 are written without a fraction, others as the shortest text that
    gives the same double.
    """
    text = json.dumps(
        _canonical(value),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )
    return text.encode()


def _canonical(value: object) -> object:
    match value:
        case Mapping():
            return {key: _canonical(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_canonical(inner) for inner in value]
        case float() if value.is_integer() and abs(value) < _EXACT_INTEGERS:
            return int(value)
        case _:
            return value


def record_sha256(body: JsonObject | None, content: bytes) -> bytes:
    """Return the digest of a record's substance.

    It is taken over the canonical JSON of the body (nothing where there is none), one NUL, and the
    content. JSON holds no NUL, so that different pairs never give the same bytes.

    Args:
        body: Body of an artifact, attributes of a note.
        content: Content of an artifact, UTF-8 text of a note.
    """
    digest = hashlib.sha256(b"" if body is None else canonical_json(body))
    digest.update(b"\0")
    digest.update(content)
    return digest.digest()


def artifact_hash(
    artifact_id: str,
    *,
    scope: str,
    kind: int,
    display_name: str,
    body: JsonObject | None,
    content: bytes,
) -> bytes:
    """Return the 16-byte hash of an artifact in `DigestRecords`; `kind` is the contract's number.

    What is told by an artifact but not digested (content_type) is no part of it.
    """
    sha256 = record_sha256(body, content)
    return _record_hash(artifact_id, scope, str(kind), display_name, sha256.hex())


def note_hash(
    note_id: str,
    *,
    scope: str,
    title: str,
    labels: Sequence[str],
    attributes: JsonObject | None,
    text: str,
) -> bytes:
    """Return the 16-byte hash of a note in `DigestRecords`."""
    sha256 = record_sha256(attributes, text.encode())
    return _record_hash(note_id, scope, title, _array_text(labels), sha256.hex())


def record_bucket(record_id: str, bucket_count: int) -> int:
    """Return the bucket of an artifact or note in `DigestRecords`."""
    return int.from_bytes(_md5(record_id)[:4]) % bucket_count


def _record_hash(*texts: str) -> bytes:
    return _md5(KEY_SEPARATOR.join(texts))


def _md5(text: str) -> bytes:
    return hashlib.md5(text.encode(), usedforsecurity=False).digest()


def _array_text(texts: Sequence[str]) -> str:
    """Write an array of texts as PostgreSQL does."""
    return "{" + ",".join(map(_element_text, texts)) + "}"


def _element_text(text: str) -> str:
    if text and text.upper() != "NULL" and _QUOTED_CHARACTERS.isdisjoint(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
