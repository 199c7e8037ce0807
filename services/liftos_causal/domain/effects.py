"""Effects of treatments, from units that were treated and units that were not."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.stats import t as student
from statsmodels.regression.linear_model import OLS

from liftos_causal.domain.autocorrelation import inflation
from liftos_causal.domain.curves import Estimate
from liftos_causal.domain.panel import DataInsufficientError, Floats

_FEWEST_CLUSTERS: Final = 6
_TREND_DOUBT: Final = 0.05
_POOR_FIT: Final = 0.2
_POWER_QUANTILE: Final = 0.8


class Method(StrEnum):
    """How an effect is estimated."""

    DIFFERENCE_IN_DIFFERENCES = "difference_in_differences"
    SYNTHETIC_CONTROL = "synthetic_control"
    RANDOMIZED_EXPERIMENT = "randomized_experiment"
    REGRESSION_DISCONTINUITY = "regression_discontinuity"
    MATCHING = "matching"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Outcome of units before and during a treatment of some of them.

    Attributes:
        before: Units by days before.
        during: Units by days of the treatment.
        treated: Which units were treated.
    """

    before: Floats
    during: Floats
    treated: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of a treatment on all treated units over all its days.

    Attributes:
        method: How it was estimated.
        effect: In units of the outcome.
        relative_effect: As a fraction of what would have been without treatment; none where that
            would have been nothing or less.
        standard_error: Of `effect`.
        p_value: Probability of such an effect by chance alone.
        treatment_outcome: Of the treated.
        expected_outcome: What it would have been without treatment.
        unit_count: Units that were compared.
        day_count: Days before and during.
        caveats: What speaks against it.
    """

    method: Method
    effect: Estimate
    relative_effect: Estimate | None
    standard_error: float
    p_value: float
    treatment_outcome: float
    expected_outcome: float
    unit_count: int
    day_count: int
    caveats: tuple[str, ...]

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.effect.low > 0.0 or self.effect.high < 0.0


def estimated(comparison: Comparison, method: Method, confidence_level: float) -> Effect:
    """Estimate the effect of a treatment.

    Raises:
        DataInsufficientError: too few units or days for the method; the text says which.
    """
    treated = int(comparison.treated.sum())
    untreated = len(comparison.treated) - treated
    if treated == 0 or untreated == 0:
        raise DataInsufficientError("an effect needs units with and without the treatment")
    if comparison.during.shape[1] == 0:
        raise DataInsufficientError("no day of the treatment is stored")
    if comparison.before.shape[1] == 0 and method is not Method.RANDOMIZED_EXPERIMENT:
        raise DataInsufficientError("no day before the treatment is stored")
    match method:
        case Method.DIFFERENCE_IN_DIFFERENCES:
            return _difference_in_differences(comparison, confidence_level)
        case Method.SYNTHETIC_CONTROL:
            return _synthetic_control(comparison, confidence_level)
        case Method.RANDOMIZED_EXPERIMENT:
            return _randomized(comparison, confidence_level)
        case Method.REGRESSION_DISCONTINUITY:
            return _discontinuity(comparison, confidence_level)
        case Method.MATCHING:
            return _matched(comparison, confidence_level)


def _difference_in_differences(comparison: Comparison, level: float) -> Effect:
    """Compare changes of mean daily outcome, an observation per unit.

    With two periods the regression of each unit's change on treatment is the two-way fixed-effects
    estimate, and errors of a unit's days may depend on each other as they like (Bertrand, Duflo and
    Mullainathan 2004, section IV.C). Standard errors allow unequal variances (HC3).
    """
    changes = comparison.during.mean(axis=1) - comparison.before.mean(axis=1)
    slope, error, freedom = _slope(changes, comparison.treated.astype(np.float64))
    caveats = list(_few(comparison))
    p_trend = _trend_difference(comparison)
    if p_trend is not None and p_trend < _TREND_DOUBT:
        caveats.append(f"both groups already moved apart before it (p = {p_trend:.3f})")
    return _effect(
        Method.DIFFERENCE_IN_DIFFERENCES,
        comparison,
        level,
        daily=slope,
        error=error,
        freedom=freedom,
        caveats=caveats,
    )


def _randomized(comparison: Comparison, level: float) -> Effect:
    """Compare mean daily outcome of units, that of the days before held fixed (ANCOVA)."""
    values = comparison.during.mean(axis=1)
    before = comparison.before.mean(axis=1) if comparison.before.shape[1] else None
    slope, error, freedom = _slope(values, comparison.treated.astype(np.float64), before)
    return _effect(
        Method.RANDOMIZED_EXPERIMENT,
        comparison,
        level,
        daily=slope,
        error=error,
        freedom=freedom,
        caveats=_few(comparison),
    )


def _matched(comparison: Comparison, level: float) -> Effect:
    """Compare each treated unit's change with that of the untreated unit most like it before."""
    treated, untreated = comparison.treated, ~comparison.treated
    distances = np.linalg.norm(
        comparison.before[treated][:, None, :] - comparison.before[untreated][None, :, :], axis=2
    )
    nearest = distances.argmin(axis=1)
    changes = comparison.during.mean(axis=1) - comparison.before.mean(axis=1)
    gaps = changes[treated] - changes[untreated][nearest]
    if len(gaps) < 2:
        raise DataInsufficientError("matching needs at least two treated units")
    caveats = list(_few(comparison))
    if len(set(nearest.tolist())) < len(nearest):
        caveats.append("some untreated units stand for more than one treated unit")
    error = float(gaps.std(ddof=1) / np.sqrt(len(set(nearest.tolist()))))
    return _effect(
        Method.MATCHING,
        comparison,
        level,
        daily=float(gaps.mean()),
        error=error,
        freedom=len(gaps) - 1,
        caveats=caveats,
    )


