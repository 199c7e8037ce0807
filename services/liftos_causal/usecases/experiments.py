"""Experiments and lift: outcome of treated campaigns against others."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import numpy as np

from liftos_causal.domain.effects import (
    Comparison,
    Effect,
    Method,
    estimated,
    minimum_detectable_effect,
)
from liftos_causal.domain.panel import Outcome
from liftos_causal.domain.records import (
    DayRange,
    Experiment,
    ExperimentSpec,
    ExperimentState,
    Group,
    LiftMeasurement,
    LiftType,
    Origin,
)
from liftos_causal.ports import PerformanceReader, Records, UnitDays
from liftos_causal.usecases.groups import group_filter
from liftos_causal.usecases.modelling import Modelling
from liftos_causal.usecases.once import made_once
from liftos_kit.core.clock import Clock
from liftos_kit.core.errors import DataInsufficientError, InvalidFieldsError, NotFoundError
from liftos_kit.core.filters import And, Filter, Not, Operator
from liftos_kit.core.filters import Comparison as Term
from liftos_kit.core.paging import JsonValue


class Experiments:
    """Plans, analyses and keeps experiments."""

    def __init__(
        self,
        *,
        experiments: Records[Experiment],
        modelling: Modelling,
        performance: PerformanceReader,
        clock: Clock,
    ) -> None:
        self._experiments = experiments
        self._modelling = modelling
        self._performance = performance
        self._clock = clock

    async def run(
        self, org: str, experiment_id: str, spec: ExperimentSpec, origin: Origin
    ) -> Experiment:
        """Keep an experiment, analysed where its days are over.

        Raises:
            AlreadyExistsError: The id is taken.
            InvalidFieldsError: A group names nothing, or both name the same campaign.
        """
        for group, field in ((spec.treatment, "treatment"), (spec.control, "control")):
            group_filter(group, field=f"experiment.{field}")

        async def make() -> Experiment:
            now = self._clock.now()
            planned = Experiment(
                id=experiment_id,
                spec=spec,
                state=ExperimentState.PLANNED,
                state_reason="",
                effect=None,
                minimum_detectable_effect=None,
                version=1,
                create_time=now,
                update_time=now,
                origin=origin,
            )
            return await self._looked_at(org, planned)

        return await made_once(self._experiments, org, experiment_id, origin, make)

    async def get(self, org: str, experiment_id: str) -> Experiment:
        """Return an experiment, analysed anew where its days have ended since.

        Raises:
            NotFoundError: There is none.
        """
        kept = await self._experiments.get(org, experiment_id)
        if kept is None:
            raise NotFoundError(f"orgs/{org}/experiments/{experiment_id}")
        if kept.state is ExperimentState.ANALYZED:
            return kept
        seen = await self._looked_at(org, kept)
        if (seen.state, seen.state_reason) == (kept.state, kept.state_reason):
            return kept
        seen = replace(seen, version=kept.version + 1, update_time=self._clock.now())
        return await self._experiments.change(
            org, experiment_id, lambda now: seen if now.version == kept.version else now
        )

    async def list_page(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[Experiment], JsonValue]:
        """Return a page of experiments, newest first, as they were last looked at."""
        return await self._experiments.list_page(org, where=where, cursor=cursor, limit=limit)

    async def _looked_at(self, org: str, experiment: Experiment) -> Experiment:
        spec = experiment.spec
        last = await self._performance.last_day(org) or date.min
        if self._clock.today() < spec.days.start:
            return replace(experiment, state=ExperimentState.PLANNED)
        if last < spec.days.end:
            return replace(experiment, state=ExperimentState.RUNNING)
        try:
            comparison = await _compared(
                self._performance,
                org,
                treatment=group_filter(spec.treatment, field="experiment.treatment"),
                control=group_filter(spec.control, field="experiment.control"),
                baseline=spec.baseline,
                days=spec.days,
                outcome=Outcome(spec.outcome),
            )
            effect = await self._modelling.compute(
                lambda: estimated(comparison, spec.method, spec.confidence_level)
            )
        except DataInsufficientError as error:
            return replace(
                experiment, state=ExperimentState.INCONCLUSIVE, state_reason=error.message
            )
        return replace(
            experiment,
            state=ExperimentState.ANALYZED,
            state_reason="",
            effect=effect,
            minimum_detectable_effect=minimum_detectable_effect(effect, spec.confidence_level),
        )


class Lift:
    """Measures the lift of campaigns, and keeps measurements."""

    def __init__(
        self,
        *,
        lifts: Records[LiftMeasurement],
        modelling: Modelling,
        performance: PerformanceReader,
        clock: Clock,
    ) -> None:
        self._lifts = lifts
        self._modelling = modelling
        self._performance = performance
        self._clock = clock

    async def measure(
        self,
        org: str,
        *,
        campaign_id: str,
        baseline: DayRange,
        treatment: DayRange,
        control: Group,
        lift_type: LiftType,
        method: Method,
        confidence_level: float | None,
        origin: Origin | None,
    ) -> LiftMeasurement:
        """Measure a campaign's lift.

        Args:
            org: Whose.
            campaign_id: The campaign.
            baseline: Days before.
            treatment: Days with it.
            control: What it is held against; empty takes the other campaigns of its account.
            lift_type: Which lift.
            method: How it is estimated.
            confidence_level: Of the interval; None takes the configured one.
            origin: The request, where the measurement is kept.

        Raises:
            DataInsufficientError: The data does not suffice.
            NotFoundError: No day of the campaign is stored.
        """

        async def make() -> LiftMeasurement:
            defaults = (await self._modelling.configuration(org)).parameters
            level = confidence_level or defaults.confidence_level
            its = Term("campaign_id", Operator.EQUAL, campaign_id)
            whole = DayRange(min(baseline.start, treatment.start), treatment.end)
            treated = await self._performance.units(org, whole, where=its, outcome=defaults.outcome)
            if not treated.units:
                raise NotFoundError(f"orgs/{org}/campaigns/{campaign_id}")
            others: Filter = And(
                (
                    Term("platform", Operator.EQUAL, treated.platforms[0]),
                    Term("account_id", Operator.EQUAL, treated.accounts[0]),
                    Not(its),
                )
            )
            if not control.is_empty:
                others = And((group_filter(control, field="control"), Not(its)))
            comparison = await _compared(
                self._performance,
                org,
                treatment=its,
                control=others,
                baseline=baseline,
                days=treatment,
                outcome=defaults.outcome
                if lift_type is LiftType.INCREMENTAL
                else Outcome.CONVERSIONS,
                per_click=lift_type is LiftType.CONVERSION,
            )
            effect: Effect = await self._modelling.compute(
                lambda: estimated(comparison, method, level)
            )
            within = (treatment.start - whole.start).days
            return LiftMeasurement(
                id="" if origin is None else origin.request_id,
                campaign_id=campaign_id,
                lift_type=lift_type,
                baseline=baseline,
                treatment=treatment,
                effect=effect,
                # To the micro, as it is stored.
                cost=round(float(treated.spend[:, within:].sum()), 6),
                create_time=self._clock.now(),
                origin=origin or Origin(),
            )

        if origin is None:
            return await make()
        return await made_once(self._lifts, org, origin.request_id, origin, make)

    async def list_page(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[LiftMeasurement], JsonValue]:
        """Return a page of kept measurements, newest first."""
        return await self._lifts.list_page(org, where=where, cursor=cursor, limit=limit)


async def _compared(
    performance: PerformanceReader,
    org: str,
    *,
    treatment: Filter,
    control: Filter,
    baseline: DayRange,
    days: DayRange,
    outcome: Outcome,
    per_click: bool = False,
) -> Comparison:
    """Return the outcome of both sides before and during some days.

    Raises:
        DataInsufficientError: A side has no campaign with numbers.
        InvalidFieldsError: A campaign is on both sides.
    """
    if baseline.end >= days.start:
        raise InvalidFieldsError.of(
            "baseline_date_range", "must end before the treatment begins", rule="order"
        )
    # Days between baseline and treatment belong to neither.
    whole = DayRange(baseline.start, days.end)
    treated = await performance.units(org, whole, where=treatment, outcome=outcome)
    others = await performance.units(org, whole, where=control, outcome=outcome)
    both = sorted(set(treated.units) & set(others.units))
    if both:
        raise InvalidFieldsError.of(
            "control", f"{', '.join(both[:3])} would be treated and control at once"
        )
    for units, side in ((treated, "treatment"), (others, "control")):
        if not units.units:
            raise DataInsufficientError(
                f"campaigns with numbers in the {side}", found="no", required="some"
            )
    values = np.vstack([_values(treated, per_click), _values(others, per_click)])
    before = slice(0, baseline.day_count)
    during = slice((days.start - whole.start) // timedelta(days=1), None)
    is_treated = np.arange(len(values)) < len(treated.units)
    return Comparison(values[:, before], values[:, during], is_treated)


def _values(units: UnitDays, per_click: bool) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    if not per_click:
        return units.outcome
    return np.divide(
        units.outcome, units.clicks, out=np.zeros_like(units.outcome), where=units.clicks > 0
    )
