"""The marketing mix model: curves of all channels, fitted together on daily numbers.

Outcome of a day = baseline + sum over channels of `coefficient * saturated(adstocked(spend))`.
The baseline is level, trend, weekday, season and the controls.

The best model: shapes (decay, half saturation) come from a grid by marginal likelihood, each
channel in turn until none changes; coefficients are those of a linear regression with a normal
prior each, written as one more row per channel (mixed estimation, Theil and Goldberger 1961). No
channel takes outcome away: one whose coefficient comes out below zero gets zero.

What else the days allow: shapes are drawn from the same grid by Gibbs sampling, each with
coefficients from their posterior cut off at zero. All intervals are quantiles of such draws, so
they also hold what is not known about the shapes. Days that follow each other err alike; variances
grow by (1 + r) / (1 - r), r being the autocorrelation of the residuals, and the likelihood counts
as much less.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from statsmodels.regression.linear_model import OLS

from liftos_causal.domain.autocorrelation import inflation
from liftos_causal.domain.curves import Curve, Estimate, adstocked, carried, marginal, saturated
from liftos_causal.domain.panel import (
    Floats,
    Outcome,
    Panel,
    chosen_series,
    require_enough,
)

_DECAYS: Final = (0.0, 0.2, 0.4, 0.6, 0.8)
_HALF_SATURATIONS: Final = (0.5, 1.0, 2.0, 4.0)
"""In means of adstocked spend over the days that have any."""

_SWEEPS: Final = 5
_YEAR_DAYS: Final = 365.25
_FORGOTTEN: Final = 50
"""Draws that still remember where they began."""


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed of a channel's return: normal, in outcome for one unit of spend."""

    mean: float
    standard_deviation: float


@dataclass(frozen=True, slots=True)
class Parameters:
    """How a model is fitted.

    Attributes:
        outcome: What is explained.
        window_days: Days over which a day's spend can act, at least 1.
        controls: Outside series to hold fixed.
        instruments: Outside series that move spend but not the outcome; see `linear_models`.
        priors: By channel; a channel without one gives between nothing and about all outcome.
        confidence_level: Of all intervals.
        seed: Of all draws.
    """

    outcome: Outcome = Outcome.REVENUE
    window_days: int = 30
    controls: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    priors: Mapping[str, Prior] | None = None
    confidence_level: float = 0.95
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Draws:
    """Models that the days allow, equally likely; each array is draws by curves."""

    decays: Floats
    half_saturations: Floats
    coefficients: Floats

    def sums(self, spend: Floats, days: slice | NDArray[np.bool_], window_days: int) -> Floats:
        """Return the outcome that each curve gives over some days, draws by curves.

        Args:
            spend: Days by curves.
            days: Which of them; the others still act on these.
            window_days: As in `Curve`.
        """
        sums = np.empty_like(self.coefficients)
        for curve in range(sums.shape[1]):
            pairs = np.column_stack([self.decays[:, curve], self.half_saturations[:, curve]])
            kinds, kind = np.unique(pairs, axis=0, return_inverse=True)
            reached = {
                decay: adstocked(spend[:, curve], decay, window_days)[days]
                for decay in np.unique(kinds[:, 0])
            }
            totals = np.array([saturated(reached[decay], half).sum() for decay, half in kinds])
            sums[:, curve] = self.coefficients[:, curve] * totals[kind]
        return sums


@dataclass(frozen=True, slots=True)
class MixModel:
    """A fitted model.

    Attributes:
        parameters: How it was fitted.
        curves: One for each channel that spent anything, in order of the panel's channels.
        baseline: Coefficients of the columns of the baseline.
        residual_deviation: Standard deviation of what is left unexplained a day.
        draws: What else the days allow; none in a model that is only there to predict.
    """

    parameters: Parameters
    curves: tuple[Curve, ...]
    baseline: Floats
    residual_deviation: float
    draws: Draws | None = None

    @classmethod
    def of_curves(cls, parameters: Parameters, curves: tuple[Curve, ...], draws: Draws) -> Self:
        """Return a model that gives credit and expects no days: it has no baseline."""
        return cls(parameters, curves, np.empty(0), 0.0, draws)

    def spend(self, panel: Panel) -> Floats:
        """Return what the channels of the curves spent, days by curves."""
        places = {channel: place for place, channel in enumerate(panel.channels)}
        columns = np.zeros((len(panel), len(self.curves)))
        for number, curve in enumerate(self.curves):
            if curve.channel in places:
                columns[:, number] = panel.spend[:, places[curve.channel]]
        return columns

    def effects(self, panel: Panel) -> Floats:
        """Return the outcome that each curve gives on each day, days by curves."""
        spend = self.spend(panel)
        effects = np.empty_like(spend)
        for number, curve in enumerate(self.curves):
            reached = adstocked(spend[:, number], curve.decay, curve.window_days)
            effects[:, number] = curve.coefficient * saturated(reached, curve.half_saturation)
        return effects

    def predicted(self, panel: Panel) -> Floats:
        """Return the outcome that the model expects on each day."""
        baseline = baseline_columns(panel, self.parameters) @ self.baseline
        expected: Floats = baseline + self.effects(panel).sum(axis=1)
        return expected

    def interval(self, draws: Floats, value: float) -> Estimate:
        """Return a value with the interval that its draws give."""
        beyond = (1.0 - self.parameters.confidence_level) / 2.0
        low, high = np.quantile(draws, (beyond, 1.0 - beyond))
        return Estimate(value, min(float(low), value), max(float(high), value))


