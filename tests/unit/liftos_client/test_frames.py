"""Frames: columns, conversions and splitting."""

from collections.abc import Callable
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos.memory.v1.entry_pb2 import EntryLevel
from liftos_client.entry_columns import entry_columns, unit_columns
from liftos_client.errors import FrameError
from liftos_client.frames import (
    MAXIMUM_BYTES,
    frame_in_units,
    frame_of_arrow,
    split_rows,
    split_table,
    table_of_frame,
)
from liftos_client.micros import MicrosError, micros_from_decimal, micros_from_floats
from liftos_mapping.entry_fields import ENTRY_SCHEMA


def _frame(**columns: object) -> pd.DataFrame:
    given: dict[str, object] = {
        "date": ["2026-01-05", "2026-01-06"],
        "platform": "meta",
        "level": "CAMPAIGN",
        "account_id": "7",
    }
    return pd.DataFrame({**given, **columns})


def _arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def test_columns_are_those_that_memory_takes() -> None:
    """Read from the contract, names and types equal the service's own table."""
    assert dict(entry_columns()) == {field.name: field.type for field in ENTRY_SCHEMA}
    assert unit_columns()["spend"] == "spend_micros"


def test_a_frame_becomes_typed_columns() -> None:
    """Dates, words, texts, counts and money get the types of the contract; missing is null."""
    table = table_of_frame(
        _frame(
            campaign_id=[1, 2],
            clicks=[10.0, np.nan],
            spend=[12.34, np.nan],
            conversions=["1.5", None],
            frequency=[1.25, None],
            final=[True, False],
            level=[EntryLevel.ENTRY_LEVEL_CAMPAIGN, EntryLevel.ENTRY_LEVEL_AD],
        )
    )
    assert table.to_pydict() == {
        "date": [date(2026, 1, 5), date(2026, 1, 6)],
        "platform": ["meta", "meta"],
        "level": ["CAMPAIGN", "AD"],
        "account_id": ["7", "7"],
        "campaign_id": ["1", "2"],
        "clicks": [10, None],
        "spend_micros": [12_340_000, None],
        "conversions_micros": [1_500_000, None],
        "frequency": [1.25, None],
        "final": [True, False],
    }
    assert all(
        table.schema.field(name).type == entry_columns()[name] for name in table.schema.names
    )


@pytest.mark.parametrize(
    "dates",
    [
        pd.to_datetime(["2026-01-05", "2026-01-06"]),
        [date(2026, 1, 5), date(2026, 1, 6)],
        [pd.Timestamp("2026-01-05"), pd.Timestamp("2026-01-06")],
        pd.Series(["2026-01-05", "2026-01-06"], dtype="category"),
    ],
)
def test_days_are_taken_in_every_form(dates: object) -> None:
    """Text, dates and timestamps at midnight are the same days."""
    assert table_of_frame(_frame(date=dates))["date"].to_pylist() == [
        date(2026, 1, 5),
        date(2026, 1, 6),
    ]


@pytest.mark.parametrize("words", [["campaign", "ad"], ["ENTRY_LEVEL_CAMPAIGN", "AD"]])
def test_levels_are_taken_by_any_of_their_words(words: list[str]) -> None:
    """Short or whole, in any case, also as categories."""
    for series in (pd.Series(words), pd.Series(words, dtype="category")):
        assert table_of_frame(_frame(level=series))["level"].to_pylist() == ["CAMPAIGN", "AD"]


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        (lambda f: f.assign(clics=1), "clics", "did you mean clicks"),
        (lambda f: f.assign(Spend=1), "Spend", "did you mean spend"),
        (lambda f: f.assign(ctr=0.1), "ctr", "given by the service"),
        (lambda f: f.assign(spend=1.0, spend_micros=1), "spend", "given twice"),
        (lambda f: f.drop(columns="platform"), "platform", "is missing"),
        (lambda f: f.set_index("date"), "date", "reset_index"),
        (lambda f: pd.concat([f, f[["level"]]], axis=1), "level", "more than once"),
    ],
)
def test_wrong_columns_are_named_with_the_way_out(
    change: Callable[[pd.DataFrame], pd.DataFrame], field: str, says: str
) -> None:
    """Each violation carries the column and what to do about it."""
    with pytest.raises(FrameError) as raised:
        table_of_frame(change(_frame()))
    described = {
        violation.field: violation.description for violation in raised.value.field_violations
    }
    assert says in described[field]
    assert field in str(raised.value)


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("campaign_id", [1.0, np.nan], "lose digits"),
        ("clicks", [1.5, 2.0], "whole number"),
        ("clicks", ["many", "2"], "many"),
        ("clicks", [True, False], "truths"),
        ("clicks", [2.0**60, 1.0], "whole number"),
        ("spend", [np.inf, 1.0], "inf"),
        ("spend", ["1,50", "2"], "1,50"),
        ("spend", [1e13, 1.0], "millionths"),
        ("spend", [True, 1], "True"),
        ("date", ["05.01.2026", "2026-01-06"], "YYYY-MM-DD"),
        ("date", pd.to_datetime(["2026-01-05 10:00", "2026-01-06 00:00"]), "times of day"),
        ("date", pd.to_datetime(["2026-01-05", "2026-01-06"], utc=True), "time zone"),
        ("date", [5, 6], "no date"),
        ("final", ["yes", "no"], "no"),
    ],
)
def test_wrong_values_are_refused_before_anything_is_sent(
    column: str, values: object, says: str
) -> None:
    """Nothing is cut, guessed or zero-filled in silence."""
    with pytest.raises(FrameError) as raised:
        table_of_frame(_frame(**{column: values}))
    (violation,) = raised.value.field_violations
    assert violation.field == column
    assert says in violation.description


