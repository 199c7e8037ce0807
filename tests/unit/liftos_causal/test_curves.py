"""Curves: what is left of spend, and what it gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_causal.domain.curves import Curve, adstocked, carried


@given(
    spend=st.lists(st.floats(0, 1e6), min_size=1, max_size=60),
    decay=st.floats(0, 0.99),
    window=st.integers(1, 70),
)
def test_spend_is_left_by_its_definition(spend: list[float], decay: float, window: int) -> None:
    """Each day holds the spend of the days of its window, each by its age."""
    expected = [
        sum(spend[day - age] * decay**age for age in range(min(window, day + 1)))
        for day in range(len(spend))
    ]
    got = adstocked(np.array(spend), decay, window)
    assert got == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_what_is_carried_is_where_steady_spend_arrives() -> None:
    """After a window of equal days the adstock is that many days' worth."""
    steady = adstocked(np.full(40, 100.0), 0.6, 30)
    assert steady[-1] == pytest.approx(100 * float(carried(0.6, 30)))


@given(
    decay=st.floats(0, 0.9),
    half=st.floats(1, 1e5),
    coefficient=st.floats(0, 1e6),
    spend=st.floats(0.5, 1e5),
)
def test_the_marginal_is_the_slope_of_the_curve(
    decay: float, half: float, coefficient: float, spend: float
) -> None:
    """One more cent gives what the marginal says, and less than a cent before."""
    curve = Curve("meta", decay, 30, half, coefficient)
    step = spend * 1e-4
    slope = float(curve.outcome(spend + step) - curve.outcome(spend - step)) / (2 * step)
    assert curve.marginal(spend) == pytest.approx(slope, rel=1e-4, abs=1e-9)
    assert curve.marginal(spend) >= curve.marginal(spend * 2)