@dataclass(frozen=True, slots=True)
class _Shapes:
    """The grid: for each channel all pairs of decay and half saturation, and what they make.

    Attributes:
        decays: Channels by shapes.
        half_saturations: Channels by shapes.
        features: Days by channels by shapes, 0 to 1.
        prior_means: Of coefficients, channels by shapes.
        prior_deviations: The same.
    """

    decays: Floats
    half_saturations: Floats
    features: Floats
    prior_means: Floats
    prior_deviations: Floats


def fit(
    panel: Panel,
    parameters: Parameters,
    *,
    fitted: NDArray[np.bool_] | None = None,
    draw_count: int = 400,
) -> MixModel:
    """Fit the model on a panel.

    Args:
        panel: The days.
        parameters: How.
        fitted: The days that it sees; spend of the others still acts on them. None means all.
        draw_count: How many draws it holds; 0 is enough to predict.

    Raises:
        DataInsufficientError: the panel has too little to fit a model on.
    """
    require_enough(panel, parameters.outcome)
    known = panel.known(parameters.outcome)
    seen = known if fitted is None else known & fitted
    spending = np.flatnonzero((panel.spend > 0).any(axis=0))
    outcome = panel.outcomes[parameters.outcome][seen]
    baseline = baseline_columns(panel, parameters)[seen]
    shapes = _shapes(panel, spending, parameters)
    likelihood = _Likelihood.of(shapes, outcome, baseline, seen)
    best, variance = _best_shapes(likelihood)
    every = np.arange(len(spending))
    coefficients, inside, residuals = _regressed(
        np.hstack([baseline, shapes.features[seen][:, every, best]]),
        outcome,
        prior_means=shapes.prior_means[every, best],
        # In standard deviations of the noise, which is what a row of the data weighs.
        prior_weights=np.sqrt(variance) / shapes.prior_deviations[every, best],
    )
    draws = None
    if draw_count:
        spread = variance * inflation(residuals)
        draws = _drawn(likelihood, best, spread, draw_count, parameters.seed)
    curves = tuple(
        Curve(
            channel=panel.channels[channel],
            decay=float(shapes.decays[place, best[place]]),
            window_days=parameters.window_days,
            half_saturation=float(shapes.half_saturations[place, best[place]]),
            coefficient=float(coefficients[place]),
        )
        for place, channel in enumerate(spending)
    )
    deviation = float(np.sqrt(residuals @ residuals / likelihood.free_days))
    return MixModel(parameters, curves, inside, deviation, draws)


def _shapes(panel: Panel, spending: NDArray[np.intp], parameters: Parameters) -> _Shapes:
    count = len(_DECAYS) * len(_HALF_SATURATIONS)
    decays = np.repeat(_DECAYS, len(_HALF_SATURATIONS))
    half = np.empty((len(spending), count))
    features = np.empty((len(panel), len(spending), count))
    for number, decay in enumerate(_DECAYS):
        reached = adstocked(panel.spend[:, spending], decay, parameters.window_days)
        usual = reached.sum(axis=0) / (reached > 0).sum(axis=0)
        at = slice(number * len(_HALF_SATURATIONS), (number + 1) * len(_HALF_SATURATIONS))
        half[:, at] = np.multiply.outer(usual, _HALF_SATURATIONS)
        features[:, :, at] = saturated(reached[:, :, None], half[None, :, at])
    outcome = panel.outcomes[parameters.outcome]
    means = np.zeros_like(half)
    deviations = np.full_like(half, max(float(np.nanmean(outcome)), float(np.nanstd(outcome))))
    for place, channel in enumerate(spending):
        prior = (parameters.priors or {}).get(panel.channels[channel])
        if prior is not None:
            # A coefficient of one unit returns this much for each unit that was spent.
            returned = features[:, place].sum(axis=0) / panel.spend[:, channel].sum()
            means[place] = prior.mean / returned
            deviations[place] = prior.standard_deviation / returned
    return _Shapes(np.tile(decays, (len(spending), 1)), half, features, means, deviations)


