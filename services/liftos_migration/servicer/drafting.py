"""Drafts of mappings, on the wire."""

from typing import Any

from grpc.aio import ServicerContext

from liftos.migration.v1 import migration_service_pb2 as pb
from liftos_kit.auth import require_org
from liftos_migration.convert.drafts import draft_message
from liftos_migration.domain.names import migration_id
from liftos_migration.usecases.drafting import Drafting
from liftos_migration.usecases.migrations import MigrationAdministration


class DraftingServicer:
    """Drafts mappings.

    Args:
        administration: Knows the migrations.
        drafting: Looks at their sources.
    """

    def __init__(self, *, administration: MigrationAdministration, drafting: Drafting) -> None:
        self._administration = administration
        self._drafting = drafting

    async def DraftMapping(
        self, request: pb.DraftMappingRequest, context: ServicerContext[Any, Any]
    ) -> pb.DraftMappingResponse:
        org = require_org(request.name, field="name")
        migration = await self._administration.get(org, migration_id(request.name, field="name"))
        return draft_message(await self._drafting.draft(org, migration.spec, request.sample_count))
