"""Runs as people follow them."""

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from liftos.common.v1.marketing_pb2 import DateRange, Progress
from liftos.ingestion.v1.run_pb2 import (
    ErrorClass,
    LeftOut,
    Run,
    RunAccount,
    RunError,
    RunSlice,
    RunState,
    Wait,
    WaitReason,
)
from liftos.memory.v1.entry_pb2 import EntryLevel
from liftos_cli.message_view import print_fields
from liftos_cli.run_view import has_ended, print_run, run_bar, wait_text

_NOW = datetime(2026, 6, 1, tzinfo=UTC)


def waiting(reason: "WaitReason.ValueType", detail: str, *, seconds: int | None = None) -> Run:
    """Return a run that waits."""
    run = Run(wait=Wait(reason=reason, detail=detail))
    if seconds is not None:
        run.wait.resume_time.FromDatetime(_NOW + timedelta(seconds=seconds))
    return run


def test_a_run_says_what_it_waits_for() -> None:
    """For what, how long and why; what nobody can know is left out."""
    quota = waiting(WaitReason.WAIT_REASON_QUOTA, "calls of the app", seconds=90)
    assert wait_text(quota, _NOW) == "waits for quota, 90 s: calls of the app"
    suspended = waiting(WaitReason.WAIT_REASON_SUSPENSION, "audit")
    assert wait_text(suspended, _NOW) == "waits for suspension: audit"
    report = waiting(WaitReason.WAIT_REASON_PLATFORM_JOB, "", seconds=-3)
    assert wait_text(report, _NOW) == "waits for platform job, 0 s"
    assert wait_text(Run(), _NOW) == ""
    assert wait_text(RunSlice(wait=quota.wait), _NOW) == "waits for quota, 90 s: calls of the app"


def test_without_a_terminal_changes_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Each state and each wait is one line, however often they are reported."""
    suspended = waiting(WaitReason.WAIT_REASON_SUSPENSION, "audit")
    suspended.state = RunState.RUN_STATE_RUNNING
    suspended.progress.total_count = 4
    with run_bar("1a2b") as show:
        for run in (suspended, suspended, Run(state=RunState.RUN_STATE_CANCELLED)):
            show(run)
    assert capsys.readouterr().err.splitlines() == [
        "1a2b running, 0/4 slices, waits for suspension: audit",
        "1a2b cancelled, 0/0 slices",
    ]


def test_a_long_reason_is_cut() -> None:
    """It stays beside the bar."""
    assert len(wait_text(waiting(WaitReason.WAIT_REASON_RETRY, "x" * 500), _NOW)) < 80


@pytest.mark.parametrize("state", RunState.values())
def test_every_state_is_an_end_or_goes_on(state: "RunState.ValueType") -> None:
    """A watch ends at the four ends and nowhere else."""
    ends = ("SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED")
    word = RunState.Name(state).removeprefix("RUN_STATE_")
    assert has_ended(Run(state=state)) is (word in ends)


def test_a_summary_names_each_account(capsys: pytest.CaptureFixture[str]) -> None:
    """Slices that needed nothing count as done; refused rows say where to look."""
    run = Run(
        name="orgs/demo/runs/abc",
        state=RunState.RUN_STATE_PARTIALLY_SUCCEEDED,
        progress=Progress(total_count=5, succeeded_count=2, failed_count=1, skipped_count=1),
        dead_letter_count=2,
        accounts=[RunAccount(account_id="1001", error=RunError(message="closed"))],
        error=RunError(message="closed"),
    )
    print_run(run)
    captured = capsys.readouterr()
    assert captured.out.startswith("abc: PARTIALLY_SUCCEEDED, 4 of 5 slices, 0 rows,")
    assert captured.out.splitlines()[-1].split() == ["1001", "0", "of", "0", "0", "closed"]
    assert captured.err == "Refused rows: `liftos dead-letters list --run abc`.\n"


def test_a_message_is_shown_by_the_fields_that_are_set(capsys: pytest.CaptureFixture[str]) -> None:
    """Days, counts, words and failures in one line each; what is unset is left out."""
    run = Run(
        state=RunState.RUN_STATE_RUNNING,
        date_range=DateRange(start_date="2026-06-01", end_date="2026-06-30"),
        levels=[EntryLevel.ENTRY_LEVEL_CAMPAIGN, EntryLevel.ENTRY_LEVEL_AD],
        progress=Progress(total_count=3, succeeded_count=1),
        error=RunError(
            error_class=ErrorClass.ERROR_CLASS_QUOTA_EXHAUSTED, message="wait for tomorrow"
        ),
        wait=Wait(
            reason=WaitReason.WAIT_REASON_QUOTA,
            detail="calls",
            resume_time=Timestamp(seconds=1_780_272_000),
        ),
    )
    print_fields(run, without=("progress",))
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    assert {line[0]: line[-1].strip() for line in lines[1:]} == {
        "state": "RUNNING",
        "date_range": "2026-06-01 to 2026-06-30",
        "levels": "CAMPAIGN, AD",
        "error": "QUOTA_EXHAUSTED: wait for tomorrow",
        "wait": "QUOTA: calls, until 2026-06-01T00:00:00Z",
    }


@pytest.mark.parametrize(
    ("left_out", "slice_count", "reasons"),
    [
        (
            LeftOut(final_day_count=4),
            0,
            "4 days final already (`--force` reads them again)",
        ),
        (
            LeftOut(final_day_count=1, in_hand_day_count=2, unanswered_day_count=3),
            2,
            (
                "1 day final already (`--force` reads them again), 2 days in hand of another run"
                " (`liftos runs list`), 3 days that the platform does not answer"
            ),
        ),
    ],
)
def test_a_run_says_which_days_it_does_not_read(
    capsys: pytest.CaptureFixture[str], left_out: LeftOut, slice_count: int, reasons: str
) -> None:
    """It succeeds, and nobody takes that for days that were read."""
    progress = Progress(total_count=slice_count, succeeded_count=slice_count)
    run = Run(name="orgs/demo/runs/abc", state=RunState.RUN_STATE_SUCCEEDED, progress=progress)
    run.left_out.CopyFrom(left_out)
    print_run(run)
    head = "Left out" if slice_count else "Nothing was read"
    told = " ".join(capsys.readouterr().err.split())
    assert told == f"{head}: {reasons}; each account, level and date basis counts."


def test_a_run_that_reads_everything_says_nothing_of_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not even where it had no slices, as the replay of dead letters has none."""
    print_run(Run(name="orgs/demo/runs/abc", state=RunState.RUN_STATE_SUCCEEDED))
    assert capsys.readouterr().err == ""
