"""Worlds whose truth is known: what channels do was written down before the numbers were drawn."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from liftos_causal.domain.curves import adstocked, saturated
from liftos_causal.domain.panel import Floats, Outcome, Panel


@dataclass(frozen=True, slots=True)
class TrueCurve:
    """What a channel really does."""

    daily_spend: float
    decay: float
    half_saturation: float
    coefficient: float


CURVES: Mapping[str, TrueCurve] = {
    "google_ads": TrueCurve(3_000, 0.4, 6_000, 9_000),
    "meta": TrueCurve(5_000, 0.6, 10_000, 15_000),
    "klaviyo": TrueCurve(400, 0.2, 600, 4_000),
    "tiktok": TrueCurve(1_500, 0.0, 2_000, 2_000),
}


@dataclass(frozen=True, slots=True)
class World:
    """A panel and the outcome that each channel really gave on each day."""

    panel: Panel
    effects: Floats


def world(
    seed: int,
    *,
    days: int = 730,
    curves: Mapping[str, TrueCurve] = CURVES,
    noise: float = 2_500.0,
    level: float = 20_000.0,
) -> World:
    """Draw daily numbers; weeks spend unlike amounts, as budgets that are set by the week do."""
    generator = np.random.default_rng(seed)
    weeks = np.repeat(generator.lognormal(0, 0.4, (days // 7 + 1, len(curves))), 7, axis=0)[:days]
    spend = np.array([curve.daily_spend for curve in curves.values()]) * weeks
    spend = spend * generator.lognormal(0, 0.2, spend.shape)
    effects = np.column_stack(
        [
            curve.coefficient
            * saturated(adstocked(spend[:, place], curve.decay, 30), curve.half_saturation)
            for place, curve in enumerate(curves.values())
        ]
    )
    weekday = 2_000 * np.sin(np.arange(days) * 2 * np.pi / 7)
    outcome = level + weekday + effects.sum(axis=1) + generator.normal(0, noise, days)
    return World(
        Panel(
            days=np.datetime64("2024-01-01") + np.arange(days),
            channels=tuple(curves),
            spend=spend,
            outcomes={Outcome.REVENUE: outcome, Outcome.CONVERSIONS: outcome / 60},
            series={},
        ),
        effects,
    )
