"""Search through the server, over real stores and an index that a worker has filled."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from tests.contract.milvus_server import MilvusServer
from tests.e2e.memory.conftest import Client, ClientFactory
from tests.e2e.memory.indexing_harness import (
    WEEK,
    CountingEmbedder,
    Pieces,
    entry,
    eventually,
    monday,
    opened_index,
    opened_pieces,
    running,
    running_milvus,
    write,
)
from tests.inprocess.kit.statuses import Refusal, refusal_of

from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import document_pb2, entry_pb2, memory_service_pb2_grpc
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.server import Server
from liftos_kit.settings import load
from liftos_kit.testing.server import SECRET, authorization
from liftos_local.testing import TestDatabase
from liftos_memory.adapters.embedders import open_embedder
from liftos_memory.domain.fusion import DEFAULT_WEIGHTS, FusionMethod, SearchMode
from liftos_memory.search_ports import SearchScope
from liftos_memory.server import application
from liftos_memory.settings import MemorySettings
from liftos_memory.usecases.search import LEG_DEPTH, Search, SearchRequest

NEURAL = document_pb2.SEARCH_MODE_NEURAL
LEXICAL = document_pb2.SEARCH_MODE_LEXICAL
HYBRID = document_pb2.SEARCH_MODE_HYBRID
MODES = (NEURAL, LEXICAL, HYBRID)
PROFILE = document_pb2.DOCUMENT_KIND_PROFILE
DIGEST = document_pb2.DOCUMENT_KIND_WEEKLY_DIGEST

CROWD = "the-crowd"
DECOYS = LEG_DEPTH + 20
TARGETS = 5
QUERY = "spring sale"


def _settings(
    database: TestDatabase, milvus: MilvusServer, *, embedder: str = "hash:"
) -> MemorySettings:
    return load(
        MemorySettings,
        {name: value for name, value in database.environment.items() if "OWNER" not in name}
        | {
            "LIFTOS_PORT": "0",
            "LIFTOS_JWT_SECRET": SECRET,
            "LIFTOS_DRAIN_SECONDS": "5",
            "LIFTOS_MILVUS_URL": milvus.url,
            "LIFTOS_EMBEDDER": embedder,
        },
    )


@pytest.fixture(scope="module")
async def milvus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MilvusServer]:
    """A Milvus of the module's own."""
    async with running_milvus(tmp_path_factory.mktemp("milvus")) as server:
        yield server


@pytest.fixture(scope="module")
def memory_settings(database: TestDatabase, milvus: MilvusServer) -> MemorySettings:
    """Settings over the module's Milvus, without a model."""
    return _settings(database, milvus)


@pytest.fixture(scope="module")
async def pieces(memory_settings: MemorySettings) -> AsyncIterator[Pieces]:
    """The parts of a worker; the index exists."""
    async with opened_pieces(memory_settings) as opened:
        await opened.index.ensure()
        yield opened


@pytest.fixture(scope="module")
async def crowd(memory_client: ClientFactory, pieces: Pieces) -> Any:
    """Client of an org with more decoys than a leg returns, all better matches than the targets.

    Decoys are called as the query, targets say more; they differ in everything a filter can name.
    """
    client = memory_client(CROWD)
    decoys = [
        entry(
            monday(8),
            f"decoy-{number}",
            platform="google_ads",
            account_id="crowded",
            campaign_name="Spring sale",
        )
        for number in range(DECOYS)
    ]
    targets = [
        entry(
            monday(2),
            f"target-{number}",
            campaign_name="Clearance of garden furniture before spring",
            ad_group_id="ag",
            level="ENTRY_LEVEL_AD_GROUP",
            time_zone="Europe/Berlin",
            currency_code="EUR",
            spend_micros=1_000_000,
            impressions=1_000,
            clicks=10,
            conversions_micros=1_000_000,
            revenue_micros=2_000_000,
        )
        for number in range(TARGETS)
    ]
    await write(client, CROWD, decoys + targets)
    await pieces.catch_up()
    # Searches of a settled index take other paths through the store.
    await pieces.index.settle()
    return client


@asynccontextmanager
async def _served(settings: MemorySettings, *, org: str = CROWD) -> AsyncIterator[Any]:
    """A client of a second server, with other settings."""
    server = Server(application(settings))
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"{settings.host}:{server.port}") as channel:
            stub: Any = memory_service_pb2_grpc.MemoryServiceStub(channel)
            yield Client(stub, authorization(org, roles=("admin",)))
    finally:
        await server.drain()


