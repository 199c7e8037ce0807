"""Artifacts and notes against a real Postgres: versions, fences, feeds, digests, purges."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Sequence
from random import Random
from typing import Any, Final
from uuid import uuid4

import grpc
import pyarrow as pa
import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from tests.e2e.memory.conftest import ClientFactory
from tests.inprocess.kit.statuses import Refusal, refusal_of

from liftos.memory.v1 import artifact_pb2, slice_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.structs import plain
from liftos_mapping.record_digests import artifact_hash, note_hash
from liftos_memory.domain.write_token import decode_write_token


def _parquet() -> bytes:
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table({"weight": [0.25, 0.75]}), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


_PARQUET: Final = _parquet()
_ARTIFACTS: Final = pb.RECORD_COLLECTION_ARTIFACTS
_NOTES: Final = pb.RECORD_COLLECTION_NOTES


def _struct(values: dict[str, Any] | None) -> Struct | None:
    if values is None:
        return None
    struct = Struct()
    struct.update(values)
    return struct


def _artifact(
    org: str,
    artifact_id: str,
    body: dict[str, Any] | None = None,
    *,
    content: bytes = b"",
    scope: str = "causal",
    kind: artifact_pb2.ArtifactKind.ValueType = artifact_pb2.ARTIFACT_KIND_MODEL,
    display_name: str = "",
) -> artifact_pb2.Artifact:
    return artifact_pb2.Artifact(
        name=f"orgs/{org}/artifacts/{artifact_id}",
        kind=kind,
        scope=scope,
        display_name=display_name,
        body=_struct(body),
        content=content,
    )


def _note(
    org: str,
    note_id: str,
    text: str,
    *,
    scope: str = "causal",
    title: str = "",
    labels: Sequence[str] = (),
    attributes: dict[str, Any] | None = None,
) -> artifact_pb2.Note:
    return artifact_pb2.Note(
        name=f"orgs/{org}/notes/{note_id}",
        scope=scope,
        title=title,
        text=text,
        labels=labels,
        attributes=_struct(attributes),
    )


async def _put_artifacts(
    client: Any, org: str, *artifacts: artifact_pb2.Artifact, **fields: Any
) -> pb.BatchUpsertArtifactsResponse:
    answer: pb.BatchUpsertArtifactsResponse = await client.BatchUpsertArtifacts(
        pb.BatchUpsertArtifactsRequest(parent=f"orgs/{org}", artifacts=artifacts, **fields)
    )
    return answer


async def _put_notes(
    client: Any, org: str, *notes: artifact_pb2.Note, **fields: Any
) -> pb.BatchUpsertNotesResponse:
    answer: pb.BatchUpsertNotesResponse = await client.BatchUpsertNotes(
        pb.BatchUpsertNotesRequest(parent=f"orgs/{org}", notes=notes, **fields)
    )
    return answer


async def _get_artifact(client: Any, name: str, version: int = 0) -> artifact_pb2.Artifact:
    answer = await client.GetArtifact(pb.GetArtifactRequest(name=name, version=version))
    artifact: artifact_pb2.Artifact = answer.artifact
    return artifact


async def _refusal(call: Awaitable[object]) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


async def _watch_through(
    client: Any,
    org: str,
    collection: pb.RecordCollection.ValueType,
    record: str,
    *,
    scope: str = "",
    random: Random | None = None,
) -> list[pb.RecordChange]:
    """Return all changes from the beginning through the first of a record.

    With `random` the call ends now and then, and another one goes on from its last token.
    """
    changes: list[pb.RecordChange] = []
    token = "begin"
    while True:
        call = client.WatchRecords(
            pb.WatchRecordsRequest(
                parent=f"orgs/{org}", collection=collection, scope=scope, resume_token=token
            )
        )
        try:
            async for answer in call:
                changes += answer.changes
                token = answer.resume_token
                if any(change.record == record for change in answer.changes):
                    return changes
                if random is not None and random.random() < 0.5:
                    break
        finally:
            call.cancel()


async def test_versions_of_an_artifact(memory_client: ClientFactory, org: str) -> None:
    """A change makes a version, the same contents do not, and every version stays readable."""
    client = memory_client(org)
    body = {"weights": [0.5, 1, 1e30, None, True], "näme": {"ü": "x"}, "id": 12345678}
    first = _artifact(org, "model:1", body, content=b"\0\1", display_name="Model")
    second = _artifact(org, "model:1", body, content=b"\0\2", display_name="Model")
    written = await _put_artifacts(client, org, first, origin="one")
    assert (written.upserted_count, written.unchanged_count) == (1, 0)
    written = await _put_artifacts(client, org, first, origin="again")
    assert (written.upserted_count, written.unchanged_count) == (0, 1)
    await _put_artifacts(client, org, second, origin="two")

    newest = await _get_artifact(client, first.name)
    oldest = await _get_artifact(client, first.name, version=1)
    assert (oldest.version, oldest.origin, oldest.content) == (1, "one", b"\0\1")
    assert (newest.version, newest.origin, newest.content) == (2, "two", b"\0\2")
    assert newest.body == oldest.body == first.body
    assert newest.create_time == oldest.create_time
    assert newest.update_time.ToNanoseconds() > oldest.update_time.ToNanoseconds()
    assert newest.etag != oldest.etag
    refusal = await _refusal(_get_artifact(client, first.name, version=3))
    assert refusal.code is grpc.StatusCode.NOT_FOUND

    listed: list[artifact_pb2.Artifact] = []
    token = ""
    while True:
        page = await client.ListArtifactVersions(
            pb.ListArtifactVersionsRequest(name=first.name, page_size=1, page_token=token)
        )
        listed += page.artifacts
        token = page.next_page_token
        if not token:
            break
    for artifact in (newest, oldest):
        artifact.ClearField("content")
    assert listed == [newest, oldest]


async def test_the_digest_of_an_artifact(memory_client: ClientFactory, org: str) -> None:
    """Its sha256 is taken over the canonical JSON of its body, a NUL and its content."""
    client = memory_client(org)
    body = {"b": [1, 2.5], "a": "ü"}
    await _put_artifacts(client, org, _artifact(org, "x", body, content=b"bytes"))
    artifact = await _get_artifact(client, f"orgs/{org}/artifacts/x")
    canonical = '{"a":"ü","b":[1,2.5]}'.encode()
    assert artifact.sha256 == hashlib.sha256(canonical + b"\0bytes").hexdigest()


@pytest.mark.parametrize("content", [b"junk!", b"PAR1PAR1", _PARQUET[:-1], _PARQUET[1:]])
async def test_a_table_is_parquet(memory_client: ClientFactory, org: str, content: bytes) -> None:
    """What cannot be read as Parquet is refused by its place, and nothing of the batch is kept."""
    client = memory_client(org)
    table = artifact_pb2.ARTIFACT_KIND_TABLE
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _put_artifacts(
            client,
            org,
            _artifact(org, "model", content=content),
            _artifact(org, "table", content=content, kind=table),
        )
    refusal = refusal_of(caught.value)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [field for field, _ in refusal.violations] == ["artifacts[1].content"]
    listed = await client.ListArtifacts(pb.ListArtifactsRequest(parent=f"orgs/{org}"))
    assert not listed.artifacts
    await _put_artifacts(client, org, _artifact(org, "table", content=_PARQUET, kind=table))
    kept = await _get_artifact(client, f"orgs/{org}/artifacts/table")
    assert kept.content == _PARQUET


async def test_lists_filter_and_page(memory_client: ClientFactory, org: str) -> None:
    """Newest versions come by name, without content, as the filter and the page ask."""
    client = memory_client(org)
    kinds = (artifact_pb2.ARTIFACT_KIND_MODEL, artifact_pb2.ARTIFACT_KIND_TABLE)
    await _put_artifacts(
        client,
        org,
        *(
            _artifact(
                org, f"a{n}", {"n": n}, content=_PARQUET, kind=kinds[n % 2], display_name=f"D{n}"
            )
            for n in range(10)
        ),
        origin="load",
    )
    await _put_artifacts(client, org, _artifact(org, "a3", {"n": -3}, kind=kinds[1]))

    async def ids(filter_: str, page_size: int = 4) -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            page = await client.ListArtifacts(
                pb.ListArtifactsRequest(
                    parent=f"orgs/{org}", filter=filter_, page_size=page_size, page_token=token
                )
            )
            assert not any(artifact.content for artifact in page.artifacts)
            assert len(page.artifacts) <= page_size
            found += [artifact.name.rsplit("/", 1)[1] for artifact in page.artifacts]
            token = page.next_page_token
            if not token:
                return found

    assert await ids("") == [f"a{n}" for n in range(10)]
    assert await ids("kind = TABLE") == ["a1", "a3", "a5", "a7", "a9"]
    assert await ids('kind = TABLE AND origin = "load"') == ["a1", "a5", "a7", "a9"]
    assert await ids("version > 1") == ["a3"]
    assert await ids('display_name:"D4*"', page_size=1_000) == ["a4"]
    assert await ids('scope = "other"') == []
    refusal = await _refusal(
        client.ListArtifacts(pb.ListArtifactsRequest(parent=f"orgs/{org}", filter="title = x"))
    )
    assert [field for field, _ in refusal.violations] == ["filter"]


async def test_pages_of_large_bodies(memory_client: ClientFactory, org: str) -> None:
    """A page ends early rather than outgrow a message."""
    client = memory_client(org)
    text = "x" * 1_000_000
    for half in range(2):
        await _put_artifacts(
            client, org, *(_artifact(org, f"a{half}{n}", {"text": text}) for n in range(6))
        )
    token, found = "", 0
    while True:
        page = await client.ListArtifacts(
            pb.ListArtifactsRequest(parent=f"orgs/{org}", page_token=token)
        )
        assert page.ByteSize() < 8_000_000
        found += len(page.artifacts)
        token = page.next_page_token
        if not token:
            break
    assert found == 12


async def test_notes(memory_client: ClientFactory, org: str) -> None:
    """A note keeps its text, labels and attributes; each of them makes a version."""
    client = memory_client(org)
    steps = [
        _note(org, "n", "text"),
        _note(org, "n", "other text"),
        _note(org, "n", "other text", labels=["a b", 'q"uote', "NULL"]),
        _note(org, "n", "other text", labels=["a b", 'q"uote', "NULL"], attributes={"k": 1}),
        _note(org, "n", "other text", labels=["a b"], attributes={"k": 1}, title="T"),
        _note(org, "n", "other text", labels=["a b"], title="T", scope="else"),
    ]
    for step in steps:
        for expected in (1, 0):
            assert (await _put_notes(client, org, step)).upserted_count == expected
    page = await client.ListNoteVersions(pb.ListNoteVersionsRequest(name=steps[0].name))
    assert [note.version for note in page.notes] == [6, 5, 4, 3, 2, 1]
    for step, note in zip(reversed(steps), page.notes, strict=True):
        kept = artifact_pb2.Note()
        kept.CopyFrom(note)
        for field in ("version", "origin", "create_time", "update_time", "etag"):
            kept.ClearField(field)
        assert kept == step
    newest = await client.GetNote(pb.GetNoteRequest(name=steps[0].name))
    assert newest.note == page.notes[0]
    found = await client.ListNotes(
        pb.ListNotesRequest(parent=f"orgs/{org}", filter='title = "T" AND scope = "else"')
    )
    assert list(found.notes) == [newest.note]


@pytest.mark.parametrize(
    ("fields", "violated"),
    [
        ({"artifacts": [{"body": {"x": "y" * 1_048_600}}]}, ["artifacts[0].body"]),
        ({"artifacts": [{}, {"body": {"x": "\0"}}]}, ["artifacts[1].body"]),
        ({"artifacts": [{"body": {"x": [{"\0": 1}]}}]}, ["artifacts[0].body"]),
        ({"artifacts": [{"body": {"x": float("nan")}}]}, ["artifacts[0].body"]),
        ({"artifacts": [{"body": {"x": [float("inf")]}}]}, ["artifacts[0].body"]),
        ({"artifacts": [{"display_name": "a\0"}]}, ["artifacts[0].display_name"]),
        ({"artifacts": [{"id": "a"}, {"id": "b"}, {"id": "a"}]}, ["artifacts[2].name"]),
        ({"artifacts": [{}], "checkpoint": b"x"}, ["checkpoint"]),
        ({"artifacts": [{}], "origin": "\0"}, ["origin"]),
    ],
)
async def test_artifacts_that_break_rules(
    memory_client: ClientFactory, org: str, fields: dict[str, Any], violated: list[str]
) -> None:
    """What single-field rules cannot say is refused by field, and nothing is written."""
    client = memory_client(org)
    given_artifacts = fields.pop("artifacts")
    artifacts = [
        _artifact(org, each.pop("id", f"a{index}"), **each)
        for index, each in enumerate(given_artifacts)
    ]
    refusal = await _refusal(_put_artifacts(client, org, *artifacts, **fields))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [field for field, _ in refusal.violations] == violated
    page = await client.ListArtifacts(pb.ListArtifactsRequest(parent=f"orgs/{org}"))
    assert not page.artifacts


async def test_notes_that_break_rules(memory_client: ClientFactory, org: str) -> None:
    """All violations of a batch come at once."""
    client = memory_client(org)
    refusal = await _refusal(
        _put_notes(
            client,
            org,
            _note(org, "a", "text"),
            _note(org, "a", "text", attributes={"x": "y" * 65_536}),
            _note(org, "b", "text", attributes={"x": "\0", "y": float("-inf")}),
        )
    )
    assert sorted(field for field, _ in refusal.violations) == [
        "notes[1].attributes",
        "notes[1].name",
        "notes[2].attributes",
        "notes[2].attributes",
    ]
    for note, field in (
        (_note(org, "a", "text\0"), "notes[0].text"),
        (_note(org, "a", "text", labels=["\0"]), "notes[0].labels[0]"),
        (_note(org, "a", "text", title="\0"), "notes[0].title"),
    ):
        refusal = await _refusal(_put_notes(client, org, note))
        assert [violated for violated, _ in refusal.violations] == [field]


async def test_names_of_another_org(memory_client: ClientFactory, org: str) -> None:
    """A batch cannot reach into another org."""
    refusal = await _refusal(_put_notes(memory_client(org), org, _note("other", "a", "text")))
    assert refusal.reason == "ERROR_REASON_ORG_MISMATCH"
    assert refusal.metadata["field"] == "notes.name"
    assert (
        await _refusal(_get_artifact(memory_client(org), "orgs/other/artifacts/a"))
    ).code is grpc.StatusCode.PERMISSION_DENIED


async def test_repeated_requests(memory_client: ClientFactory, org: str) -> None:
    """The same request_id gets the first answer; another payload under it is refused."""
    client = memory_client(org)
    request_id = str(uuid4())
    first = await _put_artifacts(client, org, _artifact(org, "a", {"n": 1}), request_id=request_id)
    await _put_artifacts(client, org, _artifact(org, "a", {"n": 2}))
    again = await _put_artifacts(client, org, _artifact(org, "a", {"n": 1}), request_id=request_id)
    assert again == first
    assert (await _get_artifact(client, f"orgs/{org}/artifacts/a")).version == 2
    refusal = await _refusal(
        _put_artifacts(client, org, _artifact(org, "a", {"n": 3}), request_id=request_id)
    )
    assert refusal.reason == "ERROR_REASON_REQUEST_ID_REUSED"


async def test_etags_keep_writers_from_overwriting_each_other(
    memory_client: ClientFactory, org: str
) -> None:
    """Of many who read the same version, one writes; of many who make a record, one does."""
    client = memory_client(org)
    name = f"orgs/{org}/artifacts/counter"

    async def put(count: int, etag: str) -> bool:
        artifact = _artifact(org, "counter", {"count": count})
        artifact.etag = etag
        other = _artifact(org, f"beside-{uuid4()}", {"count": count})
        try:
            await _put_artifacts(client, org, artifact, other)
        except grpc.aio.AioRpcError as error:
            refusal = refusal_of(error)
            assert refusal.code is grpc.StatusCode.ABORTED
            assert refusal.reason == "ERROR_REASON_ETAG_MISMATCH"
            assert refusal.metadata["resource_name"] == name
            return False
        return True

    assert sum(await asyncio.gather(*(put(number, "0") for number in range(8)))) == 1
    for expected_version in (2, 3):
        etag = (await _get_artifact(client, name)).etag
        written = await asyncio.gather(
            *(put(100 * expected_version + number, etag) for number in range(8))
        )
        assert sum(written) == 1
        assert (await _get_artifact(client, name)).version == expected_version
    page = await client.ListArtifacts(pb.ListArtifactsRequest(parent=f"orgs/{org}"))
    assert len(page.artifacts) == 1 + 3, "what came with a refused one was not written"
    kept = await _get_artifact(client, name)
    same = _artifact(org, "counter", {"count": kept.body["count"]})
    same.etag = kept.etag
    assert (await _put_artifacts(client, org, same)).unchanged_count == 1
    await _put_artifacts(client, org, _artifact(org, "counter", {"count": -1}), origin="last")
    kept = await _get_artifact(client, name)
    await client.PurgeRecords(
        pb.PurgeRecordsRequest(
            parent=f"orgs/{org}",
            collection=_ARTIFACTS,
            origin="last",
            force=True,
            request_id=str(uuid4()),
        )
    )
    assert not await put(1, kept.etag), "it was read before it was purged"
    assert await put(1, "0")


async def test_checkpoints_and_fences(memory_client: ClientFactory, org: str) -> None:
    """A checkpoint is kept with the records of its scope, and an old epoch writes neither."""
    client = memory_client(org)
    scope = "migration:notes"

    async def put(text: str, epoch: int, checkpoint: bytes) -> pb.BatchUpsertNotesResponse:
        return await _put_notes(
            client,
            org,
            _note(org, "a", text),
            fence_scope=scope,
            fencing_epoch=epoch,
            checkpoint=checkpoint,
        )

    async def position() -> pb.GetStreamPositionResponse:
        found: pb.GetStreamPositionResponse = await client.GetStreamPosition(
            pb.GetStreamPositionRequest(parent=f"orgs/{org}", stream_id=scope)
        )
        return found

    assert (await _refusal(position())).code is grpc.StatusCode.NOT_FOUND
    await put("one", 3, b"first")
    await put("two", 4, b"second")
    written = await put("three", 4, b"")
    found = await position()
    assert (found.last_sequence, found.checkpoint, found.fencing_epoch) == (0, b"second", 4)
    assert found.write_token == written.write_token

    refusal = await _refusal(put("late", 3, b"late"))
    assert refusal.reason == "ERROR_REASON_EPOCH_FENCED"
    await client.SetWriteFence(
        pb.SetWriteFenceRequest(parent=f"orgs/{org}", scope="*", epoch=1, closed=True)
    )
    refusal = await _refusal(_put_artifacts(client, org, _artifact(org, "a")))
    assert refusal.reason == "ERROR_REASON_FENCE_CLOSED"
    assert (await position()).checkpoint == b"second"
    note = await client.GetNote(pb.GetNoteRequest(name=f"orgs/{org}/notes/a"))
    assert note.note.text == "three"


async def test_purge(memory_client: ClientFactory, org: str) -> None:
    """A purge counts, then deletes, what an origin wrote last; versions stay and numbers go on."""
    client = memory_client(org)
    await _put_notes(client, org, _note(org, "a", "1"), _note(org, "b", "1"), origin="step")
    await _put_notes(client, org, _note(org, "b", "2"), origin="person")
    await _put_artifacts(client, org, _artifact(org, "a"), origin="step")

    async def purge(force: bool, request_id: str) -> pb.PurgeRecordsResponse:
        answer: pb.PurgeRecordsResponse = await client.PurgeRecords(
            pb.PurgeRecordsRequest(
                parent=f"orgs/{org}",
                collection=_NOTES,
                origin="step",
                force=force,
                request_id=request_id,
            )
        )
        return answer

    counted = await purge(False, str(uuid4()))
    request_id = str(uuid4())
    purged = await purge(True, request_id)
    assert await purge(True, request_id) == purged
    for answer in (counted, purged):
        assert answer.purge_count == 1
        assert list(answer.sample_names) == [f"orgs/{org}/notes/a"]
    assert counted.write_token != purged.write_token
    name = f"orgs/{org}/notes/a"
    refusal = await _refusal(client.GetNote(pb.GetNoteRequest(name=name)))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    old = await client.GetNote(pb.GetNoteRequest(name=name, version=1))
    assert old.note.text == "1"
    await _put_notes(client, org, _note(org, "a", "3"))
    versions = await client.ListNoteVersions(pb.ListNoteVersionsRequest(name=name))
    assert [(note.version, note.text) for note in versions.notes] == [(2, "3"), (1, "1")]
    assert (await _get_artifact(client, f"orgs/{org}/artifacts/a")).version == 1


async def test_watch_of_a_scope(memory_client: ClientFactory, org: str) -> None:
    """A record that enters or leaves the scope is told; artifacts come without content."""
    client = memory_client(org)
    for number, scope in enumerate(["one", "two", "two", "one"]):
        await _put_artifacts(
            client, org, _artifact(org, "a", {"n": number}, scope=scope, content=b"x")
        )
    await _put_artifacts(client, org, _artifact(org, "end", scope="one"))
    changes = await _watch_through(
        client, org, _ARTIFACTS, f"orgs/{org}/artifacts/end", scope="one"
    )
    told = [(c.artifact_before.version, c.artifact_after.version) for c in changes]
    assert told == [(0, 1), (1, 2), (3, 4), (0, 1)]
    assert not any(c.artifact_before.content or c.artifact_after.content for c in changes)


_operations = st.lists(
    st.one_of(
        st.lists(
            st.tuples(st.sampled_from("abc"), st.sampled_from(["1", "2"])),
            min_size=1,
            max_size=3,
            unique_by=lambda item: item[0],
        ),
        st.none(),
    ),
    min_size=1,
    max_size=6,
)


@given(first=_operations, second=_operations, seed=st.integers(0, 1_000))
@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_replaying_changes_gives_the_notes(
    memory_client: ClientFactory,
    first: Sequence[Sequence[tuple[str, str]] | None],
    second: Sequence[Sequence[tuple[str, str]] | None],
    seed: int,
) -> None:
    """With two writers and a watch that breaks off anywhere, nothing is lost or doubled."""
    org = f"org-{uuid4().hex[:12]}"
    client = memory_client(org)

    async def write(writer: str, operations: Sequence[Sequence[tuple[str, str]] | None]) -> None:
        for operation in operations:
            if operation is None:
                await client.PurgeRecords(
                    pb.PurgeRecordsRequest(
                        parent=f"orgs/{org}",
                        collection=_NOTES,
                        origin=writer,
                        force=True,
                        request_id=str(uuid4()),
                    )
                )
            else:
                notes = [_note(org, note_id, text) for note_id, text in operation]
                await _put_notes(client, org, *notes, origin=writer)

    end = f"orgs/{org}/notes/end"
    watching = asyncio.create_task(_watch_through(client, org, _NOTES, end, random=Random(seed)))
    await asyncio.gather(write("first", first), write("second", second))
    await _put_notes(client, org, _note(org, "end", "end"))
    table: dict[str, artifact_pb2.Note] = {}
    last = (0, "")
    for change in await watching:
        place = (decode_write_token(org, change.write_token, field="write_token"), change.record)
        assert place > last
        last = place
        before = change.note_before if change.HasField("note_before") else None
        assert before == table.pop(change.record, None)
        if change.HasField("note_after"):
            table[change.record] = change.note_after
        else:
            assert change.kind == slice_pb2.CHANGE_KIND_DELETED
    page = await client.ListNotes(pb.ListNotesRequest(parent=f"orgs/{org}", page_size=1_000))
    assert table == {note.name: note for note in page.notes}


def _label_text(label: str) -> str:
    """Write an element of an array as PostgreSQL does."""
    plain = label and label.upper() != "NULL" and not any(c in ' {},"\\\t\n\r\v\f' for c in label)
    escaped = label.replace("\\", "\\\\").replace('"', '\\"')
    return label if plain else f'"{escaped}"'


def _note_hash(note: artifact_pb2.Note) -> bytes:
    """Hash a note as the contract says, from what a client reads; integers only in attributes."""
    attributes = b""
    if note.HasField("attributes"):
        values = {name: int(value.number_value) for name, value in note.attributes.fields.items()}
        attributes = json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
    sha256 = hashlib.sha256(attributes + b"\0" + note.text.encode()).hexdigest()
    labels = "{" + ",".join(map(_label_text, note.labels)) + "}"
    texts = [note.name.rsplit("/", 1)[1], note.scope, note.title, labels, sha256]
    return hashlib.md5("\x1f".join(texts).encode()).digest()


async def test_digests_of_notes(memory_client: ClientFactory, org: str) -> None:
    """A client computes the same digest, of all and of a scope; hashes come page by page."""
    client = memory_client(org)
    await _put_notes(
        client,
        org,
        *(
            _note(
                org,
                f"n{number}",
                f"text {number}",
                scope=("one", "two")[number % 2],
                title="ü" * (number % 3),
                labels=["a b", 'q"uote\\', "NULL", "plain", "{x,y}"][: number % 6],
                attributes={"b": number, "a": 1} if number % 2 else None,
            )
            for number in range(40)
        ),
    )
    page = await client.ListNotes(pb.ListNotesRequest(parent=f"orgs/{org}", filter='scope = "one"'))
    expected: dict[int, tuple[int, int, int]] = {}
    hashes = {}
    for note in page.notes:
        hash_ = hashes[note.name] = _note_hash(note)
        name_md5 = hashlib.md5(note.name.rsplit("/", 1)[1].encode()).digest()
        bucket = int.from_bytes(name_md5[:4]) % 8
        count, xor, total = expected.get(bucket, (0, 0, 0))
        total = (total + int.from_bytes(hash_[8:])) % 2**64
        expected[bucket] = (count + 1, xor ^ int.from_bytes(hash_[:8]), total)
    request = pb.DigestRecordsRequest(
        parent=f"orgs/{org}", collection=_NOTES, scope="one", bucket_count=8
    )
    answer = await client.DigestRecords(request)
    assert {b.bucket: (b.row_count, b.hash_xor, b.hash_sum) for b in answer.buckets} == expected
    request.buckets.extend(range(8))
    request.page_size = 7
    found: dict[str, bytes] = {}
    while True:
        answer = await client.DigestRecords(request)
        found |= {row.name: row.hash for row in answer.rows}
        request.page_token = answer.next_page_token
        if not request.page_token:
            break
    assert found == hashes
    assert found == {
        note.name: note_hash(
            note.name.rpartition("/")[2],
            scope=note.scope,
            title=note.title,
            labels=note.labels,
            attributes=plain(note.attributes) if note.HasField("attributes") else None,
            text=note.text,
        )
        for note in page.notes
    }


async def test_digests_tell_artifacts_apart(memory_client: ClientFactory, org: str) -> None:
    """Every part of an artifact that its hash names changes the digest, and undoing it restores."""
    client = memory_client(org)

    async def digest() -> tuple[int, int]:
        answer = await client.DigestRecords(
            pb.DigestRecordsRequest(parent=f"orgs/{org}", collection=_ARTIFACTS, bucket_count=1)
        )
        (bucket,) = answer.buckets
        return bucket.hash_xor, bucket.hash_sum

    base = _artifact(org, "a", {"n": 1})
    seen = set()
    for other in (
        base,
        _artifact(org, "a", {"n": 2}),
        _artifact(org, "a", {"n": 1}, scope="else"),
        _artifact(org, "a", {"n": 1}, kind=artifact_pb2.ARTIFACT_KIND_TABLE),
        _artifact(org, "a", {"n": 1}, display_name="D"),
        _artifact(org, "a", {"n": 1}, content=b"x"),
        _artifact(org, "a"),
    ):
        await _put_artifacts(client, org, other)
        seen.add(await digest())
        computed = artifact_hash(
            "a",
            scope=other.scope,
            kind=other.kind,
            display_name=other.display_name,
            body=plain(other.body) if other.HasField("body") else None,
            content=other.content,
        )
        assert await digest() == (
            int.from_bytes(computed[:8]),
            int.from_bytes(computed[8:]),
        )
    assert len(seen) == 7
    await _put_artifacts(client, org, base)
    assert await digest() in seen
