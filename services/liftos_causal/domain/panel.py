"""The daily numbers that all models see: spend of each channel, outcomes, outside series."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
        outcomes: For each outcome a value a day; revenue in units of the same currency. NaN on
            days whose outcome is not known: models leave them out.
        series: Outside series by id, a value a day.
    """

    days: Days
    channels: tuple[str, ...]
    spend: Floats
    outcomes: Mapping[Outcome, Floats]
    series: Mapping[str, Floats]

    def __len__(self) -> int:
        return len(self.days)

    def known(self, outcome: Outcome) -> NDArray[np.bool_]:
        """Return on which days the outcome is known."""
        return np.isfinite(self.outcomes[outcome])

    def sha256(self) -> str:
        """Return the SHA-256 of the numbers, in hex; the same numbers have the same."""
        digest = hashlib.sha256(self.days.astype("datetime64[D]").astype(np.int64).tobytes())
        digest.update("\0".join(self.channels).encode())
        digest.update(np.ascontiguousarray(self.spend).tobytes())
        for outcome in Outcome:
            digest.update(self.outcomes[outcome].tobytes())
        for name in sorted(self.series):
            digest.update(name.encode())
            digest.update(self.series[name].tobytes())
        return digest.hexdigest()


def require_enough(panel: Panel, outcome: Outcome) -> None:
    """Check that a model can be fitted on the panel at all.

    Raises:
        DataInsufficientError: too few days, no channel that spent, or an outcome that is constant.
    """
    known = panel.known(outcome)
    if int(known.sum()) < SHORTEST_DAYS:
        raise DataInsufficientError(
            f"{outcome} of {int(known.sum())} days is known; a model needs {SHORTEST_DAYS}"
        )
    if not panel.channels or not bool((panel.spend > 0).any()):
        raise DataInsufficientError("no channel spent anything in these days")
    if float(np.ptp(panel.outcomes[outcome][known])) == 0.0:
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
