"""Findings of the module, computed from what is stored whenever they are asked for."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from liftos_causal.domain.curves import Estimate
from liftos_causal.domain.mix_model import MixModel, returned_per_spend
from liftos_causal.domain.panel import Panel
from liftos_causal.domain.recommendations import recommendations
from liftos_causal.domain.records import (
    DayRange,
    Experiment,
    ExperimentState,
    LiftMeasurement,
    ModelType,
    Recommendation,
    Selection,
)
from liftos_causal.ports import Records
from liftos_causal.usecases.modelling import Choices, Modelling
from liftos_kit.core.clock import Clock
from liftos_kit.core.errors import DataInsufficientError

_NEWEST: Final = 1_000
_MODEL_DAYS: Final = 365
_SATURATED: Final = 0.5
"""Part of the average return that one more unit still gives, below which a channel is saturated."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding with what it rests on.

    Attributes:
        id: The same finding has the same.
        kind: Stable word.
        title: A few words.
        description: One sentence.
        platform: Empty where it is about all.
        effect: How much.
        evidence_strength: 0 to 1.
        p_value: None where none was computed.
        source: Kind and id of the record that it rests on; empty where it is the numbers alone.
        recommendations: What follows.
        days: That it is about.
        time: When it was found.
    """

    id: str
    kind: str
    title: str
    description: str
    platform: str
    effect: Estimate
    evidence_strength: float
    p_value: float | None
    source: str
    recommendations: tuple[Recommendation, ...]
    days: DayRange
    time: datetime


class Insights:
    """Finds what stands out."""

    def __init__(
        self,
        *,
        experiments: Records[Experiment],
        lifts: Records[LiftMeasurement],
        modelling: Modelling,
        clock: Clock,
    ) -> None:
        self._experiments = experiments
        self._lifts = lifts
        self._modelling = modelling
        self._clock = clock

    async def list(self, org: str, days: DayRange, platforms: Sequence[str]) -> Sequence[Finding]:
        """Return all findings that touch some days, strongest evidence first."""
        found = [
            *await self._of_channels(org, days, platforms),
            *await self._of_experiments(org, days),
            *await self._of_lifts(org, days),
        ]
        found = [each for each in found if not platforms or each.platform in ("", *platforms)]
        found.sort(key=lambda each: (-each.evidence_strength, each.id))
        return found

    async def _of_channels(
        self, org: str, days: DayRange, platforms: Sequence[str]
    ) -> Sequence[Finding]:
        # A few weeks tell channels apart only by chance, so that a year is looked at.
        start = min(days.start, days.end - timedelta(days=_MODEL_DAYS - 1))
        selection = Selection(DayRange(start, days.end), tuple(platforms))
        parameters = await self._modelling.parameters(org, ModelType.MARKETING_MIX, Choices())
        try:
            modelled = await self._modelling.fitted(
                org, ModelType.MARKETING_MIX, parameters, selection
            )
        except DataInsufficientError:
            # Too few days for a model say nothing about channels; experiments may still.
            return []
        now = self._clock.now()
        return await self._modelling.compute(
            lambda: [
                *_saturated(modelled.model, modelled.numbers.panel, selection.days, now),
                *_worth_acting(
                    modelled.model,
                    modelled.numbers.panel,
                    modelled.days,
                    days=selection.days,
                    now=now,
                ),
            ]
        )

    async def _of_experiments(self, org: str, days: DayRange) -> Sequence[Finding]:
        found, _ = await self._experiments.list_page(org, where=None, cursor=None, limit=_NEWEST)
        return [
            Finding(
                id=_id("EXPERIMENT", each.id),
                kind="EXPERIMENT",
                title=f"{each.spec.display_name}: {_signed(each.effect.effect.value)}",
                description=(
                    f"{each.spec.display_name} changed {each.spec.outcome} by"
                    f" {_signed(each.effect.effect.value)} ({_signed(each.effect.effect.low)} to"
                    f" {_signed(each.effect.effect.high)})."
                ),
                platform="",
                effect=each.effect.effect,
                evidence_strength=1.0 - each.effect.p_value,
                p_value=each.effect.p_value,
                source=f"experiments/{each.id}",
                recommendations=(),
                days=each.spec.days,
                time=each.update_time,
            )
            for each in found
            if each.state is ExperimentState.ANALYZED
            and each.effect is not None
            and each.effect.significant
            and _touches(each.spec.days, days)
        ]

    async def _of_lifts(self, org: str, days: DayRange) -> Sequence[Finding]:
        found, _ = await self._lifts.list_page(org, where=None, cursor=None, limit=_NEWEST)
        return [
            Finding(
                id=_id("LIFT", each.id),
                kind="LIFT",
                title=f"Lift of {each.campaign_id}: {_signed(each.effect.effect.value)}",
                description=(
                    f"The campaign {each.campaign_id} brought {_signed(each.effect.effect.value)}"
                    f" ({_signed(each.effect.effect.low)} to {_signed(each.effect.effect.high)})"
                    f" that would not have been without it."
                ),
                platform="",
                effect=each.effect.effect,
                evidence_strength=1.0 - each.effect.p_value,
                p_value=each.effect.p_value,
                source=f"liftMeasurements/{each.id}",
                recommendations=(),
                days=each.treatment,
                time=each.create_time,
            )
            for each in found
            if each.effect.significant and _touches(each.treatment, days)
        ]


def _saturated(model: MixModel, panel: Panel, days: DayRange, now: datetime) -> Sequence[Finding]:
    assert model.draws is not None
    found = []
    spend = model.spend(panel)
    for number, average in enumerate(returned_per_spend(model, panel)):
        curve = model.curves[number]
        usual = float(spend[:, number].mean())
        more = curve.marginal(usual)
        if average.value > 0 and more < average.value * _SATURATED:
            found.append(
                Finding(
                    id=_id("SATURATION", curve.channel, days),
                    kind="SATURATION",
                    title=f"{curve.channel} is saturated",
                    description=(
                        f"One more unit of spend on {curve.channel} gives {more:.2f}, and a unit"
                        f" gives {average.value:.2f} on average."
                    ),
                    platform=curve.channel,
                    effect=average,
                    # How far one more unit falls short of what a unit gives.
                    evidence_strength=1.0 - more / average.value,
                    p_value=None,
                    source="",
                    recommendations=(),
                    days=days,
                    time=now,
                )
            )
    return found


def _worth_acting(
    model: MixModel, panel: Panel, asked: slice, *, days: DayRange, now: datetime
) -> Sequence[Finding]:
    return [
        Finding(
            id=_id("RETURN", each.channel, days),
            kind="RETURN",
            title=f"{each.channel}: {each.code.replace('_', ' ').lower()}",
            description=each.text,
            platform=each.channel,
            effect=Estimate(each.expected_change, each.expected_change, each.expected_change),
            evidence_strength=each.confidence,
            p_value=None,
            source="",
            recommendations=(each,),
            days=days,
            time=now,
        )
        for each in recommendations(model, panel, asked)
        if each.expected_change is not None
    ]


def _touches(one: DayRange, other: DayRange) -> bool:
    return one.start <= other.end and other.start <= one.end


def _id(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


def _signed(value: float) -> str:
    return f"{value:+,.0f}"
