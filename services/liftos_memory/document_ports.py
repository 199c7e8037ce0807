"""What the making of documents needs from the record of truth."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from liftos_memory.domain.documents import (
    Document,
    DocumentKind,
    ObjectKey,
    ObjectProfileFacts,
    Sums,
    WeeklyFacts,
)
from liftos_memory.domain.knowledge import DescribedObject
from liftos_memory.search_ports import Vectors


@dataclass(frozen=True, slots=True)
class PendingOrg:
    """An org whose documents have not followed all of its commits.

    Attributes:
        org: The org.
        last_version: Its newest commit.
        enqueued_version: The commit up to which the outbox is filled.
    """

    org: str
    last_version: int
    enqueued_version: int


@dataclass(frozen=True, slots=True)
class IndexLag:
    """How far the index is behind, over all orgs.

    Attributes:
        commits: Commits that the index has not followed.
        oldest_seconds: Age of the oldest of them; 0 where there is none.
    """

    commits: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """Objects and weeks, and records by kind and id, taken from the outbox with last versions.

    Attributes:
        weeks: Objects and weeks.
        records: Records.
        leaves_some: Whether more of the org's waits in the outbox.
    """

    weeks: Mapping[tuple[ObjectKey, date], int]
    records: Mapping[tuple[DocumentKind, str], int] = field(default_factory=dict)
    leaves_some: bool = False

    @property
    def keys(self) -> Sequence[ObjectKey]:
        """The objects, each once."""
        return list(dict.fromkeys(key for key, _ in self.weeks))

    def records_of(self, kind: DocumentKind) -> Sequence[str]:
        """Return the ids of the records of a kind."""
        return [record_id for each, record_id in self.records if each is kind]


class RecordDocuments(Protocol):
    """Writes the documents of one kind of records, in the name of whoever owns them."""

    async def documents(self, org: str, record_ids: Sequence[str]) -> Sequence[Document]:
        """Return the documents of records; those that are not there any more are left out."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of taken objects and weeks; what has no entries any more is left out."""

    profiles: Sequence[ObjectProfileFacts]
    weeks: Sequence[WeeklyFacts]


@dataclass(frozen=True, slots=True)
class ObjectMetrics:
    """An object's sums over some days, and the newest of the entries behind them.

    They are of one date basis and one attribution; there are none where it has no entries.

    Attributes:
        date_basis: Number of what its days stand for; 0 without entries.
        attribution_key: How its sales are credited.
        currency_code: Of the money; empty where the entries have several, and money is unset then.
        sums: Additive metrics; None is unset.
        entry_count: Entries in the sums.
        entries: Days and digests of the newest entries, at most 10.
    """

    date_basis: int
    attribution_key: str
    currency_code: str
    sums: Sums
    entry_count: int
    entries: Sequence[tuple[date, bytes]]


class DocumentStore(Protocol):
    """Documents, vectors and how far the index has followed; all in Postgres."""

    def lead(self) -> AbstractAsyncContextManager[asyncio.Event]:
        """Be the one writer of the index; waits for the one before to go.

        Gives an event that is set when the place is lost.
        """

    async def pending(self) -> Sequence[PendingOrg]:
        """Return the orgs that have commits which the index has not followed."""

    async def lag(self) -> IndexLag:
        """Return how far the index is behind, over all orgs."""

    async def enqueue(self, org: str, *, after_version: int, through_version: int) -> None:
        """Put what changed between two versions into the outbox.

        A week's digest compares with the week before, so a change reaches into the next week.
        """

    async def enqueue_ended_weeks(self, org: str, *, today: date) -> None:
        """Put weeks into the outbox whose digests were written before the week was over."""

    async def take(self, org: str, *, limit: int, records: int) -> Work:
        """Return a part of the outbox; it stays there until it is saved.

        Half of it is what has waited longest, the other half is of the commits with the fewest
        objects and weeks left, the newest first, so that neither waits for the other. The same
        holds for records.

        Args:
            org: Whose outbox.
            limit: Most objects and weeks.
            records: Most records.
        """

    async def trace_parent(self, org: str) -> str | None:
        """Return the trace of the oldest change that waits."""

    async def facts(self, org: str, work: Work, *, today: date) -> Facts:
        """Return what is known of objects and weeks, in one snapshot."""

    async def load_vectors(
        self, model_id: str, text_hashes: Collection[str]
    ) -> Mapping[str, Vectors]:
        """Return the vectors that are known of these texts."""

    async def keep_vectors(self, model_id: str, vectors: Mapping[str, Vectors]) -> None:
        """Keep vectors by the hash of their text."""

    async def save(
        self,
        org: str,
        work: Work,
        *,
        documents: Sequence[Document],
        objects: Sequence[DescribedObject],
        gone: Collection[str],
        compare_now: bool,
    ) -> None:
        """Store documents and objects, delete those that are gone, and take work out of the outbox.

        What has changed again since it was taken stays there. When no objects wait any more, or
        with `compare_now`, all of the org's are compared with each other.
        """

    async def indexed_version(self, org: str) -> int:
        """Return the version up to which the index has followed."""

    async def raise_index_revision(self, org: str) -> None:
        """Tell that searches may find something else from now on although nothing was committed."""

    async def fetch(self, org: str, document_ids: Collection[str]) -> Mapping[str, Document]:
        """Return documents by id; those that are not there are left out."""

    async def metrics(
        self, org: str, wanted: Sequence[tuple[ObjectKey, date, date]]
    ) -> Sequence[ObjectMetrics]:
        """Return the sums of objects over days, in the order asked.

        Days count by the platform's own basis where there are entries by it, else by the first
        basis there is, and in the attribution with the most entries, else the first by name.
        """

    def all_documents(self, org: str) -> AsyncIterator[Sequence[Document]]:
        """Yield an org's documents in groups, for a rebuild of the index."""

    async def orgs_with_documents(self) -> Sequence[str]:
        """Return every org that has documents."""
