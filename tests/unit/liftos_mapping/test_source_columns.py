"""Rows that come as columns give what the same rows give one by one."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_mapping.engine import TransformContext, evaluate
from liftos_mapping.errors import RowError
from liftos_mapping.platforms import PLATFORM_MAPPINGS
from liftos_mapping.source_columns import RawColumns
from liftos_mapping.transform import transform

# No field in two spellings: which of them is in the way depends on the order of fields.
NAMES = (
    "segments.date",
    "segments.device",
    "segments.week",
    "customer.id",
    "customer.resource_name",
    "customer",
    "campaign.id",
    "campaign.status",
    "campaignId",
    "metrics.costMicros",
    "metrics.clicks",
    "metrics.conversions",
    "metrics.impressions",
    "metrics.video_quartile_p100_rate",
    "nobody.reads.this",
    "date_start",
    "statistics",
)
VALUES = st.one_of(
    st.none(),
    st.integers(-1, 10**6),
    st.floats(0, 1000),
    st.sampled_from(["", "2026-10-01", "1112223333", "EUR", "MOBILE", "0.5"]),
    st.sampled_from([{"status": 7}, {"device": "TABLET"}, {"clicks": [1, 2]}]),
)


@st.composite
def columns(draw: st.DrawFn) -> tuple[int, Mapping[str, Sequence[object]]]:
    """Some columns of one length, and that length."""
    count = draw(st.integers(0, 4))
    values = st.lists(VALUES, min_size=count, max_size=count)
    return count, draw(st.dictionaries(st.sampled_from(NAMES), values))


@given(given_columns=columns(), platform=st.sampled_from(sorted(PLATFORM_MAPPINGS)))
def test_columns_and_rows_give_the_same(
    given_columns: tuple[int, Mapping[str, Sequence[object]]], platform: str
) -> None:
    """Entries, errors, positions and unmapped fields are those of the rows that are seen."""
    as_columns = RawColumns(*given_columns)
    as_rows = list(as_columns)
    assert len(as_rows) == len(as_columns)
    mapping = PLATFORM_MAPPINGS[platform]
    context = TransformContext(account_id="1112223333", currency_code="EUR", date="2026-10-02")
    of_columns = evaluate(mapping, as_columns, context)
    of_rows = evaluate(mapping, as_rows, context)
    assert of_columns.table.equals(of_rows.table)
    assert of_columns.source_index == of_rows.source_index
    assert _found(of_columns.errors) == _found(of_rows.errors)
    assert of_columns.unmapped_fields == of_rows.unmapped_fields


TEXTS = st.one_of(
    st.none(),
    st.text(max_size=6),
    st.sampled_from(["", " ", "\x1c", " 7 ", "EUR", "0.5", "1e3", "-1"]),
    st.sampled_from(["2026-10-01", "1112223333"]),
)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """A table of text, and in two columns of numbers."""
    count = draw(st.integers(0, 6))
    columns = draw(
        st.dictionaries(
            st.sampled_from(NAMES), st.lists(TEXTS, min_size=count, max_size=count), min_size=1
        )
    )
    arrays = {name: pa.array(values, pa.string()) for name, values in columns.items()}
    counts = draw(st.lists(st.integers(0, 9), min_size=count, max_size=count))
    return pa.table({**arrays, "metrics.interactions": counts, "metrics.unique_users": counts})


@given(table=tables(), platform=st.sampled_from(sorted(PLATFORM_MAPPINGS)))
def test_a_table_and_its_rows_give_the_same(table: pa.Table, platform: str) -> None:
    """Text that stays in Arrow becomes the entries and errors of the rows one by one."""
    context = TransformContext(account_id="1112223333", currency_code="EUR", date="2026-10-02")
    of_table = transform(platform, table, context)
    of_rows = transform(platform, [dict(row) for row in RawColumns.of_table(table)], context)
    assert of_table.table.equals(of_rows.table)
    assert of_table.source_index == of_rows.source_index
    assert _found(of_table.errors) == _found(of_rows.errors)
    assert of_table.unmapped_fields == of_rows.unmapped_fields


def test_chunks_and_slices_of_a_table_are_read() -> None:
    """Neither chunks, nor large text, nor a slice change what a row is."""
    chunks = [pa.array(["a", None]), pa.array(["b"])]
    table = pa.table({"x": pa.chunked_array(chunks).cast(pa.large_string()), "n": [1, 2, 3]})
    rows = RawColumns.of_table(table)
    assert list(rows) == [{"x": "a", "n": 1}, {"n": 2}, {"x": "b", "n": 3}]
    assert list(rows[1:]) == [{"n": 2}, {"x": "b", "n": 3}]
    assert list(rows[::-2]) == [{"x": "b", "n": 3}, {"x": "a", "n": 1}]


def _found(errors: Sequence[RowError]) -> list[tuple[int, str, str]]:
    return sorted((it.index, it.field, it.code) for it in errors)


def test_a_row_is_seen_without_what_it_does_not_have() -> None:
    """Fields without a value are not in a row, and columns without one not in any."""
    rows = RawColumns(2, {"a.b": [1, None], "c": [None, "x"], "d": [None, None]})
    assert list(rows) == [{"a.b": 1}, {"c": "x"}]
    assert rows[-1] == {"c": "x"}
    assert list(rows[1:]) == [{"c": "x"}]
    assert list(rows.names) == ["a.b", "c"]
    with pytest.raises(IndexError):
        rows[2]


def test_columns_of_another_length_are_refused() -> None:
    """A column that is too short would move all values behind it."""
    with pytest.raises(ValueError, match="1 values of a for 2 rows"):
        RawColumns(2, {"a": [1]})
