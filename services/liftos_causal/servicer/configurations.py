"""Configuration, beliefs, insights and syncs on the wire."""

from datetime import timedelta
from typing import Any, Final

from grpc.aio import ServicerContext

from liftos.causal.v1 import causal_service_pb2 as pb
from liftos_causal.convert.configurations import (
    calibration_message,
    configuration_fields,
    configuration_message,
    configuration_of,
    conflict_message,
    finding_message,
)
from liftos_causal.convert.selections import days_of, origin_of, priors_of, selection_of
from liftos_causal.convert.syncs import sync_message
from liftos_causal.convert.words import SYNC_TYPES
from liftos_causal.domain.names import MODEL_NAME, SYNC_NAME
from liftos_causal.domain.records import DayRange, SyncType
from liftos_causal.usecases.configurations import ConfigurationAdministration
from liftos_causal.usecases.insights import Insights
from liftos_causal.usecases.syncs import Syncs
from liftos_kit.auth import require_org
from liftos_kit.core.clock import Clock
from liftos_kit.core.paging import PageTokens
from liftos_kit.requests import page_request
from liftos_kit.structs import revision_of

_INSIGHT_DAYS: Final = 30


class ConfigurationServicer:
    """Reads and changes the configuration, checks beliefs, and finds what stands out."""

    def __init__(
        self,
        *,
        administration: ConfigurationAdministration,
        insights: Insights,
        syncs: Syncs,
        page_tokens: PageTokens,
        clock: Clock,
    ) -> None:
        self._administration = administration
        self._insights = insights
        self._syncs = syncs
        self._page_tokens = page_tokens
        self._clock = clock

    async def GetConfiguration(
        self, request: pb.GetConfigurationRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetConfigurationResponse:
        org = require_org(request.name, field="name")
        configuration = await self._administration.get(org)
        return pb.GetConfigurationResponse(
            causal_configuration=configuration_message(org, configuration)
        )

    async def UpdateConfiguration(
        self, request: pb.UpdateConfigurationRequest, context: ServicerContext[Any, Any]
    ) -> pb.UpdateConfigurationResponse:
        given = request.causal_configuration
        org = require_org(given.name, field="causal_configuration.name")
        configuration = await self._administration.update(
            org,
            configuration_of(given),
            fields=configuration_fields(request.update_mask.paths),
            version=revision_of(given.etag, field="causal_configuration.etag"),
            origin=origin_of("UpdateConfiguration", request),
        )
        return pb.UpdateConfigurationResponse(
            causal_configuration=configuration_message(org, configuration)
        )

    async def CheckPriorConflict(
        self, request: pb.CheckPriorConflictRequest, context: ServicerContext[Any, Any]
    ) -> pb.CheckPriorConflictResponse:
        org = require_org(request.parent)
        found = await self._administration.prior_conflicts(
            org, priors_of(request.priors), selection_of(request.training_data)
        )
        return pb.CheckPriorConflictResponse(conflicts=map(conflict_message, found))

    async def ValidateCalibration(
        self, request: pb.ValidateCalibrationRequest, context: ServicerContext[Any, Any]
    ) -> pb.ValidateCalibrationResponse:
        org = require_org(request.name, field="name")
        results = await self._administration.calibrated(
            org,
            MODEL_NAME.parse(request.name)["attribution_model"],
            simulations=request.simulation_count,
            seed=request.seed,
        )
        return pb.ValidateCalibrationResponse(results=map(calibration_message, results))

    async def UpdatePriors(
        self, request: pb.UpdatePriorsRequest, context: ServicerContext[Any, Any]
    ) -> pb.UpdatePriorsResponse:
        org = require_org(request.name, field="name")
        learned = await self._administration.learn(
            org,
            selection_of(request.training_data),
            channels=frozenset(request.channels),
            version=revision_of(request.etag, field="etag"),
            origin=origin_of("UpdatePriors", request),
        )
        return pb.UpdatePriorsResponse(
            causal_configuration=configuration_message(org, learned.configuration),
            conflicts=map(conflict_message, learned.conflicts),
        )

    async def ListInsights(
        self, request: pb.ListInsightsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListInsightsResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        today = self._clock.today()
        days = DayRange(today - timedelta(days=_INSIGHT_DAYS - 1), today)
        if request.HasField("date_range"):
            days = days_of(request.date_range, field="date_range")
        found = await self._insights.list(org, days, request.platforms)
        start = asked.number_cursor or 0
        end = start + asked.limit
        return pb.ListInsightsResponse(
            causal_insights=[finding_message(org, each) for each in found[start:end]],
            next_page_token=asked.next_token(end if end < len(found) else None),
        )

    async def SyncPlatforms(
        self, request: pb.SyncPlatformsRequest, context: ServicerContext[Any, Any]
    ) -> pb.SyncPlatformsResponse:
        org = require_org(request.parent)
        sync = await self._syncs.start(
            org,
            platforms=request.platforms,
            days=days_of(request.date_range, field="date_range")
            if request.HasField("date_range")
            else None,
            sync_type=SYNC_TYPES.get(request.sync_type, SyncType.INCREMENTAL),
            origin=origin_of("SyncPlatforms", request),
        )
        return pb.SyncPlatformsResponse(platform_sync=sync_message(org, sync))

    async def GetPlatformSync(
        self, request: pb.GetPlatformSyncRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetPlatformSyncResponse:
        org = require_org(request.name, field="name")
        sync = await self._syncs.get(org, SYNC_NAME.parse(request.name)["platform_sync"])
        return pb.GetPlatformSyncResponse(platform_sync=sync_message(org, sync))
