"""The statistics of comparisons: pure functions over whole arrays.

Where an array is one of days and members its shape is (days, members). What cannot be said is NaN:
a zero denominator is neither 0 nor infinite. No function warns, raises or answers infinity for
finite numbers.
"""

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from liftos_memory.domain.intervals import CONFIDENCE_Z, Interval

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

MINIMUM_CORRELATION_DAYS: Final = 21
"""Three weeks: of fewer days, the means of seven weekdays leave too little."""

_MAXIMUM_BLOCK_DAYS: Final = 7
_MINIMUM_BLOCKS: Final = 4
_WEEKDAYS: Final = 7


def divide(numerator: Floats, denominator: Floats) -> Floats:
    """Return quotients, NaN where the denominator is 0 or one of the two is NaN."""
    defined = (denominator != 0.0) & ~np.isnan(denominator) & ~np.isnan(numerator)
    out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    with np.errstate(over="ignore"):
        np.divide(numerator, denominator, out=out, where=defined)
    out[np.isinf(out)] = np.nan
    return out


def t_quantile(degrees: Floats) -> Floats:
    """Return the 97.5 % quantile of Student's t; NaN below one degree of freedom.

    Exact for 1 and 2, else by Abramowitz and Stegun 26.7.5, within 0.2 %.
    """
    z = CONFIDENCE_Z
    nu = np.where(degrees >= 1.0, degrees, np.nan)
    series = (
        z
        + (z**3 + z) / (4 * nu)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * nu**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * nu**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * nu**4)
    )
    one = math.tan(math.pi * 0.475)
    two = 0.95 * math.sqrt(2 / (4 * 0.975 * 0.025))
    quantile: Floats = np.where(nu < 2, one, np.where(nu < 3, two, series)) + 0.0 * nu
    return quantile


def t_tail(t: Floats, degrees: Floats) -> Floats:
    """Return the two-sided probability of a t at least so far from 0.

    By Wallace's normal approximation (1959), within 0.2 % of the probability from 10 degrees on.
    """
    scale = (8 * degrees + 1) / (8 * degrees + 3)
    z = scale * np.sqrt(degrees * np.log1p(t * t / degrees))
    probability: Floats = np.vectorize(math.erfc, otypes=[np.float64])(z / math.sqrt(2))
    return probability


