"""Concepts: what an object is like, in twelve named dimensions, and how close that is to a wish.

Each dimension is measured by the first of its measures that an object has, and placed among the
objects of its org and level that are measured alike: money in one currency with money in that
currency, rates of ads with rates of ads. The place is the mid-rank percentile (rank - 1/2) / n,
above 0 and below 1; alone among its like an object stands at 1/2.

How close an object is to a wish over some dimensions is 1 minus the root mean square of its
distances there, 0 to 1. What is not known of an object lies farthest off.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from liftos_memory.domain.derived_metrics import derive
from liftos_memory.domain.documents import ObjectProfileFacts


class Dimension(Enum):
    """One way in which objects differ; the names are those of the contract."""

    SCALE = "scale"
    REACH = "reach"
    EFFICIENCY = "efficiency"
    ENGAGEMENT = "engagement"
    CONVERSION = "conversion"
    VALUE = "value"
    PRICE = "price"
    GROWTH = "growth"
    VOLATILITY = "volatility"
    SEASONALITY = "seasonality"
    RECENCY = "recency"
    LONGEVITY = "longevity"


DIMENSIONS: Final = tuple(Dimension)
"""In the order in which they are stored."""

Targets = Mapping[Dimension, float]
"""What is wished for: percentiles by dimension, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What was measured, such as "roas" or "spend a week in USD", and how much."""

    basis: str
    value: float


@dataclass(frozen=True, slots=True)
class Concept:
    """Where an object stands in a dimension.

    Attributes:
        dimension: The dimension.
        percentile: Above 0, below 1.
        basis: What was measured.
    """

    dimension: Dimension
    percentile: float
    basis: str


def measure(facts: ObjectProfileFacts) -> Mapping[Dimension, Measure]:
    """Return what is known of an object by dimension; dimensions without data are absent."""
    found: dict[Dimension, Measure] = {}
    for dimension, basis, value in _candidates(facts):
        if value is not None:
            found.setdefault(dimension, Measure(basis, value))
    return found


def percentiles(
    levels: Sequence[int], bases: Sequence[Sequence[str]], values: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return where objects stand, shape (objects, dimensions); NaN where they have no measure.

    Args:
        levels: Each object's level.
        bases: What was measured of each object by dimension; only equal ones are compared.
        values: The measures, shape (objects, dimensions); NaN where there is none.
    """
    places = np.full(values.shape, np.nan)
    names = np.array(bases, dtype=object).reshape(values.shape)
    for column in range(values.shape[1]):
        frame = pd.DataFrame(
            {"level": levels, "basis": names[:, column], "value": values[:, column]}
        ).dropna(subset=["value"])
        groups = frame.groupby(["level", "basis"], sort=False)["value"]
        mid_ranks = (groups.rank(method="average") - 0.5) / groups.transform("count")
        places[frame.index, column] = mid_ranks
    return places


def explain_concepts(concepts: Sequence[Concept], targets: Targets) -> str:
    """Say where an object stands in the dimensions that were named, such as `scale 0.91 (of 1)`."""
    places = {concept.dimension: concept.percentile for concept in concepts}
    return ", ".join(
        f"{dimension.value} {places[dimension]:.2f}"
        if dimension in places
        else f"{dimension.value} not known"
        for dimension in targets
    )


def explain_targets(targets: Targets) -> str:
    """Say what was wished for, such as `high growth, scale near 0.40`."""
    return ", ".join(
        f"high {dimension.value}"
        if target == 1.0
        else f"low {dimension.value}"
        if target == 0.0
        else f"{dimension.value} near {target:.2f}"
        for dimension, target in targets.items()
    )


_Candidate = tuple[Dimension, str, float | None]

_FEWEST_MONTHS: Final = 6
"""Fewer months with data tell nothing of seasons."""


def _candidates(facts: ObjectProfileFacts) -> list[_Candidate]:
    """Return every measure, of each dimension the one to prefer first; None where it is unset."""
    sums = facts.sums
    ratios = derive(sums)
    money = f" in {facts.currency_code}" if facts.currency_code else ""
    weeks = max(facts.days_with_data, 1) / 7

    def weekly(name: str, unit: float = 1.0) -> float | None:
        value = sums.get(name)
        return None if value is None else value / unit / weeks

    def amount(value: float | None) -> float | None:
        # Money of unknown currency compares with nothing.
        return value if money else None

    cost = ratios["cost_per_conversion"]
    revenue, delivered = sums.get("revenue_micros"), sums.get("delivered")
    return [
        (Dimension.SCALE, f"spend a week{money}", amount(weekly("spend_micros", 1e6))),
        (Dimension.SCALE, "e-mails delivered a week", weekly("delivered")),
        (Dimension.SCALE, f"revenue a week{money}", amount(weekly("revenue_micros", 1e6))),
        (Dimension.SCALE, "impressions a week", weekly("impressions")),
        (Dimension.SCALE, "value a week", weekly("value_micros", 1e6)),
        (Dimension.REACH, "impressions a week", weekly("impressions")),
        (Dimension.REACH, "e-mails delivered a week", weekly("delivered")),
        (Dimension.EFFICIENCY, "roas", ratios["roas"]),
        (Dimension.EFFICIENCY, f"conversions per unit{money}", amount(1 / cost if cost else None)),
        (
            Dimension.EFFICIENCY,
            f"revenue per e-mail{money}",
            amount(revenue / 1e6 / delivered if revenue is not None and delivered else None),
        ),
        (Dimension.ENGAGEMENT, "ctr", ratios["ctr"]),
        (Dimension.ENGAGEMENT, "click_rate", ratios["click_rate"]),
        (Dimension.ENGAGEMENT, "open_rate", ratios["open_rate"]),
        (Dimension.CONVERSION, "conversion_rate", ratios["conversion_rate"]),
        (
            Dimension.VALUE,
            f"average_order_value{money}",
            amount(ratios["average_order_value"]),
        ),
        (Dimension.PRICE, f"cpc{money}", amount(ratios["cpc"])),
        (Dimension.PRICE, f"cpm{money}", amount(ratios["cpm"])),
        (Dimension.GROWTH, "last 4 weeks against the 4 before", _growth(facts)),
        (Dimension.VOLATILITY, "variation of weeks", facts.weekly_variation),
        (Dimension.SEASONALITY, "strongest month against an average one", _peak(facts)),
        (Dimension.RECENCY, "last day", float((facts.last_date - date.min).days)),
        (Dimension.LONGEVITY, "days from first to last", _life_days(facts)),
    ]


def _growth(facts: ObjectProfileFacts) -> float | None:
    if not facts.prior_activity or facts.recent_activity is None:
        return None
    return facts.recent_activity / facts.prior_activity - 1


def _peak(facts: ObjectProfileFacts) -> float | None:
    sizes = list(facts.activity_by_month.values())
    if len(sizes) < _FEWEST_MONTHS or sum(sizes) <= 0:
        return None
    return max(sizes) * len(sizes) / sum(sizes)


def _life_days(facts: ObjectProfileFacts) -> float:
    return float((facts.last_date - facts.first_date).days + 1)
