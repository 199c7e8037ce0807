"""What platforms send, as Postgres can hold it: nothing of it may keep a row from being stored."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
"""Characters that JSON can hold and Postgres cannot."""


def storable_text(text: str) -> str:
    """Return a text with U+FFFD for what Postgres cannot hold."""
    return _UNSTORABLE.sub("\ufffd", text)


def storable_object(value: Mapping[str, object]) -> dict[str, object]:
    """Return an object that jsonb can hold; numbers that are none, such as NaN, become text."""
    return {storable_text(str(key)): _storable(each) for key, each in value.items()}


def json_text(value: Mapping[str, object] | Sequence[object]) -> str:
    """Return the text of a value, always the same, for jsonb."""
    return json.dumps(_storable(value), sort_keys=True, default=str)


def _storable(value: object) -> object:
    match value:
        case str():
            return storable_text(value)
        case float() if not math.isfinite(value):
            return json.dumps(value)
        case Mapping():
            return storable_object(value)
        case list() | tuple():
            return [_storable(each) for each in value]
        case _:
            return value
