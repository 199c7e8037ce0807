"""What a command says: tables for people, JSON for programs.

Answers go to stdout, all else to stderr.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from google.protobuf import json_format
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table
from rich.text import Text

Cell = str | Text


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
        return json_format.MessageToDict(value, preserving_proto_field_name=True)
    if isinstance(value, dict):
        return {key: as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    return value


def say(sentence: str) -> None:
    """Tell a person something that is not the answer."""
    print(sentence, file=sys.stderr)


def _one_line(text: str) -> str:
    return " ".join(text.split())
