"""Rows of a table accounted for, and each difference told with what is likely behind it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from liftos_migration.domain import differences
from liftos_migration.domain.changes import Key
from liftos_migration.domain.differences import (
    Difference,
    DifferenceKind,
    FieldDifference,
    Value,
    differing_fields,
    likely_cause,
)
from liftos_migration.domain.inventory import Item
from liftos_migration.domain.mapping import TableMapping, Target
from liftos_migration.domain.tables import Refusals, Tables
from liftos_migration.domain.verification import EntityResult, Tier
from liftos_migration.verification_ports import CoreRecord, RowCounts


@dataclass(frozen=True, slots=True)
class TableComparison:
    """How one table compares, and each record that differs."""

    result: EntityResult
    differences: tuple[Difference, ...] = ()
    keys: tuple[Key, ...] = ()
    """Of records to write again, as the database writes them."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Both sides of a record that differs, as far as they were read.

    Attributes:
        name: On Core; empty where it has none.
        kind: How it differs.
        key: Of the row.
        source: Values after the transform; None where they were not read, or there are none.
        core: The record on Core; None likewise.
        cause: What is known without looking at values.
        is_read: Whether both sides were read.
    """

    name: str
    kind: DifferenceKind
    key: Key
    source: Mapping[str, Value] | None
    core: CoreRecord | None
    cause: str
    is_read: bool


def accounted(
    tables: Tables,
    mapping: TableMapping,
    counts: RowCounts,
    *,
    record_count: int,
    pairs: Sequence[Pair],
    tier: Tier,
    roots: tuple[bytes, bytes],
) -> TableComparison:
    """Account for the rows of a table, and say what is likely behind each difference."""
    item = tables.items[mapping.table]
    refused = tables.refusals.get(mapping.table, Refusals())
    told: list[Difference] = []
    keys: list[Key] = []
    for pair in pairs:
        difference = _difference(tables, mapping, item, pair, tier)
        if difference is not None:
            told.append(difference)
            if pair.key:
                keys.append(pair.key)
    kinds = Counter(each.kind for each in told)
    missing, different = kinds[DifferenceKind.MISSING], kinds[DifferenceKind.DIFFERENT]
    gone = len(refused.open) + len(refused.waived)
    result = EntityResult(
        mapping.table,
        counts.rows,
        matched_count=record_count - missing - different,
        missing_count=missing,
        different_count=different,
        rejected_count=len(refused.open),
        waived_count=counts.rows - counts.passing + len(refused.waived),
        merged_count=counts.passing - record_count - gone,
        extra_count=kinds[DifferenceKind.EXTRA],
        source_root=roots[0],
        target_root=roots[1],
    )
    return TableComparison(result, tuple(told), tuple(keys))


def _difference(
    tables: Tables, mapping: TableMapping, item: Item, pair: Pair, tier: Tier
) -> Difference | None:
    """Return how a record differs; None where it does not, after all."""
    kind, cause = pair.kind, pair.cause
    fields: tuple[FieldDifference, ...] = ()
    ours, theirs = pair.source or {}, {} if pair.core is None else pair.core.fields
    if pair.is_read:
        fields = tuple(differing_fields(ours, theirs, by_value=tier is Tier.VALUE))
    if kind is DifferenceKind.MISSING and pair.core is not None and not cause:
        # It is not among what the migration wrote, and is there.
        if pair.core.origin != tables.origin:
            if not fields:
                return None
            kind, cause = DifferenceKind.DIFFERENT, differences.changed_by(pair.core.origin)
        else:
            cause = differences.APPLIED_LATE
    if kind is DifferenceKind.DIFFERENT and pair.is_read and not cause:
        cause = likely_cause(ours, theirs) if fields else differences.APPLIED_LATE
    return Difference(
        mapping.table,
        _key(mapping, item, pair),
        kind,
        record_name(tables.org, mapping.target, pair.name)
        if kind is not DifferenceKind.MISSING
        else "",
        fields,
        cause,
    )


def _key(mapping: TableMapping, item: Item, pair: Pair) -> str:
    if not pair.key:
        return differences.key_text({"record": pair.name})
    columns = mapping.key_columns or item.key_columns
    types = {column.name: column.type for column in item.columns}
    return differences.key_of(columns, [types[column] for column in columns], pair.key)


def record_name(org: str, target: Target, record_id: str) -> str:
    """Return the name of a record on Core; empty where its kind has none."""
    match target:
        case Target.ENTRIES:
            return f"orgs/{org}/entries/{record_id}"
        case Target.NOTES:
            return f"orgs/{org}/notes/{record_id}"
        case Target.EXCHANGE_RATES:
            return ""
        case _:
            return f"orgs/{org}/artifacts/{record_id}"
