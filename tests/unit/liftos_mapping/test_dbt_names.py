"""The column names of dbt_ad_reporting, both ways."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_mapping.dbt_names import DbtLevelError, from_dbt, to_dbt
from liftos_mapping.entry_fields import ENTRY_SCHEMA
from liftos_mapping.errors import RowErrorCode
from liftos_mapping.transform import TransformContext, transform

DBT_COLUMNS = [
    "source_relation",
    "date_day",
    "platform",
    "account_id",
    "account_name",
    "campaign_id",
    "campaign_name",
    "ad_group_id",
    "ad_group_name",
    "ad_id",
    "ad_name",
    "clicks",
    "impressions",
    "spend",
    "conversions",
    "conversions_value",
]
ROW: dict[str, Any] = {
    "source_relation": "",
    "date_day": dt.date(2026, 1, 1),
    "platform": "facebook_ads",
    "account_id": "1",
    "account_name": "Shop",
    "campaign_id": "2",
    "campaign_name": "Autumn",
    "ad_group_id": None,
    "clicks": 3,
    "impressions": 100,
    "spend": Decimal("12.34"),
    "conversions": 2.5,
    "conversions_value": 99.9,
}


def test_entries_get_their_names(meta_row: dict[str, Any]) -> None:
    """Money and conversions are decimals in units; absent ids are null."""
    table = to_dbt(transform("meta", [meta_row]).table)
    assert table.column_names[: len(DBT_COLUMNS)] == DBT_COLUMNS
    [row] = table.to_pylist()
    assert row["spend"] == Decimal("53.39")
    assert row["conversions"] == 4
    assert row["conversions_value"] == Decimal("212.4")
    assert (row["platform"], row["date_day"]) == ("facebook_ads", dt.date(2026, 11, 1))
    assert (row["account_name"], row["currency"], row["level"]) == (None, "EUR", "AD")


def test_rows_become_entries() -> None:
    """A report's row, with its currency from the context as the report has none."""
    result = from_dbt([ROW], TransformContext(currency_code="USD"))
    [got] = result.table.to_pylist()
    assert (got["platform"], got["level"], got["currency_code"]) == ("meta", "CAMPAIGN", "USD")
    assert got["spend_micros"] == 12_340_000
    assert got["conversions_micros"] == 2_500_000
    assert got["revenue_micros"] == 99_900_000
    assert result.unmapped_fields == ("source_relation",)


def test_the_setting_of_an_ad_set_is_no_key() -> None:
    """It describes the row; what credits conversions goes both ways under its own name."""
    rows = [ROW | {"attribution_setting": "7d_click_1d_view"}, ROW | {"attribution_key": "28d"}]
    result = from_dbt(rows, TransformContext(currency_code="USD"))
    assert result.table["attribution_key"].to_pylist() == ["", "28d"]
    assert result.unmapped_fields == ("attribution_setting", "source_relation")
    assert to_dbt(result.table)["attribution_key"].to_pylist() == [None, "28d"]


def test_finer_reports_stay_apart() -> None:
    """Keywords, searches, URLs and places split rows and are a part of the key."""
    row = ROW | {"keyword_text": "shoes", "keyword_match_type": "EXACT", "utm_source": "a&b"}
    [got] = from_dbt([row], TransformContext(currency_code="USD")).table.to_pylist()
    assert got["breakdown_key"] == "keyword_match_type=EXACT&keyword_text=shoes&utm_source=a%26b"


@pytest.mark.parametrize(
    ("change", "context", "field", "code"),
    [
        ({}, TransformContext(), "currency", RowErrorCode.MISSING),
        ({"currency": "USD"}, TransformContext(currency_code="EUR"), "currency", None),
        ({"currency": "USD", "platform": None}, None, "platform", RowErrorCode.MISSING),
        ({"currency": "USD", "level": "KEYWORD"}, None, "level", RowErrorCode.LEVEL_MISMATCH),
        ({"currency": "USD", "conversion_date_basis": "X"}, None, "conversion_date_basis", None),
        ({"currency": "USD", "is_final": "yes"}, None, "is_final", RowErrorCode.NOT_A_BOOLEAN),
    ],
)
def test_bad_rows(
    change: dict[str, Any],
    context: TransformContext | None,
    field: str,
    code: RowErrorCode | None,
) -> None:
    """Each fault gives one error at its column and no entry."""
    result = from_dbt([ROW | change], context)
    assert result.table.num_rows == 0
    [error] = result.errors
    assert error.field == field
    assert code is None or error.code is code


def test_levels_without_a_name_are_refused(klaviyo_row: dict[str, Any]) -> None:
    """E-mail entries are not emitted as if they were ads, and not dropped either."""
    context = TransformContext(account_id="K", currency_code="EUR", date="2026-11-01")
    entries = transform("klaviyo", [klaviyo_row], context).table
    with pytest.raises(DbtLevelError, match="MESSAGE") as caught:
        to_dbt(entries)
    assert caught.value.levels == ("MESSAGE",)


@given(
    spend=st.none() | st.integers(0, 2**63 - 1),
    revenue=st.none() | st.integers(0, 2**63 - 1),
    clicks=st.none() | st.integers(0, 2**63 - 1),
    final=st.none() | st.booleans(),
    basis=st.sampled_from(["INTERACTION", "CONVERSION"]),
)
def test_the_way_there_and_back_changes_nothing(
    spend: int | None, revenue: int | None, clicks: int | None, final: bool | None, basis: str
) -> None:
    """Entries of ad levels come back from their dbt names exactly, to the last micro."""
    context = TransformContext(currency_code="USD", final=final, date_basis=basis)
    entries = from_dbt([ROW], context).table
    for name, value in (("spend_micros", spend), ("revenue_micros", revenue), ("clicks", clicks)):
        position = ENTRY_SCHEMA.get_field_index(name)
        entries = entries.set_column(position, ENTRY_SCHEMA.field(name), pa.array([value], "int64"))
    assert from_dbt(to_dbt(entries)).table.equals(entries)


def test_columns_left_out_are_null() -> None:
    """A batch may leave out columns; they are null under their dbt names."""
    entries = pa.table({"level": ["ACCOUNT"], "spend_micros": pa.array([1], pa.int64())})
    [row] = to_dbt(entries).to_pylist()
    assert row["spend"] == Decimal("0.000001")
    assert row["clicks"] is None