@dataclass(frozen=True, slots=True)
class _Posterior:
    """Of sets of shapes, a row each.

    Attributes:
        coefficients: Most likely ones.
        precisions: Inverse covariances of the coefficients times the variance of the noise.
        losses: Minus twice the logarithm of the marginal likelihood, up to a constant.
        residuals: Sums of squares that the coefficients leave.
    """

    coefficients: Floats
    precisions: Floats
    losses: Floats
    residuals: Floats


@dataclass(frozen=True, slots=True)
class _Likelihood:
    """How well sets of shapes explain the outcome, the baseline and coefficients taken out.

    Attributes:
        shapes: The grid.
        products: Of the features with each other, over (channel, shape) pairs.
        moments: Of the features with the outcome.
        total: Sum of squares of the outcome.
        free_days: Days that are left when every coefficient has taken one.
    """

    shapes: _Shapes
    products: Floats
    moments: Floats
    total: float
    free_days: int

    @classmethod
    def of(
        cls, shapes: _Shapes, outcome: Floats, baseline: Floats, seen: NDArray[np.bool_]
    ) -> Self:
        """Return the likelihood on the days that are seen."""
        basis, _ = np.linalg.qr(baseline)
        flat = shapes.features[seen].reshape(len(outcome), -1)
        flat = flat - basis @ (basis.T @ flat)
        rest = outcome - basis @ (basis.T @ outcome)
        free_days = len(outcome) - basis.shape[1] - shapes.features.shape[1]
        return cls(shapes, flat.T @ flat, flat.T @ rest, float(rest @ rest), max(free_days, 1))

    def of_sets(self, sets: NDArray[np.intp], variance: float) -> _Posterior:
        """Return what is known of the coefficients of some sets of shapes, a row each."""
        channels, count = self.shapes.prior_means.shape
        pairs = sets + np.arange(channels) * count
        means = self.shapes.prior_means.ravel()[pairs]
        weights = variance / self.shapes.prior_deviations.ravel()[pairs] ** 2
        products = self.products[pairs[:, :, None], pairs[:, None, :]]
        precision = products + weights[:, :, None] * np.eye(channels)
        towards = self.moments[pairs] + weights * means
        coefficients = np.linalg.solve(precision, towards[:, :, None])[:, :, 0]
        misfit = self.total + (weights * means**2).sum(axis=1)
        misfit -= (coefficients * towards).sum(axis=1)
        _, size = np.linalg.slogdet(precision)
        losses = misfit / variance + size - np.log(weights).sum(axis=1)
        residuals = self.total - 2.0 * (coefficients * self.moments[pairs]).sum(axis=1)
        residuals += np.einsum("si,sij,sj->s", coefficients, products, coefficients)
        return _Posterior(coefficients, precision, losses, residuals)


def _alternatives(chosen: NDArray[np.intp], channel: int, count: int) -> NDArray[np.intp]:
    """Return the chosen set once for each shape that the channel could have instead."""
    sets = np.tile(chosen, (count, 1))
    sets[:, channel] = np.arange(count)
    return sets


