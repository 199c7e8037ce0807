"""Schedules, backfill plans and limits on the wire."""

from typing import Any

from grpc.aio import ServicerContext

from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos_ingestion.convert.quotas import quota_message
from liftos_ingestion.convert.runs import days_of, level_words
from liftos_ingestion.convert.schedules import (
    plan_message,
    schedule_id,
    schedule_message,
    schedule_spec,
    spec_fields,
)
from liftos_ingestion.domain.names import CONNECTION_NAME
from liftos_ingestion.domain.schedule_filters import SCHEDULE_FIELDS
from liftos_ingestion.schedule_ports import StoredSchedule
from liftos_ingestion.usecases.backfills import Backfills
from liftos_ingestion.usecases.quotas import Quotas
from liftos_ingestion.usecases.schedules import Schedules
from liftos_kit.auth import require_org
from liftos_kit.core.filters import parse_filter
from liftos_kit.core.paging import PageTokens
from liftos_kit.requests import answer_to, page_request, repeatable
from liftos_kit.structs import revision_of


class SchedulesServicer:
    """Makes, changes and shows schedules, and plans backfills."""

    def __init__(
        self,
        *,
        schedules: Schedules,
        backfills: Backfills,
        quotas: Quotas,
        page_tokens: PageTokens,
    ) -> None:
        self._schedules = schedules
        self._backfills = backfills
        self._quotas = quotas
        self._page_tokens = page_tokens

    async def CreateSchedule(
        self, request: pb.CreateScheduleRequest, context: ServicerContext[Any, Any]
    ) -> pb.CreateScheduleResponse:
        org = require_org(request.schedule.name, field="schedule.name")
        require_org(request.schedule.connection, field="schedule.connection")

        def answer(stored: StoredSchedule) -> pb.CreateScheduleResponse:
            times = self._schedules.next_times(stored)
            return pb.CreateScheduleResponse(schedule=schedule_message(org, stored, times))

        stored = await self._schedules.create(
            org,
            schedule_id(request.schedule.name, field="schedule.name"),
            schedule_spec(request.schedule),
            validate_only=request.validate_only,
            repeatable=repeatable("CreateSchedule", request, answer),
        )
        return answer_to(stored, answer, pb.CreateScheduleResponse)

    async def GetSchedule(
        self, request: pb.GetScheduleRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetScheduleResponse:
        org = require_org(request.name, field="name")
        stored = await self._schedules.get(org, schedule_id(request.name, field="name"))
        times = self._schedules.next_times(stored)
        return pb.GetScheduleResponse(schedule=schedule_message(org, stored, times))

    async def ListSchedules(
        self, request: pb.ListSchedulesRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListSchedulesResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        found, cursor = await self._schedules.list_page(
            org,
            where=parse_filter(request.filter, SCHEDULE_FIELDS),
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListSchedulesResponse(
            schedules=[
                schedule_message(org, stored, self._schedules.next_times(stored))
                for stored in found
            ],
            next_page_token=asked.next_token(cursor),
        )

    async def UpdateSchedule(
        self, request: pb.UpdateScheduleRequest, context: ServicerContext[Any, Any]
    ) -> pb.UpdateScheduleResponse:
        org = require_org(request.schedule.name, field="schedule.name")
        require_org(request.schedule.connection, field="schedule.connection")

        def answer(stored: StoredSchedule) -> pb.UpdateScheduleResponse:
            times = self._schedules.next_times(stored)
            return pb.UpdateScheduleResponse(schedule=schedule_message(org, stored, times))

        stored = await self._schedules.update(
            org,
            schedule_id(request.schedule.name, field="schedule.name"),
            schedule_spec(request.schedule),
            fields=spec_fields(request.update_mask.paths),
            revision=revision_of(request.schedule.etag, field="schedule.etag"),
            repeatable=repeatable("UpdateSchedule", request, answer),
        )
        return answer_to(stored, answer, pb.UpdateScheduleResponse)

    async def DeleteSchedule(
        self, request: pb.DeleteScheduleRequest, context: ServicerContext[Any, Any]
    ) -> pb.DeleteScheduleResponse:
        org = require_org(request.name, field="name")

        def answer(_: None) -> pb.DeleteScheduleResponse:
            return pb.DeleteScheduleResponse()

        await self._schedules.delete(
            org,
            schedule_id(request.name, field="name"),
            revision=revision_of(request.etag, field="etag"),
            repeatable=repeatable("DeleteSchedule", request, answer),
        )
        return answer(None)

    async def PlanBackfill(
        self, request: pb.PlanBackfillRequest, context: ServicerContext[Any, Any]
    ) -> pb.PlanBackfillResponse:
        org = require_org(request.parent)
        plan = await self._backfills.plan(
            org,
            CONNECTION_NAME.parse(request.parent)["connection"],
            days_of(request.date_range),
            account_ids=tuple(request.account_ids),
            levels=level_words(request.levels),
        )
        return pb.PlanBackfillResponse(plan=plan_message(plan))

    async def GetQuota(
        self, request: pb.GetQuotaRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetQuotaResponse:
        org = require_org(request.parent)
        states = await self._quotas.list(
            org, platform=request.platform, account_id=request.account_id
        )
        return pb.GetQuotaResponse(quotas=[quota_message(state) for state in states])
