"""Entries compared: sums of buckets first, hashes of differing buckets next, single values last.

Several tables may become entries of one migration. Their sums add up, so that they are compared
with all that the migration wrote, and what none of them gives is told as extra.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from liftos_mapping.entry_fields import NATURAL_KEY
from liftos_mapping.entry_id import entry_ids
from liftos_migration.domain.changes import Key
from liftos_migration.domain.comparing import differing_buckets
from liftos_migration.domain.differences import DifferenceKind
from liftos_migration.domain.projection import Projection
from liftos_migration.domain.verification import (
    BucketSums,
    Tier,
    added,
    bucket_count_for,
)
from liftos_migration.verification_ports import CoreDigests, NotComparableError, SnapshotReader

_MANY: Final = 0.2
_MOST: Final = 1_000
"""Share, and number, of differing buckets from which on all hashes are read at once: Core reads
its entries anew for so many buckets."""
_READ_ONE_BY_ONE: Final = 2_000
"""Extra entries from which on all natural keys are listed rather than read one by one."""
_AT_ONCE: Final = 16
_BATCH: Final = 50_000


@dataclass(frozen=True, slots=True)
class DifferingEntry:
    """An entry that is not equal on both sides.

    Attributes:
        entry_id: Its id.
        kind: How it differs.
        table: Index of the table that gives it; None where none does.
        key: Its key there.
        is_claimed_twice: Whether several rows give it.
    """

    entry_id: str
    kind: DifferenceKind
    table: int | None = None
    key: Key = ()
    is_claimed_twice: bool = False


@dataclass(frozen=True, slots=True)
class EntryComparison:
    """How the entries of some tables compare.

    Attributes:
        record_counts: Records of each table.
        sums: Of each table, by bucket.
        core_sums: Of all entries that the migration wrote.
        bucket_count: Into how many buckets they were put.
        differing: Entries that differ, by id.
        unreadable: Why tables could not be read, by index. What they gave before is then among the
            extra entries, which therefore say nothing.
    """

    record_counts: tuple[int, ...]
    sums: tuple[BucketSums, ...]
    core_sums: BucketSums
    bucket_count: int
    differing: tuple[DifferingEntry, ...]
    unreadable: Mapping[int, str]


async def compare_entries(
    projections: Sequence[Projection],
    source: SnapshotReader,
    core: CoreDigests,
    *,
    expected: int,
    tier: Tier = Tier.VALUE,
) -> EntryComparison:
    """Compare all tables that become entries with all entries that the migration wrote.

    Args:
        projections: Of all of them; what they do not give is extra on Core.
        source: The snapshot.
        core: The migration's entries.
        expected: About how many there are.
        tier: EXACT compares every single hash, VALUE those of buckets whose sums differ.

    Raises:
        StoreUnavailableError: A store does not answer.
    """
    count = bucket_count_for(expected)
    (sums, unreadable), core_sums = await asyncio.gather(
        _source_sums(projections, source, count), core.entry_sums(count)
    )
    readable = {place: each for place, each in enumerate(projections) if place not in unreadable}
    counts = tuple(sum(each.count for each in table.values()) for table in sums)
    together = added(sums)
    wrong = differing_buckets(together, core_sums)
    found: Sequence[DifferingEntry] = ()
    if tier is Tier.EXACT:
        found = await _differing(readable, source, core, bucket_count=1, buckets=(0,))
    elif wrong:
        share = len(wrong) / len(together.keys() | core_sums.keys())
        whole = share > _MANY or len(wrong) > _MOST
        found = await _differing(
            readable,
            source,
            core,
            bucket_count=1 if whole else count,
            buckets=(0,) if whole else wrong,
        )
    return EntryComparison(counts, sums, core_sums, count, tuple(found), unreadable)


async def natural_keys(core: CoreDigests, ids: Sequence[str]) -> Sequence[Mapping[str, object]]:
    """Return the natural keys of entries, with which they can be deleted."""
    fields: list[Mapping[str, object]] = []
    if len(ids) > _READ_ONE_BY_ONE:
        wanted = frozenset(ids)
        fields = [each.fields async for entry_id, each in core.entries() if entry_id in wanted]
    else:
        for start in range(0, len(ids), _AT_ONCE):
            read = await asyncio.gather(*map(core.entry, ids[start : start + _AT_ONCE]))
            fields += [each.fields for each in read if each is not None]
    return [
        {name: each.get(name, "") for name in NATURAL_KEY}
        | {"date": date.fromisoformat(str(each["date"]))}
        for each in fields
    ]


async def _source_sums(
    projections: Sequence[Projection], source: SnapshotReader, count: int
) -> tuple[tuple[BucketSums, ...], Mapping[int, str]]:
    """Return the sums of each table, and why there are none of some."""
    sums: list[BucketSums] = []
    unreadable: dict[int, str] = {}
    # One after the other: there is one connection that sees the snapshot.
    for place, each in enumerate(projections):
        try:
            sums.append(await source.sums(each, count))
        except NotComparableError as error:
            sums.append({})
            unreadable[place] = str(error)
    return tuple(sums), unreadable


async def _differing(
    projections: Mapping[int, Projection],
    source: SnapshotReader,
    core: CoreDigests,
    *,
    bucket_count: int,
    buckets: Sequence[int],
) -> Sequence[DifferingEntry]:
    """Return the entries of some buckets that differ, by id."""
    ours, theirs = await asyncio.gather(
        _source_hashes(tuple(projections.values()), source, bucket_count, buckets),
        _core_hashes(core, bucket_count, buckets),
    )
    kinds, twice = await asyncio.to_thread(_joined, ours, theirs)
    if not kinds:
        return ()
    found = _Found(kinds, twice)
    for index, projection in projections.items():
        async for batch in source.hashes(projection, bucket_count, buckets):
            await asyncio.to_thread(found.take, index, projection, batch)
    return found.entries()


def _joined(
    ours: pa.Table, theirs: pa.Table
) -> tuple[Mapping[str, DifferenceKind], frozenset[str]]:
    """Return how ids differ, and which several rows give."""
    counted = ours.group_by("id").aggregate([("hash", "count")])
    doubled = counted.filter(pc.greater(counted["hash_count"], 1))["id"].to_pylist()
    both = ours.join(theirs, "id", join_type="full outer", right_suffix="_of_core")
    here, there = both["hash"], both["hash_of_core"]
    kinds: dict[str, DifferenceKind] = dict.fromkeys(doubled, DifferenceKind.DIFFERENT)
    for kind, mask in (
        (DifferenceKind.DIFFERENT, pc.fill_null(pc.not_equal(here, there), False)),
        (DifferenceKind.MISSING, pc.is_null(there)),
        (DifferenceKind.EXTRA, pc.is_null(here)),
    ):
        kinds |= dict.fromkeys(both.filter(mask)["id"].to_pylist(), kind)
    return kinds, frozenset(doubled)


@dataclass(slots=True)
class _Found:
    """Differing entries, with the rows that give them."""

    kinds: Mapping[str, DifferenceKind]
    twice: frozenset[str]
    _rows: dict[str, list[tuple[int, Key]]] = field(default_factory=dict)

    def take(self, table: int, projection: Projection, batch: pa.RecordBatch) -> None:
        """Find out which keys differing entries have."""
        ids = ids_of(batch)
        columns = [batch.column(name) for name in projection.keys]
        for place, entry_id in enumerate(ids):
            if entry_id in self.kinds:
                key = tuple(column[place].as_py() for column in columns)
                self._rows.setdefault(entry_id, []).append((table, key))

    def entries(self) -> Sequence[DifferingEntry]:
        """Return them by id; of several rows that give one, all but the first did not arrive."""
        found = []
        for entry_id, kind in sorted(self.kinds.items()):
            rows: Sequence[tuple[int | None, Key]] = self._rows.get(entry_id) or [(None, ())]
            for place, (table, key) in enumerate(rows):
                told = DifferenceKind.MISSING if place else kind
                found.append(DifferingEntry(entry_id, told, table, key, entry_id in self.twice))
        return found


def ids_of(batch: pa.RecordBatch) -> Sequence[str]:
    """Return the entry ids of a batch that has the natural key."""
    days = pc.strftime(batch.column("date"), format="%Y%m%d").to_pylist()
    return [f"{day}-{digest.hex()}" for day, digest in zip(days, entry_ids(batch), strict=True)]


_HASHES: Final = pa.schema([("id", pa.string()), ("hash", pa.string())])


async def _source_hashes(
    projections: Sequence[Projection],
    source: SnapshotReader,
    bucket_count: int,
    buckets: Sequence[int],
) -> pa.Table:
    batches: list[pa.RecordBatch] = []
    for projection in projections:
        async for batch in source.hashes(projection, bucket_count, buckets):
            ids = await asyncio.to_thread(ids_of, batch)
            batches.append(
                pa.RecordBatch.from_arrays([pa.array(ids), batch.column("hash")], schema=_HASHES)
            )
    return pa.Table.from_batches(batches, _HASHES)


async def _core_hashes(core: CoreDigests, bucket_count: int, buckets: Sequence[int]) -> pa.Table:
    batches: list[pa.RecordBatch] = []
    ids: list[str] = []
    hashes: list[str] = []

    def close() -> None:
        batches.append(
            pa.RecordBatch.from_arrays(
                [pa.array(ids, pa.string()), pa.array(hashes, pa.string())], schema=_HASHES
            )
        )
        ids.clear()
        hashes.clear()

    async for entry_id, digest in core.entry_hashes(bucket_count, buckets):
        ids.append(entry_id)
        hashes.append(digest.hex())
        if len(ids) >= _BATCH:
            close()
    close()
    return pa.Table.from_batches(batches, _HASHES)
