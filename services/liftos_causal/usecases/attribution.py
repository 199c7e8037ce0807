"""Attribution: credit for days, by a kept model or by one that is fitted for the question."""

from collections.abc import Sequence
from dataclasses import replace

from liftos_causal.domain.attribution import ChannelCredit, Credit, credit
from liftos_causal.domain.mix_model import MixModel
from liftos_causal.domain.panel import Outcome
from liftos_causal.domain.recommendations import recommendations
from liftos_causal.domain.records import (
    AttributedChannel,
    AttributionResult,
    ModelType,
    Origin,
    Recommendation,
    Selection,
)
from liftos_causal.ports import DailyNumbers, Records
from liftos_causal.usecases.modelling import Choices, Modelling
from liftos_causal.usecases.models import Models, usable
from liftos_causal.usecases.once import made_once
from liftos_kit.core.clock import Clock
from liftos_kit.core.errors import NotFoundError
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue


class Attribution:
    """Gives credit to channels, and keeps results."""

    def __init__(
        self,
        *,
        results: Records[AttributionResult],
        models: Models,
        modelling: Modelling,
        clock: Clock,
    ) -> None:
        self._results = results
        self._models = models
        self._modelling = modelling
        self._clock = clock

    async def analyze(
        self,
        org: str,
        *,
        model: str,
        model_type: ModelType | None,
        choices: Choices,
        selection: Selection,
        recommend: bool,
        origin: Origin | None,
    ) -> AttributionResult:
        """Give credit.

        Args:
            org: Whose.
            model: Id of a kept model; empty fits one for this question.
            model_type: How credit is given, without a kept model.
            choices: How to fit, without a kept model.
            selection: Days and channels.
            recommend: Whether to say what follows.
            origin: The request, where the result is kept.

        Raises:
            DataInsufficientError: The data does not suffice.
            NotFoundError: There is no such model.
        """

        async def make() -> AttributionResult:
            result_id = "" if origin is None else origin.request_id
            if model:
                kept = await self._models.get(org, model)
                ready = usable(kept)
                window = ready.parameters.window_days
                numbers, days = await self._modelling.daily(org, selection, window_days=window)
                kind = kept.spec.model_type
                performance = None if kept.fit is None else kept.fit.performance
            else:
                kind = model_type or (await self._modelling.configuration(org)).model_type
                parameters = await self._modelling.parameters(org, kind, choices)
                modelled = await self._modelling.fitted(org, kind, parameters, selection)
                ready, numbers, days = modelled.model, modelled.numbers, modelled.days
                performance = modelled.performance

            def compute() -> tuple[Credit, tuple[Recommendation, ...]]:
                given = credit(ready, numbers.panel, days)
                return given, recommendations(ready, numbers.panel, days) if recommend else ()

            given, follows = await self._modelling.compute(compute)
            return AttributionResult(
                id=result_id,
                model=model,
                model_type=kind,
                window_days=ready.parameters.window_days,
                selection=replace(selection, currency_code=numbers.currency_code),
                channels=tuple(_channel(each) for each in given.channels),
                unattributed_share=given.unattributed_share,
                performance=performance,
                recommendations=follows,
                quality_score=numbers.quality_score,
                caveats=_caveats(numbers, days, ready),
                create_time=self._clock.now(),
                origin=origin or Origin(),
            )

        if origin is None:
            return await make()
        return await made_once(self._results, org, origin.request_id, origin, make)

    async def get(self, org: str, result_id: str) -> AttributionResult:
        """Return a kept result.

        Raises:
            NotFoundError: There is none.
        """
        result = await self._results.get(org, result_id)
        if result is None:
            raise NotFoundError(f"orgs/{org}/attributionResults/{result_id}")
        return result

    async def list_page(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[AttributionResult], JsonValue]:
        """Return a page of kept results, newest first."""
        return await self._results.list_page(org, where=where, cursor=cursor, limit=limit)


def _channel(given: ChannelCredit) -> AttributedChannel:
    return AttributedChannel(
        channel=given.channel,
        share=given.share,
        conversions=given.amounts.get(Outcome.CONVERSIONS, 0.0),
        revenue=given.amounts.get(Outcome.REVENUE, 0.0),
        spend=given.spend,
    )


def _caveats(numbers: DailyNumbers, days: slice, model: MixModel) -> tuple[str, ...]:
    outcome = model.parameters.outcome
    unknown = int((~numbers.panel.known(outcome)[days]).sum())
    found = []
    if unknown:
        found.append(f"{outcome} of {unknown} days is not known; they are left out")
    without = sorted(set(numbers.panel.channels) - {curve.channel for curve in model.curves})
    if without:
        found.append(f"the model knows nothing of {', '.join(without)}")
    return tuple(found)
