"""Beliefs about returns: how far data contradicts them, what it makes of them, and calibration."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.stats import chisquare, norm

from liftos_causal.domain.curves import Estimate
from liftos_causal.domain.mix_model import MixModel, Parameters, Prior, fit, returned_per_spend
from liftos_causal.domain.panel import Floats, Panel

_CONFLICT: Final = 0.05
_BINS: Final = 10
_UNEVEN: Final = 0.01
_DRAWS: Final = 100


@dataclass(frozen=True, slots=True)
class Conflict:
    """How far data contradicts what was believed of one channel's return.

    Attributes:
        channel: Its name.
        prior: What was believed.
        observed: What the data alone says: a normal with this middle.
        posterior: Both together.
        bayes_factor: Evidence of the data for its own value against the prior.
        kullback_leibler: Divergence of the posterior from the prior, in nats.
        wasserstein: Distance of prior and posterior, in units of the return.
        p_value: Of data as far off, were the prior true.
    """

    channel: str
    prior: Prior
    observed: Estimate
    posterior: Estimate
    bayes_factor: float
    kullback_leibler: float
    wasserstein: float
    p_value: float

    @property
    def conflict(self) -> bool:
        """Whether the prior should be looked at again."""
        return self.p_value < _CONFLICT


def conflicts(panel: Panel, parameters: Parameters) -> tuple[Conflict, ...]:
    """Hold the priors of the parameters against what the data alone says, strongest first.

    Priors of channels that spent nothing are left out: no data speaks of them.

    Raises:
        DataInsufficientError: the panel has too little to fit a model on.
    """
    alone = fit(panel, replace(parameters, priors=None))
    returns = returned_per_spend(alone, panel)
    reach = float(norm.ppf(0.5 + parameters.confidence_level / 2))
    found = []
    for curve, observed in zip(alone.curves, returns, strict=True):
        prior = (parameters.priors or {}).get(curve.channel)
        if prior is not None:
            error = max((observed.high - observed.low) / (2 * reach), 1e-12)
            found.append(_conflict(curve.channel, prior, observed, error, reach))
    return tuple(sorted(found, key=lambda each: (each.p_value, each.channel)))


def _conflict(
    channel: str, prior: Prior, observed: Estimate, error: float, reach: float
) -> Conflict:
    """Combine two normals; the formulas are those of conjugate normals with known variance."""
    variance = prior.standard_deviation**2
    weight = variance / (variance + error**2)
    mean = prior.mean + weight * (observed.value - prior.mean)
    deviation = float(np.sqrt(weight) * error)
    together = float(np.sqrt(variance + error**2))
    distance = (observed.value - prior.mean) / together
    ratio = deviation / prior.standard_deviation
    moved = (mean - prior.mean) / prior.standard_deviation
    return Conflict(
        channel=channel,
        prior=prior,
        observed=observed,
        posterior=Estimate(mean, mean - reach * deviation, mean + reach * deviation),
        bayes_factor=float(np.exp(min(distance**2 / 2, 700.0)) * together / error),
        kullback_leibler=float(-np.log(ratio) + (ratio**2 + moved**2 - 1) / 2),
        wasserstein=float(np.hypot(mean - prior.mean, deviation - prior.standard_deviation)),
        p_value=float(2 * norm.sf(abs(distance))),
    )


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whether intervals of one channel's return hold what they promise.

    Attributes:
        channel: Its name.
        rank_counts: How often the true value ranked in each tenth of the draws.
        p_value: Of ranks as uneven, by chance alone.
        coverage: Share of simulations whose interval held the true value.
    """

    channel: str
    rank_counts: tuple[int, ...]
    p_value: float
    coverage: float

    @property
    def calibrated(self) -> bool:
        """Whether the ranks are as even as chance allows."""
        return self.p_value >= _UNEVEN


def calibrations(
    panel: Panel, model: MixModel, simulation_count: int, seed: int
) -> tuple[Calibration, ...]:
    """Simulate outcomes that the model allows, fit each anew, and rank the true effects.

    Simulation-based calibration (Talts et al. 2018) around what is known: coefficients and shapes
    of a simulation are one of the model's draws, its noise is normal.

    Raises:
        DataInsufficientError: the panel has too little to fit a model on.
    """
    assert model.draws is not None
    generator = np.random.default_rng(seed)
    spend = model.spend(panel)
    everything = slice(None)
    sums = model.draws.sums(spend, everything, model.parameters.window_days)
    base = model.predicted(panel) - model.effects(panel).sum(axis=1)
    ranks = np.empty((simulation_count, len(model.curves)))
    held = np.empty((simulation_count, len(model.curves)), dtype=bool)
    for number in range(simulation_count):
        drawn = int(generator.integers(len(sums)))
        outcome = base + _effects_of_draw(model, panel, drawn).sum(axis=1)
        outcome = outcome + generator.normal(0.0, model.residual_deviation, len(panel))
        simulated = replace(panel, outcomes={model.parameters.outcome: outcome})
        again = fit(simulated, model.parameters, draw_count=_DRAWS)
        assert again.draws is not None
        found = again.draws.sums(spend, everything, model.parameters.window_days)
        below = (found < sums[drawn]).sum(axis=0)
        ties = (found == sums[drawn]).sum(axis=0)
        ranks[number] = below + generator.integers(0, ties + 1)
        for curve in range(len(model.curves)):
            interval = again.interval(found[:, curve], float(np.median(found[:, curve])))
            held[number, curve] = interval.low <= sums[drawn, curve] <= interval.high
    return _judged([curve.channel for curve in model.curves], ranks, held)


def _effects_of_draw(model: MixModel, panel: Panel, number: int) -> Floats:
    assert model.draws is not None
    curves = tuple(
        replace(
            curve,
            decay=float(model.draws.decays[number, place]),
            half_saturation=float(model.draws.half_saturations[number, place]),
            coefficient=float(model.draws.coefficients[number, place]),
        )
        for place, curve in enumerate(model.curves)
    )
    return replace(model, curves=curves).effects(panel)


def _judged(channels: Sequence[str], ranks: Floats, held: Floats) -> tuple[Calibration, ...]:
    judged = []
    for place, channel in enumerate(channels):
        counts, _ = np.histogram(ranks[:, place], bins=_BINS, range=(0, _DRAWS + 1))
        judged.append(
            Calibration(
                channel=channel,
                rank_counts=tuple(int(count) for count in counts),
                p_value=float(chisquare(counts).pvalue),
                coverage=float(held[:, place].mean()),
            )
        )
    return tuple(sorted(judged, key=lambda each: (each.p_value, each.channel)))
