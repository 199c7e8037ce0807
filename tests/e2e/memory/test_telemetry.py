"""Traces, logs and metrics of real processes: one ingest and one search, followed through all."""

import asyncio
import json
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from tests.e2e.memory.indexing_harness import entry, eventually, monday, running_milvus
from tests.e2e.memory.memory_process import memory_process

from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import entry_pb2, memory_service_pb2_grpc
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.spans import SpanRecord, read_trace, render_waterfall
from liftos_kit.testing.server import authorization
from liftos_local.testing import TestDatabase

# Each process loads drivers first.
pytestmark = pytest.mark.timeout(120)

ORG = "traced"
INGEST, SEARCH = "a" * 31 + "1", "b" * 31 + "2"
SECRET_NAME = "Zanzibar moonlight"
QUERY = "moonlight over zanzibar"


@dataclass(frozen=True)
class Observed:
    """What is left of one ingest and one search.

    Attributes:
        spans: Directory of the span files.
        logs: Lines of server and worker.
        metrics: Samples of server and worker by name, with their labels as Prometheus writes them.
    """

    spans: Path
    logs: Mapping[str, Sequence[Mapping[str, Any]]]
    metrics: Mapping[str, Mapping[str, float]]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
async def observed(database: TestDatabase, tmp_path_factory: pytest.TempPathFactory) -> Observed:
    """Server and worker that have ingested and searched once."""
    folder = tmp_path_factory.mktemp("telemetry")
    ports = {name: _free_port() for name in ("serve", "worker", "grpc")}

    async with running_milvus(folder / "milvus") as milvus:

        def variables(program: str) -> dict[str, str]:
            return {
                **database.environment,
                "LIFTOS_MILVUS_URL": milvus.url,
                "LIFTOS_PORT": str(ports["grpc"]),
                "LIFTOS_METRICS_PORT": str(ports[program]),
                "LIFTOS_SPAN_DIRECTORY": str(folder / "spans"),
                "LIFTOS_LOG_LEVEL": "DEBUG",
            }

        async with (
            memory_process("serve", variables("serve"), log=folder / "serve"),
            memory_process("worker", variables("worker"), log=folder / "worker"),
            grpc.aio.insecure_channel(f"127.0.0.1:{ports['grpc']}") as channel,
        ):
            stub: Any = memory_service_pb2_grpc.MemoryServiceStub(channel)
            await asyncio.wait_for(channel.channel_ready(), 30)
            await _ingest_and_search(stub)
            await eventually(lambda: _lag_is(ports["worker"], 0.0))
            await eventually(lambda: _is_whole(folder / "spans"))
            metrics = {name: await _scrape(ports[name]) for name in ("serve", "worker")}
    logs = {name: _json_lines(folder / name) for name in ("serve", "worker")}
    return Observed(folder / "spans", logs, metrics)


async def _ingest_and_search(stub: Any) -> None:
    def metadata(trace_id: str) -> tuple[tuple[str, str], ...]:
        parent = ("traceparent", f"00-{trace_id}-{'c' * 16}-01")
        return (*authorization(ORG, roles=("admin",)), parent)

    # The first answer kept after Redis has started teaches it the script, which is another trace.
    await stub.QueryMetrics(
        pb.QueryMetricsRequest(
            parent=f"orgs/{ORG}",
            date_range=marketing_pb2.DateRange(start_date="2020-01-01", end_date="2020-01-02"),
            level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
        ),
        metadata=metadata("d" * 32),
        timeout=30,
    )
    good = entry(monday(2), campaign_name=SECRET_NAME)
    bad = entry(monday(2), account_id="")
    written = await stub.BatchUpsertEntries(
        pb.BatchUpsertEntriesRequest(
            parent=f"orgs/{ORG}", rows=entry_pb2.EntryBatch(entries=[good, bad])
        ),
        metadata=metadata(INGEST),
    )
    assert written.upserted_count == 1
    found = await stub.SearchDocuments(
        pb.SearchDocumentsRequest(
            parent=f"orgs/{ORG}",
            query=QUERY,
            consistency=marketing_pb2.Consistency(at_least_as_fresh=written.write_token),
        ),
        metadata=metadata(SEARCH),
        timeout=30,
    )
    assert len(found.hits) == 2


async def _scrape(port: int) -> dict[str, float]:
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {
        re.sub(r'otel_scope_[a-z]+="[^"]*",?', "", name): float(value) for name, _, value in lines
    }


async def _lag_is(port: int, commits: float) -> bool:
    found = await _scrape(port)
    return _sum(found, "liftos_outbox_lag_commits") == commits


async def _is_whole(directory: Path) -> bool:
    """Whether the spans that begin the traces, and so all below them, have been written."""
    roots = {"BatchUpsertEntries", "SearchDocuments", "index documents"}
    names = [span.name for trace in (INGEST, SEARCH) for span in read_trace(directory, trace)]
    return all(any(name.endswith(root) for name in names) for root in roots)


def _json_lines(path: Path) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]


def _sum(samples: Mapping[str, float], name: str, **labels: str) -> float | None:
    """Add up the samples of a metric with some labels; None where there is none."""
    found = [
        value
        for key, value in samples.items()
        if key.partition("{")[0] == name
        and all(f'{label}="{wanted}"' in key for label, wanted in labels.items())
    ]
    return sum(found) if found else None


def _steps(spans: Sequence[SpanRecord]) -> set[tuple[str, str]]:
    """Which service used which store, or did which other thing."""
    return {
        (
            span.service,
            str(span.attributes.get("db.system.name") or span.attributes.get("db.system") or "")
            or span.name,
        )
        for span in spans
    }


