"""Workers advance migrations: through kills, freezes, pauses, failures and back again."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
import structlog
from tests.e2e.migration.counting import (
    ROWS,
    TABLES,
    TITLES,
    ListedPlan,
    counting_plan,
    unconnected,
)

from liftos_kit import postgres
from liftos_kit.core.errors import InvalidFieldsError, StoreUnavailableError
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, fresh_database
from liftos_migration.adapters.postgres.database import SCHEMA, schema_files
from liftos_migration.adapters.postgres.ledger import PostgresLedger
from liftos_migration.adapters.postgres.migrations import PostgresMigrations
from liftos_migration.domain.ledger import JsonObject, Step, StepState
from liftos_migration.domain.migrations import MigrationSpec, SourceStore, Throttle
from liftos_migration.domain.states import MigrationState, Place, RollbackLevel
from liftos_migration.failpoints import VARIABLE
from liftos_migration.ledger_ports import Lease, StoredMigration, Verdict
from liftos_migration.usecases.advancing import Connect, Plan
from liftos_migration.usecases.running import RunnerTimes, Running
from liftos_migration.usecases.steps import Source, StepContext, StepFailedError, StepStoppedError

ORG: Final = "acme"
SPEC: Final = MigrationSpec("Attribution", "causal", SourceStore("CAUSAL_DATABASE_URL"))
SHORT_SECONDS: Final = 0.6
LONG_SECONDS: Final = 60.0
"""Leases of workers that are to die, and of those that are not, however slow the machine is."""
S: Final = MigrationState


@pytest.fixture(scope="module")
def database(stores: Stack) -> Iterator[TestDatabase]:
    """A database with Migration's schema."""
    with fresh_database(stores) as fresh:
        yield fresh


@pytest.fixture(scope="module")
async def pool(database: TestDatabase) -> AsyncIterator[asyncpg.Pool]:
    """Connections of the service's role."""
    await postgres.migrate(database.owner_url, schema_files(), schema=SCHEMA)
    owner = await asyncpg.connect(database.owner_url)
    await owner.execute(TABLES)
    await owner.close()
    opened = await postgres.create_pool(
        database.url, application_name="test", minimum=1, maximum=10, schema=SCHEMA
    )
    yield opened
    await opened.close()


@dataclass(slots=True)
class Desk:
    """What a person does with migrations, and sees of them."""

    pool: asyncpg.Pool
    store: PostgresMigrations = field(init=False)
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = PostgresMigrations(self.pool)

    async def start(self, name: str) -> None:
        """Make a migration that workers may take."""
        await self.store.create(ORG, name, SPEC, None)
        self.names.append(name)
        await self.decide(name, lambda _: Verdict("start", "ann", "now", Place(S.PREFLIGHT)))

    async def decide(self, name: str, verdict: Callable[[StoredMigration], Verdict]) -> None:
        """Decide about it."""
        await self.store.decide(ORG, name, verdict, None)

    async def pause(self, name: str) -> None:
        """Let it stop after the batch in hand."""
        await self.decide(
            name, lambda it: Verdict("pause", "ann", "lunch", it.place.moved(S.PAUSED), "lunch")
        )

    async def resume(self, name: str) -> None:
        """Let it go on."""
        await self.decide(name, lambda it: Verdict("resume", "ann", "", it.place.resumed(), ""))

    async def cancel(self, name: str, *, purge: bool = False) -> None:
        """Give it up."""
        await self.decide(
            name,
            lambda it: Verdict(
                "cancel",
                "ann",
                "of no use",
                it.place.moved(S.ROLLING_BACK),
                rollback_level=RollbackLevel.R0,
                rollback_end=S.CANCELLED,
                purge=purge,
            ),
        )

    async def get(self, name: str) -> StoredMigration:
        """Return it."""
        stored = await self.store.get(ORG, name)
        assert stored is not None
        return stored

    async def wait(
        self,
        name: str,
        until: Callable[[StoredMigration], bool] | MigrationState,
        *,
        seconds: float = 20.0,
    ) -> StoredMigration:
        """Wait until something holds of it."""
        deadline = time.monotonic() + seconds
        while True:
            stored = await self.get(name)
            if stored.state is until if isinstance(until, MigrationState) else until(stored):
                return stored
            assert time.monotonic() < deadline, (stored.state, stored.state_reason)
            await asyncio.sleep(0.02)

    async def wait_for_effects(self, name: str, title: str, *, seconds: float = 20.0) -> None:
        """Wait until a step has written something."""
        deadline = time.monotonic() + seconds
        while not (titles := [row["title"] for row in await self.effects(name)]).count(title):
            assert time.monotonic() < deadline, titles
            await asyncio.sleep(0.02)

    async def effects(self, name: str) -> list[asyncpg.Record]:
        """Return the rows that steps wrote."""
        rows: list[asyncpg.Record] = await self.pool.fetch(
            "select * from effects where migration = $1 order by title, number", name
        )
        return rows

    async def steps(self, name: str) -> Sequence[Step]:
        """Return all attempts of steps."""
        steps, _ = await self.store.list_steps(ORG, name, where=None, cursor=None, limit=1_000)
        return steps

    async def check_done_once(self, name: str) -> None:
        """Check that each step had its effect once, and that the ledger says how."""
        rows = await self.effects(name)
        assert len(rows) == len(TITLES) * ROWS
        assert {row["write_count"] for row in rows} == {1}
        steps = await self.steps(name)
        done = [(step.phase, step.title) for step in steps if step.state is StepState.DONE]
        assert done == list(TITLES)
        assert {step.state for step in steps} <= {StepState.DONE, StepState.FAILED}
        epochs = [step.epoch for step in steps]
        assert epochs == sorted(epochs)
        decisions, _ = await self.store.list_decisions(
            ORG, name, where=None, cursor=None, limit=1_000
        )
        went = [(each.state_before, each.state_after) for each in reversed(decisions)]
        states = [S.DRAFT, *range(S.PREFLIGHT, S.VERIFIED + 1)]
        assert went == list(pairwise(states))
        assert await self.store.verify_ledger(ORG, name) is None