def test_all_wrong_columns_are_told_at_once() -> None:
    """One error has every column that does not fit."""
    with pytest.raises(FrameError) as raised:
        table_of_frame(_frame(clicks=[0.5, 1], spend=["x", "y"]))
    assert [violation.field for violation in raised.value.field_violations] == ["clicks", "spend"]


@given(st.decimals(min_value=-(10**12), max_value=10**12, allow_nan=False, places=9))
def test_decimals_round_half_to_even(amount: Decimal) -> None:
    """Micros are the nearest, and the even one of two."""
    micros = micros_from_decimal(amount)
    assert abs(Decimal(micros) - amount * 1_000_000) <= Decimal("0.5")
    assert micros == int((amount * 1_000_000).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


@given(st.lists(st.floats(min_value=-9e12, max_value=9e12), max_size=20))
def test_floats_round_as_the_decimals_that_people_see(values: list[float]) -> None:
    """The fast way over a whole column equals the exact way for each number."""
    fast = micros_from_floats(np.array(values, dtype=np.float64))
    assert fast.tolist() == [micros_from_decimal(Decimal(repr(value))) for value in values]


@given(st.integers(-(10**9), 10**9))
def test_ties_of_floats_go_to_even(number: int) -> None:
    """Half a micro rounds as its decimal text does, however the product with a million falls."""
    value = (2 * number + 1) / 2 / 1_000_000
    exact = Decimal(repr(value)).scaleb(6).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
    assert micros_from_floats(np.array([value])).tolist() == [int(exact)]


@pytest.mark.parametrize("amount", ["NaN", "inf", "1e400", "9223372036854.775808", "", "1 000"])
def test_what_has_no_micros_is_refused(amount: str) -> None:
    """No number, no end, or too large for 64 bits."""
    with pytest.raises(MicrosError):
        micros_from_decimal(amount)


def test_digits_beyond_any_context_count() -> None:
    """A number of a hundred digits is rounded once."""
    assert micros_from_decimal("0.0000005" + "0" * 90 + "1") == 1
    assert micros_from_decimal("9223372036854.775807") == 2**63 - 1


def test_a_table_is_split_by_rows_and_by_bytes() -> None:
    """Each piece fits into a message, and together they are the table."""
    rows = 150_000
    table = pa.table(
        {
            "campaign_id": [str(number) for number in range(rows)],
            "campaign_name": ["x" * 200] * rows,
        }
    )
    pieces = list(split_table(table))
    assert sum(count for count, _ in pieces) == rows
    assert all(len(data) <= MAXIMUM_BYTES and count <= 65_536 for count, data in pieces)
    # Not wastefully small either.
    assert len(pieces) <= 2 * (table.nbytes // MAXIMUM_BYTES + 1)
    read = pa.concat_tables(pa.ipc.open_stream(data).read_all() for _, data in pieces)
    assert read["campaign_id"].to_pylist() == table["campaign_id"].to_pylist()


def test_a_row_larger_than_a_message_is_refused() -> None:
    """It says which row."""
    table = pa.table({"campaign_name": ["a", "x" * (MAXIMUM_BYTES + 1)]})
    with pytest.raises(FrameError, match="row 1"):
        list(split_table(table))


def test_a_frame_is_split_as_a_table() -> None:
    """Frames, tables and record batches go the same way."""
    frame = _frame()
    table = table_of_frame(frame)
    pieces = [list(split_rows(rows)) for rows in (frame, table, table.to_batches()[0])]
    assert [count for count, _ in pieces[0]] == [2]
    tables = [pa.ipc.open_stream(piece[0][1]).read_all() for piece in pieces]
    assert tables[0] == tables[1] == tables[2]


def test_an_answer_becomes_a_frame_with_missing_values() -> None:
    """Integers stay integers, what is null is missing, dates are datetimes."""
    frame = frame_of_arrow(
        _arrow(
            pa.table(
                {
                    "period_start_date": pa.array([date(2026, 1, 5), date(2026, 1, 12)]),
                    "platform": ["meta", "meta"],
                    "clicks": pa.array([2**60 + 1, None], pa.int64()),
                    "ctr": pa.array([None, 0.5]),
                    "spend_micros": pa.array([1_500_000, None], pa.int64()),
                    "final": [True, None],
                }
            )
        )
    )
    assert frame["period_start_date"].dt.year.tolist() == [2026, 2026]
    assert [str(frame[name].dtype) for name in ("clicks", "ctr", "final")] == [
        "Int64",
        "Float64",
        "boolean",
    ]
    assert frame["clicks"].iloc[0] == 2**60 + 1
    assert frame["clicks"].isna().tolist() == [False, True]
    units = frame_in_units(frame)
    assert list(units) == [str(name).removesuffix("_micros") for name in frame]
    assert units["spend"].iloc[0] == 1.5
    assert units["spend"].isna().iloc[1]
