"""How spend becomes outcome: it carries over to later days, and each unit adds less."""

from dataclasses import dataclass

import numpy as np

from liftos_causal.domain.panel import Floats


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Curve:
    """What a channel does: `coefficient * x / (x + half_saturation)`, x being spend after adstock.

    Attributes:
        channel: Its name.
        decay: Share of a day's effect that is left the next day, 0 to below 1.
        window_days: Days after which nothing is left.
        half_saturation: Adstocked spend a day that gives half of the coefficient, in currency.
        coefficient: Outcome a day that the channel could give at most.
    """

    channel: str
    decay: float
    window_days: int
    half_saturation: float
    coefficient: float

    @property
    def carried(self) -> float:
        """Days' worth of spend at work on a day, when each day spends the same."""
        return float(carried(self.decay, self.window_days))

    def outcome(self, daily_spend: Floats | float) -> Floats:
        """Return outcome a day when each day spends this much."""
        reached = np.asarray(daily_spend, dtype=np.float64) * self.carried
        return self.coefficient * saturated(reached, self.half_saturation)

    def marginal(self, daily_spend: float) -> float:
        """Return outcome for one more unit of spend, when each day spends this much."""
        slope = marginal(self.coefficient, self.carried, self.half_saturation, daily_spend)
        return float(slope)


def adstocked(spend: Floats, decay: float, window_days: int) -> Floats:
    """Return spend with what is left of earlier days, days first.

    A day's spend counts `decay ** n` n days later and nothing from `window_days` on (geometric
    adstock, Broadbent 1979).
    """
    kernel = decay ** np.arange(min(window_days, len(spend)), dtype=np.float64)
    columns = spend.reshape(len(spend), -1)
    carried_over = [np.convolve(column, kernel)[: len(spend)] for column in columns.T]
    return np.column_stack(carried_over).reshape(spend.shape) if carried_over else spend


def saturated(adstocked_spend: Floats, half_saturation: Floats | float) -> Floats:
    """Return the share of a channel's most that this much gives, 0 to 1 (Michaelis-Menten)."""
    return adstocked_spend / (adstocked_spend + half_saturation)


def carried(decay: Floats | float, window_days: int) -> Floats:
    """Return the sum of `decay ** n` for n from 0 to `window_days` - 1; below a decay of 1."""
    decays = np.asarray(decay, dtype=np.float64)
    return (1.0 - decays**window_days) / (1.0 - decays)


def marginal(
    coefficient: Floats | float,
    carried_days: Floats | float,
    half_saturation: Floats | float,
    daily_spend: float,
) -> Floats:
    """Return the derivative of `coefficient * saturated(daily_spend * carried_days)` by spend."""
    reached = np.asarray(daily_spend * carried_days)
    slope: Floats = coefficient * carried_days * half_saturation / (reached + half_saturation) ** 2
    return slope
