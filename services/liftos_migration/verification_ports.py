"""What is compared: a snapshot of the source, and what a migration wrote to Core."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Protocol, TypeAlias

import pyarrow as pa

from liftos_migration.domain.changes import Key
from liftos_migration.domain.comparing import BucketSum
from liftos_migration.domain.differences import Value
from liftos_migration.domain.projection import Projection
from liftos_migration.domain.redis_keys import KeyValue, ValueNotReadableError
from liftos_migration.domain.tables import Refusals

Totals: TypeAlias = Mapping[tuple[str, ...], Mapping[str, int]]
"""Sums by column of each day, platform and currency, with the number of entries as `entries`."""


class NotComparableError(Exception):
    """A table cannot be compared; the message says why."""


class Collection(IntEnum):
    """A collection of records on Core; the numbers are the contract's."""

    ARTIFACTS = 1
    NOTES = 2


@dataclass(frozen=True, slots=True)
class CoreRecord:
    """An entry, artifact or note as it is on Core.

    Attributes:
        fields: Its values by field; those that are not set are left out.
        origin: What wrote it last.
        content: Binary part of an artifact.
    """

    fields: Mapping[str, Value]
    origin: str
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Rows of a table: all of them, and those that a mapping's filter lets through."""

    rows: int
    passing: int


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A record as a projection gives it.

    Attributes:
        key: Its key columns, as the database writes them.
        fields: Its values by field.
    """

    key: Key
    fields: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class ObjectDays:
    """An object of the source's entries.

    Attributes:
        fields: What tells it apart, by column: platform, level and the ids that it has.
        weeks: ISO weeks of which it has entries.
    """

    fields: Mapping[str, str]
    weeks: int


@dataclass(frozen=True, slots=True)
class SearchQuality:
    """How well the served index finds; shares are None where there was nothing to measure.

    Attributes:
        recall: Share of the exact ten nearest that it returns.
        success: Share of known items among the first five hits.
        query_count: Queries that were run.
        document_count: Documents that were searched.
    """

    recall: float | None
    success: float | None
    query_count: int
    document_count: int


class SnapshotReader(Protocol):
    """Reads one snapshot of the source.

    Every method raises `NotComparableError` where the database cannot evaluate the projection, and
    `StoreUnavailableError` where it does not answer.
    """

    async def counts(self, table: str, condition: str = "") -> RowCounts:
        """Count the rows of a table, all of them and those for which a condition holds."""
        ...

    async def sums(self, projection: Projection, bucket_count: int) -> Mapping[int, BucketSum]:
        """Return sums over the hashes of entries, by bucket of their natural key's md5."""
        ...

    def hashes(
        self, projection: Projection, bucket_count: int, buckets: Sequence[int]
    ) -> AsyncIterator[pa.RecordBatch]:
        """Yield keys, natural key and hash (in hex) of the entries of some buckets."""
        ...

    def records(
        self, projection: Projection, keys: Sequence[Key] | None = None
    ) -> AsyncIterator[SourceRecord]:
        """Yield records: those of some keys, or all of them, by key."""
        ...

    def rows(self, projection: Projection) -> AsyncIterator[pa.RecordBatch]:
        """Yield all that a projection selects, by key."""
        ...

    async def totals(self, projection: Projection) -> Mapping[str, Totals]:
        """Return the sums of entries by level."""
        ...

    async def record_count(self, projection: Projection) -> int:
        """Count the records that a projection gives."""
        ...

    async def identities(
        self, projection: Projection, keys: Sequence[Key]
    ) -> Mapping[Key, Mapping[str, Value]]:
        """Return what tells the records of some keys apart on Core, whether or not they exist."""
        ...

    async def row_hashes(self, projection: Projection, keys: Sequence[Key]) -> Mapping[Key, bytes]:
        """Return a hash, 16 bytes, over all rows of each record, as the source has them."""
        ...

    async def keys_of(self, projection: Projection, identity: Mapping[str, Value]) -> Sequence[Key]:
        """Return the keys of at most 100 records with some values, by what tells them apart."""
        ...

    async def objects(self, projection: Projection) -> Sequence[ObjectDays]:
        """Return the objects that entries are of, in order."""
        ...


class RefusalReader(Protocol):
    """Tells which records of a migration were refused."""

    async def refusals(self, org: str, migration: str) -> Mapping[str, Refusals]:
        """Return them by table; those that were resolved are left out."""
        ...


class CoreDigests(Protocol):
    """Reads of Core what one migration wrote, by digests first.

    Every method raises `StoreUnavailableError` where Core does not answer.
    """

    async def newest_write(self) -> str:
        """Return a token of all that was written so far."""
        ...

    async def entry_sums(self, bucket_count: int) -> Mapping[int, BucketSum]:
        """Return sums over the hashes of entries, by bucket of their natural key's md5."""
        ...

    def entry_hashes(
        self, bucket_count: int, buckets: Sequence[int]
    ) -> AsyncIterator[tuple[str, bytes]]:
        """Yield the ids and hashes of entries of some buckets."""
        ...

    async def entry(self, entry_id: str) -> CoreRecord | None:
        """Return an entry, whoever wrote it."""
        ...

    def entries(self) -> AsyncIterator[tuple[str, CoreRecord]]:
        """Yield ids and natural keys of all entries of the migration."""
        ...

    async def entry_count(self, condition: str = "") -> int:
        """Count entries of the migration, limited by a filter of the contract's."""
        ...

    async def entry_totals(self, level: str, first_day: str, last_day: str) -> Totals:
        """Return the sums of entries of a level, of at most 4,000 days."""
        ...

    async def record_hashes(self, collection: Collection, scope: str) -> Mapping[str, bytes]:
        """Return the hashes of the records of a scope by id, whoever wrote them."""
        ...

    async def record_scopes(self, collection: Collection) -> Mapping[str, str]:
        """Return the scopes of the migration's own records by id."""
        ...

    async def record(self, collection: Collection, record_id: str) -> CoreRecord | None:
        """Return a record, whoever wrote it."""
        ...

    async def exchange_rates(self) -> Mapping[tuple[str, str], str]:
        """Return all rates as decimal texts by currency and day, whoever wrote them."""
        ...

    async def search_quality(self) -> SearchQuality:
        """Measure the served index with generated queries."""
        ...

    async def is_indexed(self, write_token: str) -> bool:
        """Tell whether searches cover a write; waits for some seconds until they do."""
        ...

    async def object_documents(self, fields: Mapping[str, str]) -> int:
        """Count the documents of an object that searches find by their embedding."""
        ...

    async def record_documents(self, collection: Collection, scope: str) -> frozenset[str]:
        """Return the ids of records of a scope whose document searches find by its embedding."""
        ...


class ModuleProbe(Protocol):
    """Asks one side of a module what it asks it in use."""

    async def credits(self, org: str, first_day: str, last_day: str) -> Mapping[str, float]:
        """Return the revenue that each channel is credited with.

        Raises:
            StoreUnavailableError: It does not answer.
        """
        ...

    async def functions(self, org: str) -> Mapping[str, str]:
        """Return what each reading method says where it fails; empty text where it works."""
        ...


class KeySource(Protocol):
    """A Redis that is read; see `liftos_migration.adapters.source.redis_census`."""

    async def now(self) -> datetime:
        """Return the time of its clock."""
        ...

    async def losses(self) -> tuple[str, int]:
        """Return which run of the server this is, and how many keys it evicted."""
        ...

    def read(
        self, prefix: str, others: Sequence[str]
    ) -> AsyncIterator[KeyValue | ValueNotReadableError]:
        """Yield the keys of a prefix with their values."""
        ...
