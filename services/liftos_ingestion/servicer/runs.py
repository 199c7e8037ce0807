"""Runs on the wire."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from grpc.aio import ServicerContext

from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos_ingestion.convert.runs import (
    object_message,
    reconciliation_message,
    run_id,
    run_message,
    run_request,
    slice_message,
)
from liftos_ingestion.domain.run_filters import (
    OBJECT_FIELDS,
    RECONCILIATION_FIELDS,
    RUN_FIELDS,
    SLICE_FIELDS,
)
from liftos_ingestion.run_view_ports import Row
from liftos_ingestion.usecases.runs import Runs
from liftos_kit.auth import current_principal, require_org
from liftos_kit.core.filters import parse_filter
from liftos_kit.core.paging import PageTokens
from liftos_kit.requests import answer_to, page_request, repeatable


class RunsServicer:
    """Starts, stops and shows runs."""

    def __init__(self, *, runs: Runs, page_tokens: PageTokens) -> None:
        self._runs = runs
        self._page_tokens = page_tokens

    async def StartRun(
        self, request: pb.StartRunRequest, context: ServicerContext[Any, Any]
    ) -> pb.StartRunResponse:
        org = require_org(request.parent)

        def answer(row: Row) -> pb.StartRunResponse:
            return pb.StartRunResponse(run=run_message(org, row))

        started = await self._runs.start(
            org,
            run_request(request, current_principal().subject),
            repeatable("StartRun", request, answer),
        )
        return answer_to(started, answer, pb.StartRunResponse)

    async def GetRun(
        self, request: pb.GetRunRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetRunResponse:
        org = require_org(request.name, field="name")
        row = await self._runs.get(org, run_id(request.name, field="name"))
        return pb.GetRunResponse(run=run_message(org, row))

    async def ListRuns(
        self, request: pb.ListRunsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListRunsResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        rows, cursor = await self._runs.list_runs(
            org,
            where=parse_filter(request.filter, RUN_FIELDS),
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListRunsResponse(
            runs=[run_message(org, row) for row in rows],
            next_page_token=asked.next_token(cursor),
        )

    async def CancelRun(
        self, request: pb.CancelRunRequest, context: ServicerContext[Any, Any]
    ) -> pb.CancelRunResponse:
        org = require_org(request.name, field="name")

        def answer(row: Row) -> pb.CancelRunResponse:
            return pb.CancelRunResponse(run=run_message(org, row))

        cancelled = await self._runs.cancel(
            org,
            run_id(request.name, field="name"),
            request.reason,
            repeatable("CancelRun", request, answer),
        )
        return answer_to(cancelled, answer, pb.CancelRunResponse)

    async def WatchRun(
        self, request: pb.WatchRunRequest, context: ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.WatchRunResponse]:
        org = require_org(request.name, field="name")
        run: UUID = run_id(request.name, field="name")
        async for row in self._runs.watch(org, run):
            yield pb.WatchRunResponse(run=run_message(org, row))

    async def ListSlices(
        self, request: pb.ListSlicesRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListSlicesResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        rows, cursor = await self._runs.list_slices(
            org,
            run_id(request.parent, field="parent"),
            where=parse_filter(request.filter, SLICE_FIELDS),
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListSlicesResponse(
            slices=[slice_message(org, row) for row in rows],
            next_page_token=asked.next_token(cursor),
        )

    async def ListObjects(
        self, request: pb.ListObjectsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListObjectsResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        rows, cursor = await self._runs.list_objects(
            org,
            where=parse_filter(request.filter, OBJECT_FIELDS),
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListObjectsResponse(
            objects=map(object_message, rows),
            next_page_token=asked.next_token(cursor),
        )

    async def ListReconciliations(
        self, request: pb.ListReconciliationsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListReconciliationsResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        rows, cursor = await self._runs.list_reconciliations(
            org,
            where=parse_filter(request.filter, RECONCILIATION_FIELDS),
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListReconciliationsResponse(
            reconciliations=[reconciliation_message(org, row) for row in rows],
            next_page_token=asked.next_token(cursor),
        )
