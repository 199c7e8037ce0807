"""Google Ads rows in every spelling."""

import datetime as dt
from typing import Any

import pytest

from liftos_mapping.errors import RowErrorCode
from liftos_mapping.transform import TransformContext, transform

CONTEXT = TransformContext(account_id="111-222-3333", currency_code="EUR")


def entry(row: dict[str, Any], context: TransformContext = CONTEXT) -> dict[str, Any]:
    """The one entry of one row, without what is unset."""
    result = transform("google_ads", [row], context)
    assert result.errors == ()
    [only] = result.table.to_pylist()
    return {name: value for name, value in only.items() if value not in (None, "")}


def test_the_composed_proto_row(google_row: dict[str, Any]) -> None:
    """A proto-like row needs nothing from the context."""
    assert entry(google_row, TransformContext()) == {
        "date": dt.date(2026, 10, 1),
        "platform": "google_ads",
        "level": "CAMPAIGN",
        "account_id": "1112223333",
        "campaign_id": "77",
        "date_basis": "INTERACTION",
        "campaign_name": "Brand",
        "channel": "SEARCH",
        "currency_code": "EUR",
        "time_zone": "Europe/Paris",
        "spend_micros": 12_340_000,
        "revenue_micros": 118_900_000,
        "impressions": 901,
        "clicks": 33,
        "conversions_micros": 2_500_000,
        "video_views": 0,
    }
    assert transform("google_ads", [google_row]).unmapped_fields == ("campaign.status",)


def test_the_composed_rest_row(google_rest_row: dict[str, Any]) -> None:
    """camelCase, 64-bit integers as text and a context for account and currency."""
    assert entry(google_rest_row) == {
        "date": dt.date(2026, 10, 1),
        "platform": "google_ads",
        "level": "CAMPAIGN",
        "account_id": "1112223333",
        "campaign_id": "77",
        "date_basis": "INTERACTION",
        "campaign_name": "Brand",
        "currency_code": "EUR",
        "spend_micros": 12_340_000,
        "revenue_micros": 118_900_000,
        "clicks": 33,
        "conversions_micros": 2_500_000,
    }
    assert transform("google_ads", [google_rest_row], CONTEXT).unmapped_fields == ()


@pytest.mark.parametrize("cost", [2_500_000_000, "2500000000", 2_500_000_000.0])
@pytest.mark.parametrize("prefix", ["metrics.", ""])
def test_the_golden_figures(cost: object, prefix: str) -> None:
    """Cost as number or text, flat with or without the resource's name: 2500 EUR, value 4500."""
    row = {
        "campaign.id": 77,
        "segments.date": "2026-10-01",
        f"{prefix}cost_micros": cost,
        f"{prefix}impressions": "78000",
        f"{prefix}clicks": "1560",
        f"{prefix}conversions": 45.0,
        f"{prefix}conversions_value": 4500,
    }
    got = entry(row)
    assert got["spend_micros"] == 2_500_000_000
    assert got["revenue_micros"] == 4_500_000_000
    assert got["conversions_micros"] == 45_000_000
    assert (got["impressions"], got["clicks"]) == (78000, 1560)
    assert got["revenue_micros"] / got["spend_micros"] == 1.8


def test_fractional_conversions_are_kept(google_row: dict[str, Any]) -> None:
    """Credited fractions become micros and are never cut to whole conversions."""
    google_row["metrics"] |= {
        "conversions": 45.7,
        "all_conversions": 50.333333333,
        "view_through_conversions": "3",
    }
    got = entry(google_row)
    assert got["conversions_micros"] == 45_700_000
    assert got["all_conversions_micros"] == 50_333_333
    assert got["view_through_conversions_micros"] == 3_000_000


def test_old_and_new_names_of_video_views(google_row: dict[str, Any]) -> None:
    """The old name is read where the new one is missing; the new one wins."""
    old = google_row | {"metrics": {"video_views": "12"}}
    both = google_row | {"metrics": {"video_views": "12", "video_trueview_views": "13"}}
    assert entry(old)["video_views"] == 12
    assert entry(both)["video_views"] == 13


def test_video_completions_come_from_the_quartile(google_row: dict[str, Any]) -> None:
    """The share of impressions that played to the end is a count; above 1 it is an error."""
    google_row["metrics"]["video_quartile_p100_rate"] = 0.25
    assert entry(google_row)["video_completions"] == 225
    google_row["metrics"]["video_quartile_p100_rate"] = 25
    [error] = transform("google_ads", [google_row]).errors
    assert error.code is RowErrorCode.OUT_OF_RANGE
    assert error.field == "metrics.video_quartile_p100_rate"


