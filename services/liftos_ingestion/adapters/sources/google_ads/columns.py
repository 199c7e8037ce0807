"""Messages of rows as columns, read field by field and never made rows of."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, TypeAlias

from liftos_mapping.source_columns import RawColumns

_Message: TypeAlias = Any
"""A protobuf message, whose fields no type checker knows."""

ROWS_AT_A_TIME: Final = 500
"""Python looks again and again at all objects that live, and a row's messages are such objects."""


@dataclass(frozen=True, slots=True)
class ColumnReader:
    """Reads one field of many rows.

    Attributes:
        name: Its dotted name.
        parent: The message that holds it, below the row; empty for the row itself.
        value: Reads it from that message.
        has: Tells whether it is set, where a message can tell.
        enum_names: Names of the numbers of an enum; None for other fields.
        is_text: Whether it is a text.
    """

    name: str
    parent: str
    value: Callable[[_Message], object]
    has: Callable[[_Message], bool] | None
    enum_names: Mapping[int, str | None] | None
    is_text: bool

    def read(self, messages: Sequence[_Message]) -> list[object]:
        """Return the field of each message, None where it is not set.

        A number that an enum does not have yet is given as it is.
        """
        values: list[Any] = list(map(self.value, messages))
        if self.is_text:
            # One and the same name in many rows is one object.
            values = list(map({}.setdefault, values, values))
        names, has = self.enum_names, self.has
        if names is not None:
            return [names.get(number, number) for number in values]
        if has is None or all(values):
            return values
        # Only a field that looks empty can be unset.
        return [
            value if value or has(it) else None for value, it in zip(values, messages, strict=True)
        ]


def column_readers(row: _Message, names: Sequence[str]) -> tuple[ColumnReader, ...]:
    """Return what reads fields of rows.

    Args:
        row: The descriptor of a row.
        names: Dotted names of fields.
    """
    return tuple(_column_reader(row, name) for name in names)


def _column_reader(row: _Message, name: str) -> ColumnReader:
    parent, _, leaf = name.rpartition(".")
    descriptor = row
    for part in parent.split(".") if parent else ():
        descriptor = descriptor.fields_by_name[part].message_type
    field = descriptor.fields_by_name[leaf]
    return ColumnReader(
        name,
        parent,
        attrgetter(leaf),
        (lambda message: bool(message.HasField(leaf))) if field.has_presence else None,
        _names_of(field.enum_type) if field.enum_type else None,
        field.type == field.TYPE_STRING,
    )


def _names_of(enum: _Message) -> Mapping[int, str | None]:
    """The names of an enum's numbers; 0 is what every enum is before it is set."""
    return {it.number: it.name if it.number else None for it in enum.values}


def columns_of(runs: Iterable[Sequence[_Message]], readers: Sequence[ColumnReader]) -> RawColumns:
    """Return rows as columns by the names of their fields.

    Args:
        runs: The rows, a few at a time (`ROWS_AT_A_TIME`).
        readers: Read the fields.
    """
    columns: dict[str, list[object]] = {reader.name: [] for reader in readers}
    row_count = 0
    for rows in runs:
        row_count += len(rows)
        parents: dict[str, Sequence[_Message]] = {"": rows}
        for reader in readers:
            columns[reader.name] += reader.read(_messages(reader.parent, parents))
    return RawColumns(row_count, columns)


def _messages(path: str, known: dict[str, Sequence[_Message]]) -> Sequence[_Message]:
    """Return the messages at a path below rows."""
    if path not in known:
        above, _, leaf = path.rpartition(".")
        known[path] = list(map(attrgetter(leaf), _messages(above, known)))
    return known[path]
