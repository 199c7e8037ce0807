"""The daily numbers that all models see: spend of each channel, outcomes, outside series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Days = NDArray[np.datetime64]

SHORTEST_DAYS: Final = 56
"""Eight weeks: fewer days tell weekdays and channels apart only by chance."""


class Outcome(StrEnum):
    """What channels are credited with."""

    REVENUE = "revenue"
    CONVERSIONS = "conversions"


class DataInsufficientError(Exception):
    """The stored days do not answer the question; the text says why and what would."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Daily numbers of an org, every day once.

    Attributes:
        days: Consecutive days, `datetime64[D]`.
        channels: Names in order of the columns of `spend`.
        spend: Days by channels, in units of one currency.
        outcomes: For each outcome a value a day; revenue in units of the same currency.
        series: Outside series by id, a value a day.
    """

    days: Days
    channels: tuple[str, ...]
    spend: Floats
    outcomes: Mapping[Outcome, Floats]
    series: Mapping[str, Floats]

    def __len__(self) -> int:
        return len(self.days)

    def place(self, first: date, last: date) -> slice:
        """Return where the days from `first` to `last` stand.

        Raises:
            DataInsufficientError: they are not all in the panel.
        """
        start, stop = np.datetime64(first, "D"), np.datetime64(last, "D")
        if not len(self.days) or start < self.days[0] or stop > self.days[-1]:
            raise DataInsufficientError(f"days from {first} to {last} are not all stored")
        offset = int((start - self.days[0]).astype(np.int64))
        return slice(offset, offset + int((stop - start).astype(np.int64)) + 1)


def require_enough(panel: Panel, outcome: Outcome) -> None:
    """Check that a model can be fitted on the panel at all.

    Raises:
        DataInsufficientError: too few days, no channel that spent, or an outcome that is constant.
    """
    if len(panel) < SHORTEST_DAYS:
        raise DataInsufficientError(
            f"{len(panel)} days are stored of those asked for; a model needs {SHORTEST_DAYS}"
        )
    if not panel.channels or not bool((panel.spend > 0).any()):
        raise DataInsufficientError("no channel spent anything in these days")
    if float(np.ptp(panel.outcomes[outcome])) == 0.0:
        raise DataInsufficientError(f"{outcome} is the same on all days, so nothing explains it")


def chosen_series(panel: Panel, names: Sequence[str]) -> Floats:
    """Return the named outside series as columns, days by series.

    Raises:
        DataInsufficientError: one of them is not stored for these days.
    """
    missing = [name for name in names if name not in panel.series]
    if missing:
        raise DataInsufficientError(f"no values of {', '.join(missing)} are stored for these days")
    if not names:
        return np.empty((len(panel), 0))
    return np.column_stack([panel.series[name] for name in names])


def inflation(residuals: Floats) -> float:
    """Return by how much variances grow since days that follow each other err alike (AR(1))."""
    scale = float(residuals @ residuals)
    if scale == 0.0:
        return 1.0
    alike = min(max(float(residuals[1:] @ residuals[:-1]) / scale, 0.0), 0.95)
    return (1.0 + alike) / (1.0 - alike)
