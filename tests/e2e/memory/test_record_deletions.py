"""Artifacts and notes that are deleted by name: whose they are, and what is told of it."""

from collections.abc import Awaitable, Sequence
from typing import Any, Final
from uuid import uuid4

import grpc
import pytest
from tests.e2e.memory.conftest import ClientFactory
from tests.inprocess.kit.statuses import Refusal, refusal_of

from liftos.memory.v1 import artifact_pb2, slice_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_client import connect
from liftos_kit.auth import issue_token
from liftos_kit.testing.server import SECRET, RunningServer

_NOTES: Final = pb.RECORD_COLLECTION_NOTES
_ARTIFACTS: Final = pb.RECORD_COLLECTION_ARTIFACTS


def _note(org: str, note_id: str, text: str = "text") -> artifact_pb2.Note:
    return artifact_pb2.Note(name=f"orgs/{org}/notes/{note_id}", scope="causal", text=text)


async def _put(
    client: Any, org: str, *notes: artifact_pb2.Note, origin: str = "step", **fields: Any
) -> pb.BatchUpsertNotesResponse:
    answer: pb.BatchUpsertNotesResponse = await client.BatchUpsertNotes(
        pb.BatchUpsertNotesRequest(parent=f"orgs/{org}", notes=notes, origin=origin, **fields)
    )
    return answer


async def _delete(
    client: Any, org: str, *note_ids: str, **fields: Any
) -> pb.BatchDeleteRecordsResponse:
    given: dict[str, Any] = {
        "parent": f"orgs/{org}",
        "collection": _NOTES,
        "names": [f"orgs/{org}/notes/{note_id}" for note_id in note_ids],
    }
    answer: pb.BatchDeleteRecordsResponse = await client.BatchDeleteRecords(
        pb.BatchDeleteRecordsRequest(**given | fields)
    )
    return answer


async def _refusal(call: Awaitable[object]) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


async def _ids(client: Any, org: str) -> list[str]:
    page = await client.ListNotes(pb.ListNotesRequest(parent=f"orgs/{org}"))
    return [note.name.rpartition("/")[2] for note in page.notes]


async def test_what_an_origin_wrote_is_deleted(memory_client: ClientFactory, org: str) -> None:
    """Notes of other origins stand and are counted; without an origin all go."""
    client = memory_client(org)
    await _put(client, org, *(_note(org, name) for name in "abcd"))
    await _put(client, org, _note(org, "b", "other"), origin="person")
    told = await _delete(client, org, "a", "b", "x", origin="step")
    assert (told.deleted_count, told.kept_count) == (1, 1)
    assert await _ids(client, org) == ["b", "c", "d"]
    again = await _delete(client, org, "a", "b", "x", origin="step")
    assert (again.deleted_count, again.kept_count) == (0, 1)
    assert again.write_token != told.write_token
    whoever = await _delete(client, org, "b", "c")
    assert (whoever.deleted_count, whoever.kept_count) == (2, 0)
    assert await _ids(client, org) == ["d"]


async def test_versions_stay_and_go_on(memory_client: ClientFactory, org: str) -> None:
    """A deletion is a change with the note before it; the note may come back."""
    client = memory_client(org)
    name = f"orgs/{org}/notes/a"
    await _put(client, org, _note(org, "a", "1"), _note(org, "b"))
    await _delete(client, org, "a", origin="step")
    assert (await _refusal(client.GetNote(pb.GetNoteRequest(name=name)))).code is (
        grpc.StatusCode.NOT_FOUND
    )
    old = await client.GetNote(pb.GetNoteRequest(name=name, version=1))
    await _put(client, org, _note(org, "a", "2"))
    listed = await client.ListNoteVersions(pb.ListNoteVersionsRequest(name=name))
    assert [(note.version, note.text) for note in listed.notes] == [(2, "2"), (1, "1")]
    watch = client.WatchRecords(
        pb.WatchRecordsRequest(parent=f"orgs/{org}", collection=_NOTES, resume_token="begin")
    )
    changes: list[pb.RecordChange] = []
    async for answer in watch:
        changes += (change for change in answer.changes if change.record == name)
        if len(changes) == 3:
            break
    watch.cancel()
    assert [change.kind for change in changes] == [
        slice_pb2.CHANGE_KIND_INSERTED,
        slice_pb2.CHANGE_KIND_DELETED,
        slice_pb2.CHANGE_KIND_INSERTED,
    ]
    assert changes[1].note_before == old.note
    assert changes[1].origin == "step"
    assert not changes[1].HasField("note_after")


