"""Notes and artifacts through search: found, limited to scopes, and gone when they are deleted."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from tests.contract.milvus_server import MilvusServer
from tests.e2e.memory.conftest import ClientFactory
from tests.e2e.memory.daily_clicks import LAST, entries_of, rising, spiked
from tests.e2e.memory.daily_clicks import write as write_clicks
from tests.e2e.memory.entry_keys import delete_entries
from tests.e2e.memory.indexing_harness import (
    Pieces,
    entry,
    monday,
    opened_pieces,
    running_milvus,
    today,
    write,
)
from tests.inprocess.kit.statuses import refusal_of

from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import artifact_pb2, document_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.settings import load
from liftos_kit.testing.server import SECRET
from liftos_local.testing import TestDatabase
from liftos_memory.adapters.postgres.database import schema_files
from liftos_memory.settings import MemorySettings

NEURAL = document_pb2.SEARCH_MODE_NEURAL
LEXICAL = document_pb2.SEARCH_MODE_LEXICAL
NOTE = document_pb2.DOCUMENT_KIND_NOTE
ARTIFACT = document_pb2.DOCUMENT_KIND_ARTIFACT


@pytest.fixture(scope="module")
async def milvus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MilvusServer]:
    """A Milvus of the module's own."""
    async with running_milvus(tmp_path_factory.mktemp("milvus")) as server:
        yield server


@pytest.fixture(scope="module")
def memory_settings(database: TestDatabase, milvus: MilvusServer) -> MemorySettings:
    """Settings over the module's Milvus, without a model."""
    return load(
        MemorySettings,
        {name: value for name, value in database.environment.items() if "OWNER" not in name}
        | {
            "LIFTOS_PORT": "0",
            "LIFTOS_JWT_SECRET": SECRET,
            "LIFTOS_DRAIN_SECONDS": "5",
            "LIFTOS_MILVUS_URL": milvus.url,
            "LIFTOS_EMBEDDER": "hash:",
        },
    )


@pytest.fixture(scope="module")
async def pieces(memory_settings: MemorySettings) -> AsyncIterator[Pieces]:
    """The parts of a worker; the index exists."""
    async with opened_pieces(memory_settings) as opened:
        await opened.index.ensure()
        yield opened


async def _write_notes(client: Any, org: str, *notes: artifact_pb2.Note, origin: str = "") -> Any:
    return await client.BatchUpsertNotes(
        pb.BatchUpsertNotesRequest(parent=f"orgs/{org}", notes=notes, origin=origin)
    )


def _note(org: str, note_id: str, text: str, **fields: Any) -> artifact_pb2.Note:
    given: dict[str, Any] = {"scope": "causal"}
    return artifact_pb2.Note(name=f"orgs/{org}/notes/{note_id}", text=text, **(given | fields))


def _artifact(org: str, artifact_id: str, body: dict[str, Any]) -> artifact_pb2.Artifact:
    struct = Struct()
    struct.update(body)
    return artifact_pb2.Artifact(
        name=f"orgs/{org}/artifacts/{artifact_id}",
        kind=artifact_pb2.ARTIFACT_KIND_MODEL,
        scope="attribution",
        display_name="Spring weights",
        body=struct,
    )


async def _found(client: Any, org: str, query: str, **fields: Any) -> dict[str, Any]:
    request = pb.SearchDocumentsRequest(parent=f"orgs/{org}", query=query, page_size=100, **fields)
    return {hit.document.name: hit for hit in (await client.SearchDocuments(request)).hits}


