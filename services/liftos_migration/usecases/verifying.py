"""Tables of one snapshot of the source compared with Core: every row is accounted for."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Final

from liftos_migration.domain import differences
from liftos_migration.domain.changes import Key
from liftos_migration.domain.differences import (
    Difference,
    DifferenceKind,
    Value,
    differing_fields,
)
from liftos_migration.domain.inventory import Item
from liftos_migration.domain.mapping import TableMapping, Target
from liftos_migration.domain.projection import Projection
from liftos_migration.domain.sql_text import bound
from liftos_migration.domain.tables import Tables
from liftos_migration.domain.verification import EntityResult, Tier, root, subtracted
from liftos_migration.usecases.accounting import Pair, TableComparison, accounted, record_name
from liftos_migration.usecases.comparing_entries import DifferingEntry, compare_entries
from liftos_migration.usecases.comparing_records import (
    COLLECTIONS,
    DifferingRecord,
    RecordComparison,
    comparable_fields,
    compare_rates,
    compare_records,
    extra_records,
    members,
)
from liftos_migration.usecases.comparing_wholes import WholeComparison, compare_whole
from liftos_migration.verification_ports import (
    Collection,
    CoreDigests,
    CoreRecord,
    NotComparableError,
    RowCounts,
    SnapshotReader,
)

TOLD_FIELD_BY_FIELD: Final = 1_000
"""Differing records of one table that are read in full; of more, how they differ is told alone."""

_AT_ONCE: Final = 16


async def verify_tables(
    tables: Tables,
    source: SnapshotReader,
    core: CoreDigests,
    *,
    tier: Tier,
    only: Iterable[str] = (),
) -> Sequence[TableComparison]:
    """Compare tables with Core. What cannot be compared is told as unverified.

    Args:
        tables: All of them.
        source: A snapshot of the source that Core is equal to, if all is well.
        core: What the migration wrote.
        tier: How exactly.
        only: Names of those to tell of; none means all.

    Raises:
        StoreUnavailableError: A store does not answer.
    """
    compared: list[TableComparison] = []
    wanted = frozenset(only) or frozenset(tables.items)
    if any(each.table in wanted for each in tables.of(Target.ENTRIES)):
        compared += await _entries(tables, source, core, tier)
    given: dict[Collection, set[str]] = {each: set() for each in Collection}
    unread: set[Collection] = set()
    for mapping in tables.of(
        Target.ARTIFACTS, Target.NOTES, Target.EXCHANGE_RATES, Target.TABLE_ARTIFACT
    ):
        try:
            told, ids = await _records_of(tables, mapping, source, core, tier=tier)
        except NotComparableError as error:
            unread.add(_collection(mapping.target))
            compared.append(_unverified(mapping.table, str(error)))
        else:
            compared.append(told)
            if mapping.target is not Target.EXCHANGE_RATES:
                given[_collection(mapping.target)] |= ids
    for collection in Collection:
        # What a table that cannot be read had given before is no extra record.
        if collection not in unread:
            extra = await extra_records(core, collection, given[collection])
            compared = _with_extra(tables, compared, collection, extra)
    for name, item in tables.items.items():
        if (mapped := tables.mapping.table(name)) is None:
            compared.append(await _unmapped(tables, item, source))
        elif mapped.target is Target.PART:
            count = await source.counts(name)
            compared.append(
                TableComparison(EntityResult(name, count.rows, merged_count=count.rows))
            )
        elif mapped.target is Target.UNDECIDED:
            compared.append(_unverified(name, "What becomes of it is not decided."))
    return [each for each in compared if each.result.table in wanted]


def _unverified(table: str, why: str, counts: RowCounts | None = None) -> TableComparison:
    rows = 0 if counts is None else counts.rows
    return TableComparison(EntityResult(table, rows, unverified=why))


async def _unmapped(tables: Tables, item: Item, source: SnapshotReader) -> TableComparison:
    waiver = tables.mapping.waived(item.object)
    count = await source.counts(item.object)
    if waiver is None:
        return _unverified(item.object, "No mapping and no waiver names it.", count)
    return TableComparison(EntityResult(item.object, count.rows, waived_count=count.rows))


async def _counts(tables: Tables, mapping: TableMapping, source: SnapshotReader) -> RowCounts:
    condition = bound(mapping.row_filter, tables.org) if mapping.row_filter else ""
    return await source.counts(mapping.table, condition)


async def _entries(
    tables: Tables, source: SnapshotReader, core: CoreDigests, tier: Tier
) -> Sequence[TableComparison]:
    """Compare all tables that become entries, together."""
    mappings = tables.of(Target.ENTRIES)
    projections = [tables.projection(each) for each in mappings]
    counts = [await _counts(tables, each, source) for each in mappings]
    compared = await compare_entries(
        projections,
        source,
        core,
        expected=sum(each.passing for each in counts),
        tier=tier,
    )
    differing: list[list[DifferingEntry]] = [[] for _ in mappings]
    for entry in compared.differing:
        if entry.table is not None:
            differing[entry.table].append(entry)
    extra = [entry for entry in compared.differing if entry.table is None]
    if extra and not compared.unreadable:
        homes = await _homes(extra, projections, source, core)
        for entry in extra:
            differing[homes.get(entry.entry_id, 0)].append(entry)
    told: list[TableComparison] = []
    for place, mapping in enumerate(mappings):
        if place in compared.unreadable:
            told.append(_unverified(mapping.table, compared.unreadable[place], counts[place]))
            continue
        rest = compared.sums[place]
        if differing[place]:
            others = [sums for other, sums in enumerate(compared.sums) if other != place]
            rest = {} if compared.unreadable else subtracted(compared.core_sums, others)
        pairs = await _entry_pairs(projections[place], differing[place], source, core)
        told.append(
            accounted(
                tables,
                mapping,
                counts[place],
                record_count=compared.record_counts[place],
                pairs=pairs,
                tier=tier,
                roots=(root(compared.sums[place]), root(rest)),
            )
        )
    return told


async def _homes(
    extra: Sequence[DifferingEntry],
    projections: Sequence[Projection],
    source: SnapshotReader,
    core: CoreDigests,
) -> Mapping[str, int]:
    """Return which table extra entries are told with: one that gives such levels and platforms."""
    if len(projections) == 1:
        return {}
    given: list[set[tuple[str, str]]] = []
    for projected in projections:
        totals = await source.totals(projected)
        given.append({(level, group[1]) for level, sums in totals.items() for group in sums})
    homes: dict[str, int] = {}
    ids = [each.entry_id for each in extra[:TOLD_FIELD_BY_FIELD]]
    for entry_id, record in zip(ids, await _read(core.entry, ids), strict=True):
        if record is not None:
            kind = str(record.fields.get("level")), str(record.fields.get("platform"))
            fitting = (place for place, kinds in enumerate(given) if kind in kinds)
            homes[entry_id] = next(fitting, 0)
    return homes


async def _entry_pairs(
    projected: Projection,
    differing: Sequence[DifferingEntry],
    source: SnapshotReader,
    core: CoreDigests,
) -> Sequence[Pair]:
    told = differing[:TOLD_FIELD_BY_FIELD]
    ours = await _projected(projected, [each.key for each in told if each.key], source)
    theirs = await _read(core.entry, [each.entry_id for each in told])
    pairs = [
        Pair(
            each.entry_id,
            each.kind,
            each.key,
            entry_fields(ours[each.key]) if each.key in ours else None,
            record,
            differences.CLAIMED_TWICE if each.is_claimed_twice else "",
            is_read=True,
        )
        for each, record in zip(told, theirs, strict=True)
    ]
    return [*pairs, *(_unread(each) for each in differing[TOLD_FIELD_BY_FIELD:])]


def _unread(each: DifferingEntry | DifferingRecord) -> Pair:
    name = each.entry_id if isinstance(each, DifferingEntry) else each.record_id
    cause = differences.CLAIMED_TWICE if each.is_claimed_twice else ""
    return Pair(name, each.kind, each.key, None, None, cause, is_read=False)


async def _projected(
    projected: Projection, keys: Sequence[Key], source: SnapshotReader
) -> Mapping[Key, Mapping[str, Value]]:
    if not keys:
        return {}
    return {record.key: record.fields async for record in source.records(projected, keys)}


async def _read(
    read: Callable[[str], Awaitable[CoreRecord | None]], ids: Sequence[str]
) -> Sequence[CoreRecord | None]:
    found: list[CoreRecord | None] = []
    for start in range(0, len(ids), _AT_ONCE):
        found += await asyncio.gather(*map(read, ids[start : start + _AT_ONCE]))
    return found


def entry_fields(fields: Mapping[str, Value]) -> Mapping[str, Value]:
    """Return projected fields as Core has them: what is not set is left out."""
    told: dict[str, Value] = {}
    for name, value in fields.items():
        if value is None or value == "" or value is False:
            continue
        if name == "actions":
            told[name] = json.loads(str(value))
        elif isinstance(value, date):
            told[name] = value.isoformat()
        else:
            told[name] = value
    return told


def _collection(target: Target) -> Collection:
    return COLLECTIONS.get(target, Collection.ARTIFACTS)


async def _records_of(
    tables: Tables,
    mapping: TableMapping,
    source: SnapshotReader,
    core: CoreDigests,
    *,
    tier: Tier,
) -> tuple[TableComparison, frozenset[str]]:
    """Compare a table that becomes records; return the ids that it gives as well."""
    projected = tables.projection(mapping)
    counts = await _counts(tables, mapping, source)
    pairs: Sequence[Pair]
    if mapping.target is Target.TABLE_ARTIFACT:
        whole = await compare_whole(projected, tables.items[mapping.table], source, core)
        pairs, hashes, record_count = _row_pairs(whole), whole.hashes, whole.row_count
    else:
        compare = compare_rates if mapping.target is Target.EXCHANGE_RATES else compare_records
        compared = await compare(projected, source, core)
        pairs = await _record_pairs(projected, compared, source, core)
        hashes, record_count = compared.hashes, compared.record_count
    digest = _digest(hashes)
    told = accounted(
        tables,
        mapping,
        counts,
        record_count=record_count,
        pairs=pairs,
        tier=tier,
        roots=(digest, b"" if pairs else digest),
    )
    return told, frozenset(hashes)


def _digest(hashes: Mapping[str, bytes]) -> bytes:
    digest = hashlib.sha256()
    for record_id in sorted(hashes):
        digest.update(record_id.encode() + b"\0" + hashes[record_id])
    return digest.digest()


def _row_pairs(whole: WholeComparison) -> Sequence[Pair]:
    """Return the rows of a whole table that differ."""
    pairs = []
    for key in sorted(whole.source_rows.keys() | whole.core_rows.keys()):
        ours, theirs = whole.source_rows.get(key), whole.core_rows.get(key)
        if ours and theirs and not differing_fields(ours, theirs, by_value=False):
            continue
        kind = DifferenceKind.DIFFERENT
        if ours is None or theirs is None:
            kind = DifferenceKind.EXTRA if ours is None else DifferenceKind.MISSING
        record = None if theirs is None else CoreRecord(theirs, "")
        pairs.append(Pair("", kind, key, ours, record, "", is_read=True))
    return pairs


async def _record_pairs(
    projected: Projection,
    compared: RecordComparison,
    source: SnapshotReader,
    core: CoreDigests,
) -> Sequence[Pair]:
    told = compared.differing[:TOLD_FIELD_BY_FIELD]
    ours = await _projected(projected, [each.key for each in told], source)
    theirs: Sequence[CoreRecord | None] = [None] * len(told)
    if projected.target is not Target.EXCHANGE_RATES:
        collection = _collection(projected.target)

        async def read(record_id: str) -> CoreRecord | None:
            return await core.record(collection, record_id)

        theirs = await _read(read, [each.record_id for each in told])
    pairs = [
        Pair(
            each.record_id,
            each.kind,
            each.key,
            comparable_fields(ours.get(each.key, {})),
            None if record is None else _flat(record),
            differences.CLAIMED_TWICE if each.is_claimed_twice else each.refusal,
            is_read=projected.target is not Target.EXCHANGE_RATES,
        )
        for each, record in zip(told, theirs, strict=True)
    ]
    return [*pairs, *(_unread(each) for each in compared.differing[TOLD_FIELD_BY_FIELD:])]


def _flat(record: CoreRecord) -> CoreRecord:
    """Return a record with the members of its body as fields of their own."""
    fields: dict[str, Value] = {}
    for name, value in record.fields.items():
        if name in ("body", "attributes") and isinstance(value, Mapping):
            fields |= members(name, value)
        elif name != "scope" and value not in ("", []):
            fields[name] = value
    if record.content:
        fields["content"] = record.content
    return CoreRecord(fields, record.origin, record.content)


def _with_extra(
    tables: Tables,
    compared: Sequence[TableComparison],
    collection: Collection,
    extra: Mapping[str, str],
) -> list[TableComparison]:
    """Tell records that no table gives with the first table of their scope."""
    homes: dict[str, TableMapping] = {}
    for mapping in tables.of(Target.ARTIFACTS, Target.NOTES, Target.TABLE_ARTIFACT):
        if _collection(mapping.target) is collection:
            homes.setdefault(mapping.scope, mapping)
    by_table: dict[str, list[Difference]] = {}
    for record_id, scope in sorted(extra.items()):
        home = homes.get(scope)
        if home is None:
            continue
        by_table.setdefault(home.table, []).append(
            Difference(
                home.table,
                differences.key_text({"record": record_id}),
                DifferenceKind.EXTRA,
                record_name(tables.org, home.target, record_id),
            )
        )
    return [
        replace(
            each,
            result=replace(
                each.result, extra_count=each.result.extra_count + len(by_table[each.result.table])
            ),
            differences=(*each.differences, *by_table[each.result.table]),
        )
        if each.result.table in by_table
        else each
        for each in compared
    ]
