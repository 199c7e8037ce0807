"""How the API's metrics follow from what is known."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from liftos_platforms.truth import Metric

Number = int | float
Sums = Mapping[Metric, int]


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of one object over some days, as exact integers.

    Attributes:
        by_interaction: Dated by the interaction.
        by_conversion: Conversions and their value, dated by the conversion.
    """

    by_interaction: Sums
    by_conversion: Sums


@dataclass(frozen=True, slots=True)
class MetricRule:
    """A metric of the API.

    Attributes:
        value: Its value, None where the platform does not report it.
        is_by_conversion: Whether it is dated by the conversion.
    """

    value: Callable[[Figures], Number | None]
    is_by_conversion: bool = False


_MICROS: Final = 1_000_000
_REACH_KEPT: Final = 0.7
"""Of the people of several days, how many are at least different ones."""


def _count(metric: Metric) -> MetricRule:
    return MetricRule(lambda figures: figures.by_interaction.get(metric, 0))


def _major(metric: Metric) -> MetricRule:
    return MetricRule(lambda figures: figures.by_interaction.get(metric, 0) / _MICROS)


def _by_conversion(metric: Metric) -> MetricRule:
    return MetricRule(
        lambda figures: figures.by_conversion.get(metric, 0) / _MICROS, is_by_conversion=True
    )


def _ratio(numerator: MetricRule, denominator: MetricRule, factor: float = 1.0) -> MetricRule:
    def value(figures: Figures) -> Number | None:
        whole = denominator.value(figures)
        part = numerator.value(figures)
        return part * factor / whole if whole and part is not None else None

    return MetricRule(value)


def _view_through(figures: Figures) -> Number:
    return figures.by_interaction.get(Metric.VIEW_THROUGH_CONVERSIONS_MICROS, 0) // _MICROS


def _interactions(figures: Figures) -> Number:
    known = figures.by_interaction
    return known.get(Metric.CLICKS, 0) + known.get(Metric.VIDEO_VIEWS, 0)


def _rules() -> dict[str, MetricRule]:
    cost = _count(Metric.SPEND_MICROS)
    impressions = _count(Metric.IMPRESSIONS)
    clicks = _count(Metric.CLICKS)
    views = _count(Metric.VIDEO_VIEWS)
    interactions = MetricRule(_interactions)
    conversions = _major(Metric.CONVERSIONS_MICROS)
    value = _major(Metric.REVENUE_MICROS)
    reach = MetricRule(lambda figures: figures.by_interaction.get(Metric.REACH))
    return {
        "cost_micros": cost,
        "impressions": impressions,
        "clicks": clicks,
        "interactions": interactions,
        "conversions": conversions,
        "conversions_value": value,
        "all_conversions": _major(Metric.ALL_CONVERSIONS_MICROS),
        "all_conversions_value": _major(Metric.ALL_REVENUE_MICROS),
        "view_through_conversions": MetricRule(_view_through),
        "conversions_by_conversion_date": _by_conversion(Metric.CONVERSIONS_MICROS),
        "conversions_value_by_conversion_date": _by_conversion(Metric.REVENUE_MICROS),
        "all_conversions_by_conversion_date": _by_conversion(Metric.ALL_CONVERSIONS_MICROS),
        "all_conversions_value_by_conversion_date": _by_conversion(Metric.ALL_REVENUE_MICROS),
        "video_trueview_views": views,
        "unique_users": reach,
        "average_impression_frequency_per_user": _ratio(impressions, reach),
        "average_cost": _ratio(cost, interactions),
        "average_cpc": _ratio(cost, clicks),
        "average_cpm": _ratio(cost, impressions, 1000.0),
        "conversions_from_interactions_rate": _ratio(conversions, interactions),
        "cost_per_conversion": _ratio(cost, conversions),
        "ctr": _ratio(clicks, impressions),
        "interaction_rate": _ratio(interactions, impressions),
        "trueview_average_cpv": _ratio(cost, views),
        "value_per_conversion": _ratio(value, conversions),
        "video_quartile_p100_rate": _ratio(_count(Metric.VIDEO_COMPLETIONS), impressions),
        "video_trueview_view_rate": _ratio(views, impressions),
    }


METRICS: Final[Mapping[str, MetricRule]] = _rules()
"""The simulated metrics by their name below `metrics.`; those in money are in micros, except
values of conversions, which are in major units."""

REACH_METRICS: Final = ("unique_users", "average_impression_frequency_per_user")
"""Metrics that count people: for at most 92 days, and not for ads."""


def added(known: Iterable[Sums]) -> dict[Metric, int]:
    """Return the sums over several days or objects.

    People are not additive: of several days there are as many as on the best day, and at least
    seven tenths of the sum.
    """
    total: dict[Metric, int] = {}
    best = 0
    for sums in known:
        for metric, value in sums.items():
            total[metric] = total.get(metric, 0) + value
        best = max(best, sums.get(Metric.REACH, 0))
    if Metric.REACH in total:
        total[Metric.REACH] = max(best, int(total[Metric.REACH] * _REACH_KEPT))
    return total


@dataclass(slots=True)
class Totals:
    """Sums over rows that are not kept; how many people there are in all is not known."""

    by_interaction: dict[Metric, int] = field(default_factory=dict)
    by_conversion: dict[Metric, int] = field(default_factory=dict)

    def add(self, figures: Figures) -> None:
        """Add a row."""
        for total, sums in (
            (self.by_interaction, figures.by_interaction),
            (self.by_conversion, figures.by_conversion),
        ):
            for metric, value in sums.items():
                total[metric] = total.get(metric, 0) + value

    def figures(self) -> Figures:
        """Return the sums so far."""
        counted: dict[Metric, int] = {
            m: v for m, v in self.by_interaction.items() if m is not Metric.REACH
        }
        return Figures(counted, dict(self.by_conversion))
