"""The cache's figures: what is asked again, against the first time and against bare Milvus."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

import grpc
import numpy as np
from pymilvus import AnnSearchRequest, AsyncMilvusClient, WeightedRanker

from benchmarks.memory import BATCH, Bench, memory_server
from benchmarks.results import Measurement
from benchmarks.rows import arrow_stream, campaign_rows
from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import entry_pb2, memory_service_pb2_grpc
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_memory.domain.lexical import lexical_text

ROWS: Final = 60_000
QUESTIONS: Final = 20
REPEATS: Final = 20
_LEG_DEPTH: Final = 200
_INDEXING_SECONDS: Final = 1_200.0
_WORDS: Final = ("rising", "falling", "costly", "busy", "quiet", "steady")


def measure() -> Iterator[Measurement]:
    """Measure everything, on one store."""
    with memory_server(with_worker=True) as bench:
        yield from asyncio.run(_measure(bench))


async def _measure(bench: Bench) -> list[Measurement]:
    await bench.stream(
        {"arrow": arrow_stream(campaign_rows(min(BATCH, ROWS - first), first=first))}
        for first in range(0, ROWS, BATCH)
    )
    async with grpc.aio.insecure_channel(bench.address) as channel:
        stub = memory_service_pb2_grpc.MemoryServiceStub(channel)
        count = await _wait_for_index(bench, stub)
        ask: dict[str, Callable[[int], Awaitable[object]]] = {
            "search": lambda number: stub.SearchDocuments(
                pb.SearchDocumentsRequest(parent="orgs/bench", query=_query(number)),
                metadata=bench.metadata,
            ),
            "query_metrics": lambda number: stub.QueryMetrics(
                pb.QueryMetricsRequest(
                    parent="orgs/bench",
                    level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
                    date_range=marketing_pb2.DateRange(
                        start_date="2025-01-01", end_date=f"2025-06-{number + 1:02}"
                    ),
                    group_by=["account_id", "platform"],
                ),
                metadata=bench.metadata,
            ),
            "compare_metrics": lambda number: stub.CompareMetrics(
                pb.CompareMetricsRequest(
                    parent="orgs/bench",
                    level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
                    date_range=marketing_pb2.DateRange(
                        start_date="2025-04-01", end_date=f"2025-06-{number + 1:02}"
                    ),
                    metrics=["roas", "ctr", "spend"],
                    dimension="campaign_id",
                ),
                metadata=bench.metadata,
            ),
        }
        bare = await _bare_hybrid(bench)
        found = []
        for name, call in ask.items():
            first = [await _seconds(call, number) for number in range(QUESTIONS)]
            again = [
                await _seconds(call, number) for _ in range(REPEATS) for number in range(QUESTIONS)
            ]
            found.append(_ratio(f"repeated_{name}_over_first", again, first, words="the first"))
            if name == "search":
                words = f"bare pymilvus over {count:,} documents"
                found.append(_ratio("repeated_search_over_bare_hybrid", again, bare, words=words))
    return found


def _query(number: int) -> str:
    return f"campaign {number} {_WORDS[number % len(_WORDS)]} weeks"


async def _seconds(call: Callable[[int], Awaitable[object]], number: int) -> float:
    started = time.perf_counter()
    await call(number)
    return time.perf_counter() - started


def _ratio(name: str, mine: Sequence[float], theirs: Sequence[float], *, words: str) -> Measurement:
    ours, base = statistics.median(mine), statistics.median(theirs)
    detail = f"p50 {ours * 1e3:.2f} ms, {words} {base * 1e3:.2f} ms"
    return Measurement(name, ours / base, 0.1, "lower", detail)


async def _wait_for_index(
    bench: Bench, stub: "memory_service_pb2_grpc.MemoryServiceAsyncStub"
) -> int:
    """Return how many documents there are, once nothing waits."""
    owner = await bench.owner()
    ends = time.monotonic() + _INDEXING_SECONDS
    try:
        while await owner.fetchval("select index_waits from read_state('bench')"):
            assert time.monotonic() < ends, "the worker is stuck"
            await asyncio.sleep(0.5)
        count: int = await owner.fetchval("select count(*) from documents")
    finally:
        await owner.close()
    await stub.SearchDocuments(
        pb.SearchDocumentsRequest(parent="orgs/bench", query="warm up"), metadata=bench.metadata
    )
    return count


async def _bare_hybrid(bench: Bench) -> list[float]:
    """Time hybrid searches of the same collection, with the vector of the query given."""
    random = np.random.default_rng(1)
    # A shared connection that was idle waits for its own lock once its server has closed it.
    client = AsyncMilvusClient(bench.environment["LIFTOS_MILVUS_URL"], dedicated=True)
    seconds = []
    for number in range(QUESTIONS):
        vector = random.normal(size=384)
        vector /= np.linalg.norm(vector)
        legs = [
            AnnSearchRequest(
                data=[data],
                anns_field=field,
                param={"metric_type": metric, "params": {}},
                limit=_LEG_DEPTH,
                expr='org == "bench"',
            )
            for data, field, metric in (
                (vector.tolist(), "dense", "COSINE"),
                (lexical_text(_query(number)), "sparse", "BM25"),
            )
        ]
        started = time.perf_counter()
        await client.hybrid_search(
            "documents", legs, WeightedRanker(0.5, 0.5), limit=10, output_fields=["document_id"]
        )
        seconds.append(time.perf_counter() - started)
    await client.close()
    return seconds