@pytest.fixture
async def desk(pool: asyncpg.Pool) -> AsyncIterator[Desk]:
    """A person, who leaves no migration to the workers of the next test."""
    person = Desk(pool)
    yield person
    for name in person.names:
        await person.store.delete(ORG, name, lambda _: None, None)


@asynccontextmanager
async def program(
    database: TestDatabase, name: str, failpoint: str = "", *, lease: float = SHORT_SECONDS
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a worker as a process of its own; see `counting`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("counting.py")),
        *(database.url, name, str(lease)),
        env={
            **{key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ},
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            VARIABLE: failpoint,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"working\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def worker(
    pool: asyncpg.Pool,
    plan: Plan,
    connect: Connect = unconnected,
    *,
    concurrency: int = 4,
) -> AsyncIterator[asyncio.Event]:
    """Run a worker in this process; yields what stops it, and checks that it ends well."""
    stop, wake = asyncio.Event(), asyncio.Event()
    running = Running(
        PostgresLedger(pool),
        plan,
        connect,
        owner="worker",
        concurrency=concurrency,
        times=RunnerTimes(lease_seconds=LONG_SECONDS, grace_seconds=5),
    )
    task = asyncio.create_task(running.run(stop, wake))
    try:
        yield stop
        stop.set()
        await asyncio.wait_for(task, 10)
    finally:
        task.cancel()
        await asyncio.wait({task})


DEATHS: Final = (
    "step.before_do:kill",
    "step.after_do:kill",
    "ledger.before_step_commit:kill@2",
    "ledger.after_step_commit:kill",
    "ledger.before_state_commit:kill",
    "ledger.after_state_commit:kill@2",
)


async def test_a_worker_that_is_killed_anywhere_leaves_nothing_undone_or_twice(
    database: TestDatabase, desk: Desk
) -> None:
    """One after the other dies before or after a commit; the last one comes through."""
    await desk.start("killed")
    for number, failpoint in enumerate(DEATHS, start=1):
        async with program(database, f"worker-{number}", failpoint) as process:
            code = await asyncio.wait_for(process.wait(), 20)
        assert code == -signal.SIGKILL, failpoint
    async with program(database, "survivor", lease=LONG_SECONDS) as process:
        stored = await desk.wait("killed", S.VERIFIED)
        assert stored.epoch > len(DEATHS)
        await desk.check_done_once("killed")
        process.terminate()
        assert await process.wait() == 0
    assert (await desk.get("killed")).lease_owner == ""


