"""Models fitted on stored numbers, off the event loop."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, TypeVar

import numpy as np

from liftos_causal.domain import linear_models
from liftos_causal.domain.linear_models import MeasuredReturn
from liftos_causal.domain.mix_model import MixModel, Parameters, Prior, fit, marginal_return
from liftos_causal.domain.panel import DataInsufficientError as TooLittleError
from liftos_causal.domain.panel import Outcome
from liftos_causal.domain.records import (
    ChannelReturn,
    Configuration,
    DayRange,
    Experiment,
    ExperimentState,
    Fit,
    ModelType,
    Selection,
)
from liftos_causal.domain.validation import Performance, ValidationMethod, validated
from liftos_causal.ports import Configurations, DailyNumbers, PerformanceReader, Records
from liftos_causal.usecases.groups import group_filter
from liftos_kit.core.errors import DataInsufficientError, FieldViolation, InvalidFieldsError

Result = TypeVar("Result")

DEFAULTS: Final = Configuration(
    parameters=Parameters(),
    model_type=ModelType.MARKETING_MIX,
    validation_method=ValidationMethod.HOLDOUT,
    platforms=(),
    cache_seconds=300.0,
    extra={},
)
_EXPERIMENTS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Choices:
    """What a caller says of how to fit; None takes what the configuration says.

    Attributes are those of `Parameters`.
    """

    outcome: Outcome | None = None
    window_days: int | None = None
    controls: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    priors: dict[str, Prior] | None = None
    confidence_level: float | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Modelled:
    """A fitted model and what it was fitted on.

    Attributes:
        model: It.
        numbers: Of its days, and of as many before them as a channel can act.
        days: Which of the panel's days were asked for.
        performance: On days that were kept back; none for models that predict no days.
    """

    model: MixModel
    numbers: DailyNumbers
    days: slice
    performance: Performance | None

    def fit(self) -> Fit:
        """Return what is kept of it, draws apart."""
        panel, days = self.numbers.panel, self.days
        spend = self.model.spend(panel)[days]
        return Fit(
            returns=tuple(
                ChannelReturn(
                    curve,
                    marginal_return(self.model, number, float(spend[:, number].mean())),
                    float(spend[:, number].max()),
                )
                for number, curve in enumerate(self.model.curves)
            ),
            performance=self.performance,
            training_data_sha256=self.numbers.sha256,
            write_token=self.numbers.write_token,
        )


class Modelling:
    """Reads numbers and fits models on them.

    Args:
        performance: The numbers.
        experiments: Evidence of models that rest on experiments.
        configurations: Defaults of each org.
        executor: Where models are fitted.
    """

    def __init__(
        self,
        *,
        performance: PerformanceReader,
        experiments: Records[Experiment],
        configurations: Configurations,
        executor: Executor,
    ) -> None:
        self._performance = performance
        self._experiments = experiments
        self._configurations = configurations
        self._executor = executor

    async def configuration(self, org: str) -> Configuration:
        """Return the configuration of an org; the defaults where none was stored."""
        return await self._configurations.get(org) or DEFAULTS

    async def parameters(self, org: str, model_type: ModelType, choices: Choices) -> Parameters:
        """Return choices, completed by the configuration of the org.

        Raises:
            InvalidFieldsError: A choice is not for models of this type.
        """
        violations = [
            FieldViolation(f"parameters.{field}", f"is for {only.value} models alone", field)
            for field, only, given in (
                ("priors", ModelType.BAYESIAN_STRUCTURAL, choices.priors),
                ("instruments", ModelType.INSTRUMENTAL_VARIABLES, choices.instruments),
            )
            if given and model_type is not only
        ]
        if violations:
            raise InvalidFieldsError(violations)
        defaults = (await self.configuration(org)).parameters
        is_bayesian = model_type is ModelType.BAYESIAN_STRUCTURAL
        return Parameters(
            outcome=choices.outcome or defaults.outcome,
            window_days=choices.window_days or defaults.window_days,
            controls=choices.controls or defaults.controls,
            instruments=choices.instruments or defaults.instruments,
            priors=(choices.priors or defaults.priors) if is_bayesian else None,
            confidence_level=choices.confidence_level or defaults.confidence_level,
            seed=choices.seed,
        )

    async def daily(
        self, org: str, selection: Selection, *, window_days: int, series: Sequence[str] = ()
    ) -> tuple[DailyNumbers, slice]:
        """Return the numbers of a selection and of the days before that still act on it.

        Returns:
            The numbers, and which of their days were asked for.
        """
        configured = (await self.configuration(org)).platforms
        first = selection.days.start
        numbers = await self._performance.daily(
            org,
            replace(
                selection,
                days=DayRange(first - timedelta(days=window_days), selection.days.end),
                platforms=selection.platforms or configured,
            ),
            series,
        )
        before = int((numbers.panel.days < np.datetime64(first)).sum())
        if before == len(numbers.panel):
            raise DataInsufficientError("days of those asked for", found="no", required="some")
        return numbers, slice(before, None)

    async def fitted(
        self,
        org: str,
        model_type: ModelType,
        parameters: Parameters,
        selection: Selection,
        *,
        validation: ValidationMethod = ValidationMethod.HOLDOUT,
    ) -> Modelled:
        """Fit a model.

        Raises:
            DataInsufficientError: The data does not suffice.
        """
        numbers, days = await self.daily(
            org,
            selection,
            window_days=parameters.window_days,
            series=(*parameters.controls, *parameters.instruments),
        )
        match model_type:
            case ModelType.MARKETING_MIX | ModelType.BAYESIAN_STRUCTURAL:
                fitted = np.zeros(len(numbers.panel), dtype=bool)
                fitted[days] = True

                def run() -> tuple[MixModel, Performance | None]:
                    model = fit(numbers.panel, parameters, fitted=fitted)
                    return model, validated(numbers.panel, parameters, validation)

            case ModelType.INSTRUMENTAL_VARIABLES:

                def run() -> tuple[MixModel, Performance | None]:
                    return linear_models.instrumented(numbers.panel, parameters), None

            case ModelType.DIFFERENCE_IN_DIFFERENCES | ModelType.RANDOMIZED_CONTROLLED_TRIAL:
                measured = await self._measured(org, model_type, parameters.outcome)

                def run() -> tuple[MixModel, Performance | None]:
                    found = linear_models.from_experiments(numbers.panel, parameters, measured)
                    return found, None

        model, performance = await self.compute(run)
        return Modelled(model, numbers, days, performance)

    async def compute(self, run: Callable[[], Result]) -> Result:
        """Run a calculation off the event loop.

        Raises:
            DataInsufficientError: The data does not suffice for it.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, run)
        except TooLittleError as error:
            raise _refused(error) from None

    async def _measured(
        self, org: str, model_type: ModelType, outcome: Outcome
    ) -> Sequence[MeasuredReturn]:
        """Return what analysed experiments of a kind say of each channel's return."""
        found, _ = await self._experiments.list_page(
            org, where=None, cursor=None, limit=_EXPERIMENTS
        )
        of_kind = [
            each
            for each in found
            if each.state is ExperimentState.ANALYZED
            and each.effect is not None
            and each.effect.method.value in _METHODS[model_type]
            and each.spec.outcome == outcome
        ]
        measured = []
        for experiment in of_kind:
            treated = await self._performance.units(
                org,
                experiment.spec.days,
                where=group_filter(experiment.spec.treatment, field="treatment"),
                outcome=outcome,
            )
            spent = float(treated.spend.sum())
            channels = set(treated.platforms)
            # What several channels did together cannot be told apart.
            if len(channels) == 1 and spent > 0 and experiment.effect is not None:
                effect = experiment.effect
                measured.append(
                    MeasuredReturn(
                        channels.pop(), effect.effect.value / spent, effect.standard_error / spent
                    )
                )
        return measured


_METHODS: Final = {
    ModelType.DIFFERENCE_IN_DIFFERENCES: ("difference_in_differences", "synthetic_control"),
    ModelType.RANDOMIZED_CONTROLLED_TRIAL: ("randomized_experiment",),
}


def _refused(error: TooLittleError) -> DataInsufficientError:
    return DataInsufficientError(
        "of what the answer rests on", found="too little", required="more", advice=str(error)
    )
