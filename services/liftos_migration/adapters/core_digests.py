"""What a migration wrote to Core, read through Memory's API: digests first, single records then."""

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from liftos.memory.v1.artifact_pb2 import ArtifactKind
from liftos.memory.v1.document_pb2 import Document
from liftos.memory.v1.entry_pb2 import DateBasis, Entry, EntryLevel
from liftos_client.entry_columns import OUTPUT_FIELDS
from liftos_client.errors import (
    DeadlineExceededError,
    NotFoundError,
    OverloadedError,
    ReadNotFreshError,
    UnavailableError,
)
from liftos_client.memory import MemoryClient
from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.structs import plain
from liftos_mapping.entry_fields import ADDITIVE_METRICS, NATURAL_KEY
from liftos_migration.domain.comparing import BucketSum
from liftos_migration.domain.differences import Value
from liftos_migration.verification_ports import Collection, CoreRecord, SearchQuality, Totals

_LONG_SECONDS: Final = 600.0
"""Sums over all entries of a large org take their time."""
_INDEX_SECONDS: Final = 6.0
"""How long a look at what the index covers may take, so that it is told how far it is."""
_BUCKETS_AT_ONCE: Final = 1_000
_HASHES_AT_ONCE: Final = 50_000
_COLLECTIONS: Final = {Collection.ARTIFACTS: "ARTIFACTS", Collection.NOTES: "NOTES"}


class MemoryDigests:
    """See `liftos_migration.verification_ports.CoreDigests`.

    Args:
        memory: Memory's client for the org.
        origin: What the migration writes as; entries of others are not digested.
    """

    def __init__(self, memory: MemoryClient, origin: str) -> None:
        self._memory = memory
        self._filter = f'origin = "{origin}"'
        self.origin = origin

    async def newest_write(self) -> str:
        """Return a token of all that was written so far."""
        with translated():
            return await self._memory.newest_write()

    async def entry_sums(self, bucket_count: int) -> Mapping[int, BucketSum]:
        """Return sums over the hashes of entries."""
        with translated():
            answer = await self._memory.digest_entries(
                bucket_count,
                filter=self._filter,
                bucketing="KEY_MD5",
                timeout_seconds=_LONG_SECONDS,
            )
            return {
                each.bucket: BucketSum(each.row_count, each.hash_xor, each.hash_sum)
                for each in answer.buckets
            }

    async def entry_hashes(
        self, bucket_count: int, buckets: Sequence[int]
    ) -> AsyncIterator[tuple[str, bytes]]:
        """Yield the ids and hashes of entries of some buckets."""
        with translated():
            for start in range(0, len(buckets), _BUCKETS_AT_ONCE):
                pages = self._memory.list_entry_digests(
                    bucket_count,
                    buckets[start : start + _BUCKETS_AT_ONCE],
                    filter=self._filter,
                    bucketing="KEY_MD5",
                    page_size=_HASHES_AT_ONCE,
                    timeout_seconds=_LONG_SECONDS,
                )
                async for row in pages:
                    yield _id(row.name), row.hash

    async def entry(self, entry_id: str) -> CoreRecord | None:
        """Return an entry, whoever wrote it."""
        with translated():
            try:
                entry = await self._memory.get_entry(entry_id)
            except NotFoundError:
                return None
            return CoreRecord(_entry_fields(entry), entry.origin)

    async def entry_count(self, condition: str = "") -> int:
        """Count entries of the migration."""
        with translated():
            where = f"{self._filter} AND {condition}" if condition else self._filter
            answer = await self._memory.digest_entries(
                1, filter=where, timeout_seconds=_LONG_SECONDS
            )
            return sum(bucket.row_count for bucket in answer.buckets)

    async def entries(self) -> AsyncIterator[tuple[str, CoreRecord]]:
        """Yield ids and natural keys of all entries of the migration."""
        with translated():
            pages = self._memory.list_entries(
                filter=self._filter,
                read_mask=["name", "origin", *NATURAL_KEY],
                page_size=1_000,
                timeout_seconds=_LONG_SECONDS,
            )
            async for entry in pages:
                yield _id(entry.name), CoreRecord(_entry_fields(entry), entry.origin)

    async def entry_totals(self, level: str, first_day: str, last_day: str) -> Totals:
        """Return the sums of entries of a level."""
        with translated():
            totals: dict[tuple[str, ...], dict[str, int]] = {}
            pages = self._memory.query_metrics(
                first_day,
                last_day,
                level=level,
                granularity="DAY",
                group_by=["platform"],
                filter=self._filter,
                page_size=5_000,
                timeout_seconds=_LONG_SECONDS,
            )
            async for row in pages:
                group = (row.period_start_date, row.group["platform"], row.metrics.currency_code)
                held = totals.setdefault(group, {"entries": 0})
                # Rows are apart by what is of no matter here.
                held["entries"] += row.entry_count
                for field, value in row.metrics.ListFields():
                    if field.name in ADDITIVE_METRICS:
                        held[field.name] = held.get(field.name, 0) + value
            return totals

    async def record_hashes(self, collection: Collection, scope: str) -> Mapping[str, bytes]:
        """Return the hashes of the records of a scope by id, whoever wrote them."""
        with translated():
            pages = self._memory.list_record_digests(
                _COLLECTIONS[collection],
                1,
                [0],
                scope=scope,
                page_size=_HASHES_AT_ONCE,
                timeout_seconds=_LONG_SECONDS,
            )
            return {_id(row.name): row.hash async for row in pages}

    async def record_scopes(self, collection: Collection) -> Mapping[str, str]:
        """Return the scopes of the migration's own records by id."""
        with translated():
            pages: Any
            if collection is Collection.ARTIFACTS:
                pages = self._memory.list_artifacts(filter=self._filter, page_size=1_000)
            else:
                pages = self._memory.list_notes(filter=self._filter, page_size=1_000)
            return {_id(record.name): record.scope async for record in pages}

    async def record(self, collection: Collection, record_id: str) -> CoreRecord | None:
        """Return a record, whoever wrote it."""
        with translated():
            try:
                if collection is Collection.NOTES:
                    note = await self._memory.get_note(record_id)
                    fields: dict[str, Value] = {
                        "scope": note.scope,
                        "title": note.title,
                        "text": note.text,
                        "labels": list(note.labels),
                    }
                    if note.HasField("attributes"):
                        fields["attributes"] = plain(note.attributes)
                    return CoreRecord(fields, note.origin)
                artifact = await self._memory.get_artifact(record_id)
            except NotFoundError:
                return None
            fields = {
                "scope": artifact.scope,
                "kind": ArtifactKind.Name(artifact.kind).removeprefix("ARTIFACT_KIND_"),
                "display_name": artifact.display_name,
            }
            if artifact.HasField("body"):
                fields["body"] = plain(artifact.body)
            return CoreRecord(fields, artifact.origin, artifact.content)

    async def exchange_rates(self) -> Mapping[tuple[str, str], str]:
        """Return all rates as decimal texts by currency and day, whoever wrote them."""
        with translated():
            pages = self._memory.list_exchange_rates(page_size=1_000)
            return {(rate.currency_code, rate.date): rate.rate async for rate in pages}

    async def search_quality(self) -> SearchQuality:
        """Measure the served index with generated queries."""
        with translated():
            answer = await self._memory.evaluate_search(timeout_seconds=_LONG_SECONDS)
        return SearchQuality(
            answer.recall_at_10 if answer.HasField("recall_at_10") else None,
            answer.success_at_5 if answer.HasField("success_at_5") else None,
            answer.query_count,
            answer.document_count,
        )

    async def is_indexed(self, write_token: str) -> bool:
        """Tell whether searches cover a write; waits for some seconds until they do."""
        with translated():
            hits = self._memory.search_documents(
                "everything",
                mode="NEURAL",
                page_size=1,
                at_least_as_fresh=write_token,
                timeout_seconds=_INDEX_SECONDS,
            )
            try:
                await anext(hits.pages())
            except (ReadNotFreshError, DeadlineExceededError):
                return False
            return True

    async def object_documents(self, fields: Mapping[str, str]) -> int:
        """Count the documents of an object that searches find by their embedding."""
        with translated():
            where = " AND ".join(f"{name} = {_literal(value)}" for name, value in fields.items())
            return len(await self._found(("PROFILE", "WEEKLY_DIGEST"), where))

    async def record_documents(self, collection: Collection, scope: str) -> frozenset[str]:
        """Return the ids of records of a scope whose document searches find by its embedding."""
        with translated():
            kind = "ARTIFACT" if collection is Collection.ARTIFACTS else "NOTE"
            found = await self._found((kind,), f'scope = "{scope}"')
            return frozenset(_id(each.record) for each in found)

    async def _found(self, kinds: Sequence[str], where: str) -> list[Document]:
        with translated():
            hits = self._memory.search_documents(
                # Whatever is asked: all that the filter lets through comes, by vectors alone.
                "everything",
                mode="NEURAL",
                kinds=kinds,
                filter=where,
                page_size=100,
            )
            return [hit.document async for hit in hits]


