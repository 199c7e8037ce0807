"""Jobs when workers are killed and frozen, connections end, and pools run dry."""

# ruff: noqa: ASYNC110 - what is waited for is in the database or in another process

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import httpx
import pytest
from tests.contract.job_database import (
    HASTY,
    SCHEMA,
    end_connections,
    make_job_template,
    open_queue,
    working,
)

from liftos_kit import postgres
from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.jobs.postgres_queue import PostgresJobQueue
from liftos_kit.jobs.queue import Delivery, Job
from liftos_kit.jobs.store import prune_history
from liftos_kit.jobs.tables import JobTables
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, fresh_database

_SCRIPT = Path(__file__).with_name("job_worker.py")
_ROOT = Path(__file__).parents[3]
_ENDED = re.compile(r'^liftos_jobs_ended\w*{.*liftos_outcome="(\w+)".*} (\S+)$', re.MULTILINE)
_STALE_SECONDS = 3 * HASTY.heartbeat_seconds


class WorkerProcess:
    """A worker that can be killed."""

    def __init__(self, process: asyncio.subprocess.Process, metrics_port: int) -> None:
        self._process = process
        self.metrics_port = metrics_port
        self.pid = process.pid

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    async def read_line(self) -> bytes:
        """Return the next line that it prints, which it does when a job's time begins."""
        assert self._process.stdout is not None
        return await asyncio.wait_for(self._process.stdout.readline(), 20)

    async def wait(self) -> int:
        """Return the exit code."""
        return await asyncio.wait_for(self._process.wait(), 20)


class Effects:
    """What handlers noted."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def noted(self, what: str) -> list[int]:
        """Return the process of each such note, the oldest first."""
        rows = await self._connection.fetch(
            "select pid from effects where what = $1 order by ctid", what
        )
        return [row["pid"] for row in rows]

    async def wait_for(self, what: str, count: int) -> list[int]:
        """Return the processes once there are so many notes."""
        async with asyncio.timeout(20):
            while len(pids := await self.noted(what)) < count:
                await asyncio.sleep(0.02)
        return pids


@pytest.fixture(scope="module")
def template(stores: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with a queue, to clone."""
    make_job_template(stores, "kit_jobs_template", tmp_path_factory.mktemp("schema"))
    return "kit_jobs_template"


@pytest.fixture
def database(stores: Stack, template: str) -> Iterator[TestDatabase]:
    """A database with an empty queue."""
    with fresh_database(stores, template) as fresh:
        yield fresh


@pytest.fixture
async def queue(database: TestDatabase) -> AsyncIterator[PostgresJobQueue]:
    """The queue of that database."""
    async with open_queue(database) as opened:
        yield opened


@pytest.fixture
async def effects(database: TestDatabase) -> AsyncIterator[Effects]:
    """What the handlers of that database noted."""
    connection = await asyncpg.connect(database.owner_url, server_settings={"search_path": SCHEMA})
    try:
        yield Effects(connection)
    finally:
        await connection.close()


@asynccontextmanager
async def _worker(database: TestDatabase) -> AsyncIterator[WorkerProcess]:
    path = os.pathsep.join([str(_ROOT), *sys.path])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(_SCRIPT),
        database.url,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        assert process.stdout is not None
        port = int(await asyncio.wait_for(process.stdout.readline(), 30))
        yield WorkerProcess(process, port)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def _two_workers(database: TestDatabase) -> AsyncIterator[list[WorkerProcess]]:
    async with _worker(database) as first, _worker(database) as second:
        yield [first, second]


async def _metrics(worker: WorkerProcess) -> str:
    async with httpx.AsyncClient() as client:
        return (await client.get(f"http://127.0.0.1:{worker.metrics_port}/metrics")).text


async def _ended(worker: WorkerProcess) -> dict[str, int]:
    """Return how many runs ended in a worker, by outcome."""
    found = _ENDED.findall(await _metrics(worker))
    return {outcome: int(float(count)) for outcome, count in found}


def _taker_first(workers: list[WorkerProcess], begun: list[int]) -> list[WorkerProcess]:
    return sorted(workers, key=lambda worker: worker.pid != begun[0])


async def _until_empty(queue: PostgresJobQueue) -> None:
    async with asyncio.timeout(20):
        while await queue.depth():
            await asyncio.sleep(0.02)


