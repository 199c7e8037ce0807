"""Rows of the reports of dbt_ad_reporting."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from liftos_mapping.errors import RowErrorCode
from liftos_mapping.platforms.dbt import dbt_platform_name
from liftos_mapping.transform import TransformContext, transform

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


def test_rows_become_entries() -> None:
    """A report's row, with its currency from the context as the report has none."""
    result = transform("dbt", [ROW], TransformContext(currency_code="USD"))
    [got] = result.table.to_pylist()
    assert (got["platform"], got["level"], got["currency_code"]) == ("meta", "CAMPAIGN", "USD")
    assert got["spend_micros"] == 12_340_000
    assert got["conversions_micros"] == 2_500_000
    assert got["revenue_micros"] == 99_900_000
    assert result.unmapped_fields == ("source_relation",)


def test_the_setting_of_an_ad_set_is_no_key() -> None:
    """It describes the row; what credits conversions goes both ways under its own name."""
    rows = [ROW | {"attribution_setting": "7d_click_1d_view"}, ROW | {"attribution_key": "28d"}]
    result = transform("dbt", rows, TransformContext(currency_code="USD"))
    assert result.table["attribution_key"].to_pylist() == ["", "28d"]
    assert result.unmapped_fields == ("attribution_setting", "source_relation")


def test_finer_reports_stay_apart() -> None:
    """Keywords, searches, URLs and places split rows and are a part of the key."""
    row = ROW | {"keyword_text": "shoes", "keyword_match_type": "EXACT", "utm_source": "a&b"}
    [got] = transform("dbt", [row], TransformContext(currency_code="USD")).table.to_pylist()
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
    result = transform("dbt", [ROW | change], context)
    assert result.table.num_rows == 0
    [error] = result.errors
    assert error.field == field
    assert code is None or error.code is code


@pytest.mark.parametrize("as_text", [True, False])
def test_a_level_follows_from_its_ids(as_text: bool) -> None:
    """Account, ad group and ad reports need no level; text as in CSV is read like numbers."""
    rows = [
        ROW | {"campaign_id": None, "currency": "EUR"},
        ROW | {"ad_group_id": "3", "currency": "EUR"},
        ROW | {"ad_group_id": "3", "ad_id": "4", "currency": "EUR"},
    ]
    if as_text:
        rows = [{k: "" if v is None else str(v) for k, v in row.items()} for row in rows]
    result = transform("dbt", rows)
    assert result.errors == ()
    assert result.table["level"].to_pylist() == ["ACCOUNT", "AD_GROUP", "AD"]
    assert result.table["spend_micros"].to_pylist() == [12_340_000] * 3
    assert result.table["conversions_micros"].to_pylist() == [2_500_000] * 3


def test_platforms_have_their_names_there() -> None:
    """Facebook is meta here; a platform that has one name keeps it."""
    for theirs, ours in (("facebook_ads", "meta"), ("google_ads", "google_ads")):
        [entry] = transform(
            "dbt", [ROW | {"platform": theirs, "currency": "EUR"}]
        ).table.to_pylist()
        assert entry["platform"] == ours
        assert dbt_platform_name(ours) == theirs
