"""Artifacts and notes: what modules keep beside their entries."""

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias
from uuid import uuid4

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1.artifact_pb2 import Artifact, Note
from liftos_client.arguments import enum_value, invalid_argument, text_list
from liftos_client.memory.base import MemoryCalls
from liftos_client.pages import Pages

if TYPE_CHECKING:
    Collection: TypeAlias = pb.RecordCollection.ValueType | str
else:
    # The generated code names this type for type checkers only.
    Collection = int | str


_MAXIMUM_CONTENT_BYTES: Final = 8 * 1024 * 1024


class RecordMethods(MemoryCalls):
    """Methods about artifacts and notes. A collection is "ARTIFACTS" or "NOTES"."""

    async def batch_upsert_artifacts(
        self,
        artifacts: Sequence[Artifact],
        *,
        origin: str = "",
        request_id: str = "",
        fence_scope: str = "",
        fencing_epoch: int | None = None,
        checkpoint: bytes = b"",
        timeout_seconds: float | None = None,
    ) -> pb.BatchUpsertArtifactsResponse:
        """Write 1 to 100 artifacts; one with the same contents makes no new version.

        Args:
            artifacts: Each name once.
            origin: What writes; purging by it undoes the write.
            request_id: UUID that makes a repeated request answer the same for 24 h.
            fence_scope: Which fence and which position the write belongs to.
            fencing_epoch: The writer's epoch.
            checkpoint: Kept in the same transaction; `get_stream_position` gives it back.
            timeout_seconds: Deadline.

        Raises:
            FieldInvalidError: Content has more than 8 MiB; nothing was sent.
            FenceClosedError: Writes of the scope are closed.
            EpochFencedError: A newer writer has taken over.
        """
        for index, artifact in enumerate(artifacts):
            if len(artifact.content) > _MAXIMUM_CONTENT_BYTES:
                raise invalid_argument(
                    f"artifacts[{index}].content",
                    f"has {len(artifact.content):,} bytes; at most 8 MiB"
                    f" ({_MAXIMUM_CONTENT_BYTES:,}) go into one",
                )
        request = pb.BatchUpsertArtifactsRequest(
            parent=self._parent,
            artifacts=artifacts,
            origin=origin,
            request_id=request_id,
            fence_scope=fence_scope,
            fencing_epoch=fencing_epoch,
            checkpoint=checkpoint,
        )
        return await self._calls.unary(self._stub.BatchUpsertArtifacts, request, timeout_seconds)

    async def get_artifact(
        self, name: str, *, version: int = 0, timeout_seconds: float | None = None
    ) -> Artifact:
        """Read one artifact; version 0 is the newest.

        Raises:
            NotFoundError: There is none.
        """
        request = pb.GetArtifactRequest(name=self._name("artifacts", name), version=version)
        return (await self._calls.unary(self._stub.GetArtifact, request, timeout_seconds)).artifact

    def list_artifacts(
        self,
        *,
        filter: str = "",  # noqa: A002  # the contract's word
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[Artifact, pb.ListArtifactsResponse]:
        """List the newest versions, without content, by name."""
        return self._pages(
            self._stub.ListArtifacts,
            pb.ListArtifactsRequest(parent=self._parent, filter=filter, page_size=page_size),
            lambda page: page.artifacts,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    def list_artifact_versions(
        self,
        name: str,
        *,
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[Artifact, pb.ListArtifactVersionsResponse]:
        """List the versions of one artifact, newest first, without content."""
        return self._pages(
            self._stub.ListArtifactVersions,
            pb.ListArtifactVersionsRequest(name=self._name("artifacts", name), page_size=page_size),
            lambda page: page.artifacts,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def batch_upsert_notes(
        self,
        notes: Sequence[Note],
        *,
        origin: str = "",
        request_id: str = "",
        fence_scope: str = "",
        fencing_epoch: int | None = None,
        checkpoint: bytes = b"",
        timeout_seconds: float | None = None,
    ) -> pb.BatchUpsertNotesResponse:
        """Write 1 to 500 notes; see `batch_upsert_artifacts`."""
        request = pb.BatchUpsertNotesRequest(
            parent=self._parent,
            notes=notes,
            origin=origin,
            request_id=request_id,
            fence_scope=fence_scope,
            fencing_epoch=fencing_epoch,
            checkpoint=checkpoint,
        )
        return await self._calls.unary(self._stub.BatchUpsertNotes, request, timeout_seconds)

    async def get_note(
        self, name: str, *, version: int = 0, timeout_seconds: float | None = None
    ) -> Note:
        """Read one note; version 0 is the newest.

        Raises:
            NotFoundError: There is none.
        """
        request = pb.GetNoteRequest(name=self._name("notes", name), version=version)
        return (await self._calls.unary(self._stub.GetNote, request, timeout_seconds)).note

    def list_notes(
        self,
        *,
        filter: str = "",  # noqa: A002
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[Note, pb.ListNotesResponse]:
        """List the newest versions, by name."""
        return self._pages(
            self._stub.ListNotes,
            pb.ListNotesRequest(parent=self._parent, filter=filter, page_size=page_size),
            lambda page: page.notes,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    def list_note_versions(
        self,
        name: str,
        *,
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[Note, pb.ListNoteVersionsResponse]:
        """List the versions of one note, newest first."""
        return self._pages(
            self._stub.ListNoteVersions,
            pb.ListNoteVersionsRequest(name=self._name("notes", name), page_size=page_size),
            lambda page: page.notes,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    def watch_records(
        self,
        collection: Collection,
        *,
        scope: str = "",
        resume_token: str = "",
        timeout_seconds: float | None = None,
    ) -> AsyncIterator[pb.WatchRecordsResponse]:
        """Follow changes in commit order; goes on by itself after a lost connection.

        Args:
            collection: "ARTIFACTS" or "NOTES".
            scope: Only records of this scope.
            resume_token: From an earlier answer; empty starts now, "begin" with the oldest kept.
            timeout_seconds: Ends the watch; None lets it run.
        """
        request = pb.WatchRecordsRequest(
            parent=self._parent,
            collection=_collection(collection),
            scope=scope,
            resume_token=resume_token,
        )
        return self._calls.resume(self._stub.WatchRecords, request, timeout_seconds)

    async def digest_records(
        self,
        collection: Collection,
        bucket_count: int,
        *,
        scope: str = "",
        timeout_seconds: float | None = None,
    ) -> pb.DigestRecordsResponse:
        """Sum the record hashes of each bucket, from one snapshot."""
        request = pb.DigestRecordsRequest(
            parent=self._parent,
            collection=_collection(collection),
            scope=scope,
            bucket_count=bucket_count,
        )
        return await self._calls.unary(self._stub.DigestRecords, request, timeout_seconds)

    def list_record_digests(
        self,
        collection: Collection,
        bucket_count: int,
        buckets: Sequence[int],
        *,
        scope: str = "",
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[pb.RowDigest, pb.DigestRecordsResponse]:
        """List the record hashes of chosen buckets: the paged form of `DigestRecords`."""
        request = pb.DigestRecordsRequest(
            parent=self._parent,
            collection=_collection(collection),
            scope=scope,
            bucket_count=bucket_count,
            buckets=buckets,
            page_size=page_size,
        )
        return self._pages(
            self._stub.DigestRecords,
            request,
            lambda page: page.rows,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def batch_delete_records(
        self,
        collection: Collection,
        names: Sequence[str],
        *,
        origin: str = "",
        request_id: str = "",
        fence_scope: str = "",
        fencing_epoch: int | None = None,
        checkpoint: bytes = b"",
        timeout_seconds: float | None = None,
    ) -> pb.BatchDeleteRecordsResponse:
        """Delete 1 to 1,000 records by name; a name that is not there is left out.

        Args:
            collection: "ARTIFACTS" or "NOTES".
            names: Names or ids, each once.
            origin: Only those that it wrote last; empty is whoever wrote them.
            request_id: UUID that makes a repeated request answer the same for 24 h.
            fence_scope: Which fence and which position the write belongs to.
            fencing_epoch: The writer's epoch.
            checkpoint: Kept in the same transaction; `get_stream_position` gives it back.
            timeout_seconds: Deadline.

        Raises:
            FenceClosedError: Writes of the scope are closed.
            EpochFencedError: A newer writer has taken over.
        """
        number = _collection(collection)
        word = "artifacts" if number == pb.RECORD_COLLECTION_ARTIFACTS else "notes"
        request = pb.BatchDeleteRecordsRequest(
            parent=self._parent,
            collection=number,
            names=[self._name(word, name) for name in text_list(names, field="names")],
            origin=origin,
            request_id=request_id,
            fence_scope=fence_scope,
            fencing_epoch=fencing_epoch,
            checkpoint=checkpoint,
        )
        return await self._calls.unary(self._stub.BatchDeleteRecords, request, timeout_seconds)

    async def purge_records(
        self,
        collection: Collection,
        origin: str,
        *,
        force: bool = False,
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> pb.PurgeRecordsResponse:
        """Delete the records that an origin wrote last; count only, unless `force`."""
        request = pb.PurgeRecordsRequest(
            parent=self._parent,
            collection=_collection(collection),
            origin=origin,
            force=force,
            request_id=request_id or str(uuid4()),
        )
        return await self._calls.unary(self._stub.PurgeRecords, request, timeout_seconds)


def _collection(collection: Collection) -> "pb.RecordCollection.ValueType":
    return enum_value(pb.RecordCollection, collection, field="collection")
