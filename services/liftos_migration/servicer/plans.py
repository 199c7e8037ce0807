"""What a source has and allows, on the wire."""

from typing import Any

from grpc.aio import ServicerContext

from liftos.migration.v1 import migration_service_pb2 as pb
from liftos_kit.auth import require_org
from liftos_kit.core.filters import parse_filter
from liftos_kit.core.paging import PageTokens
from liftos_kit.requests import answer_to, page_request, repeatable
from liftos_kit.structs import timestamp
from liftos_migration.convert.plans import item_message, report_message
from liftos_migration.domain.filters import ITEM_FIELDS
from liftos_migration.domain.names import migration_id
from liftos_migration.inspection_ports import InventorySummary, StoredPreflight
from liftos_migration.usecases.inspecting import Inspecting
from liftos_migration.usecases.migrations import MigrationAdministration
from liftos_migration.usecases.preflighting import Preflighting


class PlansServicer:
    """Looks at sources.

    Args:
        administration: Knows the migrations.
        preflighting: Finds out what sources allow.
        inspecting: Makes and shows inventories.
        page_tokens: Of lists.
    """

    def __init__(
        self,
        *,
        administration: MigrationAdministration,
        preflighting: Preflighting,
        inspecting: Inspecting,
        page_tokens: PageTokens,
    ) -> None:
        self._administration = administration
        self._preflighting = preflighting
        self._inspecting = inspecting
        self._page_tokens = page_tokens

    async def Preflight(
        self, request: pb.PreflightRequest, context: ServicerContext[Any, Any]
    ) -> pb.PreflightResponse:
        org = require_org(request.name, field="name")
        id_ = migration_id(request.name, field="name")

        def answer(stored: StoredPreflight) -> pb.PreflightResponse:
            return pb.PreflightResponse(report=report_message(stored))

        migration = await self._administration.get(org, id_)
        found = await self._preflighting.preflight(
            org, id_, migration.spec, repeatable("Preflight", request, answer)
        )
        return answer_to(found, answer, pb.PreflightResponse)

    async def InspectSource(
        self, request: pb.InspectSourceRequest, context: ServicerContext[Any, Any]
    ) -> pb.InspectSourceResponse:
        org = require_org(request.name, field="name")
        id_ = migration_id(request.name, field="name")

        def answer(summary: InventorySummary) -> pb.InspectSourceResponse:
            return pb.InspectSourceResponse(
                item_count=summary.item_count,
                unmapped_count=summary.unmapped_count,
                inspect_time=timestamp(summary.inspect_time),
            )

        migration = await self._administration.get(org, id_)
        summary = await self._inspecting.inspect(
            org, id_, migration.spec, repeatable("InspectSource", request, answer)
        )
        return answer_to(summary, answer, pb.InspectSourceResponse)

    async def ListInventory(
        self, request: pb.ListInventoryRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListInventoryResponse:
        org = require_org(request.parent)
        id_ = migration_id(request.parent, field="parent")
        asked = page_request(request, org, self._page_tokens)
        items, cursor = await self._inspecting.list_page(
            org,
            id_,
            where=parse_filter(request.filter, ITEM_FIELDS),
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListInventoryResponse(
            items=[item_message(item) for item in items], next_page_token=asked.next_token(cursor)
        )