async def test_a_worker_that_is_killed_on_the_way_back_leaves_nothing_behind(
    database: TestDatabase, pool: asyncpg.Pool, desk: Desk
) -> None:
    """Whoever comes next goes on taking back."""
    await desk.start("back")
    async with worker(pool, counting_plan(pool)):
        await desk.wait("back", S.VERIFIED)
    await desk.cancel("back")
    for failpoint in (
        "step.after_undo:kill@3",
        "ledger.before_undo_commit:kill@2",
        "ledger.before_state_commit:kill",
    ):
        async with program(database, failpoint, failpoint) as process:
            assert await asyncio.wait_for(process.wait(), 20) == -signal.SIGKILL, failpoint
    async with program(database, "last", lease=LONG_SECONDS):
        await desk.wait("back", S.CANCELLED)
    assert await desk.effects("back") == []
    assert await desk.store.verify_ledger(ORG, "back") is None


async def test_a_worker_that_was_frozen_longer_than_its_lease_changes_nothing(
    database: TestDatabase, desk: Desk
) -> None:
    """Its successor ends the work; thawed in the middle of its own, it finds itself overtaken."""
    await desk.start("frozen")
    async with program(database, "frozen", lease=3.0) as frozen:
        await desk.wait_for_effects("frozen", "copy a")
        frozen.send_signal(signal.SIGSTOP)
        epoch = (await desk.get("frozen")).epoch
        async with program(database, "successor", lease=LONG_SECONDS) as successor:
            await desk.wait("frozen", S.VERIFIED)
            await desk.check_done_once("frozen")
            effects, steps = await desk.effects("frozen"), await desk.steps("frozen")
            assert {row["epoch"] for row in effects} == {epoch, epoch + 1}
            frozen.send_signal(signal.SIGCONT)
            await asyncio.sleep(2.0)
            after = await desk.get("frozen")
            assert (after.lease_owner, after.epoch) == ("successor", epoch + 1)
            assert (await desk.effects("frozen"), await desk.steps("frozen")) == (effects, steps)
            # It lives, and waits for something to do.
            assert frozen.returncode is None
            for process in (frozen, successor):
                process.terminate()
                assert await process.wait() == 0


async def test_two_workers_share_migrations_and_never_one(
    database: TestDatabase, desk: Desk
) -> None:
    """Each migration has one epoch, and so one worker, from its beginning to its end."""
    names = [f"shared-{number}" for number in range(6)]
    for name in names:
        await desk.start(name)
    async with (
        program(database, "left", lease=LONG_SECONDS) as left,
        program(database, "right", lease=LONG_SECONDS) as right,
    ):
        for name in names:
            stored = await desk.wait(name, S.VERIFIED)
            # One that had to wait was held once before, to say so.
            assert {row["epoch"] for row in await desk.effects(name)} == {stored.epoch}
            await desk.check_done_once(name)
        owners = {(await desk.get(name)).lease_owner for name in names}
        assert owners == {"left", "right"}
        for process in (left, right):
            process.terminate()
            assert await process.wait() == 0


async def test_a_pause_stops_after_the_batch_in_hand_and_a_resume_goes_on_there(
    pool: asyncpg.Pool, desk: Desk
) -> None:
    """Nothing is done twice, and the ledger tells both."""
    await desk.start("paused")
    async with worker(pool, counting_plan(pool, pause_seconds=0.3)):
        await desk.wait_for_effects("paused", "copy a")
        await desk.pause("paused")
        stored = await desk.wait("paused", lambda it: it.lease_owner == "")
        assert (stored.state, stored.place.resume_state) == (S.PAUSED, S.COPYING)
        stopped_at = len(await desk.effects("paused"))
        assert stopped_at < len(TITLES) * ROWS
        await asyncio.sleep(0.5)
        assert len(await desk.effects("paused")) == stopped_at
    await desk.resume("paused")
    async with worker(pool, counting_plan(pool)):
        await desk.wait("paused", S.VERIFIED)
    rows = await desk.effects("paused")
    assert len(rows) == len(TITLES) * ROWS
    assert {row["write_count"] for row in rows} == {1}
    steps = await desk.steps("paused")
    assert any("the next attempt goes on" in step.error for step in steps)
    assert await desk.store.verify_ledger(ORG, "paused") is None


