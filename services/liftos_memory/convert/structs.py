"""JSON objects of the contract, both ways."""

from collections.abc import Mapping
from typing import Final

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct, Value

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
