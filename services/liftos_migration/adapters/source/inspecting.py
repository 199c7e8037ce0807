"""A source as it is found: Postgres, Redis and files; see `liftos_migration.inspection_ports`."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path

from liftos_kit.core.errors import InvalidFieldsError
from liftos_migration.adapters.source import redis_census
from liftos_migration.adapters.source.catalog import read_inventory
from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.adapters.source.facts import read_facts
from liftos_migration.adapters.source.references import SourceReferences
from liftos_migration.domain.inventory import Inventory, Item, ItemKind
from liftos_migration.domain.mapping import Mapping
from liftos_migration.domain.migrations import SourceStore
from liftos_migration.domain.preflight import SourceFacts

_MAXIMUM_FILE_BYTES = 64 * 1024 * 1024


class PostgresInspector:
    """Looks at sources.

    Args:
        references: Where their addresses are.
        files: Folder with a folder for each org, of configuration files; None where there is none.
    """

    def __init__(self, references: SourceReferences, files: Path | None) -> None:
        self._references = references
        self._files = files

    async def inventory(self, org: str, source: SourceStore, mapping: Mapping) -> Inventory:
        """Return every part of a source."""
        async with self._postgres(org, source).connect() as connection:
            found = await read_inventory(connection, source.schemas)
        items = [
            *found.items,
            *await self._keys(org, source, [each.prefix for each in mapping.keys]),
            *await asyncio.to_thread(self._settings_files, org, source),
        ]
        return Inventory(tuple(sorted(items, key=lambda item: (item.kind.value, item.object))))

    async def facts(self, org: str, source: SourceStore, tables: Sequence[str]) -> SourceFacts:
        """Return what a source's Postgres says of itself."""
        async with self._postgres(org, source).connect() as connection:
            return await read_facts(connection, tables)

    def _postgres(self, org: str, source: SourceStore) -> SourceConnections:
        path = "migration.source.database_reference"
        url = self._references.url(org, source.database_reference, path=path)
        return SourceConnections(url, source.schemas, maximum=1)

    async def _keys(self, org: str, source: SourceStore, prefixes: Sequence[str]) -> list[Item]:
        if not source.redis_reference:
            return []
        path = "migration.source.redis_reference"
        url = self._references.url(org, source.redis_reference, path=path)
        async with redis_census.connected(url) as redis:
            counted = await redis.census(prefixes)
        return [
            Item(
                ItemKind.REDIS_KEYS,
                each.prefix.decode(errors="replace"),
                ", ".join(f"{count} {kind}" for kind, count in sorted(each.types.items())),
                row_count=each.key_count,
                size_bytes=each.size_bytes,
            )
            for each in counted
            if each.key_count or each.prefix.decode(errors="replace") in prefixes
        ]

    def _settings_files(self, org: str, source: SourceStore) -> list[Item]:
        return [
            self._settings_file(org, index, path)
            for index, path in enumerate(source.configuration_files)
        ]

    def _settings_file(self, org: str, index: int, path: str) -> Item:
        """Return a file as a part; of its contents only the digest, since they may hold secrets."""
        field = f"migration.source.configuration_files[{index}]"
        if self._files is None:
            raise InvalidFieldsError.of(
                field,
                "Migration has no folder of configuration files; its operator sets"
                " LIFTOS_SOURCE_FILES_DIRECTORY",
                rule="source.files",
            )
        folder = (self._files / org).resolve()
        file = (folder / path).resolve()
        if not file.is_relative_to(folder) or not file.is_file():
            raise InvalidFieldsError.of(
                field, f"{path} is no file in the folder of the organisation", rule="source.file"
            )
        size = file.stat().st_size
        if size > _MAXIMUM_FILE_BYTES:
            raise InvalidFieldsError.of(
                field,
                f"{path} has {size:,} bytes; at most {_MAXIMUM_FILE_BYTES:,} are read",
                rule="source.file_size",
            )
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        return Item(ItemKind.SETTING, f"file:{path}", f"sha256 {digest}", size_bytes=size)
