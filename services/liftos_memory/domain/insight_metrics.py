"""The metrics in which insights are looked for, and what is special about each."""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Unit(Enum):
    """What a number of a metric is."""

    COUNT = "count"
    MONEY = "money"
    SHARE = "share"
    """A fraction, told in percent."""
    FACTOR = "factor"


@dataclass(frozen=True, slots=True)
class InsightMetric:
    """One metric.

    Attributes:
        name: In units, as frames have it: "spend", not micros.
        words: As texts have it.
        unit: What its numbers are.
        numerator: The additive column.
        denominator: The column that it is divided by; empty for an additive metric.
        events: The column that counts the events whose chance scatters the metric; empty for none,
            as for spend, which somebody decides.
        divisor: What numerator over denominator is divided by to be in units.
        least_denominator: A step with less below the line is not judged.
        is_late: Whether platforms add to its numerator for days afterwards.
    """

    name: str
    words: str
    unit: Unit
    numerator: str
    denominator: str = ""
    events: str = ""
    divisor: float = 1.0
    least_denominator: float = 0.0
    is_late: bool = False

    @property
    def has_money(self) -> bool:
        """Whether its numbers depend on a currency: also of revenue over spend, which share one."""
        return self.unit in (Unit.MONEY, Unit.FACTOR)

    @property
    def is_share(self) -> bool:
        """Whether the numerator counts part of the denominator."""
        return self.unit is Unit.SHARE


_COUNT, _MONEY, _SHARE = Unit.COUNT, Unit.MONEY, Unit.SHARE
_CONVERSIONS: Final = "conversions_micros"

INSIGHT_METRICS: Final = (
    InsightMetric("spend", "spend", _MONEY, "spend_micros", divisor=1e6),
    InsightMetric("impressions", "impressions", _COUNT, "impressions", events="impressions"),
    InsightMetric("clicks", "clicks", _COUNT, "clicks", events="clicks"),
    InsightMetric(
        "conversions", "conversions", _COUNT, _CONVERSIONS, "", _CONVERSIONS, 1e6, is_late=True
    ),
    InsightMetric(
        "revenue", "revenue", _MONEY, "revenue_micros", "", _CONVERSIONS, 1e6, is_late=True
    ),
    InsightMetric("orders", "orders", _COUNT, "orders", events="orders"),
    InsightMetric("delivered", "delivered messages", _COUNT, "delivered", events="delivered"),
    InsightMetric(
        "ctr", "click-through rate", _SHARE, "clicks", "impressions", "clicks", 1.0, 1_000
    ),
    InsightMetric(
        "cpc", "cost per click", _MONEY, "spend_micros", "clicks", "clicks", 1e6, 30
    ),
    InsightMetric(
        "cpm", "cost per thousand impressions", _MONEY, "spend_micros", "impressions",
        "impressions", 1e3, 1_000,
    ),
    InsightMetric(
        "conversion_rate", "conversion rate", _SHARE, _CONVERSIONS, "clicks", _CONVERSIONS, 1e6,
        30, is_late=True,
    ),
    InsightMetric(
        "cost_per_conversion", "cost per conversion", _MONEY, "spend_micros", _CONVERSIONS,
        _CONVERSIONS, 1.0, 5e6,
    ),
    InsightMetric(
        "roas", "return on ad spend", Unit.FACTOR, "revenue_micros", "spend_micros", _CONVERSIONS,
        1.0, 1e6, is_late=True,
    ),
    InsightMetric("open_rate", "open rate", _SHARE, "opened", "delivered", "opened", 1.0, 100),
    InsightMetric("click_rate", "click rate", _SHARE, "clicked", "delivered", "clicked", 1.0, 100),
    InsightMetric(
        "unsubscribe_rate", "unsubscribe rate", _SHARE, "unsubscribed", "delivered",
        "unsubscribed", 1.0, 100,
    ),
    InsightMetric("bounce_rate", "bounce rate", _SHARE, "bounced", "sent", "bounced", 1.0, 100),
)  # fmt: skip
"""Every metric, in the order in which findings of one object are told."""

METRICS_BY_NAME: Final = {metric.name: metric for metric in INSIGHT_METRICS}

SUMMED_COLUMNS: Final = tuple(
    dict.fromkeys(
        column
        for metric in INSIGHT_METRICS
        for column in (metric.numerator, metric.denominator, metric.events)
        if column
    )
)
"""Additive columns that the metrics need."""

EVENT_SIZE: Final = {_CONVERSIONS: 1e6}
"""What one event is in columns that do not count ones."""
