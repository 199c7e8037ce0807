"""Raw rows from a file, and what becomes of them."""

import json as json_format
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from liftos.ingestion.v1.ingestion_service_pb2 import PreviewMappingResponse
from liftos.memory.v1.memory_service_pb2 import TransformEntriesResponse
from liftos_cli.entry_view import entry_cell, entry_columns, telling_columns
from liftos_cli.errors import CommandError, ExitCode
from liftos_cli.object_files import read_text
from liftos_cli.output import Column, print_json, print_table, say


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of JSON lines, or of one JSON list.

    Raises:
        CommandError: It cannot be read, or holds something else.
    """
    text = read_text(file)
    try:
        if text.lstrip().startswith("["):
            rows = json_format.loads(text)
        else:
            rows = [json_format.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise CommandError(f"{file} is no JSON: {error}", advice="correct the file") from None
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise CommandError(
            f"{file} holds no JSON objects", advice="write one row a line, each as {…}"
        )
    return list(rows)


def print_preview(
    answer: PreviewMappingResponse | TransformEntriesResponse,
    chosen: Sequence[str] | None,
    *,
    json: bool,
) -> None:
    """Print what rows become; ends the command with 1 where some would be refused."""
    if json:
        print_json(answer)
    else:
        names = chosen or telling_columns(answer.entries)
        print_table(
            [Column("row", number=True), *entry_columns(names)],
            [
                [str(index + 1), *(entry_cell(entry, name) for name in names)]
                for entry, index in zip(answer.entries, answer.source_indexes, strict=True)
            ],
            empty="No row becomes an entry.",
        )
        for error in answer.item_errors:
            say(f"Row {error.index + 1} is refused: {error.field}: {error.message}")
        if answer.unmapped_fields:
            say(f"No entry field holds {', '.join(answer.unmapped_fields)}.")
    if answer.item_errors:
        raise typer.Exit(ExitCode.NEGATIVE)
