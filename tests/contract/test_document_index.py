"""What every document index promises, held against memory and a real Milvus server."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import grpc
import numpy as np
import pytest
from pymilvus import AsyncMilvusClient, DataType, Function, FunctionType
from tests.contract.milvus_server import MilvusServer

from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.core.filters import parse_filter
from liftos_memory.adapters.hashing_embedder import HashingEmbedder
from liftos_memory.adapters.inmemory_index import InMemoryDocumentIndex
from liftos_memory.adapters.milvus import ALIAS, MilvusDocumentIndex
from liftos_memory.domain.documents import (
    Document,
    DocumentKind,
    ObjectKey,
    ObjectNames,
    WeeklyFacts,
    weekly_document,
)
from liftos_memory.search_ports import (
    DocumentIndex,
    IndexOfAnotherModelError,
    SearchScope,
    Vectors,
)
from liftos_memory.servicer.search import DOCUMENT_FILTER_FIELDS

EMBEDDER = HashingEmbedder(dimension=64)
MONDAY = date(2024, 11, 4)


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MilvusServer]:
    """Run one Milvus Lite server for all tests of this file."""
    server = MilvusServer(tmp_path_factory.mktemp("milvus"))
    await server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
async def milvus(server: MilvusServer) -> AsyncIterator[MilvusDocumentIndex]:
    """Return an index on the server, created."""
    index = MilvusDocumentIndex(
        server.url, model_id=EMBEDDER.model_id, dimension=EMBEDDER.dimension
    )
    await index.ensure()
    yield index
    await index.close()


@pytest.fixture(params=["memory", "milvus"])
def index(request: pytest.FixtureRequest) -> DocumentIndex:
    """Return each index in turn."""
    if request.param == "memory":
        return InMemoryDocumentIndex(dimension=EMBEDDER.dimension)
    found: MilvusDocumentIndex = request.getfixturevalue("milvus")
    return found


@pytest.fixture
def orgs(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Return the names of two orgs that no other test uses."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:50]
    return f"{name}-one", f"{name}-two"


def digest(
    campaign: str,
    *,
    platform: str = "meta",
    week: int = 0,
    spend: int | None = 1_000_000_000,
    quality: float | None = 0.9,
    campaign_id: str = "",
) -> Document:
    """Write a digest of a campaign's week."""
    return weekly_document(
        WeeklyFacts(
            key=ObjectKey(platform, "CAMPAIGN", "acc-1", campaign_id=campaign_id or campaign),
            names=ObjectNames(account_name="Acme", campaign_name=campaign),
            channel="",
            currency_code="USD",
            week_start=MONDAY + timedelta(weeks=week),
            sums={"spend_micros": spend},
            prior_sums=None,
            quality_score=quality,
        )
    )


async def add(index: DocumentIndex, org: str, *documents: Document) -> None:
    """Embed documents and add them."""
    vectors = await EMBEDDER.embed_documents([document.text for document in documents])
    await index.upsert(org, documents, vectors)


async def both(index: DocumentIndex, scope: SearchScope, query: str) -> list[set[str]]:
    """Return the ids that each leg finds."""
    dense = await index.search_dense(scope, await EMBEDDER.embed_query(query), 50)
    lexical = await index.search_lexical(scope, query, 50)
    return [{hit.document_id for hit in hits} for hits in (dense, lexical)]


async def test_legs_rank_the_named_document_first(
    index: DocumentIndex, orgs: tuple[str, str]
) -> None:
    """Both legs find it, scores go down, and the cosine and BM25 are what they should be."""
    sale, other = digest("Autumn_Sale"), digest("Newsletter_Welcome")
    await add(index, orgs[0], sale, other)
    query = await EMBEDDER.embed_query(sale.text)
    dense = await index.search_dense(SearchScope(org=orgs[0]), query, 10)
    assert [hit.document_id for hit in dense] == [sale.document_id, other.document_id]
    assert dense[0].raw_score == pytest.approx(1.0, abs=1e-4)
    assert dense[1].raw_score < 0.999
    lexical = await index.search_lexical(SearchScope(org=orgs[0]), "AUTUMN sales campaigns", 10)
    assert [hit.document_id for hit in lexical] == [sale.document_id, other.document_id]
    assert lexical[0].raw_score > lexical[1].raw_score > 0