async def test_a_migration_that_begins_anew_in_a_moment_is_not_gone_on_with_as_it_was(
    pool: asyncpg.Pool, desk: Desk
) -> None:
    """A worker may not have heard of the pause between."""
    await desk.start("anew")
    async with worker(pool, counting_plan(pool, pause_seconds=0.1)):
        await desk.wait_for_effects("anew", "look")
        await desk.pause("anew")
        await desk.decide(
            "anew",
            lambda it: Verdict("resume", "ann", "", it.place.resumed(), "", begins_anew=True),
        )
        await desk.wait("anew", S.VERIFIED)
    steps = await desk.steps("anew")
    done = [(step.title, step.generation) for step in steps if step.state is StepState.DONE]
    assert [title for title, generation in done if generation == 2] == [t for _, t in TITLES]
    assert {title for title, generation in done if generation == 1} <= {"look"}


async def test_a_worker_that_is_told_to_end_gives_its_migration_back(
    pool: asyncpg.Pool, desk: Desk
) -> None:
    """After the batch in hand, so that another one goes on at once and not after the lease."""
    await desk.start("given-back")
    async with worker(pool, counting_plan(pool, pause_seconds=0.1)):
        await desk.wait("given-back", lambda it: it.state in {S.PREPARED, S.COPYING})
    stored = await desk.get("given-back")
    assert (stored.lease_owner, stored.state in {S.PREPARED, S.COPYING}) == ("", True)
    async with worker(pool, counting_plan(pool)):
        await desk.wait("given-back", S.VERIFIED)
    assert {row["write_count"] for row in await desk.effects("given-back")} == {1}


@dataclass(slots=True)
class Scripted:
    """A step that does what a test says, once for each attempt."""

    outcomes: list[BaseException | JsonObject]
    phase: MigrationState = S.PREFLIGHT
    title: str = "scripted"
    undone: list[bool] = field(default_factory=list)

    async def do(self, context: StepContext) -> JsonObject:
        """Do the next of what was said, the last one for ever."""
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def verify(self, context: StepContext) -> None:
        """Check nothing."""

    async def undo(self, context: StepContext) -> None:
        """Remember whether Core was to be purged."""
        self.undone.append(context.purge)


FAILURES: Final = [
    pytest.param(
        StepFailedError("DISK_FULL", "The disk is full.", "Free some of it."),
        (S.PAUSED, "The disk is full. Free some of it."),
        id="failed",
    ),
    pytest.param(
        StepFailedError("THIN", "Too few samples.", "Wait.", state=S.HELD),
        (S.HELD, "Too few samples. Wait."),
        id="held",
    ),
    pytest.param(
        InvalidFieldsError.of("migration.source", "is not set", rule="source.set"),
        (S.PAUSED, "is not set"),
        id="refused",
    ),
    pytest.param(ZeroDivisionError("by zero"), (S.PAUSED, "ZeroDivisionError"), id="broke"),
    pytest.param(
        ExceptionGroup(
            "tasks",
            [
                StoreUnavailableError("the source"),
                ExceptionGroup("more", [StepFailedError("BAD", "It is bad.", "Mend it.")]),
                StepStoppedError(),
            ],
        ),
        (S.PAUSED, "It is bad. Mend it."),
        id="several-at-once",
    ),
    # There is nothing on Core yet that could have a gap.
    pytest.param(
        StepFailedError("LOST", "The log is lost.", "Resume.", state=S.RESNAPSHOT_REQUIRED),
        (S.PAUSED, "The log is lost."),
        id="lost-too-early",
    ),
]


@pytest.mark.parametrize(("error", "expected"), FAILURES)
async def test_a_step_that_fails_stops_its_migration_and_says_what_to_do(
    pool: asyncpg.Pool,
    desk: Desk,
    request: pytest.FixtureRequest,
    error: Exception,
    expected: tuple[MigrationState, str],
) -> None:
    """The ledger has the attempt, and a resume makes another one."""
    name = str(request.node.name)
    await desk.start(name)
    plan = ListedPlan([Scripted([error, {"rows": 1}])])
    async with worker(pool, plan):
        state, reason = expected
        stored = await desk.wait(name, state)
        assert reason in stored.state_reason
        assert stored.place.resume_state is S.PREFLIGHT
        (step,) = await desk.steps(name)
        assert step.state is StepState.FAILED
        assert reason in step.error
        await desk.resume(name)
        await desk.wait(name, S.VERIFIED)
    assert await desk.store.verify_ledger(ORG, name) is None