async def _search(client: Any, org: str, query: str = QUERY, **fields: Any) -> Any:
    return await client.SearchDocuments(
        pb.SearchDocumentsRequest(**({"parent": f"orgs/{org}", "query": query} | fields))
    )


async def _all(client: Any, org: str, query: str = QUERY, **fields: Any) -> list[Any]:
    """All hits, page by page."""
    hits: list[Any] = []
    token = ""
    while True:
        page = await _search(client, org, query, page_token=token, **fields)
        hits += page.hits
        token = page.next_page_token
        if not token:
            return hits


async def _refused(client: Any, org: str, query: str = QUERY, **fields: Any) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await _search(client, org, query, **fields)
    return refusal_of(refused.value)


def _range(start: date, end: date) -> marketing_pb2.DateRange:
    return marketing_pb2.DateRange(start_date=start.isoformat(), end_date=end.isoformat())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "condition",
    [
        {"filter": 'platform = "meta"'},
        {"filter": "level = AD_GROUP"},
        {"filter": 'account_id = "act_1"'},
        {"filter": 'ad_group_id = "ag" AND NOT platform = "google_ads"'},
        {"filter": " OR ".join(f'campaign_id = "target-{number}"' for number in range(TARGETS))},
        {"filter": "campaign_id:target-*"},
        {"date_range": _range(monday(2), monday(1))},
        {"minimum_quality_score": 0.9},
    ],
    ids=str,
)
async def test_filters_hold_before_anything_is_ranked(
    crowd: Any,
    mode: Any,
    condition: dict[str, Any],
) -> None:
    """All documents in scope are found, though more are better outside than a leg returns."""
    better = await _search(crowd, CROWD, mode=mode, page_size=100)
    assert all(hit.document.object.platform == "google_ads" for hit in better.hits)
    found = await _all(crowd, CROWD, mode=mode, page_size=100, **condition)
    assert {(hit.document.object.campaign_id, hit.document.kind) for hit in found} == {
        (f"target-{number}", kind) for number in range(TARGETS) for kind in (PROFILE, DIGEST)
    }
    assert len(found) == 2 * TARGETS


@pytest.mark.parametrize("mode", MODES)
async def test_kinds_hold_before_anything_is_ranked(crowd: Any, mode: Any) -> None:
    """Profiles are found, though more digests than a leg returns are better."""
    month = f"{monday(8):%B %Y}"
    for kinds, worst in (([], DIGEST), ([PROFILE], PROFILE), ([DIGEST], DIGEST)):
        hits = (
            await _search(crowd, CROWD, f"new {month}", mode=mode, kinds=kinds, page_size=100)
        ).hits
        assert len(hits) == 100
        assert {hit.document.kind for hit in hits} == {worst}


async def test_modes_rank_by_what_they_say(
    memory_client: ClientFactory, pieces: Pieces, org: str
) -> None:
    """Each hit shows the legs that found it, ranked by their raw scores."""
    client = memory_client(org)
    names = ["Spring sale", "Spring sale sale shoes", "Summer sale", "Autumn", "Loyalty"]
    await write(
        client, org, [entry(monday(2), str(i), campaign_name=name) for i, name in enumerate(names)]
    )
    await pieces.catch_up()
    dense = await _all(client, org, mode=NEURAL, page_size=100)
    words = await _all(client, org, mode=LEXICAL, page_size=100)
    both = await _all(client, org, page_size=100)
    assert len(dense) == 2 * len(names), "all are near to some degree"
    assert len(words) == 6, "three campaigns have a word of the query"
    for hits, mode in ((dense, NEURAL), (words, LEXICAL)):
        assert [[leg.mode for leg in hit.legs] for hit in hits] == [[mode]] * len(hits)
        raw = [hit.legs[0].raw_score for hit in hits]
        assert raw == sorted(raw, reverse=True)
        assert [hit.legs[0].rank for hit in hits] == list(range(1, len(hits) + 1))
        assert {hit.legs[0].weight for hit in hits} == {1.0}
        assert (hits[0].score, hits[-1].score) == (1.0, 0.0)
    assert {hit.document.name for hit in both} == {hit.document.name for hit in dense}
    assert both[0].document.object.campaign_id in {"0", "1"}
    assert [leg.mode for leg in both[0].legs] == [NEURAL, LEXICAL]
    legs = {
        (hit.document.name, leg.mode): leg.raw_score for hit in dense + words for leg in hit.legs
    }
    for hit in both:
        for leg in hit.legs:
            assert leg.raw_score == pytest.approx(legs[hit.document.name, leg.mode])


