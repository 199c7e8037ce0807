"""What artifacts and notes need from the outside."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from liftos_kit.core.filters import Filter
from liftos_kit.core.repeatable import RequestMemory
from liftos_memory.domain.records import Collection, Record
from liftos_memory.ports import DeleteCounts, Row, UpsertCounts, WriteContext


class RecordWrite(RequestMemory, Protocol):
    """One write under way; all of it is committed together, or nothing."""

    async def upsert(self, collection: Collection, records: Sequence[Record]) -> UpsertCounts:
        """Write records, each id once; one with the same contents stays as it is.

        Raises:
            EtagMismatchError: One is another than its etag says; nothing may be committed then.
        """

    async def keep_checkpoint(self, scope: str, checkpoint: bytes) -> None:
        """Store how far the writer of a scope is, as part of this write."""

    async def delete(
        self, collection: Collection, record_ids: Sequence[str], *, origin: str
    ) -> DeleteCounts:
        """Delete records; with an origin only those that it wrote last, the others are kept."""

    async def purge(self, collection: Collection, origin: str) -> int:
        """Delete the records whose last writer was `origin`."""

    async def finish(self) -> int:
        """Take the org's next version and return it; only `remember` may follow."""


class RecordStore(Protocol):
    """Artifacts and notes with all their versions.

    A stored record is a row with `record_id`, `version`, `kind`, `scope`, `title`, `text`,
    `labels`, `body`, `content`, `content_type`, `sha256`, `origin`, `create_time`, `update_time`
    and `tx`.
    """

    def write(self, org: str, context: WriteContext) -> AbstractAsyncContextManager[RecordWrite]:
        """Begin a write that ends as the org's next version.

        Raises:
            FenceClosedError: Writes of the scope, or of the org, are closed.
            EpochFencedError: A writer with a higher epoch has taken over.
        """

    async def get(
        self, org: str, collection: Collection, record_id: str, version: int
    ) -> Row | None:
        """Return one version of a record, 0 for the newest; one that was deleted has no newest."""

    async def list_page(
        self,
        org: str,
        collection: Collection,
        *,
        where: Filter | None,
        after: str | None,
        limit: int,
    ) -> tuple[Sequence[Row], bool]:
        """Return newest versions by id after an id, without content, and whether more are left.

        Fewer than `limit` come where their bodies are large.
        """

    async def list_versions(
        self, org: str, collection: Collection, record_id: str, *, before: int | None, limit: int
    ) -> tuple[Sequence[Row], bool]:
        """Return versions of one record before a version, newest first, without content.

        Also tells whether more are left. Fewer than `limit` come where their bodies are large.
        """

    async def sample_of_origin(
        self, org: str, collection: Collection, origin: str, *, limit: int
    ) -> tuple[int, Sequence[str]]:
        """Return how many records a purge of the origin would delete, and the first of them."""

    async def last_version(self, org: str) -> int:
        """Return the org's newest version, 0 where it never wrote."""
