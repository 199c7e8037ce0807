"""Tables that were carried whole, compared: by the digests of their parts, then row by row."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from liftos_migration.domain.changes import Key
from liftos_migration.domain.differences import Value
from liftos_migration.domain.inventory import Item
from liftos_migration.domain.projection import Projection
from liftos_migration.usecases.table_artifacts import part_prefix, rows_of, table_artifacts
from liftos_migration.verification_ports import Collection, CoreDigests, SnapshotReader


@dataclass(slots=True)
class WholeComparison:
    """How the parts of a table compare.

    Attributes:
        hashes: Of all parts that the source gives, by id.
        row_count: Rows that the source gives.
        missing_parts: Ids of parts that are not on Core.
        source_rows: Rows of parts that are not equal, by key.
        core_rows: Rows of the same parts on Core.
    """

    hashes: dict[str, bytes] = field(default_factory=dict)
    row_count: int = 0
    missing_parts: list[str] = field(default_factory=list)
    source_rows: dict[Key, Mapping[str, Value]] = field(default_factory=dict)
    core_rows: dict[Key, Mapping[str, Value]] = field(default_factory=dict)


async def compare_whole(
    projection: Projection, item: Item, source: SnapshotReader, core: CoreDigests
) -> WholeComparison:
    """Compare a table with its parts on Core.

    Raises:
        NotComparableError: The source cannot read the table.
        StoreUnavailableError: A store does not answer.
    """
    theirs = await core.record_hashes(Collection.ARTIFACTS, projection.scope)
    compared = WholeComparison()
    async for part in table_artifacts(item, projection.scope, bare_rows(projection, source)):
        compared.hashes[part.id] = part.hash()
        rows = rows_of(part.content)
        compared.row_count += rows.num_rows
        if theirs.get(part.id) == part.hash():
            continue
        compared.source_rows |= _by_key(rows, item)
        held = await core.record(Collection.ARTIFACTS, part.id)
        if held is None:
            compared.missing_parts.append(part.id)
        else:
            compared.core_rows |= _by_key(rows_of(held.content), item)
    for part_id in theirs:
        if part_id.startswith(part_prefix(item.object)) and part_id not in compared.hashes:
            held = await core.record(Collection.ARTIFACTS, part_id)
            if held is not None:
                compared.core_rows |= _by_key(rows_of(held.content), item)
    return compared


async def bare_rows(
    projection: Projection, source: SnapshotReader
) -> AsyncIterator[pa.RecordBatch]:
    """Yield the rows of a table with nothing but its columns."""
    columns = projection.schema.names[len(projection.keys) :]
    async for batch in source.rows(projection):
        yield pa.RecordBatch.from_arrays(batch.columns[len(projection.keys) :], names=columns)


def _by_key(rows: pa.Table, item: Item) -> Mapping[Key, Mapping[str, Value]]:
    """Return rows by key; without a key, by all that they hold and by how many are alike."""
    found: dict[Key, Mapping[str, Value]] = {}
    for row in rows.to_pylist():
        key = tuple(str(row[name]) for name in item.key_columns or row)
        if not item.key_columns:
            alike = 0
            while (*key, str(alike)) in found:
                alike += 1
            key = (*key, str(alike))
        found[key] = row
    return found
