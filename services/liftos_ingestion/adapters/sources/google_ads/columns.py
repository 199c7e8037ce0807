"""Answers as columns: what rows share is parsed once, and what nobody reads not at all.

A row has parts, such as its campaign, its ad, its day and its metrics, and most parts are the same
in many rows. So an answer is parsed as rows whose parts stay bytes, and of a part that comes again
one is parsed. Parsed as published, a row has room for some two hundred parts and takes 8 KiB, the
10,000 rows of an answer 77 MiB.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, TypeAlias

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

from liftos_mapping.source_columns import RawColumns

_Message: TypeAlias = Any
"""A protobuf message or a descriptor of one, whose fields no type checker knows."""

_Tree: TypeAlias = dict[str, "_Tree"]
"""Names of fields, each with those below it."""

_PACKAGE: Final = "columns"


@dataclass(frozen=True, slots=True)
class FieldReader:
    """Reads one field of messages.

    Attributes:
        name: Its dotted name in a row.
        value: Reads it from the part that holds it.
        has: Tells whether it is set, where a message can tell.
        enum_names: Names of the numbers of an enum; None for other fields.
    """

    name: str
    value: Callable[[_Message], object]
    has: Callable[[_Message], bool] | None
    enum_names: Mapping[int, str | None] | None

    def read(self, messages: Sequence[_Message]) -> list[object]:
        """Return the field of each message, None where it is not set.

        A number that an enum does not have yet is given as it is.
        """
        values: list[Any] = list(map(self.value, messages))
        names, has = self.enum_names, self.has
        if names is not None:
            return [names.get(number, number) for number in values]
        if has is None or all(values):
            return values
        # Only a field that looks empty can be unset.
        return [
            value if value or has(it) else None for value, it in zip(values, messages, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class PartReader:
    """Reads one part of rows.

    Attributes:
        serialized: Reads the part from a row.
        parse: Makes it a message.
        fields: Read its fields.
    """

    serialized: Callable[[_Message], bytes]
    parse: Callable[[bytes], _Message]
    fields: tuple[FieldReader, ...]

    def add_columns(self, rows: Sequence[_Message], columns: dict[str, list[object]]) -> None:
        """Add the fields of all rows.

        Raises:
            DecodeError: A part is no message.
        """
        parts = list(map(self.serialized, rows))
        different = dict.fromkeys(parts)
        messages = list(map(self.parse, different))
        if len(messages) == len(parts):
            columns.update((field.name, field.read(messages)) for field in self.fields)
            return
        places_of = {part: place for place, part in enumerate(different)}
        places = list(map(places_of.__getitem__, parts))
        for field in self.fields:
            values = field.read(messages)
            columns[field.name] = list(map(values.__getitem__, places))


@dataclass(frozen=True, slots=True)
class AnswerReader:
    """Reads the answers to one query.

    Attributes:
        parse: Makes an answer a message with `results` and `request_id`; raises DecodeError.
        parts: Read the parts of its rows.
    """

    parse: Callable[[bytes | memoryview], _Message]
    parts: tuple[PartReader, ...]

    def columns(self, rows: Sequence[_Message]) -> RawColumns:
        """Return rows of an answer as columns by the dotted names of fields.

        Raises:
            DecodeError: A part of a row is no message.
        """
        columns: dict[str, list[object]] = {}
        for part in self.parts:
            part.add_columns(rows, columns)
        return RawColumns(len(rows), columns)


@lru_cache(maxsize=64)
def answer_reader(answer: _Message, names: tuple[str, ...]) -> AnswerReader:
    """Return what reads the answers to a query.

    Args:
        answer: The descriptor of an answer.
        names: Dotted names of the fields of its rows.

    Raises:
        ValueError: A field is repeated, or within one that is.
    """
    row = answer.fields_by_name["results"].message_type
    tree: _Tree = {}
    for name in names:
        below = tree
        for word in name.split("."):
            below = below.setdefault(word, {})
    classes = _narrow_classes(answer, row, tree)
    parts = tuple(
        PartReader(
            attrgetter(part),
            classes[f"{_PACKAGE}.{part}"].FromString,
            tuple(_field_reader(row, name) for name in names if name.partition(".")[0] == part),
        )
        for part in tree
    )
    return AnswerReader(classes[f"{_PACKAGE}.Answer"].FromString, parts)


def _field_reader(row: _Message, name: str) -> FieldReader:
    part, *parents, leaf = name.split(".")
    descriptor = row
    for parent in (part, *parents):
        descriptor = _single_field(descriptor, parent).message_type
    field = _single_field(descriptor, leaf)
    holder = attrgetter(".".join(parents)) if parents else None

    def has(part: _Message) -> bool:
        return bool((holder(part) if holder else part).HasField(leaf))

    return FieldReader(
        name,
        attrgetter(".".join((*parents, leaf))),
        has if field.has_presence else None,
        _names_of(field.enum_type) if field.enum_type else None,
    )


def _single_field(holder: _Message, name: str) -> _Message:
    field = holder.fields_by_name[name]
    if field.is_repeated:
        raise ValueError(f"{field.full_name} is repeated; a row has one value in a column")
    return field


def _names_of(enum: _Message) -> Mapping[int, str | None]:
    """The names of an enum's numbers; 0 is what every enum is before it is set."""
    return {it.number: it.name if it.number else None for it in enum.values}


