"""Refused rows are told in their order, in whichever order they were found."""

import csv
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from liftos_cli.importing.refusals import collect_refusals
from liftos_cli.importing.row_files import RefusedRow

_SHOWN = 20


@st.composite
def _discoveries(draw: st.DrawFn) -> list[list[int]]:
    """Draw batches of row numbers; a batch may hold rows ahead of it, and none behind it."""
    rows = draw(st.lists(st.integers(1, 60), max_size=60))
    batch_of = {row: draw(st.integers(0, (row - 1) // 10)) for row in set(rows)}
    return [[row for row in rows if batch_of[row] == batch] for batch in range(6)]


@given(_discoveries(), st.sampled_from([1, 2]))
def test_the_file_of_errors_is_in_the_order_of_rows(batches: list[list[int]], files: int) -> None:
    """Each file's rows in turn, every reason there, and the first of them shown."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "errors.csv")
        with collect_refusals(path) as refusals:
            for file in range(files):
                for batch, rows in enumerate(batches):
                    for row in rows:
                        refusals.add(str(file), RefusedRow(row, "spend", "NEGATIVE", "no"))
                    refusals.settle(10 * (batch + 1))
                refusals.settle()
        with path.open(newline="") as stream:
            told = [(row["file"], int(row["row"])) for row in csv.DictReader(stream)]
    every = sorted(row for rows in batches for row in rows)
    assert told == [(str(file), row) for file in range(files) for row in every]
    assert [(file, refused.row) for file, refused in refusals.shown] == told[:_SHOWN]
    assert (refusals.reason_count, refusals.row_count) == (len(told), len(set(told)))


def test_what_is_found_before_a_fault_is_written(tmp_path: Path) -> None:
    """An import that is cut off leaves what it knew."""
    path = tmp_path / "errors.csv"
    try:
        with collect_refusals(path) as refusals:
            refusals.add("a.csv", RefusedRow(7, "", "COLUMN_COUNT", "short"))
            raise ConnectionError
    except ConnectionError:
        assert path.read_text().splitlines()[1:] == ["a.csv,7,,COLUMN_COUNT,short"]