async def test_fences_checkpoints_and_repeats(memory_client: ClientFactory, org: str) -> None:
    """An old epoch deletes nothing, a checkpoint goes with the deletion, a repeat does nothing."""
    client = memory_client(org)
    fence = {"fence_scope": "migrations/m1"}
    await _put(client, org, *(_note(org, name) for name in "abc"), **fence, fencing_epoch=3)
    late = _delete(client, org, "a", **fence, fencing_epoch=2, checkpoint=b"late")
    assert (await _refusal(late)).reason == "ERROR_REASON_EPOCH_FENCED"
    request: dict[str, Any] = {
        **fence,
        "fencing_epoch": 3,
        "checkpoint": b"here",
        "request_id": str(uuid4()),
    }
    told = await _delete(client, org, "a", **request)
    assert told.deleted_count == 1
    await _put(client, org, _note(org, "a"))
    assert await _delete(client, org, "a", **request) == told
    assert await _ids(client, org) == ["a", "b", "c"]
    other = await _refusal(_delete(client, org, "b", **request))
    assert other.reason == "ERROR_REASON_REQUEST_ID_REUSED"
    position = await client.GetStreamPosition(
        pb.GetStreamPositionRequest(parent=f"orgs/{org}", stream_id="migrations/m1")
    )
    assert (position.checkpoint, position.fencing_epoch) == (b"here", 3)


@pytest.mark.parametrize(
    ("names", "fields", "violated"),
    [
        ([], {}, ["names"]),
        ([f"notes/n{number}" for number in range(1_001)], {}, ["names"]),
        (["notes/a", "notes/a"], {}, ["names"]),
        (["notes/a", "artifacts/a", "artifacts/b"], {}, ["names[1]", "names[2]"]),
        (["notes/a", "entries/a"], {}, ["names[1]"]),
        (["notes/a"], {"collection": 0}, ["collection"]),
        (["notes/a"], {"checkpoint": b"x"}, ["checkpoint"]),
    ],
)
async def test_bad_requests(
    memory_client: ClientFactory,
    org: str,
    names: Sequence[str],
    fields: dict[str, Any],
    violated: list[str],
) -> None:
    """What is wrong is refused by its place, and nothing is deleted."""
    client = memory_client(org)
    await _put(client, org, _note(org, "a"))
    named = [f"orgs/{org}/{name}" for name in names]
    refusal = await _refusal(_delete(client, org, names=named, **fields))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [field for field, _ in refusal.violations] == violated
    assert await _ids(client, org) == ["a"]


async def test_names_of_another_org(memory_client: ClientFactory, org: str) -> None:
    """Nobody deletes what is not theirs, and readers delete nothing."""
    other = f"{org}-other"
    await _put(memory_client(other), other, _note(other, "a"))
    theirs = [f"orgs/{other}/notes/a"]
    refusal = await _refusal(_delete(memory_client(org), org, names=theirs))
    assert refusal.reason == "ERROR_REASON_ORG_MISMATCH"
    refusal = await _refusal(_delete(memory_client(other, "reader"), other, "a"))
    assert refusal.reason == "ERROR_REASON_ROLE_INSUFFICIENT"
    assert await _ids(memory_client(other), other) == ["a"]


async def test_the_client_deletes(memory_server: RunningServer, org: str) -> None:
    """By names or ids, of either collection."""
    token = issue_token(secret=SECRET.encode(), org=org, roles=["writer"], scopes=["memory"])
    async with connect(memory_server.target, token=token) as client:
        memory = client.memory
        await memory.batch_upsert_notes([_note(org, "a"), _note(org, "b")], origin="step")
        await memory.batch_upsert_artifacts(
            [
                artifact_pb2.Artifact(
                    name=f"orgs/{org}/artifacts/a",
                    kind=artifact_pb2.ARTIFACT_KIND_MODEL,
                    scope="causal",
                    content=b"x",
                )
            ]
        )
        told = await memory.batch_delete_records("notes", ["a", f"orgs/{org}/notes/b"])
        assert told.deleted_count == 2
        told = await memory.batch_delete_records("ARTIFACTS", ["a"], origin="step")
        assert (told.deleted_count, told.kept_count) == (0, 1)
        assert not await memory.list_notes().collect()
        assert len(await memory.list_artifacts().collect()) == 1
