"""What follows from an attribution: where more or less spend pays, and what is not known yet."""

from typing import Final

import numpy as np

from liftos_causal.domain.mix_model import MixModel, marginal_draws, marginal_return
from liftos_causal.domain.panel import Outcome, Panel
from liftos_causal.domain.records import Recommendation

_STEP: Final = 0.1
"""Part by which spend is changed."""

_SURE: Final = 0.9


def recommendations(model: MixModel, panel: Panel, days: slice) -> tuple[Recommendation, ...]:
    """Return one recommendation for each channel that spent in these days, most worth first.

    More spend pays where one more unit returns more than itself; that can only be said of revenue.
    With other outcomes, spend moves to where one more unit gives more than it does on average.
    """
    assert model.draws is not None
    spend = model.spend(panel)[days].mean(axis=0)
    spending = [number for number in range(len(model.curves)) if spend[number] > 0]
    returns = {number: marginal_return(model, number, float(spend[number])) for number in spending}
    if model.parameters.outcome is Outcome.REVENUE:
        worth = 1.0
    elif returns:
        worth = float(np.mean([each.value for each in returns.values()]))
    found = []
    for number in spending:
        curve, marginal = model.curves[number], returns[number]
        slopes = marginal_draws(model, number, float(spend[number]))
        more = float((slopes > worth).mean())
        count = len(panel.days[days])
        if more >= _SURE or more <= 1 - _SURE:
            step = _STEP if more >= _SURE else -_STEP
            change = float(
                (curve.outcome(spend[number] * (1 + step)) - curve.outcome(spend[number])) * count
            )
            word, verb = ("INCREASE", "more") if step > 0 else ("DECREASE", "less")
            found.append(
                Recommendation(
                    code=f"{word}_SPEND",
                    channel=curve.channel,
                    text=(
                        f"One more unit of spend on {curve.channel} gives {marginal.value:.2f}"
                        f" ({marginal.low:.2f} to {marginal.high:.2f}); spend a tenth {verb}."
                    ),
                    expected_change=change,
                    confidence=max(more, 1 - more),
                )
            )
        else:
            found.append(
                Recommendation(
                    code="RUN_EXPERIMENT",
                    channel=curve.channel,
                    text=(
                        f"One more unit of spend on {curve.channel} gives between"
                        f" {marginal.low:.2f} and {marginal.high:.2f}, which says too little;"
                        " an experiment would tell."
                    ),
                    expected_change=None,
                    confidence=1 - abs(2 * more - 1),
                )
            )
    found.sort(key=lambda each: (-abs(each.expected_change or 0.0), each.channel))
    return tuple(found)