async def test_a_lost_capture_asks_for_a_new_copy_and_does_the_steps_of_it_again(
    pool: asyncpg.Pool, desk: Desk
) -> None:
    """Those of before the preparation stand."""
    await desk.start("lost")
    lost = StepFailedError("LOST", "The log is lost.", "Resume.", state=S.RESNAPSHOT_REQUIRED)
    plan = ListedPlan(
        [
            Scripted([{}], S.SNAPSHOTTED, "keep"),
            Scripted([{}], S.PREPARED, "prepare"),
            Scripted([lost, {}], S.COPYING, "copy"),
        ]
    )
    async with worker(pool, plan):
        stored = await desk.wait("lost", S.RESNAPSHOT_REQUIRED)
        assert stored.place.resume_state is S.SNAPSHOTTED
        await desk.decide(
            "lost",
            lambda it: Verdict("resume", "ann", "", it.place.resumed(), "", begins_anew=True),
        )
        stored = await desk.wait("lost", S.VERIFIED)
    assert stored.generation == 2
    steps = await desk.steps("lost")
    assert [(step.title, step.generation, step.state) for step in steps] == [
        ("keep", 1, StepState.DONE),
        ("prepare", 1, StepState.DONE),
        ("copy", 1, StepState.FAILED),
        ("prepare", 2, StepState.DONE),
        ("copy", 2, StepState.DONE),
    ]


async def test_a_store_that_is_away_is_waited_for(pool: asyncpg.Pool, desk: Desk) -> None:
    """In the same attempt; people are told, and told no more when it is back."""
    await desk.start("waiting")
    away = StoreUnavailableError("the source")
    together = ExceptionGroup("tasks", [StepStoppedError(), StoreUnavailableError("the source")])
    plan = ListedPlan([Scripted([away, together, {"rows": 1}])])
    async with worker(pool, plan):
        stored = await desk.wait("waiting", lambda it: bool(it.state_reason))
        assert "scripted waits, and goes on by itself" in stored.state_reason
        assert stored.state is S.PREFLIGHT
        stored = await desk.wait("waiting", S.VERIFIED)
        assert stored.state_reason == ""
    (step,) = await desk.steps("waiting")
    assert (step.attempt, step.state) == (1, StepState.DONE)


@dataclass(slots=True)
class Breaking:
    """Work beside the steps that fails after a while."""

    error: Exception
    title: str = "breaking"
    phases: frozenset[MigrationState] = frozenset({S.VERIFIED})
    begun: int = 0

    async def run(self, context: StepContext) -> None:
        """Fail."""
        self.begun += 1
        if self.begun <= 2:
            raise self.error
        await context.stop.wait()


async def test_work_beside_the_steps_stops_the_migration_where_it_fails(
    pool: asyncpg.Pool, desk: Desk
) -> None:
    """And is begun again where only a store was away."""
    await desk.start("beside")
    failing = StepFailedError("LOST", "It is lost.", "Resume.", state=S.RESNAPSHOT_REQUIRED)
    async with worker(pool, ListedPlan([], [Breaking(failing)])):
        stored = await desk.wait("beside", S.RESNAPSHOT_REQUIRED)
        assert stored.state_reason == "It is lost. Resume."

    await desk.start("beside-away")
    away = Breaking(StoreUnavailableError("the source"))
    async with worker(pool, ListedPlan([], [away])):
        stored = await desk.wait("beside-away", lambda _: away.begun == 3)
        assert stored.state is S.VERIFIED
        assert "breaking waits" in (await desk.get("beside-away")).state_reason
        stored = await desk.wait("beside-away", lambda it: not it.state_reason)
        assert stored.state is S.VERIFIED


async def test_a_cancelled_migration_is_taken_back_in_the_opposite_order(
    pool: asyncpg.Pool, desk: Desk
) -> None:
    """Also what was begun and not done; and Core is purged where that was asked for."""
    await desk.start("cancelled")
    failed = StepFailedError("NO", "It cannot be done.", "Give it up.")
    kept, ready = Scripted([{}], S.SNAPSHOTTED, "keep"), Scripted([{}], S.PREPARED, "prepare")
    copy, never = Scripted([failed], S.COPYING, "copy"), Scripted([{}], S.VERIFYING, "compare")
    plan = ListedPlan([kept, ready, copy, never])
    async with worker(pool, plan):
        await desk.wait("cancelled", S.PAUSED)
        await desk.cancel("cancelled", purge=True)
        stored = await desk.wait("cancelled", S.CANCELLED)
    assert (stored.rollback_level, stored.purge) == (RollbackLevel.R0, True)
    assert (kept.undone, ready.undone, copy.undone, never.undone) == ([True], [True], [True], [])
    steps = await desk.steps("cancelled")
    assert [step.title for step in steps if step.state is StepState.UNDONE] == [
        "copy",
        "prepare",
        "keep",
    ]
    assert await desk.store.verify_ledger(ORG, "cancelled") is None


