"""Entries on the wire: convert, call, convert."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from grpc.aio import ServicerContext

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.auth import require_org
from liftos_kit.core.errors import InvalidFieldsError
from liftos_kit.core.filters import parse_filter
from liftos_kit.core.paging import PageTokens
from liftos_kit.requests import answer_to, page_request, repeatable
from liftos_kit.structs import timestamp
from liftos_mapping.entry_id import EntryIdError, parse_entry_id
from liftos_memory.convert.entries import (
    ENTRY_NAME,
    SLICE_NAME,
    add_item_errors,
    batch_of_entries,
)
from liftos_memory.convert.masks import apply_mask
from liftos_memory.convert.slices import lineage_of, scope_of, slice_message
from liftos_memory.domain.entry_filter import ENTRY_FILTER_FIELDS, parse_order
from liftos_memory.domain.write_token import encode_write_token
from liftos_memory.ports import WriteContext, WriteFence
from liftos_memory.servicer.presenter import EntryPresenter
from liftos_memory.usecases.batches import read_arrow
from liftos_memory.usecases.entries import Entries
from liftos_memory.usecases.freshness import Freshness
from liftos_memory.usecases.ingest import BatchResult, Ingest
from liftos_memory.usecases.stream_messages import (
    AbortSliceAction,
    Acknowledgement,
    Action,
    CommitSliceAction,
    DeleteAction,
    OpenSliceAction,
    Rows,
    StreamMessage,
)


class EntriesServicer:
    """Reads and writes entries, slices and fences."""

    def __init__(
        self,
        *,
        ingest: Ingest,
        entries: Entries,
        freshness: Freshness,
        presenter: EntryPresenter,
        page_tokens: PageTokens,
    ) -> None:
        self._ingest = ingest
        self._entries = entries
        self._freshness = freshness
        self._presenter = presenter
        self._page_tokens = page_tokens

    async def BatchUpsertEntries(
        self, request: pb.BatchUpsertEntriesRequest, context: ServicerContext[Any, Any]
    ) -> pb.BatchUpsertEntriesResponse:
        org = require_org(request.parent)

        def answer(result: BatchResult) -> pb.BatchUpsertEntriesResponse:
            response = pb.BatchUpsertEntriesResponse(
                upserted_count=result.counts.upserted,
                unchanged_count=result.counts.unchanged,
                write_token=encode_write_token(org, result.version),
            )
            add_item_errors(response.item_errors, result.errors)
            return response

        result = await self._ingest.upsert(
            org,
            _rows(request),
            _write_context(request),
            validate_only=request.validate_only,
            repeatable=repeatable("BatchUpsertEntries", request, answer),
        )
        return answer_to(result, answer, pb.BatchUpsertEntriesResponse)

    async def IngestEntries(
        self,
        request_iterator: AsyncIterator[pb.IngestEntriesRequest],
        context: ServicerContext[Any, Any],
    ) -> AsyncIterator[pb.IngestEntriesResponse]:
        first = await anext(aiter(request_iterator), None)
        if first is None:
            return
        if not first.parent or not first.stream_id:
            missing = "stream_id" if first.parent else "parent"
            raise InvalidFieldsError.of(missing, "the first message names it", rule="required")
        org = require_org(first.parent)
        messages = _messages(first, request_iterator)
        async for done in self._ingest.stream(org, first.stream_id, messages):
            yield _acknowledgement(org, done)

    async def GetStreamPosition(
        self, request: pb.GetStreamPositionRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetStreamPositionResponse:
        org = require_org(request.parent)
        position = await self._entries.stream_position(org, request.stream_id)
        opened = position.open_slice
        return pb.GetStreamPositionResponse(
            last_sequence=position.last_sequence,
            checkpoint=position.checkpoint,
            fencing_epoch=position.fencing_epoch,
            open_slice="" if opened is None else SLICE_NAME.format(org=org, slice=opened.slice.hex),
            write_token=encode_write_token(org, position.version),
        )

    async def GetEntry(
        self, request: pb.GetEntryRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetEntryResponse:
        org = require_org(request.name, field="name")
        await self._freshness.wait(org, request.consistency.at_least_as_fresh)
        try:
            day, key = parse_entry_id(ENTRY_NAME.parse(request.name)["entry"])
        except EntryIdError as error:
            raise InvalidFieldsError.of("name", str(error), rule="entry_id") from error
        row = await self._entries.get(org, request.name, day, key)
        entry = await self._presenter.one(org, row, request.read_mask)
        return pb.GetEntryResponse(entry=apply_mask(entry, request.read_mask))

    async def ListEntries(
        self, request: pb.ListEntriesRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListEntriesResponse:
        org = require_org(request.parent)
        await self._freshness.wait(org, request.consistency.at_least_as_fresh)
        asked = page_request(request, org, self._page_tokens)
        page = await self._entries.list_page(
            org,
            where=parse_filter(request.filter, ENTRY_FILTER_FIELDS),
            order_by=parse_order(request.order_by, ENTRY_FILTER_FIELDS),
            cursor=asked.cursor,
            limit=asked.limit,
        )
        entries = await self._presenter.many(org, page.rows, request.read_mask)
        return pb.ListEntriesResponse(
            entries=[apply_mask(entry, request.read_mask) for entry in entries],
            next_page_token=asked.next_token(page.cursor),
        )

    async def PurgeEntries(
        self, request: pb.PurgeEntriesRequest, context: ServicerContext[Any, Any]
    ) -> pb.PurgeEntriesResponse:
        org = require_org(request.parent)

        def answer(result: tuple[int, list[str], int]) -> pb.PurgeEntriesResponse:
            count, names, version = result
            return pb.PurgeEntriesResponse(
                purge_count=count,
                sample_names=[ENTRY_NAME.format(org=org, entry=name) for name in names],
                write_token=encode_write_token(org, version),
            )

        result = await self._entries.purge(
            org,
            request.origin,
            parse_filter(request.filter, ENTRY_FILTER_FIELDS),
            force=request.force,
            repeatable=repeatable("PurgeEntries", request, answer),
        )
        return answer_to(result, answer, pb.PurgeEntriesResponse)

    async def GetSlice(
        self, request: pb.GetSliceRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetSliceResponse:
        org = require_org(request.name, field="name")
        slice_id = UUID(SLICE_NAME.parse(request.name)["slice"])
        stored = await self._entries.get_slice(
            org, request.name, slice_id, with_raw=request.include_raw
        )
        return pb.GetSliceResponse(slice=slice_message(org, stored), raw=stored.raw or b"")

    async def SetWriteFence(
        self, request: pb.SetWriteFenceRequest, context: ServicerContext[Any, Any]
    ) -> pb.SetWriteFenceResponse:
        org = require_org(request.parent)
        fence, version = await self._entries.set_fence(
            org, request.scope, epoch=request.epoch, closed=request.closed
        )
        return pb.SetWriteFenceResponse(
            fence=_fence(fence), write_token=encode_write_token(org, version)
        )

    async def GetWriteFence(
        self, request: pb.GetWriteFenceRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetWriteFenceResponse:
        org = require_org(request.parent)
        fence = await self._entries.get_fence(org, request.scope)
        return pb.GetWriteFenceResponse(fence=_fence(fence))


async def _messages(
    first: pb.IngestEntriesRequest, following: AsyncIterator[pb.IngestEntriesRequest]
) -> AsyncIterator[StreamMessage]:
    message: pb.IngestEntriesRequest | None = first
    while message is not None:
        if message.parent:
            require_org(message.parent)
        if message.stream_id and message.stream_id != first.stream_id:
            raise InvalidFieldsError.of(
                "stream_id", "stays the same within a stream", rule="stream_id"
            )
        yield StreamMessage(
            sequence=message.sequence,
            action=_action(message),
            context=_write_context(message),
            checkpoint=message.checkpoint or None,
        )
        message = await anext(following, None)


def _write_context(
    request: pb.BatchUpsertEntriesRequest | pb.IngestEntriesRequest,
) -> WriteContext:
    return WriteContext(
        origin=request.origin,
        fence_scope=request.fence_scope,
        fencing_epoch=request.fencing_epoch if request.HasField("fencing_epoch") else None,
    )


def _rows(request: pb.BatchUpsertEntriesRequest | pb.IngestEntriesRequest) -> Rows:
    if request.HasField("arrow"):
        data = request.arrow
        return Rows(lambda: read_arrow(data))
    entries = request.rows.entries
    return Rows(lambda: batch_of_entries(entries), typed_count=len(entries))


def _action(message: pb.IngestEntriesRequest) -> Action:
    match message.WhichOneof("action"):
        case "open_slice":
            opening = message.open_slice
            return OpenSliceAction(
                scope_of(opening.scope), lineage_of(opening.lineage), opening.final
            )
        case "commit_slice":
            return CommitSliceAction(message.commit_slice.raw)
        case "abort_slice":
            return AbortSliceAction(message.abort_slice.reason)
        case "delete_arrow":
            data = message.delete_arrow
            return DeleteAction(lambda: read_arrow(data, field="delete_arrow"))
        case _:
            return _rows(message)


def _acknowledgement(org: str, done: Acknowledgement) -> pb.IngestEntriesResponse:
    response = pb.IngestEntriesResponse(
        sequence=done.sequence,
        upserted_count=done.counts.upserted,
        unchanged_count=done.counts.unchanged,
        write_token=encode_write_token(org, done.version),
        duplicate=done.duplicate,
        slice="" if done.slice is None else SLICE_NAME.format(org=org, slice=done.slice.hex),
        vanished_count=done.vanished,
    )
    add_item_errors(response.item_errors, done.errors)
    return response


def _fence(fence: WriteFence) -> pb.WriteFence:
    return pb.WriteFence(
        scope=fence.scope,
        epoch=fence.epoch,
        closed=fence.closed,
        update_time=timestamp(fence.update_time),
    )
