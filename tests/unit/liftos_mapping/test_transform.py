"""What holds for every platform."""

import datetime as dt
import time
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_mapping.entry_fields import ENTRY_SCHEMA, LEVELS, NATURAL_KEY
from liftos_mapping.errors import (
    MappingError,
    RowErrorCode,
    TransformContextError,
    UnknownPlatformError,
)
from liftos_mapping.mapping import ColumnRule, LevelRule, PlatformMapping
from liftos_mapping.platforms import PLATFORM_MAPPINGS
from liftos_mapping.transform import TransformContext, transform

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
ACTION_LISTS = st.lists(
    st.dictionaries(
        st.sampled_from(["action_type", "value", "7d_click", "default", "action_device"]),
        st.sampled_from(["purchase", "omni_purchase", "1", "2.5"]) | JSON_VALUES,
    ),
    max_size=3,
)


def raw_rows(platform: str) -> st.SearchStrategy[list[object]]:
    """Rows with the platform's own field names, nested or dotted, and any values."""
    paths = sorted(PLATFORM_MAPPINGS[platform].source_paths())
    heads = sorted({path.split(".")[0] for path in paths} | {"date_times"})
    tails = sorted({path.split(".")[-1] for path in paths})
    likely = st.sampled_from(["2026-11-01", "1", "EUR", 5.0, 7, "12.5", "email"])
    values = likely | JSON_VALUES | ACTION_LISTS | st.dictionaries(st.sampled_from(tails), likely)
    row = st.dictionaries(st.sampled_from([*heads, *paths, "surprise"]), values, max_size=8)
    return st.lists(row | JSON_VALUES, max_size=4)


@pytest.mark.parametrize("platform", sorted(PLATFORM_MAPPINGS))
@given(data=st.data())
def test_any_json_gives_entries_or_errors(platform: str, data: st.DataObject) -> None:
    """Whatever comes in, the schema holds and no row vanishes without an entry or an error."""
    rows = data.draw(raw_rows(platform))
    context = TransformContext(account_id="1", currency_code="EUR", date="2026-11-01")
    result = transform(platform, rows, context)
    assert result.table.schema == ENTRY_SCHEMA
    result.table.validate(full=True)
    assert len(result.source_index) == result.table.num_rows
    assert {*result.source_index, *(error.index for error in result.errors)} == set(
        range(len(rows))
    )
    for entry in result.table.to_pylist():
        assert all(entry[name] is not None for name in NATURAL_KEY)
        assert entry["level"] in LEVELS


@pytest.mark.parametrize("platform", sorted(PLATFORM_MAPPINGS))
def test_no_rows_are_no_entries(platform: str) -> None:
    """An empty call gives an empty table of the same schema."""
    result = transform(platform, [])
    assert result.table.schema == ENTRY_SCHEMA
    assert (result.table.num_rows, result.source_index, result.errors) == (0, [], ())


def test_an_unknown_platform_names_the_known_ones() -> None:
    """A platform without a mapping is the caller's error, not rows passed through."""
    with pytest.raises(UnknownPlatformError, match="dbt, google_ads, klaviyo, meta") as caught:
        transform("tiktok", [{}])
    assert caught.value.known == ("dbt", "google_ads", "klaviyo", "meta")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("level", "ADSET"),
        ("date_basis", "CLICK"),
        ("currency_code", "euro"),
        ("date", "yesterday"),
        ("time_zone", "Mars/X"),
        ("account_id", 5.0),
    ],
)
def test_a_bad_context_is_refused(field: str, value: Any) -> None:
    """A wrong word in the context fails the call and names its field."""
    with pytest.raises(TransformContextError) as caught:
        transform("meta", [], TransformContext(**{field: value}))
    assert caught.value.field == field


def test_the_context_stands_in_and_decides(meta_row: dict[str, Any]) -> None:
    """Rows win over the context in what they say; lineage and level come from the call."""
    context = TransformContext(
        account_id="act_1001",
        account_name="Shop",
        time_zone="Europe/Paris",
        attribution_key="other",
        date=dt.date(2020, 1, 1),
        level="AD",
        final=True,
    )
    [got] = transform("meta", [meta_row], context).table.to_pylist()
    assert got["account_name"] == "Shop"
    assert got["time_zone"] == "Europe/Paris"
    assert got["attribution_key"] == "other"
    assert got["date"] == dt.date(2026, 11, 1)
    assert got["final"] is True


@pytest.mark.parametrize("level", ["CAMPAIGN", "FLOW", "OUTCOME"])
def test_a_level_that_the_ids_contradict(meta_row: dict[str, Any], level: str) -> None:
    """An ad's row is not stored as a campaign's, where it would be summed with its siblings."""
    result = transform("meta", [meta_row], TransformContext(level=level))
    assert result.table.num_rows == 0
    assert RowErrorCode.LEVEL_MISMATCH in {error.code for error in result.errors}


def test_many_invented_names_stay_cheap() -> None:
    """A caller who invents a name for every field of every row costs no more than its input."""
    rows = [
        {"segments": {f"s{row}": 1}, **{f"x{row}_{name}": 1 for name in range(20)}}
        for row in range(4_000)
    ]
    started = time.perf_counter()
    result = transform("google_ads", rows, TransformContext(account_id="1", date="2026-11-01"))
    assert time.perf_counter() - started < 5
    assert result.table.num_rows == 4_000
    assert len(result.unmapped_fields) == 4_000 * 20
    assert result.table.column("breakdown_key")[7].as_py() == "s7=1"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (ColumnRule("spend", ("spend",), "decimal_to_micros@1"), "no column 'spend'"),
        (ColumnRule("clicks", ("clicks",), "integer@9"), "no conversion 'integer@9'"),
        (ColumnRule("clicks", ("clicks",), "text@1"), "does not give what clicks holds"),
        (ColumnRule("clicks", ("c",), "integer@1", date_bases=("CLICK",)), "no date basis"),
    ],
)
def test_a_mapping_is_checked_when_it_is_made(rule: ColumnRule, message: str) -> None:
    """A mapping that could not be evaluated cannot exist."""
    with pytest.raises(MappingError, match=message):
        PlatformMapping(
            platform="x", version=1, columns=(rule,), date_basis="INTERACTION", levels=()
        )


def test_a_level_rule_is_checked() -> None:
    """Levels and the ids that show them are those of the field table."""
    with pytest.raises(MappingError, match="no level"):
        PlatformMapping(
            platform="x",
            version=1,
            columns=(),
            date_basis="INTERACTION",
            levels=(LevelRule("ADSET", "ad_group_id"),),
        )


def test_the_table_is_one_chunk(meta_row: dict[str, Any]) -> None:
    """The table is ready to be one record batch."""
    table = transform("meta", [meta_row, meta_row | {"ad_id": "5"}]).table
    assert len(table.to_batches()) == 1
    assert isinstance(table, pa.Table)
