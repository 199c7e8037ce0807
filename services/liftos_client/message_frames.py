"""Messages as frames: one row each, one column for each field that is a value."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pandas as pd
from google.protobuf.descriptor import Descriptor, FieldDescriptor

_DAY_ENDINGS: Final = ("date", "_date")

_DTYPES: Final[Mapping[int, str]] = {
    FieldDescriptor.TYPE_STRING: "str",
    FieldDescriptor.TYPE_INT32: "Int64",
    FieldDescriptor.TYPE_INT64: "Int64",
    FieldDescriptor.TYPE_DOUBLE: "Float64",
    FieldDescriptor.TYPE_BOOL: "boolean",
    FieldDescriptor.TYPE_ENUM: "str",
}

_Read = Callable[[Any], object]
_Column = tuple[str, str, _Read]
"""Its name, its dtype, and how it is read from a message."""


def frame_of_messages(descriptor: Descriptor, messages: Sequence[Any]) -> pd.DataFrame:
    """Return a frame; what is unset is missing, and so are empty texts.

    Enums are their short words. Days and moments are datetime64, days without and moments with UTC.
    A range of days becomes start_date and end_date, an object its platform, level and ids. Repeated
    texts are tuples. Other messages within messages are left out.
    """
    columns: dict[str, pd.Series] = {}
    for field in descriptor.fields:
        for name, dtype, read in _columns(field):
            columns[name] = pd.Series([read(message) for message in messages], dtype=dtype)
    return pd.DataFrame(columns)


def _columns(field: FieldDescriptor) -> list[_Column]:
    name = field.name
    if field.is_repeated:
        if field.type == FieldDescriptor.TYPE_STRING:
            return [(name, "object", lambda message: tuple(getattr(message, name)))]
        return []
    if field.message_type is None:
        is_day = name.endswith(_DAY_ENDINGS) and field.type == FieldDescriptor.TYPE_STRING
        dtype = "datetime64[us]" if is_day else _DTYPES.get(field.type)
        return [] if dtype is None else [(name, dtype, _reader(field))]
    inner = _INNER.get(field.message_type.full_name)
    return [] if inner is None else inner(field)


def _moment(field: FieldDescriptor) -> list[_Column]:
    return [(field.name, "datetime64[us, UTC]", _moment_reader(field.name))]


def _days(field: FieldDescriptor) -> list[_Column]:
    prefix = field.name.removesuffix("date_range")
    return [
        (f"{prefix}{end}", "datetime64[us]", _within(field.name, end))
        for end in ("start_date", "end_date")
    ]


def _object(field: FieldDescriptor) -> list[_Column]:
    assert field.message_type is not None, "a message"
    return [
        (name, dtype, _nested(field.name, read))
        for part in field.message_type.fields
        for name, dtype, read in _columns(part)
    ]


_INNER: Final[Mapping[str, Callable[[FieldDescriptor], list[_Column]]]] = {
    "google.protobuf.Timestamp": _moment,
    "liftos.common.v1.DateRange": _days,
    "liftos.memory.v1.ObjectRef": _object,
}


def _reader(field: FieldDescriptor) -> _Read:
    name = field.name
    enum = field.enum_type
    if enum is not None:
        prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
        words = {value.number: value.name.removeprefix(prefix) for value in enum.values}
        # A later server's values have no word here.
        return lambda message: words.get(number := getattr(message, name), str(number)) or None
    if field.has_presence:
        return lambda message: getattr(message, name) if message.HasField(name) else None
    if field.type == FieldDescriptor.TYPE_STRING:
        return lambda message: getattr(message, name) or None
    return lambda message: getattr(message, name)


def _moment_reader(name: str) -> _Read:
    def read(message: Any) -> object:  # noqa: ANN401  # any message with the field
        if not message.HasField(name):
            return None
        return pd.Timestamp(getattr(message, name).ToMicroseconds(), unit="us", tz="UTC")

    return read


def _within(name: str, inner: str) -> _Read:
    return lambda message: getattr(getattr(message, name), inner) or None


def _nested(name: str, read: _Read) -> _Read:
    return lambda message: read(getattr(message, name))