async def test_lexical_leg_finds_only_what_shares_terms(
    index: DocumentIndex, orgs: tuple[str, str]
) -> None:
    """No shared term, no hit; a query without terms has none either."""
    await add(index, orgs[0], digest("Autumn_Sale"), digest("Winter"))
    scope = SearchScope(org=orgs[0])
    assert len(await index.search_lexical(scope, "autumn", 10)) == 1
    assert await index.search_lexical(scope, "zeppelin", 10) == []
    assert await index.search_lexical(scope, "the of ☃", 10) == []


async def test_limit_keeps_the_best(index: DocumentIndex, orgs: tuple[str, str]) -> None:
    """Fewer hits are the first of more hits."""
    await add(index, orgs[0], *(digest(f"Sale {n}", spend=n * 10**9) for n in range(1, 20)))
    scope, query = SearchScope(org=orgs[0]), await EMBEDDER.embed_query("sale 7")
    few = await index.search_dense(scope, query, 3)
    assert few == (await index.search_dense(scope, query, 19))[:3]
    assert len(few) == 3
    best = await index.search_lexical(scope, "sale 7", 1)
    assert [hit.document_id for hit in best] == [digest("Sale 7").document_id]


async def test_orgs_do_not_see_each_other(index: DocumentIndex, orgs: tuple[str, str]) -> None:
    """The same document in two orgs is two; each is found, read and removed apart."""
    sale = digest("Sale")
    await add(index, orgs[0], sale)
    await add(index, orgs[1], replace(sale, title="other"), digest("Secret"))
    assert await both(index, SearchScope(org=orgs[0]), "sale secret") == [{sale.document_id}] * 2
    assert (await index.fetch(orgs[0], [sale.document_id]))[sale.document_id].title == sale.title
    assert set(await index.list_ids(orgs[0])) == {sale.document_id}
    secret = digest("Secret").document_id
    assert await index.fetch(orgs[0], [secret]) == {}
    await index.delete(orgs[0], [secret, sale.document_id])
    assert await index.count(orgs[0]) == 0
    assert await index.count(orgs[1]) == 2


