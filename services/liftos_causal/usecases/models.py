"""Models: fitted once, kept, and used by name."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from liftos_causal.domain.mix_model import MixModel
from liftos_causal.domain.records import Model, ModelSpec, ModelState, ModelType, Origin, Selection
from liftos_causal.domain.validation import ValidationMethod
from liftos_causal.ports import Records
from liftos_causal.usecases.modelling import Choices, Modelling
from liftos_causal.usecases.once import made_once
from liftos_kit.core.clock import Clock
from liftos_kit.core.errors import NotFoundError
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue

_NEWEST_OF: Final = 1_000


class Models:
    """Fits, keeps and finds models."""

    def __init__(self, records: Records[Model], modelling: Modelling, clock: Clock) -> None:
        self._records = records
        self._modelling = modelling
        self._clock = clock

    async def create(
        self,
        org: str,
        model_id: str,
        *,
        display_name: str,
        model_type: ModelType | None,
        validation_method: ValidationMethod | None,
        choices: Choices,
        selection: Selection,
        origin: Origin,
    ) -> Model:
        """Fit and keep a model.

        Raises:
            AlreadyExistsError: The id is taken.
            DataInsufficientError: The data does not suffice.
            InvalidFieldsError: A choice is not for models of this type.
        """

        async def make() -> Model:
            defaults = await self._modelling.configuration(org)
            chosen = model_type or defaults.model_type
            spec = ModelSpec(
                display_name=display_name,
                model_type=chosen,
                validation_method=validation_method or defaults.validation_method,
                parameters=await self._modelling.parameters(org, chosen, choices),
                selection=selection,
            )
            modelled = await self._modelling.fitted(
                org, chosen, spec.parameters, selection, validation=spec.validation_method
            )
            now = self._clock.now()
            # The base currency of the day may be another one later.
            selected = replace(selection, currency_code=modelled.numbers.currency_code)
            return Model(
                id=model_id,
                spec=replace(spec, selection=selected),
                state=ModelState.READY,
                state_reason="",
                fit=await self._modelling.compute(modelled.fit),
                draws=modelled.model.draws,
                version=1,
                create_time=now,
                update_time=now,
                origin=origin,
            )

        return await made_once(self._records, org, model_id, origin, make)

    async def get(self, org: str, model_id: str) -> Model:
        """Return a model.

        Raises:
            NotFoundError: There is none.
        """
        model = await self._records.get(org, model_id)
        if model is None:
            raise NotFoundError(f"orgs/{org}/attributionModels/{model_id}")
        return model

    async def newest(self, org: str, outcome: str) -> Model:
        """Return the newest model that can be used and explains an outcome.

        Raises:
            NotFoundError: There is none.
        """
        found, _ = await self._records.list_page(org, where=None, cursor=None, limit=_NEWEST_OF)
        fitting = [
            model
            for model in found
            if model.state is ModelState.READY and model.spec.parameters.outcome == outcome
        ]
        if not fitting:
            raise NotFoundError(f"orgs/{org}/attributionModels/- that explains {outcome}")
        newest = max(fitting, key=lambda model: (model.update_time, model.id))
        return await self.get(org, newest.id)

    async def list_page(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[Model], JsonValue]:
        """Return a page of models by id, without draws."""
        return await self._records.list_page(org, where=where, cursor=cursor, limit=limit)


def usable(model: Model) -> MixModel:
    """Return what a kept model computes with; it predicts no days, since it keeps no baseline.

    Raises:
        NotFoundError: The model cannot be used.
    """
    if model.fit is None or model.draws is None or model.state is not ModelState.READY:
        raise NotFoundError(f"attributionModels/{model.id} that is ready")
    curves = tuple(each.curve for each in model.fit.returns)
    return MixModel.of_curves(model.spec.parameters, curves, model.draws)
