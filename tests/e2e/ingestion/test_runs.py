"""Runs on the wire: started once, followed, stopped, and listed."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import pytest
from tests.e2e.ingestion.readings import (
    Harness,
    ScriptedSource,
    add_connection,
    failing,
    pages,
    row,
)
from tests.inprocess.kit.statuses import refusal_of

from liftos.common.v1.marketing_pb2 import DateRange
from liftos.ingestion.v1 import alert_pb2, run_pb2
from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos_ingestion.domain.failures import ErrorClass, Failure, NotReadyError, ReadingError
from liftos_kit.core.errors import StoreUnavailableError

ClientFactory = Callable[..., Any]


@pytest.fixture
async def connection(pool: asyncpg.Pool, org: str) -> str:
    """A connection of the org with two accounts that a run can read."""
    return await add_connection(pool, org, "7", "8")


@pytest.fixture
def worker(harness: Harness, scripted: ScriptedSource) -> Harness:
    """A worker over the same org and source as the server's."""
    scripted.answers = [pages([])]
    harness.source = scripted
    return harness


def _start(connection: str, **fields: Any) -> pb.StartRunRequest:
    return pb.StartRunRequest(parent=connection, request_id=str(uuid4()), **fields)


async def test_a_run_is_started_once(
    ingestion_client: ClientFactory, org: str, connection: str
) -> None:
    """The same request gives the same run; the same id with another payload is refused."""
    client = ingestion_client(org)
    request = _start(connection, account_ids=["7"])
    first = (await client.StartRun(request)).run
    assert (await client.StartRun(request)).run == first
    assert first.state == run_pb2.RUN_STATE_PENDING
    assert first.progress.total_count == 4, "two levels, the newest days and the restated ones"
    assert [account.account_id for account in first.accounts] == ["7"]
    request.account_ids.append("8")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.StartRun(request)
    assert refusal_of(caught.value).reason == "ERROR_REASON_REQUEST_ID_REUSED"
    again = (await client.StartRun(_start(connection, account_ids=["7"]))).run
    assert again.state == run_pb2.RUN_STATE_SUCCEEDED, "its days are in hand already"
    assert again.progress.total_count == 0
    slices = (await client.ListSlices(pb.ListSlicesRequest(parent=first.name))).slices
    ends = [(it.date_range.start_date, it.date_range.end_date) for it in slices]
    days = sum((date.fromisoformat(b) - date.fromisoformat(a)).days + 1 for a, b in ends)
    assert again.left_out == run_pb2.LeftOut(in_hand_day_count=days)
    assert not first.HasField("left_out")


async def test_a_run_tells_which_days_it_does_not_read(
    ingestion_client: ClientFactory, org: str, connection: str, worker: Harness
) -> None:
    """Final days are left out, and what the platform does not answer; force reads the first."""
    client = ingestion_client(org)
    worker.source.answers = [pages([])]
    today = datetime.now(UTC).date()

    async def start(first: date, last: date, **fields: Any) -> run_pb2.Run:
        span = {"start_date": first.isoformat(), "end_date": last.isoformat()}
        request = _start(connection, date_range=span, account_ids=["7"], **fields)
        run: run_pb2.Run = (await client.StartRun(request)).run
        return run

    old = today - timedelta(days=90)
    assert not (await start(old, old + timedelta(days=1))).HasField("left_out")
    await worker.read_due()
    again = await start(old, old + timedelta(days=1))
    assert (again.state, again.progress.total_count) == (run_pb2.RUN_STATE_SUCCEEDED, 0)
    assert again.left_out == run_pb2.LeftOut(final_day_count=4), "two days of two levels"
    assert (await client.GetRun(pb.GetRunRequest(name=again.name))).run.left_out == again.left_out
    (newest, *_) = (await client.ListRuns(pb.ListRunsRequest(parent=f"orgs/{org}"))).runs
    assert newest.left_out == again.left_out
    wider = await start(old, old + timedelta(days=2))
    assert wider.progress.total_count == 2
    assert wider.left_out == again.left_out
    assert not (await start(old, old, force=True)).HasField("left_out")
    ahead = await start(today, today + timedelta(days=9))
    assert ahead.progress.total_count == 2
    assert ahead.left_out.unanswered_day_count in (16, 18), "it may be tomorrow there already"