async def test_notes_and_artifacts_are_found_with_their_scopes(
    pieces: Pieces, memory_client: ClientFactory, org: str
) -> None:
    """They stand beside objects, by meaning and by words, and scope, kind and days limit them."""
    client = memory_client(org)
    await write(client, org, [entry(monday(2), campaign_name="Spring sale")])
    await _write_notes(
        client,
        org,
        _note(org, "n-1", "The spring sale moved spend to search.", title="Weekly review"),
        _note(org, "n-2", "Spring in the other module.", scope="planning"),
    )
    answer = await client.BatchUpsertArtifacts(
        pb.BatchUpsertArtifactsRequest(
            parent=f"orgs/{org}", artifacts=[_artifact(org, "a-1", {"prior": "spring halo"})]
        )
    )
    await pieces.catch_up()
    names = {
        kind: f"orgs/{org}/documents/{kind}" for kind in ("note-n-1", "note-n-2", "artifact-a-1")
    }
    for mode in (NEURAL, LEXICAL):
        consistency = marketing_pb2.Consistency(at_least_as_fresh=answer.write_token)
        hits = await _found(client, org, "spring", mode=mode, consistency=consistency)
        assert names.keys() <= {name.rpartition("/")[2] for name in hits}
        assert len(hits) == 5
        note = hits[names["note-n-1"]]
        assert (note.document.title, note.document.scope) == ("Weekly review", "causal")
        assert note.document.record == f"orgs/{org}/notes/n-1"
        assert note.document.date_range.start_date == today().isoformat()
        assert not note.HasField("metrics")
        assert not note.document.HasField("quality_score")
        for fields, expected in (
            ({"filter": 'scope = "causal"'}, {"note-n-1"}),
            ({"filter": 'scope:"a*"'}, {"artifact-a-1"}),
            ({"kinds": [NOTE]}, {"note-n-1", "note-n-2"}),
            (
                {"kinds": [ARTIFACT, NOTE], "filter": 'NOT scope = "planning"'},
                {"note-n-1", "artifact-a-1"},
            ),
            ({"kinds": [NOTE], "minimum_quality_score": 0.0}, set()),
            ({"kinds": [NOTE], "date_range": _days(monday(3), monday(2))}, set()),
            ({"kinds": [NOTE], "date_range": _days(monday(1), today())}, {"note-n-1", "note-n-2"}),
        ):
            found = await _found(client, org, "spring", mode=mode, **fields)
            assert {name.rpartition("/")[2] for name in found} == expected, fields
    artifact = (await _found(client, org, "halo", mode=LEXICAL))[names["artifact-a-1"]]
    assert "prior: spring halo" in artifact.document.text
    assert artifact.document.record == f"orgs/{org}/artifacts/a-1"


def _days(start: Any, end: Any) -> marketing_pb2.DateRange:
    return marketing_pb2.DateRange(start_date=start.isoformat(), end_date=end.isoformat())


async def test_what_is_changed_or_purged_is_no_longer_found(
    pieces: Pieces, memory_client: ClientFactory, org: str
) -> None:
    """A new version replaces the old one, also when only its scope changes, and a purge ends it."""
    client = memory_client(org)
    await _write_notes(
        client, org, _note(org, "n", "first words"), _note(org, "m", "others"), origin="run/1"
    )
    await pieces.catch_up()
    assert await _found(client, org, "first", mode=LEXICAL)
    await _write_notes(client, org, _note(org, "n", "second words", scope="planning"))
    await pieces.catch_up()
    assert not await _found(client, org, "first", mode=LEXICAL)
    (hit,) = (await _found(client, org, "words", mode=LEXICAL)).values()
    assert hit.document.scope == "planning"
    await _write_notes(client, org, _note(org, "n", "second words"), origin="run/1")
    await pieces.catch_up()
    assert len(await _found(client, org, "words", filter='scope = "causal"', mode=LEXICAL)) == 1
    purge = pb.PurgeRecordsRequest(
        parent=f"orgs/{org}",
        collection=pb.RECORD_COLLECTION_NOTES,
        origin="run/1",
        force=True,
        request_id=str(uuid4()),
    )
    await client.PurgeRecords(purge)
    await pieces.catch_up()
    assert not await _found(client, org, "words others")
    assert not await pieces.index.list_ids(org)
    assert not (await pieces.store.lag()).commits


async def test_what_is_deleted_is_no_longer_found(
    pieces: Pieces, memory_client: ClientFactory, org: str
) -> None:
    """Notes by name and entries by key go from search with their last row; the others stay."""
    client = memory_client(org)
    await _write_notes(client, org, _note(org, "n", "first words"), _note(org, "m", "other words"))
    await write(client, org, [entry(monday(2), campaign_name="Spring words")], origin="run/1")
    await pieces.catch_up()
    assert len(await _found(client, org, "words", mode=LEXICAL)) > 2
    await client.BatchDeleteRecords(
        pb.BatchDeleteRecordsRequest(
            parent=f"orgs/{org}",
            collection=pb.RECORD_COLLECTION_NOTES,
            names=[f"orgs/{org}/notes/n"],
        )
    )
    (stored,) = (await client.ListEntries(pb.ListEntriesRequest(parent=f"orgs/{org}"))).entries
    answer = await delete_entries(client, org, [stored], origin="run/1", stream_id="s")
    assert answer.vanished_count == 1
    await pieces.catch_up()
    (hit,) = (await _found(client, org, "words", mode=LEXICAL)).values()
    assert hit.document.record == f"orgs/{org}/notes/m"
    assert len(await pieces.index.list_ids(org)) == 1
    assert not (await pieces.store.lag()).commits


