"""Comparing stores: sums of row hashes, and the hashes of chosen buckets."""

from collections.abc import Sequence
from dataclasses import dataclass

from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.core.filters import Filter
from liftos_memory.domain.records import Collection
from liftos_memory.replication_ports import (
    Bucketing,
    BucketSum,
    DigestSource,
    DigestStore,
    RowHash,
)


@dataclass(frozen=True, slots=True)
class EntrySelection:
    """Entries that match a filter, and how they are put into buckets."""

    where: Filter | None
    bucketing: Bucketing


@dataclass(frozen=True, slots=True)
class RecordSelection:
    """Records of a scope; an empty scope is all."""

    collection: Collection
    scope: str


Selection = EntrySelection | RecordSelection


@dataclass(frozen=True, slots=True)
class HashPage:
    """Row hashes of a page, the org's version, and the id to go on after; None at the end."""

    hashes: Sequence[RowHash]
    version: int
    after: str | None


class Digests:
    """Digests of entries and records."""

    def __init__(self, store: DigestStore) -> None:
        self._store = store

    def _source(self, selection: Selection) -> DigestSource:
        match selection:
            case EntrySelection(where, bucketing):
                return self._store.entry_digests(where, bucketing)
            case RecordSelection(collection, scope):
                return self._store.record_digests(collection, scope)

    async def sums(
        self, org: str, selection: Selection, *, bucket_count: int
    ) -> tuple[Sequence[BucketSum], int]:
        """Return the sums of all buckets that have rows, and the org's version."""
        return await self._source(selection).sums(org, bucket_count=bucket_count)

    async def hashes(
        self,
        org: str,
        selection: Selection,
        *,
        bucket_count: int,
        buckets: Sequence[int],
        after: str | None,
        limit: int,
    ) -> HashPage:
        """Return a page of the row hashes of chosen buckets.

        Raises:
            InvalidFieldsError: There are no such buckets.
        """
        wrong = [
            FieldViolation(
                f"buckets[{index}]", f"is {bucket}, and must be below {bucket_count}", "bucket"
            )
            for index, bucket in enumerate(buckets)
            if bucket >= bucket_count
        ]
        if wrong:
            raise InvalidFieldsError(wrong)
        found, version = await self._source(selection).hashes(
            org,
            bucket_count=bucket_count,
            buckets=sorted(set(buckets)),
            after=after,
            limit=limit + 1,
        )
        if len(found) <= limit:
            return HashPage(found, version, None)
        return HashPage(found[:limit], version, found[limit - 1].id)
