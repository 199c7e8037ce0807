"""The marketing mix model finds what worlds of known truth were made of."""

from dataclasses import replace

import numpy as np
import pytest
from tests.unit.liftos_causal.worlds import CURVES, world

from liftos_causal.domain.attribution import credit
from liftos_causal.domain.beliefs import calibrations, conflicts
from liftos_causal.domain.mix_model import Parameters, Prior, fit, marginal_return
from liftos_causal.domain.panel import DataInsufficientError, Outcome, Panel
from liftos_causal.domain.validation import ValidationMethod, validated

_EVERYTHING = slice(None)


def test_intervals_of_shares_hold_the_truth_as_often_as_they_promise() -> None:
    """Of 10 worlds with four channels each at least nine tenths of the true shares lie inside."""
    inside = []
    for seed in range(10):
        drawn = world(seed)
        truth = drawn.effects.sum(axis=0) / drawn.effects.sum()
        found = credit(fit(drawn.panel, Parameters()), drawn.panel, _EVERYTHING)
        for each in found.channels:
            share = truth[drawn.panel.channels.index(each.channel)]
            inside.append(each.share.low <= share <= each.share.high)
    assert np.mean(inside) >= 0.9


def test_without_noise_the_model_predicts_every_day() -> None:
    """What is explained by curves, weekdays and level alone is explained to the unit."""
    drawn = world(3, noise=0.0)
    model = fit(drawn.panel, Parameters(), draw_count=0)
    real = drawn.panel.outcomes[Outcome.REVENUE]
    left = real - model.predicted(drawn.panel)
    assert float(left.std()) < 0.05 * float(real.std())


def test_the_same_seed_and_data_give_the_same_numbers() -> None:
    """Nothing is drawn that the seed does not decide."""
    panel = world(1, days=200).panel
    parameters = Parameters(seed=7)
    first, second = (credit(fit(panel, parameters), panel, _EVERYTHING) for _ in range(2))
    assert first == second
    assert credit(fit(panel, replace(parameters, seed=8)), panel, _EVERYTHING) != first


def test_shares_add_up_and_credit_is_never_more_than_there_is() -> None:
    """Shares of channels sum to one; amounts sum to the attributed part of each outcome."""
    panel = world(2).panel
    days = slice(100, 400)
    found = credit(fit(panel, Parameters()), panel, days)
    assert sum(each.share.value for each in found.channels) == pytest.approx(1.0)
    for outcome, values in panel.outcomes.items():
        given = sum(each.amounts[outcome] for each in found.channels)
        assert given == pytest.approx((1 - found.unattributed_share) * values[days].sum())
    assert [each.share.value for each in found.channels] == sorted(
        (each.share.value for each in found.channels), reverse=True
    )


def test_no_more_is_credited_than_there_is() -> None:
    """Channels that explain more than all, over a baseline below zero, share what there is."""
    panel = world(2, level=-8_000.0).panel
    found = credit(fit(panel, Parameters()), panel, _EVERYTHING)
    assert found.unattributed_share == 0.0
    for outcome, values in panel.outcomes.items():
        given = sum(each.amounts[outcome] for each in found.channels)
        assert given == pytest.approx(float(values.sum()))


def test_a_channel_without_spend_gets_no_curve_and_one_without_effect_no_credit() -> None:
    """A silent channel is left out; a useless one may get little."""
    drawn = world(5, curves={**CURVES, "radio": replace(CURVES["tiktok"], coefficient=0.0)})
    spend = np.column_stack([drawn.panel.spend, np.zeros(len(drawn.panel))])
    panel = replace(drawn.panel, channels=(*drawn.panel.channels, "print"), spend=spend)
    found = credit(fit(panel, Parameters()), panel, _EVERYTHING)
    shares = {each.channel: each.share for each in found.channels}
    assert "print" not in shares
    assert shares["radio"].low < 0.05


def test_a_strong_belief_wins_and_a_weak_one_does_not() -> None:
    """A narrow prior moves the return to itself, a wide one leaves it where the data has it."""
    panel = world(4).panel
    at = panel.channels.index("meta")
    free = fit(panel, Parameters())
    narrow = fit(panel, Parameters(priors={"meta": Prior(0.2, 0.001)}))
    wide = fit(panel, Parameters(priors={"meta": Prior(0.2, 100.0)}))
    spent = panel.spend[:, at].sum()
    returns = [model.effects(panel)[:, at].sum() / spent for model in (free, narrow, wide)]
    assert returns[1] == pytest.approx(0.2, abs=0.02)
    assert returns[2] == pytest.approx(returns[0], rel=0.15)


def test_priors_far_from_the_data_are_in_conflict() -> None:
    """The true return is no conflict, ten times as much is one."""
    drawn = world(6)
    at = drawn.panel.channels.index("meta")
    truth = float(drawn.effects[:, at].sum() / drawn.panel.spend[:, at].sum())
    priors = {"meta": Prior(truth, truth / 4), "google_ads": Prior(20.0, 0.5)}
    found = conflicts(drawn.panel, Parameters(priors=priors))
    assert [(each.channel, each.conflict) for each in found] == [
        ("google_ads", True),
        ("meta", False),
    ]
    assert found[0].bayes_factor > 100 > found[1].bayes_factor
    assert found[0].posterior.value < 20.0


def test_intervals_are_calibrated() -> None:
    """Simulated from the model itself, true effects lie in their intervals as promised."""
    panel = world(8, days=180).panel
    results = calibrations(panel, fit(panel, Parameters()), simulation_count=25, seed=1)
    assert {each.channel for each in results} == set(CURVES)
    for each in results:
        assert sum(each.rank_counts) == 25
        assert each.coverage >= 0.8


@pytest.mark.parametrize("method", list(ValidationMethod))
def test_unseen_days_are_predicted(method: ValidationMethod) -> None:
    """Whichever days are kept back, most of their variance is explained."""
    found = validated(world(9).panel, Parameters(), method)
    assert found.r_squared > 0.3
    assert 0 < found.mape < 0.15
    assert found.day_count >= 146


def test_the_marginal_return_falls_with_spend() -> None:
    """Each unit more gives less."""
    model = fit(world(10).panel, Parameters())
    returns = [marginal_return(model, 1, spend).value for spend in (0.0, 5_000.0, 50_000.0)]
    assert returns == sorted(returns, reverse=True)
    assert returns[0] > returns[2] > 0


def test_too_little_data_is_said() -> None:
    """Few days, no spend, a constant outcome or a missing series: each is told."""
    panel = world(0).panel
    at = slice(0, 40)
    few = Panel(
        panel.days[at],
        panel.channels,
        panel.spend[at],
        {name: values[at] for name, values in panel.outcomes.items()},
        {},
    )
    flat = {Outcome.REVENUE: np.ones(len(panel))}
    for broken, text in (
        (few, "40 days"),
        (replace(panel, spend=np.zeros_like(panel.spend)), "no channel spent"),
        (replace(panel, outcomes=flat), "the same on all days"),
    ):
        with pytest.raises(DataInsufficientError, match=text):
            fit(broken, Parameters())
    with pytest.raises(DataInsufficientError, match="no values of weather"):
        fit(panel, Parameters(controls=("weather",)))
