"""Slices from a source into Memory: whole or not at all, by one writer, with typed endings."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import date

import asyncpg
import pytest
import structlog
from tests.e2e.ingestion.readings import (
    DAY,
    Answer,
    Harness,
    OneSource,
    SilentQueue,
    failing,
    pages,
    row,
    stored,
)

from liftos_client import Client
from liftos_ingestion.adapters.memory import MemoryEntryTotals
from liftos_ingestion.adapters.postgres.reconciliations import PostgresReconciliationStore
from liftos_ingestion.adapters.postgres.runs import PostgresRunLedger
from liftos_ingestion.domain.failures import (
    MAXIMUM_ATTEMPTS,
    ErrorClass,
    Failure,
    NotReadyError,
    ReadingError,
)
from liftos_ingestion.domain.rate_limits import Limit, app_key
from liftos_ingestion.domain.reconciliation import ReconciliationState
from liftos_ingestion.run_ports import (
    HeldSlice,
    Hold,
    HoldLostError,
    Loss,
    RunState,
    SliceState,
    Usage,
    WaitReason,
)
from liftos_ingestion.source_ports import Page, PlatformJob, ReadRequest, query_hash
from liftos_ingestion.usecases import intake, reading
from liftos_ingestion.usecases.reading import AttemptMeasure
from liftos_ingestion.usecases.reconciling import Reconciling
from liftos_kit.core.errors import StoreUnavailableError
from liftos_mapping.transform import TransformContext


def _error(error_class: ErrorClass, **fields: float) -> ReadingError:
    return ReadingError(Failure(error_class, "it said so", platform_code="1", **fields))  # type: ignore[arg-type]


async def test_a_run_is_read_and_read_again(harness: Harness, memory: Client) -> None:
    """Rows land once; the same answer changes nothing, another one replaces the whole."""
    harness.source.answers = [
        pages([row("1", "5"), row("2", "6")], [row("3", "7")]),
        pages([row("1", "5"), row("2", "6"), row("3", "7")]),
        pages([row("1", "50"), row("3", "7"), row("3", "7")]),
    ]
    day = DAY.isoformat()
    run = await harness.start()
    await harness.read_due()
    assert await stored(memory) == {("1", day): 5, ("2", day): 6, ("3", day): 7}
    await harness.start()
    await harness.read_due()
    await harness.start()
    await harness.read_due()
    assert await stored(memory) == {("1", day): 50, ("3", day): 7}
    slices = sorted(await harness.rows("run_slices"), key=lambda it: it["start_time"])
    assert [
        (
            it["state"],
            it["row_count"],
            it["upserted_count"],
            it["restated_count"],
            it["vanished_count"],
        )
        for it in slices
    ] == [
        (SliceState.COMMITTED, 3, 3, 0, 0),
        (SliceState.UNCHANGED, 3, 0, 0, 0),
        (SliceState.COMMITTED, 3, 1, 1, 1),
    ]
    assert {it["state"] for it in await harness.rows("runs")} == {RunState.SUCCEEDED}
    sums = {(it["metric"], int(it["value"])) for it in await harness.rows("day_sums")}
    assert sums == {("clicks", 57), ("spend_micros", 3_000_000)}, (
        "a row that comes twice counts once"
    )
    entries = [it async for it in memory.memory.list_entries(filter='campaign_id = "1"')]
    assert entries[0].origin != run.hex, "the last run brought the number"
    assert entries[0].final
    kept = await memory.memory.get_slice(slices[0]["memory_slice"], include_raw=True)
    assert b"Campaign 3" in kept.raw
    assert kept.slice.lineage.request_id == "call-1", "what the platform's support asks for"
    assert kept.slice.lineage.query_hash == query_hash("rows"), "the same for the same question"


async def test_failing_in_the_midst_writes_nothing(harness: Harness, memory: Client) -> None:
    """Rows before a failure do not count; the slice is tried again and then whole."""
    harness.source.answers = [
        failing(_error(ErrorClass.TRANSIENT, retry_after_seconds=700.0), [row("1", "5")]),
        pages([row("1", "5"), row("2", "6")]),
    ]
    await harness.start()
    await harness.read_due()
    assert await stored(memory) == {}
    (slice_,) = await harness.rows("run_slices")
    assert (slice_["state"], slice_["attempt"]) == (SliceState.PARKED, 1)
    wait = slice_["next_attempt_time"] - slice_["start_time"]
    assert wait.total_seconds() >= 700, "the platform's word on when to come back is kept"
    await harness.read_due()
    assert len(await stored(memory)) == 2


async def test_a_job_of_the_platform_is_taken_up_again(harness: Harness) -> None:
    """The job is kept before it is waited for; waiting costs no attempt."""
    job = PlatformJob("6023", {"fields": "all"})

    async def begin(request: ReadRequest) -> AsyncGenerator[Page | PlatformJob, None]:
        yield job
        raise NotReadyError("the report runs", seconds=30)

    harness.source.answers = [begin, pages([row("1", "5")])]
    await harness.start()
    await harness.read_due()
    (slice_,) = await harness.rows("run_slices")
    assert (slice_["state"], slice_["attempt"]) == (SliceState.PARKED, 0)
    assert slice_["wait_reason"] != WaitReason.QUOTA
    await harness.read_due()
    assert harness.source.jobs == [None, job]
    (slice_,) = await harness.rows("run_slices")
    assert slice_["state"] == SliceState.COMMITTED
    assert slice_["platform_job"] is None


async def test_what_is_too_large_is_halved(harness: Harness, memory: Client) -> None:
    """Days are halved until the platform answers; a day that it never answers fails alone."""

    async def answer(request: ReadRequest) -> AsyncGenerator[Page | PlatformJob, None]:
        if request.day_count > 1 or request.start_date.day == 4:
            raise _error(ErrorClass.TOO_LARGE)
        rows = [row("1", str(request.start_date.day), day=request.start_date)]
        yield Page(rows, TransformContext())

    harness.source.answers = [answer]
    await harness.start(days=4)
    for _ in range(4):
        await harness.read_due()
    assert await stored(memory) == {("1", f"2026-03-0{day}"): day for day in (2, 3, 5)}
    states = {it["start_date"].day: it["state"] for it in await harness.rows("run_slices")}
    assert states == {2: 4, 3: 4, 4: SliceState.FAILED, 5: 4}
    (run,) = await harness.rows("runs")
    assert run["state"] == RunState.PARTIALLY_SUCCEEDED
    assert run["error"]["error_class"] == "TOO_LARGE"


async def test_attempts_end(harness: Harness) -> None:
    """What fails again and again is given up, with its last failure."""
    harness.source.answers = [failing(_error(ErrorClass.TRANSIENT))]
    await harness.start()
    while await harness.read_due():
        pass
    assert len(harness.source.requests) == MAXIMUM_ATTEMPTS
    (run,) = await harness.rows("runs")
    assert run["state"] == RunState.FAILED
    assert run["error"]["platform_code"] == "1"


async def test_a_limit_costs_no_attempt(harness: Harness) -> None:
    """However often a limit is met, the slice only waits."""
    harness.source.answers = [
        failing(NotReadyError("the limit is reached", seconds=60, quota=True))
    ]
    await harness.start()
    for _ in range(MAXIMUM_ATTEMPTS + 1):
        await harness.read_due()
    (slice_,) = await harness.rows("run_slices")
    assert (slice_["state"], slice_["attempt"]) == (SliceState.PARKED, 0)
    assert slice_["wait_reason"] == WaitReason.QUOTA


@pytest.mark.parametrize(
    ("error_class", "failed"),
    [
        (
            ErrorClass.CREDENTIALS,
            {("7", "ACCOUNT"), ("7", "CAMPAIGN"), ("8", "ACCOUNT"), ("8", "CAMPAIGN")},
        ),
        (ErrorClass.PERMISSION, {("7", "ACCOUNT"), ("7", "CAMPAIGN")}),
        (ErrorClass.PERMANENT, {("7", "ACCOUNT")}),
    ],
)
async def test_how_far_a_failure_reaches(
    harness: Harness, error_class: ErrorClass, failed: set[tuple[str, str]]
) -> None:
    """A dead credential ends the run, a missing permission the account, a bad question itself."""

    async def answer(request: ReadRequest) -> AsyncGenerator[Page | PlatformJob, None]:
        if (request.account.account_id, request.level) == ("7", "ACCOUNT"):
            raise _error(error_class)
        yield Page([], TransformContext())

    harness.source.answers = [answer]
    await harness.start(accounts=("7", "8"), levels=("ACCOUNT", "CAMPAIGN"))
    await harness.read_due()
    levels = {1: "ACCOUNT", 2: "CAMPAIGN"}
    slices = await harness.rows("run_slices")
    assert {
        (it["account_id"], levels[it["level"]]) for it in slices if it["state"] == SliceState.FAILED
    } == failed
    assert {it["state"] for it in slices} <= {SliceState.FAILED, SliceState.UNCHANGED}


async def test_bad_rows_are_kept_for_a_person(harness: Harness, memory: Client) -> None:
    """A row that cannot be read, or that Memory refuses, is a dead letter; the others land."""
    other_day = date(2026, 4, 1)
    bad = [row("2", "many"), row("3", "6", day=other_day), row("4", "-1")]
    harness.source.answers = [pages([row("1", "5"), *bad])]
    await harness.start()
    await harness.read_due()
    assert await stored(memory) == {("1", DAY.isoformat()): 5}
    letters = await harness.rows("dead_letters")
    assert sorted(it["row"]["campaign_id"] for it in letters) == ["2", "3", "4"]
    assert all(it["errors"][0]["message"] for it in letters)
    (run,) = await harness.rows("runs")
    assert run["state"] == RunState.PARTIALLY_SUCCEEDED
    await harness.start()
    await harness.read_due()
    again = await harness.rows("dead_letters")
    assert [it["attempt_count"] for it in again] == [2, 2, 2], "the same row is the same letter"


async def test_rows_that_do_not_fit_are_not_kept_without_end(
    harness: Harness, memory: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are more than are kept nothing lands, and the failure says what is wrong."""
    monkeypatch.setattr(intake, "MAXIMUM_DEAD_LETTERS", 2)
    refused = [row("4", "-1"), row("5", "-1")]
    harness.source.answers = [
        pages([row("1", "many"), row("2", "5")], [row("3", "5")], refused),
        pages([row("1", "many"), row("2", "5")], [row("4", "-1")]),
    ]
    await harness.start()
    await harness.read_due()
    (slice_,) = await harness.rows("run_slices")
    assert slice_["state"] == SliceState.FAILED
    (run,) = await harness.rows("runs")
    assert run["error"]["error_class"] == "INVALID_DATA"
    assert "More than 2 rows do not fit; the first says clicks: " in run["error"]["message"]
    assert await harness.rows("dead_letters") == []
    assert await stored(memory) == {}
    await harness.start()
    await harness.read_due()
    assert await stored(memory) == {("2", DAY.isoformat()): 5}
    assert len(await harness.rows("dead_letters")) == 2


