"""Rows of CSV, Parquet and JSON lines, in batches, with their place in the file.

Texts stay texts and numbers of JSON stay decimals, so that nothing is lost before the column that
a value belongs to is known.
"""

import csv
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, assert_never

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from liftos_cli.errors import CommandError

STANDARD_INPUT: Final = "-"
_CSV_BLOCK_BYTES: Final = 4 * 1024 * 1024
_CHUNK_BYTES: Final = 1024 * 1024


class FileFormat(StrEnum):
    """How rows are written in a file."""

    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"
    JSONL = "jsonl"


_DELIMITERS: Final[Mapping[FileFormat, str]] = {FileFormat.CSV: ",", FileFormat.TSV: "\t"}
_OTHER_DELIMITERS: Final = ";\t|,"
_SUFFIXES: Final[Mapping[str, FileFormat]] = {
    ".csv": FileFormat.CSV,
    ".tsv": FileFormat.TSV,
    ".parquet": FileFormat.PARQUET,
    ".jsonl": FileFormat.JSONL,
    ".ndjson": FileFormat.JSONL,
}


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that was not taken.

    Attributes:
        row: Its number in the file, from 1; a CSV file's header is not counted.
        field: The column at fault; empty where it is the row as a whole.
        rule: A stable word, such as "NEGATIVE".
        message: What was found and what is allowed.
    """

    row: int
    field: str
    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Some rows of a file.

    Attributes:
        table: The rows, with the columns and types of the file.
        row_numbers: The number of each row in the file, from 1.
        refused: Rows met on the way that cannot be read.
        fraction: How much of the file has been read, 0 to 1.
    """

    table: pa.Table
    row_numbers: Sequence[int]
    refused: tuple[RefusedRow, ...]
    fraction: float


@dataclass(frozen=True, slots=True)
class RowFile:
    """A file of rows.

    Attributes:
        name: As the user named it.
        path: Where its bytes are.
        format: How they are written.
        delimiter: What stands between values; empty where the format has no such thing.
        sha256: Digest of its bytes, in hex.
    """

    name: str
    path: Path
    format: FileFormat
    delimiter: str
    sha256: str


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Rows as a platform answered them; see `RowBatch`."""

    rows: Sequence[Mapping[str, Any]]
    row_numbers: Sequence[int]
    refused: tuple[RefusedRow, ...]
    fraction: float


@contextmanager
def open_row_file(
    name: str, file_format: FileFormat | None, *, delimiter: str | None = None
) -> Iterator[RowFile]:
    """Give a file of rows, or what comes on stdin (kept in a temporary file meanwhile).

    Args:
        name: Its path; `-` is stdin.
        file_format: By default told by the suffix.
        delimiter: What stands between values; by default what the format says.

    Raises:
        CommandError: It cannot be read, its format is not known, or it takes no such delimiter.
    """
    found = file_format or _SUFFIXES.get(Path(name).suffix.lower())
    if found is None:
        raise CommandError(
            f"the format of {'stdin' if name == STANDARD_INPUT else name} is not known",
            advice=f"say it with --format {'|'.join(FileFormat)}",
        )
    between = _checked_delimiter(found, delimiter)
    if name != STANDARD_INPUT:
        yield RowFile(name, Path(name), found, between, _sha256(Path(name)))
        return
    with tempfile.NamedTemporaryFile(prefix="liftos-stdin-") as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy, _CHUNK_BYTES)
        copy.flush()
        path = Path(copy.name)
        yield RowFile("stdin", path, found, between, _sha256(path))


def _checked_delimiter(file_format: FileFormat, delimiter: str | None) -> str:
    usual = _DELIMITERS.get(file_format, "")
    if delimiter is None:
        return usual
    if not usual:
        raise CommandError(f"--delimiter does not go with {file_format}", advice="leave it away")
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
        raise CommandError(
            f"--delimiter {delimiter!r} is no single character",
            advice="write it like --delimiter ';', and --format tsv for tabs",
        )
    return delimiter


def read_batches(file: RowFile, *, maximum_rows: int) -> Iterator[RowBatch]:
    """Read the rows of a file; the same file always comes in the same batches.

    Raises:
        CommandError: The file is not of its format.
    """
    with _reading(file):
        yield from _read_tables(file, maximum_rows)


def read_raw_batches(file: RowFile, *, maximum_rows: int) -> Iterator[RawBatch]:
    """Read the rows of a file as a platform's own; see `read_batches`. Empty cells are left out."""
    with _reading(file):
        if file.format is FileFormat.JSONL:
            yield from _read_json_rows(file, maximum_rows)
            return
        for batch in _read_tables(file, maximum_rows):
            rows = [
                {name: value for name, value in row.items() if value is not None}
                for row in batch.table.to_pylist()
            ]
            yield RawBatch(rows, batch.row_numbers, batch.refused, batch.fraction)


def _read_tables(file: RowFile, maximum_rows: int) -> Iterator[RowBatch]:
    match file.format:
        case FileFormat.CSV | FileFormat.TSV:
            return _read_csv(file, maximum_rows)
        case FileFormat.PARQUET:
            return _read_parquet(file, maximum_rows)
        case FileFormat.JSONL:
            return _read_json_lines(file, maximum_rows)
        case _:
            assert_never(file.format)


@contextmanager
def _reading(file: RowFile) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        advice = f"check the file, or say its format with --format {'|'.join(FileFormat)}"
        if "UTF8" in reason or "utf-8" in reason:
            advice = "convert the file to UTF-8"
        raise CommandError(f"{file.name} is no {file.format}: {reason}", advice=advice) from None