async def test_filters_apply_before_ranking(index: DocumentIndex, orgs: tuple[str, str]) -> None:
    """A hit that many better ones would crowd out is found at limit 1, by every filter."""
    wanted = digest("Zulu", platform="klaviyo", week=9, quality=0.4)
    better = [digest(f"Sale {n}", week=n % 5) for n in range(80)]
    await add(index, orgs[0], wanted, *better)
    query = "sale of the week"
    vector = await EMBEDDER.embed_query(query)
    scope = SearchScope(org=orgs[0])
    assert wanted.document_id not in {
        hit.document_id for hit in await index.search_dense(scope, vector, 1)
    }
    for narrowed in (
        replace(scope, platforms=["klaviyo"]),
        replace(scope, platforms=["klaviyo", "google_ads"], kinds=[DocumentKind.WEEKLY_DIGEST]),
        replace(scope, campaign_ids=["Zulu"], levels=["CAMPAIGN"], account_ids=["acc-1"]),
        replace(scope, document_ids=[wanted.document_id]),
        replace(scope, start_date=wanted.start_date),
        replace(scope, start_date=wanted.end_date, end_date=wanted.end_date),
    ):
        dense = await index.search_dense(narrowed, vector, 1)
        lexical = await index.search_lexical(narrowed, query, 1)
        assert [hit.document_id for hit in (*dense, *lexical)] == [wanted.document_id] * 2
    for empty in (
        replace(scope, kinds=[DocumentKind.NOTE]),
        replace(scope, levels=["ACCOUNT"]),
        replace(scope, start_date=wanted.end_date + timedelta(days=1)),
        replace(scope, end_date=MONDAY - timedelta(days=1)),
        replace(scope, platforms=["klaviyo"], minimum_quality=0.5),
    ):
        assert await both(index, empty, query) == [set(), set()]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('platform="meta"', "ab"),
        ("platform!=meta", "cd"),
        ("NOT platform=meta", "cd"),
        ('campaign_id:"sp*"', "ab"),
        ('NOT campaign_id:"sp*"', "cd"),
        ("platform=meta AND campaign_id=spring", "a"),
        ("campaign_id=spring OR campaign_id=x", "ac"),
        ('ad_id=""', "abcd"),
        ("ad_id:*", "abcd"),
        ("level=CAMPAIGN", "abcd"),
        ("NOT level=CAMPAIGN", ""),
        ("campaign_id>=sprint AND campaign_id<x", "b"),
        (r'campaign_id="quote\"d"', "d"),
        ("NOT (platform=meta OR campaign_id=x)", "d"),
        (r'campaign_id="\" or org != \""', ""),
    ],
)
async def test_filter_expressions_apply(
    index: DocumentIndex, orgs: tuple[str, str], text: str, found: str
) -> None:
    """Both legs see what the filter lets through, never another org."""
    documents = {
        "a": digest("A", campaign_id="spring"),
        "b": digest("B", campaign_id="sprint"),
        "c": digest("C", platform="google_ads", campaign_id="x"),
        "d": digest("D", platform="klaviyo", campaign_id='quote"d'),
    }
    await add(index, orgs[0], *documents.values())
    await add(index, orgs[1], *documents.values(), digest("E"))
    scope = SearchScope(org=orgs[0], where=parse_filter(text, DOCUMENT_FILTER_FIELDS))
    expected = {documents[name].document_id for name in found}
    assert await both(index, scope, "campaign week") == [expected, expected]


async def test_quality_that_is_unknown_reaches_no_minimum(
    index: DocumentIndex, orgs: tuple[str, str]
) -> None:
    """Without a minimum everything is seen, with one of 0 everything that has a quality."""
    known, unknown = digest("Sale A", quality=0.0), digest("Sale B", quality=None)
    await add(index, orgs[0], known, unknown)
    scope = SearchScope(org=orgs[0])
    ids = {known.document_id, unknown.document_id}
    assert await both(index, scope, "sale") == [ids, ids]
    found = await both(index, replace(scope, minimum_quality=0.0), "sale")
    assert found == [{known.document_id}] * 2
    read = await index.fetch(orgs[0], ids)
    assert read[unknown.document_id].quality_score is None
    assert read[known.document_id].quality_score == 0.0


async def test_upsert_replaces(index: DocumentIndex, orgs: tuple[str, str]) -> None:
    """The newest text, vector and fields count, in both legs; the number stays."""
    old = digest("Sale")
    new = replace(digest("Gift", campaign_id="Sale"), quality_score=0.5)
    assert old.document_id == new.document_id
    await add(index, orgs[0], old)
    await index.settle()
    await add(index, orgs[0], new)
    await add(index, orgs[0], new)
    scope = SearchScope(org=orgs[0])
    assert await index.count(orgs[0]) == 1
    assert len(await index.search_lexical(scope, "gift", 10)) == 1
    dense = await index.search_dense(scope, (await EMBEDDER.embed_documents([new.text]))[0], 10)
    assert [hit.raw_score for hit in dense] == pytest.approx([1.0], abs=1e-4)
    assert (await index.fetch(orgs[0], [new.document_id]))[new.document_id].text == new.text
    assert await index.list_ids(orgs[0]) == {new.document_id: new.content_hash}


