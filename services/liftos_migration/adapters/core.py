"""Core as the place that a migration writes to, fenced by the epoch of its worker."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import pyarrow as pa

from liftos.memory.v1.artifact_pb2 import Artifact, ArtifactKind, Note
from liftos.memory.v1.source_pb2 import ExchangeRate
from liftos_client.errors import (
    DeadlineExceededError,
    EpochFencedError,
    InvalidRequestError,
    LiftosError,
    OverloadedError,
    UnavailableError,
)
from liftos_client.ingest import IngestStream
from liftos_client.memory import MemoryClient
from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.structs import struct_of
from liftos_mapping.record_digests import canonical_json
from liftos_migration.copy_ports import CoreRecord, CoreRefusedError
from liftos_migration.domain.mapping import Target
from liftos_migration.domain.records import ArtifactRecord, NoteRecord, RateRecord
from liftos_migration.domain.rejects import RecordError, Refused
from liftos_migration.ledger_ports import LeaseLostError

STORE: Final = "memory"

_RESUME_SECONDS: Final = 60.0
"""How long a stream waits for a Core that is away before the step is tried again."""
_BATCH_RECORDS: Final = {ArtifactRecord: 100, NoteRecord: 500, RateRecord: 5_000}
_BATCH_BYTES: Final = 3 * 1024 * 1024
_DELETED_AT_A_TIME: Final = 1_000
_COLLECTIONS: Final = {Target.ARTIFACTS: "ARTIFACTS", Target.NOTES: "NOTES"}


class CoreWriter:
    """Writes what a migration brings; see `liftos_migration.copy_ports.CoreWriter`.

    Args:
        memory: Memory's client for the org.
        org: Whose data it is.
        migration: Its id.
        epoch: Of the worker; Core refuses it once a later one has written.
    """

    def __init__(self, memory: MemoryClient, *, org: str, migration: str, epoch: int) -> None:
        self._memory = memory
        self._org = org
        self._epoch = epoch
        self.origin = f"migrations/{migration}"

    async def fence(self) -> None:
        """Refuse all workers of the migration before this one, from now on."""
        with _translated():
            await self._memory.set_write_fence(self.origin, epoch=self._epoch, closed=False)

    @asynccontextmanager
    async def entries(self, stream: str) -> AsyncIterator["EntryStream"]:
        """Open a stream of entries, which ends with an acknowledgement of all that it was given.

        Args:
            stream: Its name within the migration.
        """
        opened = self._memory.ingest(
            f"{self.origin}/{stream}",
            origin=self.origin,
            fence_scope=self.origin,
            fencing_epoch=self._epoch,
            resume_seconds=_RESUME_SECONDS,
        )
        with _translated():
            async with opened:
                entries = EntryStream(opened)
                yield entries
                await entries.flush()

    async def write_records(self, records: Sequence[CoreRecord]) -> Sequence[Refused]:
        """Write artifacts, notes or exchange rates, of one kind."""
        refused: list[Refused] = []
        batch: list[tuple[int, CoreRecord]] = []
        size = 0
        for place, record in enumerate(records):
            record_size = _size(record)
            full = len(batch) == _BATCH_RECORDS[type(record)] or size + record_size > _BATCH_BYTES
            if batch and full:
                refused += await self._write_batch(batch)
                batch, size = [], 0
            batch.append((place, record))
            size += record_size
        if batch:
            refused += await self._write_batch(batch)
        return refused

    async def purge(self) -> None:
        """Delete all that the migration wrote last."""
        with _translated():
            await self.fence()
            await self._memory.purge_entries(self.origin, force=True)
            for collection in _COLLECTIONS.values():
                await self._memory.purge_records(collection, self.origin, force=True)

    async def delete_records(self, target: Target, ids: Sequence[str]) -> int:
        """Delete artifacts or notes that the migration wrote last; return how many there were."""
        deleted = 0
        with _translated():
            for start in range(0, len(ids), _DELETED_AT_A_TIME):
                answer = await self._memory.batch_delete_records(
                    _COLLECTIONS[target],
                    ids[start : start + _DELETED_AT_A_TIME],
                    origin=self.origin,
                    fence_scope=self.origin,
                    fencing_epoch=self._epoch,
                )
                deleted += answer.deleted_count
        return deleted

    async def _write_batch(self, batch: Sequence[tuple[int, CoreRecord]]) -> Sequence[Refused]:
        """Write a batch, which is refused as a whole; halves tell which records are to blame."""
        try:
            with _translated(passing=InvalidRequestError):
                await self._send([record for _, record in batch])
        except InvalidRequestError as error:
            if len(batch) == 1:
                return [Refused(batch[0][0], _errors(error))]
            middle = len(batch) // 2
            return [
                *await self._write_batch(batch[:middle]),
                *await self._write_batch(batch[middle:]),
            ]
        return []

    async def _send(self, records: Sequence[CoreRecord]) -> None:
        fence: dict[str, Any] = {"fence_scope": self.origin, "fencing_epoch": self._epoch}
        match records[0]:
            case ArtifactRecord():
                await self._memory.batch_upsert_artifacts(
                    [_artifact(self._org, it) for it in records if isinstance(it, ArtifactRecord)],
                    origin=self.origin, **fence,
                )  # fmt: skip
            case NoteRecord():
                await self._memory.batch_upsert_notes(
                    [_note(self._org, it) for it in records if isinstance(it, NoteRecord)],
                    origin=self.origin, **fence,
                )  # fmt: skip
            case RateRecord():
                await self._memory.upsert_exchange_rates(
                    [_rate(each) for each in records if isinstance(each, RateRecord)], **fence
                )


def _artifact(org: str, record: ArtifactRecord) -> Artifact:
    return Artifact(
        name=f"orgs/{org}/artifacts/{record.id}",
        kind=ArtifactKind.ValueType(record.kind),
        scope=record.scope,
        display_name=record.display_name,
        body=None if record.body is None else struct_of(record.body),
        content=record.content,
        content_type=record.content_type,
    )


def _note(org: str, record: NoteRecord) -> Note:
    return Note(
        name=f"orgs/{org}/notes/{record.id}",
        scope=record.scope,
        title=record.title,
        text=record.text,
        labels=record.labels,
        attributes=None if record.attributes is None else struct_of(record.attributes),
    )


def _rate(record: RateRecord) -> ExchangeRate:
    return ExchangeRate(
        currency_code=record.currency_code,
        date=record.date.isoformat(),
        rate=record.rate,
        source=record.source,
    )


def _size(record: CoreRecord) -> int:
    """Return about how many bytes a record takes in a message."""
    match record:
        case ArtifactRecord():
            body = 0 if record.body is None else len(canonical_json(record.body))
            return 1_000 + len(record.content) + 2 * body
        case NoteRecord():
            attributes = 0 if record.attributes is None else len(canonical_json(record.attributes))
            return 1_000 + 4 * len(record.text) + 2 * attributes
        case RateRecord():
            return 200


class EntryStream:
    """Entries on their way to Core."""

    def __init__(self, stream: IngestStream) -> None:
        self._stream = stream
        self._told = 0

    @property
    def acknowledged_count(self) -> int:
        """Rows and deletions that Core has answered for."""
        return self._stream.result.row_count

    @property
    def unreported_count(self) -> int:
        """Those of them of which the answer was lost: what was refused is not known."""
        return self._stream.result.unreported_count

    @property
    def refused_count(self) -> int:
        """Rows that were refused."""
        return self._stream.result.refused_count

    @property
    def told_count(self) -> int:
        """Those of them that `refused` has told."""
        return self._told

    async def write(self, rows: pa.RecordBatch) -> None:
        """Send entries; returns once they are on their way."""
        with _translated():
            await self._stream.write(rows)

    async def delete(self, keys: pa.Table) -> None:
        """Send natural keys of entries that the migration wrote and the source no longer has."""
        with _translated():
            await self._stream.delete(keys)

    async def flush(self) -> None:
        """Wait until Core has answered for all."""
        with _translated():
            await self._stream.flush()

    def refused(self) -> Sequence[Refused]:
        """Return what was refused since this was last asked, by place among all rows given."""
        found: dict[int, list[RecordError]] = {}
        errors = self._stream.result.item_errors
        for each in errors:
            error = each.error
            found.setdefault(each.row, []).append(
                RecordError(error.rule or error.reason, error.message, error.field)
            )
        errors.clear()
        self._told += len(found)
        return [Refused(place, tuple(each)) for place, each in sorted(found.items())]


def _errors(error: InvalidRequestError) -> tuple[RecordError, ...]:
    return tuple(
        # The path begins with the record's place, which says nothing here.
        RecordError(each.rule or error.reason, each.description, each.field.partition("].")[2])
        for each in error.field_violations
    ) or (RecordError(error.reason, error.message),)


@contextmanager
def _translated(passing: type[LiftosError] | None = None) -> Iterator[None]:
    try:
        yield
    except LiftosError as error:
        if passing is not None and isinstance(error, passing):
            raise
        if isinstance(error, EpochFencedError):
            raise LeaseLostError from error
        if isinstance(error, UnavailableError | DeadlineExceededError | OverloadedError):
            raise StoreUnavailableError(
                STORE, retry_after_seconds=error.retry_after_seconds or 1.0
            ) from error
        raise CoreRefusedError(str(error)) from error