WEIGHTS = [
    {},
    {NEURAL: 0.5, LEXICAL: 0.5},
    {NEURAL: 0.9, LEXICAL: 0.3},
    {LEXICAL: 0.2},
]


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
@pytest.mark.parametrize(
    "method",
    [
        document_pb2.FUSION_METHOD_WEIGHTED_MIN_MAX,
        document_pb2.FUSION_METHOD_RECIPROCAL_RANK,
    ],
)
async def test_scores_follow_from_legs_weights_and_method(
    crowd: Any,
    weights: Mapping[Any, float],
    method: Any,
) -> None:
    """Every score is the sum of contributions, each computed by the documented formula."""
    hits = await _all(
        crowd,
        CROWD,
        "spring clearance roas",
        filter='platform = "meta"',
        weights=[pb.SearchWeight(mode=mode, weight=weight) for mode, weight in weights.items()],
        fusion_method=method,
        page_size=100,
    )
    shares = weights or {NEURAL: 0.5, LEXICAL: 0.5}
    raw: dict[Any, list[float]] = {mode: [] for mode in shares}
    for hit in hits:
        for leg in hit.legs:
            raw[leg.mode].append(leg.raw_score)
    assert hits
    assert all(raw.values())
    for hit in hits:
        for leg in hit.legs:
            share = shares[leg.mode] / sum(shares.values())
            assert leg.weight == pytest.approx(share)
            highest, lowest = max(raw[leg.mode]), min(raw[leg.mode])
            part = (
                1 / (60 + leg.rank)
                if method == document_pb2.FUSION_METHOD_RECIPROCAL_RANK
                else (leg.raw_score - lowest) / (highest - lowest)
                if highest > lowest
                else 1.0
            )
            assert leg.contribution == pytest.approx(share * part, abs=1e-6)
        assert hit.score == pytest.approx(sum(leg.contribution for leg in hit.legs))
    order = [(-hit.score, hit.document.name) for hit in hits]
    assert order == sorted(order)


@pytest.mark.parametrize("mode", MODES)
async def test_pages_are_stable_and_end_at_the_depth_of_a_leg(crowd: Any, mode: Any) -> None:
    """Pages of any size are pieces of one order, without repetition, 200 hits deep."""
    hundred = await _all(crowd, CROWD, mode=mode, page_size=100)
    names = [hit.document.name for hit in hundred]
    assert len(set(names)) == len(names) == LEG_DEPTH
    sizes = await _all(crowd, CROWD, mode=mode, page_size=37)
    assert [hit.document.name for hit in sizes][:LEG_DEPTH] == names
    first = await _search(crowd, CROWD, mode=mode)
    assert len(first.hits) == 10
    other = await _refused(crowd, CROWD, "another query", page_token=first.next_page_token)
    assert other.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_object_is_grouped_to_its_best_document(
    memory_client: ClientFactory, pieces: Pieces, org: str
) -> None:
    """With grouping each object comes once, in the order of its best document, on all pages."""
    client = memory_client(org)
    await write(
        client,
        org,
        [
            entry(monday(4) + week * WEEK, str(campaign), campaign_name=f"Sale {campaign}")
            for campaign in range(7)
            for week in range(4)
        ],
    )
    await pieces.catch_up()
    plain = await _all(client, org, "sale", page_size=100)
    assert len(plain) == 7 * 5
    best = {hit.document.object.campaign_id: hit.document.name for hit in reversed(plain)}
    grouped = await _all(client, org, "sale", group_by_object=True, page_size=2)
    assert {hit.document.object.campaign_id: hit.document.name for hit in grouped} == best
    assert len(grouped) == 7
    order = [hit.document.name for hit in plain]
    places = [order.index(hit.document.name) for hit in grouped]
    assert places == sorted(places)


INTERACTION, CONVERSION, SEND, EVENT = entry_pb2.DateBasis.values()[1:]
BASES: dict[tuple[str, str], tuple[int, ...]] = {
    ("meta", "1"): (INTERACTION,),
    ("meta", "2"): (INTERACTION,),
    # Days of the other basis lie between, before and after those of the usual one.
    ("google_ads", "3"): (CONVERSION, INTERACTION),
    ("klaviyo", "4"): (EVENT, SEND),
    ("klaviyo", "5"): (EVENT,),
}
"""Date bases of campaigns, by platform and id; the last one counts."""