def delta_interval(above: Floats, below: Floats, counted: Booleans) -> Interval:
    """Return the interval of each member's ratio of sums, by the delta method over blocks of days.

    The residuals above - ratio * below are added up over blocks of a quarter of the days, at most a
    week, so that days may depend on those before, and weeks hold every weekday once. The variance
    is that of blocks, and t has one degree of freedom less than blocks.

    Args:
        above: Numerator of each day and member, 0 where unset.
        below: Denominator likewise.
        counted: Which days a member reported.
    """
    total = below.sum(axis=0)
    ratio = divide(above.sum(axis=0), total)
    residuals = np.where(counted, above - np.nan_to_num(ratio) * below, 0.0)
    days = len(residuals)
    length = max(1, min(_MAXIMUM_BLOCK_DAYS, days // _MINIMUM_BLOCKS))
    # What is left over joins the first block.
    starts = np.arange(days % length, days, length) if days else np.zeros(1, np.int64)
    starts[:1] = 0
    sums = np.add.reduceat(residuals, starts, axis=0) if days else residuals
    blocks = np.logical_or.reduceat(counted, starts, axis=0).sum(axis=0) if days else 0 * total
    count = np.asarray(blocks, np.float64)
    spread = np.sqrt(np.sum(sums * sums, axis=0) * divide(count, count - 1))
    half = t_quantile(count - 1) * divide(spread, np.abs(total))
    return Interval(ratio - half, ratio + half)


def change_interval(value: Floats, now: Interval, before: Floats, then: Interval) -> Interval:
    """Return the interval of value - before from the intervals of both.

    MOVER: Zou and Donner 2008; for Wilson's intervals it is Newcombe's method 10 (1998).
    """
    change = value - before
    return Interval(
        change - np.hypot(value - now.low, then.high - before),
        change + np.hypot(now.high - value, before - then.low),
    )


def percentiles(values: Floats) -> Floats:
    """Return the share of the others that are below, equal ones counted half; NaN without others.

    NaN among the values has no place and counts as no other.
    """
    known = ~np.isnan(values)
    places = np.full(len(values), np.nan)
    count = int(known.sum())
    if count < 2:
        return places
    ordered = np.sort(values[known])
    lower = np.searchsorted(ordered, values[known], side="left")
    equal = np.searchsorted(ordered, values[known], side="right") - lower
    places[known] = (lower + (equal - 1) / 2) / (count - 1)
    return places


def mix_and_rate(
    above: Floats, below: Floats, above_before: Floats, below_before: Floats
) -> tuple[Floats, Floats]:
    """Return each member's mix effect and rate effect on the total's ratio of sums.

        R1 - R0 = sum (w1 - w0) r1 + sum w0 (r1 - r0),   w = below / sum of below, r = above / below

    A member that is new or gone has but one ratio, so all of its effect is mix: w1 r1, or -w0 r0.
    NaN where a total has no ratio.
    """
    total, total_before = below.sum(), below_before.sum()
    if total == 0.0 or total_before == 0.0:
        nothing = np.full(len(above), np.nan)
        return nothing, nothing.copy()
    share, share_before = below / total, below_before / total_before
    ratio, ratio_before = divide(above, below), divide(above_before, below_before)
    here, there = ~np.isnan(ratio), ~np.isnan(ratio_before)
    both = here & there
    now, before = np.nan_to_num(ratio), np.nan_to_num(ratio_before)
    mix = np.where(here, (share - share_before) * now, -share_before * before)
    rate = np.where(both, share_before * (now - before), 0.0)
    # Numbers above a denominator of 0 are part of the total all the same.
    mix += np.where(~here, above / total, 0.0) - np.where(~there, above_before / total_before, 0.0)
    return mix, rate


def without_weekdays(values: Floats, weekdays: Integers) -> Floats:
    """Return values less the mean of their day of the week; NaN stays NaN.

    Args:
        values: Days and members.
        weekdays: Of each day, 0 to 6.
    """
    known = ~np.isnan(values)
    one_hot = (weekdays[:, None] == np.arange(_WEEKDAYS)[None, :]).astype(np.float64)
    filled = np.where(known, values, 0.0)
    means = divide(one_hot.T @ filled, one_hot.T @ known.astype(np.float64))
    return np.where(known, values - np.nan_to_num(means)[weekdays], np.nan)


class Lagged(NamedTuple):
    """The strongest correlation of each pair (first, second); shape (members, members).

    Attributes:
        coefficient: NaN where no lag has enough days, or a member does not move.
        lag: Days by which the second follows the first.
        days: Days that it rests on.
        p_value: Chance of so strong a coefficient at any lag tried.
    """

    coefficient: Floats
    lag: Integers
    days: Integers
    p_value: Floats


def lagged_correlations(values: Floats, weekdays: Integers, maximum_lag_days: int) -> Lagged:
    """Return how members move together, at the lag where they do so most.

    Args:
        values: Days and members, one row for each day of the calendar; NaN where unset.
        weekdays: Of each day, 0 to 6.
        maximum_lag_days: Lags from minus to plus so many days are tried; the smallest wins a tie.
    """
    moves = without_weekdays(values, weekdays)
    days, members = moves.shape
    best = np.full((members, members), np.nan)
    best_lag = np.zeros((members, members), np.int64)
    best_days = np.zeros((members, members), np.int64)
    tried = np.zeros((members, members), np.int64)
    for lag in sorted(range(-maximum_lag_days, maximum_lag_days + 1), key=abs):
        if days - abs(lag) < MINIMUM_CORRELATION_DAYS:
            continue
        first = moves[: days - lag] if lag >= 0 else moves[-lag:]
        second = moves[lag:] if lag >= 0 else moves[:lag]
        coefficient, count = _pairwise(first, second)
        enough = (count >= MINIMUM_CORRELATION_DAYS) & ~np.isnan(coefficient)
        tried += enough
        better = enough & ~(np.abs(coefficient) <= np.abs(best))
        best = np.where(better, coefficient, best)
        best_lag = np.where(better, lag, best_lag)
        best_days = np.where(better, count, best_days)
    degrees = np.maximum(best_days - _WEEKDAYS - 1, 1).astype(np.float64)
    square = np.minimum(best * best, 1 - 1e-15)
    t = np.abs(best) * np.sqrt(degrees / (1 - square))
    chance = np.minimum(t_tail(np.nan_to_num(t), degrees) * np.maximum(tried, 1), 1.0)
    return Lagged(best, best_lag, best_days, np.where(np.isnan(best), np.nan, chance))


def _pairwise(first: Floats, second: Floats) -> tuple[Floats, Integers]:
    """Return Pearson's coefficient of every column with every column, over days that both have."""
    has_first, has_second = ~np.isnan(first), ~np.isnan(second)
    x, y = np.where(has_first, first, 0.0), np.where(has_second, second, 0.0)
    in_x, in_y = has_first.astype(np.float64), has_second.astype(np.float64)
    # Values of one size keep the sums of squares apart from their rounding.
    x /= np.maximum(np.abs(x).max(axis=0, initial=0.0), 1e-300)
    y /= np.maximum(np.abs(y).max(axis=0, initial=0.0), 1e-300)
    count = in_x.T @ in_y
    n = np.maximum(count, 1.0)
    sum_x, sum_y = x.T @ in_y, in_x.T @ y
    squares_x = (x * x).T @ in_y - sum_x * sum_x / n
    squares_y = in_x.T @ (y * y) - sum_y * sum_y / n
    moves = (squares_x > 1e-12 * n) & (squares_y > 1e-12 * n)
    product = np.where(moves, squares_x * squares_y, np.nan)
    coefficient = (x.T @ y - sum_x * sum_y / n) / np.sqrt(product)
    return np.clip(coefficient, -1.0, 1.0), count.astype(np.int64)


class Effects(NamedTuple):
    """What kinds of days do; shape (kinds, members).

    Attributes:
        ratio: Against what ordinary days let expect; NaN where it cannot be said.
        low: Lower end of its interval.
        high: Upper end.
        days: Such days that a member has.
    """

    ratio: Floats
    low: Floats
    high: Floats
    days: Integers


def weekday_effects(
    above: Floats, below: Floats, counted: Booleans, weekdays: Integers, ordinary: Booleans
) -> Effects:
    """Return the ratio of sums of each weekday divided by that of all days, ordinary days alone.

    Intervals are on the log scale, by the delta method over days, with the days of the weekday less
    one as degrees of freedom.

    Args:
        above: Numerator of each day and member, 0 where unset.
        below: Denominator likewise; 1 for sums.
        counted: Which days a member reported.
        weekdays: Of each day, 0 to 6.
        ordinary: Which days count.
    """
    usable = counted & ordinary[:, None]
    y, x = np.where(usable, above, 0.0), np.where(usable, below, 0.0)
    kinds = (np.arange(_WEEKDAYS)[:, None] == weekdays[None, :]).astype(np.float64)
    count = kinds @ usable.astype(np.float64)
    of_kind, of_all = kinds @ y, y.sum(axis=0)
    kind_rate = divide(of_kind, kinds @ x)
    all_rate = divide(of_all, x.sum(axis=0))
    ratio = divide(kind_rate, np.broadcast_to(all_rate, kind_rate.shape))
    spread = np.zeros_like(ratio)
    everywhere = divide(y - np.nan_to_num(all_rate) * x, np.broadcast_to(of_all, y.shape))
    for kind in range(_WEEKDAYS):
        chosen = (weekdays == kind)[:, None]
        own = divide(
            y - np.nan_to_num(kind_rate[kind]) * x, np.broadcast_to(of_kind[kind], y.shape)
        )
        spread[kind] = np.sum((np.where(chosen, own, 0.0) - everywhere) ** 2, axis=0)
    return _with_log_interval(ratio, spread, count)


def special_day_effects(
    above: Floats,
    below: Floats,
    counted: Booleans,
    *,
    weekdays: Integers,
    ordinary: Booleans,
    kinds: Booleans,
) -> Effects:
    """Return what days came to, divided by what ordinary days of the same weekday let expect.

    Intervals are on the log scale, from how such days scatter around their common ratio. What is
    expected is taken as known. Weekdays without two ordinary days are left aside.

    Args:
        above: Numerator of each day and member, 0 where unset.
        below: Denominator likewise; 1 for sums.
        counted: Which days a member reported.
        weekdays: Of each day, 0 to 6.
        ordinary: The days to expect from.
        kinds: Which days belong to which kind, shape (kinds, days).
    """
    usable = counted & ordinary[:, None]
    one_hot = (np.arange(_WEEKDAYS)[:, None] == weekdays[None, :]).astype(np.float64)
    base = one_hot @ usable.astype(np.float64)
    rate = divide(one_hot @ np.where(usable, above, 0.0), one_hot @ np.where(usable, below, 0.0))
    rate = np.where(base >= 2, rate, np.nan)[weekdays]
    known = counted & ~np.isnan(rate)
    y = np.where(known, above, 0.0)
    expected = np.where(known, below * np.nan_to_num(rate), 0.0)
    chosen = kinds.astype(np.float64)
    count = chosen @ known.astype(np.float64)
    came_to, expected_sum = chosen @ y, chosen @ expected
    ratio = divide(came_to, expected_sum)
    r = np.nan_to_num(ratio)
    # Where a ratio is too large to be squared, nothing is known of its interval.
    with np.errstate(over="ignore", invalid="ignore"):
        # sum (y - r e)^2 without an array of kinds, days and members
        crossed = 2 * r * (chosen @ (y * expected))
        squares = chosen @ (y * y) - crossed + r * r * (chosen @ expected**2)
        spread = divide(np.maximum(squares, 0.0), came_to * came_to)
    spread = np.where(np.isfinite(spread), spread, np.nan)
    return _with_log_interval(ratio, spread, count)


def _with_log_interval(ratio: Floats, variance: Floats, count: Floats) -> Effects:
    """Return effects; `variance` is that of the log of the ratio before its small-sample factor."""
    positive = np.where(ratio > 0, ratio, np.nan)
    half = t_quantile(count - 1) * np.sqrt(variance * divide(count, count - 1))
    # Beyond e^50 an interval says nothing.
    half = np.where(half < 50.0, half, np.nan)
    return Effects(ratio, positive * np.exp(-half), positive * np.exp(half), count.astype(np.int64))
