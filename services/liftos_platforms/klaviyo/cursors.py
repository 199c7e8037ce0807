"""Cursors of paged answers: opaque to the caller, and good only for the question that made them.

A cursor holds the sort key of the last record given, not a number of records: what is deleted
between two pages neither repeats nor skips another record.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from typing import Final

CursorKey = tuple[str | int, ...]

_DIGEST_CHARACTERS: Final = 16


class CursorError(Exception):
    """The cursor is none of ours, or is of another question."""


def encode_cursor(question: Sequence[str], key: CursorKey) -> str:
    """Return the cursor that goes on after `key`.

    Args:
        question: What was asked: endpoint, account and all that selects or orders records.
        key: The sort key of the last record given.
    """
    text = json.dumps([_digest(question), *key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(question: Sequence[str], cursor: str) -> CursorKey:
    """Return the sort key after which to go on.

    Raises:
        CursorError: The cursor was not made for this question.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        digest, *key = json.loads(raw)
    except (binascii.Error, ValueError, TypeError) as error:
        raise CursorError("Invalid cursor provided.") from error
    if digest != _digest(question) or not all(isinstance(part, (str, int)) for part in key):
        raise CursorError("Invalid cursor provided.")
    return tuple(key)


def _digest(question: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(question)).encode()).hexdigest()[:_DIGEST_CHARACTERS]
