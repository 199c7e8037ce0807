"""What every queue of jobs promises, on a real Postgres."""

# ruff: noqa: ASYNC110, PT012 - what is waited for is in the database; how a block ends matters

import asyncio
import hashlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
import structlog
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from tests.contract.job_database import (
    SCHEMA,
    end_connections,
    make_job_template,
    open_queue,
    working,
)

from liftos_kit import postgres
from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.jobs.postgres_queue import PostgresJobQueue
from liftos_kit.jobs.queue import Delivery, Job, KindDepth
from liftos_kit.jobs.tables import install_sql, pending_changes
from liftos_kit.jobs.worker import Outcome, WorkerTimes
from liftos_kit.telemetry import current_trace_id
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, fresh_database

# Of what PgQueuer 1.6.0 makes. Where an upgrade changes it, every service with a queue needs a
# schema file with what `pending_changes` says.
_TABLES_SHA256 = "023a22c5cd80ce6a8c8d1ea59b2c06dfa4b7f9a14e3b95907eddddb2d34c4a85"


@pytest.fixture(scope="module")
def template(stores: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with a queue, to clone."""
    make_job_template(stores, "job_queue_template", tmp_path_factory.mktemp("schema"))
    return "job_queue_template"


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


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url, server_settings={"search_path": SCHEMA})
    try:
        yield connection
    finally:
        await connection.close()


class Recorder:
    """A handler that keeps what it got."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self._changed = asyncio.Event()

    @property
    def payloads(self) -> list[bytes]:
        return [delivery.payload for delivery in self.deliveries]

    async def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self._changed.set()

    async def wait_for(self, count: int) -> None:
        """Return once so many jobs have come."""
        async with asyncio.timeout(15):
            while len(self.deliveries) < count:
                self._changed.clear()
                await self._changed.wait()


async def _until_empty(queue: PostgresJobQueue) -> None:
    async with asyncio.timeout(15):
        while await queue.depth():
            await asyncio.sleep(0.05)


async def test_job_reaches_the_handler_of_its_kind(queue: PostgresJobQueue) -> None:
    """A job comes with its payload, to the handler of its kind, for the first time, and is gone."""
    fetch, plan = Recorder(), Recorder()
    async with working(queue, {"fetch": fetch, "plan": plan}):
        await queue.enqueue([Job("fetch", b"\x00one"), Job("plan", b"")])
        await fetch.wait_for(1)
        await plan.wait_for(1)
        await _until_empty(queue)
    assert fetch.payloads == [b"\x00one"]
    assert plan.payloads == [b""]
    assert fetch.deliveries[0].number == 1
    assert fetch.deliveries[0].kind == "fetch"


async def test_many_jobs_come_once_each(queue: PostgresJobQueue) -> None:
    """With nothing going wrong, two workers share the jobs and do none of them twice."""
    record = Recorder()
    count = 1000
    await queue.enqueue([Job("fetch", str(number).encode()) for number in range(count)])
    async with (
        working(queue, {"fetch": record}, concurrency=20),
        working(queue, {"fetch": record}, concurrency=20),
    ):
        await record.wait_for(count)
        await _until_empty(queue)
    assert sorted(map(int, record.payloads)) == list(range(count))
    assert {delivery.number for delivery in record.deliveries} == {1}


async def test_rollback_leaves_no_job(queue: PostgresJobQueue, database: TestDatabase) -> None:
    """Jobs belong to the transaction of the caller, and nothing is left when it rolls back."""
    pool = await postgres.create_pool(
        database.url, application_name="test", minimum=1, maximum=2, schema=SCHEMA
    )
    try:
        with pytest.raises(RuntimeError, match="changed my mind"):
            async with postgres.transaction(pool, org="acme") as connection:
                await queue.enqueue([Job("fetch", b"1")], connection=connection)
                raise RuntimeError("changed my mind")
        assert await queue.depth() == ()
        async with postgres.transaction(pool, org="acme") as connection:
            await queue.enqueue([Job("fetch", b"2")], connection=connection)
            assert await queue.depth() == ()
        assert [depth.waiting for depth in await queue.depth()] == [1]
    finally:
        await pool.close()


async def test_key_that_waits_is_not_added_twice(queue: PostgresJobQueue) -> None:
    """Of jobs of a kind with a key one waits, in one call and over several; kinds do not mix."""
    record, other = Recorder(), Recorder()
    await queue.enqueue([Job("fetch", b"1", dedupe_key="a"), Job("fetch", b"2", dedupe_key="a")])
    await queue.enqueue([Job("fetch", b"3", dedupe_key="a"), Job("fetch", b"4", dedupe_key="b")])
    await queue.enqueue([Job("plan", b"5", dedupe_key="a"), Job("fetch", b"6"), Job("fetch", b"7")])
    async with working(queue, {"fetch": record, "plan": other}):
        await _until_empty(queue)
    assert sorted(record.payloads) == [b"1", b"4", b"6", b"7"]
    assert other.payloads == [b"5"]


async def test_writers_of_the_same_keys_do_not_lock_each_other(queue: PostgresJobQueue) -> None:
    """Many who add the same keys at once, each in another order, all succeed, and one job each."""
    jobs = [Job("fetch", b"", dedupe_key=str(number)) for number in range(100)]
    shifted = [jobs[start:] + jobs[:start] for start in range(0, 100, 5)]
    await asyncio.gather(*(queue.enqueue(each) for each in [*shifted, jobs[::-1]]))
    assert [depth.waiting for depth in await queue.depth()] == [100]


async def test_higher_priority_goes_first(queue: PostgresJobQueue) -> None:
    """Higher priorities come first, then older jobs; a double lends its priority."""
    record = Recorder()
    await queue.enqueue(
        [Job("fetch", b"low", priority=-1), Job("fetch", b"late", dedupe_key="k")],
    )
    await queue.enqueue([Job("fetch", b"high", priority=5), Job("fetch", b"middle")])
    await queue.enqueue([Job("fetch", b"dropped", priority=9, dedupe_key="k")])
    async with working(queue, {"fetch": record}, concurrency=1):
        await record.wait_for(4)
    assert record.payloads == [b"late", b"high", b"middle", b"low"]


async def test_taken_job_frees_its_key(queue: PostgresJobQueue) -> None:
    """What comes up while a job runs is not forgotten: its key can be added again meanwhile."""
    record = Recorder()

    async def handle(delivery: Delivery) -> None:
        await record(delivery)
        if delivery.payload == b"first":
            await queue.enqueue([Job("fetch", b"second", dedupe_key="k")])

    await queue.enqueue([Job("fetch", b"first", dedupe_key="k")])
    async with working(queue, {"fetch": handle}):
        await record.wait_for(2)
        await _until_empty(queue)
    assert record.payloads == [b"first", b"second"]


async def test_job_waits_for_who_relies_on_it(
    queue: PostgresJobQueue, database: TestDatabase
) -> None:
    """A job that made another needless is not taken before the other's writer has committed."""
    record = Recorder()
    await queue.enqueue([Job("fetch", b"1", dedupe_key="k")])
    async with _connected(database.url) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await queue.enqueue([Job("fetch", b"2", dedupe_key="k")], connection=connection)
        async with working(queue, {"fetch": record}):
            await queue.enqueue([Job("fetch", b"3")])
            await record.wait_for(1)
            assert record.payloads == [b"3"]
            await transaction.commit()
            await record.wait_for(2)
    assert record.payloads == [b"3", b"1"]


async def test_delayed_job_starts_when_due(queue: PostgresJobQueue) -> None:
    """A delayed job comes not before it is due, and within a second of it."""
    record = Recorder()
    async with working(queue, {"fetch": record}):
        added = time.monotonic()
        await queue.enqueue([Job("fetch", b"", delay_seconds=1.2)])
        await record.wait_for(1)
        waited = time.monotonic() - added
    assert 1.2 <= waited < 2.2


async def test_new_job_starts_at_once(queue: PostgresJobQueue) -> None:
    """An idle worker is told of a job, and does not find it at its next look."""
    record = Recorder()
    waits: list[float] = []
    async with working(queue, {"fetch": record}):
        for count in range(1, 11):
            added = time.monotonic()
            await queue.enqueue([Job("fetch", b"")])
            await record.wait_for(count)
            waits.append(time.monotonic() - added)
    assert sorted(waits)[5] < 0.15


async def test_error_brings_the_job_again(
    queue: PostgresJobQueue, database: TestDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job whose handler raises comes again, later each time, and history hides its secrets."""
    times: list[float] = []
    numbers: list[int] = []
    done = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        times.append(time.monotonic())
        numbers.append(delivery.number)
        if delivery.number < 3:
            raise LookupError("no such account, token=hunter2hunter2")
        done.set()

    await queue.enqueue([Job("fetch", b"", dedupe_key="k")])
    async with working(queue, {"fetch": handle}):
        await asyncio.wait_for(done.wait(), 20)
        await _until_empty(queue)
    assert numbers == [1, 2, 3]
    assert 0.5 <= times[1] - times[0] < 2.0
    assert 1.0 <= times[2] - times[1] < 3.0
    async with _connected(database.owner_url) as connection:
        rows = await connection.fetch("select traceback from job_log where traceback is not null")
    records = [json.loads(row["traceback"]) for row in rows]
    assert [record["exception_type"] for record in records] == ["LookupError", "LookupError"]
    assert "no such account" in records[0]["exception_message"]
    assert "hunter2" not in repr(records)
    output = capsys.readouterr()
    assert "hunter2" not in output.out + output.err


async def test_a_store_that_is_away_is_no_fault_of_the_handler(
    queue: PostgresJobQueue,
) -> None:
    """The job comes again within seconds, however often, and no error is logged of it."""
    times: list[float] = []
    numbers: list[int] = []
    done = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        times.append(time.monotonic())
        numbers.append(delivery.number)
        if delivery.number < 3:
            raise StoreUnavailableError("postgres")
        done.set()

    await queue.enqueue([Job("fetch", b"", dedupe_key="k")])
    with structlog.testing.capture_logs() as logged:
        async with working(queue, {"fetch": handle}):
            await asyncio.wait_for(done.wait(), 20)
            await _until_empty(queue)
    assert numbers == [1, 2, 3]
    assert all(1.0 <= second - first < 4.0 for first, second in itertools.pairwise(times))
    told = [(it["event"], it["log_level"], it.get("outcome")) for it in logged]
    assert told.count(("job_not_done", "warning", Outcome.AWAY)) == 2
    assert {it["reason"] for it in logged if it["event"] == "job_not_done"} == {
        "The store postgres does not answer; try again."
    }
    assert not {"job_raised", "job_comes_again"} & {event for event, *_ in told}


async def test_handler_that_cancels_itself_has_failed(queue: PostgresJobQueue) -> None:
    """A cancellation from within is an error like others, and the job comes again."""
    record = Recorder()

    async def handle(delivery: Delivery) -> None:
        await record(delivery)
        if delivery.number == 1:
            raise asyncio.CancelledError

    await queue.enqueue([Job("fetch", b"")])
    async with working(queue, {"fetch": handle}):
        await record.wait_for(2)
    assert [delivery.number for delivery in record.deliveries] == [1, 2]


async def test_job_gives_way_to_the_one_with_its_key(queue: PostgresJobQueue) -> None:
    """A job that fails after it has ordered its successor does not come again beside it."""
    record = Recorder()

    async def handle(delivery: Delivery) -> None:
        await record(delivery)
        if delivery.payload == b"first":
            await queue.enqueue([Job("fetch", b"next", delay_seconds=3, dedupe_key="k")])
            raise LookupError

    await queue.enqueue([Job("fetch", b"first", dedupe_key="k")])
    async with working(queue, {"fetch": handle}):
        await record.wait_for(2)
        await _until_empty(queue)
    assert record.payloads == [b"first", b"next"]


async def test_key_being_written_does_not_hold_up_the_worker(
    queue: PostgresJobQueue, database: TestDatabase
) -> None:
    """Giving back a job whose key somebody is writing waits, and holds up no other job."""
    record = Recorder()
    fail = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        await record(delivery)
        if delivery.payload == b"first" and delivery.number == 1:
            await fail.wait()
            raise LookupError

    await queue.enqueue([Job("fetch", b"first", dedupe_key="k")])
    async with _connected(database.url) as connection, working(queue, {"fetch": handle}):
        await record.wait_for(1)
        transaction = connection.transaction()
        await transaction.start()
        await queue.enqueue([Job("fetch", b"other", dedupe_key="k")], connection=connection)
        fail.set()
        for number in range(5):
            await queue.enqueue([Job("fetch", b"plain")])
            await record.wait_for(2 + number)
        await transaction.rollback()
        await record.wait_for(7)
    assert record.payloads == [b"first", *[b"plain"] * 5, b"first"]


async def test_unknown_kind_is_left_to_others(queue: PostgresJobQueue) -> None:
    """A worker leaves the jobs for which it has no handler."""
    record = Recorder()
    await queue.enqueue([Job("plan", b"", priority=9), Job("fetch", b"")])
    async with working(queue, {"fetch": record}):
        await record.wait_for(1)
    assert [(depth.kind, depth.waiting) for depth in await queue.depth()] == [("plan", 1)]


async def test_concurrency_is_a_bound(queue: PostgresJobQueue) -> None:
    """No more jobs are in hand at once than asked for, and so many are, and the rest waits."""
    running = 0
    most = 0
    record = Recorder()

    async def handle(delivery: Delivery) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        await record(delivery)

    await queue.enqueue([Job("fetch", b"") for _ in range(30)])
    async with working(queue, {"fetch": handle}, concurrency=3):
        await record.wait_for(30)
    assert most == 3


async def test_stop_lets_handlers_end(queue: PostgresJobQueue) -> None:
    """After a stop no job is taken, and what is in hand may end."""
    record = Recorder()
    began, go_on = asyncio.Event(), asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        began.set()
        await go_on.wait()
        await record(delivery)

    await queue.enqueue([Job("fetch", b"in hand"), Job("fetch", b"waits")])
    async with working(queue, {"fetch": handle}, concurrency=1) as stop:
        await began.wait()
        stop()
        # Longer than three heartbeats: the job in hand stays with its worker.
        await asyncio.sleep(2.0)
        assert [(each.waiting, each.running) for each in await queue.depth()] == [(1, 1)]
        go_on.set()
    assert record.payloads == [b"in hand"]
    assert [(each.waiting, each.running) for each in await queue.depth()] == [(1, 0)]


async def test_stop_gives_back_what_does_not_end(database: TestDatabase) -> None:
    """A handler that outlasts the grace is cancelled, and its job comes again without a pause."""
    cancelled: list[int] = []
    began = asyncio.Event()
    record = Recorder()

    async def endless(delivery: Delivery) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(delivery.job_id)

    async with open_queue(database, WorkerTimes(heartbeat_seconds=5, grace_seconds=0.3)) as queue:
        await queue.enqueue([Job("fetch", b"x", dedupe_key="k")])
        async with working(queue, {"fetch": endless}):
            await began.wait()
        assert [(each.waiting, each.running) for each in await queue.depth()] == [(1, 0)]
        await queue.enqueue([Job("fetch", b"y", dedupe_key="k")])
        async with working(queue, {"fetch": record}):
            await _until_empty(queue)
    assert record.payloads == [b"x"]
    assert record.deliveries[0].number == 2
    assert cancelled == [record.deliveries[0].job_id]


async def test_cancelled_work_leaves_no_handler_behind(queue: PostgresJobQueue) -> None:
    """Cancelling the worker cancels its handlers; the job comes again with another."""
    began, ended = asyncio.Event(), asyncio.Event()
    record = Recorder()

    async def endless(_: Delivery) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    await queue.enqueue([Job("fetch", b"")])
    work = asyncio.create_task(queue.work({"fetch": endless}, concurrency=1, stop=asyncio.Event()))
    await began.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert ended.is_set()
    async with working(queue, {"fetch": record}):
        await record.wait_for(1)
    assert record.deliveries[0].number == 2


async def test_depth_counts_by_kind(queue: PostgresJobQueue) -> None:
    """Waiting, delayed and running jobs are told apart, and the oldest one's age is since due."""
    began, go_on = asyncio.Event(), asyncio.Event()

    async def handle(_: Delivery) -> None:
        began.set()
        await go_on.wait()

    assert await queue.depth() == ()
    await queue.enqueue([Job("plan", b"", delay_seconds=60)])
    await queue.enqueue([Job("fetch", b""), Job("fetch", b""), Job("fetch", b"", delay_seconds=60)])
    async with working(queue, {"fetch": handle}, concurrency=1) as stop:
        await began.wait()
        stop()
        await asyncio.sleep(0.3)
        fetch, plan = await queue.depth()
        go_on.set()
    assert plan == KindDepth(
        kind="plan", waiting=0, delayed=1, running=0, oldest_waiting_seconds=0.0
    )
    assert (fetch.kind, fetch.waiting, fetch.delayed, fetch.running) == ("fetch", 1, 1, 1)
    assert 0.3 <= fetch.oldest_waiting_seconds < 10


async def test_handler_continues_the_trace(queue: PostgresJobQueue) -> None:
    """A job runs in the trace of the call that ordered it."""
    trace_id = 0x0AF7651916CD43DD8448EB211C80319C
    span = NonRecordingSpan(
        SpanContext(trace_id, 0xB7AD6B7169203331, is_remote=False, trace_flags=TraceFlags(1))
    )
    seen: list[str] = []
    record = Recorder()

    async def handle(delivery: Delivery) -> None:
        seen.append(current_trace_id())
        await record(delivery)

    with trace.use_span(span):
        await queue.enqueue([Job("fetch", b"")])
    async with working(queue, {"fetch": handle}):
        await record.wait_for(1)
    assert seen == [f"{trace_id:032x}"]


async def test_outage_is_told_to_who_adds(
    queue: PostgresJobQueue, database: TestDatabase, stores: Stack
) -> None:
    """A connection that is lost while it adds jobs is an outage, not an error of the driver."""
    async with _connected(database.owner_url) as connection, connection.transaction():
        await connection.execute("lock table job_queue")
        adding = asyncio.create_task(queue.enqueue([Job("fetch", b"")]))
        async with asyncio.timeout(10):
            while not await end_connections(stores, database, statement="/* add_jobs */%"):
                await asyncio.sleep(0.02)
        with pytest.raises(StoreUnavailableError):
            await adding


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "Fetch"},
        {"kind": ""},
        {"kind": "a:b"},
        {"priority": 2**31},
        {"delay_seconds": -1.0},
        {"delay_seconds": float("nan")},
        {"delay_seconds": float("inf")},
        {"dedupe_key": ""},
        {"dedupe_key": "a\0b"},
        {"dedupe_key": "k" * 501},
    ],
    ids=str,
)
def test_impossible_job_is_refused(wrong: dict[str, object]) -> None:
    """A job that could not be stored, or never be taken, cannot be made."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Job(**{"kind": "fetch", "payload": b"", **wrong})  # type: ignore[arg-type]


async def test_payload_is_not_shown() -> None:
    """What is in a payload does not reach logs by way of a repr."""
    assert "secret" not in repr(Job("fetch", b"secret"))


async def test_schema_file_is_what_the_library_needs(database: TestDatabase) -> None:
    """The installed PgQueuer would change nothing in the tables that the kit's statements make."""
    async with _connected(database.owner_url) as connection:
        assert await pending_changes(connection, schema=SCHEMA) == ()
        await connection.execute("alter table job_queue drop column slot")
        assert any("slot" in each for each in await pending_changes(connection, schema=SCHEMA))


def test_tables_are_those_of_the_pinned_release() -> None:
    """An upgrade of PgQueuer that changes its tables is noticed."""
    _, _, statements = install_sql(SCHEMA).partition("\n\n")
    assert hashlib.sha256(statements.encode()).hexdigest() == _TABLES_SHA256


def test_environment_changes_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that PgQueuer would read, some with plain names, do not reach the statements."""
    before = install_sql(SCHEMA)
    for name in ("PREFIX", "SCHEMA", "CHANNEL", "FUNCTION", "TRIGGER", "QUEUE_TABLE"):
        monkeypatch.setenv(name, "wrong")
        monkeypatch.setenv(f"PGQUEUER_{name}", "wrong")
    monkeypatch.setenv("DURABILITY", "volatile")
    assert install_sql(SCHEMA) == before


@pytest.mark.parametrize("name", ["", "Ingestion", 'x"; drop schema public; --', "a" * 64])
def test_schema_name_is_plain(name: str) -> None:
    """A name that would need quotes is refused, wherever it is used."""
    with pytest.raises(ValueError, match="identifier"):
        install_sql(name)
    with pytest.raises(ValueError, match="identifier"):
        install_sql(SCHEMA, role=name)
