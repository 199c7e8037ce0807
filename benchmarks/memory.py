"""Memory's figures: ingest, point reads, sums, memory and start."""

import asyncio
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Final

import asyncpg
import grpc
import psutil
import pyarrow as pa

from benchmarks.peers import check_equal as check_equal_to_peer
from benchmarks.peers import load_with_dlt
from benchmarks.results import Measurement
from benchmarks.rows import arrow_stream, campaign_rows, typed_batch
from benchmarks.sums import check_equal, queries, statement
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1 import memory_service_pb2_grpc
from liftos_kit.auth import issue_token
from liftos_local import stack
from liftos_local.ports import PortPlan
from liftos_memory.adapters.postgres.entry_columns import (
    CREATE_BATCH,
    copy_messages,
    database_table,
    upsert_sql,
)
from liftos_memory.usecases.batches import prepare_batch

ROWS: Final = 500_000
BATCH: Final = 32_768
TYPED_BATCH: Final = 500
STREAMED_ROWS: Final = 5_000_000
QUERIED_ROWS: Final = 1_000_000
ROUNDS: Final = 3
READS: Final = 20_000
IN_FLIGHT: Final = 32
_UNACKNOWLEDGED: Final = 4
_PLATFORMS: Final = frozenset({"meta", "google_ads"})
_UNLIMITED: Final = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]

Rounds = Callable[[], Awaitable[float]]


class Bench:
    """A running Memory server with its Postgres, and ways to load and to empty it."""

    def __init__(self, running: stack.Stack) -> None:
        self._running = running
        self.environment = running.environment
        self.address = running.addresses["memory"]
        secret = self.environment["LIFTOS_JWT_SECRET"].encode()
        self.metadata = (("authorization", f"Bearer {issue_token(secret=secret, org='bench')}"),)
        self._streams = 0

    async def owner(self) -> asyncpg.Connection:
        """Connect as the owner of the tables, past row-level security."""
        return await asyncpg.connect(
            self.environment["LIFTOS_POSTGRES_OWNER_URL"],
            server_settings={"search_path": "memory"},
        )

    def admin_url(self, database: str = "postgres") -> str:
        """Return the address of a database for Postgres' superuser."""
        return self._running.postgres_admin_url(database)

    async def empty(self) -> None:
        """Throw away all entries."""
        owner = await self.owner()
        await owner.execute(
            "truncate entries, entry_history, commits, orgs, ingest_streams, index_positions,"
            " outbox"
        )
        await owner.close()

    def server_process(self) -> psutil.Process:
        """Return the server's process."""
        return psutil.Process(self._running.status().process("memory").pid)

    async def stream(self, payloads: Iterator[dict[str, Any]] | Sequence[dict[str, Any]]) -> float:
        """Send payloads over one stream; return the seconds until all are committed."""
        self._streams += 1
        stream_id = f"bench-{self._streams}"
        free = asyncio.Semaphore(_UNACKNOWLEDGED)

        async def requests() -> AsyncIterator[pb.IngestEntriesRequest]:
            for sequence, payload in enumerate(payloads, 1):
                await free.acquire()
                yield pb.IngestEntriesRequest(
                    parent="orgs/bench", stream_id=stream_id, sequence=sequence, **payload
                )

        async with grpc.aio.insecure_channel(self.address, options=_UNLIMITED) as channel:
            stub = memory_service_pb2_grpc.MemoryServiceStub(channel)
            started = time.perf_counter()
            async for answer in stub.IngestEntries(requests(), metadata=self.metadata):
                free.release()
                assert not answer.item_errors, answer.item_errors[0]
            return time.perf_counter() - started

    async def count(self) -> int:
        """Return how many entries there are."""
        owner = await self.owner()
        count: int = await owner.fetchval("select count(*) from entries")
        await owner.close()
        return count


