"""What a verification found: each table with its rows accounted for, and the worst of them."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

from liftos_migration.domain.comparing import BucketSum

MAXIMUM_BUCKETS: Final = 65_536
_RECORDS_PER_BUCKET: Final = 16
"""Few, so that one record that differs lets few others be looked at."""


class VerificationState(IntEnum):
    """Where a verification is; the numbers are the contract's."""

    RUNNING = 1
    PASSED = 2
    FAILED = 3
    UNVERIFIED = 4
    CANCELLED = 5


class Tier(IntEnum):
    """How records are compared; the numbers are the contract's."""

    VALUE = 1
    """Sums over buckets of records, and then single records where sums differ."""
    EXACT = 2
    """The whole hash of every single record, and values to the last character."""


BucketSums: TypeAlias = Mapping[int, BucketSum]
"""Sums by bucket; buckets without records are left out."""


def bucket_count_for(records: int) -> int:
    """Return into how many buckets records are put, a power of two."""
    wanted = max(1, records // _RECORDS_PER_BUCKET)
    return min(MAXIMUM_BUCKETS, 1 << (wanted - 1).bit_length())


def added(sums: Iterable[BucketSums]) -> BucketSums:
    """Return the sums over records of several tables together."""
    together: dict[int, BucketSum] = {}
    for table in sums:
        for bucket, each in table.items():
            held = together.get(bucket, BucketSum(0, 0, 0))
            together[bucket] = BucketSum(
                held.count + each.count,
                held.exclusive_or ^ each.exclusive_or,
                (held.total + each.total) % 2**64,
            )
    return together


def subtracted(whole: BucketSums, parts: Iterable[BucketSums]) -> BucketSums:
    """Return the sums over what is left of a whole without some parts; see `added`."""
    rest = dict(whole)
    for table in parts:
        for bucket, each in table.items():
            held = rest.pop(bucket, BucketSum(0, 0, 0))
            left = BucketSum(
                held.count - each.count,
                held.exclusive_or ^ each.exclusive_or,
                (held.total - each.total) % 2**64,
            )
            if left != BucketSum(0, 0, 0):
                rest[bucket] = left
    return rest


def root(sums: BucketSums) -> bytes:
    """Return one digest over all sums, 32 bytes."""
    digest = hashlib.sha256()
    for bucket in sorted(sums):
        each = sums[bucket]
        digest.update(f"{bucket}:{each.count}:{each.exclusive_or:x}:{each.total:x}\n".encode())
    return digest.digest()


@dataclass(frozen=True, slots=True)
class EntityResult:
    """How one table compares. Every row of it is in exactly one of the counts.

    Attributes:
        table: As schema.table.
        source_count: Its rows, or keys of a Redis.
        matched_count: Records that are equal.
        missing_count: Records that did not arrive.
        different_count: Records with other values.
        rejected_count: Records that were refused and wait for a person.
        waived_count: Rows that do not move, as the mapping says, and rejects that were given up.
        merged_count: Rows that share a record with another one: older versions of it, or rows
            that are summed up.
        extra_count: Records on Core without a source row; no row of the source.
        unverified: Why it could not be compared; empty where it was.
        source_root: Digest over the source's side.
        target_root: Digest over Core's side.
    """

    table: str
    source_count: int = 0
    matched_count: int = 0
    missing_count: int = 0
    different_count: int = 0
    rejected_count: int = 0
    waived_count: int = 0
    merged_count: int = 0
    extra_count: int = 0
    unverified: str = ""
    source_root: bytes = b""
    target_root: bytes = b""

    @property
    def record_count(self) -> int:
        """Records that should be on Core."""
        return self.matched_count + self.missing_count + self.different_count + self.rejected_count

    @property
    def accuracy(self) -> float:
        """Share of records that are equal; extra ones count as wrong."""
        return self._share(self.matched_count, self.record_count + self.extra_count)

    @property
    def completeness(self) -> float:
        """Share of records that arrived, whatever their values."""
        return self._share(self.matched_count + self.different_count, self.record_count)

    @property
    def is_accounted_for(self) -> bool:
        """Whether the counts add up to the rows of the source."""
        return self.source_count == self.record_count + self.merged_count + self.waived_count

    def _share(self, part: int, whole: int) -> float:
        if self.unverified:
            return 0.0
        return 1.0 if not whole else part / whole


def worst_first(entities: Iterable[EntityResult]) -> tuple[EntityResult, ...]:
    """Return tables in the order in which a person should look at them."""
    return tuple(sorted(entities, key=lambda each: (each.accuracy, each.completeness, each.table)))


def worst(entities: Sequence[EntityResult]) -> tuple[float, float]:
    """Return the accuracy and the completeness of the worst tables; 0 where none was compared."""
    if not entities:
        return 0.0, 0.0
    return min(each.accuracy for each in entities), min(each.completeness for each in entities)
