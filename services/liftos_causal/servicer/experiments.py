"""Experiments and lift on the wire."""

from typing import Any

from grpc.aio import ServicerContext

from liftos.causal.v1 import causal_service_pb2 as pb
from liftos_causal.convert.effects import experiment_message, experiment_spec, lift_message
from liftos_causal.convert.selections import days_of, group_of, origin_of
from liftos_causal.convert.words import LIFT_TYPES, METHODS
from liftos_causal.domain.effects import Method
from liftos_causal.domain.filters import EXPERIMENT_FIELDS, LIFT_FIELDS
from liftos_causal.domain.names import EXPERIMENT_NAME
from liftos_causal.domain.records import LiftType
from liftos_causal.usecases.experiments import Experiments, Lift
from liftos_kit.auth import require_org, require_role
from liftos_kit.core.filters import parse_filter
from liftos_kit.core.paging import PageTokens
from liftos_kit.requests import page_request


class ExperimentsServicer:
    """Runs experiments and measures lift."""

    def __init__(self, *, experiments: Experiments, lift: Lift, page_tokens: PageTokens) -> None:
        self._experiments = experiments
        self._lift = lift
        self._page_tokens = page_tokens

    async def RunExperiment(
        self, request: pb.RunExperimentRequest, context: ServicerContext[Any, Any]
    ) -> pb.RunExperimentResponse:
        given = request.experiment
        org = require_org(given.name, field="experiment.name")
        experiment = await self._experiments.run(
            org,
            EXPERIMENT_NAME.parse(given.name, field="experiment.name")["experiment"],
            experiment_spec(given),
            origin_of("RunExperiment", request),
        )
        return pb.RunExperimentResponse(experiment=experiment_message(org, experiment))

    async def GetExperiment(
        self, request: pb.GetExperimentRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetExperimentResponse:
        org = require_org(request.name, field="name")
        experiment_id = EXPERIMENT_NAME.parse(request.name)["experiment"]
        experiment = await self._experiments.get(org, experiment_id)
        return pb.GetExperimentResponse(experiment=experiment_message(org, experiment))

    async def ListExperiments(
        self, request: pb.ListExperimentsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListExperimentsResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        found, cursor = await self._experiments.list_page(
            org,
            where=parse_filter(request.filter, EXPERIMENT_FIELDS),
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListExperimentsResponse(
            experiments=[experiment_message(org, each) for each in found],
            next_page_token=asked.next_token(cursor),
        )

    async def MeasureLift(
        self, request: pb.MeasureLiftRequest, context: ServicerContext[Any, Any]
    ) -> pb.MeasureLiftResponse:
        org = require_org(request.parent)
        if request.store:
            require_role("writer")
        lift = await self._lift.measure(
            org,
            campaign_id=request.campaign_id,
            baseline=days_of(request.baseline_date_range, field="baseline_date_range"),
            treatment=days_of(request.treatment_date_range, field="treatment_date_range"),
            control=group_of(request.control),
            lift_type=LIFT_TYPES.get(request.lift_type, LiftType.INCREMENTAL),
            method=METHODS.get(request.method, Method.DIFFERENCE_IN_DIFFERENCES),
            confidence_level=request.confidence_level or None,
            origin=origin_of("MeasureLift", request) if request.store else None,
        )
        return pb.MeasureLiftResponse(lift_measurement=lift_message(org, lift))

    async def ListLiftMeasurements(
        self, request: pb.ListLiftMeasurementsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListLiftMeasurementsResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        found, cursor = await self._lift.list_page(
            org,
            where=parse_filter(request.filter, LIFT_FIELDS),
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListLiftMeasurementsResponse(
            lift_measurements=[lift_message(org, each) for each in found],
            next_page_token=asked.next_token(cursor),
        )
