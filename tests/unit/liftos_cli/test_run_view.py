"""Runs as people follow them."""

from datetime import UTC, datetime, timedelta

import pytest

from liftos.common.v1.marketing_pb2 import DateRange, Progress
from liftos.ingestion.v1.run_pb2 import ErrorClass, Run, RunAccount, RunError, RunSlice, RunState
from liftos.memory.v1.entry_pb2 import EntryLevel
from liftos_cli.message_view import print_fields
from liftos_cli.run_view import has_ended, print_run, wait_reason

_NOW = datetime(2026, 6, 1, tzinfo=UTC)


def parked(message: str = "", *, seconds: int | None = None) -> RunSlice:
    """Return a slice that waits."""
    each = RunSlice(error=RunError(message=message) if message else None)
    if seconds is not None:
        each.next_attempt_time.FromDatetime(_NOW + timedelta(seconds=seconds))
    return each


def test_the_earliest_try_of_what_waits_is_told() -> None:
    """With how many wait, and for what."""
    waits = [parked("quota is used up", seconds=90), parked("quota is used up", seconds=30)]
    assert wait_reason(waits, _NOW) == "2 wait: quota is used up, next in 30 s"
    assert wait_reason([parked()], _NOW) == "1 wait: the platform's own job"
    assert wait_reason([], _NOW) == ""


def test_a_long_reason_is_cut() -> None:
    """It stays beside the bar."""
    assert len(wait_reason([parked("x" * 500)], _NOW)) < 80


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
    )
    print_fields(run, without=("progress",))
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    assert {line[0]: line[-1].strip() for line in lines[1:]} == {
        "state": "RUNNING",
        "date_range": "2026-06-01 to 2026-06-30",
        "levels": "CAMPAIGN, AD",
        "error": "QUOTA_EXHAUSTED: wait for tomorrow",
    }