@pytest.mark.parametrize(
    "asked", [(0, 2, 9), (30, 2, 9), (30, -90, -31)], ids=["to come", "to come too", "too old"]
)
async def test_days_that_nobody_answers_are_refused(
    ingestion_client: ClientFactory,
    connection: str,
    scripted: ScriptedSource,
    monkeypatch: pytest.MonkeyPatch,
    asked: tuple[int, int, int],
) -> None:
    """Days that have not begun or are too old start no run, forced or not; a part of them does."""
    retention_days, first, last = asked
    org = connection.split("/")[1]
    monkeypatch.setattr(
        scripted, "capabilities", replace(scripted.capabilities, retention_days=retention_days)
    )
    client = ingestion_client(org)
    today = datetime.now(UTC).date()

    def request(first: int, last: int) -> pb.StartRunRequest:
        days = [(today + timedelta(days=it)).isoformat() for it in (first, last)]
        span = {"start_date": days[0], "end_date": days[1]}
        return _start(connection, date_range=span, account_ids=["7"], force=True)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.StartRun(request(first, last))
    assert refusal_of(caught.value).violations == (("date_range", "date_range.answered"),)
    assert f"meta answers days {'from' if retention_days else 'up to'} " in str(caught.value)
    assert not (await client.ListRuns(pb.ListRunsRequest(parent=f"orgs/{org}"))).runs
    run = (await client.StartRun(request(first - 20, last + 20))).run
    assert run.progress.total_count > 0


