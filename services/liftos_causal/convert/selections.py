"""Days, selections, parameters and requests as the module takes them."""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from google.protobuf.message import Message

from liftos.causal.v1 import causal_pb2 as pb
from liftos.common.v1.marketing_pb2 import DateRange
from liftos_causal.domain.curves import Estimate
from liftos_causal.domain.mix_model import Parameters, Prior
from liftos_causal.domain.panel import SHORTEST_DAYS, Outcome
from liftos_causal.domain.records import DayRange, Group, Origin, Selection
from liftos_causal.usecases.modelling import Choices
from liftos_kit.core.errors import InvalidFieldsError
from liftos_kit.date_ranges import ends_of
from liftos_kit.requests import digest_request

MICROS: Final = 1_000_000


def days_of(message: DateRange, *, field: str) -> DayRange:
    """Return the days of a range.

    Raises:
        InvalidFieldsError: An end is no day, or it ends before it begins.
    """
    return DayRange(*ends_of(message, field=field))


def range_message(days: DayRange) -> DateRange:
    """Return the message of days."""
    return DateRange(start_date=days.start.isoformat(), end_date=days.end.isoformat())


def selection_of(message: pb.TrainingData, *, field: str = "training_data") -> Selection:
    """Return which days and channels are meant.

    Raises:
        InvalidFieldsError: The days are none, or fewer than a model needs.
    """
    days = days_of(message.date_range, field=f"{field}.date_range")
    if days.day_count < SHORTEST_DAYS:
        raise InvalidFieldsError.of(
            f"{field}.date_range",
            f"has {days.day_count} days and a model needs {SHORTEST_DAYS}",
            rule="training_data.days",
        )
    return Selection(days, tuple(message.platforms), message.filter, message.currency_code)


def selection_message(selection: Selection) -> pb.TrainingData:
    """Return the message of a selection."""
    return pb.TrainingData(
        date_range=range_message(selection.days),
        platforms=selection.platforms,
        filter=selection.filter,
        currency_code=selection.currency_code,
    )


def choices_of(message: pb.ModelParameters) -> Choices:
    """Return what a caller says of how to fit."""
    return Choices(
        outcome=Outcome(message.outcome) if message.outcome else None,
        window_days=message.attribution_window_days or None,
        controls=tuple(message.controls),
        instruments=tuple(message.instruments),
        priors=priors_of(message.priors) or None,
        confidence_level=message.confidence_level or None,
        seed=message.seed,
    )


def priors_of(messages: Iterable[pb.ChannelPrior]) -> dict[str, Prior]:
    """Return beliefs by channel."""
    return {each.channel: Prior(each.mean, each.standard_deviation) for each in messages}


def prior_message(channel: str, prior: Prior) -> pb.ChannelPrior:
    """Return the message of a belief."""
    return pb.ChannelPrior(
        channel=channel, mean=prior.mean, standard_deviation=prior.standard_deviation
    )


def parameters_message(parameters: Parameters) -> pb.ModelParameters:
    """Return the message of how a model is fitted."""
    return pb.ModelParameters(
        attribution_window_days=parameters.window_days,
        outcome=parameters.outcome.value,
        controls=parameters.controls,
        instruments=parameters.instruments,
        priors=[prior_message(*each) for each in sorted((parameters.priors or {}).items())],
        confidence_level=parameters.confidence_level,
        seed=parameters.seed,
    )


def group_of(message: pb.ExperimentGroup) -> Group:
    """Return one side of a comparison."""
    return Group(tuple(message.campaign_ids), tuple(message.region_codes), message.filter)


def group_message(group: Group) -> pb.ExperimentGroup:
    """Return the message of one side of a comparison."""
    return pb.ExperimentGroup(
        campaign_ids=group.campaign_ids, region_codes=group.region_codes, filter=group.filter
    )


def interval(estimate: Estimate) -> pb.Interval:
    """Return the message of an estimate."""
    return pb.Interval(value=estimate.value, low=estimate.low, high=estimate.high)


def micros(amount: float) -> int:
    """Return currency units as millionths."""
    return round(amount * MICROS)


def origin_of(method: str, request: Message) -> Origin:
    """Return the identity of a request with a request_id; an empty one where it has none."""
    request_id = str(getattr(request, "request_id"))  # noqa: B009 - not in Message's type
    if not request_id:
        return Origin()
    digest = digest_request(method, request, without=("request_id",))
    return Origin(UUID(request_id).hex, digest.hex())
