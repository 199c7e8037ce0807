"""Benchmarks: where series stand among their peers, and against the period before.

Ratios are compared as logarithms of ratios of sums, so that a factor counts the same up and down,
and each with its own error: a ratio of few events tells little. Shrinkage takes that into account
(Efron and Morris 1975): what is known badly moves towards the centre of its peers before it is
ranked, so that one click does not top a list.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from liftos_memory.domain.detectors.statistics import (
    Floats,
    Integers,
    normal_tails,
    student_tails,
)
from liftos_memory.domain.intervals import CONFIDENCE_Z, Interval, wilson_interval

LEAST_PEERS: Final = 5
"""Series of a group, itself included, without which nothing is said."""

LEAST_SEASONS: Final = 4
"""Whole seasons of each period without which periods are not compared."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where every series stands among its group; nan where nothing can be said.

    Attributes:
        ratio: Its ratio of sums.
        low: Lower end of the 95 % interval of the ratio: Wilson's for shares, else by the
            delta method on the scale of logarithms.
        high: Upper end.
        centre: The ratio of its peers, the centre of their logarithms weighed by precision.
        shrunk: Its ratio after shrinkage.
        percentile: Share of its group below it after shrinkage, 0 to 1; ties count half.
        peers: Series of its group.
        p_value: Of a ratio so far from the centre by chance, its own error alone.
    """

    ratio: Floats
    low: Floats
    high: Floats
    centre: Floats
    shrunk: Floats
    percentile: Floats
    peers: Integers
    p_value: Floats


def stand_among_peers(
    numerators: Floats,
    denominators: Floats,
    groups: Integers,
    *,
    events: Floats,
    is_share: bool,
    event_size: float = 1.0,
) -> Standing:
    """Compare the ratio of every series with those of its group.

    Args:
        numerators: Sum of each series; nan is unknown.
        denominators: Sum of each series, above 0 to count.
        groups: Number of the group of each series.
        events: Events counted behind each ratio, such as the clicks of a click rate. Their error on
            the scale of logarithms is 1 / sqrt(events), for shares sqrt((1 - ratio) / events).
        is_share: Whether the numerator counts part of the denominator.
        event_size: What one event adds to the numerator of a share.
    """
    known = np.isfinite(numerators) & np.isfinite(denominators) & np.isfinite(events)
    known &= denominators > 0.0
    has_events = (numerators > 0.0) & (events > 0.0)
    without = (numerators == 0.0) & (events == 0.0) if is_share else np.zeros_like(known)
    known &= has_events | without
    ratio = np.divide(numerators, denominators, out=np.full(numerators.shape, np.nan), where=known)
    # Half an event keeps a share without any on the scale of logarithms.
    above = np.where(without, event_size / 2, numerators)
    position = np.log(np.divide(above, denominators, out=np.ones(ratio.shape), where=known))
    spared = np.clip(1.0 - np.where(known, ratio, 0.0), 1e-6, 1.0) if is_share else 1.0
    error = np.sqrt(spared / np.where(known, np.where(without, 0.5, events), 1.0))
    low, high, centre, shrunken, percentile, p_value = np.full((6, ratio.size), np.nan)
    result = Standing(
        ratio, low, high, centre, shrunken, percentile, np.zeros(ratio.size, np.int64), p_value
    )
    if is_share:
        # Views that convert without a click make more conversions than clicks.
        trials = denominators / event_size
        ends = wilson_interval(np.minimum(numerators / event_size, trials), trials)
    else:
        factor = np.exp(CONFIDENCE_Z * error)
        ends = Interval(ratio / factor, ratio * factor)
    result.low[known], result.high[known] = ends.low[known], ends.high[known]
    for group in np.unique(groups[known]):
        members = np.flatnonzero(known & (groups == group))
        result.peers[members] = members.size
        if members.size < LEAST_PEERS:
            continue
        at, variance = position[members], error[members] ** 2
        centre, between = _centre(at, variance)
        shrunk = (at * between + centre * variance) / (between + variance)
        result.centre[members] = np.exp(centre)
        result.shrunk[members] = np.exp(shrunk)
        below = (shrunk[None, :] < shrunk[:, None]).sum(axis=1)
        same = (shrunk[None, :] == shrunk[:, None]).sum(axis=1)
        result.percentile[members] = (below + same / 2) / members.size
        result.p_value[members] = normal_tails((at - centre) / error[members])
    return result


def _centre(position: Floats, variance: Floats) -> tuple[float, float]:
    """Return the centre of positions with errors, and their variance beyond the errors.

    DerSimonian and Laird 1986.
    """
    weight = 1.0 / variance
    fixed = (weight * position).sum() / weight.sum()
    spread = (weight * (position - fixed) ** 2).sum() - (position.size - 1)
    scale = weight.sum() - (weight**2).sum() / weight.sum()
    between = max(0.0, float(spread / scale)) if scale > 0.0 else 0.0
    weight = 1.0 / (variance + between)
    return float((weight * position).sum() / weight.sum()), between


@dataclass(frozen=True, slots=True)
class Change:
    """How every series changed from the first period to the second; nan where unknown.

    Attributes:
        before: Mean of a season, or the ratio of sums, in the first period.
        after: The same in the second.
        change: After against before as a factor, less 1; 0.2 is 20 % more.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p_value: Of a change so large by chance, from how the seasons of a period differ.
    """

    before: Floats
    after: Floats
    change: Floats
    low: Floats
    high: Floats
    p_value: Floats


def compare_periods(
    first: Floats, second: Floats, *, weights: tuple[Floats, Floats] | None = None, period: int = 7
) -> Change:
    """Compare two periods of every series, each cut to whole seasons counted from its end.

    The error of a period is that of a mean of season sums, or of a ratio of sums by the delta
    method over its seasons: n / (n - 1) times the sum of (numerator - ratio x denominator)^2, over
    the squared sum of denominators. The logarithms of both are compared by Student's t.

    Args:
        first: Series by steps of the first period; nan is unknown.
        second: The same of the second; it may be of another length.
        weights: Denominators of both, where the series are ratios.
        period: Steps of a season.
    """
    one = _period_mean(first, None if weights is None else weights[0], period)
    two = _period_mean(second, None if weights is None else weights[1], period)
    counts = np.minimum(one[2], two[2])
    known = (
        (counts >= LEAST_SEASONS) & (np.nan_to_num(one[0]) > 0.0) & (np.nan_to_num(two[0]) > 0.0)
    )
    before, after = np.where(known, one[0], np.nan), np.where(known, two[0], np.nan)
    moved = np.log(after / before)
    # Periods without any scatter are compared as if of a thousandth.
    error = np.sqrt(np.maximum((one[1] / before) ** 2 + (two[1] / after) ** 2, 1e-6))
    degrees = one[2] + two[2] - 2
    p_value = np.full(moved.shape, np.nan)
    reach = np.full(moved.shape, np.nan)
    for each in np.unique(degrees[known]):
        chosen = known & (degrees == each)
        p_value[chosen] = student_tails(moved[chosen] / error[chosen], int(each))
        reach[chosen] = _student_quantile_95(int(each)) * error[chosen]
    return Change(
        before,
        after,
        np.expm1(moved),
        np.expm1(moved - reach),
        np.expm1(moved + reach),
        p_value,
    )


def _period_mean(
    values: Floats, weights: Floats | None, period: int
) -> tuple[Floats, Floats, Integers]:
    """Return mean or ratio, its standard error and the number of whole seasons of each series."""
    seasons = values.shape[1] // period
    shape = (values.shape[0], seasons, period)
    cut = values[:, values.shape[1] - seasons * period :].reshape(shape)
    if weights is None:
        known = np.isfinite(cut)
        below = known.all(axis=2).astype(float)
        above = np.where(known.all(axis=2), np.where(known, cut, 0.0).sum(axis=2), 0.0)
    else:
        denominators = weights[:, weights.shape[1] - seasons * period :].reshape(shape)
        both = np.isfinite(cut) & np.isfinite(denominators)
        above = np.where(both, cut, 0.0).sum(axis=2)
        below = np.where(both, denominators, 0.0).sum(axis=2)
    counts = (below > 0.0).sum(axis=1)
    above = np.where(below > 0.0, above, 0.0)
    total = below.sum(axis=1)
    mean = np.divide(above.sum(axis=1), total, out=np.full(counts.shape, np.nan), where=total > 0.0)
    rest = above - np.nan_to_num(mean)[:, None] * below
    factor = counts / np.maximum(counts - 1, 1)
    error = np.divide(
        np.sqrt(factor * (rest**2).sum(axis=1)),
        total,
        out=np.full(counts.shape, np.nan),
        where=total > 0.0,
    )
    return mean, error, counts.astype(np.int64)


def _student_quantile_95(degrees: int) -> float:
    """Return what 95 % of Student numbers lie within, by bisection of the tails."""
    low, high = 1.9, 13.0
    for _ in range(50):
        middle = (low + high) / 2
        if student_tails(np.array([middle]), degrees)[0] > 0.05:
            low = middle
        else:
            high = middle
    return (low + high) / 2
