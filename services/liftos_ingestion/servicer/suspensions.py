"""Suspensions on the wire."""

from typing import Any

from grpc.aio import ServicerContext

from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos_ingestion.convert.suspensions import scope_of, suspension_id, suspension_message
from liftos_ingestion.run_view_ports import Row
from liftos_ingestion.usecases.sources import Catalog
from liftos_ingestion.usecases.suspensions import Suspensions
from liftos_kit.auth import current_principal, require_org
from liftos_kit.core.paging import PageTokens
from liftos_kit.requests import answer_to, page_request, repeatable


class SuspensionsServicer:
    """Suspends ingestion and lets it go on."""

    def __init__(
        self, *, suspensions: Suspensions, catalog: Catalog, page_tokens: PageTokens
    ) -> None:
        self._suspensions = suspensions
        self._catalog = catalog
        self._page_tokens = page_tokens

    async def SuspendIngestion(
        self, request: pb.SuspendIngestionRequest, context: ServicerContext[Any, Any]
    ) -> pb.SuspendIngestionResponse:
        org = require_org(request.parent)
        if request.scope.connection:
            require_org(request.scope.connection, field="scope.connection")
        if request.scope.platform:
            # A typing error must not look like a platform that has been stopped.
            await self._catalog.require(org, [request.scope.platform])

        def answer(row: Row) -> pb.SuspendIngestionResponse:
            return pb.SuspendIngestionResponse(suspension=suspension_message(org, row))

        row = await self._suspensions.suspend(
            org,
            scope_of(request.scope),
            reason=request.reason,
            subject=current_principal().subject,
            repeatable=repeatable("SuspendIngestion", request, answer),
        )
        return answer_to(row, answer, pb.SuspendIngestionResponse)

    async def ResumeIngestion(
        self, request: pb.ResumeIngestionRequest, context: ServicerContext[Any, Any]
    ) -> pb.ResumeIngestionResponse:
        org = require_org(request.name, field="name")

        def answer(row: Row) -> pb.ResumeIngestionResponse:
            return pb.ResumeIngestionResponse(suspension=suspension_message(org, row))

        row = await self._suspensions.resume(
            org,
            suspension_id(request.name),
            reason=request.reason,
            subject=current_principal().subject,
            repeatable=repeatable("ResumeIngestion", request, answer),
        )
        return answer_to(row, answer, pb.ResumeIngestionResponse)

    async def ListSuspensions(
        self, request: pb.ListSuspensionsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListSuspensionsResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        rows, cursor = await self._suspensions.list_suspensions(
            org,
            include_ended=request.include_ended,
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListSuspensionsResponse(
            suspensions=[suspension_message(org, row) for row in rows],
            next_page_token=asked.next_token(cursor),
        )