@contextmanager
def memory_server(*, with_worker: bool = False, cache: bool = True) -> Iterator[Bench]:
    """Run Memory with real, durable stores and one trace in a hundred sampled."""
    settings = {"LIFTOS_TRACE_SAMPLE_RATIO": "0.01", "LIFTOS_LOG_LEVEL": "WARNING"}
    if not cache:
        settings |= {"LIFTOS_CACHE_BYTES": "0", "LIFTOS_CACHE_REDIS_BYTES": "0"}
    with (
        tempfile.TemporaryDirectory(prefix="liftos-bench-") as folder,
        stack.start(
            Path(folder),
            ports=PortPlan.automatic(),
            services=("memory", "memory-worker") if with_worker else ("memory",),
            settings=settings,
        ) as running,
    ):
        yield Bench(running)


def measure() -> Iterator[Measurement]:
    """Measure everything, one figure after the other."""
    # What is asked again must be computed again here; benchmarks.cache tells of the cache.
    with memory_server(cache=False) as bench:
        yield from asyncio.run(_ingest(bench))
        yield from asyncio.run(_peers(bench))
        yield from asyncio.run(_point_reads(bench))
        yield from asyncio.run(_sums(bench))
    with memory_server() as bench:
        yield asyncio.run(_memory_growth(bench))
    yield _start()


async def _alternate(bench: Bench, *rounds: Rounds) -> list[list[float]]:
    """Run each in turn on an empty store, several times; return the seconds of each."""
    seconds: list[list[float]] = [[] for _ in rounds]
    for _ in range(ROUNDS):
        for number, run in enumerate(rounds):
            await bench.empty()
            seconds[number].append(await run())
            assert await bench.count() == ROWS
    return seconds


async def _ingest(bench: Bench) -> list[Measurement]:
    batches = [
        campaign_rows(min(BATCH, ROWS - first), first=first) for first in range(0, ROWS, BATCH)
    ]
    prepared = [_copy_data(rows) for rows in batches]
    arrow = [{"arrow": arrow_stream(rows)} for rows in batches]
    typed = [
        {"rows": typed_batch(rows.slice(first, TYPED_BATCH))}
        for rows in batches
        for first in range(0, rows.num_rows, TYPED_BATCH)
    ]
    await bench.empty()
    await bench.stream(arrow[:1])  # makes the partitions, for all that follow
    bare, by_arrow, by_rows = await _alternate(
        bench,
        lambda: _bare_upsert(bench, prepared),
        lambda: bench.stream(arrow),
        lambda: bench.stream(typed),
    )
    base = ROWS / statistics.median(bare)
    words = "{} rows/s, bare COPY and INSERT {}"
    return [
        _rate(name, ROWS / statistics.median(seconds), base, target=target, words=words)
        for name, seconds, target in (
            ("ingest_arrow", by_arrow, 0.60),
            ("ingest_typed", by_rows, 0.25),
        )
    ]


def _rate(name: str, ours: float, theirs: float, *, target: float, words: str) -> Measurement:
    detail = words.format(f"{ours:,.0f}", f"{theirs:,.0f}")
    return Measurement(name, ours / theirs, target, "higher", detail)


def _copy_data(rows: pa.Table) -> tuple[list[bytes], int]:
    """Return rows as the bytes of a binary COPY, ready to be sent."""
    checked = prepare_batch(rows, today=date(2026, 1, 1), known_platforms=_PLATFORMS)
    assert not checked.errors
    return list(copy_messages(database_table(checked.rows))), rows.num_rows


async def _bare_upsert(bench: Bench, batches: Sequence[tuple[list[bytes], int]]) -> float:
    """COPY and INSERT … ON CONFLICT of ready bytes into the same tables, and nothing else."""
    owner = await bench.owner()
    await owner.execute(CREATE_BATCH)
    await owner.execute("select set_config('liftos.tx', '0', false)")
    statement = upsert_sql("batch")
    started = time.perf_counter()
    for messages, _ in batches:
        async with owner.transaction():
            await owner.copy_to_table(
                "batch", schema_name="pg_temp", format="binary", source=_each(messages)
            )
            await owner.execute(statement, "bench", None, "bare", 0)
    seconds = time.perf_counter() - started
    await owner.close()
    return seconds


