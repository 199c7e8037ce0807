"""Insights on the wire: convert, call, convert."""

from typing import Any, Final

from grpc.aio import ServicerContext

from liftos.memory.v1 import entry_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.auth import current_principal, require_org
from liftos_kit.core.filters import parse_filter
from liftos_kit.core.paging import JsonValue, PageTokens
from liftos_kit.requests import answer_to, page_request, repeatable
from liftos_mapping.entry_fields import LEVELS
from liftos_memory.convert.insights import INSIGHT_NAME, insight_message, scope_of
from liftos_memory.convert.metrics import add_rows
from liftos_memory.convert.slices import date_range
from liftos_memory.domain.insights import INSIGHT_FILTER_FIELDS, InsightRating
from liftos_memory.domain.write_token import encode_write_token
from liftos_memory.usecases.insights import Generated, Insights

_DEFAULT_SHOWN: Final = 50


class InsightsServicer:
    """Generates, shows, reruns and rates insights."""

    def __init__(self, *, insights: Insights, page_tokens: PageTokens) -> None:
        self._insights = insights
        self._page_tokens = page_tokens

    async def GenerateInsights(
        self, request: pb.GenerateInsightsRequest, context: ServicerContext[Any, Any]
    ) -> pb.GenerateInsightsResponse:
        org = require_org(request.parent)

        def answer(result: Generated) -> pb.GenerateInsightsResponse:
            return pb.GenerateInsightsResponse(
                insights=[insight_message(org, stored) for stored in result.insights],
                series_count=result.series_count,
                write_token=encode_write_token(org, result.version),
                insight_count=result.insight_count,
                within_count=result.within_count,
                resolved_count=len(result.resolved),
                date_range=date_range(*result.days) if result.days else None,
                day_count=result.day_count,
                skipped_levels=[
                    entry_pb2.EntryLevel.ValueType(LEVELS.index(level) + 1)
                    for level in result.skipped_levels
                ],
            )

        result = await self._insights.generate(
            org,
            scope_of(request),
            shown=request.maximum_insights or _DEFAULT_SHOWN,
            repeatable=repeatable("GenerateInsights", request, answer),
        )
        return answer_to(result, answer, pb.GenerateInsightsResponse)

    async def GetInsight(
        self, request: pb.GetInsightRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetInsightResponse:
        org = require_org(request.name, field="name")
        stored = await self._insights.get(org, _insight_id(request.name), name=request.name)
        return pb.GetInsightResponse(insight=insight_message(org, stored))

    async def ListInsights(
        self, request: pb.ListInsightsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListInsightsResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        found, after = await self._insights.list_page(
            org,
            where=parse_filter(request.filter, INSIGHT_FILTER_FIELDS),
            after=_place(asked.cursor),
            limit=asked.limit,
        )
        return pb.ListInsightsResponse(
            insights=[insight_message(org, stored) for stored in found],
            next_page_token=asked.next_token(after),
        )

    async def RerunInsight(
        self, request: pb.RerunInsightRequest, context: ServicerContext[Any, Any]
    ) -> pb.RerunInsightResponse:
        org = require_org(request.name, field="name")
        rerun = await self._insights.rerun(org, _insight_id(request.name), name=request.name)
        rows = pb.QueryMetricsResponse()
        add_rows(rows, rerun.rows, rerun.query)
        return pb.RerunInsightResponse(
            insight=insight_message(org, rerun.stored), holds=rerun.holds, evidence_rows=rows.rows
        )

    async def RateInsight(
        self, request: pb.RateInsightRequest, context: ServicerContext[Any, Any]
    ) -> pb.RateInsightResponse:
        org = require_org(request.name, field="name")
        stored = await self._insights.rate(
            org,
            _insight_id(request.name),
            InsightRating(request.rating),
            comment=request.comment,
            subject=current_principal().subject,
        )
        return pb.RateInsightResponse(insight=insight_message(org, stored))


def _insight_id(name: str) -> str:
    return INSIGHT_NAME.parse(name)["insight"]


def _place(cursor: JsonValue) -> tuple[float, str] | None:
    if cursor is None:
        return None
    assert isinstance(cursor, list), "signed, so it is one of ours"
    severity, insight_id = cursor
    return float(severity), str(insight_id)
