"""Anomalies: steps far from what the past made one expect, and shifts of a whole level.

What is expected of a step is the level of the season before it and what the same phase of the
season usually adds, the median over the last eight. The level is a median of steps from which the
season was taken off, so that neither the season nor one step far out moves it. Residuals of the
last eight seasons give the scale, 1.4826 times their median absolute deviation, with floors: quiet
stretches would otherwise make an anomaly of every ripple. Only what was known before a step judges
it, so that a step found today would have been found that day.

The mean of a season from a step on, against a steadier level of two seasons and on a scale of its
own, tells shifts of the level that no single step would show.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from liftos_memory.domain.detectors.statistics import (
    MAD_TO_DEVIATION,
    Booleans,
    Floats,
    Integers,
    Timestamps,
    check_regular,
    deviation,
    median,
    student_tails,
)

DEGREES: Final = 20
"""Degrees of freedom of the tails: from 56 residuals a median absolute deviation knows the scale
about as well as a standard deviation of 21 does."""

SHIFT_DEGREES: Final = 10
"""The same for means of a season, of which the past has eight that do not overlap."""

_SEASONS_BACK: Final = 8
_STEADY_SEASONS: Final = 2
_LEAST_ALIKE: Final = 4
_LEAST_RESIDUALS: Final = 4
_OCCASION_SEASONS: Final = 4
"""What an occasion did within so many seasons before it tells nothing of it."""
_STD_SHARE: Final = 0.1
_LEAST_SCALE: Final = 0.02
_UNKNOWN_EVENT_SCALE: Final = 3.0
_KNOWN_EVENT_SCALE: Final = 1.5
_RANGE_QUANTILE: Final = 2.845339709776814  # 99 % of Student's t with 20 degrees, two-sided
_MOST_RESTING: Final = 1 / 8
"""Share of steps at 0 in the last eight seasons above which a step at 0 is not judged."""
_FARTHEST: Final = 4.0
_MEAN_SHARE: Final = 0.4
"""Least scale of a season's mean, in scales of a step: what white noise and an expectation with an
error of its own give."""
_SERIES_AT_ONCE: Final = 128
_LARGEST_LOG: Final = 300.0


class Scale(Enum):
    """On which scale steps are compared."""

    LINEAR = "linear"
    """As they are."""
    LOG = "log"
    """log(1 + x): changes are factors. For what is never negative."""
    RATIO = "ratio"
    """log(x): changes are factors. For ratios; what is not above 0 is unknown."""


def _log_of_ratio(values: Floats) -> Floats:
    known = np.nan_to_num(values) > 0.0
    return np.log(values, out=np.full(values.shape, np.nan), where=known)


def _count_of(logarithms: Floats) -> Floats:
    return np.maximum(np.expm1(np.minimum(logarithms, _LARGEST_LOG)), 0.0)


_SCALES: Final[Mapping[Scale, tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]]] = {
    Scale.LINEAR: (lambda values: values, lambda values: values),
    Scale.LOG: (np.log1p, _count_of),
    Scale.RATIO: (_log_of_ratio, lambda values: np.exp(np.minimum(values, _LARGEST_LOG))),
}
"""To each scale, and back."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How every step compares with what was expected; nan where nothing was.

    Attributes:
        z: Distance in scales; positive is above.
        p_value: Of one at least as far by chance.
        expected: In the unit of the values.
        low: Lower end of the range that holds 99 % of steps.
        high: Upper end.
        shift_z: Distance of the mean of the season that begins there, in scales of such means.
        shift_p_value: Of one at least as far by chance.
        steady_z: Distance from what the level of two seasons made one expect; a shift does not move
            that at once.
        steady_expected: That, in the unit of the values.
        steady_low: Lower end of its range.
        steady_high: Upper end.
    """

    z: Floats
    p_value: Floats
    expected: Floats
    low: Floats
    high: Floats
    shift_z: Floats
    shift_p_value: Floats
    steady_z: Floats
    steady_expected: Floats
    steady_low: Floats
    steady_high: Floats


@dataclass(frozen=True, slots=True)
class Episode:
    """Steps of one series that belong to one finding.

    Attributes:
        series: Index of the series.
        start: Index of its first step.
        end: Index of its last.
        peak: Index of its most unlikely step; of a shift, where its most unlikely season begins.
        rises: Whether it is above what was expected.
        is_shift: Whether the level has moved, rather than single steps.
    """

    series: int
    start: int
    end: int
    peak: int
    rises: bool
    is_shift: bool


def score_steps(
    timestamps: Timestamps,
    values: Floats,
    *,
    period: int = 7,
    scale: Scale = Scale.LOG,
    events: Floats | None = None,
    occasions: Mapping[str, Integers] | None = None,
) -> Scores:
    """Score every step of every series that has nine whole seasons behind it.

    With 20 seasons behind it a score no longer depends on where the series begins; what comes after
    it never matters.

    Args:
        timestamps: Evenly spaced.
        values: Series by steps; nan is unknown. Not negative on the scale of logarithms.
        period: Steps of a season.
        scale: On which scale steps are compared. On that of LOG a step at 0 is no example for
            others, and is judged itself only where few are at 0: who rests every few weeks is no
            less usual than at work.
        events: How many events each step counts, such as the clicks behind a click rate; few
            scatter by 1 / sqrt(events) on the scale of logarithms by chance alone. nan adds
            nothing.
        occasions: Indices of steps by what happens there, such as a holiday. They are no example
            for other steps. What one did to a series four seasons before or earlier is expected of
            it again; a step with one without a past is judged by three times the scale.

    Raises:
        ValueError: Timestamps are not evenly spaced.
    """
    check_regular(timestamps, values)
    if not values.size:
        return Scores(*(np.full(values.shape, np.nan) for _ in fields(Scores)))
    phase = _phase(timestamps, period)
    parts = [
        _score(
            values[start : start + _SERIES_AT_ONCE],
            period=period,
            phase=phase,
            scale=scale,
            events=None if events is None else events[start : start + _SERIES_AT_ONCE],
            occasions=occasions or {},
        )
        for start in range(0, values.shape[0], _SERIES_AT_ONCE)
    ]
    return Scores(*(np.concatenate(matrices) for matrices in zip(*parts, strict=True)))


def _score(
    values: Floats,
    *,
    period: int,
    phase: int,
    scale: Scale,
    events: Floats | None,
    occasions: Mapping[str, Integers],
) -> tuple[Floats, ...]:
    count, steps = values.shape
    seasons = -(-(phase + steps) // period)
    own = slice(phase, phase + steps)

    def pad(matrix: Floats) -> Floats:
        after = seasons * period - phase - steps
        return np.pad(matrix, ((0, 0), (phase, after)), constant_values=np.nan)

    to_scale, back = _SCALES[scale]
    y = pad(to_scale(values))
    special = np.zeros(y.shape[1], np.bool_)
    for places in occasions.values():
        special[places + phase] = True
    resting = (y == 0.0) if scale is Scale.LOG else np.zeros(y.shape, np.bool_)
    history = np.where(special | resting, np.nan, y)
    rough = _trailing_median(history, _STEADY_SEASONS * period, least=period)
    folded = (count, seasons, period)
    windows = (count, seasons, period * _SEASONS_BACK)
    rests = _share(_behind(np.where(np.isnan(y), np.nan, resting).reshape(folded)).reshape(windows))
    # Where resting is usual, a step at 0 is none of the others.
    seen = np.where(resting & np.repeat(rests > _MOST_RESTING, period, axis=1), np.nan, y)
    added = median(_behind((history - rough).reshape(folded)), least=_LEAST_ALIKE).reshape(y.shape)
    flat = history - added
    level = _known_or(_trailing_median(flat, period, least=period // 2 + 1), rough)
    steady = _known_or(_trailing_median(flat, _STEADY_SEASONS * period, least=period), rough)
    expected = level + added
    residual = seen - expected
    quiet = np.where(special | resting, np.nan, residual)
    behind = _behind(quiet.reshape(folded)).reshape(windows)
    spread = _spread(behind, least=_LEAST_RESIDUALS * period)
    past = _behind(history.reshape(folded)).reshape(windows)
    least = _LEAST_SCALE * (np.abs(np.nan_to_num(level)) if scale is Scale.LINEAR else 1.0)
    width = np.maximum(spread, _STD_SHARE * deviation(past))
    width = np.maximum(np.repeat(width, period, axis=1), least)
    if events is not None:
        chance = 1.0 / np.sqrt(np.maximum(pad(events), 1.0))
        width = np.maximum(width, np.nan_to_num(chance, nan=0.0))
    moved = [places + phase for places in occasions.values()]
    _expect_again(expected, residual, width, moved, period=period)
    steady_expected = expected - level + steady
    z, steady_z = (
        np.divide(seen - it, width, out=np.full(y.shape, np.nan), where=width > 0.0)
        for it in (expected, steady_expected)
    )
    # One step far out would move a mean as much as a shift does.
    bounded = np.clip(seen - steady_expected, -_FARTHEST * width, _FARTHEST * width)
    means = _trailing_mean(np.where(special, np.nan, bounded), period)
    behind = _behind(means.reshape(folded)).reshape(windows)
    mean_width = np.repeat(_spread(behind, least=_LEAST_RESIDUALS * period), period, axis=1)
    mean_width = np.maximum(mean_width, _MEAN_SHARE * width)
    ahead = np.full(y.shape, np.nan)
    ahead[:, : y.shape[1] - period + 1] = means[:, period - 1 :]
    shift_z = np.divide(ahead, mean_width, out=np.full(y.shape, np.nan), where=mean_width > 0.0)
    ranges = (
        back(center + factor * width)
        for center in (expected, steady_expected)
        for factor in (0.0, -_RANGE_QUANTILE, _RANGE_QUANTILE)
    )
    near, low, high, *steady_range = ranges
    found = (
        *(z, student_tails(z, DEGREES), near, low, high),
        *(shift_z, student_tails(shift_z, SHIFT_DEGREES), steady_z, *steady_range),
    )
    return tuple(it[:, own] for it in found)


def _share(flags: Floats) -> Floats:
    """Return the share of ones among what is known along the last axis; 0 where nothing is."""
    known = np.isfinite(flags).sum(axis=-1)
    found: Floats = np.nansum(flags, axis=-1) / np.maximum(known, 1)
    return found


def _known_or(values: Floats, others: Floats) -> Floats:
    """Return others where values are unknown."""
    return np.where(np.isfinite(values), values, others)


def _phase(timestamps: Timestamps, period: int) -> int:
    """Return where in a season the first step is, counted from the epoch, so that it is its own."""
    step = timestamps[1] - timestamps[0] if timestamps.size > 1 else timestamps[0] - timestamps[0]
    size = max(int(step.astype(np.int64)), 1)
    return int(timestamps[0].astype(np.int64)) // size % period


def _spread(behind: Floats, *, least: int) -> Floats:
    """Return 1.4826 times the median absolute deviation along the last axis."""
    centre = median(behind, least=least)
    return MAD_TO_DEVIATION * median(np.abs(behind - centre[..., None]), least=least)


def _trailing_mean(values: Floats, period: int) -> Floats:
    """Return the mean of each step and the `period` - 1 before it; at most two may be unknown."""
    before = np.pad(values, ((0, 0), (period - 1, 0)), constant_values=np.nan)
    windows = sliding_window_view(before, period, axis=1)
    counts = np.isfinite(windows).sum(axis=2)
    sums = np.nan_to_num(windows, nan=0.0).sum(axis=2)
    enough = counts >= max(1, period - 2)
    found: Floats = np.divide(sums, counts, out=np.full(values.shape, np.nan), where=enough)
    return found


def _trailing_median(values: Floats, steps: int, *, least: int) -> Floats:
    """Return the median of the steps before each one."""
    before = np.pad(values, ((0, 0), (steps, 0)), constant_values=np.nan)[:, :-1]
    return median(sliding_window_view(before, steps, axis=1), least=least)


def _behind(folded: Floats) -> Floats:
    """Return, for each season and phase, the same phase of the seasons before it (last axis)."""
    before = np.pad(folded, ((0, 0), (_SEASONS_BACK, 0), (0, 0)), constant_values=np.nan)
    found: Floats = sliding_window_view(before[:, :-1], _SEASONS_BACK, axis=1)
    return found


def _expect_again(
    expected: Floats,
    residual: Floats,
    width: Floats,
    occasions: Sequence[Integers],
    *,
    period: int,
) -> None:
    """Move what is expected on occasions by what they did before, in place.

    Names of the same steps are one occasion; of several at a step the mean is expected.
    """
    effects: dict[int, list[Floats]] = {}
    for places in dict.fromkeys(tuple(np.sort(it).tolist()) for it in occasions):
        for index, place in enumerate(places):
            # Days of one occasion that follow each other are one: it is no example for itself.
            past = [it for it in places[:index] if it < place - _OCCASION_SEASONS * period]
            effects.setdefault(place, []).append(median(residual[:, past]))
    for place, found in effects.items():
        each = np.array(found)
        is_known = np.isfinite(each)
        total = np.where(is_known, each, 0.0).sum(axis=0)
        expected[:, place] += total / np.maximum(is_known.sum(axis=0), 1)
        width[:, place] *= np.where(is_known.all(axis=0), _KNOWN_EVENT_SCALE, _UNKNOWN_EVENT_SCALE)


def find_episodes(
    scores: Scores, flagged: Booleans, flagged_shifts: Booleans, *, period: int = 7
) -> list[Episode]:
    """Make findings of flagged steps, so that one happening is told once.

    A shift is dated by the most unlikely of the flagged steps within a season, or by the flagged
    steps to the same side that lead to it; until the expectation has followed it, two seasons
    later, nothing else is told of these steps. Other flagged steps within a season after the first,
    to the same side, are one episode with it.

    Args:
        scores: From `score_steps`.
        flagged: Steps that are to be told for themselves.
        flagged_shifts: Steps with which a shift that is to be told begins.
        period: Steps of a season.

    Returns:
        Episodes by series and start, shifts before others that begin with them.
    """
    found: list[Episode] = []
    for series in np.flatnonzero(flagged.any(axis=1) | flagged_shifts.any(axis=1)):
        single = flagged[series].copy()
        shifts = _shifts(scores, single, flagged_shifts[series], int(series), period)
        for shift in shifts:
            single[shift.start : shift.peak + _STEADY_SEASONS * period] = False
        found += sorted(
            [*shifts, *_single_steps(scores, single, int(series), period)],
            key=lambda episode: episode.start,
        )
    return found


def _shifts(
    scores: Scores, single: Booleans, flagged: Booleans, series: int, period: int
) -> list[Episode]:
    z, shift_z = scores.steady_z[series], scores.shift_z[series]
    found: list[Episode] = []
    after = -1
    for first in np.flatnonzero(flagged):
        if first <= after:
            continue
        # A mean that reaches over the edge of a shift is flagged as well; the farthest is the edge.
        near = np.flatnonzero(flagged[first : first + period]) + first
        peak = int(near[np.argmax(np.abs(shift_z[near]))])
        season = z[peak : peak + period]
        rises = bool(shift_z[peak] > 0.0)
        aside = np.nan_to_num(season if rises else -season, nan=-np.inf)
        # One step far out moves a mean too, and is no shift: most of the steps have to be aside.
        if (aside > 1.0).sum() * 3 >= np.isfinite(season).sum() * 2:
            start = peak
            # Scatter may make a season that begins a little later the most unlikely one.
            leading = single & ((z > 1.0) if rises else (z < -1.0))
            while start - 1 > max(after, peak - period) and leading[start - 1]:
                start -= 1
            end = peak + int(np.flatnonzero(np.isfinite(season))[-1])
            found.append(Episode(series, start, end, peak, rises, is_shift=True))
            after = peak + _STEADY_SEASONS * period - 1
    return found


def _single_steps(scores: Scores, flagged: Booleans, series: int, period: int) -> list[Episode]:
    z = scores.z[series]
    found: list[Episode] = []
    latest: dict[bool, int] = {}
    for place in np.flatnonzero(flagged):
        start = int(place)
        rises = bool(z[start] > 0.0)
        at = latest.get(rises)
        if at is None or start - found[at].start > period:
            latest[rises] = len(found)
            found.append(Episode(series, start, start, start, rises, is_shift=False))
            continue
        before = found[at]
        peak = start if abs(z[start]) > abs(z[before.peak]) else before.peak
        found[at] = Episode(series, before.start, start, peak, rises, is_shift=False)
    return found
