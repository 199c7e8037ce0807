"""Sources of organisations, opened for one look."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from liftos_migration.adapters.source import redis_census
from liftos_migration.adapters.source.catalog import read_inventory
from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.adapters.source.references import SourceReferences
from liftos_migration.adapters.source.snapshot_reading import PostgresSnapshot
from liftos_migration.domain.inventory import Inventory
from liftos_migration.domain.migrations import MigrationSpec, SourceStore
from liftos_migration.verification_ports import KeySource


class SourceOpener:
    """Opens sources by the variables that name them.

    Args:
        references: Where addresses are, and who may use them.
    """

    def __init__(self, references: SourceReferences) -> None:
        self._references = references

    @asynccontextmanager
    async def snapshot(
        self, org: str, spec: MigrationSpec
    ) -> AsyncIterator[tuple[Inventory, PostgresSnapshot]]:
        """Yield the inventory and a snapshot of a source's Postgres.

        Raises:
            InvalidFieldsError: The org may not use the variable.
            StoreUnavailableError: The source does not answer.
        """
        path = "migration.source.database_reference"
        url = self._references.url(org, spec.source.database_reference, path=path)
        connections = SourceConnections(url, spec.source.schemas, maximum=1)
        async with connections.snapshot() as (connection, _):
            inventory = await read_inventory(connection, spec.source.schemas)
            yield inventory, PostgresSnapshot(connection, spec.source.schemas)

    @asynccontextmanager
    async def keys(self, org: str, source: SourceStore) -> AsyncIterator[KeySource]:
        """Yield the Redis of a source, which has one.

        Raises:
            InvalidFieldsError, StoreUnavailableError: See `snapshot`.
        """
        path = "migration.source.redis_reference"
        url = self._references.url(org, source.redis_reference, path=path)
        async with redis_census.connected(url) as opened:
            yield opened