@pytest.mark.parametrize("asked", [None, (8, 3), (2, 2)], ids=str)
async def test_metrics_beside_hits_are_those_of_query_metrics(
    memory_client: ClientFactory, pieces: Pieces, org: str, asked: tuple[int, int] | None
) -> None:
    """Sums and ratios of the asked days, or of the document's own, equal QueryMetrics' exactly."""
    client = memory_client(org)
    entries = [
        entry(
            monday(6) + timedelta(days=day + place),
            campaign,
            platform=platform,
            campaign_name="Sale",
            currency_code="USD",
            spend_micros=1_000_001 + 7 * day,
            impressions=100 + day,
            clicks=day if campaign == "1" else 0,
            attribution_key=key,
            breakdown_key=breakdown,
            date_basis=basis,
        )
        for (platform, campaign), bases in BASES.items()
        for place, basis in enumerate(bases)
        for day in range(0, 40, 3)
        for key in ("", "7d_click")
        # One setting replaces the other for the second campaign.
        if campaign != "2" or key == ("" if day > 15 else "7d_click")
        for breakdown in ("", "country=DE")
    ]
    await write(client, org, entries)
    await pieces.catch_up()
    days = None if asked is None else _range(monday(asked[0]), monday(asked[1]) + 6 * WEEK / 7)
    hits = await _all(client, org, "sale", date_range=days, page_size=100)
    assert hits
    for hit in hits:
        key = hit.document.object
        object_filter = f'platform = "{key.platform}" AND campaign_id = "{key.campaign_id}"'
        series_filter = (
            f" AND date_basis = {entry_pb2.DateBasis.Name(hit.date_basis)[11:]}"
            f' AND attribution_key = "{hit.attribution_key}" AND breakdown_key = ""'
        )
        query = pb.QueryMetricsRequest(
            parent=f"orgs/{org}",
            date_range=days or hit.document.date_range,
            level=key.level,
            filter=object_filter + (series_filter if hit.entry_count else ""),
        )
        rows = (await client.QueryMetrics(query)).rows
        if not hit.entry_count:
            assert not rows
            continue
        assert hit.date_basis == BASES[key.platform, key.campaign_id][-1]
        (row,) = rows
        assert hit.metrics == row.metrics
        assert hit.derived_metrics == row.derived_metrics
        assert hit.entry_count == row.entry_count
        assert 1 <= len(hit.entries) == min(10, hit.entry_count)
        newest = await client.GetEntry(pb.GetEntryRequest(name=hit.entries[0]))
        assert newest.entry.campaign_id == key.campaign_id
        assert [name.rpartition("/")[2] for name in hit.entries] == sorted(
            (name.rpartition("/")[2] for name in hit.entries), reverse=True
        )


async def test_highlights_and_explanation_show_why(crowd: Any) -> None:
    """Spans mark words of the document, and the sentence names ranks, scores and words."""
    answer = await _search(crowd, CROWD, "SALES in springs", page_size=1)
    (hit,) = answer.hits
    marked = [
        piece.snippet[span.start : span.end].lower()
        for piece in hit.highlights
        for span in piece.spans
    ]
    assert set(marked) == {"spring", "sale"}
    assert all(piece.snippet in hit.document.text for piece in hit.highlights)
    assert all(len(piece.snippet) <= 160 for piece in hit.highlights)
    assert hit.explanation.startswith(f"Score {hit.score:.3f}: rank {hit.legs[0].rank} by meaning")
    assert "by words (BM25" in hit.explanation
    assert "it names Spring, sale" in hit.explanation
    assert "did not answer" not in hit.explanation