def _best_shapes(likelihood: _Likelihood) -> tuple[NDArray[np.intp], float]:
    """Return the number of each channel's best shape, and the variance of the noise with them."""
    channels, count = likelihood.shapes.prior_means.shape
    total = likelihood.total
    variance = total / likelihood.free_days
    best = np.full(channels, count // 2)
    for _ in range(_SWEEPS):
        before = best.copy()
        for channel in range(channels):
            known = likelihood.of_sets(_alternatives(best, channel, count), variance)
            best[channel] = int(known.losses.argmin())
        left = float(likelihood.of_sets(best[None, :], variance).residuals[0])
        # Data without noise would make everything but the best shape impossible.
        variance = max(left / likelihood.free_days, total * 1e-12)
        if np.array_equal(before, best):
            break
    return best, variance


def _drawn(
    likelihood: _Likelihood, best: NDArray[np.intp], variance: float, count: int, seed: int
) -> Draws:
    """Draw shapes and coefficients from what the days allow, beginning at the best shapes."""
    generator = np.random.default_rng(seed)
    channels, shape_count = likelihood.shapes.prior_means.shape
    chosen = best.copy()
    sets = np.empty((count, channels), dtype=np.intp)
    for number in range(-_FORGOTTEN, count):
        for channel in range(channels):
            known = likelihood.of_sets(_alternatives(chosen, channel, shape_count), variance)
            weights = np.exp((known.losses.min() - known.losses) / 2.0)
            reached = weights.cumsum()
            chosen[channel] = int(np.searchsorted(reached, generator.random() * reached[-1]))
        if number >= 0:
            sets[number] = chosen
    known = likelihood.of_sets(sets, variance)
    factors = np.linalg.cholesky(known.precisions)
    noise = generator.standard_normal((count, channels, 1)) * np.sqrt(variance)
    steps = np.linalg.solve(np.swapaxes(factors, 1, 2), noise)[:, :, 0]
    every = np.arange(channels)
    return Draws(
        decays=likelihood.shapes.decays[every, sets],
        half_saturations=likelihood.shapes.half_saturations[every, sets],
        coefficients=np.maximum(known.coefficients + steps, 0.0),
    )


def _regressed(
    rows: Floats, outcome: Floats, *, prior_means: Floats, prior_weights: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return coefficients of the channels, of the baseline, and residuals of the days.

    Args:
        rows: Days by columns of the baseline and of the channels.
        outcome: Of each day.
        prior_means: Of the channels' coefficients.
        prior_weights: Standard deviation of the noise over that of each prior.
    """
    channels = len(prior_means)
    width = rows.shape[1] - channels
    beliefs = np.hstack([np.zeros((channels, width)), np.diag(prior_weights)])
    all_rows = np.vstack([rows, beliefs])
    all_values = np.concatenate([outcome, prior_means * prior_weights])
    kept = np.ones(channels, dtype=bool)
    while True:
        columns = np.concatenate([np.ones(width, dtype=bool), kept])
        # A channel that is left out takes its belief along.
        lines = np.concatenate([np.ones(len(outcome), dtype=bool), kept])
        result = OLS(all_values[lines], all_rows[np.ix_(lines, columns)]).fit()
        coefficients = np.zeros(channels)
        coefficients[kept] = result.params[width:]
        if not (coefficients < 0).any():
            return coefficients, result.params[:width], result.resid[: len(outcome)]
        kept &= coefficients >= 0


def baseline_columns(panel: Panel, parameters: Parameters) -> Floats:
    """Return level, trend, weekdays, season and controls, days by columns."""
    numbers = panel.days.astype("datetime64[D]").astype(np.int64)
    columns = [np.ones(len(panel)), (numbers - numbers.mean()) / _YEAR_DAYS]
    columns += [(numbers % 7 == weekday).astype(np.float64) for weekday in range(6)]
    if len(panel) >= _YEAR_DAYS:
        for wave in (1, 2):
            angle = 2.0 * np.pi * wave * numbers / _YEAR_DAYS
            columns += [np.sin(angle), np.cos(angle)]
    controls = chosen_series(panel, parameters.controls)
    spread = controls.std(axis=0)
    steady = np.where(spread > 0, spread, 1.0)
    return np.hstack([np.column_stack(columns), (controls - controls.mean(axis=0)) / steady])


def returned_per_spend(model: MixModel, panel: Panel) -> tuple[Estimate, ...]:
    """Return for each curve the outcome for one unit of spend over all days of the panel."""
    assert model.draws is not None
    spend = model.spend(panel)
    spent = spend.sum(axis=0)
    values = model.effects(panel).sum(axis=0) / spent
    draws = model.draws.sums(spend, slice(None), model.parameters.window_days) / spent
    return tuple(
        model.interval(draws[:, number], float(value)) for number, value in enumerate(values)
    )


def marginal_draws(model: MixModel, number: int, daily_spend: float) -> Floats:
    """Return for each draw the outcome for one more unit of spend a day on a curve's channel."""
    assert model.draws is not None
    draws = model.draws
    kept = carried(draws.decays[:, number], model.curves[number].window_days)
    half = draws.half_saturations[:, number]
    return marginal(draws.coefficients[:, number], kept, half, daily_spend)


def marginal_return(model: MixModel, number: int, daily_spend: float) -> Estimate:
    """Return the outcome for one more unit of spend a day, when each day spends this much."""
    slopes = marginal_draws(model, number, daily_spend)
    return model.interval(slopes, model.curves[number].marginal(daily_spend))


def steady_outcome(model: MixModel, daily_spend: Floats) -> Estimate:
    """Return the outcome a day of all curves, when each day spends this much on each."""
    assert model.draws is not None
    draws = model.draws
    drawn = np.zeros(len(draws.coefficients))
    value = 0.0
    for number, (curve, spend) in enumerate(zip(model.curves, daily_spend, strict=True)):
        value += float(curve.outcome(float(spend)))
        reached = spend * carried(draws.decays[:, number], curve.window_days)
        share = saturated(reached, draws.half_saturations[:, number])
        drawn += draws.coefficients[:, number] * share
    return model.interval(drawn, value)