async def test_documents_are_read_as_they_were_written(
    index: DocumentIndex, orgs: tuple[str, str]
) -> None:
    """Every field comes back, also beyond ASCII and before 1970."""
    odd = replace(
        digest('Ünïcode "quoted" \\ back\tslash 東京 😀'),
        start_date=date(1969, 12, 30),
        document_id="digest-odd",
    )
    await add(index, orgs[0], odd)
    found = (await index.fetch(orgs[0], ["digest-odd", "absent"]))["digest-odd"]
    assert odd.key is not None
    assert (found.title, found.text, found.content_hash) == (odd.title, odd.text, odd.content_hash)
    assert (found.start_date, found.end_date) == (odd.start_date, odd.end_date)
    assert (found.kind, found.platform, found.level) == (odd.kind, "meta", "CAMPAIGN")
    assert (found.account_id, found.campaign_id) == ("acc-1", odd.key.campaign_id)
    assert found.quality_score == pytest.approx(0.9)


@pytest.mark.parametrize(
    "attack",
    [
        'x" or org != "',
        "x' or '1' == '1",
        '"] or org in ["{other}',
        '\\" or org == "{other}',
        'x\n" or pk != "',
        "{other}",
        "%",
        "{{filter}}",
    ],
)
async def test_values_never_become_conditions(
    index: DocumentIndex, orgs: tuple[str, str], attack: str
) -> None:
    """Text made to break out of a filter finds nothing of the other org, and itself if stored."""
    one, two = orgs[0][:40] + "-x", orgs[1][:40] + "-y"
    await add(index, two, digest("Secret"))
    text = attack.replace("{other}", two)
    own = replace(digest("Sale", campaign_id=text), document_id="own")
    await add(index, one, own)
    for scope in (
        SearchScope(org=one, campaign_ids=[text]),
        SearchScope(org=one, campaign_ids=[text, "b"], platforms=["meta", text]),
    ):
        assert await both(index, scope, "sale secret week") == [{"own"}, {"own"}]
    for scope in (
        SearchScope(org=one, platforms=[text]),
        SearchScope(org=one, levels=[text]),
        SearchScope(org=one, account_ids=[text]),
        SearchScope(org=one, document_ids=[text]),
    ):
        assert await both(index, scope, "sale secret week") == [set(), set()]
    assert await index.fetch(one, [text]) == {}
    await index.delete(one, [text])
    assert await index.count(one) == 1
    if text != two:
        assert await both(index, SearchScope(org=text), "sale secret week") == [set(), set()]
        assert await index.count(text) == 0


async def test_many_documents_are_counted_and_listed(
    index: DocumentIndex, orgs: tuple[str, str]
) -> None:
    """More than one batch arrives whole, and deleting some leaves the others."""
    documents = [digest(f"Campaign {n}") for n in range(1_203)]
    await add(index, orgs[0], *documents)
    hashes = {document.document_id: document.content_hash for document in documents}
    assert await index.count(orgs[0]) == 1_203
    assert await index.list_ids(orgs[0]) == hashes
    gone = sorted(hashes)[:601]
    await index.delete(orgs[0], gone)
    await index.delete(orgs[0], gone)
    assert set(await index.list_ids(orgs[0])) == set(hashes) - set(gone)
    assert len(await index.fetch(orgs[0], hashes)) == 602


async def test_nothing_is_nothing(index: DocumentIndex, orgs: tuple[str, str]) -> None:
    """An org without documents and calls without ids work."""
    await index.upsert(orgs[0], [], np.empty((0, EMBEDDER.dimension), dtype=np.float32))
    await index.delete(orgs[0], [])
    assert await index.fetch(orgs[0], []) == {}
    assert await index.count(orgs[0]) == 0
    assert await index.list_ids(orgs[0]) == {}
    assert await both(index, SearchScope(org=orgs[0]), "sale") == [set(), set()]


async def test_wrong_input_is_refused(index: DocumentIndex, orgs: tuple[str, str]) -> None:
    """Vectors of another shape and doubled ids write nothing."""
    sale = digest("Sale")
    wrong: Vectors = np.ones((1, EMBEDDER.dimension + 1), dtype=np.float32)
    with pytest.raises(ValueError, match="shape"):
        await index.upsert(orgs[0], [sale], wrong)
    with pytest.raises(ValueError, match="shape"):
        await index.search_dense(SearchScope(org=orgs[0]), wrong[0], 10)
    with pytest.raises(ValueError, match="twice"):
        await add(index, orgs[0], sale, sale)
    assert await index.count(orgs[0]) == 0
    with pytest.raises(ValueError, match="org"):
        SearchScope(org="")


