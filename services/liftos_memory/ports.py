"""What Memory needs from the outside, and the values that travel there and back."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol
from uuid import UUID

import pyarrow as pa

from liftos_kit.core.filters import Filter
from liftos_kit.core.repeatable import RequestMemory
from liftos_memory.domain.slices import Lineage, SliceScope, SliceState

Row = Mapping[str, Any]
"""A stored row by column name; an entry's columns are those of the table of its fields, with
`entry_key`, `slice`, `origin`, `quality_score`, `quality_issues`, `create_time`, `update_time` and
`tx` beside them."""


@dataclass(frozen=True, slots=True)
class WriteContext:
    """Who writes, and behind which fence.

    Attributes:
        origin: What writes, such as a run or a migration step.
        fence_scope: Fence that the write belongs to; empty is none but the org's own.
        fencing_epoch: Epoch of the writer within the scope; None where it has none.
    """

    origin: str = ""
    fence_scope: str = ""
    fencing_epoch: int | None = None


@dataclass(frozen=True, slots=True)
class UpsertCounts:
    """What a batch did: rows that were new or changed, and rows that were the same."""

    upserted: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class DeleteCounts:
    """What a deletion did: what is gone now, and what stands because of its origin."""

    deleted: int
    kept: int


@dataclass(frozen=True, slots=True)
class SliceCounts:
    """What a slice did to its scope, and how many rows it has.

    Attributes:
        rows: Rows that it has; those of no other count were there as they are.
        inserted: That were not there.
        restated: That were there with other numbers or names.
        settled: Of which nothing changed but whether they are final.
        vanished: That were there and are not among its rows.
    """

    rows: int
    inserted: int
    restated: int
    settled: int
    vanished: int


@dataclass(frozen=True, slots=True)
class OpenSlice:
    """A slice that takes batches."""

    slice: UUID
    scope: SliceScope
    final: bool


@dataclass(frozen=True, slots=True)
class StreamPosition:
    """How far a stream has been committed.

    Attributes:
        last_sequence: Last committed sequence; 0 where nothing was.
        checkpoint: What the writer last gave to be kept.
        fencing_epoch: Highest epoch that wrote.
        open_slice: The slice that takes batches, if one does.
        version: The org's version after the last write of the stream.
    """

    last_sequence: int = 0
    checkpoint: bytes = b""
    fencing_epoch: int = 0
    open_slice: OpenSlice | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class StoredSlice:
    """A slice as it is kept."""

    slice: UUID
    scope: SliceScope
    lineage: Lineage
    state: SliceState
    counts: SliceCounts
    raw_size_bytes: int
    raw: bytes | None
    origin: str
    create_time: datetime
    end_time: datetime | None


@dataclass(frozen=True, slots=True)
class WriteFence:
    """The gate of a scope of writers."""

    scope: str
    epoch: int
    closed: bool
    update_time: datetime


class EntryWrite(RequestMemory, Protocol):
    """One write under way; all of it is committed together, or nothing."""

    async def upsert(self, rows: pa.Table) -> UpsertCounts:
        """Write checked and scored rows; those with the same contents stay as they are."""

    async def upsert_parts(self, rows: pa.Table, sizes: Sequence[int]) -> Sequence[UpsertCounts]:
        """Write rows as `upsert` does; they are parts of these sizes, one after the other.

        Returns what each part did. Call it once in a write, and without `upsert`.
        """

    async def purge(self, origin: str, where: Filter | None) -> int:
        """Delete the entries whose last writer was `origin` and that match the filter."""

    async def delete(self, days: Sequence[date], digests: Sequence[bytes]) -> DeleteCounts:
        """Delete entries of the write's origin, by date and digest of the natural key.

        Entries of other origins are kept; those that are not there count as neither.
        """

    async def lock_stream(self, stream_id: str) -> StreamPosition:
        """Read a stream's position and keep other writers of the stream out until the end."""

    async def advance_stream(
        self,
        stream_id: str,
        *,
        sequence: int,
        checkpoint: bytes,
        fencing_epoch: int,
        open_slice: UUID | None,
    ) -> None:
        """Store how far the stream is, as part of this write."""

    async def open_slice(
        self, stream_id: str, scope: SliceScope, lineage: Lineage, *, final: bool
    ) -> UUID:
        """Begin a slice."""

    async def stage(self, slice_id: UUID, rows: pa.Table) -> int:
        """Keep rows of an open slice where nobody reads them yet; return how many."""

    async def commit_slice(self, opened: OpenSlice, raw: bytes) -> SliceCounts:
        """Replace the scope of the slice by its staged rows and keep the raw answer, compressed."""

    async def abort_slice(self, slice_id: UUID, reason: str) -> None:
        """Drop the staged rows of the slice."""

    async def finish(self) -> int:
        """Take the org's next version and return it; only `remember` may follow."""

    @property
    def version(self) -> int:
        """The org's version, once the write has finished."""


class EntryStore(Protocol):
    """Entries, their slices and streams; the record of truth."""

    def write(self, org: str, context: WriteContext) -> AbstractAsyncContextManager[EntryWrite]:
        """Begin a write that ends as the org's next version.

        Raises:
            FenceClosedError: Writes of the scope, or of the org, are closed.
            EpochFencedError: A writer with a higher epoch has taken over.
        """

    async def prepare_days(self, days: Sequence[date]) -> None:
        """Make room for entries of these days."""

    async def platforms(self, org: str) -> frozenset[str]:
        """Return every registered source of the org, built in ones included."""

    async def stream_position(self, org: str, stream_id: str) -> StreamPosition:
        """Return how far a stream has been committed.

        Where there is no stream of the id, it may be the scope of a writer of records: then the
        position holds the checkpoint of that, with sequence 0.
        """

    async def get(self, org: str, day: date, key: bytes) -> Row | None:
        """Return one entry."""

    async def list_page(
        self,
        org: str,
        *,
        where: Filter | None,
        order_by: Sequence[tuple[str, bool]],
        after: Sequence[object] | None,
        limit: int,
    ) -> Sequence[Row]:
        """Return entries in order, ties broken by date and key, beginning after a row.

        Args:
            org: The org.
            where: Only entries that match.
            order_by: Columns, each with whether it descends.
            after: Values of the order's columns, date and key of the row to go on after.
            limit: At most this many.
        """

    async def sample_of_origin(
        self, org: str, origin: str, where: Filter | None, *, limit: int
    ) -> tuple[int, Sequence[tuple[date, bytes]]]:
        """Return how many entries a purge of the origin would delete, and the first of them."""

    async def get_slice(self, org: str, slice_id: UUID, *, with_raw: bool) -> StoredSlice | None:
        """Return one slice."""

    async def set_fence(
        self, org: str, scope: str, *, epoch: int, closed: bool
    ) -> tuple[WriteFence, int]:
        """Set a fence, and wait until no write of the scope from before is under way.

        Returns the fence, and the org's version up to which writes from before reach.

        Raises:
            EpochFencedError: The epoch is lower than the fence's.
        """

    async def get_fence(self, org: str, scope: str) -> WriteFence | None:
        """Return the fence of a scope."""

    async def last_version(self, org: str) -> int:
        """Return the org's newest version, 0 where it never wrote."""
