"""Inventories of sources: made, kept, and read again."""

from collections.abc import Sequence
from dataclasses import dataclass

from liftos_kit.core.errors import NotFoundError
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import AnsweredBeforeError, Repeatable
from liftos_migration.domain.coverage import CoveredItem, covered
from liftos_migration.domain.inventory import Inventory
from liftos_migration.domain.ledger import JsonObject
from liftos_migration.domain.migrations import MigrationSpec, TableProgress
from liftos_migration.domain.names import migration_name
from liftos_migration.domain.states import MigrationState
from liftos_migration.inspection_ports import (
    Inspections,
    InventorySummary,
    SourceInspector,
)
from liftos_migration.usecases.steps import StepContext, StepFailedError


class Inspecting:
    """Makes and shows inventories.

    Args:
        inspector: Looks at sources.
        store: Keeps inventories.
    """

    def __init__(self, inspector: SourceInspector, store: Inspections) -> None:
        self._inspector = inspector
        self._store = store

    async def look(self, org: str, spec: MigrationSpec) -> tuple[Inventory, Sequence[CoveredItem]]:
        """Return all parts of a source, and each with what the mapping says of it.

        Raises:
            InvalidFieldsError: The org may not name it.
            StoreUnavailableError: It does not answer.
        """
        inventory = await self._inspector.inventory(org, spec.source, spec.mapping)
        return inventory, [covered(spec.mapping, item) for item in inventory.items]

    async def inspect(
        self,
        org: str,
        migration: str,
        spec: MigrationSpec,
        repeatable: Repeatable[InventorySummary] | None,
    ) -> InventorySummary | bytes:
        """Make the inventory of a source and keep it.

        Returns:
            What was found, or the answer that the same request was given before.

        Raises:
            NotFoundError: There is no such migration.
            InvalidFieldsError, StoreUnavailableError: See `look`.
        """
        inventory, items = await self.look(org, spec)
        try:
            return await self._store.keep_inventory(org, migration, inventory, items, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response

    async def list_page(
        self, org: str, migration: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[CoveredItem], JsonValue]:
        """Return a page of the last inventory, by kind and name.

        Raises:
            NotFoundError: There is none.
        """
        if await self._store.inventory_summary(org, migration) is None:
            raise NotFoundError(f"{migration_name(org, migration)}/inventory")
        return await self._store.list_items(org, migration, where=where, cursor=cursor, limit=limit)


@dataclass(frozen=True, slots=True)
class InventoryStep:
    """Makes the inventory, and stops where a part is neither mapped nor waived."""

    inspecting: Inspecting
    store: Inspections
    title: str = "inventory"
    phase: MigrationState = MigrationState.INVENTORIED

    async def do(self, context: StepContext) -> JsonObject:
        """Make it, and keep it."""
        inventory, items = await self.inspecting.look(context.org, context.spec)
        summary = await self.store.keep_inventory_of_step(context.lease, inventory, items)
        tables = [
            TableProgress(table.object, row_count=table.row_count, exact=True)
            for table in inventory.tables()
            if context.mapping.table(table.object) is not None
        ]
        context.progress(lambda before: before.with_tables(*tables))
        return {
            "sha256": inventory.sha256,
            "item_count": summary.item_count,
            "unmapped_count": summary.unmapped_count,
        }

    async def verify(self, context: StepContext) -> None:
        """Refuse to go on where something would be forgotten."""
        summary = await self.store.inventory_summary(context.org, context.migration)
        if summary is None or summary.unmapped_count:
            count = 0 if summary is None else summary.unmapped_count
            raise StepFailedError(
                "NOT_MAPPED",
                f"{count} parts of the source are neither mapped nor waived.",
                "See them with `liftos migration inventory --filter 'mapped = false AND"
                " waived = false'`, map or waive each, and resume.",
            )

    async def undo(self, context: StepContext) -> None:
        """Nothing was changed that could be taken back."""
