"""Rows out of files: nothing lost, nothing guessed, every row at its place."""

import io
import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_cli.errors import CommandError
from liftos_cli.importing.row_files import (
    FileFormat,
    RowBatch,
    RowFile,
    open_row_file,
    read_batches,
    read_raw_batches,
)


def batches(path: Path, *, maximum_rows: int = 100) -> list[RowBatch]:
    """Read a file whole."""
    with open_row_file(str(path), None) as file:
        return list(read_batches(file, maximum_rows=maximum_rows))


def test_csv_cells_stay_texts(tmp_path: Path) -> None:
    """Leading zeros, long ids and decimals are kept as written; an empty cell is null."""
    path = tmp_path / "a.csv"
    path.write_text('id,spend,name\n007,0.10,"a, b"\n9007199254740993,,\n')
    (batch,) = batches(path)
    assert batch.table.to_pylist() == [
        {"id": "007", "spend": "0.10", "name": "a, b"},
        {"id": "9007199254740993", "spend": None, "name": None},
    ]


def test_a_delimiter_can_be_named(tmp_path: Path) -> None:
    """Semicolons, as spreadsheets of many countries write them."""
    path = tmp_path / "a.csv"
    path.write_text("id;spend\n1;0,5\n")
    with open_row_file(str(path), None, delimiter=";") as file:
        (batch,) = read_batches(file, maximum_rows=100)
    assert batch.table.to_pylist() == [{"id": "1", "spend": "0,5"}]


@pytest.mark.parametrize(
    ("name", "header", "option"),
    [
        ("a.csv", "date;spend", "--delimiter ';'"),
        ("a.csv", "date|spend", "--delimiter '|'"),
        ("a.csv", "date\tspend", "--format tsv"),
        ("a.tsv", "date,spend", "--format csv"),
    ],
)
def test_another_delimiter_is_recognised(
    tmp_path: Path, name: str, header: str, option: str
) -> None:
    """A header of one column says which option splits it."""
    path = tmp_path / name
    path.write_text(f"{header}\n1\n")
    with pytest.raises(CommandError, match="has one column") as caught:
        batches(path)
    assert caught.value.advice == f"say it with {option}"


@pytest.mark.parametrize(
    ("name", "delimiter"), [("a.csv", ";;"), ("a.csv", ""), ("a.csv", "§"), ("a.jsonl", ";")]
)
def test_what_is_no_delimiter_is_refused(tmp_path: Path, name: str, delimiter: str) -> None:
    """A text of several characters, and any for a format that has none."""
    path = tmp_path / name
    path.touch()
    with (
        pytest.raises(CommandError, match="--delimiter"),
        open_row_file(str(path), None, delimiter=delimiter),
    ):
        pass


def test_rows_of_another_width_keep_all_numbers_right(tmp_path: Path) -> None:
    """A ragged row is refused by its number, and those after it are not shifted."""
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,x\n2\n3,x\n4,x,y\n5,x\n")
    (batch,) = batches(path)
    assert batch.table.column("a").to_pylist() == ["1", "3", "5"]
    assert list(batch.row_numbers) == [1, 3, 5]
    assert [refused.row for refused in batch.refused] == [2, 4]


def test_a_file_with_nothing_but_ragged_rows_refuses_all(tmp_path: Path) -> None:
    """There is a batch without rows, which says why."""
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1\n")
    assert [refused.row for batch in batches(path) for refused in batch.refused] == [1]


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
def test_batches_are_the_same_each_time(tmp_path: Path, count: int) -> None:
    """Rows come in order, in batches of the same size."""
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "".join(f"{n},x\n" for n in range(count)))
    read = [batches(path) for _ in range(2)]
    numbers = [[list(batch.row_numbers) for batch in each] for each in read]
    assert numbers[0] == numbers[1]
    assert [number for each in numbers[0] for number in each] == list(range(1, count + 1))
    assert all(len(each) <= 100 for each in numbers[0])


def test_json_numbers_keep_their_digits(tmp_path: Path) -> None:
    """Decimals and long integers are not read as floats."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"spend": 0.1234567890123456789, "id": 9007199254740993, "final": true}\n')
    (batch,) = batches(path)
    assert batch.table.to_pylist() == [
        {"spend": "0.1234567890123456789", "id": "9007199254740993", "final": "true"}
    ]


def test_lines_that_are_no_objects_are_refused(tmp_path: Path) -> None:
    """Broken JSON and other values cost their own line only; empty lines nothing."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n\n{"a": \n[1]\n{"b": 2}\n')
    (batch,) = batches(path)
    assert list(batch.row_numbers) == [1, 5]
    assert [refused.row for refused in batch.refused] == [3, 4]
    assert batch.table.to_pylist() == [{"a": "1", "b": None}, {"a": None, "b": "2"}]


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    """Decimals and dates come as they are."""
    table = pa.table({"spend": pa.array([Decimal("1.50")], pa.decimal128(9, 2)), "id": [7]})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path)
    (batch,) = batches(path)
    assert batch.table.equals(table)
    assert (list(batch.row_numbers), batch.fraction) == ([1], 1.0)


def test_raw_rows_leave_empty_cells_out(tmp_path: Path) -> None:
    """A cell without anything is a field that the platform did not give."""
    path = tmp_path / "a.csv"
    path.write_text("id,spend\n1,\n")
    with open_row_file(str(path), None) as file:
        (batch,) = read_raw_batches(file, maximum_rows=10)
    assert list(batch.rows) == [{"id": "1"}]


@pytest.mark.parametrize(
    ("name", "content", "advice"),
    [
        ("a.xlsx", b"x", "--format"),
        ("a.csv", b"", "header"),
        ("a.csv", b"a,b\n\xff\xfe,1\n", "UTF-8"),
        ("a.parquet", b"not parquet", "--format"),
    ],
)
def test_files_that_are_none_say_what_to_do(
    tmp_path: Path, name: str, content: bytes, advice: str
) -> None:
    """An unknown suffix, an empty file, another encoding, another format."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CommandError) as raised:
        batches(path)
    assert advice in raised.value.advice


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file is an error of usage."""
    with pytest.raises(CommandError, match="cannot be read"):
        batches(tmp_path / "none.csv")


def test_stdin_is_read_once_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes on stdin has a digest and can be read like a file."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\n1\n")))
    with open_row_file("-", FileFormat.CSV) as file:
        assert isinstance(file, RowFile)
        assert file.name == "stdin"
        assert [batch.table.to_pylist() for batch in read_batches(file, maximum_rows=5)] == [
            [{"a": "1"}]
        ]


@given(rows=st.lists(st.dictionaries(st.sampled_from("abc"), st.text(max_size=5), min_size=1)))
def test_json_lines_come_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]
) -> None:
    """Whatever texts are written are read, at their place."""
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    read = [row for batch in batches(path, maximum_rows=3) for row in batch.table.to_pylist()]
    assert [{k: v for k, v in row.items() if v is not None} for row in read] == rows