def _discontinuity(comparison: Comparison, level: float) -> Effect:
    """Measure the jump of the difference between groups on the first day of the treatment.

    A line is fitted on each side of the day (sharp design, the day being the running variable);
    variances grow as days that follow each other err alike.
    """
    before, during = comparison.before.shape[1], comparison.during.shape[1]
    if before < 7 or during < 7:
        raise DataInsufficientError("a jump needs seven days on each side of the first day")
    outcome = np.hstack([comparison.before, comparison.during])
    gap = outcome[comparison.treated].mean(axis=0) - outcome[~comparison.treated].mean(axis=0)
    days = np.arange(-before, during, dtype=np.float64)
    after = (days >= 0).astype(np.float64)
    rows = np.column_stack([np.ones_like(days), days, after, days * after])
    result = OLS(gap, rows).fit()
    error = float(result.bse[2]) * inflation(result.resid) ** 0.5
    caveats = (*_few(comparison), "the jump of the first day is taken for all days")
    return _effect(
        Method.REGRESSION_DISCONTINUITY,
        comparison,
        level,
        daily=float(result.params[2]),
        error=error,
        freedom=len(days) - rows.shape[1],
        caveats=caveats,
    )


def _synthetic_control(comparison: Comparison, level: float) -> Effect:
    """Compare the treated with the mix of untreated units that fits the days before best.

    Weights are not negative and sum to one (Abadie, Diamond and Hainmueller 2010). Each untreated
    unit takes the place of the treated in turn; the spread of what then comes out is the error.
    """
    treated = np.hstack([comparison.before, comparison.during])[comparison.treated].mean(axis=0)
    donors = np.hstack([comparison.before, comparison.during])[~comparison.treated]
    days_before = comparison.before.shape[1]
    if len(donors) < 3:
        raise DataInsufficientError("a mix of controls needs at least three untreated units")
    effect, misfit = _against_mix(treated, donors, days_before)
    placebos = []
    for number in range(len(donors)):
        others = np.delete(donors, number, axis=0)
        placebo, _ = _against_mix(donors[number], others, days_before)
        placebos.append(placebo)
    spread = np.array(placebos)
    # The treated are a mean of units, which varies less than one unit does.
    error = float(np.sqrt((spread**2).sum() / (len(spread) - 1) / comparison.treated.sum()))
    caveats = list(_few(comparison))
    usual = float(np.abs(treated[:days_before]).mean())
    if usual > 0 and misfit / usual > _POOR_FIT:
        caveats.append(f"the mix misses the days before by {misfit / usual:.0%}")
    return _effect(
        Method.SYNTHETIC_CONTROL,
        comparison,
        level,
        daily=effect,
        error=error,
        freedom=len(spread) - 1,
        caveats=caveats,
    )