async def test_rebuild_serves_only_after_the_switch(
    index: DocumentIndex, orgs: tuple[str, str]
) -> None:
    """Until the switch the old documents are served, afterwards the new ones and no others."""
    old, new = digest("Old_Sale"), digest("New_Sale")
    await add(index, orgs[0], old)
    async with index.rebuild() as rebuild:
        await rebuild.upsert(orgs[0], [new], await EMBEDDER.embed_documents([new.text]))
        assert set(await index.list_ids(orgs[0])) == {old.document_id}
    assert set(await index.list_ids(orgs[0])) == {old.document_id}
    other = digest("Other_Sale")
    async with index.rebuild() as rebuild:
        assert set(await rebuild.list_ids(orgs[0])) == {new.document_id}, "it goes on"
        await rebuild.upsert(orgs[0], [other], await EMBEDDER.embed_documents([other.text]))
        await rebuild.delete(orgs[0], [other.document_id])
        await rebuild.switch()
    assert set(await index.list_ids(orgs[0])) == {new.document_id}
    assert await both(index, SearchScope(org=orgs[0]), "sale") == [{new.document_id}] * 2
    await add(index, orgs[0], old)
    assert await index.count(orgs[0]) == 2


async def test_milvus_survives_a_kill(tmp_path: Path) -> None:
    """While the server is dead calls say so in time; restarted, it has all, and needs no help."""
    server = MilvusServer(tmp_path)
    await server.start()
    index = MilvusDocumentIndex(
        server.url, model_id=EMBEDDER.model_id, dimension=EMBEDDER.dimension
    )
    try:
        await index.ensure()
        sale = digest("Sale")
        await add(index, "acme", sale)
        server.kill()
        for _ in range(2):
            with pytest.raises(StoreUnavailableError) as error:
                await index.search_lexical(SearchScope(org="acme"), "sale", 10)
            assert error.value.store == "milvus"
        with pytest.raises(StoreUnavailableError):
            await add(index, "acme", digest("Gift"))
        with pytest.raises(StoreUnavailableError):
            await index.ping()
        await server.start()
        assert await both(index, SearchScope(org="acme"), "sale") == [{sale.document_id}] * 2
        await index.ping()
        await index.ensure()
        await add(index, "acme", digest("Gift"))
        assert await index.count("acme") == 2
    finally:
        await index.close()
        server.kill()


async def test_milvus_that_hangs_is_given_up_in_time(tmp_path: Path) -> None:
    """A server that is stopped, not dead, costs no more than the deadline."""
    server = MilvusServer(tmp_path)
    await server.start()
    index = MilvusDocumentIndex(
        server.url,
        model_id=EMBEDDER.model_id,
        dimension=EMBEDDER.dimension,
        read_deadline_seconds=0.5,
    )
    try:
        await index.ensure()
        await add(index, "acme", digest("Sale"))
        server.freeze()
        async with asyncio.timeout(2.0):
            with pytest.raises(StoreUnavailableError, match=r"within 0\.5 s: it is busy or away"):
                await index.count("acme")
        server.thaw()
        assert await index.count("acme") == 1
    finally:
        await index.close()
        server.kill()


async def test_milvus_that_starts_later_is_found(tmp_path: Path) -> None:
    """An index opened before its server works once the server and the writer are there."""
    server = MilvusServer(tmp_path)
    reader, writer = (
        MilvusDocumentIndex(server.url, model_id=EMBEDDER.model_id, dimension=EMBEDDER.dimension)
        for _ in range(2)
    )
    try:
        with pytest.raises(StoreUnavailableError):
            await reader.count("acme")
        await server.start()
        with pytest.raises(StoreUnavailableError):
            await reader.count("acme")
        await writer.ensure()
        await add(writer, "acme", digest("Sale"))
        assert await reader.count("acme") == 1
    finally:
        await reader.close()
        await writer.close()
        server.kill()


