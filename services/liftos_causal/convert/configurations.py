"""The configuration, beliefs and findings as messages."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration

from liftos.causal.v1 import causal_pb2 as pb
from liftos_causal.convert.models import recommendation_message
from liftos_causal.convert.selections import (
    choices_of,
    interval,
    parameters_message,
    prior_message,
    range_message,
)
from liftos_causal.convert.words import (
    MODEL_TYPE_NUMBERS,
    MODEL_TYPES,
    VALIDATION_METHOD_NUMBERS,
    VALIDATION_METHODS,
)
from liftos_causal.domain.beliefs import Calibration, Conflict
from liftos_causal.domain.mix_model import Parameters
from liftos_causal.domain.names import CONFIGURATION_NAME, INSIGHT_NAME
from liftos_causal.domain.records import Configuration
from liftos_causal.usecases.insights import Finding
from liftos_causal.usecases.modelling import DEFAULTS
from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.structs import plain, struct_of, timestamp

_FIELDS: Final = {
    "parameters": "parameters",
    "model_type": "model_type",
    "validation_method": "validation_method",
    "platforms": "platforms",
    "cache_duration": "cache_seconds",
    "extra": "extra",
}
"""Field of the configuration for each field of the message that a writer gives."""


def configuration_of(message: pb.CausalConfiguration) -> Configuration:
    """Return what a message says of a configuration; what it leaves open has its default."""
    choices, usual = choices_of(message.parameters), DEFAULTS.parameters
    return Configuration(
        parameters=Parameters(
            outcome=choices.outcome or usual.outcome,
            window_days=choices.window_days or usual.window_days,
            controls=choices.controls,
            instruments=choices.instruments,
            priors=choices.priors,
            confidence_level=choices.confidence_level or usual.confidence_level,
            seed=choices.seed,
        ),
        model_type=MODEL_TYPES.get(message.model_type, DEFAULTS.model_type),
        validation_method=VALIDATION_METHODS.get(
            message.validation_method, DEFAULTS.validation_method
        ),
        platforms=tuple(message.platforms),
        cache_seconds=message.cache_duration.ToTimedelta().total_seconds()
        if message.HasField("cache_duration")
        else DEFAULTS.cache_seconds,
        extra=plain(message.extra),
    )


def configuration_fields(paths: Sequence[str]) -> Sequence[str]:
    """Return the fields that a mask means; all where it names none.

    Raises:
        InvalidFieldsError: It names others.
    """
    wrong = [path for path in paths if path not in _FIELDS]
    if wrong:
        raise InvalidFieldsError(
            FieldViolation(
                "update_mask",
                f"{path} cannot be changed; the fields are {', '.join(_FIELDS)}",
                "field_mask",
            )
            for path in wrong
        )
    return [_FIELDS[path] for path in paths or _FIELDS]


def configuration_message(org: str, configuration: Configuration) -> pb.CausalConfiguration:
    """Return the message of a configuration."""
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=configuration.cache_seconds))
    return pb.CausalConfiguration(
        name=CONFIGURATION_NAME.format(org=org),
        parameters=parameters_message(configuration.parameters),
        model_type=MODEL_TYPE_NUMBERS[configuration.model_type],
        validation_method=VALIDATION_METHOD_NUMBERS[configuration.validation_method],
        platforms=configuration.platforms,
        cache_duration=duration,
        extra=struct_of(configuration.extra),
        update_time=timestamp(configuration.update_time),
        etag=str(configuration.version),
    )


def conflict_message(conflict: Conflict) -> pb.PriorConflict:
    """Return the message of how far data contradicts a prior."""
    return pb.PriorConflict(
        channel=conflict.channel,
        prior=prior_message(conflict.channel, conflict.prior),
        observed=interval(conflict.observed),
        posterior=interval(conflict.posterior),
        bayes_factor=conflict.bayes_factor,
        kullback_leibler=conflict.kullback_leibler,
        wasserstein=conflict.wasserstein,
        p_value=conflict.p_value,
        conflict=conflict.conflict,
    )


def calibration_message(result: Calibration) -> pb.CalibrationResult:
    """Return the message of whether intervals hold what they promise."""
    return pb.CalibrationResult(
        parameter=result.channel,
        simulation_count=sum(result.rank_counts),
        rank_counts=result.rank_counts,
        p_value=result.p_value,
        coverage=result.coverage,
        calibrated=result.calibrated,
    )


def finding_message(org: str, finding: Finding) -> pb.CausalInsight:
    """Return the message of a finding."""
    return pb.CausalInsight(
        name=INSIGHT_NAME.format(org=org, causal_insight=finding.id),
        insight_type=finding.kind,
        title=finding.title,
        description=finding.description,
        platform=finding.platform,
        effect=interval(finding.effect),
        evidence_strength=finding.evidence_strength,
        p_value=finding.p_value,
        source=f"orgs/{org}/{finding.source}" if finding.source else "",
        recommendations=[recommendation_message(each) for each in finding.recommendations],
        date_range=range_message(finding.days),
        create_time=timestamp(finding.time),
    )
