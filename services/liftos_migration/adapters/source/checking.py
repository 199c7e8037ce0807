"""Mappings held against their sources; see `liftos_migration.inspection_ports.MappingChecker`."""

from collections.abc import Sequence

from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.adapters.source.platforms import unknown_platforms
from liftos_migration.adapters.source.projecting import mapping_problems
from liftos_migration.adapters.source.references import SourceReferences
from liftos_migration.domain.coverage import forgotten, unknown
from liftos_migration.domain.inventory import Inventory
from liftos_migration.domain.mapping import Mapping, Target
from liftos_migration.domain.migrations import SourceStore
from liftos_migration.domain.preflight import Finding, Severity
from liftos_migration.inspection_ports import Platforms


class PostgresMappingChecker:
    """Holds mappings against sources.

    Args:
        references: Where their addresses are.
        platforms: Those of Core.
    """

    def __init__(self, references: SourceReferences, platforms: Platforms) -> None:
        self._references = references
        self._platforms = platforms

    async def problems(
        self, org: str, source: SourceStore, mapping: Mapping, inventory: Inventory
    ) -> Sequence[Finding]:
        """Return what is wrong with a mapping for this source."""
        path = "migration.source.database_reference"
        url = self._references.url(org, source.database_reference, path=path)
        found = [*forgotten(mapping, inventory), *unknown(mapping, inventory)]
        async with SourceConnections(url, source.schemas, maximum=1).connect() as connection:
            wrong = await mapping_problems(connection, mapping, inventory, org)
            found += wrong
            blocked = [each.object for each in wrong if each.severity is Severity.BLOCKER]
            there = {item.object for item in inventory.tables()}
            entries = [
                table
                for table in mapping.tables
                if table.target is Target.ENTRIES
                and table.table in there
                and not any(f"{each} ".startswith(f"{table.table} ") for each in blocked)
            ]
            if entries:
                known = await self._platforms.known(org)
                found += await unknown_platforms(connection, entries, inventory, org, known)
        return found