async def test_killed_workers_job_goes_to_another(
    database: TestDatabase, queue: PostgresJobQueue, effects: Effects
) -> None:
    """After kill -9 another worker has the job within about three heartbeats, and not before two.

    The killed one may have sent its last heartbeat up to one heartbeat before its death.
    """
    async with _two_workers(database) as workers:
        await queue.enqueue([Job("fetch", b"9 1", dedupe_key="k")])
        victim, heir = _taker_first(workers, await effects.wait_for("begun", 1))
        victim.send(signal.SIGKILL)
        killed = time.monotonic()
        await victim.wait()
        await effects.wait_for("begun", 2)
        waited = time.monotonic() - killed
        assert await effects.wait_for("done", 1) == [heir.pid]
        await _until_empty(queue)
        assert await effects.noted("begun") == [victim.pid, heir.pid]
    assert _STALE_SECONDS - HASTY.heartbeat_seconds - 0.2 <= waited <= _STALE_SECONDS + 1.5


async def test_frozen_worker_loses_its_job(
    database: TestDatabase, queue: PostgresJobQueue, effects: Effects
) -> None:
    """A worker that was frozen finds its job with another, and cancels what it has begun.

    It neither ends the other's job nor gives it back, and works on as before.
    """
    async with _two_workers(database) as workers:
        await queue.enqueue([Job("fetch", b"9 4")])
        frozen, heir = _taker_first(workers, await effects.wait_for("begun", 1))
        frozen.send(signal.SIGSTOP)
        assert await effects.wait_for("begun", 2) == [frozen.pid, heir.pid]
        frozen.send(signal.SIGCONT)
        assert await effects.wait_for("cancelled", 1) == [frozen.pid]
        assert [depth.running for depth in await queue.depth()] == [1]
        assert await effects.wait_for("done", 1) == [heir.pid]
        await _until_empty(queue)
        assert await effects.noted("begun") == [frozen.pid, heir.pid]
        heir.send(signal.SIGTERM)
        assert await heir.wait() == 0
        await queue.enqueue([Job("fetch", b"0")])
        assert await effects.wait_for("done", 2) == [heir.pid, frozen.pid]


async def test_frozen_worker_does_not_end_anothers_job(
    database: TestDatabase, queue: PostgresJobQueue, effects: Effects
) -> None:
    """A handler that ends the moment its worker thaws does not take the job from the other."""
    async with _two_workers(database) as workers:
        await queue.enqueue([Job("fetch", b"3 6 silently")])
        frozen, heir = _taker_first(workers, await effects.wait_for("begun", 1))
        await frozen.read_line()
        frozen.send(signal.SIGSTOP)
        thaw_at = time.monotonic() + 3.2
        await effects.wait_for("begun", 2)
        await asyncio.sleep(thaw_at - time.monotonic())
        frozen.send(signal.SIGCONT)
        async with asyncio.timeout(10):
            while not (ended := await _ended(frozen)):
                await asyncio.sleep(0.02)
        assert [depth.running for depth in await queue.depth()] == [1]
        assert await effects.noted("cancelled") == []
        await _until_empty(queue)
        assert await effects.noted("begun") == [frozen.pid, heir.pid]
        assert ended == {"lost": 1}
        assert await _ended(heir) == {"done": 1}


async def test_ended_connections_lose_no_job(
    stores: Stack, database: TestDatabase, queue: PostgresJobQueue
) -> None:
    """While every connection is ended again and again, each job is done, and none stays behind."""
    done: set[bytes] = set()
    count = 300

    async def handle(delivery: Delivery) -> None:
        await asyncio.sleep(0.02)
        done.add(delivery.payload)

    await queue.enqueue([Job("fetch", str(number).encode()) for number in range(count)])
    ended = 0
    async with working(queue, {"fetch": handle}, concurrency=4):
        async with asyncio.timeout(40):
            while len(done) < count:
                ended += await end_connections(stores, database)
                await asyncio.sleep(0.3)
        await _settled(queue)
    assert len(done) == count
    assert ended >= 5


async def _settled(queue: PostgresJobQueue) -> None:
    async with asyncio.timeout(20):
        while True:
            # The connections of the pool were ended as well, and it may not know it yet.
            with suppress(StoreUnavailableError):
                if not await queue.depth():
                    return
            await asyncio.sleep(0.1)


