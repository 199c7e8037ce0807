"""The best allocation of a budget on fitted curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from liftos_causal.domain.curves import Curve
from liftos_causal.domain.panel import Floats

_HALVINGS: Final = 200


class ConstraintsConflictError(Exception):
    """No allocation keeps the constraints; the text says why."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a channel may get a day, in currency."""

    low: float
    high: float


def allocated(
    curves: Sequence[Curve], daily_budget: float, bounds: Mapping[str, Bounds], *, spend_all: bool
) -> Floats:
    """Return the daily spend of each curve's channel that gives the most outcome.

    Each curve bends down only, so the best allocation gives all channels that are at no bound the
    same marginal outcome; that number is found by halving.

    Args:
        curves: What each channel does.
        daily_budget: What there is a day, in currency.
        bounds: By channel; a channel without any gets between nothing and all.
        spend_all: Whether all is spent also where a unit more gives less than a unit back.

    Raises:
        ConstraintsConflictError: the lower bounds need more than there is, or, where all is to be
            spent, the upper bounds allow less.
    """
    limits = [bounds.get(curve.channel, Bounds(0.0, daily_budget)) for curve in curves]
    low = np.array([limit.low for limit in limits])
    high = np.array([min(limit.high, daily_budget) for limit in limits])
    if low.sum() > daily_budget * (1 + 1e-9):
        raise ConstraintsConflictError(
            f"the minimums add up to {low.sum():,.2f} a day; there are {daily_budget:,.2f}"
        )
    if (low > high).any():
        raise ConstraintsConflictError("a channel's minimum is above what it may get at most")
    if spend_all and high.sum() < daily_budget * (1 - 1e-9):
        raise ConstraintsConflictError(
            f"the maximums allow {high.sum():,.2f} a day; {daily_budget:,.2f} are to be spent"
        )
    steepest = max((curve.marginal(0.0) for curve in curves), default=0.0)
    cheapest, dearest = (0.0 if spend_all else 1.0), steepest
    if not spend_all:
        spend = _at_marginal(curves, 1.0, low, high)
        if spend.sum() <= daily_budget:
            return spend
    for _ in range(_HALVINGS):
        middle = (cheapest + dearest) / 2
        if _at_marginal(curves, middle, low, high).sum() > daily_budget:
            cheapest = middle
        else:
            dearest = middle
    spend = _at_marginal(curves, dearest, low, high)
    if spend_all:
        spend = _topped_up(spend, daily_budget, high)
    return spend


def _topped_up(spend: Floats, daily_budget: float, high: Floats) -> Floats:
    """Hand out what is left where no channel gives anything for more, in proportion to room."""
    left = daily_budget - spend.sum()
    room = high - spend
    if left <= 0 or room.sum() <= 0:
        return spend
    topped: Floats = spend + room * min(left / float(room.sum()), 1.0)
    return topped


def _at_marginal(curves: Sequence[Curve], marginal: float, low: Floats, high: Floats) -> Floats:
    """Return the daily spend at which each curve gives `marginal` for one more unit."""
    spend = np.empty(len(curves))
    for number, curve in enumerate(curves):
        if marginal <= 0.0:
            spend[number] = high[number] if curve.coefficient > 0 else low[number]
            continue
        # coefficient * carried * half / (carried * x + half) ** 2 = marginal, solved for x
        kept = curve.carried
        reached = np.sqrt(curve.coefficient * kept * curve.half_saturation / marginal)
        spend[number] = (reached - curve.half_saturation) / kept
    return np.clip(spend, low, high)


def expected_outcome(curves: Sequence[Curve], daily_spend: Floats) -> float:
    """Return the outcome a day of an allocation."""
    return sum(
        float(curve.outcome(spend)) for curve, spend in zip(curves, daily_spend, strict=True)
    )
