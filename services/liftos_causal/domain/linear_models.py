"""Models in which each unit of spend gives the same: from instruments, or from experiments.

They are told in the terms of the mix model, with curves that do not bend within any spend that
can occur, so that credit and budgets are computed alike for all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from liftos_causal.domain.autocorrelation import inflation
from liftos_causal.domain.curves import Curve
from liftos_causal.domain.mix_model import Draws, MixModel, Parameters, baseline_columns
from liftos_causal.domain.panel import (
    DataInsufficientError,
    Floats,
    Panel,
    chosen_series,
    require_enough,
)

_STRAIGHT: Final = 1e9
"""Largest daily spends at which a straight curve has given half of its most."""

_DRAWS: Final = 400
_WEAK: Final = 10.0
"""F statistic below which instruments move spend too little (Staiger and Stock 1997)."""


@dataclass(frozen=True, slots=True)
class MeasuredReturn:
    """What an experiment says of a channel: outcome for one unit of spend."""

    channel: str
    value: float
    standard_error: float


def instrumented(panel: Panel, parameters: Parameters) -> MixModel:
    """Fit returns by two-stage least squares: spend as far as the instruments move it.

    Raises:
        DataInsufficientError: fewer instruments than channels, instruments that hardly move spend,
            or too few days.
    """
    require_enough(panel, parameters.outcome)
    known = panel.known(parameters.outcome)
    spending = np.flatnonzero((panel.spend > 0).any(axis=0))
    instruments = chosen_series(panel, parameters.instruments)[known]
    if instruments.shape[1] < len(spending):
        raise DataInsufficientError(
            f"{len(spending)} channels spent, and {instruments.shape[1]} instruments are named;"
            " name at least one for each"
        )
    outside = baseline_columns(panel, parameters)[known]
    outcome = _less(panel.outcomes[parameters.outcome][known], outside)
    spend = _less(panel.spend[known][:, spending], outside)
    moving = _less(instruments, outside)
    moved = moving @ np.linalg.lstsq(moving, spend, rcond=None)[0]
    free = len(outcome) - outside.shape[1] - moving.shape[1]
    left = ((spend - moved) ** 2).sum(axis=0)
    strength = (moved**2).sum(axis=0) / moving.shape[1] / np.maximum(left / free, 1e-300)
    if strength.min() < _WEAK:
        weakest = panel.channels[spending[int(strength.argmin())]]
        raise DataInsufficientError(
            f"the instruments hardly move the spend of {weakest}: F is {strength.min():.1f} and"
            f" {_WEAK:.0f} are needed"
        )
    returns = np.asarray(np.linalg.lstsq(moved, outcome, rcond=None)[0], dtype=np.float64)
    residuals = outcome - spend @ returns
    freedom = len(outcome) - outside.shape[1] - len(spending)
    variance = float(residuals @ residuals) / freedom * inflation(residuals)
    covariance: Floats = variance * np.linalg.inv(moved.T @ moved)
    return _straight(
        panel, parameters, [panel.channels[one] for one in spending], returns, covariance
    )


def from_experiments(
    panel: Panel, parameters: Parameters, measured: Sequence[MeasuredReturn]
) -> MixModel:
    """Take returns from experiments; several of one channel weigh by their precision.

    Channels without an experiment are given nothing, since nothing is known of them.

    Raises:
        DataInsufficientError: no experiment is about a channel that spent in these days.
    """
    spending = {
        channel for place, channel in enumerate(panel.channels) if (panel.spend[:, place] > 0).any()
    }
    channels = sorted({each.channel for each in measured} & spending)
    if not channels:
        raise DataInsufficientError(
            "no analysed experiment is about a channel that spent in these days"
        )
    values, variances = [], []
    for channel in channels:
        of_it = [each for each in measured if each.channel == channel]
        weights = np.array([1.0 / max(each.standard_error, 1e-12) ** 2 for each in of_it])
        values.append(float(weights @ [each.value for each in of_it] / weights.sum()))
        variances.append(1.0 / float(weights.sum()))
    return _straight(panel, parameters, channels, np.array(values), np.diag(variances))


def _less(columns: Floats, outside: Floats) -> Floats:
    """Take out of columns what the outside ones explain (Frisch and Waugh 1933)."""
    left: Floats = columns - outside @ np.linalg.lstsq(outside, columns, rcond=None)[0]
    return left


def _straight(
    panel: Panel,
    parameters: Parameters,
    channels: Sequence[str],
    returns: Floats,
    covariance: Floats,
) -> MixModel:
    places = [panel.channels.index(channel) for channel in channels]
    half = panel.spend[:, places].max(axis=0) * _STRAIGHT
    generator = np.random.default_rng(parameters.seed)
    drawn = generator.multivariate_normal(returns, covariance, _DRAWS, method="eigh")
    curves = tuple(
        Curve(
            channel=channel,
            decay=0.0,
            window_days=parameters.window_days,
            half_saturation=float(half[number]),
            # No channel takes outcome away, as in the mix model.
            coefficient=max(float(returns[number]), 0.0) * float(half[number]),
        )
        for number, channel in enumerate(channels)
    )
    draws = Draws(
        decays=np.zeros_like(drawn),
        half_saturations=np.broadcast_to(half, drawn.shape).copy(),
        coefficients=np.maximum(drawn, 0.0) * half,
    )
    return MixModel.of_curves(parameters, curves, draws)
