"""Which rows a record on Core comes from, and what became of a row, asked of the source itself."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_mapping.entry_fields import NATURAL_KEY
from liftos_migration.domain.changes import Key
from liftos_migration.domain.differences import Value, key_of, read_key
from liftos_migration.domain.inventory import Inventory
from liftos_migration.domain.lineage import Edge, RecordOrigin, edges
from liftos_migration.domain.mapping import TableMapping, Target
from liftos_migration.domain.migrations import MigrationSpec
from liftos_migration.domain.projection import Projection
from liftos_migration.domain.records import artifact_of, note_of
from liftos_migration.domain.tables import Tables, limited_to
from liftos_migration.usecases.accounting import record_name
from liftos_migration.usecases.comparing_entries import ids_of
from liftos_migration.verification_ports import (
    CoreDigests,
    SnapshotReader,
    SourceRecord,
)

OpenSource = Callable[
    [str, MigrationSpec], AbstractAsyncContextManager[tuple[Inventory, SnapshotReader]]
]
"""Opens a snapshot of an org's source, with its tables."""

_TARGETS: Final = {
    "entries": (Target.ENTRIES,),
    "artifacts": (Target.ARTIFACTS,),
    "notes": (Target.NOTES,),
}


class Lineage:
    """Answers where data comes from.

    Args:
        open_source: Opens sources.
        digests: Reads what a migration wrote to Core, by org and migration.
    """

    def __init__(self, open_source: OpenSource, digests: Callable[[str, str], CoreDigests]) -> None:
        self._open_source = open_source
        self._digests = digests

    async def of_columns(
        self, org: str, spec: MigrationSpec, *, table: str, target_field: str
    ) -> Sequence[Edge]:
        """Return which columns fields come from; empty texts take all.

        Raises:
            StoreUnavailableError: The source does not answer.
        """
        async with self._open_source(org, spec) as (inventory, _):
            items = {item.object: item for item in inventory.tables()}
        return edges(spec.mapping, items, table=table, target_field=target_field)

    async def of_row(
        self, org: str, migration: str, spec: MigrationSpec, *, table: str, source_key: str
    ) -> Sequence[RecordOrigin]:
        """Return what became of a row: its record as it should be; none where it becomes none.

        Raises:
            InvalidFieldsError: There is no such table, or it is no key of it.
            NotComparableError: The source cannot read the row as its mapping says.
            StoreUnavailableError: The source does not answer.
        """
        async with self._open_source(org, spec) as (inventory, source):
            tables = _tables(org, migration, spec, inventory)
            mapped = _mapped(tables, table)
            projected = tables.projection(mapped)
            key = _key(projected, source_key)
            return await _origins(tables, mapped, projected, source, [key])

    async def of_record(
        self, org: str, migration: str, spec: MigrationSpec, *, target_record: str
    ) -> Sequence[RecordOrigin]:
        """Return the rows that give a record; none where no table does.

        Raises:
            InvalidFieldsError: It is no name of an entry, artifact or note of the org.
            NotComparableError: The source cannot read a table as its mapping says.
            StoreUnavailableError: A store does not answer.
        """
        collection, _, record_id = target_record.removeprefix(f"orgs/{org}/").partition("/")
        if collection not in _TARGETS or not record_id:
            raise InvalidFieldsError(
                [
                    FieldViolation(
                        "target_record",
                        f"is {target_record[:200]!r}; give the name of an entry, an artifact or a"
                        f" note, such as orgs/{org}/artifacts/model-1",
                        "name",
                    )
                ]
            )
        identity: Mapping[str, Value] = {"id": record_id}
        if collection == "entries":
            record = await self._digests(org, migration).entry(record_id)
            if record is None:
                return []
            identity = {name: record.fields.get(name, "") for name in NATURAL_KEY}
        found: list[RecordOrigin] = []
        async with self._open_source(org, spec) as (inventory, source):
            tables = _tables(org, migration, spec, inventory)
            for mapped in tables.of(*_TARGETS[collection]):
                projected = tables.projection(mapped)
                keys = await source.keys_of(projected, identity)
                found += await _origins(tables, mapped, projected, source, keys)
        return found


def _tables(org: str, migration: str, spec: MigrationSpec, inventory: Inventory) -> Tables:
    items = {item.object: item for item in inventory.tables()}
    return Tables(spec.mapping, items, org, migration)


def _mapped(tables: Tables, table: str) -> TableMapping:
    own = tables.of(Target.ENTRIES, Target.ARTIFACTS, Target.NOTES)
    mapped = next((each for each in own if each.table == table), None)
    if mapped is None:
        raise InvalidFieldsError(
            [
                FieldViolation(
                    "table",
                    f"is {table!r}; rows of these become records of their own:"
                    f" {', '.join(each.table for each in own)}",
                    "known",
                )
            ]
        )
    return mapped


def _key(projected: Projection, source_key: str) -> Key:
    try:
        given = read_key(source_key)
    except ValueError:
        given = {}
    if given.keys() != set(projected.key_columns):
        example = ",".join(f'"{column}":…' for column in projected.key_columns)
        raise InvalidFieldsError(
            [
                FieldViolation(
                    "source_key",
                    f"is {source_key[:200]!r}; the key of {projected.table} is {{{example}}}",
                    "key",
                )
            ]
        )
    return tuple(str(given[column]) for column in projected.key_columns)


async def _origins(
    tables: Tables,
    mapped: TableMapping,
    projected: Projection,
    source: SnapshotReader,
    keys: Sequence[Key],
) -> Sequence[RecordOrigin]:
    if not keys:
        return []
    records = [each async for each in source.records(projected, keys)]
    row_hashes = await source.row_hashes(projected, keys)
    targets = await _targets(projected, source, records)
    return [
        RecordOrigin(
            mapped.table,
            key_of(projected.key_columns, projected.key_types, record.key),
            row_hashes.get(record.key, hashlib.md5(usedforsecurity=False).digest()),
            record_name(tables.org, mapped.target, targets[record.key][0]),
            targets[record.key][1],
        )
        for record in records
    ]


async def _targets(
    projected: Projection, source: SnapshotReader, records: Sequence[SourceRecord]
) -> Mapping[Key, tuple[str, bytes]]:
    """Return the id and the hash of the record that each key gives."""
    found: dict[Key, tuple[str, bytes]] = {}
    if projected.target is Target.ENTRIES:
        for record in records:
            async for batch in source.hashes(limited_to(projected, [record.key]), 1, (0,)):
                (entry_id,) = ids_of(batch)
                found[record.key] = entry_id, bytes.fromhex(batch.column("hash")[0].as_py())
        return found
    make = artifact_of if projected.target is Target.ARTIFACTS else note_of
    for record in records:
        told = make(record.fields, projected.scope)
        found[record.key] = told.id, told.hash()
    return found
