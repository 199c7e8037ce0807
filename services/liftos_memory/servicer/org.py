"""Settings and sources of an org on the wire."""

from typing import Any

from grpc.aio import ServicerContext

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.auth import require_org
from liftos_kit.core.paging import PageTokens
from liftos_kit.requests import page_request
from liftos_kit.structs import plain
from liftos_memory.cache_ports import OrgStates
from liftos_memory.convert.org import (
    SOURCE_NAME,
    built_in_source_message,
    settings_change,
    settings_message,
    source_message,
)
from liftos_memory.domain.write_token import encode_write_token
from liftos_memory.usecases.org import OrgAdministration


class OrgServicer:
    """Reads and changes what an org chooses for itself."""

    def __init__(
        self, *, administration: OrgAdministration, states: OrgStates, page_tokens: PageTokens
    ) -> None:
        self._administration = administration
        self._states = states
        self._page_tokens = page_tokens

    async def GetOrgSettings(
        self, request: pb.GetOrgSettingsRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetOrgSettingsResponse:
        org = require_org(request.name, field="name")
        # Before the settings, so that nobody takes older settings for what it covers.
        state = await self._states.read(org)
        settings = await self._administration.settings(org)
        return pb.GetOrgSettingsResponse(
            org_settings=settings_message(org, settings),
            write_token=encode_write_token(org, state.version),
        )

    async def UpdateOrgSettings(
        self, request: pb.UpdateOrgSettingsRequest, context: ServicerContext[Any, Any]
    ) -> pb.UpdateOrgSettingsResponse:
        org = require_org(request.org_settings.name, field="org_settings.name")
        change = settings_change(request.org_settings, tuple(request.update_mask.paths))
        settings = await self._administration.update_settings(org, change)
        return pb.UpdateOrgSettingsResponse(org_settings=settings_message(org, settings))

    async def UpsertSource(
        self, request: pb.UpsertSourceRequest, context: ServicerContext[Any, Any]
    ) -> pb.UpsertSourceResponse:
        source = request.source
        org = require_org(source.name, field="source.name")
        stored = await self._administration.upsert_source(
            org,
            SOURCE_NAME.parse(source.name, field="source.name")["source"],
            source.display_name,
            plain(source.mapping) if source.HasField("mapping") else None,
        )
        return pb.UpsertSourceResponse(source=source_message(org, stored))

    async def ListSources(
        self, request: pb.ListSourcesRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListSourcesResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        page = await self._administration.list_sources(
            org,
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListSourcesResponse(
            sources=[
                *(built_in_source_message(org, source) for source in page.built_in),
                *(source_message(org, stored) for stored in page.own),
            ],
            next_page_token=asked.next_token(page.cursor),
        )
