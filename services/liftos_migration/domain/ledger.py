"""The ledger: rows of what was done and decided, chained by hash so that a later edit shows."""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Final, TypeAlias

import rfc8785

from liftos_migration.domain.states import MigrationState

JsonObject: TypeAlias = Mapping[str, Any]

FIRST_PREVIOUS: Final = bytes(32)
"""Stands for the row before the first one."""

_EXACT: Final = 2**53 - 1
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


class StepState(IntEnum):
    """Where an attempt of a step is; the numbers are the contract's."""

    PENDING = 1
    RUNNING = 2
    DONE = 3
    FAILED = 4
    UNDONE = 5


@dataclass(frozen=True, slots=True)
class Step:
    """One attempt of a step.

    Attributes:
        sequence: Place of the attempt among all of the migration, from 1.
        phase, title: Which step.
        generation: Rises where what was done before no longer counts and is done again.
        attempt: Of this step in this generation, from 1.
        state: Where it is.
        epoch: Of the worker.
        snapshot: Taken before it; empty where it needs none.
        input: What it was given.
        output: What it found or did.
        error: Why it ended early and what to do; empty where it did not.
        start_time, end_time: When.
        link: Place in the chain, from 1; 0 while it runs.
        previous_sha256, sha256: Of the row before and of this one; empty while it runs.
    """

    sequence: int
    phase: MigrationState
    title: str
    generation: int
    attempt: int
    state: StepState
    epoch: int
    start_time: datetime
    snapshot: str = ""
    input: JsonObject | None = None
    output: JsonObject | None = None
    error: str = ""
    end_time: datetime | None = None
    link: int = 0
    previous_sha256: bytes = b""
    sha256: bytes = b""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about going on, holding or going back.

    Attributes:
        sequence: Place among all decisions of the migration, from 1.
        action: Such as `start` or `pause`.
        subject: Who decided: a token's subject, `worker`, or `trigger`.
        reason: Why, in one sentence.
        state_before, state_after: Of the migration.
        create_time: When.
        readings: What each trigger said.
        inputs: What it rests on.
        dry_run: Whether nothing was done.
        link, previous_sha256, sha256: As in `Step`.
    """

    sequence: int
    action: str
    subject: str
    reason: str
    state_before: MigrationState
    state_after: MigrationState
    create_time: datetime
    readings: tuple[JsonObject, ...] = ()
    inputs: JsonObject | None = None
    dry_run: bool = False
    link: int = 0
    previous_sha256: bytes = b""
    sha256: bytes = b""


Row: TypeAlias = Step | Decision


@dataclass(frozen=True, slots=True)
class BadLink:
    """Where a chain breaks.

    Attributes:
        link: Place in the chain.
        problem: What is wrong there, in words.
    """

    link: int
    problem: str


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: its number of rows, and the hash of the last one."""

    link: int = 0
    sha256: bytes = FIRST_PREVIOUS


def canonical_json(value: object) -> bytes:
    """Return the one text of a JSON value (RFC 8785).

    A whole number that doubles cannot tell from its neighbours is taken for the double that it
    was written from: the ledger keeps such numbers as text, see `storable`.
    """
    return rfc8785.dumps(_canonical(value))


def canonical_row(row: Row) -> bytes:
    """Return what the hash of a row is taken over, the hash of the row before left out."""
    kind = "step" if isinstance(row, Step) else "decision"
    fields: dict[str, object] = {"kind": kind}
    for name in row.__slots__:
        if name not in ("previous_sha256", "sha256"):
            value = getattr(row, name)
            fields[name] = _time(value) if isinstance(value, datetime) else value
    return canonical_json(fields)


def chained(row: Row, head: Head) -> Row:
    """Return a row as the next one after the end of a chain."""
    linked = replace(row, link=head.link + 1, previous_sha256=head.sha256, sha256=b"")
    return replace(linked, sha256=_hash(linked))


def head_of(row: Row) -> Head:
    """Return the end of a chain whose last row this is."""
    return Head(row.link, row.sha256)


def follow(rows: Iterable[Row], last: Head) -> Head | BadLink:
    """Return the end of some rows of a chain, or the first place where it breaks.

    Args:
        rows: In order of their links.
        last: The end of the rows before.
    """
    for row in rows:
        expected = last.link + 1
        if row.link != expected:
            return BadLink(expected, f"a row is missing or came from elsewhere: {row.link} is next")
        if row.previous_sha256 != last.sha256:
            return BadLink(expected, "the row does not follow the one before")
        if row.sha256 != _hash(row):
            return BadLink(expected, "the row was changed after it was written")
        last = head_of(row)
    return last


def ends_at(last: Head, head: Head) -> BadLink | None:
    """Return what is wrong where a chain does not end where it is known to end."""
    if last.link < head.link:
        return BadLink(last.link + 1, f"rows up to {head.link} are missing")
    if last != head:
        return BadLink(last.link, f"the chain is known to end otherwise, at {head.link}")
    return None


def verify_chain(rows: Iterable[Row], head: Head) -> BadLink | None:
    """Return the first place where a chain breaks, or None where it holds.

    Args:
        rows: All rows of a migration that have ended, in order of their links.
        head: Where it is known to end.
    """
    followed = follow(rows, Head())
    return followed if isinstance(followed, BadLink) else ends_at(followed, head)


def storable(value: object) -> Any:  # noqa: ANN401 - any JSON value
    """Return a JSON value that the ledger can keep and hash.

    Whole numbers that doubles cannot tell from their neighbours become text, as do NaN and
    infinities; characters that no text of Postgres can hold become U+FFFD.

    Raises:
        TypeError: It is no JSON value.
    """
    match value:
        case None | bool():
            return value
        case str():
            return _text(value)
        case int():
            return int(value) if abs(value) <= _EXACT else str(int(value))
        case float():
            return value if math.isfinite(value) else str(value)
        case Mapping():
            return {
                _UNSTORABLE.sub("\ufffd", str(key)): storable(each) for key, each in value.items()
            }
        case list() | tuple():
            return [storable(each) for each in value]
        case _:
            raise TypeError(f"{type(value).__name__} is no JSON value")


def _text(value: str) -> str:
    return _UNSTORABLE.sub("\ufffd", value)


def _hash(row: Row) -> bytes:
    return hashlib.sha256(row.previous_sha256 + canonical_row(row)).digest()


def _time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def _canonical(value: object) -> Any:  # noqa: ANN401 - any JSON value
    match value:
        case bool():
            return value
        case int() if abs(value) > _EXACT:
            return float(value)
        case int():
            return int(value)
        case Mapping():
            return {key: _canonical(each) for key, each in value.items()}
        case list() | tuple():
            return [_canonical(each) for each in value]
        case _:
            return value
