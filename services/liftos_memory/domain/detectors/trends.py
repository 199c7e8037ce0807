"""Trends: whether series rise or fall for longer than chance would have it, and how fast.

From eight whole seasons on the season sums are tested (Mann 1945, Kendall 1975), since one number
a season has no season any more and little memory. From five to seven, where sums are too few, the
steps themselves are compared with those one or more seasons later, each with its like, and the
variance counts that neighbouring steps move together (Hirsch and Slack 1984). The slope is the
median of all slopes between two points (Theil 1950, Sen 1968), its interval follows from the
variance of the test (Gilbert 1987).

The trend component of a decomposition is never tested: it is smooth by construction, and tests of
it find a trend in most series of pure noise.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from liftos_memory.domain.detectors.statistics import (
    Booleans,
    Floats,
    Integers,
    Timestamps,
    check_regular,
    median,
    normal_tails,
)
from liftos_memory.domain.intervals import CONFIDENCE_Z

LEAST_SEASONS: Final = 5
"""Fewer whole seasons than this say nothing."""

LEAST_SUMS: Final = 8
"""From so many whole seasons on their sums are tested."""

_PAIRS_AT_ONCE: Final = 2_000_000
_SHARE_KNOWN: Final = 4 / 7


class TrendTest(IntEnum):
    """How a series was tested."""

    INSUFFICIENT_DATA = 0
    SEASON_SUMS = 1
    CORRELATED_SEASONS = 2


@dataclass(frozen=True, slots=True)
class Trends:
    """One trend per series; nan where there is too little data.

    Attributes:
        test: A `TrendTest` each.
        seasons: Whole seasons that it rests on.
        slope: Per season, as a fraction of the level; 0.02 is 2 %. nan where the level is not
            above 0.
        slope_low: Lower end of its 95 % interval.
        slope_high: Upper end.
        level: Median of the season sums (or of their ratios).
        p_value: Of a slope at least as strong by chance, two-sided.
    """

    test: Integers
    seasons: Integers
    slope: Floats
    slope_low: Floats
    slope_high: Floats
    level: Floats
    p_value: Floats


def find_trends(
    timestamps: Timestamps,
    values: Floats,
    *,
    weights: Floats | None = None,
    period: int = 7,
) -> Trends:
    """Test every series for a trend.

    Seasons are counted back from the last step; steps before the first whole one are left out. A
    season of sums counts where every step is known, since a sum over fewer is a smaller one; a
    season of ratios where four steps of seven are.

    Args:
        timestamps: Evenly spaced.
        values: Series by steps; nan is unknown.
        weights: Denominators, where the series are ratios; `values` are numerators then, and the
            ratio of a season is that of its sums.
        period: Steps of a season, at least 1.

    Raises:
        ValueError: Timestamps are not evenly spaced.
    """
    check_regular(timestamps, values)
    count, steps = values.shape
    seasons = steps // period
    shape = (count, seasons, period)
    first = steps - seasons * period
    folded = values[:, first:].reshape(shape)
    if weights is None:
        known = np.isfinite(folded)
        whole = known.all(axis=2)
        sums = np.where(whole, np.where(known, folded, 0.0).sum(axis=2), np.nan)
    else:
        denominators = weights[:, first:].reshape(shape)
        sums, whole = _ratios(folded, denominators, least=max(1, round(period * _SHARE_KNOWN)))
        folded = np.divide(
            folded, denominators, out=np.full(shape, np.nan), where=denominators > 0.0
        )
    known_seasons = whole.sum(axis=1)
    by_sums = known_seasons >= LEAST_SUMS
    # Steps are compared with their like, so here every step of a season has to be known.
    whole_steps = np.asarray(np.isfinite(folded).all(axis=2))
    by_steps = ~by_sums & (whole_steps.sum(axis=1) >= LEAST_SEASONS)
    result = Trends(
        test=np.zeros(count, np.int64),
        seasons=known_seasons.astype(np.int64),
        slope=np.full(count, np.nan),
        slope_low=np.full(count, np.nan),
        slope_high=np.full(count, np.nan),
        level=median(sums),
        p_value=np.full(count, np.nan),
    )
    _fill(result, by_sums, TrendTest.SEASON_SUMS, sums[:, :, None])
    # A step is a `period`th of the season's sum; a ratio is one at any length.
    size = period if weights is None else 1
    steps_of_whole = np.where(whole_steps[:, :, None], folded, np.nan) * size
    _fill(result, by_steps, TrendTest.CORRELATED_SEASONS, steps_of_whole)
    return result


def _ratios(numerators: Floats, denominators: Floats, *, least: int) -> tuple[Floats, Booleans]:
    """Return the ratio of sums of each season, and where enough steps have both."""
    both = np.isfinite(numerators) & np.isfinite(denominators)
    above = np.where(both, numerators, 0.0).sum(axis=2)
    below = np.where(both, denominators, 0.0).sum(axis=2)
    whole = (both.sum(axis=2) >= least) & (below > 0.0)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=whole), whole


def _fill(result: Trends, chosen: Booleans, test: TrendTest, columns: Floats) -> None:
    """Test the chosen series, some at a time.

    Args:
        result: Filled in place.
        chosen: Which series.
        test: Told with them.
        columns: Series by seasons by columns that are compared each with itself.
    """
    seasons, width = columns.shape[1:]
    at_once = max(1, _PAIRS_AT_ONCE // max(1, seasons * (seasons - 1) // 2 * width))
    rows = np.flatnonzero(chosen)
    for start in range(0, rows.size, at_once):
        part = rows[start : start + at_once]
        z, slopes = _kendall(columns[part], continuous=test is TrendTest.SEASON_SUMS)
        level = result.level[part]
        relative = np.divide(
            slopes, level[:, None], out=np.full(slopes.shape, np.nan), where=level[:, None] > 0.0
        )
        result.test[part] = test
        result.p_value[part] = normal_tails(z)
        result.slope[part], result.slope_low[part], result.slope_high[part] = relative.T


def _kendall(columns: Floats, *, continuous: bool) -> tuple[Floats, Floats]:
    """Return z and (slope, its lower, its upper end) of every series.

    Args:
        columns: Series by seasons by columns; a season is known in all columns, or in none.
        continuous: Whether z is brought 1 nearer to 0, as for a single column.
    """
    count, seasons = columns.shape[:2]
    earlier, later = np.triu_indices(seasons, k=1)
    differences = columns[:, later] - columns[:, earlier]
    signs = np.sign(np.nan_to_num(differences, nan=0.0))
    score = signs.sum(axis=(1, 2))
    variance = _variance(columns, signs, earlier, later)
    deviations = np.sqrt(np.maximum(variance, 0.0))
    moved = score - np.sign(score) if continuous else score
    z = np.divide(moved, deviations, out=np.zeros(count), where=deviations > 0.0)
    slopes = np.sort((differences / (later - earlier)[None, :, None]).reshape(count, -1), axis=1)
    known = np.isfinite(slopes).sum(axis=1)
    middle = median(slopes)
    reach = CONFIDENCE_Z * deviations
    low = np.clip(np.round((known - reach) / 2).astype(np.int64) - 1, 0, known - 1)
    high = np.clip(np.round((known + reach) / 2).astype(np.int64), 0, known - 1)
    ends = np.take_along_axis(slopes, np.stack([low, high], axis=1), axis=1)
    return z, np.column_stack([middle, ends])


def _variance(columns: Floats, signs: Floats, earlier: Integers, later: Integers) -> Floats:
    """Return the variance of the score of every series, ties counted.

    Of a single column it is n(n-1)(2n+5)/18 less t(t-1)(2t+5)/18 for each group of t equal values.
    Of several it is the sum of all covariances between columns, each (K + 4 sum of R R' -
    n(n+1)^2)/3 (Dietz and Killeen 1981), where K counts pairs that move alike and R are ranks.
    """
    count, seasons, width = columns.shape
    known = np.isfinite(columns[:, :, 0])
    n = known.sum(axis=1).astype(float)
    # Sums of signs of each season against all others, from those of pairs.
    against = np.zeros((count, seasons, width))
    if width == 1:
        ordered = np.sort(columns[:, :, 0], axis=1)
        ties = _tie_sum(ordered)
        found: Floats = (n * (n - 1) * (2 * n + 5) - ties) / 18
        return found
    for pair, (i, j) in enumerate(zip(earlier, later, strict=True)):
        against[:, j] += signs[:, pair]
        against[:, i] -= signs[:, pair]
    ranks = np.where(known[:, :, None], (n[:, None, None] + 1 + against) / 2, 0.0)
    # The sum over all pairs of columns is the square of the sum over columns.
    alike = (signs.sum(axis=2) ** 2).sum(axis=1)
    product = (ranks.sum(axis=2) ** 2).sum(axis=1)
    total: Floats = (alike + 4 * product - width**2 * n * (n + 1) ** 2) / 3
    return total


def _tie_sum(ordered: Floats) -> Floats:
    """Return the sum of t(t-1)(2t+5) over the groups of equal numbers in sorted rows."""
    equal = ordered[:, 1:] == ordered[:, :-1]
    total = np.zeros(ordered.shape[0])
    for row in np.flatnonzero(equal.any(axis=1)):
        _, sizes = np.unique(ordered[row][np.isfinite(ordered[row])], return_counts=True)
        total[row] = (sizes * (sizes - 1) * (2 * sizes + 5)).sum()
    return total