async def test_a_step_of_another_mapping_is_not_passed_over_on_the_way_back(
    pool: asyncpg.Pool, desk: Desk
) -> None:
    """What it did would stay on the source for ever."""
    await desk.start("forgotten")
    async with worker(pool, ListedPlan([Scripted([{}], S.PREPARED, "prepare old")])):
        await desk.wait("forgotten", S.VERIFIED)
    await desk.cancel("forgotten")
    async with worker(pool, ListedPlan([Scripted([{}], S.PREPARED, "prepare new")])):
        stored = await desk.wait("forgotten", S.PAUSED)
    assert stored.place.resume_state is S.ROLLING_BACK
    assert "'prepare old'" in stored.state_reason


async def test_a_source_that_cannot_be_named_stops_the_migration(
    pool: asyncpg.Pool, desk: Desk
) -> None:
    """Before any step."""
    await desk.start("unnamed")

    @asynccontextmanager
    async def refused(_: StoredMigration, __: Lease) -> AsyncIterator[tuple[Source, Any]]:
        raise InvalidFieldsError.of("migration.source", "the variable X is not set", rule="set")
        yield

    async with worker(pool, counting_plan(pool), refused):
        stored = await desk.wait("unnamed", S.PAUSED)
    assert "the variable X is not set" in stored.state_reason
    assert await desk.effects("unnamed") == []


async def test_more_migrations_than_a_worker_may_have_in_hand_wait_and_that_is_told(
    pool: asyncpg.Pool, desk: Desk
) -> None:
    """Until one of them is given back."""
    for name in ("first", "second"):
        await desk.start(name)
    with structlog.testing.capture_logs() as logs:
        async with worker(pool, counting_plan(pool), concurrency=1):
            await desk.wait("first", S.VERIFIED)
            waits = await desk.wait(
                "second", lambda it: it.lease_owner == "" and it.state_reason != ""
            )
            assert "has 1 in hand" in waits.state_reason
            await desk.pause("first")
            ended = await desk.wait("second", S.VERIFIED)
            assert ended.state_reason == ""
    told = [entry["migrations"] for entry in logs if entry["event"] == "migrations_wait"]
    assert told == [["acme/second"]]


@dataclass(slots=True)
class Throttled:
    """A step that goes on for as long as its throttle lets it."""

    phase: MigrationState = S.COPYING
    title: str = "throttled"

    async def do(self, context: StepContext) -> JsonObject:
        """Tell progress until the throttle is closed."""
        for number in range(1_000):
            share = context.throttle().maximum_share
            context.progress(lambda it, n=number: replace(it, rows_per_second=float(n)))  # type: ignore[misc]
            if share == 0.25:
                return {"share": share}
            if context.stop.is_set():
                raise StepStoppedError
            await asyncio.sleep(0.02)
        return {}

    async def verify(self, context: StepContext) -> None:
        """Check nothing."""

    async def undo(self, context: StepContext) -> None:
        """Take nothing back."""


async def test_a_changed_throttle_is_heard_of_within_a_second_and_progress_is_told(
    pool: asyncpg.Pool, desk: Desk
) -> None:
    """While the step works."""
    await desk.start("throttled")
    async with worker(pool, ListedPlan([Throttled()])):
        await desk.wait("throttled", lambda it: it.progress.rows_per_second > 0)
        await desk.store.change(
            ORG,
            "throttled",
            lambda it: replace(it.spec, throttle=Throttle(maximum_share=0.25)),
            None,
        )
        changed_at = time.monotonic()
        await desk.wait("throttled", S.VERIFIED)
        assert time.monotonic() - changed_at < 3
    (step,) = await desk.steps("throttled")
    assert step.output == {"share": 0.25}
