"""Meta Marketing API: rows of Insights, one day each (`time_increment=1`).

Every metric is a decimal string; money is in major units of `account_currency`. Meta leaves out
what is zero or does not apply and does not say which, so an absent metric stays unset: a row
without `clicks` has no clicks measured, and a row whose `actions` hold no purchase has no
conversions measured. Nothing is filled with zeros here.

`purchase`, `omni_purchase` and `offsite_conversion.fb_pixel_purchase` report the same sales; one is
chosen by priority. All of them stay readable in `actions`, with the windows beside the default.

Each ad set credits conversions by its own `attribution_setting`, which can be changed and of which
a campaign has several. It is not what tells two rows of an object and a day apart, so it is no
`attribution_key`: an empty one says that the platform's own setting decided.
"""

from typing import Final

from liftos_mapping.mapping import (
    ActionListRule,
    ActionValueRule,
    BreakdownRule,
    ChosenActionRule,
    ColumnRule,
    LevelRule,
    PlatformMapping,
)

PURCHASE_ACTIONS: Final = (
    "omni_purchase",
    "purchase",
    "offsite_conversion.fb_pixel_purchase",
)
"""Action types that count a purchase, the most complete first."""

_BREAKDOWNS: Final = (
    "age",
    "gender",
    "country",
    "region",
    "dma",
    "comscore_market",
    "publisher_platform",
    "platform_position",
    "device_platform",
    "impression_device",
    "product_id",
    "frequency_value",
    "user_segment_key",
    "place_page_id",
    "hourly_stats_aggregated_by_advertiser_time_zone",
    "hourly_stats_aggregated_by_audience_time_zone",
)
_ASSET_BREAKDOWNS: Final = (
    "body_asset",
    "call_to_action_asset",
    "description_asset",
    "image_asset",
    "link_url_asset",
    "title_asset",
    "video_asset",
)

MAPPING: Final = PlatformMapping(
    platform="meta",
    version=2,
    date_basis="INTERACTION",
    levels=(
        LevelRule("AD", "ad_id"),
        LevelRule("AD_GROUP", "ad_group_id"),
        LevelRule("CAMPAIGN", "campaign_id"),
    ),
    columns=(
        ColumnRule("date", ("date_start", "date"), "date@1"),
        ColumnRule("account_id", ("account_id",), "meta_account_id@1"),
        ColumnRule("campaign_id", ("campaign_id",), "text_id@1"),
        ColumnRule("ad_group_id", ("adset_id",), "text_id@1"),
        ColumnRule("ad_id", ("ad_id",), "text_id@1"),
        ColumnRule("account_name", ("account_name",), "text@1"),
        ColumnRule("campaign_name", ("campaign_name",), "text@1"),
        ColumnRule("ad_group_name", ("adset_name",), "text@1"),
        ColumnRule("ad_name", ("ad_name",), "text@1"),
        ColumnRule("channel", ("publisher_platform",), "text@1"),
        ColumnRule("currency_code", ("account_currency",), "currency@1"),
        ColumnRule("time_zone", ("timezone_name",), "text@1"),
        ColumnRule("spend_micros", ("spend",), "decimal_to_micros@1"),
        ColumnRule("impressions", ("impressions",), "integer@1"),
        ColumnRule("clicks", ("clicks",), "integer@1"),
        ColumnRule("link_clicks", ("inline_link_clicks",), "integer@1"),
        ColumnRule("reach", ("reach",), "integer@1"),
        ColumnRule("unique_clicks", ("unique_clicks",), "integer@1"),
        ColumnRule("frequency", ("frequency",), "positive_real@1"),
    ),
    action_values=(
        ActionValueRule("video_views", "video_play_actions", ("video_view",), "integer@1"),
        ActionValueRule(
            "video_completions", "video_p100_watched_actions", ("video_view",), "integer@1"
        ),
    ),
    chosen_action=ChosenActionRule(
        count_target="conversions_micros",
        value_target="revenue_micros",
        counts="actions",
        values="action_values",
        action_types=PURCHASE_ACTIONS,
    ),
    action_list=ActionListRule(
        counts="actions",
        values="action_values",
        others=(
            "outbound_clicks",
            "video_thruplay_watched_actions",
            "video_p25_watched_actions",
            "video_p50_watched_actions",
            "video_p75_watched_actions",
        ),
    ),
    breakdowns=BreakdownRule(
        fields=(
            *((name, name) for name in _BREAKDOWNS),
            *((f"{name}.id", name) for name in _ASSET_BREAKDOWNS),
        )
    ),
    same_day=("date_start", "date_stop"),
)
"""Insights rows of any level; `level` in the call decides what Meta sends."""
