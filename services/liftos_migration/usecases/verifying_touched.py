"""Tables verified again after a verification: the records alone that were written since.

It tells whether what was applied since is right. What somebody changed on Core itself is found by
comparing everything; a number of entries that does not fit is found here too.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from liftos_mapping.entry_fields import ENTRY_SCHEMA, NATURAL_KEY
from liftos_migration.domain.changes import DirtyRecords, Key
from liftos_migration.domain.differences import DifferenceKind, Value, differing_fields
from liftos_migration.domain.mapping import TableMapping, Target
from liftos_migration.domain.sql_text import bound
from liftos_migration.domain.tables import Tables, limited_to
from liftos_migration.domain.verification import EntityResult, Tier
from liftos_migration.usecases.accounting import Pair, TableComparison, accounted
from liftos_migration.usecases.comparing_entries import ids_of
from liftos_migration.usecases.verifying import entry_fields, verify_tables
from liftos_migration.verification_ports import CoreDigests, CoreRecord, SnapshotReader

MOST_KEYS: Final = 20_000
"""Touched records of all tables from which on comparing everything costs less."""

_AT_ONCE: Final = 16
_KEY_SCHEMA: Final = pa.schema([ENTRY_SCHEMA.field(name) for name in NATURAL_KEY])


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a verification found that passed.

    Attributes:
        epoch: Of the worker; under another one, others may have written since.
        results: By table.
    """

    epoch: int
    results: Mapping[str, EntityResult]


async def verify_touched(
    tables: Tables,
    source: SnapshotReader,
    core: CoreDigests,
    *,
    touched: DirtyRecords,
    evidence: Evidence,
    tier: Tier,
) -> Sequence[TableComparison] | None:
    """Compare what was written since a verification; None where all has to be compared.

    Args:
        tables: All of them.
        source: A snapshot of the source that Core is equal to, if all is well.
        core: What the migration wrote.
        touched: Records that were written or deleted since.
        evidence: What was found before.
        tier: How exactly.

    Raises:
        NotComparableError: The source cannot read a record as its mapping says.
        StoreUnavailableError: A store does not answer.
    """
    entries = tables.of(Target.ENTRIES)
    names = {each.table for each in entries}
    if (
        sum(map(len, touched.keys.values())) > MOST_KEYS
        or names & touched.whole.keys()
        or tables.items.keys() != evidence.results.keys()
    ):
        return None
    compared = [
        await _entries(
            tables, each, sorted(touched.keys.get(each.table, ())), (source, core), tier=tier
        )
        for each in entries
    ]
    expected = sum(each.result.matched_count + each.result.different_count for each in compared)
    if await core.entry_count() != expected + sum(each.result.extra_count for each in compared):
        # Somebody else wrote or deleted: which ones, only comparing everything tells.
        return None
    others = {*touched.keys, *touched.whole} - names
    others |= {part.table for name in others for part in tables.mapping.parts_of(name)}
    if others:
        compared += await verify_tables(tables, source, core, tier=tier, only=others)
    told = {each.result.table for each in compared}
    compared += [
        TableComparison(result) for name, result in evidence.results.items() if name not in told
    ]
    return compared


async def _entries(
    tables: Tables,
    mapping: TableMapping,
    keys: Sequence[Key],
    sides: tuple[SnapshotReader, CoreDigests],
    *,
    tier: Tier,
) -> TableComparison:
    """Compare some entries of a table by their values, and count all."""
    source, core = sides
    projected = tables.projection(mapping)
    condition = bound(mapping.row_filter, tables.org) if mapping.row_filter else ""
    counts = await source.counts(mapping.table, condition)
    record_count = await source.record_count(projected)
    pairs: list[Pair] = []
    if keys:
        given = {
            each.key: each.fields async for each in source.records(limited_to(projected, keys))
        }
        identities = await source.identities(projected, keys)
        ids = dict(zip(identities, _ids(list(identities.values())), strict=True))
        for start in range(0, len(ids), _AT_ONCE):
            some = list(ids.items())[start : start + _AT_ONCE]
            records = await asyncio.gather(*(core.entry(entry_id) for _, entry_id in some))
            for (key, entry_id), record in zip(some, records, strict=True):
                pair = _pair(tables, key, entry_id, given.get(key), record)
                if pair is not None:
                    pairs.append(pair)
    return accounted(
        tables, mapping, counts, record_count=record_count, pairs=pairs, tier=tier, roots=(b"", b"")
    )


def _ids(identities: Sequence[Mapping[str, Value]]) -> Sequence[str]:
    return ids_of(pa.RecordBatch.from_pylist(list(identities), schema=_KEY_SCHEMA))


def _pair(
    tables: Tables,
    key: Key,
    entry_id: str,
    fields: Mapping[str, Value] | None,
    record: CoreRecord | None,
) -> Pair | None:
    """Return both sides of an entry where they differ."""
    if fields is None:
        if record is None or record.origin != tables.origin:
            return None
        return Pair(entry_id, DifferenceKind.EXTRA, key, None, record, "", is_read=True)
    ours = entry_fields(fields)
    if record is None:
        return Pair(entry_id, DifferenceKind.MISSING, key, ours, None, "", is_read=True)
    if not differing_fields(ours, record.fields, by_value=False):
        return None
    return Pair(entry_id, DifferenceKind.DIFFERENT, key, ours, record, "", is_read=True)
