"""Rows as platforms gave them, as messages: none of them may keep others from being shown."""

import json
from collections.abc import Mapping
from typing import Final

from google.protobuf.json_format import ParseError
from google.protobuf.struct_pb2 import Struct

from liftos_kit.structs import struct_of

UNREADABLE_ITEM: Final = "unreadable_item"
"""The field that shows what is no object, or one that no message can hold."""


def row_message(row: object) -> Struct:
    """Return the message of a row; what is no object is shown as the value of a field."""
    try:
        return struct_of(row if isinstance(row, Mapping) else {UNREADABLE_ITEM: row})
    except (ParseError, TypeError, ValueError):
        # Such as one that is nested a hundred times.
        return struct_of({UNREADABLE_ITEM: json.dumps(row, default=str)})