async def test_another_org_is_never_seen(
    crowd: Any,
    memory_client: ClientFactory,
    pieces: Pieces,
    org: str,
) -> None:
    """No query, filter or page shows a document of another org, nor does its name in the parent."""
    client = memory_client(org)
    await write(client, org, [entry(monday(2), "mine", campaign_name="Autumn")])
    await pieces.catch_up()
    for filter_text in ("", 'platform = "meta" OR platform = "google_ads"', "NOT level = AD"):
        for mode in MODES:
            hits = await _all(client, org, filter=filter_text, mode=mode, page_size=100)
            assert {hit.document.name.split("/")[1] for hit in hits} <= {org}
            assert {hit.document.object.campaign_id for hit in hits} <= {"mine"}
    assert (await _refused(client, CROWD)).code is grpc.StatusCode.PERMISSION_DENIED
    token = (await _search(crowd, CROWD)).next_page_token
    assert (await _refused(client, org, page_token=token)).code is grpc.StatusCode.INVALID_ARGUMENT
    refusal = await _refused(client, org, filter=f'org = "{CROWD}"')
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    for attack in ('x" or org == "the-crowd', "x' or org == 'the-crowd", 'x\\" or "" == "'):
        text = attack.replace("\\", "\\\\").replace('"', '\\"')
        assert not (await _search(client, org, filter=f'platform = "{text}"')).hits


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"query": ""}, "query"),
        ({"query": " \n\t"}, "query"),
        ({"query": "x" * 10_001}, "query"),
        ({"filter": "platform ="}, "filter"),
        ({"filter": 'org = "x"'}, "filter"),
        ({"mode": NEURAL, "weights": [{"mode": NEURAL, "weight": 1.0}]}, "weights"),
        ({"weights": [{"mode": NEURAL, "weight": 1.0}] * 2}, "weights"),
        ({"minimum_quality_score": 1.1}, "minimum_quality_score"),
        ({"date_range": _range(monday(1), monday(2))}, "date_range"),
    ],
    ids=str,
)
async def test_requests_that_mean_nothing_are_refused(
    crowd: Any,
    fields: dict[str, Any],
    field: str,
) -> None:
    """The field at fault is named."""
    refusal = await _refused(crowd, CROWD, **({"query": QUERY} | fields))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert any(path.startswith(field) for path, _ in refusal.violations), refusal


async def test_a_query_of_stop_words_alone_has_no_lexical_hits(crowd: Any) -> None:
    """Words that say nothing match nothing, and are no error."""
    assert not (await _search(crowd, CROWD, "what is it for", mode=LEXICAL)).hits
    assert (await _search(crowd, CROWD, "what is it for")).hits


async def test_a_search_waits_for_the_write_it_is_asked_to_see(
    memory_client: ClientFactory, pieces: Pieces, org: str
) -> None:
    """It answers READ_NOT_FRESH in time without a worker, and with the document once one works."""
    client = memory_client(org)
    token = await write(client, org, [entry(monday(2), campaign_name="Spring sale")])
    consistency = marketing_pb2.Consistency(at_least_as_fresh=token)
    started = asyncio.get_running_loop().time()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.SearchDocuments(
            pb.SearchDocumentsRequest(parent=f"orgs/{org}", query=QUERY, consistency=consistency),
            timeout=1.5,
        )
    refusal = refusal_of(refused.value)
    assert refusal.reason == "ERROR_REASON_READ_NOT_FRESH"
    assert refusal.metadata["store"] == "milvus"
    assert asyncio.get_running_loop().time() - started < 1.4
    stale = await _search(client, org)
    assert not stale.hits
    searching = asyncio.create_task(_search(client, org, consistency=consistency))
    await asyncio.sleep(0.1)
    assert not searching.done()
    await pieces.catch_up()
    fresh = await searching
    assert {hit.document.kind for hit in fresh.hits} == {PROFILE, DIGEST}
    assert fresh.index_write_token == token


async def test_a_leg_that_does_not_answer_is_named(
    crowd: Any,
    database: TestDatabase,
    milvus: MilvusServer,
) -> None:
    """Without its embedder a hybrid search goes on by words, and says so; a neural one cannot."""
    del crowd
    settings = _settings(database, milvus, embedder="http://127.0.0.1:9/v1#none@384")
    async with _served(settings) as client:
        answer = await _search(client, CROWD)
        assert len(answer.hits) == 10
        for hit in answer.hits:
            assert "NEURAL did not answer and added 0" in hit.explanation
            assert [leg.mode for leg in hit.legs] == [LEXICAL]
            assert hit.legs[0].weight == 0.5, "scores mean the same with and without the leg"
        refusal = await _refused(client, CROWD, mode=NEURAL)
        assert refusal.code is grpc.StatusCode.UNAVAILABLE
        assert refusal.reason == "ERROR_REASON_STORE_UNAVAILABLE"


