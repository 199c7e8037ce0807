"""What a command says: tables for people, JSON for programs.

Answers go to stdout, all else to stderr.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table
from rich.text import Text

Cell = str | Text

_OBJECT: Final = "google.protobuf.Struct"
_EXACT: Final = 2.0**53


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; numbers are set flush right."""

    title: str
    number: bool = False


def print_table(
    columns: Sequence[Column], rows: Iterable[Sequence[Cell]], *, empty: str = "Nothing found."
) -> None:
    """Print a table: with lines on a terminal, else as columns with two spaces between.

    Args:
        columns: Titles.
        rows: One cell for each column.
        empty: Said on stderr where there are no rows.
    """
    lines = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
    if not lines:
        say(empty)
    elif sys.stdout.isatty():
        table = Table()
        for column in columns:
            # Text, since a title or an id may hold what would be markup.
            table.add_column(
                Text(column.title), justify="right" if column.number else "left", overflow="fold"
            )
        for line in lines:
            table.add_row(*line)
        Console().print(table)
    else:
        titles = [column.title for column in columns]
        plain = [titles, *([_one_line(cell.plain) for cell in line] for line in lines)]
        widths = [max(map(len, texts)) for texts in zip(*plain, strict=True)]
        for texts in plain:
            cells = zip(texts, columns, widths, strict=True)
            print(
                "  ".join(
                    text.rjust(width) if column.number else text.ljust(width)
                    for text, column, width in cells
                ).rstrip()
            )


def print_text(text: Text) -> None:
    """Print styled text, plain where stdout is no terminal."""
    if sys.stdout.isatty():
        Console().print(text)
    else:
        print(text.plain)


def print_json(value: object) -> None:
    """Print one JSON document; messages as protobuf JSON with the names of the contract."""
    print(json.dumps(as_json(value), indent=2, ensure_ascii=False))


def print_json_line(value: object) -> None:
    """Print one line of a stream of JSON documents, at once."""
    print(json.dumps(as_json(value), ensure_ascii=False), flush=True)


def as_json(value: object) -> object:
    """Return what `json.dumps` takes, with messages as protobuf JSON with the contract's names."""
    if isinstance(value, Message):
        return _as_dict(value)
    if isinstance(value, dict):
        return {key: as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    return value


def _as_dict(message: Message) -> object:
    """Return protobuf JSON, in which objects of any shape read alike each time.

    They come with doubles alone and in no order: whole numbers are written without a point, and
    their fields by name.
    """
    written = json_format.MessageToDict(message, preserving_proto_field_name=True)
    if message.DESCRIPTOR.full_name == _OBJECT:
        return _settled(written)
    if not _holds_objects(message.DESCRIPTOR):
        return written
    for field, value in message.ListFields():
        inner = field.message_type
        if inner is None or inner.GetOptions().map_entry or not _holds_objects(inner):
            continue
        repeated = field.is_repeated
        written[field.name] = [_as_dict(each) for each in value] if repeated else _as_dict(value)
    return written


@cache
def _holds_objects(descriptor: Descriptor) -> bool:
    """Tell whether a message is an object of any shape, or has one."""
    seen: set[str] = set()
    todo = [descriptor]
    while todo:
        each = todo.pop()
        if each.full_name == _OBJECT:
            return True
        if each.full_name not in seen:
            seen.add(each.full_name)
            todo += [it.message_type for it in each.fields if it.message_type is not None]
    return False


def _settled(value: object) -> object:
    match value:
        case dict():
            return {key: _settled(value[key]) for key in sorted(value)}
        case list():
            return [_settled(each) for each in value]
        case float() if value.is_integer() and abs(value) <= _EXACT:
            return int(value)
        case _:
            return value


def say(sentence: str) -> None:
    """Tell a person something that is not the answer."""
    print(sentence, file=sys.stderr)


def _one_line(text: str) -> str:
    return " ".join(text.split())
