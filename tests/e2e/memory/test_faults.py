"""Memory as real processes over real stores that are killed: nothing acknowledged is lost.

What is killed comes back by itself, since the stack keeps its processes running. A store that has
to stay away for a while is killed and its port is taken, so that it cannot come back before it may.
"""

import asyncio
import os
import random
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any, Final

import asyncpg
import grpc
import pyarrow as pa
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.inprocess.kit.statuses import Refusal, refusal_of

from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import document_pb2, entry_pb2, memory_service_pb2_grpc, slice_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.auth import issue_token
from liftos_local.ports import PortPlan
from liftos_local.stack import Stack, start
from liftos_local.state import ProcessState
from liftos_memory.adapters.embedders import open_embedder
from liftos_memory.adapters.milvus import MilvusDocumentIndex

pytestmark = pytest.mark.timeout(120)

_SERVICE: Final = "liftos.memory.v1.MemoryService"
_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_EMBEDDER: Final = "hash:"
_ROWS_A_BATCH: Final = 20
_UNACKNOWLEDGED: Final = 4
_COMES_BACK_WITHIN_SECONDS: Final = 60.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Stores, Memory's server and its worker, as processes."""
    settings = {"LIFTOS_EMBEDDER": _EMBEDDER, "LIFTOS_DRAIN_SECONDS": "5"}
    with start(
        tmp_path_factory.mktemp("faults"),
        ports=PortPlan.automatic(),
        settings=settings,
        # The settings are Memory's own, which other services refuse.
        services=("memory", "memory-worker"),
        durable=False,
    ) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Memory:
    """The service under test, seen from outside.

    Attributes:
        stack: What it runs in.
        channel: To its port; it connects again by itself.
    """

    stack: Stack
    channel: grpc.aio.Channel

    def member(self, org: str) -> "Member":
        """Return an admin of an org."""
        token = issue_token(secret=self.stack.environment["LIFTOS_JWT_SECRET"].encode(), org=org)
        return Member(
            org,
            memory_service_pb2_grpc.MemoryServiceStub(self.channel),
            (("authorization", f"Bearer {token}"),),
        )

    async def health(self, name: str) -> int | None:
        """Return a status of grpc.health.v1; None while nobody answers."""
        stub: Any = health_pb2_grpc.HealthStub(self.channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
        except grpc.aio.AioRpcError:
            return None
        return int(answer.status)

    def pid(self, process: str) -> int:
        """Return the process id of a process that runs."""
        pid = self.stack.status().process(process).pid
        assert pid is not None
        return pid

    async def end(self, process: str, number: signal.Signals) -> None:
        """Send a process a signal that ends it, and wait until another one has its place."""
        pid = self.pid(process)
        os.kill(pid, number)

        async def is_another() -> bool:
            return self.stack.status().process(process).pid not in (None, pid)

        await eventually(is_another, f"{process} was started again")

    async def until_healthy(self) -> None:
        """Wait until every process is well and the service answers."""

        async def is_well() -> bool:
            states = {process.state for process in self.stack.status().processes}
            names = (_SERVICE, "postgres", "redis", "milvus")
            return states == {ProcessState.HEALTHY} and all(
                [await self.health(name) == _SERVING for name in names]
            )

        await eventually(is_well, "every process is well")


@dataclass(frozen=True, slots=True)
class Member:
    """An admin of an org."""

    org: str
    stub: Any
    metadata: tuple[tuple[str, str], ...]

    @property
    def parent(self) -> str:
        """Name of the org."""
        return f"orgs/{self.org}"

    async def call(self, method: str, request: Any, *, timeout_seconds: float = 20.0) -> Any:
        """Return the answer of a unary method."""
        call = getattr(self.stub, method)
        return await call(request, metadata=self.metadata, timeout=timeout_seconds)

    async def refusal(self, method: str, request: Any) -> Refusal:
        """Return how a call is refused."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(method, request)
        return refusal_of(caught.value)

    async def write(self, *entries: entry_pb2.Entry) -> str:
        """Write entries; return the write token."""
        request = pb.BatchUpsertEntriesRequest(
            parent=self.parent, rows=entry_pb2.EntryBatch(entries=entries)
        )
        answer = await self.call("BatchUpsertEntries", request)
        assert not answer.item_errors
        return str(answer.write_token)

    async def position(self, stream_id: str) -> pb.GetStreamPositionResponse:
        """Return how far a stream has been committed."""
        request = pb.GetStreamPositionRequest(parent=self.parent, stream_id=stream_id)
        try:
            answer: pb.GetStreamPositionResponse = await self.call("GetStreamPosition", request)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return pb.GetStreamPositionResponse()
            raise
        return answer

    async def clicks(self) -> list[int]:
        """Return the clicks of every entry."""
        found: list[int] = []
        token = ""
        while True:
            page = await self.call(
                "ListEntries",
                pb.ListEntriesRequest(parent=self.parent, page_size=1_000, page_token=token),
            )
            found += [entry.metrics.clicks for entry in page.entries]
            token = page.next_page_token
            if not token:
                return found

    async def search(self, query: str, write_token: str) -> list[str]:
        """Return the campaigns found once the index covers a write."""
        request = pb.SearchDocumentsRequest(
            parent=self.parent,
            query=query,
            mode=document_pb2.SEARCH_MODE_LEXICAL,
            kinds=[document_pb2.DOCUMENT_KIND_PROFILE],
            consistency=marketing_pb2.Consistency(at_least_as_fresh=write_token),
            page_size=100,
        )
        answer = await self.call("SearchDocuments", request, timeout_seconds=30)
        return [hit.document.object.campaign_id for hit in answer.hits]


@pytest.fixture(scope="module")
async def memory(stack: Stack) -> AsyncIterator[Memory]:
    """The service, once it is well."""
    options = [("grpc.max_reconnect_backoff_ms", 500), ("grpc.initial_reconnect_backoff_ms", 100)]
    async with grpc.aio.insecure_channel(stack.addresses["memory"], options=options) as channel:
        found = Memory(stack, channel)
        await found.until_healthy()
        yield found


@pytest.fixture
async def admin(stack: Stack) -> AsyncIterator[asyncpg.Connection]:
    """A connection that sees all orgs."""
    connection = await asyncpg.connect(stack.postgres_admin_url("liftos"))
    await connection.execute("set search_path to memory")
    yield connection
    await connection.close()


async def eventually(condition: Callable[[], Awaitable[object]], what: str) -> None:
    """Wait until a condition holds; a call that fails on the way counts as not yet."""
    deadline = time.monotonic() + _COMES_BACK_WITHIN_SECONDS
    while True:
        with suppress(grpc.aio.AioRpcError):
            if await condition():
                return
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.05)


@asynccontextmanager
async def held_down(memory: Memory, store: str) -> AsyncIterator[None]:
    """Kill a store and keep it from coming back within the block; wait for it after that."""
    host, _, port = memory.stack.addresses[store].rpartition(":")
    os.kill(memory.pid(store), signal.SIGKILL)
    deadline = time.monotonic() + 5
    while True:
        try:
            holder = socket.create_server((host, int(port)))
        except OSError:
            assert time.monotonic() < deadline, f"{store} does not let go of its port"
            await asyncio.sleep(0)
        else:
            break
    with holder:
        holder.setblocking(False)

        def hang_up() -> None:
            with suppress(BlockingIOError):  # who called has hung up first
                holder.accept()[0].close()

        loop = asyncio.get_running_loop()
        loop.add_reader(holder, hang_up)
        try:
            yield
        finally:
            loop.remove_reader(holder)
    await memory.until_healthy()


def _entry(campaign: str, clicks: int, *, day: str = "2025-03-03") -> entry_pb2.Entry:
    return entry_pb2.Entry(
        platform="meta",
        level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
        account_id="act",
        campaign_id=campaign,
        campaign_name=f"word{campaign}",
        date=day,
        metrics=entry_pb2.Metrics(impressions=10 * clicks, clicks=clicks),
    )


def _batch(sequence: int, clicks: int) -> entry_pb2.EntryBatch:
    rows = (_entry(f"{sequence}-{row}", clicks) for row in range(_ROWS_A_BATCH))
    return entry_pb2.EntryBatch(entries=rows)


class Writer:
    """Sends messages of a stream by sequence and remembers what was acknowledged."""

    def __init__(self, member: Member, stream_id: str, messages: dict[int, Any]) -> None:
        self._member = member
        self._stream_id = stream_id
        self._messages = messages
        self.acknowledged = 0

    async def run(self, on_acknowledged: Callable[[int], Awaitable[None]]) -> Refusal | None:
        """Send all that is not committed; return how the stream was ended, if before its end."""
        position = await self._member.position(self._stream_id)
        assert position.last_sequence >= self.acknowledged, "what was acknowledged is committed"
        free = asyncio.Semaphore(_UNACKNOWLEDGED)
        call = self._member.stub.IngestEntries(
            self._following(position.last_sequence, free), metadata=self._member.metadata
        )
        try:
            async for answer in call:
                assert answer.sequence == max(self.acknowledged, position.last_sequence) + 1
                assert not answer.duplicate
                self.acknowledged = answer.sequence
                free.release()
                await on_acknowledged(answer.sequence)
        except grpc.aio.AioRpcError as error:
            return refusal_of(error)
        return None

    async def _following(
        self, last_sequence: int, free: asyncio.Semaphore
    ) -> AsyncIterator[pb.IngestEntriesRequest]:
        for sequence in range(last_sequence + 1, max(self._messages) + 1):
            await free.acquire()
            yield pb.IngestEntriesRequest(
                parent=self._member.parent,
                stream_id=self._stream_id,
                sequence=sequence,
                **self._messages[sequence],
            )


async def _run_with_kills(memory: Memory, writer: Writer, kills: dict[int, float]) -> None:
    """Run a writer to its end; kill the server so many seconds after these acknowledgements."""
    killed = 0

    async def kill_in_time(sequence: int) -> None:
        nonlocal killed
        delay_seconds = kills.pop(sequence, None)
        if delay_seconds is not None:
            await asyncio.sleep(delay_seconds)
            await memory.end("memory", signal.SIGKILL)
            killed += 1

    expected = len(kills)
    deadline = time.monotonic() + _COMES_BACK_WITHIN_SECONDS
    while time.monotonic() < deadline:
        with suppress(grpc.aio.AioRpcError):  # of the position, while the server starts
            if await writer.run(kill_in_time) is None:
                assert killed == expected
                return
        await asyncio.sleep(0.05)
    raise AssertionError("the stream did not come to its end")


async def test_a_server_killed_in_a_stream(memory: Memory, admin: asyncpg.Connection) -> None:
    """Every acknowledged batch is there, and each is applied once however often it was sent."""
    member, batches = memory.member("killed-stream"), 40
    chance = random.Random(11)
    messages = {sequence: {"rows": _batch(sequence, 1)} for sequence in range(1, batches + 1)}
    kills = {
        chance.randint(2, 15): chance.uniform(0, 0.02),
        chance.randint(16, 30): chance.uniform(0, 0.02),
    }
    await _run_with_kills(memory, Writer(member, "run", messages), kills)
    assert (await member.position("run")).last_sequence == batches
    assert await member.clicks() == [1] * batches * _ROWS_A_BATCH
    commits = await admin.fetchval("select count(*) from commits where org = $1", member.org)
    assert commits <= batches  # those that wait together share one
    changed = await admin.fetchval("select count(*) from entry_history where org = $1", member.org)
    assert changed == 0


async def test_a_server_killed_in_a_slice(memory: Memory, admin: asyncpg.Connection) -> None:
    """Readers see all old rows until the commit and all new ones after it, and never a mixture."""
    member, batches = memory.member("killed-slice"), 8
    rows = batches * _ROWS_A_BATCH
    for sequence in range(1, batches + 1):
        await member.write(*_batch(sequence, 1).entries)
    scope = slice_pb2.SliceScope(
        platform="meta",
        account_id="act",
        level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
        date_range=marketing_pb2.DateRange(start_date="2025-03-03", end_date="2025-03-03"),
    )
    messages: dict[int, Any] = {1: {"open_slice": pb.SliceOpening(scope=scope)}}
    messages |= {1 + each: {"rows": _batch(each, 2)} for each in range(1, batches + 1)}
    commit_sequence = batches + 2
    messages[commit_sequence] = {"commit_slice": pb.SliceCommit(raw=b"raw")}
    seen: set[tuple[int, ...]] = set()
    finished = asyncio.Event()

    async def watch() -> None:
        while not finished.is_set():
            with suppress(grpc.aio.AioRpcError):
                seen.add(tuple(sorted(await member.clicks())))
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    chance = random.Random(12)
    # The second one while the slice is committed.
    kills = {chance.randint(2, batches - 1): 0.0, commit_sequence - 1: chance.uniform(0, 0.01)}
    try:
        await _run_with_kills(memory, Writer(member, "run", messages), kills)
    finally:
        finished.set()
        await watching
    assert seen <= {(1,) * rows, (2,) * rows}
    assert await member.clicks() == [2] * rows
    assert (await member.position("run")).open_slice == ""
    states = await admin.fetch("select state, row_count from slices where org = $1", member.org)
    assert [tuple(row) for row in states] == [(slice_pb2.SLICE_STATE_COMMITTED, rows)]
    staged = await admin.fetchval("select count(*) from staged_entries where org = $1", member.org)
    assert staged == 0


async def test_a_server_that_is_asked_to_stop(memory: Memory) -> None:
    """A stream ends with SHUTTING_DOWN after what it acknowledged, and the process with code 0."""
    member = memory.member("drained")
    call = member.stub.IngestEntries(metadata=member.metadata)
    for sequence in (1, 2):
        await call.write(
            pb.IngestEntriesRequest(
                parent=member.parent,
                stream_id="run",
                sequence=sequence,
                rows=_batch(sequence, 1),
            )
        )
        assert (await call.read()).sequence == sequence
    stopping = asyncio.create_task(memory.end("memory", signal.SIGTERM))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    refusal = refusal_of(caught.value)
    assert refusal.code is grpc.StatusCode.UNAVAILABLE
    assert refusal.reason == "ERROR_REASON_SHUTTING_DOWN"
    assert refusal.retry_seconds is not None
    await stopping
    assert memory.stack.status().process("memory").detail == "ended with code 0"
    await memory.until_healthy()
    assert (await member.position("run")).last_sequence == 2
    assert len(await member.clicks()) == 2 * _ROWS_A_BATCH


async def test_a_worker_killed_while_it_indexes(memory: Memory, admin: asyncpg.Connection) -> None:
    """Wherever it was, afterwards each object and week is in the index exactly once."""
    member, objects, days = memory.member("killed-worker"), 500, 14
    first = date(2025, 3, 3)
    table = pa.table(
        {
            "platform": ["meta"] * objects * days,
            "level": ["CAMPAIGN"] * objects * days,
            "account_id": ["act"] * objects * days,
            "campaign_id": [str(row // days) for row in range(objects * days)],
            "date": [first + timedelta(days=row % days) for row in range(objects * days)],
            "clicks": pa.array([1] * objects * days, pa.int64()),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    request = pb.BatchUpsertEntriesRequest(parent=member.parent, arrow=bytes(sink.getvalue()))
    written = await member.call("BatchUpsertEntries", request)
    expected = objects + objects * days // 7

    async def documents() -> int:
        query = "select count(*) from documents where org = $1"
        return int(await admin.fetchval(query, member.org))

    async def has_documents(least: int) -> bool:
        return await documents() >= least

    chance = random.Random(13)
    killed = 0
    for least in (1, expected // 3):
        await eventually(partial(has_documents, least), f"{least} documents")
        await asyncio.sleep(chance.uniform(0, 0.1))
        killed += await documents() < expected
        await memory.end("memory-worker", signal.SIGKILL)
    assert killed, "it was killed while there was work"
    await member.search("anything", written.write_token)
    stored = await admin.fetch(
        "select document_id, content_hash from documents where org = $1", member.org
    )
    assert len(stored) == expected
    embedder = open_embedder(_EMBEDDER, threads=1)
    index = MilvusDocumentIndex(
        memory.stack.environment["LIFTOS_MILVUS_URL"],
        model_id=embedder.model_id,
        dimension=embedder.dimension,
    )
    indexed = await index.list_ids(member.org)
    await index.close()
    assert indexed == {row["document_id"]: row["content_hash"] for row in stored}


async def test_milvus_down(memory: Memory) -> None:
    """Writes and other reads go on, searches say what is missing, and the index catches up."""
    await _milvus_goes_away(memory, "milvus-down", loses_its_data=False)


async def test_milvus_down_and_empty(memory: Memory) -> None:
    """A Milvus that comes back without its data is filled again, from before and from meanwhile."""
    await _milvus_goes_away(memory, "milvus-lost", loses_its_data=True)


async def _milvus_goes_away(memory: Memory, org: str, *, loses_its_data: bool) -> None:
    member = memory.member(org)
    token = await member.write(_entry("before", 1))
    assert await member.search("wordbefore", token) == ["before"]
    async with held_down(memory, "milvus"):
        token = await member.write(_entry("meanwhile", 2))
        (listed,) = (
            await member.call(
                "ListEntries",
                pb.ListEntriesRequest(parent=member.parent, filter='campaign_id = "meanwhile"'),
            )
        ).entries
        got = await member.call("GetEntry", pb.GetEntryRequest(name=listed.name))
        assert got.entry.metrics.clicks == 2
        assert await _sum_of_clicks(member) == 3
        request = pb.SearchDocumentsRequest(parent=member.parent, query="wordbefore")
        refusal = await member.refusal("SearchDocuments", request)
        assert refusal.code is grpc.StatusCode.UNAVAILABLE
        assert refusal.reason == "ERROR_REASON_STORE_UNAVAILABLE"
        assert refusal.metadata == {"store": "milvus"}
        assert refusal.retry_seconds is not None
        await _until_health(memory, "milvus", _NOT_SERVING)
        assert await memory.health(_SERVICE) == _SERVING
        if loses_its_data:
            # At once, since each try to start it again makes files there.
            (memory.stack.data_dir / "milvus").rename(memory.stack.data_dir / "milvus-lost")

    async def has_caught_up() -> bool:
        return [
            await member.search(f"word{campaign}", token) for campaign in ("before", "meanwhile")
        ] == [["before"], ["meanwhile"]]

    await eventually(has_caught_up, "both are found")


async def _sum_of_clicks(member: Member) -> int:
    answer = await member.call(
        "QueryMetrics",
        pb.QueryMetricsRequest(
            parent=member.parent,
            level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
            date_range=marketing_pb2.DateRange(start_date="2025-03-01", end_date="2025-03-31"),
        ),
    )
    return sum(row.metrics.clicks for row in answer.rows)


async def _until_health(memory: Memory, name: str, status: int) -> None:
    async def is_so() -> bool:
        return await memory.health(name) == status

    await eventually(is_so, f"{name} has the status {status}")


async def test_redis_down(memory: Memory) -> None:
    """Nothing that a caller sees needs it."""
    member = memory.member("redis-down")
    async with held_down(memory, "redis"):
        await _until_health(memory, "redis", _NOT_SERVING)
        assert await memory.health(_SERVICE) == _SERVING
        token = await member.write(_entry("meanwhile", 2))
        assert await member.search("wordmeanwhile", token) == ["meanwhile"]
        request = pb.SearchDocumentsRequest(parent=member.parent, query="wordmeanwhile")
        hits = (await member.call("SearchDocuments", request)).hits
        assert hits[0].document.object.campaign_id == "meanwhile"
        assert await _sum_of_clicks(member) == 2


async def test_postgres_down(memory: Memory) -> None:
    """All answer UNAVAILABLE and when to try again; server and worker live on and go on."""
    member = memory.member("postgres-down")
    await member.write(_entry("before", 1))
    before = {name: memory.pid(name) for name in ("memory", "memory-worker")}
    async with held_down(memory, "postgres"):
        rows = entry_pb2.EntryBatch(entries=[_entry("meanwhile", 2)])
        for method, request in (
            ("BatchUpsertEntries", pb.BatchUpsertEntriesRequest(parent=member.parent, rows=rows)),
            ("ListEntries", pb.ListEntriesRequest(parent=member.parent)),
            ("GetOrgSettings", pb.GetOrgSettingsRequest(name=f"{member.parent}/settings")),
            ("ListNotes", pb.ListNotesRequest(parent=member.parent)),
        ):
            refusal = await member.refusal(method, request)
            assert refusal.code is grpc.StatusCode.UNAVAILABLE, method
            assert refusal.reason == "ERROR_REASON_STORE_UNAVAILABLE"
            assert refusal.metadata == {"store": "postgres"}
            assert refusal.retry_seconds is not None
        await _until_health(memory, _SERVICE, _NOT_SERVING)
        assert await memory.health("postgres") == _NOT_SERVING
        assert await memory.health("") == _SERVING
    token = await member.write(_entry("after", 2))
    assert sorted(await member.clicks()) == [1, 2]
    assert await member.search("wordafter", token) == ["after"]
    assert {name: memory.pid(name) for name in before} == before
