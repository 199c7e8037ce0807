"""Feeds of changes, restatements and digests on the wire."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

from grpc.aio import ServicerContext

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.auth import require_org
from liftos_kit.core.errors import InvalidFieldsError
from liftos_kit.core.filters import parse_filter
from liftos_kit.core.paging import PageTokens
from liftos_kit.requests import PageRequest, page_request
from liftos_kit.structs import timestamp
from liftos_memory.convert.changes import (
    ResumeTokens,
    bucket_message,
    entry_change_message,
    read_position,
    record_change_message,
    restatement_message,
    row_digest_message,
    write_position,
)
from liftos_memory.convert.entries import ENTRY_NAME, SLICE_NAME
from liftos_memory.convert.slices import days_of
from liftos_memory.domain.entry_filter import ENTRY_FILTER_FIELDS
from liftos_memory.domain.records import Collection, record_name
from liftos_memory.domain.write_token import encode_write_token
from liftos_memory.replication_ports import Bucketing, Change, Position, RestatementQuery
from liftos_memory.usecases.changes import Changes
from liftos_memory.usecases.digests import (
    Digests,
    EntrySelection,
    HashPage,
    RecordSelection,
    Selection,
)
from liftos_memory.usecases.freshness import Freshness

_MAXIMUM_CHANGES: Final = 500
_MAXIMUM_ANSWER_BYTES: Final = 3_900_000
"""Below the 4 MiB that a gRPC client takes unless it was told otherwise, framing included."""

_DEFAULT_HASHES: Final = 10_000
_MAXIMUM_HASHES: Final = 50_000
_UNLIMITED_DAYS: Final = 1_000_000

M = TypeVar("M", pb.EntryChange, pb.RecordChange)


class ChangesServicer:
    """What commits did, and what stores compare themselves by."""

    def __init__(
        self,
        *,
        changes: Changes,
        digests: Digests,
        freshness: Freshness,
        page_tokens: PageTokens,
    ) -> None:
        self._changes = changes
        self._digests = digests
        self._freshness = freshness
        self._page_tokens = page_tokens

    async def WatchEntries(
        self, request: pb.WatchEntriesRequest, context: ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.WatchEntriesResponse]:
        org = require_org(request.parent)
        tokens = ResumeTokens(self._page_tokens, method="WatchEntries", org=org, request=request)
        where = parse_filter(request.filter, ENTRY_FILTER_FIELDS)
        start = tokens.read(request.resume_token)
        async for found in self._changes.watch_entries(org, where, start):
            # Without changes this is one answer: a heartbeat.
            for begin in range(0, max(len(found.changes), 1), _MAXIMUM_CHANGES):
                part = found.changes[begin : begin + _MAXIMUM_CHANGES]
                messages = [entry_change_message(org, change) for change in part]
                end = (
                    found.position
                    if begin + len(part) == len(found.changes)
                    else Position(part[-1].version, part[-1].id)
                )
                for changes, position in _answers(part, messages, end):
                    yield pb.WatchEntriesResponse(
                        changes=changes,
                        resume_token=tokens.write(position),
                        commit_time=timestamp(found.time),
                    )

    async def WatchRecords(
        self, request: pb.WatchRecordsRequest, context: ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.WatchRecordsResponse]:
        org = require_org(request.parent)
        tokens = ResumeTokens(self._page_tokens, method="WatchRecords", org=org, request=request)
        collection = Collection(request.collection)
        start = tokens.read(request.resume_token)
        async for found in self._changes.watch_records(org, collection, request.scope, start):
            messages = [record_change_message(org, collection, change) for change in found.changes]
            # Without changes this is one answer: a heartbeat.
            for changes, position in _answers(found.changes, messages, found.position):
                yield pb.WatchRecordsResponse(
                    changes=changes,
                    resume_token=tokens.write(position),
                    commit_time=timestamp(found.time),
                )

    async def ListRestatements(
        self, request: pb.ListRestatementsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListRestatementsResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        found, following = await self._changes.restatements(
            org,
            _restatement_query(request),
            after=None if asked.cursor is None else read_position(asked.cursor),
            limit=asked.limit,
        )
        return pb.ListRestatementsResponse(
            restatements=[restatement_message(org, change) for change in found],
            next_page_token=asked.next_token(
                None if following is None else write_position(following)
            ),
        )

    async def DigestEntries(
        self, request: pb.DigestEntriesRequest, context: ServicerContext[Any, Any]
    ) -> pb.DigestEntriesResponse:
        org = require_org(request.parent)
        await self._freshness.wait(org, request.consistency.at_least_as_fresh)
        selection = EntrySelection(
            parse_filter(request.filter, ENTRY_FILTER_FIELDS),
            Bucketing(request.bucketing or Bucketing.ENTRY_ID),
        )
        if not request.buckets:
            sums, version = await self._digests.sums(
                org, selection, bucket_count=request.bucket_count
            )
            return pb.DigestEntriesResponse(
                buckets=map(bucket_message, sums), write_token=encode_write_token(org, version)
            )
        asked = page_request(
            request, org, self._page_tokens, default=_DEFAULT_HASHES, maximum=_MAXIMUM_HASHES
        )
        page = await self._hashes(org, selection, request, asked)
        return pb.DigestEntriesResponse(
            rows=[
                row_digest_message(ENTRY_NAME.format(org=org, entry=row.id), row)
                for row in page.hashes
            ],
            write_token=encode_write_token(org, page.version),
            next_page_token=asked.next_token(page.after),
        )

    async def DigestRecords(
        self, request: pb.DigestRecordsRequest, context: ServicerContext[Any, Any]
    ) -> pb.DigestRecordsResponse:
        org = require_org(request.parent)
        collection = Collection(request.collection)
        selection = RecordSelection(collection, request.scope)
        if not request.buckets:
            sums, version = await self._digests.sums(
                org, selection, bucket_count=request.bucket_count
            )
            return pb.DigestRecordsResponse(
                buckets=map(bucket_message, sums), write_token=encode_write_token(org, version)
            )
        asked = page_request(
            request, org, self._page_tokens, default=_DEFAULT_HASHES, maximum=_MAXIMUM_HASHES
        )
        page = await self._hashes(org, selection, request, asked)
        return pb.DigestRecordsResponse(
            rows=[
                row_digest_message(record_name(org, collection, row.id), row) for row in page.hashes
            ],
            write_token=encode_write_token(org, page.version),
            next_page_token=asked.next_token(page.after),
        )

    async def _hashes(
        self,
        org: str,
        selection: Selection,
        request: pb.DigestEntriesRequest | pb.DigestRecordsRequest,
        asked: PageRequest,
    ) -> HashPage:
        return await self._digests.hashes(
            org,
            selection,
            bucket_count=request.bucket_count,
            buckets=request.buckets,
            after=asked.text_cursor,
            limit=asked.limit,
        )


def _answers(
    changes: Sequence[Change], messages: Sequence[M], end: Position
) -> Iterator[tuple[Sequence[M], Position]]:
    """Divide changes of one commit into answers of bounded size, each with the position after it.

    Args:
        changes: At most `_MAXIMUM_CHANGES`.
        messages: One for each of them.
        end: Position after all of them.
    """
    begin, size_bytes = 0, 0
    for index, message in enumerate(messages):
        message_bytes = message.ByteSize()
        if index > begin and size_bytes + message_bytes > _MAXIMUM_ANSWER_BYTES:
            last = changes[index - 1]
            yield messages[begin:index], Position(last.version, last.id)
            begin, size_bytes = index, 0
        size_bytes += message_bytes
    yield messages[begin:], end


def _restatement_query(request: pb.ListRestatementsRequest) -> RestatementQuery:
    start_date = end_date = None
    if request.HasField("change_date_range"):
        start_date, end_date = days_of(
            request.change_date_range, field="change_date_range", maximum_days=_UNLIMITED_DAYS
        )
    slice_id = None
    if request.slice:
        require_org(request.slice, field="slice")
        try:
            slice_id = UUID(SLICE_NAME.parse(request.slice, field="slice")["slice"])
        except ValueError:
            raise InvalidFieldsError.of(
                "slice", "is no name of a slice", rule="resource_name"
            ) from None
    return RestatementQuery(
        where=parse_filter(request.filter, ENTRY_FILTER_FIELDS),
        slice=slice_id,
        start_date=start_date,
        end_date=end_date,
    )
