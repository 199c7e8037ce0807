"""Two copies of a table compared: sums of buckets first, rows of the differing buckets alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Integers: TypeAlias = NDArray[np.int64]

ROWS_PER_BUCKET: Final = 1_024

_COMPARABLE: Final = frozenset(
    (
        "bigint",
        "boolean",
        "bytea",
        "date",
        "double precision",
        "inet",
        "integer",
        "interval",
        "jsonb",
        "numeric",
        "real",
        "smallint",
        "text",
        "time without time zone",
        "timestamp with time zone",
        "timestamp without time zone",
        "uuid",
    )
)
"""Types that hash alike wherever they are equal. Enumerations do not: they hash their number in
the catalog, which each database gives anew."""

_INTEGERS: Final = ("bigint", "integer", "smallint")


class Exactness(StrEnum):
    """What counts as equal."""

    VALUES = "values"
    """Equal values, however they are written: 1.0 and 1.00, -0 and 0."""

    TEXTS = "texts"
    """What is written alike to the last character."""


@dataclass(frozen=True, slots=True)
class ComparedTable:
    """A table as it is compared; names are as SQL writes them.

    Attributes:
        table: Its name.
        key_columns: What tells its rows apart.
        types: Type of each column that is compared, the key among them.
    """

    table: str
    key_columns: tuple[str, ...]
    types: Mapping[str, str]

    @property
    def has_number_key(self) -> bool:
        """Whether neighbours by key lie together, so that buckets are ranges of the key."""
        return len(self.key_columns) == 1 and self.types[self.key_columns[0]] in _INTEGERS

    def value(self, column: str) -> str:
        """Return SQL for a column's value that hashes alike wherever it is equal."""
        base = self.types[column].partition("(")[0].removesuffix("[]")
        if base == "json":
            return f"{column}::jsonb"
        is_text = base in ("character varying", "character") or base.startswith("varchar")
        return column if base in _COMPARABLE or is_text else f"{column}::text"


@dataclass(frozen=True, slots=True)
class BucketSum:
    """Rows of a bucket, whatever their order: their number and two sums over their hashes.

    One sum alone would not see two changes that cancel out. For both not to see them, two changed
    rows have to have two hashes of 64 bits with a given sum and a given exclusive or.
    """

    count: int
    exclusive_or: int
    total: int


@dataclass(frozen=True, slots=True)
class Differences:
    """How a copy differs, by key as text.

    Attributes:
        missing: In the original alone.
        extra: In the copy alone.
        differing: In both, with other values.
        row_count: Rows of the original.
        bucket_count: Buckets that were compared.
        compared_row_count: Rows whose hashes had to be compared one by one.
    """

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    differing: tuple[str, ...]
    row_count: int
    bucket_count: int
    compared_row_count: int

    @property
    def completeness(self) -> float:
        """Share of the original's rows that the copy has."""
        return 1.0 if not self.row_count else 1.0 - len(self.missing) / self.row_count

    @property
    def accuracy(self) -> float:
        """Share of the original's rows that the copy has with equal values."""
        wrong = len(self.missing) + len(self.differing)
        return 1.0 if not self.row_count else 1.0 - wrong / self.row_count

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.differing)


def differing_buckets(
    original: Mapping[int, BucketSum], copy: Mapping[int, BucketSum]
) -> Sequence[int]:
    """Return the buckets whose sums differ, in order."""
    return sorted(
        bucket
        for bucket in original.keys() | copy.keys()
        if original.get(bucket) != copy.get(bucket)
    )


@dataclass(frozen=True, slots=True)
class RowHashes:
    """A number that stands for the key of each row, and the hash of the row; in no order."""

    keys: Integers
    hashes: Integers


@dataclass(frozen=True, slots=True)
class DifferingKeys:
    """How rows differ, by the numbers that stand for their keys, ascending."""

    missing: Integers
    extra: Integers
    differing: Integers


def compare_hashes(original: RowHashes, copy: RowHashes) -> DifferingKeys:
    """Say which rows differ. Of a key that occurs several times, all rows are compared together."""
    our_keys, ours = _by_key(original)
    their_keys, theirs = _by_key(copy)
    common, here, there = np.intersect1d(
        our_keys, their_keys, assume_unique=True, return_indices=True
    )
    return DifferingKeys(
        np.setdiff1d(our_keys, common, assume_unique=True),
        np.setdiff1d(their_keys, common, assume_unique=True),
        common[ours[here] != theirs[there]],
    )


def _by_key(rows: RowHashes) -> tuple[Integers, Integers]:
    """Return each key once, ascending, with the sum of the hashes of its rows."""
    if not rows.keys.size:
        return rows.keys, rows.hashes
    order = np.argsort(rows.keys)
    keys = rows.keys[order]
    first = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    return keys[first], np.add.reduceat(rows.hashes[order], first)
