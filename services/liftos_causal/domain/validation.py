"""How well a model predicts days that it was not fitted on."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from liftos_causal.domain.mix_model import Parameters, fit
from liftos_causal.domain.panel import Floats, Panel

_FOLDS: Final = 5
_RESAMPLES: Final = 20
_BLOCK_DAYS: Final = 14


class ValidationMethod(StrEnum):
    """Which days are kept back."""

    HOLDOUT = "holdout"
    """The last fifth."""

    CROSS_VALIDATION = "cross_validation"
    """Each of five folds of consecutive days in turn."""

    BOOTSTRAP = "bootstrap"
    """Those that are not drawn when blocks of two weeks are drawn with replacement."""


@dataclass(frozen=True, slots=True)
class Performance:
    """Of predictions for days that were kept back.

    Attributes:
        r_squared: Share of the variance that is explained; below 0 where the mean does better.
        mape: Mean absolute error as a fraction of the outcome, over days that have any.
        rmse: Root of the mean squared error, in units of the outcome.
        day_count: Days that were predicted; one that is kept back twice counts twice.
    """

    r_squared: float
    mape: float
    rmse: float
    day_count: int


def validated(panel: Panel, parameters: Parameters, method: ValidationMethod) -> Performance:
    """Fit on some days, predict the others, and compare.

    Raises:
        DataInsufficientError: the panel has too little to fit a model on.
    """
    outcome = panel.outcomes[parameters.outcome]
    known = panel.known(parameters.outcome)
    expected, real = [], []
    for days in _kept_back(len(panel), method, parameters.seed):
        kept_back = days & known
        model = fit(panel, parameters, fitted=~days, draw_count=0)
        expected.append(model.predicted(panel)[kept_back])
        real.append(outcome[kept_back])
    return _compared(np.concatenate(expected), np.concatenate(real))


def _kept_back(days: int, method: ValidationMethod, seed: int) -> list[NDArray[np.bool_]]:
    numbers = np.arange(days)
    match method:
        case ValidationMethod.HOLDOUT:
            return [numbers >= days - days // _FOLDS]
        case ValidationMethod.CROSS_VALIDATION:
            return [numbers * _FOLDS // days == fold for fold in range(_FOLDS)]
        case ValidationMethod.BOOTSTRAP:
            generator = np.random.default_rng(seed)
            blocks = numbers // _BLOCK_DAYS
            count = int(blocks[-1]) + 1
            drawn = [generator.integers(count, size=count) for _ in range(_RESAMPLES)]
            return [~np.isin(blocks, each) for each in drawn]


def _compared(expected: Floats, real: Floats) -> Performance:
    errors = real - expected
    variance = float(((real - real.mean()) ** 2).sum())
    squared = float((errors**2).sum())
    known = real != 0
    return Performance(
        r_squared=1.0 - squared / variance if variance > 0 else 0.0,
        mape=float(np.abs(errors[known] / real[known]).mean()) if known.any() else 0.0,
        rmse=float(np.sqrt(squared / len(real))),
        day_count=len(real),
    )