async def test_insights_are_found_with_their_objects(
    pieces: Pieces, memory_client: ClientFactory, org: str
) -> None:
    """By words, limited as objects are, and with the object's metrics of their days."""
    client = memory_client(org)
    for campaign in (1, 2, 3):
        change = {1: rising, 2: spiked}.get(campaign, lambda _, clicks: clicks)
        await write_clicks(client, org, entries_of(campaign, change))
    days = marketing_pb2.DateRange(start_date="2026-04-06", end_date=LAST.isoformat())
    made = await client.GenerateInsights(
        pb.GenerateInsightsRequest(parent=f"orgs/{org}", date_range=days, maximum_insights=500)
    )
    await pieces.catch_up()
    fields: dict[str, Any] = {"kinds": [document_pb2.DOCUMENT_KIND_INSIGHT]}
    for mode in (NEURAL, LEXICAL):
        found = await _found(client, org, "clicks trend anomaly", mode=mode, **fields)
        assert {hit.document.record for hit in found.values()} <= {it.name for it in made.insights}
        assert found
    one = await _found(client, org, "clicks", filter='campaign_id = "2"', **fields)
    assert one
    for hit in one.values():
        assert hit.document.object.campaign_id == "2"
        assert hit.HasField("metrics")
        assert hit.entry_count
        assert hit.document.HasField("quality_score")
    assert not await _found(client, org, "clicks", filter='platform = "klaviyo"', **fields)


async def test_a_longest_note_is_indexed_as_far_as_it_goes(
    pieces: Pieces, memory_client: ClientFactory, org: str
) -> None:
    """A note of another script, whose terms take most room, says where it was cut."""
    client = memory_client(org)
    await _write_notes(client, org, _note(org, "n", "春の" * 10_000, title="Haru"))
    await pieces.catch_up()
    for query in ("haru", "春"):
        (hit,) = (await _found(client, org, query, mode=LEXICAL)).values()
    assert "[Cut: the first " in hit.document.text


async def test_a_query_may_be_long_and_not_too_long(
    pieces: Pieces, memory_client: ClientFactory, org: str
) -> None:
    """10,000 characters are searched; one more is refused with what to do."""
    client = memory_client(org)
    await _write_notes(client, org, _note(org, "n", "the needle"))
    await pieces.catch_up()
    assert await _found(client, org, f"{'hay ' * 2_498}needle"[-10_000:])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await _found(client, org, "x" * 10_001)
    refusal = refusal_of(refused.value)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.violations == (("query", "query.max_len"),)
    assert "search for its main sentences" in refusal.message


async def test_what_was_written_before_records_were_searched_is_found_after_the_upgrade(
    database: TestDatabase, pieces: Pieces, memory_client: ClientFactory, org: str
) -> None:
    """The schema file that brings the tables has notes and objects of before described."""
    client = memory_client(org)
    await write(client, org, [entry(monday(2), campaign_name="Spring sale")])
    await _write_notes(client, org, _note(org, "n", "first"), _note(org, "m", "second"))
    await pieces.catch_up()
    before = await pieces.stored(org)
    assert len(before) == 4
    owner = await asyncpg.connect(database.owner_url)
    await owner.execute("set search_path to memory")
    await owner.execute("drop table objects, name_words, record_outbox")
    await owner.execute("drop function queue_documents")
    await owner.execute("delete from documents where kind = 5")
    await owner.execute("alter table documents drop column scope")
    for name in ("0004_pre_concepts", "0007_pre_words", "0008_pre_word_shapes"):
        await owner.execute((schema_files() / f"{name}.sql").read_text())
    await owner.close()
    assert await pieces.store.indexed_version(org) == 1, "the notes wait"
    await pieces.catch_up()
    assert await pieces.stored(org) == before
    assert await _found(client, org, "second", mode=LEXICAL)
    fields = {"mode": document_pb2.SEARCH_MODE_CONCEPTUAL}
    (hit,) = (await _found(client, org, "recent", **fields)).values()
    assert hit.document.object.campaign_id == "1"
