"""Budgets: the best allocation on the curves of a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import numpy as np

from liftos_causal.domain.budget import Bounds, ConstraintsConflictError, allocated
from liftos_causal.domain.curves import Estimate
from liftos_causal.domain.mix_model import MixModel, marginal_return, steady_outcome
from liftos_causal.domain.panel import Floats, Outcome
from liftos_causal.domain.records import (
    BudgetGoal,
    BudgetLine,
    BudgetOptimization,
    DayRange,
    Model,
    Origin,
    Selection,
)
from liftos_causal.ports import PerformanceReader, Records
from liftos_causal.usecases.modelling import Modelling
from liftos_causal.usecases.models import Models, usable
from liftos_causal.usecases.once import made_once
from liftos_kit.core.clock import Clock
from liftos_kit.core.errors import (
    DataInsufficientError,
    FieldViolation,
    InvalidFieldsError,
    VerificationFailedError,
)
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue

_HORIZON_DAYS: Final = 30
_OUTCOMES: Final = {
    BudgetGoal.ROI: Outcome.REVENUE,
    BudgetGoal.REVENUE: Outcome.REVENUE,
    BudgetGoal.CONVERSIONS: Outcome.CONVERSIONS,
}
_AT_BOUND: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Constraint:
    """What a channel may get over the whole horizon, in currency.

    Attributes:
        channel: Its name.
        minimum: At least; none sets none.
        maximum: At most; none sets none.
        maximum_change: Largest change against the present, as a fraction; none sets none.
    """

    channel: str
    minimum: float | None
    maximum: float | None
    maximum_change: float | None


@dataclass(frozen=True, slots=True)
class BudgetQuestion:
    """What there is to allocate; money in currency units.

    Attributes:
        model: Id of the model; empty takes the newest that explains the goal's outcome.
        current: Present allocation for the horizon by channel; empty takes what was spent in as
            many days before the newest.
        total: What there is for the horizon.
        currency_code: Of all money; empty is the model's.
        constraints: Limits.
        goal: What it is best for.
        horizon_days: How many days; 0 takes 30.
    """

    model: str
    current: Mapping[str, float]
    total: float
    currency_code: str
    constraints: Sequence[Constraint]
    goal: BudgetGoal
    horizon_days: int


class Budgets:
    """Allocates budgets, and keeps allocations."""

    def __init__(
        self,
        *,
        budgets: Records[BudgetOptimization],
        models: Models,
        modelling: Modelling,
        performance: PerformanceReader,
        clock: Clock,
    ) -> None:
        self._budgets = budgets
        self._models = models
        self._modelling = modelling
        self._performance = performance
        self._clock = clock

    async def optimize(
        self, org: str, question: BudgetQuestion, origin: Origin | None
    ) -> BudgetOptimization:
        """Allocate a budget, and keep the allocation where there is a request to keep it for.

        Raises:
            DataInsufficientError: Nothing is known of the present spend.
            InvalidFieldsError: The model explains something else, or a channel is unknown to it.
            NotFoundError: There is no such model.
            VerificationFailedError: No allocation keeps the constraints.
        """

        async def make() -> BudgetOptimization:
            outcome = _OUTCOMES[question.goal]
            kept = await (
                self._models.get(org, question.model)
                if question.model
                else self._models.newest(org, outcome)
            )
            _check(kept, question)
            horizon = question.horizon_days or _HORIZON_DAYS
            asked = replace(
                question,
                horizon_days=horizon,
                current=question.current or await self._spent(org, horizon, question.currency_code),
            )
            return await self._modelling.compute(lambda: self._allocated(kept, asked, origin))

        if origin is None:
            return await make()
        return await made_once(self._budgets, org, origin.request_id, origin, make)

    async def list_page(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[BudgetOptimization], JsonValue]:
        """Return a page of kept allocations, newest first."""
        return await self._budgets.list_page(org, where=where, cursor=cursor, limit=limit)

    async def _spent(self, org: str, days: int, currency_code: str) -> Mapping[str, float]:
        last = await self._performance.last_day(org)
        if last is None:
            raise DataInsufficientError("days with spend", found="no", required="some")
        selection = Selection(
            DayRange(last - timedelta(days=days - 1), last), currency_code=currency_code
        )
        panel = (await self._performance.daily(org, selection, ())).panel
        sums = panel.spend.sum(axis=0) * (days / len(panel))
        return {channel: float(sums[place]) for place, channel in enumerate(panel.channels)}

    def _allocated(
        self, kept: Model, question: BudgetQuestion, origin: Origin | None
    ) -> BudgetOptimization:
        ready = usable(kept)
        horizon, goal = question.horizon_days, question.goal
        channels = [curve.channel for curve in ready.curves]
        now = np.array([question.current.get(channel, 0.0) for channel in channels]) / horizon
        daily = question.total / horizon
        bounds = _bounds(question, dict(zip(channels, now, strict=True)))
        try:
            best = allocated(ready.curves, daily, bounds, spend_all=goal is not BudgetGoal.ROI)
        except ConstraintsConflictError as conflict:
            raise VerificationFailedError(
                "constraints", measured=str(conflict), threshold="an allocation that keeps them"
            ) from None

        def expected(spend: Floats) -> Estimate:
            cost = float(spend.sum()) if goal is BudgetGoal.ROI else 0.0
            a_day = steady_outcome(ready, spend)
            low, high = (a_day.low - cost) * horizon, (a_day.high - cost) * horizon
            return Estimate((a_day.value - cost) * horizon, low, high)

        return BudgetOptimization(
            id="" if origin is None else origin.request_id,
            model=kept.id,
            goal=goal,
            horizon_days=horizon,
            currency_code=question.currency_code or kept.spec.selection.currency_code,
            lines=_lines(kept, ready, now=now, best=best, horizon=horizon),
            current_outcome=expected(now),
            optimal_outcome=expected(best),
            binding_constraints=tuple(
                channel
                for channel, spend in zip(channels, best, strict=True)
                if channel in bounds and _binds(bounds[channel], float(spend), daily)
            ),
            create_time=self._clock.now(),
            origin=origin or Origin(),
        )


def _check(kept: Model, question: BudgetQuestion) -> None:
    explained, needed = kept.spec.parameters.outcome, _OUTCOMES[question.goal]
    if explained is not needed:
        raise InvalidFieldsError.of(
            "attribution_model",
            f"explains {explained} and the goal needs {needed}",
            rule="outcome",
        )
    fitted_in = kept.spec.selection.currency_code
    if question.currency_code and question.currency_code != fitted_in:
        raise InvalidFieldsError.of(
            "currency_code", f"is not that of the model, {fitted_in or 'none'}", rule="currency"
        )
    known = {each.curve.channel for each in kept.fit.returns} if kept.fit else set()
    named = [("current_allocation", channel) for channel in question.current]
    named += [("constraints", each.channel) for each in question.constraints]
    unknown = [
        FieldViolation(field, f"the model knows no channel {channel}", "channel")
        for field, channel in named
        if channel not in known
    ]
    if unknown:
        raise InvalidFieldsError(unknown)


def _bounds(question: BudgetQuestion, now: Mapping[str, float]) -> dict[str, Bounds]:
    """Return bounds a day; several constraints of a channel all hold."""
    daily, horizon = question.total / question.horizon_days, question.horizon_days
    bounds: dict[str, Bounds] = {}
    for each in question.constraints:
        before = bounds.get(each.channel, Bounds(0.0, daily))
        low = max(before.low, (each.minimum or 0.0) / horizon)
        high = before.high
        if each.maximum is not None:
            high = min(high, each.maximum / horizon)
        if each.maximum_change is not None:
            low = max(low, now[each.channel] * (1 - each.maximum_change))
            high = min(high, now[each.channel] * (1 + each.maximum_change))
        bounds[each.channel] = Bounds(low, high)
    return bounds


def _binds(bounds: Bounds, spend: float, daily: float) -> bool:
    near = _AT_BOUND * daily
    at_low = bounds.low > 0 and spend <= bounds.low + near
    return at_low or (bounds.high < daily and spend >= bounds.high - near)


def _lines(
    kept: Model, ready: MixModel, *, now: Floats, best: Floats, horizon: int
) -> tuple[BudgetLine, ...]:
    assert kept.fit is not None
    lines = [
        BudgetLine(
            channel=each.curve.channel,
            current=float(now[number]) * horizon,
            recommended=float(best[number]) * horizon,
            marginal_return=marginal_return(ready, number, float(best[number])),
            extrapolated=bool(best[number] > each.largest_daily_spend),
        )
        for number, each in enumerate(kept.fit.returns)
    ]
    lines.sort(key=lambda line: (-abs(line.recommended - line.current), line.channel))
    return tuple(lines)