def _narrow_classes(answer: _Message, row: _Message, tree: _Tree) -> Mapping[str, type[Any]]:
    """Make classes for an answer, its rows and their parts that have no more than is read.

    On the wire a message within another one and bytes are the same, and so are an enum and a
    number.
    """
    file = FileDescriptorProto(name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto3")
    narrow = file.message_type.add(name="Answer")
    _add_field(narrow, answer.fields_by_name["results"], type_name=f".{_PACKAGE}.Row")
    _add_field(narrow, answer.fields_by_name["request_id"])
    narrow = file.message_type.add(name="Row")
    for part, below in tree.items():
        field = row.fields_by_name[part]
        narrow.field.add(
            name=part,
            number=field.number,
            type=FieldDescriptorProto.TYPE_BYTES,
            label=FieldDescriptorProto.LABEL_OPTIONAL,
        )
        _add_fields(
            file.message_type.add(name=part), f".{_PACKAGE}.{part}", field.message_type, below
        )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    classes: Mapping[str, type[Any]] = message_factory.GetMessageClassesForFiles([file.name], pool)
    return classes


def _add_fields(narrow: DescriptorProto, full_name: str, whole: _Message, tree: _Tree) -> None:
    for leaf, below in tree.items():
        field = whole.fields_by_name[leaf]
        if below:
            # In capitals, since no field is: a message and a field of it cannot have one name.
            nested = narrow.nested_type.add(name=leaf.upper())
            nested_name = f"{full_name}.{nested.name}"
            _add_fields(nested, nested_name, field.message_type, below)
            _add_field(narrow, field, type_name=nested_name)
        else:
            _add_field(narrow, field)


def _add_field(narrow: DescriptorProto, field: _Message, *, type_name: str = "") -> None:
    is_enum = field.type == FieldDescriptorProto.TYPE_ENUM
    added = narrow.field.add(
        name=field.name,
        number=field.number,
        type=FieldDescriptorProto.TYPE_INT32 if is_enum else field.type,
        label=FieldDescriptorProto.LABEL_REPEATED
        if field.is_repeated
        else FieldDescriptorProto.LABEL_OPTIONAL,
    )
    if type_name:
        added.type_name = type_name
    elif field.has_presence:
        added.proto3_optional = True
        added.oneof_index = len(narrow.oneof_decl)
        narrow.oneof_decl.add(name=f"_{field.name}")