def test_removed_campaigns_and_levels(google_row: dict[str, Any]) -> None:
    """A removed campaign's row is a row; ad groups and ads have the level of their ids."""
    google_row["campaign"]["status"] = "REMOVED"
    assert entry(google_row)["level"] == "CAMPAIGN"
    google_row["ad_group"] = {"id": 5, "name": "G"}
    assert entry(google_row)["level"] == "AD_GROUP"
    google_row["ad_group_ad"] = {"ad": {"id": 6, "name": "A"}}
    got = entry(google_row)
    assert (got["level"], got["ad_group_id"], got["ad_id"]) == ("AD", "5", "6")
    customer = {key: value for key, value in google_row.items() if not key.startswith(("c", "ad"))}
    assert entry(customer)["level"] == "ACCOUNT"


def test_segments_split_rows_and_time_does_not(google_rest_row: dict[str, Any]) -> None:
    """Any segment but the parts of the date is a part of the key, also an unknown one."""
    google_rest_row["segments"] |= {"device": "MOBILE", "week": "2026-09-28", "newSegment": True}
    google_rest_row["adGroupCriterion"] = {"criterionId": "31"}
    google_rest_row["segments.adNetworkType"] = "SEARCH"
    assert entry(google_rest_row)["breakdown_key"] == (
        "ad_network_type=SEARCH&criterion=31&device=MOBILE&new_segment=true"
    )


def test_conversion_date_holds_conversions_only(google_row: dict[str, Any]) -> None:
    """By conversion date only conversions are read; the rest belongs to other days."""
    google_row["metrics"] |= {
        "conversions_by_conversion_date": 1.25,
        "conversions_value_by_conversion_date": 10.5,
    }
    result = transform("google_ads", [google_row], TransformContext(date_basis="CONVERSION"))
    [got] = result.table.to_pylist()
    assert got["conversions_micros"] == 1_250_000
    assert got["revenue_micros"] == 10_500_000
    assert got["spend_micros"] is None
    assert got["date_basis"] == "CONVERSION"
    assert "metrics.cost_micros" in result.unmapped_fields
    by_interaction = transform("google_ads", [google_row])
    assert "metrics.conversions_by_conversion_date" in by_interaction.unmapped_fields
    assert entry(google_row)["conversions_micros"] == 2_500_000


def test_shares_and_quality(google_row: dict[str, Any]) -> None:
    """Impression shares and the quality score are kept for the row."""
    google_row["metrics"] |= {
        "search_impression_share": 0.0999,
        "search_rank_lost_impression_share": "0.9001",
        "historical_quality_score": "7",
    }
    got = entry(google_row)
    assert got["search_impression_share"] == 0.0999
    assert got["search_rank_lost_impression_share"] == 0.9001
    assert got["keyword_quality_score"] == 7.0


@pytest.mark.parametrize(
    ("change", "context", "field", "code"),
    [
        ({"metrics": 5}, CONTEXT, "metrics", RowErrorCode.WRONG_SHAPE),
        (
            {"metrics": {"cost_micros": 0.5}},
            CONTEXT,
            "metrics.cost_micros",
            RowErrorCode.NOT_WHOLE,
        ),
        (
            {"metrics": {"clicks": "1", "conversions": -1}},
            CONTEXT,
            "metrics.conversions",
            RowErrorCode.NEGATIVE,
        ),
        (
            {"metrics": {"cost_micros": 1, "costMicros": 2}},
            CONTEXT,
            "metrics.cost_micros",
            RowErrorCode.AMBIGUOUS,
        ),
        ({"campaign": {"id": 77.0}}, CONTEXT, "campaign.id", RowErrorCode.INEXACT_ID),
        ({"segments": {}}, CONTEXT, "segments.date", RowErrorCode.MISSING),
        ({"segments": {"date": "2026-10-01", "x": []}}, CONTEXT, "segments.x", "NOT_TEXT"),
        ({}, TransformContext(account_id="9"), "customer.id", RowErrorCode.ACCOUNT_MISMATCH),
        (
            {},
            TransformContext(currency_code="USD"),
            "customer.currency_code",
            RowErrorCode.CURRENCY_MISMATCH,
        ),
        ({}, TransformContext(level="ACCOUNT"), "campaign.id", RowErrorCode.LEVEL_MISMATCH),
        ({}, TransformContext(level="AD"), "ad_group_ad.ad.id", RowErrorCode.MISSING),
    ],
)
def test_bad_rows(
    google_row: dict[str, Any],
    change: dict[str, Any],
    context: TransformContext,
    field: str,
    code: RowErrorCode,
) -> None:
    """Each fault gives one error at its path and no entry."""
    result = transform("google_ads", [google_row | change], context)
    assert result.table.num_rows == 0
    assert [(error.field, error.code) for error in result.errors] == [(field, code)]
