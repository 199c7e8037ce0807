"""Columns of files as columns of entries."""

from decimal import ROUND_HALF_EVEN, Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_cli.errors import CommandError
from liftos_cli.importing.entry_batches import ColumnPlan, EntryBatch, make_entry_batch
from liftos_cli.importing.row_files import RowBatch

_AMOUNTS = st.decimals(
    min_value=Decimal("-9e12"), max_value=Decimal("9e12"), allow_nan=False, allow_infinity=False
)


def convert(
    columns: dict[str, object],
    *,
    renamed: dict[str, str] | None = None,
    constants: dict[str, str] | None = None,
) -> EntryBatch:
    """Convert columns of a file."""
    table = pa.table(columns)
    batch = RowBatch(table, range(1, table.num_rows + 1), (), 1.0)
    return make_entry_batch(batch, ColumnPlan(renamed or {}, constants or {}))


@given(amounts=st.lists(_AMOUNTS, min_size=1, max_size=20))
def test_amounts_in_units_become_exact_micros(amounts: list[Decimal]) -> None:
    """Every decimal is scaled exactly and rounded half to even at the sixth place."""
    batch = convert({"spend": [str(amount) for amount in amounts]})
    expected = [
        int(amount.scaleb(6).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)) for amount in amounts
    ]
    assert batch.table.column("spend_micros").to_pylist() == expected


@given(amounts=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20))
def test_floats_count_as_what_they_show(amounts: list[float]) -> None:
    """A float is the shortest decimal that reads back as it."""
    batch = convert({"revenue": pa.array(amounts, pa.float64())})
    expected = [
        int((Decimal(repr(amount)) * 1_000_000).to_integral_value(ROUND_HALF_EVEN))
        for amount in amounts
    ]
    assert batch.table.column("revenue_micros").to_pylist() == expected


def test_unset_is_not_zero() -> None:
    """Empty cells stay null in every kind of column."""
    batch = convert({"spend": ["", None, "0"], "clicks": ["", None, "0"], "final": ["", None, "0"]})
    assert batch.table.to_pydict() == {
        "spend_micros": [None, None, 0],
        "clicks": [None, None, 0],
        "final": [None, None, False],
    }


def test_values_that_cannot_be_read_cost_their_row() -> None:
    """The row is refused under the column's name in the file, the others go on."""
    batch = convert({"spend": ["1", "dear", "3"], "clicks": ["1", "2", "3.5"]})
    assert list(batch.row_numbers) == [1]
    assert [(each.row, each.field, each.rule) for each in batch.refused] == [
        (2, "spend", "NOT_READABLE"),
        (3, "clicks", "NOT_READABLE"),
    ]
    assert batch.table.to_pydict() == {"spend_micros": [1_000_000], "clicks": [1]}


@pytest.mark.parametrize("text", ["NaN", "inf", "1e30", "1,5", "--1"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    """No rounding to something near, no overflow."""
    assert [each.field for each in convert({"spend": [text]}).refused] == ["spend"]


@pytest.mark.parametrize(("text", "number"), [("12", 12), ("12.0", 12), ("1e3", 1_000), (" 7 ", 7)])
def test_counts_may_be_written_in_any_way(text: str, number: int) -> None:
    """Whole numbers with a point or an exponent are whole numbers."""
    assert convert({"clicks": [text]}).table.column("clicks").to_pylist() == [number]


def test_columns_are_renamed_left_out_and_filled() -> None:
    """What --map and --set say."""
    batch = convert(
        {"day": ["2026-01-01"], "cost": ["2"], "comment": ["x"]},
        renamed={"day": "date", "cost": "spend", "comment": ""},
        constants={"level": "campaign", "final": "true"},
    )
    assert batch.table.to_pylist() == [
        {"date": "2026-01-01", "spend_micros": 2_000_000, "level": "CAMPAIGN", "final": True}
    ]


def test_whole_number_ids_become_texts() -> None:
    """An id that a file holds as an integer keeps all digits."""
    batch = convert({"campaign_id": pa.array([9007199254740993], pa.int64())})
    assert batch.table.column("campaign_id").to_pylist() == ["9007199254740993"]


@pytest.mark.parametrize(
    ("columns", "renamed", "constants", "advice"),
    [
        ({"date_day": ["2026-02-01"]}, {}, {}, "for a table of dbt_ad_reporting, say --raw dbt"),
        ({"cost": ["1"]}, {}, {}, "rename with --map cost=TARGET"),
        ({"cost": ["1"]}, {"cost": "price"}, {}, "name a column of an entry in --map cost=price"),
        ({"spend": ["1"]}, {}, {"colour": "red"}, "take --set colour=red away"),
        ({"spend": ["1"]}, {}, {"spend": "2"}, "take --set away, or"),
        ({"spend": ["1"], "spend_micros": ["1"]}, {}, {}, "leave one of the columns out"),
    ],
)
def test_advice_is_about_what_was_typed(
    columns: dict[str, object], renamed: dict[str, str], constants: dict[str, str], advice: str
) -> None:
    """A name comes from the file, from --map or from --set."""
    with pytest.raises(CommandError) as refused:
        convert(columns, renamed=renamed, constants=constants)
    assert refused.value.advice.startswith(advice)


@pytest.mark.parametrize(
    ("columns", "renamed", "constants", "word"),
    [
        ({"cost": ["1"]}, {}, {}, "no column of an entry"),
        ({"spend": ["1"]}, {"cost": "spend"}, {}, "does not have"),
        ({"spend": ["1"], "spend_micros": ["1"]}, {}, {}, "twice"),
        ({"spend": ["1"]}, {}, {"spend": "2"}, "twice"),
        ({"spend": ["1"]}, {}, {"clicks": "x"}, "--set clicks=x"),
        ({"campaign_id": [1.5]}, {}, {}, "texts"),
        ({"spend": [True]}, {}, {}, "amounts"),
        ({"actions": ["x"]}, {}, {}, "actions"),
    ],
)
def test_what_makes_no_sense_for_the_whole_file_stops_it(
    columns: dict[str, object], renamed: dict[str, str], constants: dict[str, str], word: str
) -> None:
    """Errors of columns are errors of usage."""
    with pytest.raises(CommandError, match=word):
        convert(columns, renamed=renamed, constants=constants)