@contextmanager
def translated() -> Iterator[None]:
    """Turn a Core that does not answer into what says so."""
    try:
        yield
    except (UnavailableError, DeadlineExceededError, OverloadedError) as error:
        raise StoreUnavailableError(
            "memory", retry_after_seconds=error.retry_after_seconds or 1.0
        ) from error


def _id(name: str) -> str:
    return name.rpartition("/")[2]


def _entry_fields(entry: Entry) -> Mapping[str, Value]:
    """Return what a writer gave of an entry, by column; enumerations as words."""
    fields: dict[str, Value] = {}
    for field, value in entry.ListFields():
        if field.name in OUTPUT_FIELDS:
            continue
        match field.name:
            case "metrics" | "grain_metrics":
                fields |= {part.name: inner for part, inner in value.ListFields()}
            case "level":
                fields["level"] = EntryLevel.Name(value).removeprefix("ENTRY_LEVEL_")
            case "date_basis":
                fields["date_basis"] = DateBasis.Name(value).removeprefix("DATE_BASIS_")
            case "actions":
                fields["actions"] = [_action(action) for action in value]
            case _:
                fields[field.name] = value
    return fields


def _action(action: Message) -> Value:
    return MessageToDict(action, preserving_proto_field_name=True)


def _literal(text: str) -> str:
    """Return a text as filters write it: they escape these characters and no others."""
    return '"' + re.sub(r'(["\\*])', r"\\\1", text) + '"'
