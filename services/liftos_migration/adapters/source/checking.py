"""Mappings held against their sources; see `liftos_migration.inspection_ports.MappingChecker`."""

from collections.abc import Sequence

from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.adapters.source.projecting import mapping_problems
from liftos_migration.adapters.source.references import SourceReferences
from liftos_migration.domain.coverage import forgotten, unknown
from liftos_migration.domain.inventory import Inventory
from liftos_migration.domain.mapping import Mapping
from liftos_migration.domain.migrations import SourceStore
from liftos_migration.domain.preflight import Finding


class PostgresMappingChecker:
    """Holds mappings against sources.

    Args:
        references: Where their addresses are.
    """

    def __init__(self, references: SourceReferences) -> None:
        self._references = references

    async def problems(
        self, org: str, source: SourceStore, mapping: Mapping, inventory: Inventory
    ) -> Sequence[Finding]:
        """Return what is wrong with a mapping for this source."""
        path = "migration.source.database_reference"
        url = self._references.url(org, source.database_reference, path=path)
        found = [*forgotten(mapping, inventory), *unknown(mapping, inventory)]
        async with SourceConnections(url, source.schemas, maximum=1).connect() as connection:
            found += await mapping_problems(connection, mapping, inventory, org)
        return found
