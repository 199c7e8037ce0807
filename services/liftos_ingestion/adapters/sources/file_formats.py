"""Rows of CSV, JSON lines and Parquet, batch by batch, with exact numbers.

A row is a JSON object: what a file has as a decimal stays exact as text, days and moments are
texts. A file that is not whole, or not what it is said to be, is an `INVALID_DATA` failure: half a
file must never look like a day with less in it.
"""

import csv
import datetime as dt
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from liftos_ingestion.domain.failures import ErrorClass, Failure, ReadingError

BATCH_ROWS: Final = 5000
"""Rows that are in memory at a time."""

MAXIMUM_LINE_CHARACTERS: Final = 1_000_000

Row: TypeAlias = dict[str, object]


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How files are written.

    Attributes:
        name: csv, jsonl or parquet.
        delimiter: Between the cells of CSV.
        encoding: Of CSV and JSON lines.
    """

    name: str
    delimiter: str = ","
    encoding: str = "utf-8"


def read_batches(file: pa.NativeFile, file_format: FileFormat, path: str) -> Iterator[list[Row]]:
    """Yield the rows of a file.

    Args:
        file: Open at its start; one that can seek for Parquet.
        file_format: How it is written.
        path: Its name in messages.

    Raises:
        ReadingError: It is not what it is said to be.
        OSError: It cannot be read.
    """
    try:
        match file_format.name:
            case "csv":
                yield from _batched(_csv_rows(_lines(file, file_format, path), file_format, path))
            case "jsonl":
                yield from _batched(_json_rows(_lines(file, file_format, path), path))
            case _:
                for batch in pq.ParquetFile(file).iter_batches(batch_size=BATCH_ROWS):
                    yield [
                        {name: _plain(it) for name, it in row.items()} for row in batch.to_pylist()
                    ]
    except UnicodeDecodeError as error:
        raise damaged(path, f"is not written in {file_format.encoding}") from error
    except pa.ArrowInvalid as error:
        raise damaged(path, f"cannot be read as {file_format.name}") from error


def damaged(path: str, problem: str) -> ReadingError:
    """Return the failure of a file that cannot be used."""
    return ReadingError(
        Failure(ErrorClass.INVALID_DATA, f"{path} {problem}; nothing of these days was changed.")
    )


def _lines(file: pa.NativeFile, file_format: FileFormat, path: str) -> Iterator[str]:
    # A mark of the byte order is no part of the first name.
    encoding = "utf-8-sig" if file_format.encoding == "utf-8" else file_format.encoding
    text = io.TextIOWrapper(io.BufferedReader(file), encoding=encoding, newline="")
    for number, line in enumerate(
        iter(lambda: text.readline(MAXIMUM_LINE_CHARACTERS + 1), ""), start=1
    ):
        if len(line) > MAXIMUM_LINE_CHARACTERS:
            raise damaged(path, f"line {number}: is longer than {MAXIMUM_LINE_CHARACTERS}")
        yield line


def _csv_rows(lines: Iterator[str], file_format: FileFormat, path: str) -> Iterator[Row]:
    reader = csv.reader(lines, delimiter=file_format.delimiter, strict=True)
    try:
        names = next(reader, None)
        if not names:
            raise damaged(path, "has no line with the names of its columns")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise damaged(path, f"has the column {twice[0]!r} twice")
        for cells in reader:
            if len(cells) == len(names):
                yield dict(zip(names, cells, strict=True))
            elif cells:
                raise damaged(
                    path, f"line {reader.line_num}: has {len(cells)} cells for {len(names)} columns"
                )
    except csv.Error as error:
        raise damaged(path, f"line {reader.line_num}: is no CSV ({error})") from error


def _json_rows(lines: Iterator[str], path: str) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_float=_exact_number, parse_constant=str)
        except (ValueError, RecursionError) as error:
            raise damaged(path, f"line {number}: is no JSON") from error
        if not isinstance(row, dict):
            raise damaged(path, f"line {number}: is no object with named fields")
        yield row


def _batched(rows: Iterator[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _exact_number(written: str) -> float | str:
    """A number as a float where that is exact, else as it is written."""
    number = float(written)
    return number if Decimal(repr(number)) == Decimal(written) else written


_PLAIN: Final[Mapping[type, Callable[[object], object]]] = {
    Decimal: lambda value: format(value, "f"),
    dt.date: str,
    dt.datetime: lambda value: value.isoformat() if isinstance(value, dt.datetime) else value,
    dt.time: str,
    dt.timedelta: str,
    bytes: lambda value: value.decode("latin-1") if isinstance(value, bytes) else value,
}


def _plain(value: object) -> object:
    """A value of Parquet as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(it) for key, it in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(it) for it in value]
    write = _PLAIN.get(type(value))
    if write is not None:
        return write(value)
    # Moments in nanoseconds come as pandas has them.
    return value.isoformat() if isinstance(value, dt.datetime) else value
