"""Google Ads API: rows of Search and SearchStream with `segments.date`.

Rows come as REST JSON (camelCase, int64 as text), as proto-like objects (snake_case) or flat with
dotted names; flat names without `metrics.` are read too. Money is in micros except
`conversions_value`, which is a double in major units. Conversions are fractional and dated by the
interaction, except in rows of the date basis CONVERSION, which hold conversions only: their clicks
and costs belong to another day. Rows of removed campaigns are rows like any other.
"""

from typing import Final

from liftos_mapping.mapping import (
    BreakdownRule,
    ColumnRule,
    LevelRule,
    PlatformMapping,
    ShareRule,
)

_INTERACTION: Final = ("INTERACTION",)
_CONVERSION: Final = ("CONVERSION",)


def _metric(
    target: str, conversion: str, *names: str, date_bases: tuple[str, ...] = _INTERACTION
) -> ColumnRule:
    """A metric under `metrics.` or, in flat rows, under its bare name."""
    sources = (*(f"metrics.{name}" for name in names), *names)
    return ColumnRule(target, sources, conversion, date_bases=date_bases)


MAPPING: Final = PlatformMapping(
    platform="google_ads",
    version=1,
    date_basis="INTERACTION",
    camel_case=True,
    levels=(
        LevelRule("AD", "ad_id"),
        LevelRule("AD_GROUP", "ad_group_id"),
        LevelRule("CAMPAIGN", "campaign_id"),
    ),
    columns=(
        ColumnRule("date", ("segments.date", "date"), "date@1"),
        ColumnRule(
            "account_id", ("customer.id", "customer_id", "account_id"), "google_customer_id@1"
        ),
        ColumnRule("campaign_id", ("campaign.id", "campaign_id"), "text_id@1"),
        ColumnRule("ad_group_id", ("ad_group.id", "ad_group_id"), "text_id@1"),
        ColumnRule("ad_id", ("ad_group_ad.ad.id", "ad_id"), "text_id@1"),
        ColumnRule("account_name", ("customer.descriptive_name", "account_name"), "text@1"),
        ColumnRule("campaign_name", ("campaign.name", "campaign_name"), "text@1"),
        ColumnRule("ad_group_name", ("ad_group.name", "ad_group_name"), "text@1"),
        ColumnRule("ad_name", ("ad_group_ad.ad.name", "ad_name"), "text@1"),
        ColumnRule(
            "channel",
            ("campaign.advertising_channel_type", "advertising_channel_type"),
            "text@1",
        ),
        ColumnRule("currency_code", ("customer.currency_code", "currency_code"), "currency@1"),
        ColumnRule("time_zone", ("customer.time_zone", "time_zone"), "text@1"),
        _metric("spend_micros", "micros@1", "cost_micros"),
        _metric("impressions", "integer@1", "impressions"),
        _metric("clicks", "integer@1", "clicks"),
        _metric("conversions_micros", "decimal_to_micros@1", "conversions"),
        _metric("revenue_micros", "decimal_to_micros@1", "conversions_value"),
        _metric("all_conversions_micros", "decimal_to_micros@1", "all_conversions"),
        _metric(
            "view_through_conversions_micros", "decimal_to_micros@1", "view_through_conversions"
        ),
        _metric("video_views", "integer@1", "video_trueview_views", "video_views"),
        _metric("reach", "integer@1", "unique_users"),
        _metric("frequency", "positive_real@1", "average_impression_frequency_per_user"),
        _metric("search_impression_share", "fraction@1", "search_impression_share"),
        _metric(
            "search_rank_lost_impression_share", "fraction@1", "search_rank_lost_impression_share"
        ),
        ColumnRule(
            "keyword_quality_score",
            (
                "metrics.historical_quality_score",
                "ad_group_criterion.quality_info.quality_score",
                "historical_quality_score",
            ),
            "positive_real@1",
            date_bases=_INTERACTION,
        ),
        _metric(
            "conversions_micros",
            "decimal_to_micros@1",
            "conversions_by_conversion_date",
            date_bases=_CONVERSION,
        ),
        _metric(
            "revenue_micros",
            "decimal_to_micros@1",
            "conversions_value_by_conversion_date",
            date_bases=_CONVERSION,
        ),
        _metric(
            "all_conversions_micros",
            "decimal_to_micros@1",
            "all_conversions_by_conversion_date",
            date_bases=_CONVERSION,
        ),
    ),
    shares=(
        ShareRule(
            "video_completions",
            share="metrics.video_quartile_p100_rate",
            whole="metrics.impressions",
            date_bases=_INTERACTION,
        ),
    ),
    breakdowns=BreakdownRule(
        fields=(
            ("ad_group_criterion.criterion_id", "criterion"),
            ("asset_group.id", "asset_group"),
        ),
        groups=("segments",),
        exempt=frozenset(
            {"date", "day_of_week", "week", "month", "month_of_year", "quarter", "year"}
        ),
    ),
    redundant=frozenset(
        {
            "customer.resource_name",
            "campaign.resource_name",
            "ad_group.resource_name",
            "ad_group_ad.resource_name",
            "ad_group_ad.ad.resource_name",
            "ad_group_criterion.resource_name",
            "asset_group.resource_name",
        }
    ),
)
"""Rows of customer, campaign, ad_group, ad_group_ad, keyword_view and asset_group."""