async def test_a_reading_that_fails_in_the_midst_is_closed(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the source reads from is ended by who reads, and not at some later moment."""
    monkeypatch.setattr(intake, "MAXIMUM_DEAD_LETTERS", 0)
    ended_by_reader: list[bool] = []

    async def answer(request: ReadRequest) -> AsyncGenerator[Page | PlatformJob, None]:
        reader = asyncio.current_task()
        try:
            yield Page([row("1", "many")], TransformContext())
            yield Page([row("2", "5")], TransformContext())
        finally:
            ended_by_reader.append(asyncio.current_task() is reader)

    harness.source.answers = [answer]
    await harness.start()
    await harness.read_due()
    assert ended_by_reader == [True]
    assert harness.source.ended == ["reading", "session"]


async def test_every_try_is_measured(harness: Harness) -> None:
    """Calls and bytes count however a try ends, also where it only has to wait."""

    def calling(answer: Answer) -> Answer:
        async def called(request: ReadRequest) -> AsyncGenerator[Page | PlatformJob, None]:
            gate = harness.source.gates[-1]
            await gate.enter([Limit(app_key(gate.org, "meta", "app"), "calls", 100, 1.0)])
            gate.received(10)
            async for item in answer(request):
                yield item

        return called

    harness.source.answers = [
        calling(failing(NotReadyError("the report runs", seconds=30))),
        calling(failing(_error(ErrorClass.TRANSIENT))),
        calling(pages([row("1", "5"), row("2", "6")])),
    ]
    await harness.start()
    while await harness.read_due():
        pass
    assert harness.measures == [
        AttemptMeasure("meta", 0, Usage(1, 10), None),
        AttemptMeasure("meta", 0, Usage(1, 10), ErrorClass.TRANSIENT),
        AttemptMeasure("meta", 2, Usage(1, 10), None),
    ]


class AbsentLedger(PostgresRunLedger):
    """A ledger that does not answer the first times that a slice is to be held for longer."""

    def __init__(self, pool: asyncpg.Pool, *, absences: int) -> None:
        super().__init__(pool, SilentQueue())
        self.absences = absences
        self.extended = asyncio.Event()

    async def extend(self, held: HeldSlice, *, lease_seconds: float) -> Hold:
        """Hold a slice for longer, once all absences are over."""
        if self.absences:
            self.absences -= 1
            raise StoreUnavailableError("postgres")
        hold = await super().extend(held, lease_seconds=lease_seconds)
        self.extended.set()
        return hold


async def test_a_ledger_that_is_away_for_a_while(
    harness: Harness, memory: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reading goes on where the ledger is back before the lease has ended."""
    monkeypatch.setattr(reading, "_LOOK_SECONDS", 0.05)
    harness.ledger = ledger = AbsentLedger(harness.pool, absences=3)

    async def answer(request: ReadRequest) -> AsyncGenerator[Page | PlatformJob, None]:
        yield Page([row("1", "5")], TransformContext())
        await ledger.extended.wait()

    harness.source.answers = [answer]
    await harness.start()
    await asyncio.wait_for(harness.read_due(), 20)
    assert ledger.absences == 0
    assert await stored(memory) == {("1", DAY.isoformat()): 5}
    assert len(harness.source.requests) == 1


async def test_a_ledger_that_stays_away(
    harness: Harness, memory: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker stops reading once its lease has ended; whoever comes next reads all of it."""
    monkeypatch.setattr(reading, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(reading, "LEASE_SECONDS", 0.5)
    harness.ledger = AbsentLedger(harness.pool, absences=1_000_000)

    async def answer(request: ReadRequest) -> AsyncGenerator[Page | PlatformJob, None]:
        yield Page([row("1", "5")], TransformContext())
        await asyncio.Event().wait()

    harness.source.answers = [answer, pages([row("1", "6")])]
    await harness.start()
    with structlog.testing.capture_logs() as told:
        await asyncio.wait_for(harness.read_due(), 20)
    assert [it for it in told if it["event"] == "slice_lease_ended"]
    assert harness.source.ended == ["reading", "session"]
    assert [(it.row_count, it.loss) for it in harness.measures] == [(0, Loss.LEASE_ENDED)]
    monkeypatch.undo()
    harness.ledger = PostgresRunLedger(harness.pool, SilentQueue())
    await harness.read_due()
    assert await stored(memory) == {("1", DAY.isoformat()): 6}


class GoneLedger(PostgresRunLedger):
    """A ledger that takes no slice back."""

    async def let_go(self, held: HeldSlice, usage: Usage) -> None:
        """Fail."""
        raise StoreUnavailableError("postgres")


async def test_a_worker_that_is_stopped_during_an_outage_ends(harness: Harness) -> None:
    """It is cancelled, and nothing else is told of it."""
    harness.ledger = GoneLedger(harness.pool, SilentQueue())
    started = asyncio.Event()

    async def answer(request: ReadRequest) -> AsyncGenerator[Page | PlatformJob, None]:
        yield Page([row("1", "5")], TransformContext())
        started.set()
        await asyncio.Event().wait()

    harness.source.answers = [answer]
    await harness.start()
    (slice_,) = await harness.rows("run_slices")
    task = asyncio.create_task(harness.reading().read(harness.org, slice_["slice"]))
    await asyncio.wait_for(started.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert harness.source.ended == ["reading", "session"]
    assert harness.measures == [AttemptMeasure("meta", 0, Usage(0, 0), None)]


async def test_a_frozen_worker_writes_nothing(harness: Harness, memory: Client) -> None:
    """Once a lane has another holder, the one before can neither write nor record."""
    harness.source.answers = [pages([row("1", "5")])]
    await harness.start()
    (slice_,) = await harness.rows("run_slices")
    claim = harness.ledger.claim
    frozen = await claim(harness.org, slice_["slice"], worker="frozen", lease_seconds=0.2)
    assert frozen is not None
    assert await claim(harness.org, slice_["slice"], worker="b", lease_seconds=9) is None
    await asyncio.sleep(0.3)
    await harness.read_due(worker="b")
    assert await stored(memory) == {("1", DAY.isoformat()): 5}
    assert await harness.ledger.extend(frozen, lease_seconds=9) is Hold.LOST
    request = harness.source.requests[0]
    with pytest.raises(HoldLostError):
        async with harness.writer.slice(
            frozen,
            request,
            source="meta",
            api_version="",
            fetch_time=slice_["next_attempt_time"],
            request_id="",
            query_hash="",
        ) as writer:
            await writer.commit(lambda: b"")
    with pytest.raises(HoldLostError):
        await harness.ledger.give_up(frozen, Failure(ErrorClass.PERMANENT, "late"), Usage(0, 0))
    assert await stored(memory) == {("1", DAY.isoformat()): 5}
    (slice_,) = await harness.rows("run_slices")
    assert slice_["state"] == SliceState.COMMITTED


async def test_a_cancelled_run_lets_go_soon(harness: Harness, memory: Client) -> None:
    """Within five seconds of the cancellation nothing of the run is held or open."""
    started = asyncio.Event()

    async def answer(request: ReadRequest) -> AsyncGenerator[Page | PlatformJob, None]:
        yield Page([row("1", "5")], TransformContext())
        started.set()
        await asyncio.sleep(60)

    harness.source.answers = [answer]
    run = await harness.start(levels=("ACCOUNT", "CAMPAIGN"))
    slices = await harness.rows("run_slices")
    campaign = next(it["slice"] for it in slices if it["level"] == 2)
    reading = asyncio.create_task(harness.reading().read(harness.org, campaign))
    await asyncio.wait_for(started.wait(), 10)
    assert await harness.ledger.cancel(harness.org, run, "not needed")
    await asyncio.wait_for(reading, 5)
    assert {it["state"] for it in await harness.rows("run_slices")} == {SliceState.CANCELLED}
    (stored_run,) = await harness.rows("runs")
    assert stored_run["state"] == RunState.CANCELLED
    assert all(it["slice"] is None for it in await harness.rows("lanes"))
    assert await stored(memory) == {}
    assert harness.measures == [AttemptMeasure("meta", 0, Usage(0, 0), None)]


async def test_runs_are_reconciled(harness: Harness, memory: Client) -> None:
    """Stored sums are compared with the platform's, level by level; a loss and a gap are found."""
    harness.source.capabilities = replace(
        harness.source.capabilities, adding_up_levels=("CAMPAIGN",)
    )

    async def answer(request: ReadRequest) -> AsyncGenerator[Page | PlatformJob, None]:
        whole = {"account_id": "7", "date_start": DAY.isoformat(), "clicks": "12", "spend": "3.00"}
        parts = [row("1", "5"), row("2", "6")]
        yield Page([whole] if request.level == "ACCOUNT" else parts, TransformContext())

    harness.source.answers = [answer]
    run = await harness.start(levels=("ACCOUNT", "CAMPAIGN"))
    await harness.read_due()
    reconciling = Reconciling(
        PostgresReconciliationStore(harness.pool),
        MemoryEntryTotals(lambda _: memory),
        OneSource(harness.source),
    )
    for _ in range(2):
        await reconciling.reconcile(harness.org, run)
    found = {
        (it["level"], it["metric"]): (it["stored_value"], it["platform_value"], it["state"])
        for it in await harness.rows("reconciliations")
    }
    matched, mismatched, _ = ReconciliationState
    assert found == {
        (1, "clicks"): (12, 12, matched),
        (1, "spend_micros"): (3_000_000, 3_000_000, matched),
        (2, "clicks"): (11, 12, mismatched),
        (2, "spend_micros"): (3_000_000, 3_000_000, matched),
    }
    await memory.memory.purge_entries(run.hex, force=True)
    await reconciling.reconcile(harness.org, run)
    lost = [it["state"] for it in await harness.rows("reconciliations")]
    assert lost == [mismatched] * 4, "what was purged is missed"
