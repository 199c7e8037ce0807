"""Two copies of a table compared: sums of buckets first, rows of the differing buckets alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

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

    One sum alone would not see two changes that cancel out; together with the number, both do.
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


def compared(
    original: Mapping[str, tuple[int, ...]],
    copy: Mapping[str, tuple[int, ...]],
    *,
    row_count: int,
    bucket_count: int,
) -> Differences:
    """Say how rows differ.

    Args:
        original: Hashes of the rows of the differing buckets, by key; a key that occurs several
            times has several.
        copy: The same.
        row_count: Rows of the whole original.
        bucket_count: Buckets that were compared.
    """
    missing = sorted(original.keys() - copy.keys())
    extra = sorted(copy.keys() - original.keys())
    differing = sorted(key for key in original.keys() & copy.keys() if original[key] != copy[key])
    return Differences(
        tuple(missing),
        tuple(extra),
        tuple(differing),
        row_count,
        bucket_count,
        sum(map(len, original.values())),
    )
