"""JSON objects, moments and etags of the contract, both ways."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, overload

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from liftos_kit.core.errors import InvalidFieldsError

_EXACT: Final = 2.0**53


def plain(struct: Struct) -> dict[str, object]:
    """Return a JSON object as Python values.

    JSON knows one kind of number. A whole one becomes an int where every int of its size is exact,
    so that ids and counts read as what they are; a larger one stays the float that it has become.
    """
    return {name: _plain_value(value) for name, value in struct.fields.items()}


def _plain_value(value: Value) -> object:
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            number = value.number_value
            return int(number) if abs(number) < _EXACT and number.is_integer() else number
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return plain(value.struct_value)
        case "list_value":
            return [_plain_value(item) for item in value.list_value.values]
        case _:
            return None


def struct_of(values: Mapping[str, object]) -> Struct:
    """Return the JSON object of Python values."""
    return json_format.ParseDict(dict(values), Struct())


@overload
def timestamp(time: datetime) -> Timestamp: ...
@overload
def timestamp(time: datetime | None) -> Timestamp | None: ...
def timestamp(time: datetime | None) -> Timestamp | None:
    """Return the message of a moment; None, which leaves a field unset, for none."""
    if time is None:
        return None
    message = Timestamp()
    message.FromDatetime(time.astimezone(UTC))
    return message


def revision_of(etag: str, *, field: str) -> int | None:
    """Return the revision that an etag names, None where it is empty.

    Raises:
        InvalidFieldsError: It is none that the service gives.
    """
    if not etag:
        return None
    if not (etag.isascii() and etag.isdigit() and len(etag) < 19):
        raise InvalidFieldsError.of(field, "is none that was given with the resource", rule="etag")
    return int(etag)
