"""What a source has and allows, what it becomes, and where each value comes from."""

from liftos.migration.v1 import migration_service_pb2 as pb
from liftos.migration.v1.plan_pb2 import InventoryItem, PreflightReport
from liftos_client.arguments import chosen_request_id
from liftos_client.migration.base import MigrationCalls
from liftos_client.pages import Pages


class PlanMethods(MigrationCalls):
    """Methods about the source and the mapping."""

    async def preflight(
        self, name: str, *, request_id: str = "", timeout_seconds: float | None = None
    ) -> PreflightReport:
        """Find out what the source allows; nothing is written to it.

        Raises:
            FieldInvalidError: The source cannot be reached by its reference.
            StoreUnavailableError: The source does not answer.
        """
        request = pb.PreflightRequest(
            name=self._migration_name(name), request_id=chosen_request_id(request_id)
        )
        return (await self._calls.unary(self._stub.Preflight, request, timeout_seconds)).report

    async def inspect_source(
        self, name: str, *, request_id: str = "", timeout_seconds: float | None = None
    ) -> pb.InspectSourceResponse:
        """Make the inventory of the source; `list_inventory` reads it.

        Raises:
            StoreUnavailableError: The source does not answer.
        """
        request = pb.InspectSourceRequest(
            name=self._migration_name(name), request_id=chosen_request_id(request_id)
        )
        return await self._calls.unary(self._stub.InspectSource, request, timeout_seconds)

    def list_inventory(
        self,
        migration: str,
        *,
        filter: str = "",  # noqa: A002  # the contract's word
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[InventoryItem, pb.ListInventoryResponse]:
        """List the parts of a source by kind and name; filter over kind, object, mapped, waived.

        Raises:
            NotFoundError: No inventory was made yet.
        """
        return self._pages(
            self._stub.ListInventory,
            pb.ListInventoryRequest(
                parent=self._migration_name(migration), filter=filter, page_size=page_size
            ),
            lambda page: page.items,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def draft_mapping(
        self, name: str, *, sample_count: int = 0, timeout_seconds: float | None = None
    ) -> pb.DraftMappingResponse:
        """Propose a mapping, beside rows and what they become; nothing is stored.

        Args:
            name: The migration.
            sample_count: Rows of each table: by default 3, at most 20.
            timeout_seconds: Deadline.
        """
        request = pb.DraftMappingRequest(name=self._migration_name(name), sample_count=sample_count)
        return await self._calls.unary(self._stub.DraftMapping, request, timeout_seconds)

    async def get_lineage(
        self,
        name: str,
        *,
        table: str = "",
        target_field: str = "",
        source_key: str = "",
        target_record: str = "",
        timeout_seconds: float | None = None,
    ) -> pb.GetLineageResponse:
        """Say which columns a field comes from, or which rows a record comes from.

        Args:
            name: The migration.
            table: Only this table, as schema.table.
            target_field: Which columns does this field come from?
            source_key: What became of the row with this key, as compact JSON? Needs table.
            target_record: Which rows does this entry, artifact or note come from?
            timeout_seconds: Deadline.
        """
        request = pb.GetLineageRequest(
            name=self._migration_name(name),
            table=table,
            target_field=target_field,
            source_key=source_key,
            target_record=target_record,
        )
        return await self._calls.unary(self._stub.GetLineage, request, timeout_seconds)
