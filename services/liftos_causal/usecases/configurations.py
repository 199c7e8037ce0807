"""The configuration of an org, and what data makes of its beliefs."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from liftos_causal.domain.beliefs import Calibration, Conflict, calibrations, conflicts
from liftos_causal.domain.mix_model import Parameters, Prior
from liftos_causal.domain.records import Configuration, ModelType, Origin, Selection
from liftos_causal.ports import Configurations
from liftos_causal.usecases.modelling import DEFAULTS, Modelling
from liftos_causal.usecases.models import Models
from liftos_kit.core.clock import Clock
from liftos_kit.core.errors import EtagMismatchError, InvalidFieldsError, RequestIdReusedError

_SIMULATIONS: Final = 200
_LEVEL: Final = 0.95
_OF_INTERVAL: Final = 1.959963984540054
"""Standard deviations from the middle of such an interval of a normal to its end."""

_REMEMBERED: Final = 100


@dataclass(frozen=True, slots=True)
class Learned:
    """A configuration with new priors, and how each differs from the old one."""

    configuration: Configuration
    conflicts: Sequence[Conflict]


class ConfigurationAdministration:
    """Reads and changes configurations."""

    def __init__(
        self,
        *,
        configurations: Configurations,
        modelling: Modelling,
        models: Models,
        clock: Clock,
    ) -> None:
        self._configurations = configurations
        self._modelling = modelling
        self._models = models
        self._clock = clock

    async def get(self, org: str) -> Configuration:
        """Return the configuration; the defaults where none was stored."""
        return await self._modelling.configuration(org)

    async def update(
        self,
        org: str,
        configuration: Configuration,
        *,
        fields: Collection[str],
        version: int | None,
        origin: Origin,
    ) -> Configuration:
        """Change fields of the configuration; a request that changed it before does not again.

        Args:
            org: Whose.
            configuration: The new values.
            fields: Which of them are meant.
            version: As it was read; None takes the newest.
            origin: The request.

        Raises:
            EtagMismatchError: It was changed since it was read.
            RequestIdReusedError: The request's id came with another payload.
        """

        def changed(before: Configuration | None) -> Configuration:
            now = before or DEFAULTS
            if _is_done(now, origin):
                return now
            self._check_version(org, now, version)
            values = {name: getattr(configuration, name) for name in fields}
            done = (*now.requests, origin)[-_REMEMBERED:] if origin.request_id else now.requests
            return replace(
                now,
                **values,
                requests=done,
                version=now.version + 1,
                update_time=self._clock.now(),
            )

        return await self._configurations.change(org, changed)

    async def prior_conflicts(
        self, org: str, priors: dict[str, Prior], selection: Selection
    ) -> Sequence[Conflict]:
        """Hold priors against data; no priors take those of the configuration.

        Raises:
            DataInsufficientError: The data does not suffice.
            InvalidFieldsError: There are no priors.
        """
        configured = (await self._modelling.configuration(org)).parameters
        believed = priors or dict(configured.priors or {})
        if not believed:
            raise InvalidFieldsError.of("priors", "none are given and none are configured")
        return await self._conflicts(org, replace(configured, priors=believed), selection)

    async def learn(
        self,
        org: str,
        selection: Selection,
        *,
        channels: Collection[str],
        version: int | None,
        origin: Origin,
    ) -> Learned:
        """Make the posteriors of now the priors of the configuration.

        Channels of which nothing was believed begin with a prior as wide as the data allows.

        Args:
            org: Whose.
            selection: Days that the posteriors are computed from.
            channels: Only these; none means all.
            version: Of the configuration, as it was read; None takes the newest.
            origin: The request; one that was done before changes nothing and finds no conflicts.

        Raises:
            DataInsufficientError: The data does not suffice.
            EtagMismatchError: The configuration was changed since it was read.
        """
        before = await self._modelling.configuration(org)
        if _is_done(before, origin):
            return Learned(before, ())
        self._check_version(org, before, version)
        believed = dict(before.parameters.priors or {})
        wide = await self._wide_priors(org, before.parameters, selection)
        asked = {
            channel: prior
            for channel, prior in (wide | believed).items()
            if not channels or channel in channels
        }
        parameters = replace(before.parameters, priors=asked, confidence_level=_LEVEL)
        found = await self._conflicts(org, parameters, selection)
        learned = {each.channel: _prior(each) for each in found}
        configuration = await self.update(
            org,
            replace(before, parameters=replace(before.parameters, priors=believed | learned)),
            fields=("parameters",),
            version=before.version,
            origin=origin,
        )
        return Learned(configuration, found)

    async def calibrated(
        self, org: str, model_id: str, *, simulations: int, seed: int
    ) -> Sequence[Calibration]:
        """Check a model's intervals by simulation on the days that it was fitted on.

        Raises:
            InvalidFieldsError: The model draws from no posterior.
            NotFoundError: There is no such model.
        """
        kept = await self._models.get(org, model_id)
        if kept.spec.model_type not in (ModelType.MARKETING_MIX, ModelType.BAYESIAN_STRUCTURAL):
            raise InvalidFieldsError.of("name", "models of this type have no posterior to check")
        modelled = await self._modelling.fitted(
            org, kept.spec.model_type, kept.spec.parameters, kept.spec.selection
        )
        return await self._modelling.compute(
            lambda: calibrations(
                modelled.numbers.panel, modelled.model, simulations or _SIMULATIONS, seed
            )
        )

    async def _conflicts(
        self, org: str, parameters: Parameters, selection: Selection
    ) -> Sequence[Conflict]:
        numbers, _ = await self._modelling.daily(org, selection, window_days=0)
        return await self._modelling.compute(lambda: conflicts(numbers.panel, parameters))

    async def _wide_priors(
        self, org: str, parameters: Parameters, selection: Selection
    ) -> dict[str, Prior]:
        numbers, _ = await self._modelling.daily(org, selection, window_days=0)
        panel = numbers.panel
        known = panel.known(parameters.outcome)
        total = float(panel.outcomes[parameters.outcome][known].sum())
        spent = panel.spend[known].sum(axis=0)
        # All outcome for a channel's spend is the most that it can return.
        return {
            channel: Prior(0.0, total / float(spent[place]))
            for place, channel in enumerate(panel.channels)
            if spent[place] > 0
        }

    def _check_version(self, org: str, now: Configuration, version: int | None) -> None:
        if version is not None and version != now.version:
            raise EtagMismatchError(f"orgs/{org}/causalConfiguration")


def _is_done(configuration: Configuration, origin: Origin) -> bool:
    """Tell whether a request changed the configuration before.

    Raises:
        RequestIdReusedError: Another one with its id did.
    """
    before = {each.request_id: each for each in configuration.requests}.get(origin.request_id)
    if before is not None and before != origin:
        raise RequestIdReusedError(origin.request_id)
    return before is not None


def _prior(learned: Conflict) -> Prior:
    posterior = learned.posterior
    deviation = (posterior.high - posterior.low) / (2 * _OF_INTERVAL)
    return Prior(posterior.value, max(deviation, 1e-12))