async def test_an_ingest_is_one_trace_through_server_worker_and_stores(observed: Observed) -> None:
    """The commit carries the trace to the worker, whose round continues it down to the index."""
    spans = read_trace(observed.spans, INGEST)
    assert {
        ("liftos-memory", "liftos.memory.v1.MemoryService/BatchUpsertEntries"),
        ("liftos-memory", "postgresql"),
        ("liftos-memory-worker", "index documents"),
        ("liftos-memory-worker", "postgresql"),
        ("liftos-memory-worker", "embed documents"),
        ("liftos-memory-worker", "milvus"),
    } <= _steps(spans)
    _check_is_connected(spans)
    names = {span.name for span in spans if span.service == "liftos-memory-worker"}
    assert "upsert documents" in names
    assert render_waterfall(spans)


async def test_a_search_is_one_trace_through_all_stores(observed: Observed) -> None:
    """It shows Redis, the embedder, both legs in Milvus, and the documents from Postgres."""
    spans = read_trace(observed.spans, SEARCH)
    assert {
        ("liftos-memory", "liftos.memory.v1.MemoryService/SearchDocuments"),
        ("liftos-memory", "postgresql"),
        ("liftos-memory", "redis"),
        ("liftos-memory", "embed query"),
        ("liftos-memory", "milvus"),
    } == _steps(spans)
    _check_is_connected(spans)
    assert {span.name for span in spans if "redis" in str(span.attributes)} >= {"GET", "EVALSHA"}
    assert sum(span.name.startswith("search ") for span in spans) == 2


def _check_is_connected(spans: Sequence[SpanRecord]) -> None:
    """Every span hangs below the caller's."""
    ids = {span.span_id for span in spans} | {"c" * 16}
    assert all(span.parent_id in ids for span in spans)
    assert all(span.status != "ERROR" for span in spans)


async def test_traces_and_logs_carry_no_contents(observed: Observed) -> None:
    """Neither names from entries nor queries, keys or vectors are told."""
    spans = [*read_trace(observed.spans, INGEST), *read_trace(observed.spans, SEARCH)]
    text = repr(spans) + json.dumps(observed.logs)
    assert SECRET_NAME.lower() not in text.lower()
    assert QUERY not in text
    statements = {
        str(value)
        for span in spans
        for name, value in span.attributes.items()
        if "redis" in str(span.attributes) and name in {"db.statement", "db.query.text"}
    }
    assert statements
    assert all(re.fullmatch(r"[A-Z]+( \?)*", statement) for statement in statements), statements


async def test_log_lines_of_both_processes_carry_the_trace(observed: Observed) -> None:
    """The server's line of a call and the worker's line of a round name the same trace."""
    events = {
        (name, line["event"], line.get("trace_id"))
        for name, lines in observed.logs.items()
        for line in lines
    }
    assert ("serve", "rpc", INGEST) in events
    assert ("serve", "rpc", SEARCH) in events
    assert ("worker", "indexed", INGEST) in events


MEASURED: list[tuple[str, str, dict[str, str], Callable[[float], bool]]] = [
    ("serve", "liftos_ingest_rows_total", {"liftos_outcome": "upserted"}, lambda n: n == 1),
    ("serve", "liftos_ingest_rows_total", {"liftos_outcome": "refused"}, lambda n: n == 1),
    ("serve", "liftos_ingest_batch_duration_seconds_count", {}, lambda n: n == 1),
    ("serve", "liftos_search_leg_duration_seconds_count", {}, lambda n: n == 2),
    (
        "serve",
        "liftos_search_leg_duration_seconds_count",
        {"liftos_search_leg": "neural", "liftos_outcome": "answered"},
        lambda n: n == 1,
    ),
    (
        "serve",
        "liftos_cache_requests_total",
        {
            "liftos_cache_result": "miss",
            "liftos_cache_tier": "redis",
            "liftos_cache_what": "query_vector",
        },
        lambda n: n == 1,
    ),
    (
        "serve",
        "liftos_cache_duration_seconds_count",
        {"liftos_cache_tier": "process", "liftos_cache_what": "query_vector"},
        lambda n: n == 1,
    ),
    (
        "serve",
        "liftos_embedding_duration_seconds_count",
        {"liftos_embedding_what": "query"},
        lambda n: n == 1,
    ),
    (
        "worker",
        "liftos_embedding_duration_seconds_count",
        {"liftos_embedding_what": "documents"},
        lambda n: n >= 1,
    ),
    ("worker", "liftos_outbox_documents_total", {"liftos_outcome": "written"}, lambda n: n == 2),
    ("worker", "liftos_outbox_lag_commits", {}, lambda n: n >= 0),
    ("worker", "liftos_outbox_lag_time_seconds", {}, lambda n: n >= 0),
    ("serve", "rpc_server_call_duration_seconds_count", {}, lambda n: n >= 2),
    (
        "serve",
        "db_client_operation_duration_seconds_count",
        {"db_system_name": "milvus"},
        lambda n: n >= 2,
    ),
]


@pytest.mark.parametrize(
    ("process", "name", "labels", "holds"),
    MEASURED,
    ids=[f"{process} {name} {labels}" for process, name, labels, _ in MEASURED],
)
async def test_metrics_are_set(
    observed: Observed,
    process: str,
    name: str,
    labels: dict[str, str],
    holds: Callable[[float], bool],
) -> None:
    """What happened stands in the metrics of the process in which it happened."""
    value = _sum(observed.metrics[process], name, **labels)
    assert value is not None, sorted({key.partition("{")[0] for key in observed.metrics[process]})
    assert holds(value), value
