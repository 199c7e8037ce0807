"""Intervals that hold the truth 95 times in 100, of whole arrays at once."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CONFIDENCE_Z: Final = 1.959963984540054
"""Normal quantile of 97.5 %: all intervals are two-sided ones of 95 %."""


class Interval(NamedTuple):
    """Lower and upper ends, NaN where there is none."""

    low: Floats
    high: Floats


def wilson_interval(successes: Floats, trials: Floats) -> Interval:
    """Return Wilson's score interval (1927) of rates; NaN unless 0 <= successes <= trials.

    Args:
        successes: May be fractional, as credited conversions are.
        trials: At least one.
    """
    valid = (trials > 0) & (successes >= 0) & (successes <= trials)
    n = np.where(valid, trials, np.nan)
    rate = successes / n
    z2 = CONFIDENCE_Z**2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = (
        CONFIDENCE_Z
        / (1 + z2 / n)
        * np.sqrt(np.maximum(rate * (1 - rate), 0.0) / n + z2 / (4 * n * n))
    )
    # Rounding must not put the rate itself outside.
    return Interval(
        np.minimum(np.clip(centre - half, 0.0, 1.0), rate),
        np.maximum(np.clip(centre + half, 0.0, 1.0), rate),
    )
