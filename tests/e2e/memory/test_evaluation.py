"""The evaluation of search over real stores: what it measures, and that it sees what is wrong."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from tests.contract.milvus_server import MilvusServer
from tests.e2e.memory.conftest import ClientFactory
from tests.e2e.memory.indexing_harness import (
    Pieces,
    entry,
    monday,
    opened_pieces,
    running_milvus,
    write,
)

from liftos.memory.v1 import artifact_pb2, document_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.settings import load
from liftos_kit.testing.server import SECRET
from liftos_local.testing import TestDatabase
from liftos_memory.settings import MemorySettings

NAMES = (
    *("Winter boots clearance", "Garden furniture", "Running shoes launch", "Brand keywords"),
    *("Gift cards", "Retargeting visitors", "Summer dresses", "Loyalty members", "Cookware"),
    *("Office chairs", "Wedding rings", "Camping tents"),
)


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


async def _load(client: Any, pieces: Pieces, org: str) -> None:
    """Write four weeks of each campaign on two platforms, and two notes, and index them."""
    rows = [
        entry(
            monday(week),
            platform=platform,
            campaign_id=f"{platform[0]}{100 + number}",
            campaign_name=name,
        )
        for week in range(2, 6)
        for platform in ("meta", "google_ads")
        for number, name in enumerate(NAMES)
    ]
    await write(client, org, rows)
    notes = [
        artifact_pb2.Note(
            name=f"orgs/{org}/notes/n-{number}", scope="planning", title=title, text="Decided."
        )
        for number, title in enumerate(("Budget for the spring plan", "Agency meeting in March"))
    ]
    await client.BatchUpsertNotes(pb.BatchUpsertNotesRequest(parent=f"orgs/{org}", notes=notes))
    await pieces.catch_up()


async def _evaluate(client: Any, org: str, **fields: Any) -> pb.EvaluateSearchResponse:
    timeout = fields.pop("timeout", 60)
    request = pb.EvaluateSearchRequest(parent=f"orgs/{org}", **fields)
    answer: pb.EvaluateSearchResponse = await client.EvaluateSearch(request, timeout=timeout)
    return answer


async def test_it_measures_what_serves(
    pieces: Pieces, memory_client: ClientFactory, org: str
) -> None:
    """All is right with a whole index; what is lost from it is missed, and told."""
    client = memory_client(org)
    await _load(client, pieces, org)
    answer = await _evaluate(client, org, query_count=40, seed=7)
    assert answer.document_count == 2 * len(NAMES) * 5 + 2
    assert answer.query_count == 40
    assert {each.kind for each in answer.kinds} == set(pb.KnownItemKind.values()) - {0}
    assert sum(each.query_count for each in answer.kinds) == 40
    assert answer.recall_at_10 == 1.0
    assert answer.filtered_hit_count > 0
    assert answer.filter_accuracy == 1.0
    successes = sum(each.success_count for each in answer.kinds)
    assert answer.success_at_5 == successes / 40
    assert answer.success_at_5 > 0.8
    assert answer.success_at_5_low < answer.success_at_5 <= answer.success_at_5_high
    assert len(answer.missed_queries) == min(20, 40 - successes)
    again = await _evaluate(client, org, query_count=40, seed=7)
    assert again == answer
    lexical = await _evaluate(
        client, org, query_count=40, seed=7, mode=document_pb2.SEARCH_MODE_LEXICAL
    )
    assert lexical != answer

    lost = list(await pieces.index.list_ids(org))[::2]
    await pieces.index.delete(org, lost)
    worse = await _evaluate(client, org, query_count=40, seed=7)
    assert worse.recall_at_10 < 0.8
    assert worse.success_at_5 < answer.success_at_5
    assert worse.missed_queries[0].wanted_title
    assert worse.document_count == answer.document_count


async def test_little_to_ask_and_little_time(
    pieces: Pieces, memory_client: ClientFactory, org: str
) -> None:
    """Shares of nothing are unset, and of a short deadline the questions take a part."""
    client = memory_client(org)
    empty = await _evaluate(client, org)
    assert empty == pb.EvaluateSearchResponse()
    await _load(client, pieces, org)
    short = await _evaluate(client, org, query_count=2_000, timeout=2)
    assert 0 < short.query_count < 1_000
    assert short.recall_at_10 == 1.0


async def test_what_cannot_be_measured(memory_client: ClientFactory, org: str) -> None:
    """Modes that look for no names are refused, and only admins may ask."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await _evaluate(memory_client(org), org, mode=document_pb2.SEARCH_MODE_CONCEPTUAL)
    assert "choose NEURAL, LEXICAL or HYBRID" in str(raised.value.details())
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await _evaluate(memory_client(org, "reader"), org)
    assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