async def test_listener_comes_back(
    stores: Stack, database: TestDatabase, queue: PostgresJobQueue
) -> None:
    """An idle worker whose connection was ended listens again, and starts new jobs at once."""
    came = asyncio.Event()

    async def handle(_: Delivery) -> None:
        came.set()

    async with working(queue, {"fetch": handle}):
        await queue.enqueue([Job("fetch", b"")])
        await asyncio.wait_for(came.wait(), 10)
        await _until_empty(queue)
        assert await end_connections(stores, database, statement="%job%") >= 1
        async with asyncio.timeout(10):
            while not await _listens(stores, database):
                await asyncio.sleep(0.02)
        waits: list[float] = []
        for _ in range(5):
            came.clear()
            added = time.monotonic()
            await queue.enqueue([Job("fetch", b"")])
            await asyncio.wait_for(came.wait(), 10)
            waits.append(time.monotonic() - added)
    assert sorted(waits)[2] < 0.15


async def _listens(stores: Stack, database: TestDatabase) -> bool:
    connection = await asyncpg.connect(stores.postgres_admin_url())
    try:
        count = await connection.fetchval(
            "select count(*) from pg_stat_activity where datname = $1 and application_name = $2",
            database.name,
            f"liftos jobs {SCHEMA}",
        )
    finally:
        await connection.close()
    return bool(count)


async def test_pool_that_runs_dry_holds_up_no_heartbeat(
    database: TestDatabase, queue: PostgresJobQueue
) -> None:
    """Handlers that hold every connection of the pool keep their jobs all the same."""
    pool = await postgres.create_pool(
        database.url, application_name="test", minimum=1, maximum=2, schema=SCHEMA
    )
    numbers: list[int] = []

    async def handle(delivery: Delivery) -> None:
        numbers.append(delivery.number)
        async with pool.acquire() as connection:
            await connection.execute("select pg_sleep($1)", 2 * _STALE_SECONDS)

    try:
        starved = PostgresJobQueue(pool, schema=SCHEMA, url=database.url, times=HASTY)
        await queue.enqueue([Job("fetch", b""), Job("fetch", b"")])
        async with working(starved, {"fetch": handle}):
            await _until_empty(queue)
    finally:
        await pool.close()
    assert numbers == [1, 1]


async def test_stopped_worker_ends_in_good_order(
    database: TestDatabase, queue: PostgresJobQueue, effects: Effects
) -> None:
    """On SIGTERM a worker ends what it has in hand, and tells of it in its metrics until then."""
    async with _worker(database) as worker:
        await queue.enqueue([Job("fetch", b"0"), Job("fetch", b"0"), Job("fetch", b"0.1")])
        await effects.wait_for("done", 3)
        await _until_empty(queue)
        assert await _ended(worker) == {"done": 3}
        metrics = await _metrics(worker)
        await queue.enqueue([Job("fetch", b"1"), Job("plan", b"")])
        await effects.wait_for("begun", 4)
        worker.send(signal.SIGTERM)
        assert await worker.wait() == 0
        assert len(await effects.noted("done")) == 4
    assert [(depth.kind, depth.waiting) for depth in await queue.depth()] == [("plan", 1)]
    for name in ("duration_seconds_bucket", "waiting", "oldest_waiting_time_seconds"):
        assert f"liftos_jobs_{name}" in metrics


async def test_old_history_is_deleted(database: TestDatabase, queue: PostgresJobQueue) -> None:
    """What PgQueuer would keep for ever goes after a week, and only that."""
    await queue.enqueue([Job("fetch", b""), Job("fetch", b"")])
    pool = await postgres.create_pool(
        database.url, application_name="test", minimum=1, maximum=1, schema=SCHEMA
    )
    try:
        async with pool.acquire() as connection:
            await connection.execute(
                "update job_log set created = now() - interval '8 days' "
                "where id = (select min(id) from job_log)"
            )
            await prune_history(connection, JobTables(SCHEMA))
            assert await connection.fetchval("select count(*) from job_log") == 1
    finally:
        await pool.close()
    assert [depth.waiting for depth in await queue.depth()] == [2]
