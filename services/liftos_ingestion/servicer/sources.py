"""Sources on the wire."""

from typing import Any

from grpc.aio import ServicerContext

from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos_ingestion.convert.sources import (
    new_source,
    preview_request,
    preview_response,
    source_id,
    source_message,
)
from liftos_ingestion.domain.connection_filters import SOURCE_FIELDS
from liftos_ingestion.usecases.previews import Previews
from liftos_ingestion.usecases.sources import Catalog, DescribedSource, SourceAdministration
from liftos_kit.auth import require_org
from liftos_kit.core.filters import parse_filter
from liftos_kit.core.paging import PageTokens
from liftos_kit.core.repeatable import Repeatable
from liftos_kit.requests import answer_to, page_request, repeatable
from liftos_kit.structs import revision_of


class SourcesServicer:
    """Registers, shows and removes sources, and shows what rows become."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        administration: SourceAdministration,
        previews: Previews,
        page_tokens: PageTokens,
    ) -> None:
        self._catalog = catalog
        self._administration = administration
        self._previews = previews
        self._page_tokens = page_tokens

    async def UpsertSource(
        self, request: pb.UpsertSourceRequest, context: ServicerContext[Any, Any]
    ) -> pb.UpsertSourceResponse:
        org = require_org(request.source.name, field="source.name")

        def answer(source: DescribedSource) -> pb.UpsertSourceResponse:
            return pb.UpsertSourceResponse(source=source_message(org, source))

        result = await self._administration.upsert(
            org,
            new_source(request.source),
            revision=revision_of(request.source.etag, field="source.etag"),
            repeatable=repeatable("UpsertSource", request, answer),
        )
        return answer_to(result, answer, pb.UpsertSourceResponse)

    async def GetSource(
        self, request: pb.GetSourceRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetSourceResponse:
        org = require_org(request.name, field="name")
        described = await self._catalog.describe(org, source_id(request.name))
        return pb.GetSourceResponse(source=source_message(org, described))

    async def ListSources(
        self, request: pb.ListSourcesRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListSourcesResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        page, cursor = await self._administration.list_page(
            org,
            where=parse_filter(request.filter, SOURCE_FIELDS),
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListSourcesResponse(
            sources=[source_message(org, source) for source in page],
            next_page_token=asked.next_token(cursor),
        )

    async def DeleteSource(
        self, request: pb.DeleteSourceRequest, context: ServicerContext[Any, Any]
    ) -> pb.DeleteSourceResponse:
        org = require_org(request.name, field="name")
        done: Repeatable[None] | None = repeatable(
            "DeleteSource", request, lambda _: pb.DeleteSourceResponse()
        )
        assert done is not None, "required by the contract"
        await self._administration.delete(
            org,
            source_id(request.name),
            revision=revision_of(request.etag, field="etag"),
            repeatable=done,
        )
        return pb.DeleteSourceResponse()

    async def PreviewMapping(
        self, request: pb.PreviewMappingRequest, context: ServicerContext[Any, Any]
    ) -> pb.PreviewMappingResponse:
        org = require_org(request.name, field="name")
        if request.connection:
            require_org(request.connection, field="connection")
        return preview_response(await self._previews.preview(org, preview_request(request)))
