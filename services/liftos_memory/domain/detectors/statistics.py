"""What the detectors share: medians with gaps, tails of distributions, false discoveries."""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
Timestamps = npt.NDArray[np.datetime64]

SMALLEST_P: Final = 1e-14
"""Probabilities below this are not told apart: the sums behind them end there."""

MAD_TO_DEVIATION: Final = 1.4826
"""What the median absolute deviation of a normal distribution is multiplied with."""


def check_regular(timestamps: Timestamps, values: Floats) -> None:
    """Refuse series that are not regular.

    Raises:
        ValueError: Timestamps are not evenly spaced, or as many as the values of a series.
    """
    if values.ndim != 2 or values.shape[1] != timestamps.size:
        raise ValueError(f"{timestamps.size} timestamps for values of shape {values.shape}")
    if timestamps.size > 2 and np.unique(np.diff(timestamps)).size > 1:
        raise ValueError("timestamps are not evenly spaced; put nan where a step has no value")


def median(values: Floats, *, least: int = 1) -> Floats:
    """Return the median along the last axis, of what is not nan.

    Args:
        values: Of any shape.
        least: How many values it takes; nan where there are fewer.
    """
    if not values.shape[-1]:
        return np.full(values.shape[:-1], np.nan)
    ordered = np.sort(values, axis=-1)
    counts = np.isfinite(ordered).sum(axis=-1)
    low = np.maximum((counts - 1) // 2, 0)[..., None]
    high = np.minimum(counts // 2, values.shape[-1] - 1)[..., None]
    middle = np.take_along_axis(ordered, low, -1) + np.take_along_axis(ordered, high, -1)
    return np.where(counts >= max(least, 1), middle[..., 0] / 2, np.nan)


def deviation(values: Floats) -> Floats:
    """Return the standard deviation along the last axis of what is not nan; 0 below two values."""
    known = np.isfinite(values)
    counts = known.sum(axis=-1)
    filled = np.where(known, values, 0.0)
    mean = filled.sum(axis=-1) / np.maximum(counts, 1)
    squares = np.where(known, (values - mean[..., None]) ** 2, 0.0).sum(axis=-1)
    found: Floats = np.sqrt(squares / np.maximum(counts - 1, 1))
    return found


def normal_tails(z: Floats) -> Floats:
    """Return the probability of a standard normal number at least as far from 0; nan stays nan."""
    root = math.sqrt(0.5)
    found = np.array([math.erfc(abs(value) * root) for value in np.ravel(z)])
    return np.where(np.isnan(z), np.nan, np.maximum(found.reshape(z.shape), SMALLEST_P))


def student_tails(t: Floats, degrees: int) -> Floats:
    """Return the probability of a Student number at least as far from 0; nan stays nan.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.

    Args:
        t: Of any shape.
        degrees: Degrees of freedom, at least 1.
    """
    angle = np.arctan(np.abs(t) / math.sqrt(degrees))
    cosine = np.cos(angle)
    if degrees == 1:
        return np.maximum(1.0 - 2.0 / np.pi * angle, SMALLEST_P)
    is_odd = degrees % 2
    square = cosine * cosine
    term = cosine if is_odd else np.ones_like(cosine)
    total = term.copy()
    for step in range(2 + is_odd, degrees - 1, 2):
        term = term * square * ((step - 1) / step)
        total += term
    inside = np.sin(angle) * total
    if is_odd:
        inside = 2.0 / np.pi * (angle + inside)
    found: Floats = np.clip(1.0 - inside, SMALLEST_P, 1.0)
    return found


def discoveries(p_values: Floats) -> Floats:
    """Return q-values: the share of false discoveries among all that are at least as unlikely.

    Benjamini and Hochberg 1995. nan was not looked at: it stays nan and does not count.
    """
    flat = np.ravel(p_values)
    looked_at = np.flatnonzero(~np.isnan(flat))
    q_values = np.full(flat.shape, np.nan)
    if looked_at.size:
        order = looked_at[np.argsort(flat[looked_at], kind="stable")]
        ranked = flat[order] * looked_at.size / np.arange(1, looked_at.size + 1)
        q_values[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1.0)
    return q_values.reshape(p_values.shape)