async def test_vectors_of_another_model_are_never_searched(
    crowd: Any,
    pieces: Pieces,
    memory_settings: MemorySettings,
) -> None:
    """While the index has vectors of another model, servers go on by words alone."""
    assert (await _search(crowd, CROWD, mode=NEURAL)).hits
    other = CountingEmbedder(dimension=64)
    async with opened_index(memory_settings, other) as index:
        async with running(pieces.indexing(index=index, embedder=other)):
            scope = SearchScope(CROWD)
            vector = await other.embed_query(QUERY)

            async def has_switched() -> bool:
                return bool(await index.search_dense(scope, vector, 1))

            await eventually(has_switched)
        # Other words, since answers of before are given again.
        refusal = await _refused(crowd, CROWD, "sale", mode=NEURAL)
        assert refusal.code is grpc.StatusCode.UNAVAILABLE
        with structlog.testing.capture_logs() as told:
            answer = await _search(crowd, CROWD, "sale")
        failed = [(it["leg"], it["store"]) for it in told if it["event"] == "search_leg_failed"]
        assert failed == [("neural", "milvus")]
        assert "NEURAL did not answer" in answer.hits[0].explanation
        assert {leg.mode: leg.failed for leg in answer.legs} == {NEURAL: True, LEXICAL: False}
    async with running(pieces.indexing()):

        async def is_back() -> bool:
            answer = await _search(crowd, CROWD, "sale")
            return "NEURAL did not answer" not in answer.hits[0].explanation

        await eventually(is_back)
    assert len(await _all(crowd, CROWD, mode=NEURAL, page_size=100)) == LEG_DEPTH


async def test_without_milvus_search_says_so_and_comes_back(
    database: TestDatabase, tmp_path: Path, org: str
) -> None:
    """Searches answer UNAVAILABLE while writes go on, and find everything once it is back."""
    async with running_milvus(tmp_path) as server:
        settings = _settings(database, server)
        async with opened_pieces(settings) as pieces, _served(settings, org=org) as client:
            await pieces.index.ensure()
            await write(client, org, [entry(monday(2), campaign_name="Spring sale")])
            await pieces.catch_up()
            assert len((await _search(client, org)).hits) == 2
            server.kill()
            refusal = await _refused(client, org, "sale")
            assert refusal.code is grpc.StatusCode.UNAVAILABLE
            assert refusal.metadata["store"] == "milvus"
            await write(client, org, [entry(monday(1), campaign_name="Spring sale")])
            await server.start()
            async with running(pieces.indexing()):

                async def finds_all() -> bool:
                    with suppress(grpc.aio.AioRpcError):
                        return len((await _search(client, org, "sale")).hits) == 3
                    return False

                await eventually(finds_all)


async def test_the_model_finds_by_meaning(
    database: TestDatabase, memory_client: ClientFactory, org: str, tmp_path: Path
) -> None:
    """The shipped model puts first what means the same, though no word is shared."""
    client = memory_client(org)
    names = ["Winter boots clearance", "Baby strollers", "Crypto trading newsletter", "Sunscreen"]
    await write(
        client, org, [entry(monday(2), str(i), campaign_name=name) for i, name in enumerate(names)]
    )
    model = open_embedder("onnx:all-MiniLM-L6-v2", threads=2)
    async with running_milvus(tmp_path) as server:
        settings = _settings(database, server)
        async with opened_pieces(settings) as pieces, opened_index(settings, model) as index:
            await index.ensure()
            (pending,) = [each for each in await pieces.store.pending() if each.org == org]
            await pieces.indexing(index=index, embedder=model).follow(pending)
            search = Search(
                pieces.store,
                pieces.objects,
                index,
                model,
                executor=ThreadPoolExecutor(1),
                on_leg=lambda *_: None,
            )
            best = []
            for query in ("shoes for snow", "pushchairs for infants", "bitcoin investing emails"):
                result = await search.search(
                    SearchRequest(
                        query=query,
                        scope=SearchScope(org),
                        weights=DEFAULT_WEIGHTS,
                        method=FusionMethod.WEIGHTED_MIN_MAX,
                        metrics_range=None,
                        group_by_object=True,
                        offset=0,
                        limit=1,
                    )
                )
                (hit,) = result.hits
                assert hit.document.key is not None
                assert [leg.mode for leg in hit.fused.legs] == [SearchMode.NEURAL]
                best.append(hit.document.key.campaign_id)
    await model.close()
    assert best == ["0", "1", "2"]
