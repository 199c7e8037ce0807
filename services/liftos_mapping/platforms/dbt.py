"""Rows of the reports of dbt_ad_reporting, in whose tables many warehouses keep advertising.

They name the platform of each row themselves. Beside the columns of that package may stand the ones
that it lacks and that numbers need to be compared at all: currency, report_timezone,
attribution_key, conversion_date_basis, level, breakdown_key and is_final.

An `attribution_setting` that a table may have describes an ad set of Meta, can change and does not
tell two rows apart; it is no `attribution_key`, and is listed as unmapped.
"""

from typing import Final

from liftos_mapping.conversions import DBT_PLATFORMS
from liftos_mapping.mapping import BreakdownRule, ColumnRule, LevelRule, PlatformMapping

DBT_METRICS: Final = {
    "clicks": "clicks",
    "impressions": "impressions",
    "spend": "spend_micros",
    "conversions": "conversions_micros",
    "conversions_value": "revenue_micros",
}
"""Columns of an entry by the names that dbt_ad_reporting has for metrics."""

_DBT_NAMES: Final = {ours: theirs for theirs, ours in DBT_PLATFORMS.items()}

_TEXT_NAMES: Final = {
    "account_id": "account_id",
    "account_name": "account_name",
    "campaign_id": "campaign_id",
    "campaign_name": "campaign_name",
    "ad_group_id": "ad_group_id",
    "ad_group_name": "ad_group_name",
    "ad_id": "ad_id",
    "ad_name": "ad_name",
}
_ADDED_NAMES: Final = {
    "currency": "currency_code",
    "report_timezone": "time_zone",
    "attribution_key": "attribution_key",
    "conversion_date_basis": "date_basis",
    "level": "level",
    "breakdown_key": "breakdown_key",
    "is_final": "final",
}
_ADDED_CONVERSIONS: Final = {"currency": "currency@1", "is_final": "boolean@1"}

_SPLITTING: Final = (
    "keyword_id",
    "keyword_text",
    "keyword_match_type",
    "search_query",
    "search_match_type",
    "base_url",
    "url_host",
    "url_path",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_content",
    "utm_term",
    "country",
    "region",
)

MAPPING: Final = PlatformMapping(
    platform=None,
    version=1,
    date_basis="INTERACTION",
    levels=(
        LevelRule("AD", "ad_id"),
        LevelRule("AD_GROUP", "ad_group_id"),
        LevelRule("CAMPAIGN", "campaign_id"),
    ),
    columns=(
        ColumnRule("date", ("date_day",), "date@1"),
        ColumnRule("platform", ("platform",), "dbt_platform@1"),
        *(
            ColumnRule(column, (name,), "text_id@1" if name.endswith("_id") else "text@1")
            for name, column in _TEXT_NAMES.items()
        ),
        *(
            ColumnRule(column, (name,), _ADDED_CONVERSIONS.get(name, "text@1"))
            for name, column in _ADDED_NAMES.items()
        ),
        *(
            ColumnRule(
                column,
                (name,),
                "decimal_to_micros@1" if column.endswith("_micros") else "integer@1",
            )
            for name, column in DBT_METRICS.items()
        ),
    ),
    breakdowns=BreakdownRule(fields=tuple((name, name) for name in _SPLITTING)),
)
"""Rows of dbt_ad_reporting's reports; keywords, searches, URLs and places are breakdowns."""


def dbt_platform_name(platform: str) -> str:
    """Return the name that dbt_ad_reporting has for a platform; others stay as they are."""
    return _DBT_NAMES.get(platform, platform)
