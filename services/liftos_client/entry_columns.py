"""The columns of an entry in a frame, read from the contract."""

from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Final

import pyarrow as pa
from google.protobuf.descriptor import FieldDescriptor

from liftos.memory.v1.entry_pb2 import Entry

_SUFFIX: Final = "_micros"

OUTPUT_FIELDS: Final = frozenset(
    {
        "name",
        "derived_metrics",
        "calendar_day",
        "quality",
        "slice",
        "origin",
        "create_time",
        "update_time",
        "etag",
    }
)
"""Fields of an entry that the service gives; a writer does not."""

REQUIRED_COLUMNS: Final = ("date", "platform", "level", "account_id")
"""Columns without which no row is an entry."""

ACTION_TYPE: Final = pa.struct(
    [
        pa.field("action_type", pa.string()),
        pa.field("window", pa.string()),
        pa.field("count_micros", pa.int64()),
        pa.field("value_micros", pa.int64()),
    ]
)
"""One of a platform's own actions."""


@cache
def entry_columns() -> Mapping[str, pa.DataType]:
    """Return each column that a batch may have, with its Arrow type."""
    columns: dict[str, pa.DataType] = {}
    for field in Entry.DESCRIPTOR.fields:
        if field.name in OUTPUT_FIELDS:
            continue
        if field.name in ("metrics", "grain_metrics"):
            columns.update((part.name, _type_of(part)) for part in _parts(field))
        else:
            columns[field.name] = _type_of(field)
    return MappingProxyType(columns)


@cache
def unit_columns() -> Mapping[str, str]:
    """Return each column that may be given in units, such as `spend`, with the one in micros."""
    return MappingProxyType(
        {name.removesuffix(_SUFFIX): name for name in entry_columns() if name.endswith(_SUFFIX)}
    )


@cache
def computed_names() -> frozenset[str]:
    """Return names that a reader's frame has and a writer's may not."""
    parts = ("derived_metrics", "calendar_day", "quality")
    fields = Entry.DESCRIPTOR.fields_by_name
    named = (part.name for name in parts for part in _parts(fields[name]))
    return OUTPUT_FIELDS.union(named) - {"date"}


def _parts(field: FieldDescriptor) -> Sequence[FieldDescriptor]:
    assert field.message_type is not None, "named after a message"
    return field.message_type.fields


def _type_of(field: FieldDescriptor) -> pa.DataType:
    if field.name == "date":
        return pa.date32()
    match field.type:
        case FieldDescriptor.TYPE_STRING | FieldDescriptor.TYPE_ENUM:
            return pa.string()
        case FieldDescriptor.TYPE_INT64:
            return pa.int64()
        case FieldDescriptor.TYPE_DOUBLE:
            return pa.float64()
        case FieldDescriptor.TYPE_BOOL:
            return pa.bool_()
        case FieldDescriptor.TYPE_MESSAGE:
            return pa.list_(ACTION_TYPE)
    raise AssertionError(f"a column for {field.full_name} is missing")