async def _each(messages: Sequence[bytes]) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


async def _peers(bench: Bench) -> list[Measurement]:
    rows = campaign_rows(ROWS)
    url = bench.environment["LIFTOS_POSTGRES_OWNER_URL"]
    with tempfile.TemporaryDirectory() as folder:
        dlt_rows = load_with_dlt(
            url, rows, dataset="dlt_rows", as_arrow=False, folder=f"{folder}/rows"
        )
        dlt_arrow = load_with_dlt(
            url, rows, dataset="dlt_arrow", as_arrow=True, folder=f"{folder}/arrow"
        )
    half = ROWS // 2
    owner = await bench.owner()
    python_rows = rows.to_pylist()
    ours_rows = await _two_streams(
        bench,
        _from_python_rows(python_rows[:half], rows.schema),
        _from_python_rows(python_rows[half:], rows.schema),
    )
    await check_equal_to_peer(owner, rows, dataset="dlt_rows")
    ours_arrow = await _two_streams(
        bench, _from_arrow(rows.slice(0, half)), _from_arrow(rows.slice(half))
    )
    await check_equal_to_peer(owner, rows, dataset="dlt_arrow")
    await owner.close()
    return [
        Measurement(
            "dlt_from_python_rows",
            dlt_rows / ours_rows,
            10,
            "higher",
            f"{ours_rows:.1f} s, dlt {dlt_rows:.1f} s",
        ),
        Measurement(
            "dlt_from_arrow",
            dlt_arrow / ours_arrow,
            2,
            "higher",
            f"{ours_arrow:.1f} s, dlt {dlt_arrow:.1f} s",
        ),
    ]


async def _two_streams(bench: Bench, *halves: Iterator[dict[str, Any]]) -> float:
    """Send two halves at once, as dlt loads its files in parallel; return the seconds."""
    await bench.empty()
    started = time.perf_counter()
    await asyncio.gather(*(bench.stream(half) for half in halves))
    return time.perf_counter() - started


def _from_arrow(rows: pa.Table) -> Iterator[dict[str, Any]]:
    for first in range(0, rows.num_rows, BATCH):
        yield {"arrow": arrow_stream(rows.slice(first, BATCH))}


def _from_python_rows(rows: list[dict[str, Any]], schema: pa.Schema) -> Iterator[dict[str, Any]]:
    for first in range(0, len(rows), BATCH):
        yield {"arrow": arrow_stream(pa.Table.from_pylist(rows[first : first + BATCH], schema))}


async def _point_reads(bench: Bench) -> list[Measurement]:
    owner = await bench.owner()
    found = await owner.fetch(
        "select to_char(date, 'YYYYMMDD') || '-' || encode(entry_key, 'hex') as entry"
        f" from entries tablesample system (20) limit {READS}"
    )
    await owner.close()
    names = [f"orgs/bench/entries/{row['entry']}" for row in found]
    random.Random(1).shuffle(names)
    with _empty_server() as address:
        ours, theirs = [], []
        for _ in range(ROUNDS):
            theirs.append(await _calls_per_second(address, _empty_call(names)))
            ours.append(await _calls_per_second(bench.address, _get_entry(bench, names)))
    return [
        _rate(
            "get_entry",
            statistics.median(ours),
            statistics.median(theirs),
            target=0.35,
            words="{} calls/s, empty method {}",
        )
    ]


Call = Callable[[grpc.aio.Channel], Callable[[int], Awaitable[object]]]


