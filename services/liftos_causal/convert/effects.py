"""Experiments, lift and effects as messages."""

from datetime import timedelta
from typing import Final

from liftos.causal.v1 import causal_pb2 as pb
from liftos_causal.convert.selections import (
    days_of,
    group_message,
    group_of,
    interval,
    micros,
    range_message,
)
from liftos_causal.convert.words import (
    EXPERIMENT_STATE_NUMBERS,
    EXPERIMENT_TYPE_NUMBERS,
    EXPERIMENT_TYPES,
    LIFT_TYPE_NUMBERS,
    METHOD_NUMBERS,
    METHODS,
)
from liftos_causal.domain.effects import Effect, Method
from liftos_causal.domain.names import EXPERIMENT_NAME, LIFT_NAME
from liftos_causal.domain.panel import Outcome
from liftos_causal.domain.records import DayRange, Experiment, ExperimentSpec, LiftMeasurement
from liftos_kit.structs import timestamp

_CONFIDENCE_LEVEL: Final = 0.95


def experiment_spec(message: pb.Experiment) -> ExperimentSpec:
    """Return what a message says of an experiment.

    Raises:
        InvalidFieldsError: Its days are none.
    """
    days = days_of(message.date_range, field="experiment.date_range")
    before = days.start - timedelta(days=1)
    baseline = DayRange(days.start - timedelta(days=days.day_count), before)
    if message.HasField("baseline_date_range"):
        baseline = days_of(message.baseline_date_range, field="experiment.baseline_date_range")
    return ExperimentSpec(
        display_name=message.display_name,
        experiment_type=EXPERIMENT_TYPES[message.experiment_type],
        method=METHODS.get(message.method, Method.DIFFERENCE_IN_DIFFERENCES),
        treatment=group_of(message.treatment),
        control=group_of(message.control),
        days=days,
        baseline=baseline,
        outcome=message.outcome or Outcome.REVENUE.value,
        confidence_level=message.confidence_level or _CONFIDENCE_LEVEL,
    )


def experiment_message(org: str, experiment: Experiment) -> pb.Experiment:
    """Return the message of an experiment."""
    spec = experiment.spec
    return pb.Experiment(
        name=EXPERIMENT_NAME.format(org=org, experiment=experiment.id),
        display_name=spec.display_name,
        experiment_type=EXPERIMENT_TYPE_NUMBERS[spec.experiment_type],
        method=METHOD_NUMBERS[spec.method],
        treatment=group_message(spec.treatment),
        control=group_message(spec.control),
        date_range=range_message(spec.days),
        baseline_date_range=range_message(spec.baseline),
        outcome=spec.outcome,
        confidence_level=spec.confidence_level,
        state=EXPERIMENT_STATE_NUMBERS[experiment.state],
        state_reason=experiment.state_reason,
        effect=None if experiment.effect is None else effect_message(experiment.effect),
        minimum_detectable_effect=experiment.minimum_detectable_effect,
        create_time=timestamp(experiment.create_time),
        update_time=timestamp(experiment.update_time),
        etag=str(experiment.version),
    )


def effect_message(effect: Effect) -> pb.EffectEstimate:
    """Return the message of an effect."""
    return pb.EffectEstimate(
        method=METHOD_NUMBERS[effect.method],
        effect=interval(effect.effect),
        relative_effect=None
        if effect.relative_effect is None
        else interval(effect.relative_effect),
        standard_error=effect.standard_error,
        p_value=effect.p_value,
        significant=effect.significant,
        treatment_outcome=effect.treatment_outcome,
        expected_outcome=effect.expected_outcome,
        unit_count=effect.unit_count,
        day_count=effect.day_count,
        caveats=effect.caveats,
    )


def lift_message(org: str, lift: LiftMeasurement) -> pb.LiftMeasurement:
    """Return the message of a lift measurement."""
    return pb.LiftMeasurement(
        name=LIFT_NAME.format(org=org, lift_measurement=lift.id) if lift.id else "",
        campaign_id=lift.campaign_id,
        lift_type=LIFT_TYPE_NUMBERS[lift.lift_type],
        baseline_date_range=range_message(lift.baseline),
        treatment_date_range=range_message(lift.treatment),
        effect=effect_message(lift.effect),
        cost_micros=micros(lift.cost),
        cost_per_incremental=lift.cost_per_incremental,
        create_time=timestamp(lift.create_time),
    )
