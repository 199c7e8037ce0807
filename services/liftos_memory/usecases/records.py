"""Artifacts and notes: writing, reading, and their versions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from liftos_kit.core.errors import InvalidFieldsError, NotFoundError
from liftos_kit.core.filters import Filter
from liftos_kit.core.repeatable import AnsweredBeforeError, Repeatable
from liftos_memory.domain.records import Collection, Record
from liftos_memory.ports import DeleteCounts, Row, UpsertCounts, WriteContext
from liftos_memory.record_ports import RecordStore

_SAMPLED_NAMES: Final = 20


@dataclass(frozen=True, slots=True)
class RecordsWritten:
    """What a batch did. `version` is the org's after the write."""

    counts: UpsertCounts
    version: int


@dataclass(frozen=True, slots=True)
class RecordsPurged:
    """What a purge deleted, or would delete: how many, and ids of the first of them."""

    count: int
    record_ids: Sequence[str]
    version: int


@dataclass(frozen=True, slots=True)
class RecordsDeleted:
    """What a deletion did. `version` is the org's after the write."""

    counts: DeleteCounts
    version: int


class Records:
    """Writes and reads artifacts and notes through the store."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store

    async def upsert(
        self,
        org: str,
        collection: Collection,
        records: Sequence[Record],
        context: WriteContext,
        *,
        checkpoint: bytes,
        repeatable: Repeatable[RecordsWritten] | None,
    ) -> RecordsWritten | bytes:
        """Write a batch, as one.

        Args:
            org: The org.
            collection: Artifacts or notes.
            records: Checked records, each id once.
            context: Who writes.
            checkpoint: Kept for the writer's scope; empty keeps the one from before.
            repeatable: Set where the request carries a request_id.

        Returns:
            The result, or the answer that the same request was given before.

        Raises:
            InvalidFieldsError: A checkpoint comes without the scope that it is kept for.
        """
        _check_checkpoint(checkpoint, context)
        try:
            async with self._store.write(org, context) as write:
                if repeatable is not None:
                    await repeatable.recall(write)
                counts = await write.upsert(collection, records)
                if checkpoint:
                    await write.keep_checkpoint(context.fence_scope, checkpoint)
                result = RecordsWritten(counts, await write.finish())
                if repeatable is not None:
                    await repeatable.remember(write, result)
        except AnsweredBeforeError as answered:
            return answered.response
        return result

    async def delete(
        self,
        org: str,
        collection: Collection,
        record_ids: Sequence[str],
        context: WriteContext,
        *,
        checkpoint: bytes,
        repeatable: Repeatable[RecordsDeleted] | None,
    ) -> RecordsDeleted | bytes:
        """Delete records by id, as one; those that are not there are left out.

        Args:
            org: The org.
            collection: Artifacts or notes.
            record_ids: Each once.
            context: Who deletes; with an origin only what it wrote last.
            checkpoint: Kept for the writer's scope; empty keeps the one from before.
            repeatable: Set where the request carries a request_id.

        Returns:
            The result, or the answer that the same request was given before.

        Raises:
            InvalidFieldsError: A checkpoint comes without the scope that it is kept for.
        """
        _check_checkpoint(checkpoint, context)
        try:
            async with self._store.write(org, context) as write:
                if repeatable is not None:
                    await repeatable.recall(write)
                counts = await write.delete(collection, record_ids, origin=context.origin)
                if checkpoint:
                    await write.keep_checkpoint(context.fence_scope, checkpoint)
                result = RecordsDeleted(counts, await write.finish())
                if repeatable is not None:
                    await repeatable.remember(write, result)
        except AnsweredBeforeError as answered:
            return answered.response
        return result

    async def get(
        self, org: str, collection: Collection, record_id: str, *, name: str, version: int
    ) -> Row:
        """Return one version of a record, 0 for the newest.

        Raises:
            NotFoundError: There is none.
        """
        row = await self._store.get(org, collection, record_id, version)
        if row is None:
            raise NotFoundError(f"{name}, version {version}" if version else name)
        return row

    async def list_page(
        self,
        org: str,
        collection: Collection,
        *,
        where: Filter | None,
        after: str | None,
        limit: int,
    ) -> tuple[Sequence[Row], str | None]:
        """Return a page of newest versions, and the id to go on after; None at the end."""
        rows, more = await self._store.list_page(
            org, collection, where=where, after=after, limit=limit
        )
        return rows, rows[-1]["record_id"] if more else None

    async def list_versions(
        self, org: str, collection: Collection, record_id: str, *, before: int | None, limit: int
    ) -> tuple[Sequence[Row], int | None]:
        """Return a page of versions, newest first, and the one to go on before; None at the end."""
        rows, more = await self._store.list_versions(
            org, collection, record_id, before=before, limit=limit
        )
        return rows, rows[-1]["version"] if more else None

    async def purge(
        self,
        org: str,
        collection: Collection,
        origin: str,
        *,
        force: bool,
        repeatable: Repeatable[RecordsPurged] | None,
    ) -> RecordsPurged | bytes:
        """Delete what an origin wrote last, or with `force` false only count it.

        Returns the result, or the answer that the same request was given before.
        """
        count, ids = await self._store.sample_of_origin(
            org, collection, origin, limit=_SAMPLED_NAMES
        )
        if not force:
            return RecordsPurged(count, ids, await self._store.last_version(org))
        try:
            async with self._store.write(org, WriteContext(origin=f"purge of {origin}")) as write:
                if repeatable is not None:
                    await repeatable.recall(write)
                count = await write.purge(collection, origin)
                result = RecordsPurged(count, ids, await write.finish())
                if repeatable is not None:
                    await repeatable.remember(write, result)
        except AnsweredBeforeError as answered:
            return answered.response
        return result


def _check_checkpoint(checkpoint: bytes, context: WriteContext) -> None:
    if checkpoint and not context.fence_scope:
        raise InvalidFieldsError.of(
            "checkpoint", "is kept for a fence_scope; name one", rule="checkpoint.scope"
        )
