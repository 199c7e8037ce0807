"""What is known of a source: asked of itself, and kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import Repeatable
from liftos_migration.domain.coverage import CoveredItem
from liftos_migration.domain.inventory import Inventory
from liftos_migration.domain.mapping import Mapping
from liftos_migration.domain.migrations import SourceStore
from liftos_migration.domain.preflight import Finding, Preflight, SourceFacts
from liftos_migration.ledger_ports import Lease


@dataclass(frozen=True, slots=True)
class InventorySummary:
    """An inventory that was kept: its parts, and those of them that nothing was said of."""

    item_count: int
    unmapped_count: int
    inspect_time: datetime


@dataclass(frozen=True, slots=True)
class StoredPreflight:
    """A report that was kept, and when it was made."""

    preflight: Preflight
    check_time: datetime


class SourceInspector(Protocol):
    """Looks at a source; nothing is written to it.

    Raises:
        InvalidFieldsError: The org may not name one of its references, or one is not set.
        StoreUnavailableError: It does not answer.
    """

    async def inventory(self, org: str, source: SourceStore, mapping: Mapping) -> Inventory:
        """Return every part of it: of its Postgres, its Redis and its files.

        Args:
            org: Who asks.
            source: Where it is.
            mapping: Says by which prefixes Redis keys are counted.
        """
        ...

    async def facts(self, org: str, source: SourceStore, tables: Sequence[str]) -> SourceFacts:
        """Return what its Postgres says of itself."""
        ...


class MappingChecker(Protocol):
    """Holds a mapping against the source that it is for; nothing is written to it.

    Raises:
        InvalidFieldsError, StoreUnavailableError: See `SourceInspector`.
    """

    async def problems(
        self, org: str, source: SourceStore, mapping: Mapping, inventory: Inventory
    ) -> Sequence[Finding]:
        """Return what the source finds wrong with it."""
        ...


class Platforms(Protocol):
    """Knows the platforms of Core."""

    async def known(self, org: str) -> frozenset[str]:
        """Return the words that entries of an org may carry as platform.

        Raises:
            StoreUnavailableError: Memory does not answer.
        """
        ...


class Inspections(Protocol):
    """Keeps what was found.

    Raises:
        NotFoundError: There is no such migration.
        LeaseLostError: Another worker has it.
        AnsweredBeforeError, RequestIdReusedError: See `Repeatable`.
    """

    async def keep_preflight(
        self,
        org: str,
        migration: str,
        found: Preflight,
        repeatable: Repeatable[StoredPreflight] | None,
    ) -> StoredPreflight:
        """Keep a report that a person asked for."""
        ...

    async def keep_preflight_of_step(self, lease: Lease, found: Preflight) -> StoredPreflight:
        """Keep a report of a worker."""
        ...

    async def fresh_preflight(
        self, org: str, migration: str, *, maximum_age: timedelta
    ) -> tuple[Preflight, timedelta] | None:
        """Return the newest report of the plan as it is now, and its age; None if it is older."""
        ...

    async def keep_inventory(
        self,
        org: str,
        migration: str,
        inventory: Inventory,
        items: Sequence[CoveredItem],
        repeatable: Repeatable[InventorySummary] | None,
    ) -> InventorySummary:
        """Keep an inventory that a person asked for, in place of the one before."""
        ...

    async def keep_inventory_of_step(
        self, lease: Lease, inventory: Inventory, items: Sequence[CoveredItem]
    ) -> InventorySummary:
        """Keep an inventory of a worker, in place of the one before."""
        ...

    async def inventory_summary(self, org: str, migration: str) -> InventorySummary | None:
        """Return what is kept; None where there is no inventory."""
        ...

    async def list_items(
        self, org: str, migration: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[CoveredItem], JsonValue]:
        """Return parts by kind and name; fields: see `ITEM_FIELDS`."""
        ...
