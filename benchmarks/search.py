"""Search beside a bare hybrid search of the same collection, and what its index finds.

Documents are made by the product's own functions and put into its stores by its own adapters, each
with a vector near that of a real line: to embed a hundred thousand would take most of an hour and
change nothing about how they are searched.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Iterator, Sequence
from datetime import date, timedelta
from typing import Final

import grpc
import numpy as np
from pymilvus import AnnSearchRequest, AsyncMilvusClient, WeightedRanker

from benchmarks.embedding import marketing_texts
from benchmarks.memory import Bench, memory_server
from benchmarks.results import DifferenceError, Measurement
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1 import memory_service_pb2_grpc
from liftos_kit import postgres
from liftos_memory.adapters.embedders import open_embedder
from liftos_memory.adapters.milvus import ALIAS, MilvusDocumentIndex
from liftos_memory.adapters.postgres.database import SCHEMA, Database
from liftos_memory.adapters.postgres.documents import PostgresDocumentStore
from liftos_memory.document_ports import Work
from liftos_memory.domain.documents import (
    Document,
    ObjectKey,
    ObjectNames,
    WeeklyFacts,
    weekly_document,
)
from liftos_memory.domain.lexical import lexical_text
from liftos_memory.search_ports import Embedder, Vectors
from liftos_memory.usecases.search import LEG_DEPTH

SIZES: Final = (20_000, 100_000)
QUERIES: Final = 24
EVALUATED_QUERIES: Final = 30
_BATCH: Final = 500
_UNSETTLED: Final = 10_000
_WEEKS: Final = 50
_LINES: Final = 2_000
_NAMES: Final = ("boots", "furniture", "running shoes", "gift cards", "coats", "cookware")
_FIRST_WEEK: Final = date(2025, 1, 6)
_EMBEDDER: Final = "onnx:all-MiniLM-L6-v2"
_EVALUATION_SECONDS: Final = 180.0


def measure() -> Iterator[Measurement]:
    """Measure each size, on one store that grows."""
    with memory_server() as bench:
        yield from asyncio.run(_measure(bench))


async def _measure(bench: Bench) -> list[Measurement]:
    pool = await postgres.create_pool(
        bench.environment["LIFTOS_POSTGRES_URL"],
        application_name="bench",
        minimum=1,
        maximum=2,
        schema=SCHEMA,
    )
    database = Database(pool)
    embedder = open_embedder(_EMBEDDER, threads=2, api_key="")
    index = MilvusDocumentIndex(
        bench.environment["LIFTOS_MILVUS_URL"],
        model_id=embedder.model_id,
        dimension=embedder.dimension,
    )
    found = []
    try:
        await index.ensure()
        lines = await embedder.embed_documents(marketing_texts(_LINES))
        loaded = 0
        for size in SIZES:
            numbers = range(loaded, size)
            await _load(PostgresDocumentStore(database), index, embedder.model_id, lines, numbers)
            loaded = size
            found += await _measured(bench, embedder, size)
    finally:
        await index.close()
        await embedder.close()
        await database.close()
        await pool.close()
    return found


async def _load(
    store: PostgresDocumentStore,
    index: MilvusDocumentIndex,
    model_id: str,
    lines: Vectors,
    numbers: range,
) -> None:
    """Put documents into Postgres and the index, with their vectors in both."""
    draw = np.random.default_rng(numbers.start)
    for start in numbers[::_BATCH]:
        documents = [_document(each) for each in numbers[start - numbers.start :][:_BATCH]]
        near = lines[draw.integers(0, len(lines), len(documents))]
        vectors = near + draw.normal(size=near.shape) / near.shape[1] ** 0.5
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        hashes = [document.embedding_hash for document in documents]
        await store.keep_vectors(model_id, dict(zip(hashes, vectors, strict=True)))
        await index.upsert("bench", documents, vectors)
        await store.save(
            "bench", Work({}), documents=documents, objects=[], gone=[], compare_now=False
        )
        if not (start + _BATCH) % _UNSETTLED:
            await index.settle()
    await index.settle()


def _document(number: int) -> Document:
    """Return the digest of one week of one campaign; no two have the same text."""
    campaign, week = divmod(number, _WEEKS)
    return weekly_document(
        WeeklyFacts(
            key=ObjectKey("meta", "CAMPAIGN", f"act_{campaign % 20}", str(10_000 + campaign)),
            names=ObjectNames(campaign_name=f"{_NAMES[campaign % 6]} {campaign} {week}"),
            channel="social",
            currency_code="USD",
            week_start=_FIRST_WEEK + timedelta(weeks=week),
            sums={
                "spend_micros": (1 + number % 997) * 1_000_000,
                "impressions": 1_000 + number % 9_973,
                "clicks": 10 + number % 499,
            },
            prior_sums={"spend_micros": (1 + number % 877) * 1_000_000, "clicks": 60},
        )
    )


async def _measured(bench: Bench, embedder: Embedder, size: int) -> list[Measurement]:
    mine, again, bare, embedding = [], [], [], []
    # A shared connection that was idle waits for its own lock once its server has closed it.
    client = AsyncMilvusClient(bench.environment["LIFTOS_MILVUS_URL"], dedicated=True)
    async with grpc.aio.insecure_channel(bench.address) as channel:
        stub = memory_service_pb2_grpc.MemoryServiceStub(channel)
        queries = [f"{text}, {size}" for text in marketing_texts(QUERIES + 2)]
        for place, query in enumerate(queries):
            request = pb.SearchDocumentsRequest(parent="orgs/bench", query=query)
            started = time.perf_counter()
            vector = await embedder.embed_query(query)
            embedded = time.perf_counter() - started
            # Whoever comes second finds things warm, so they take turns.
            if place % 2:
                bare_seconds = await _timed(_bare_hybrid(client, vector, query))
            answer, seconds = await _answered(stub, request, bench)
            if not place % 2:
                bare_seconds = await _timed(_bare_hybrid(client, vector, query))
            _, repeated = await _answered(stub, request, bench)
            if len(answer.hits) != 10 or any(leg.note for leg in answer.legs):
                raise DifferenceError(f"search said {answer.legs} of {len(answer.hits)} hits")
            if place < 2:  # the first ones open what is closed
                continue
            embedding.append(embedded)
            bare.append(bare_seconds)
            mine.append(seconds)
            again.append(repeated)
        evaluation = await stub.EvaluateSearch(
            pb.EvaluateSearchRequest(parent="orgs/bench", query_count=EVALUATED_QUERIES),
            metadata=bench.metadata,
            timeout=_EVALUATION_SECONDS,
        )
    await client.close()
    if evaluation.document_count != size:
        raise DifferenceError(f"there are {evaluation.document_count} documents, not {size}")
    return [*_times(size, mine, again, bare, embedding), *_relevance(size, evaluation)]


async def _answered(
    stub: "memory_service_pb2_grpc.MemoryServiceAsyncStub",
    request: pb.SearchDocumentsRequest,
    bench: Bench,
) -> tuple[pb.SearchDocumentsResponse, float]:
    started = time.perf_counter()
    answer = await stub.SearchDocuments(request, metadata=bench.metadata)
    return answer, time.perf_counter() - started


async def _timed(call: Awaitable[None]) -> float:
    started = time.perf_counter()
    await call
    return time.perf_counter() - started


async def _bare_hybrid(client: AsyncMilvusClient, vector: Vectors, query: str) -> None:
    """Search as deep as the service does, in the same documents, and take ids."""
    legs = [
        AnnSearchRequest(
            data=[data],
            anns_field=field,
            param={"metric_type": metric, "params": {}},
            limit=LEG_DEPTH,
            expr='org == "bench"',
        )
        for data, field, metric in (
            (vector.tolist(), "dense", "COSINE"),
            (lexical_text(query), "sparse", "BM25"),
        )
    ]
    await client.hybrid_search(
        ALIAS, legs, WeightedRanker(0.5, 0.5), limit=10, output_fields=["document_id"]
    )


def _times(
    size: int,
    mine: Sequence[float],
    again: Sequence[float],
    bare: Sequence[float],
    embedding: Sequence[float],
) -> list[Measurement]:
    ours, repeated, theirs, vector = map(statistics.median, (mine, again, bare, embedding))
    words = (
        f"p50 {ours * 1e3:.0f} ms, of it {vector * 1e3:.1f} to embed the query; bare pymilvus"
        f" {theirs * 1e3:.0f} ms"
    )
    return [
        Measurement(
            f"search_over_bare_hybrid_{size}", (ours - vector) / theirs, 1.3, "lower", words
        ),
        Measurement(
            f"repeated_search_over_bare_hybrid_{size}",
            repeated / theirs,
            0.1,
            "lower",
            f"p50 {repeated * 1e3:.2f} ms",
        ),
    ]


def _relevance(size: int, evaluation: pb.EvaluateSearchResponse) -> list[Measurement]:
    words = f"{evaluation.query_count} queries, half of them filtered, {size:,} documents"
    return [
        Measurement(f"index_recall_at_10_{size}", evaluation.recall_at_10, 0.99, "higher", words),
        Measurement(
            f"filter_accuracy_{size}",
            evaluation.filter_accuracy,
            1.0,
            "higher",
            f"{evaluation.filtered_hit_count} hits",
        ),
    ]