def _read_csv(file: RowFile, maximum_rows: int) -> Iterator[RowBatch]:
    size_bytes = file.path.stat().st_size
    if size_bytes == 0:
        raise CommandError(f"{file.name} is empty", advice="name a file with a header")
    refused: list[RefusedRow] = []
    skipped: set[int] = set()

    def skip(row: pa_csv.InvalidRow) -> str:
        # Arrow counts the header as the first row.
        number = row.number - 1
        skipped.add(number)
        found = f"it has {row.actual_columns} values, the header {row.expected_columns}"
        refused.append(RefusedRow(number, "", "COLUMN_COUNT", found))
        return "skip"

    # Arrow guesses the type of a column from its first rows; all columns have to be texts, and
    # that needs their names.
    with file.path.open(encoding="utf-8-sig", newline="") as text:
        header = next(csv.reader(text, delimiter=file.delimiter), [])
    _check_header(file, header)
    with file.path.open("rb") as stream:
        reader = pa_csv.open_csv(
            stream,
            read_options=pa_csv.ReadOptions(block_size=_CSV_BLOCK_BYTES, use_threads=False),
            parse_options=pa_csv.ParseOptions(
                delimiter=file.delimiter, newlines_in_values=True, invalid_row_handler=skip
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
                quoted_strings_can_be_null=True,
            ),
        )
        number, read_bytes = 1, 0
        for block in reader:
            table = pa.Table.from_batches([block])
            for piece in _slices(table, maximum_rows):
                numbers: list[int] = []
                while len(numbers) < piece.num_rows:
                    if number not in skipped:
                        numbers.append(number)
                    number += 1
                read_bytes += _text_bytes(piece)
                fraction = min(1.0, read_bytes / size_bytes)
                yield RowBatch(piece, numbers, tuple(refused), fraction)
                refused.clear()
    if refused:
        yield RowBatch(pa.table({name: pa.nulls(0) for name in header}), [], tuple(refused), 1.0)


def _check_header(file: RowFile, header: Sequence[str]) -> None:
    """Refuse a header that is one column only because the delimiter is another one."""
    between = [each for each in _OTHER_DELIMITERS if len(header) == 1 and each in header[0]]
    if not between:
        return
    usual = [each for each, delimiter in _DELIMITERS.items() if delimiter == between[0]]
    option = f"--format {usual[0]}" if usual else f"--delimiter '{between[0]}'"
    raise CommandError(
        f"{file.name} has one column, {header[0][:60]!r}, where {file.delimiter!r} is the"
        f" delimiter; {between[0]!r} seems to be",
        advice=f"say it with {option}",
    )


def _read_parquet(file: RowFile, maximum_rows: int) -> Iterator[RowBatch]:
    with pq.ParquetFile(file.path) as parquet:
        total = max(1, parquet.metadata.num_rows)
        first = 1
        for batch in parquet.iter_batches(batch_size=maximum_rows):
            after = first + batch.num_rows
            table = pa.Table.from_batches([batch])
            yield RowBatch(table, range(first, after), (), (after - 1) / total)
            first = after


def _read_json_lines(file: RowFile, maximum_rows: int) -> Iterator[RowBatch]:
    for raw in _read_json_rows(file, maximum_rows):
        yield RowBatch(_table_of(raw.rows), raw.row_numbers, raw.refused, raw.fraction)


def _read_json_rows(file: RowFile, maximum_rows: int) -> Iterator[RawBatch]:
    size_bytes = file.path.stat().st_size
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    refused: list[RefusedRow] = []
    bytes_read = 0
    with file.path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            bytes_read += len(line)
            if not line.strip():
                continue
            try:
                row = json.loads(line, parse_float=Decimal)
                problem = "" if isinstance(row, dict) else "a line has to hold one JSON object"
            except ValueError as error:
                problem = str(error)
            if problem:
                refused.append(RefusedRow(number, "", "NOT_JSON", problem))
                continue
            rows.append(row)
            numbers.append(number)
            if len(rows) == maximum_rows:
                yield RawBatch(rows, numbers, tuple(refused), bytes_read / size_bytes)
                rows, numbers, refused = [], [], []
    if rows or refused:
        yield RawBatch(rows, numbers, tuple(refused), 1.0)


def _table_of(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return rows as texts, but for lists and objects, which keep their shape."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns: dict[str, pa.Array] = {}
    for name in names:
        values = [row.get(name) for row in rows]
        if any(isinstance(value, list | dict) for value in values):
            columns[name] = pa.array([_plain(value) for value in values])
        else:
            columns[name] = pa.array([_text(value) for value in values], pa.string())
    return pa.table(columns)


def _text(value: object) -> str | None:
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(value: Any) -> Any:  # noqa: ANN401  # any JSON value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value


def _text_bytes(table: pa.Table) -> int:
    """Return about how long the rows are as text; Arrow reads far ahead of what it gives."""
    cells: int = table.num_rows * table.num_columns
    offset_bytes = 4
    return max(0, int(table.nbytes) - cells * offset_bytes) + cells


def _slices(table: pa.Table, maximum_rows: int) -> Iterator[pa.Table]:
    for start in range(0, table.num_rows, maximum_rows):
        yield table.slice(start, maximum_rows)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise CommandError(
            f"{path} cannot be read ({error.strerror})", advice="name a file that exists"
        ) from None