def _empty_call(names: Sequence[str]) -> Call:
    def bind(channel: grpc.aio.Channel) -> Callable[[int], Awaitable[object]]:
        method: Any = channel.unary_unary("/bench.Empty/Call")
        return lambda number: method(names[number % len(names)].encode())

    return bind


def _get_entry(bench: Bench, names: Sequence[str]) -> Call:
    def bind(channel: grpc.aio.Channel) -> Callable[[int], Awaitable[object]]:
        stub = memory_service_pb2_grpc.MemoryServiceStub(channel)
        return lambda number: stub.GetEntry(
            pb.GetEntryRequest(name=names[number % len(names)]), metadata=bench.metadata
        )

    return bind


async def _calls_per_second(address: str, call: Call) -> float:
    async with grpc.aio.insecure_channel(address) as channel:
        invoke = call(channel)
        numbers = iter(range(READS))

        async def caller() -> None:
            for number in numbers:
                await invoke(number)

        for number in range(200):  # connections, plans and code paths
            await invoke(number)
        started = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
        return READS / (time.perf_counter() - started)


@contextmanager
def _empty_server() -> Iterator[str]:
    """Run a grpc.aio server with one method that does nothing, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.empty_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        try:
            yield address
        finally:
            process.terminate()


async def _sums(bench: Bench) -> list[Measurement]:
    await bench.empty()
    await bench.stream(
        {"arrow": arrow_stream(campaign_rows(min(BATCH, QUERIED_ROWS - first), first=first))}
        for first in range(0, QUERIED_ROWS, BATCH)
    )
    owner = await bench.owner()
    await owner.execute("analyze entries")
    await owner.close()
    return [await _sum(bench, name, request) for name, request in queries().items()]


async def _sum(bench: Bench, name: str, request: pb.QueryMetricsRequest) -> Measurement:
    by_hand = statement(name)
    ours, theirs = [], []
    owner = await bench.owner()
    async with grpc.aio.insecure_channel(bench.address, options=_UNLIMITED) as channel:
        stub = memory_service_pb2_grpc.MemoryServiceStub(channel)
        for _ in range(2 * ROUNDS):
            started = time.perf_counter()
            rows = await owner.fetch(by_hand)
            theirs.append(time.perf_counter() - started)
            started = time.perf_counter()
            answer = await stub.QueryMetrics(request, metadata=bench.metadata)
            ours.append(time.perf_counter() - started)
            check_equal(answer, rows)
    await owner.close()
    mine, bare = statistics.median(ours), statistics.median(theirs)
    detail = f"{mine * 1e3:,.0f} ms, SQL by hand {bare * 1e3:,.0f} ms, {len(answer.rows):,} rows"
    return Measurement(f"query_metrics_{name}", mine / bare, 1.3, "lower", detail)


async def _memory_growth(bench: Bench) -> Measurement:
    process = bench.server_process()
    idle = process.memory_info().rss
    highest = idle

    def payloads() -> Iterator[dict[str, Any]]:
        nonlocal highest
        for first in range(0, STREAMED_ROWS, BATCH):
            highest = max(highest, process.memory_info().rss)
            rows = campaign_rows(min(BATCH, STREAMED_ROWS - first), first=first)
            yield {"arrow": arrow_stream(rows)}

    seconds = await bench.stream(payloads())
    highest = max(highest, process.memory_info().rss)
    assert await bench.count() == STREAMED_ROWS
    growth = (highest - idle) / 2**20
    detail = f"{idle / 2**20:.0f} MiB idle, {highest / 2**20:.0f} at most, {seconds:.0f} s"
    return Measurement("server_memory_growth_mib", growth, 150, "lower", detail)


def _start() -> Measurement:
    with tempfile.TemporaryDirectory(prefix="liftos-bench-") as folder:
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            with stack.start(Path(folder), ports=PortPlan.automatic()):
                seconds.append(time.perf_counter() - started)
    first, second = seconds
    return Measurement("up_again_seconds", second, 15, "lower", f"first time {first:.1f} s")
