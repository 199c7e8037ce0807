"""Returns by instruments and by experiments, where the truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from liftos_causal.domain.attribution import credit
from liftos_causal.domain.linear_models import MeasuredReturn, from_experiments, instrumented
from liftos_causal.domain.mix_model import Parameters, returned_per_spend
from liftos_causal.domain.panel import DataInsufficientError, Floats, Outcome, Panel

_TRUE = np.array([3.0, 1.5])


def _confounded(seed: int, *, strength: float = 400.0) -> Panel:
    """Draw days on which demand drives spend and revenue, and auctions drive spend alone."""
    generator = np.random.default_rng(seed)
    days = 400
    demand = generator.normal(0, 1, days)
    auctions = generator.normal(0, 1, (days, 2))
    spend = (
        5_000 + 500 * demand[:, None] + strength * auctions + generator.normal(0, 100, (days, 2))
    )
    revenue = 10_000 + spend @ _TRUE + 6_000 * demand + generator.normal(0, 500, days)
    return Panel(
        days=np.datetime64("2025-01-01") + np.arange(days),
        channels=("google_ads", "meta"),
        spend=spend,
        outcomes={Outcome.REVENUE: revenue},
        series={"auctions_google": auctions[:, 0], "auctions_meta": auctions[:, 1]},
    )


def _parameters(**changes: object) -> Parameters:
    named = Parameters(instruments=("auctions_google", "auctions_meta"))
    return replace(named, **changes)  # type: ignore[arg-type]


def _values(panel: Panel, parameters: Parameters) -> Floats:
    returns = returned_per_spend(instrumented(panel, parameters), panel)
    return np.array([each.value for each in returns])


def test_instruments_see_through_what_drives_both() -> None:
    """Demand raises spend and revenue; instruments find what spend alone does."""
    found = np.array([_values(_confounded(seed), _parameters()) for seed in range(20)])
    assert np.abs(found.mean(axis=0) - _TRUE).max() < 0.15
    panel = _confounded(0)
    naive = np.polyfit(panel.spend[:, 0], panel.outcomes[Outcome.REVENUE], 1)[0]
    assert naive > _TRUE[0] + 2, "demand makes spend look better than it is"


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """At 95 %, over sixty worlds."""
    held = []
    for seed in range(60):
        panel = _confounded(seed)
        returns = returned_per_spend(instrumented(panel, _parameters()), panel)
        held += [each.low <= true <= each.high for each, true in zip(returns, _TRUE, strict=True)]
    assert 0.88 <= np.mean(held) <= 0.99


@pytest.mark.parametrize(
    ("panel", "instruments", "problem"),
    [
        (_confounded(1), ("auctions_google",), "2 channels spent, and 1 instruments are named"),
        (_confounded(1, strength=2.0), ("auctions_google", "auctions_meta"), "hardly move"),
        (_confounded(1), ("auctions_google", "unknown"), "no values of unknown"),
    ],
)
def test_instruments_that_say_nothing_are_refused(
    panel: Panel, instruments: tuple[str, ...], problem: str
) -> None:
    """Too few, too weak, or not stored."""
    with pytest.raises(DataInsufficientError, match=problem):
        instrumented(panel, _parameters(instruments=instruments))


def test_experiments_of_one_channel_weigh_by_their_precision() -> None:
    """And credit follows from their mean."""
    panel = _confounded(2)
    model = from_experiments(
        panel,
        Parameters(),
        [
            MeasuredReturn("meta", 2.0, 0.1),
            MeasuredReturn("meta", 5.0, 1.0),
            MeasuredReturn("tiktok", 9.0, 0.1),
        ],
    )
    (only,) = returned_per_spend(model, panel)
    assert [curve.channel for curve in model.curves] == ["meta"]
    assert only.value == pytest.approx((2.0 * 100 + 5.0) / 101)
    assert only.low == pytest.approx(only.value - 1.96 / np.sqrt(101), abs=0.03)
    given = credit(model, panel, slice(None))
    assert given.channels[0].amounts[Outcome.REVENUE] == pytest.approx(
        only.value * panel.spend[:, 1].sum(), rel=1e-6
    )


def test_experiments_about_nothing_that_spent_are_refused() -> None:
    """Nothing can be said then."""
    with pytest.raises(DataInsufficientError, match="no analysed experiment"):
        from_experiments(_confounded(3), Parameters(), [MeasuredReturn("tiktok", 9.0, 0.1)])


def test_a_return_below_nothing_is_nothing() -> None:
    """As in the mix model."""
    panel = _confounded(4)
    model = from_experiments(panel, Parameters(), [MeasuredReturn("meta", -2.0, 0.1)])
    (only,) = returned_per_spend(model, panel)
    assert (only.value, only.low, only.high) == (0.0, 0.0, 0.0)