@pytest.mark.parametrize(("end", "day"), [("start_date", "2026-02-30"), ("end_date", "2026-04-31")])
async def test_days_that_do_not_exist_are_named(
    ingestion_client: ClientFactory, org: str, connection: str, end: str, day: str
) -> None:
    """A day that has the form of one, and is in no calendar, starts and plans nothing."""
    client = ingestion_client(org)
    days = {"start_date": "2026-02-03", "end_date": "2026-05-02", end: day}
    for asked in (
        client.StartRun(_start(connection, date_range=days)),
        client.PlanBackfill(
            pb.PlanBackfillRequest(parent=connection, date_range=DateRange(**days))
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asked
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert refusal_of(caught.value).violations == ((f"date_range.{end}", "day"),)
        assert f"{day} is no day of the calendar" in str(caught.value)
    assert not (await client.ListRuns(pb.ListRunsRequest(parent=f"orgs/{org}"))).runs


async def test_a_run_is_followed_to_its_end(
    ingestion_client: ClientFactory, org: str, connection: str, worker: Harness
) -> None:
    """WatchRun tells each change and ends with the run; its slices and sums can be listed."""
    client = ingestion_client(org)
    day = date(2026, 3, 2)
    worker.source.answers = [pages([row("1", "5", day=day)])]
    days = {"start_date": "2026-03-02", "end_date": "2026-03-02"}
    run = (
        await client.StartRun(
            _start(connection, date_range=days, levels=["ENTRY_LEVEL_CAMPAIGN"], account_ids=["7"])
        )
    ).run
    watch = client.WatchRun(pb.WatchRunRequest(name=run.name))
    seen = aiter(watch)
    assert (await anext(seen)).run == run
    await worker.read_due()
    states = [told.run.state async for told in seen]
    assert states[-1] == run_pb2.RUN_STATE_SUCCEEDED
    ended = (await client.GetRun(pb.GetRunRequest(name=run.name))).run
    assert (ended.row_count, ended.upserted_count) == (1, 1)
    assert ended.progress.succeeded_count == ended.progress.total_count == 1
    listed = await client.ListSlices(
        pb.ListSlicesRequest(parent=run.name, filter="state = COMMITTED")
    )
    assert [slice_.memory_slice[:5] for slice_ in listed.slices] == ["orgs/"]
    none = await client.ListSlices(pb.ListSlicesRequest(parent=run.name, filter="state = FAILED"))
    assert not none.slices


async def test_runs_are_listed_in_pages(
    ingestion_client: ClientFactory, org: str, connection: str
) -> None:
    """Newest first, each once; another org sees none."""
    client = ingestion_client(org)
    started = []
    for back in range(3):
        day = (date(2026, 3, 2) - timedelta(days=back)).isoformat()
        request = _start(connection, date_range={"start_date": day, "end_date": day})
        started.append((await client.StartRun(request)).run.name)
    names: list[str] = []
    token = ""
    while True:
        page = await client.ListRuns(
            pb.ListRunsRequest(
                parent=f"orgs/{org}",
                page_size=1,
                page_token=token,
                filter=f'state = PENDING AND connection = "{connection}"',
            )
        )
        names += [run.name for run in page.runs]
        token = page.next_page_token
        if not token:
            break
    assert names == started[::-1]
    stranger = f"org-{secrets.token_hex(4)}"
    other = await ingestion_client(stranger).ListRuns(pb.ListRunsRequest(parent=f"orgs/{stranger}"))
    assert not other.runs
    name = started[0].replace(org, stranger)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ingestion_client(stranger).GetRun(pb.GetRunRequest(name=name))
    assert refusal_of(caught.value).reason == "ERROR_REASON_RESOURCE_NOT_FOUND"


async def test_a_run_is_cancelled(
    ingestion_client: ClientFactory, org: str, connection: str
) -> None:
    """What waits is cancelled at once; a run that has ended cannot be."""
    client = ingestion_client(org)
    run = (await client.StartRun(_start(connection))).run
    request = pb.CancelRunRequest(name=run.name, reason="not now", request_id=str(uuid4()))
    cancelled = (await client.CancelRun(request)).run
    assert cancelled.state == run_pb2.RUN_STATE_CANCELLED
    assert (await client.CancelRun(request)).run == cancelled, "the same request, the same answer"
    request.request_id = str(uuid4())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.CancelRun(request)
    refusal = refusal_of(caught.value)
    assert refusal.reason == "ERROR_REASON_STATE_TRANSITION_INVALID"
    assert refusal.metadata["state"] == "CANCELLED"


@pytest.mark.parametrize(
    ("error", "reason", "detail"),
    [
        (
            NotReadyError("calls of the app", seconds=90, quota=True),
            run_pb2.WAIT_REASON_QUOTA,
            "calls of the app",
        ),
        (
            ReadingError(Failure(ErrorClass.RATE_LIMITED, "too many", retry_after_seconds=90)),
            run_pb2.WAIT_REASON_QUOTA,
            "too many",
        ),
        (
            ReadingError(Failure(ErrorClass.TRANSIENT, "HTML", retry_after_seconds=90)),
            run_pb2.WAIT_REASON_RETRY,
            "HTML",
        ),
        (
            NotReadyError("the report runs", seconds=90),
            run_pb2.WAIT_REASON_PLATFORM_JOB,
            "the report runs",
        ),
        (
            StoreUnavailableError("memory", retry_after_seconds=90),
            run_pb2.WAIT_REASON_STORE,
            StoreUnavailableError("memory").message,
        ),
    ],
)
async def test_a_run_says_what_it_waits_for(  # noqa: PLR0917
    ingestion_client: ClientFactory,
    org: str,
    worker: Harness,
    error: Exception,
    reason: "run_pb2.WaitReason.ValueType",
    detail: str,
) -> None:
    """For what and until when, once all that is left of it waits; its slices say the same."""
    client = ingestion_client(org)
    worker.source.answers = [failing(error), pages([])]
    run = await worker.start(levels=["ACCOUNT", "CAMPAIGN"])
    request = pb.GetRunRequest(name=f"orgs/{org}/runs/{run.hex}")
    assert not (await client.GetRun(request)).run.HasField("wait"), "a worker may take it"
    first, second = await worker.rows("run_slices")
    await worker.reading().read(org, first["slice"])
    assert not (await client.GetRun(request)).run.HasField("wait"), "the other may be taken"
    listed = await client.ListSlices(
        pb.ListSlicesRequest(parent=request.name, filter="state = PARKED")
    )
    (parked,) = listed.slices
    await worker.reading().read(org, second["slice"])
    told = (await client.GetRun(request)).run
    assert told.wait == parked.wait
    assert (told.wait.reason, told.wait.detail) == (reason, detail)
    seconds = told.wait.resume_time.ToDatetime(tzinfo=UTC) - datetime.now(UTC)
    assert timedelta(seconds=60) < seconds < timedelta(seconds=120)
    (row,) = (await client.ListRuns(pb.ListRunsRequest(parent=f"orgs/{org}"))).runs
    assert row.wait == told.wait
    await worker.read_due()
    assert not (await client.GetRun(request)).run.HasField("wait"), "it has ended"


async def test_a_suspended_run_says_so(
    ingestion_client: ClientFactory, org: str, worker: Harness
) -> None:
    """With the reason that was given, and no time; what waits for something else comes first."""
    client = ingestion_client(org)
    run = await worker.start(accounts=["7", "8"])
    request = pb.GetRunRequest(name=f"orgs/{org}/runs/{run.hex}")
    suspended = await client.SuspendIngestion(
        pb.SuspendIngestionRequest(
            parent=f"orgs/{org}",
            scope=alert_pb2.SuspensionScope(platform="meta", account_id="7"),
            reason="audit",
            request_id=str(uuid4()),
        )
    )
    assert not (await client.GetRun(request)).run.HasField("wait"), "the other account is read"
    worker.source.answers = [failing(NotReadyError("calls", seconds=90, quota=True)), pages([])]
    await worker.read_due()
    told = (await client.GetRun(request)).run
    assert told.wait.reason == run_pb2.WAIT_REASON_QUOTA
    slices = (await client.ListSlices(pb.ListSlicesRequest(parent=request.name))).slices
    assert [(it.account_id, it.wait.reason) for it in slices] == [
        ("7", run_pb2.WAIT_REASON_SUSPENSION),
        ("8", run_pb2.WAIT_REASON_QUOTA),
    ]
    await worker.read_due()
    told = (await client.GetRun(request)).run
    assert told.wait == run_pb2.Wait(reason=run_pb2.WAIT_REASON_SUSPENSION, detail="audit")
    await client.ResumeIngestion(
        pb.ResumeIngestionRequest(name=suspended.suspension.name, request_id=str(uuid4()))
    )
    assert not (await client.GetRun(request)).run.HasField("wait")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"account_ids": ["9"]}, "ERROR_REASON_FIELD_INVALID"),
        ({"levels": ["ENTRY_LEVEL_FLOW"]}, "ERROR_REASON_FIELD_INVALID"),
        (
            {"date_range": {"start_date": "2026-03-03", "end_date": "2026-03-02"}},
            "ERROR_REASON_FIELD_INVALID",
        ),
        (
            {"date_range": {"start_date": "2016-03-03", "end_date": "2026-03-02"}},
            "ERROR_REASON_FIELD_INVALID",
        ),
        ({"parent": "none"}, "ERROR_REASON_RESOURCE_NOT_FOUND"),
    ],
)
async def test_bad_runs(
    ingestion_client: ClientFactory,
    org: str,
    connection: str,
    fields: dict[str, Any],
    reason: str,
) -> None:
    """What cannot be read is refused with what can be, and nothing is started."""
    client = ingestion_client(org)
    parent = f"orgs/{org}/connections/{fields.pop('parent', 'shop')}"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.StartRun(_start(parent, **fields))
    assert refusal_of(caught.value).reason == reason
    assert not (await client.ListRuns(pb.ListRunsRequest(parent=f"orgs/{org}"))).runs