async def test_milvus_never_mixes_models(tmp_path: Path) -> None:
    """Another model is refused until a rebuild, which both the old and the new alias survive."""
    server = MilvusServer(tmp_path)
    await server.start()
    other = HashingEmbedder(dimension=32)
    old, new = (
        MilvusDocumentIndex(server.url, model_id=each.model_id, dimension=each.dimension)
        for each in (EMBEDDER, other)
    )
    try:
        await old.ensure()
        await add(old, "acme", digest("Sale"))
        with pytest.raises(IndexOfAnotherModelError):
            await new.ensure()
        sale = digest("Sale")
        async with new.rebuild() as rebuild:
            await rebuild.upsert("acme", [sale], await other.embed_documents([sale.text]))
            await rebuild.switch()
        await new.ensure()
        query = await other.embed_query("sale")
        assert len(await new.search_dense(SearchScope(org="acme"), query, 10)) == 1
        with pytest.raises(IndexOfAnotherModelError):
            await old.ensure()
    finally:
        await old.close()
        await new.close()
        server.kill()


async def test_milvus_with_fields_of_before_is_rebuilt(tmp_path: Path) -> None:
    """Until then it serves as far as it goes, and says that it is away where it does not."""
    server = MilvusServer(tmp_path)
    await server.start()
    index = MilvusDocumentIndex(
        server.url, model_id=EMBEDDER.model_id, dimension=EMBEDDER.dimension
    )
    try:
        await _make_index_without_scopes(server.url)
        scoped = SearchScope("acme", where=parse_filter('scope = "x"', DOCUMENT_FILTER_FIELDS))
        assert await index.search_lexical(SearchScope("acme"), "sale", 10) == []
        with pytest.raises(StoreUnavailableError):
            await index.search_lexical(scoped, "sale", 10)
        with pytest.raises(IndexOfAnotherModelError):
            await index.ensure()
        async with index.rebuild() as rebuild:
            await rebuild.switch()
        await index.ensure()
        assert await index.search_lexical(scoped, "sale", 10) == []
    finally:
        await index.close()
        server.kill()


async def _make_index_without_scopes(url: str) -> None:
    client = AsyncMilvusClient(uri=url)
    schema = AsyncMilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("pk", DataType.VARCHAR, is_primary=True, max_length=512)
    schema.add_field("org", DataType.VARCHAR, max_length=64, is_partition_key=True)
    schema.add_field("document_id", DataType.VARCHAR, max_length=256)
    schema.add_field("lexical_text", DataType.VARCHAR, max_length=999, enable_analyzer=True)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(Function("bm25", FunctionType.BM25, ["lexical_text"], ["sparse"]))
    name = "documents_before_g1"
    await client.create_collection(name, schema=schema)
    parameters = client.prepare_index_params()
    parameters.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    with suppress(grpc.RpcError):  # Lite creates the index, but has no clock to wait by
        await client.create_index(name, parameters)
    await client.create_alias(name, ALIAS)
    await client.load_collection(name)
    await client.close()


async def test_milvus_creation_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    """A collection without its alias does not stand in the way, and a second ensure is harmless."""
    server = MilvusServer(tmp_path)
    await server.start()
    index = MilvusDocumentIndex(
        server.url, model_id=EMBEDDER.model_id, dimension=EMBEDDER.dimension
    )
    raw = AsyncMilvusClient(uri=server.url, dedicated=True)
    try:
        await index.ensure()
        await raw.drop_alias(ALIAS)
        await index.ensure()
        await add(index, "acme", digest("Sale"))
        await index.ensure()
        assert await index.count("acme") == 1
        assert len(await raw.list_collections()) == 1
    finally:
        await raw.close()
        await index.close()
        server.kill()
