"""Allocations are the best that the curves and limits allow."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_causal.domain.budget import (
    Bounds,
    ConstraintsConflictError,
    allocated,
    expected_outcome,
)
from liftos_causal.domain.curves import Curve


@st.composite
def _curves(draw: st.DrawFn) -> list[Curve]:
    count = draw(st.integers(1, 6))
    return [
        Curve(
            channel=f"channel-{number}",
            decay=draw(st.floats(0, 0.9)),
            window_days=30,
            half_saturation=draw(st.floats(10, 1e5)),
            coefficient=draw(st.floats(0, 1e6)),
        )
        for number in range(count)
    ]


@given(curves=_curves(), budget=st.floats(1, 1e6), seed=st.integers(0, 2**31))
def test_no_other_allocation_gives_more(curves: list[Curve], budget: float, seed: int) -> None:
    """Random allocations of the same budget never beat the best one."""
    best = allocated(curves, budget, {}, spend_all=True)
    assert float(best.sum()) == pytest.approx(budget, rel=1e-6)
    assert (best >= 0).all()
    reached = expected_outcome(curves, best)
    generator = np.random.default_rng(seed)
    for other in generator.dirichlet(np.ones(len(curves)), size=20) * budget:
        assert expected_outcome(curves, other) <= reached * (1 + 1e-6) + 1e-6


@given(curves=_curves(), budget=st.floats(1, 1e6), data=st.data())
def test_limits_are_kept(curves: list[Curve], budget: float, data: st.DataObject) -> None:
    """What a channel gets lies within its limits, and all is spent."""
    share = budget / len(curves)
    bounds = {
        curve.channel: Bounds(
            data.draw(st.floats(0, 1)) * share, (1 + data.draw(st.floats(0, 2))) * share
        )
        for curve in curves
    }
    spend = allocated(curves, budget, bounds, spend_all=True)
    for curve, given_spend in zip(curves, spend, strict=True):
        limit = bounds[curve.channel]
        assert limit.low * (1 - 1e-9) <= given_spend <= limit.high * (1 + 1e-9)
    assert float(spend.sum()) == pytest.approx(budget, rel=1e-6)


def test_what_does_not_pay_is_not_spent() -> None:
    """For the return on investment the last unit of each channel gives a unit back."""
    curve = Curve("meta", 0.0, 30, 100.0, 1_000.0)
    spend = allocated([curve], 1e6, {}, spend_all=False)
    assert curve.marginal(float(spend[0])) == pytest.approx(1.0)
    poor = Curve("meta", 0.0, 30, 100.0, 50.0)
    assert allocated([poor], 1e6, {}, spend_all=False)[0] == 0.0


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ({"meta": Bounds(200.0, 300.0)}, "minimums add up to 200.00"),
        ({"meta": Bounds(0.0, 50.0)}, "maximums allow 50.00"),
    ],
)
def test_limits_that_cannot_be_kept_are_told(bounds: dict[str, Bounds], text: str) -> None:
    """Neither more nor less than the budget is handed out in silence."""
    curve = Curve("meta", 0.0, 30, 100.0, 1_000.0)
    with pytest.raises(ConstraintsConflictError, match=text):
        allocated([curve], 100.0, bounds, spend_all=True)