def _against_mix(unit: Floats, donors: Floats, days_before: int) -> tuple[float, float]:
    """Return the mean gap after and the root mean squared gap before."""
    before = donors[:, :days_before].T
    # One more row, heavy enough to bind, makes the weights sum to one.
    heavy = 1e3 * max(float(np.abs(before).max()), 1.0)
    rows = np.vstack([before, np.full(len(donors), heavy)])
    weights, _ = nnls(rows, np.append(unit[:days_before], heavy))
    gap = unit - weights @ donors
    return float(gap[days_before:].mean()), float(np.sqrt((gap[:days_before] ** 2).mean()))


def _slope(
    values: Floats, treated: Floats, before: Floats | None = None
) -> tuple[float, float, int]:
    columns = [np.ones_like(treated), treated]
    if before is not None and float(np.ptp(before)) > 0:
        columns.append(before)
    rows = np.column_stack(columns)
    freedom = len(values) - rows.shape[1]
    if freedom < 1:
        raise DataInsufficientError("standard errors need at least three units in all")
    if min(treated.sum(), len(treated) - treated.sum()) < 2:
        # One unit alone shows no variance of its own: it is taken for one of the others' (Donald
        # and Lang 2007).
        result = OLS(values, rows).fit()
    else:
        result = OLS(values, rows).fit(cov_type="HC3", use_t=True)
    return float(result.params[1]), float(result.bse[1]), freedom


def _trend_difference(comparison: Comparison) -> float | None:
    """Return how likely slopes of the groups before differ as much by chance alone."""
    days = comparison.before.shape[1]
    if days < 3:
        return None
    numbers = np.arange(days) - (days - 1) / 2
    slopes = comparison.before @ numbers / (numbers @ numbers)
    difference, error, freedom = _slope(slopes, comparison.treated.astype(np.float64))
    return _p_value(difference, error, freedom)


def _p_value(value: float, error: float, freedom: int) -> float:
    """Return how likely a value as far from 0 is by chance alone (two-sided t)."""
    if error == 0.0:
        return 0.0 if value else 1.0
    return float(2 * student.sf(abs(value) / error, freedom))


def _few(comparison: Comparison) -> tuple[str, ...]:
    fewest = min(int(comparison.treated.sum()), int((~comparison.treated).sum()))
    if fewest >= _FEWEST_CLUSTERS:
        return ()
    if fewest == 1:
        return ("one group is one unit, taken to vary as the units of the other group do",)
    return (f"one group has {fewest} units only, so the interval is rough",)


def _effect(
    method: Method,
    comparison: Comparison,
    level: float,
    *,
    daily: float,
    error: float,
    freedom: int,
    caveats: Sequence[str],
) -> Effect:
    """Return the effect on all treated units and days, from that on one unit and day."""
    scale = float(comparison.treated.sum() * comparison.during.shape[1])
    reach = float(student.ppf(0.5 + level / 2, freedom)) * error
    outcome = float(comparison.during[comparison.treated].sum())
    effect = Estimate(daily * scale, (daily - reach) * scale, (daily + reach) * scale)
    expected = outcome - effect.value
    relative = None
    if expected > 0:
        relative = Estimate(effect.value / expected, effect.low / expected, effect.high / expected)
    return Effect(
        method=method,
        effect=effect,
        relative_effect=relative,
        standard_error=error * scale,
        p_value=_p_value(daily, error, freedom),
        treatment_outcome=outcome,
        expected_outcome=expected,
        unit_count=len(comparison.treated),
        day_count=comparison.before.shape[1] + comparison.during.shape[1],
        caveats=tuple(caveats),
    )


def minimum_detectable_effect(effect: Effect, confidence_level: float) -> float | None:
    """Return the smallest relative effect that the same days and units show with a power of .8.

    None where nothing would have been without treatment, so that no effect is relative to it.
    """
    if effect.expected_outcome <= 0:
        return None
    freedom = max(effect.unit_count - 2, 1)
    quantiles = student.ppf([0.5 + confidence_level / 2, _POWER_QUANTILE], freedom)
    return float(quantiles.sum()) * effect.standard_error / effect.expected_outcome
