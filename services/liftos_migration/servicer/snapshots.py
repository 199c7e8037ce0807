"""Snapshots of sources on the wire."""

from typing import Any

from grpc.aio import ServicerContext

from liftos.migration.v1 import migration_service_pb2 as pb
from liftos_kit.auth import require_org
from liftos_kit.core.paging import PageTokens
from liftos_kit.requests import page_request
from liftos_migration.convert.ledger import snapshot_message
from liftos_migration.domain.names import migration_id
from liftos_migration.snapshot_ports import SnapshotRecords
from liftos_migration.usecases.migrations import MigrationAdministration


class SnapshotsServicer:
    """Shows the points that a source can be restored to.

    Args:
        administration: Knows the migrations.
        snapshots: Where snapshots are.
        page_tokens: Of lists.
    """

    def __init__(
        self,
        *,
        administration: MigrationAdministration,
        snapshots: SnapshotRecords,
        page_tokens: PageTokens,
    ) -> None:
        self._administration = administration
        self._snapshots = snapshots
        self._page_tokens = page_tokens

    async def ListSnapshots(
        self, request: pb.ListSnapshotsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListSnapshotsResponse:
        org = require_org(request.parent)
        id_ = migration_id(request.parent, field="parent")
        asked = page_request(request, org, self._page_tokens)
        await self._administration.get(org, id_)
        found, cursor = await self._snapshots.list_page(
            org, id_, cursor=asked.cursor, limit=asked.limit
        )
        return pb.ListSnapshotsResponse(
            snapshots=[
                snapshot_message(org, id_, snapshot, before_step=step) for snapshot, step in found
            ],
            next_page_token=asked.next_token(cursor),
        )
