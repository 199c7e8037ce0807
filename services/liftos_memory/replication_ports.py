"""How other stores follow Memory and compare themselves with it: changes and digests."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import IntEnum
from typing import Protocol
from uuid import UUID

from liftos_kit.core.filters import Filter
from liftos_memory.domain.records import Collection
from liftos_memory.ports import Row


class ChangeKind(IntEnum):
    """What happened to an entry or a record; the numbers are the contract's."""

    INSERTED = 1
    UPDATED = 2
    DELETED = 3


@dataclass(frozen=True, slots=True)
class Position:
    """How far a feed has been read.

    Attributes:
        version: Commits before this one have been read as a whole.
        after: Id of the last change read of this commit; None where it has been read as a whole.
    """

    version: int
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What one commit did to one entry or record, from its state before to its state after.

    Attributes:
        version: The commit.
        id: Id of what changed, below its collection.
        before: As it was; None where it is new.
        after: As it is after the commit; None where it is gone.
        origin: What wrote the commit.
        commit_time: When it was committed.
        slice: The slice that the commit closed, if it closed one.
    """

    version: int
    id: str
    before: Row | None
    after: Row | None
    origin: str
    commit_time: datetime
    slice: UUID | None = None

    @property
    def kind(self) -> ChangeKind:
        """What happened."""
        if self.before is None:
            return ChangeKind.INSERTED
        return ChangeKind.DELETED if self.after is None else ChangeKind.UPDATED


class ChangeSource(Protocol):
    """Changes of a selection of entries or records.

    A change belongs to the selection where its state before or its state after does, so that a
    follower learns of what leaves the selection as well as of what enters it.
    """

    async def read(
        self, org: str, *, after: Position, through_version: int, limit: int
    ) -> Sequence[Change]:
        """Return the changes after a position, by commit and id, at most `limit`.

        After a position within a commit only the rest of this commit is returned.
        """


@dataclass(frozen=True, slots=True)
class RestatementQuery:
    """Which restatements are asked for.

    Attributes:
        where: Matches the entry before or after.
        slice: Only what this slice brought.
        start_date: Only what was written from this day on, in UTC.
        end_date: Only what was written up to this day, in UTC.
    """

    where: Filter | None = None
    slice: UUID | None = None
    start_date: date | None = None
    end_date: date | None = None


class ChangeStore(Protocol):
    """The changes that every commit made."""

    async def last_version(self, org: str) -> int:
        """Return the org's newest commit, 0 where it never wrote; cheap enough to be polled."""

    def entry_changes(self, where: Filter | None) -> ChangeSource:
        """Return the feed of the entries that match."""

    def record_changes(self, collection: Collection, scope: str) -> ChangeSource:
        """Return the feed of the records of a scope, without content; an empty scope is all."""

    async def restatements(
        self, org: str, query: RestatementQuery, *, after: Position | None, limit: int
    ) -> Sequence[Change]:
        """Return changes of entries that were there before, newest commit first, then by id."""


class Bucketing(IntEnum):
    """What the bucket of an entry is taken from; the numbers are the contract's."""

    ENTRY_ID = 1
    KEY_MD5 = 2


@dataclass(frozen=True, slots=True)
class BucketSum:
    """The row hashes of one bucket in sum; both hashes are unsigned 64-bit numbers."""

    bucket: int
    row_count: int
    hash_xor: int
    hash_sum: int


@dataclass(frozen=True, slots=True)
class RowHash:
    """The hash of one entry or record, 16 bytes."""

    id: str
    hash: bytes


class DigestSource(Protocol):
    """Row hashes of a selection of entries or records; each answer is of one state of the store.

    Both methods also return the org's version in that state.
    """

    async def sums(self, org: str, *, bucket_count: int) -> tuple[Sequence[BucketSum], int]:
        """Return the sums of the buckets that have rows, by bucket."""

    async def hashes(
        self,
        org: str,
        *,
        bucket_count: int,
        buckets: Sequence[int],
        after: str | None,
        limit: int,
    ) -> tuple[Sequence[RowHash], int]:
        """Return the hashes of the rows of these buckets, by id, after an id."""


class DigestStore(Protocol):
    """Digests of what is stored now."""

    def entry_digests(self, where: Filter | None, bucketing: Bucketing) -> DigestSource:
        """Return the digests of the entries that match."""

    def record_digests(self, collection: Collection, scope: str) -> DigestSource:
        """Return the digests of the records of a scope; an empty scope is all."""
