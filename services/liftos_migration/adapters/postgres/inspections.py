"""Inventories and preflight reports; see `liftos_migration.inspection_ports.Inspections`."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final, TypeVar

import asyncpg

from liftos_kit import postgres
from liftos_kit.core.errors import NotFoundError
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import Repeatable
from liftos_kit.postgres_pages import Listing, Order, Row, read_page, word_of
from liftos_kit.postgres_requests import begin, once
from liftos_migration.adapters.postgres.database import held
from liftos_migration.adapters.postgres.rows import from_json
from liftos_migration.domain.coverage import CoveredItem
from liftos_migration.domain.inventory import Column, Inventory, Item, ItemKind
from liftos_migration.domain.ledger import storable
from liftos_migration.domain.names import migration_name
from liftos_migration.domain.preflight import CaptureMode, Finding, Preflight
from liftos_migration.inspection_ports import InventorySummary, StoredPreflight
from liftos_migration.ledger_ports import Lease

Result = TypeVar("Result")

_SQL: Final = postgres.load_queries("liftos_migration", "sql/inspections.sql")
_DEFINITION_CHARACTERS: Final = 65_536
_ITEMS: Final = Listing(
    name="list_inventory_items",
    select=f"""
select i.*, {word_of([kind.name for kind in ItemKind], "i.kind")} as kind_word
from inventory_items i where i.org = $1 and i.migration = $2""",  # noqa: S608 - words are ours
    order=(Order("kind", "smallint"), Order("object", "text"), Order("item", "int")),
    fields={
        "kind": "kind_word",
        "object": "object",
        "mapped": "mapped",
        "waived": "waived",
    },
)


class PostgresInspections:
    """What was found of sources."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def keep_preflight(
        self,
        org: str,
        migration: str,
        found: Preflight,
        repeatable: Repeatable[StoredPreflight] | None,
    ) -> StoredPreflight:
        """Keep a report that a person asked for."""

        async def kept(connection: asyncpg.Connection) -> StoredPreflight:
            return await _keep_preflight(connection, org, migration, found)

        return await self._once(org, migration, repeatable, kept)

    async def keep_preflight_of_step(self, lease: Lease, found: Preflight) -> StoredPreflight:
        """Keep a report of a worker."""
        async with held(self._pool, lease) as connection:
            return await _keep_preflight(connection, lease.org, lease.migration, found)

    async def fresh_preflight(
        self, org: str, migration: str, *, maximum_age: timedelta
    ) -> tuple[Preflight, timedelta] | None:
        """Return the newest report of the plan as it is now, and its age."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            row = await _SQL.fresh_preflight(
                connection, org=org, migration=migration, maximum_age=maximum_age
            )
        if row is None:
            return None
        found = Preflight(
            findings=from_json(tuple[Finding, ...], row["findings"]),
            capture_modes=tuple(map(CaptureMode, row["capture_modes"])),
            cut_over_allowed=row["cut_over_allowed"],
            row_count=row["row_count"],
            size_bytes=row["size_bytes"],
            clock_offset_seconds=row["clock_offset_seconds"],
        )
        return found, timedelta(seconds=row["age_seconds"])

    async def keep_inventory(
        self,
        org: str,
        migration: str,
        inventory: Inventory,
        items: Sequence[CoveredItem],
        repeatable: Repeatable[InventorySummary] | None,
    ) -> InventorySummary:
        """Keep an inventory that a person asked for."""

        async def kept(connection: asyncpg.Connection) -> InventorySummary:
            return await _keep_inventory(connection, org, migration, inventory, items)

        return await self._once(org, migration, repeatable, kept)

    async def keep_inventory_of_step(
        self, lease: Lease, inventory: Inventory, items: Sequence[CoveredItem]
    ) -> InventorySummary:
        """Keep an inventory of a worker."""
        async with held(self._pool, lease) as connection:
            return await _keep_inventory(connection, lease.org, lease.migration, inventory, items)

    async def inventory_summary(self, org: str, migration: str) -> InventorySummary | None:
        """Return what is kept."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            row = await _SQL.inventory_summary(connection, org=org, migration=migration)
        return None if row is None else _summary(row)

    async def list_items(
        self, org: str, migration: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[CoveredItem], JsonValue]:
        """Return parts by kind and name."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            rows, following = await read_page(
                connection, _ITEMS, [org, migration], where=where, cursor=cursor, limit=limit
            )
        return [_item(row) for row in rows], following

    async def _once(
        self,
        org: str,
        migration: str,
        repeatable: Repeatable[Result] | None,
        keep: Callable[[asyncpg.Connection], Awaitable[Result]],
    ) -> Result:
        async def kept(connection: asyncpg.Connection) -> Result:
            async with _known(org, migration):
                return await keep(connection)

        return await once(begin(self._pool, org), repeatable, kept)


@asynccontextmanager
async def _known(org: str, migration: str) -> AsyncIterator[None]:
    try:
        yield
    except asyncpg.ForeignKeyViolationError:
        raise NotFoundError(migration_name(org, migration)) from None


async def _keep_preflight(
    connection: asyncpg.Connection, org: str, migration: str, found: Preflight
) -> StoredPreflight:
    checked = await _SQL.insert_preflight(
        connection,
        org=org,
        migration=migration,
        findings=storable([asdict(each) for each in found.findings]),
        capture_modes=[int(mode) for mode in found.capture_modes],
        startable=found.startable,
        cut_over_allowed=found.cut_over_allowed,
        row_count=found.row_count,
        size_bytes=found.size_bytes,
        estimated_copy_seconds=found.estimated_copy_seconds,
        estimated_pause_seconds=found.estimated_pause_seconds,
        estimated_rollback_seconds=found.estimated_rollback_seconds,
        clock_offset_seconds=found.clock_offset_seconds,
    )
    if checked is None:
        raise NotFoundError(migration_name(org, migration))
    return StoredPreflight(found, checked)


async def _keep_inventory(
    connection: asyncpg.Connection,
    org: str,
    migration: str,
    inventory: Inventory,
    items: Sequence[CoveredItem],
) -> InventorySummary:
    await _SQL.replace_inventory(connection, org=org, migration=migration, sha256=inventory.sha256)
    await _SQL.insert_items(
        connection,
        org=org,
        migration=migration,
        items=[{"item": place, **_columns(each)} for place, each in enumerate(items, 1)],
    )
    row = await _SQL.inventory_summary(connection, org=org, migration=migration)
    return _summary(row)


def _columns(covered: CoveredItem) -> dict[str, object]:
    item = covered.item
    columns: dict[str, object] = storable(
        {
            "kind": int(item.kind),
            "object": item.object,
            "columns": [asdict(column) for column in item.columns],
            "key_columns": item.key_columns,
            "row_count": item.row_count,
            "size_bytes": item.size_bytes,
            "sha256": item.sha256,
            "depends_on": item.depends_on,
            "definition": item.definition[:_DEFINITION_CHARACTERS],
            "mapped": covered.mapped,
            "waived": covered.waived,
            "unmapped_columns": covered.unmapped_columns,
        }
    )
    return columns


def _summary(row: Row) -> InventorySummary:
    return InventorySummary(row["item_count"], row["unmapped_count"], row["inspect_time"])


def _item(row: Row) -> CoveredItem:
    columns: Sequence[dict[str, Any]] = row["columns"]
    return CoveredItem(
        Item(
            kind=ItemKind(row["kind"]),
            object=row["object"],
            definition=row["definition"],
            columns=tuple(Column(**column) for column in columns),
            key_columns=tuple(row["key_columns"]),
            row_count=row["row_count"],
            size_bytes=row["size_bytes"],
            depends_on=tuple(row["depends_on"]),
        ),
        mapped=row["mapped"],
        waived=row["waived"],
        unmapped_columns=tuple(row["unmapped_columns"]),
    )
