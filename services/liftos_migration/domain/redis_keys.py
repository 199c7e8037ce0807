"""Keys of a Redis: what prefixes there are, what one holds, and how two copies compare."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from liftos_migration.domain.differences import (
    EXPIRED,
    Difference,
    DifferenceKind,
    FieldDifference,
    key_text,
    text_of,
)

EXPIRY_TOLERANCE: Final = timedelta(seconds=1)
"""How far two times of expiry may be apart: clocks of two servers are never the same."""
MAXIMUM_VALUE_BYTES: Final = 8 * 1024 * 1024
"""Largest value that one artifact takes, as written by `written`."""

_MAXIMUM_PREFIXES: Final = 1_000
_FIRST_PART: Final = re.compile(rb"[^:]*:|[^0-9]+")
_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,180}")


class ValueNotReadableError(Exception):
    """A key cannot be copied.

    Attributes:
        key: Its name.
    """

    def __init__(self, key: bytes, problem: str) -> None:
        super().__init__(f"the key {key.decode(errors='replace')} {problem}")
        self.key = key


@dataclass(frozen=True, slots=True)
class PrefixCensus:
    """Keys that begin alike.

    Attributes:
        prefix: How they begin.
        key_count: How many there are.
        size_bytes: What the server says that they take.
        types: How many of each type.
        expiring_count: How many of them expire.
    """

    prefix: bytes
    key_count: int
    size_bytes: int
    types: Mapping[str, int]
    expiring_count: int


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key with all that it holds.

    Attributes:
        key: Its name.
        type: Such as `hash`.
        content: Its value as `written` gives it.
        expire_time: When it expires; None where it stays.
    """

    key: bytes
    type: str
    content: bytes
    expire_time: datetime | None

    @property
    def sha256(self) -> str:
        """The digest of its value, in hex."""
        return hashlib.sha256(self.content).hexdigest()


def prefix_of(key: bytes, known: Sequence[bytes]) -> bytes:
    """Return the prefix that a key belongs to.

    It is the longest known one that it begins with; otherwise all up to the first colon, or all
    before the first digit, or the key itself.
    """
    fitting = [prefix for prefix in known if key.startswith(prefix)]
    if fitting:
        return max(fitting, key=len)
    first = _FIRST_PART.match(key)
    return key if first is None else first.group()


def is_crowded(prefixes: int) -> bool:
    """Tell whether there are so many prefixes that keys of no known one are counted together."""
    return prefixes >= _MAXIMUM_PREFIXES


def artifact_id(key: bytes) -> str:
    """Return the id of the artifact that a key becomes; different keys never have the same."""
    try:
        text = key.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if _PLAIN_ID.fullmatch(text):
        return f"redis-key:{text}"
    return f"redis-digest:{hashlib.sha256(key).hexdigest()}"


def is_key(record_id: str) -> bool:
    """Tell whether an artifact is a key of a Redis."""
    return record_id.startswith(("redis-key:", "redis-digest:"))


def written(value: object) -> bytes:
    """Return a value as the one JSON text for it: bytes that are no UTF-8 as `{"base64": ...}`.

    Args:
        value: Bytes, numbers, or lists of values. What has no order must be sorted.
    """
    return json.dumps(_readable(value), ensure_ascii=False, separators=(",", ":")).encode()


def readable(text: bytes) -> object:
    """Return bytes as text, or as `{"base64": ...}` where they are no UTF-8."""
    return _readable(text)


def read_bytes(value: object) -> bytes:
    """Return the bytes that `readable` gave."""
    if isinstance(value, Mapping):
        return base64.b64decode(value["base64"])
    return str(value).encode()


def _readable(value: object) -> object:
    match value:
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return {"base64": base64.b64encode(value).decode()}
        case list() | tuple():
            return [_readable(inner) for inner in value]
        case _:
            return value


def compare_keys(
    prefix: str,
    source: Iterable[KeyValue],
    target: Iterable[KeyValue],
    *,
    now: datetime,
    name_of: Mapping[bytes, str],
) -> tuple[Sequence[Difference], int]:
    """Return how copies of keys differ, and how many are equal.

    What has expired by now, on whichever side, need not be on the other any more.

    Args:
        prefix: How they begin; told as the table.
        source: Keys of the source.
        target: Their copies.
        now: The time of the source's clock.
        name_of: Names of the artifacts by key.
    """
    ours = {each.key: each for each in source}
    theirs = {each.key: each for each in target}
    found: list[Difference] = []
    equal = 0
    for key in sorted(ours.keys() | theirs.keys()):
        one, other = ours.get(key), theirs.get(key)
        if (one is None and _is_over(other, now)) or (other is None and _is_over(one, now)):
            continue
        fields = tuple(_fields(one, other))
        if not fields:
            equal += 1
            continue
        if one is None:
            kind = DifferenceKind.EXTRA
        elif other is None:
            kind = DifferenceKind.MISSING
        else:
            kind = DifferenceKind.DIFFERENT
        cause = EXPIRED if fields and all(each.field == "expire_time" for each in fields) else ""
        found.append(
            Difference(
                prefix, key_text({"key": readable(key)}), kind, name_of.get(key, ""), fields, cause
            )
        )
    return found, equal


def _is_over(value: KeyValue | None, now: datetime) -> bool:
    return (
        value is not None
        and value.expire_time is not None
        and value.expire_time <= now + EXPIRY_TOLERANCE
    )


def _fields(one: KeyValue | None, other: KeyValue | None) -> Iterable[FieldDifference]:
    empty = ("", b"", None)
    here = empty if one is None else (one.type, one.content, one.expire_time)
    there = empty if other is None else (other.type, other.content, other.expire_time)
    if here[0] != there[0]:
        yield FieldDifference("type", here[0], there[0])
    if here[1] != there[1]:
        yield FieldDifference("value", _shown(here[1]), _shown(there[1]))
    if _expires_otherwise(here[2], there[2]):
        yield FieldDifference("expire_time", text_of(here[2]), text_of(there[2]))


def _shown(content: bytes) -> str:
    return text_of(content.decode())


def _expires_otherwise(one: datetime | None, other: datetime | None) -> bool:
    if one is None or other is None:
        return one is not other
    return abs(one - other) > EXPIRY_TOLERANCE


def instant(milliseconds: int) -> datetime:
    """Return the time of so many milliseconds since 1970."""
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)
