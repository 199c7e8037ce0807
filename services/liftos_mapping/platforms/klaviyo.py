"""Klaviyo Reporting API: rows of campaign-values-reports and flow-series-reports.

Statistics are floats. Campaign reports have no date: the day of the report's timeframe comes with
the call. Flow series hold a list for each statistic, one value per date of `date_times`, which
stand beside the results in the answer and so come with the call, or are put on the row.

Reports are dated by the message's sending (date basis SEND). Values from metric aggregates are
dated by the event: pass EVENT in the context, as these are different numbers of the same names.

E-mail has no spend: `text_message_spend` is money for text messages only, so spend stays unset
for e-mail and push even where Klaviyo fills in 0.

E-mail that does not arrive has bounced, a text message has failed: `bounced_or_failed` counts
both, while `bounced` is 0 for text messages.
"""

from typing import Final

from liftos_mapping.mapping import (
    BreakdownRule,
    ColumnRule,
    LevelRule,
    PlatformMapping,
    SeriesRule,
    UnsetWhere,
)

_WITHOUT_SPEND: Final = UnsetWhere(
    "channel", frozenset({"email", "push", "push-notification", "mobile-push", "mobile_push"})
)


def _grouping(target: str, conversion: str, *names: str) -> ColumnRule:
    """What rows are grouped by: under `groupings.` or, in flat rows, under its bare name."""
    return ColumnRule(target, (*(f"groupings.{name}" for name in names), *names), conversion)


def _statistic(
    target: str, conversion: str, *names: str, unset_where: UnsetWhere | None = None
) -> ColumnRule:
    """A statistic: under `statistics.` or, in flat rows, under its bare name."""
    sources = (*(f"statistics.{name}" for name in names), *names)
    return ColumnRule(target, sources, conversion, unset_where=unset_where)


MAPPING: Final = PlatformMapping(
    platform="klaviyo",
    version=1,
    date_basis="SEND",
    levels=(
        LevelRule("MESSAGE", "message_id"),
        LevelRule("FLOW", "flow_id"),
        LevelRule("CAMPAIGN", "campaign_id"),
    ),
    columns=(
        ColumnRule("date", ("date",), "date@1"),
        ColumnRule("account_id", ("account_id",), "text_id@1"),
        ColumnRule("account_name", ("account_name",), "text@1"),
        _grouping("campaign_id", "text_id@1", "campaign_id"),
        _grouping("flow_id", "text_id@1", "flow_id"),
        _grouping(
            "message_id", "text_id@1", "campaign_message_id", "flow_message_id", "message_id"
        ),
        _grouping("campaign_name", "text@1", "campaign_name"),
        _grouping("flow_name", "text@1", "flow_name"),
        _grouping(
            "message_name",
            "text@1",
            "campaign_message_name",
            "flow_message_name",
            "message_name",
        ),
        _grouping("channel", "text@1", "send_channel"),
        ColumnRule("currency_code", ("preferred_currency", "currency_code"), "currency@1"),
        ColumnRule("time_zone", ("timezone", "time_zone"), "text@1"),
        _statistic("sent", "integer@1", "recipients", "sent"),
        _statistic("delivered", "integer@1", "delivered"),
        _statistic("opened", "integer@1", "opens", "opened"),
        _statistic("unique_opened", "integer@1", "opens_unique", "unique_opened"),
        _statistic("clicked", "integer@1", "clicks", "clicked"),
        _statistic("unique_clicked", "integer@1", "clicks_unique", "unique_clicked"),
        _statistic("bounced", "integer@1", "bounced_or_failed", "bounced"),
        _statistic("spam_complaints", "integer@1", "spam_complaints"),
        _statistic("unsubscribed", "integer@1", "unsubscribes", "unsubscribed"),
        _statistic("conversions_micros", "decimal_to_micros@1", "conversions"),
        _statistic("revenue_micros", "decimal_to_micros@1", "conversion_value"),
        _statistic(
            "spend_micros",
            "decimal_to_micros@1",
            "text_message_spend",
            unset_where=_WITHOUT_SPEND,
        ),
    ),
    breakdowns=BreakdownRule(groups=("groupings",)),
    series=SeriesRule(values="statistics", dates="date_times", date="date"),
)
"""Campaign messages and flow messages, one day each."""
