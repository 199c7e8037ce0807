"""Artifacts and notes on the wire."""

from typing import Any, TypeVar

from grpc.aio import ServicerContext

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.auth import require_org
from liftos_kit.core.filters import parse_filter
from liftos_kit.core.paging import PageTokens
from liftos_kit.requests import answer_to, page_request, repeatable
from liftos_memory.convert.records import (
    ARTIFACT_NAME,
    NOTE_NAME,
    artifact_of_row,
    note_of_row,
    record_ids_of,
    records_of_artifacts,
    records_of_notes,
)
from liftos_memory.domain.records import RECORD_FILTER_FIELDS, Collection, record_name
from liftos_memory.domain.write_token import encode_write_token
from liftos_memory.ports import WriteContext
from liftos_memory.usecases.records import Records, RecordsDeleted, RecordsPurged, RecordsWritten

_Written = TypeVar("_Written", pb.BatchUpsertArtifactsResponse, pb.BatchUpsertNotesResponse)


class RecordsServicer:
    """Writes and reads artifacts and notes."""

    def __init__(self, *, records: Records, page_tokens: PageTokens) -> None:
        self._records = records
        self._page_tokens = page_tokens

    async def BatchUpsertArtifacts(
        self, request: pb.BatchUpsertArtifactsRequest, context: ServicerContext[Any, Any]
    ) -> pb.BatchUpsertArtifactsResponse:
        org = require_org(request.parent)

        def answer(result: RecordsWritten) -> pb.BatchUpsertArtifactsResponse:
            return _written(org, result, pb.BatchUpsertArtifactsResponse)

        result = await self._records.upsert(
            org,
            Collection.ARTIFACTS,
            records_of_artifacts(request.artifacts),
            _write_context(request),
            checkpoint=request.checkpoint,
            repeatable=repeatable("BatchUpsertArtifacts", request, answer),
        )
        return answer_to(result, answer, pb.BatchUpsertArtifactsResponse)

    async def BatchUpsertNotes(
        self, request: pb.BatchUpsertNotesRequest, context: ServicerContext[Any, Any]
    ) -> pb.BatchUpsertNotesResponse:
        org = require_org(request.parent)

        def answer(result: RecordsWritten) -> pb.BatchUpsertNotesResponse:
            return _written(org, result, pb.BatchUpsertNotesResponse)

        result = await self._records.upsert(
            org,
            Collection.NOTES,
            records_of_notes(request.notes),
            _write_context(request),
            checkpoint=request.checkpoint,
            repeatable=repeatable("BatchUpsertNotes", request, answer),
        )
        return answer_to(result, answer, pb.BatchUpsertNotesResponse)

    async def GetArtifact(
        self, request: pb.GetArtifactRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetArtifactResponse:
        org = require_org(request.name, field="name")
        row = await self._records.get(
            org,
            Collection.ARTIFACTS,
            ARTIFACT_NAME.parse(request.name)["artifact"],
            name=request.name,
            version=request.version,
        )
        return pb.GetArtifactResponse(artifact=artifact_of_row(org, row))

    async def GetNote(
        self, request: pb.GetNoteRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetNoteResponse:
        org = require_org(request.name, field="name")
        row = await self._records.get(
            org,
            Collection.NOTES,
            NOTE_NAME.parse(request.name)["note"],
            name=request.name,
            version=request.version,
        )
        return pb.GetNoteResponse(note=note_of_row(org, row))

    async def ListArtifacts(
        self, request: pb.ListArtifactsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListArtifactsResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        rows, after = await self._records.list_page(
            org,
            Collection.ARTIFACTS,
            where=parse_filter(request.filter, RECORD_FILTER_FIELDS[Collection.ARTIFACTS]),
            after=asked.text_cursor,
            limit=asked.limit,
        )
        return pb.ListArtifactsResponse(
            artifacts=[artifact_of_row(org, row) for row in rows],
            next_page_token=asked.next_token(after),
        )

    async def ListNotes(
        self, request: pb.ListNotesRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListNotesResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        rows, after = await self._records.list_page(
            org,
            Collection.NOTES,
            where=parse_filter(request.filter, RECORD_FILTER_FIELDS[Collection.NOTES]),
            after=asked.text_cursor,
            limit=asked.limit,
        )
        return pb.ListNotesResponse(
            notes=[note_of_row(org, row) for row in rows],
            next_page_token=asked.next_token(after),
        )

    async def ListArtifactVersions(
        self, request: pb.ListArtifactVersionsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListArtifactVersionsResponse:
        org = require_org(request.name, field="name")
        asked = page_request(request, org, self._page_tokens)
        rows, before = await self._records.list_versions(
            org,
            Collection.ARTIFACTS,
            ARTIFACT_NAME.parse(request.name)["artifact"],
            before=asked.number_cursor,
            limit=asked.limit,
        )
        return pb.ListArtifactVersionsResponse(
            artifacts=[artifact_of_row(org, row) for row in rows],
            next_page_token=asked.next_token(before),
        )

    async def ListNoteVersions(
        self, request: pb.ListNoteVersionsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListNoteVersionsResponse:
        org = require_org(request.name, field="name")
        asked = page_request(request, org, self._page_tokens)
        rows, before = await self._records.list_versions(
            org,
            Collection.NOTES,
            NOTE_NAME.parse(request.name)["note"],
            before=asked.number_cursor,
            limit=asked.limit,
        )
        return pb.ListNoteVersionsResponse(
            notes=[note_of_row(org, row) for row in rows],
            next_page_token=asked.next_token(before),
        )

    async def BatchDeleteRecords(
        self, request: pb.BatchDeleteRecordsRequest, context: ServicerContext[Any, Any]
    ) -> pb.BatchDeleteRecordsResponse:
        org = require_org(request.parent)
        collection = Collection(request.collection)

        def answer(result: RecordsDeleted) -> pb.BatchDeleteRecordsResponse:
            return pb.BatchDeleteRecordsResponse(
                deleted_count=result.counts.deleted,
                kept_count=result.counts.kept,
                write_token=encode_write_token(org, result.version),
            )

        result = await self._records.delete(
            org,
            collection,
            record_ids_of(collection, request.names),
            _write_context(request),
            checkpoint=request.checkpoint,
            repeatable=repeatable("BatchDeleteRecords", request, answer),
        )
        return answer_to(result, answer, pb.BatchDeleteRecordsResponse)

    async def PurgeRecords(
        self, request: pb.PurgeRecordsRequest, context: ServicerContext[Any, Any]
    ) -> pb.PurgeRecordsResponse:
        org = require_org(request.parent)
        collection = Collection(request.collection)

        def answer(result: RecordsPurged) -> pb.PurgeRecordsResponse:
            return pb.PurgeRecordsResponse(
                purge_count=result.count,
                sample_names=[
                    record_name(org, collection, record_id) for record_id in result.record_ids
                ],
                write_token=encode_write_token(org, result.version),
            )

        result = await self._records.purge(
            org,
            collection,
            request.origin,
            force=request.force,
            repeatable=repeatable("PurgeRecords", request, answer),
        )
        return answer_to(result, answer, pb.PurgeRecordsResponse)


def _written(org: str, result: RecordsWritten, message: type[_Written]) -> _Written:
    return message(
        upserted_count=result.counts.upserted,
        unchanged_count=result.counts.unchanged,
        write_token=encode_write_token(org, result.version),
    )


def _write_context(
    request: (
        pb.BatchUpsertArtifactsRequest | pb.BatchUpsertNotesRequest | pb.BatchDeleteRecordsRequest
    ),
) -> WriteContext:
    return WriteContext(
        origin=request.origin,
        fence_scope=request.fence_scope,
        fencing_epoch=request.fencing_epoch if request.HasField("fencing_epoch") else None,
    )
