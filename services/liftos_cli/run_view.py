"""Runs as people follow them: a bar while they read, a summary when they have ended."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from liftos.ingestion.v1.run_pb2 import Run, RunAccount, RunSlice, RunState
from liftos_cli.figures import counted, enum_word_of, short_name
from liftos_cli.message_view import done_count, progress_text
from liftos_cli.output import Column, print_table, say

SUCCEEDED: Final = RunState.RUN_STATE_SUCCEEDED

_ENDED: Final = (
    RunState.RUN_STATE_SUCCEEDED,
    RunState.RUN_STATE_PARTIALLY_SUCCEEDED,
    RunState.RUN_STATE_FAILED,
    RunState.RUN_STATE_CANCELLED,
)
_SHOWN_CHARACTERS: Final = 60
_BAR_WIDTH: Final = 16
"""So that a line of 80 has room for the longest state, and the bar keeps its width."""

ShowRun: TypeAlias = Callable[[Run], None]
"""Shows a run as it is now."""


def has_ended(run: Run) -> bool:
    """Tell whether a run changes no more."""
    return run.state in _ENDED


def wait_text(message: Run | RunSlice, now: datetime) -> str:
    """Return what a run or a slice waits for, and how long; empty where it does not."""
    if not message.HasField("wait"):
        return ""
    wait = message.wait
    text = f"waits for {enum_word_of(wait, 'reason').lower().replace('_', ' ')}"
    if wait.HasField("resume_time"):
        seconds = round((wait.resume_time.ToDatetime(tzinfo=UTC) - now).total_seconds())
        text += f", {max(0, seconds):,} s"
    if not wait.detail:
        return text
    detail = wait.detail
    if len(detail) > _SHOWN_CHARACTERS:
        detail = detail[: _SHOWN_CHARACTERS - 1] + "…"
    return f"{text}: {detail}"


@contextmanager
def run_bar(name: str) -> Iterator[ShowRun]:
    """Show a bar on a terminal's stderr; elsewhere a line when its state or its wait changes."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=_BAR_WIDTH),
        TextColumn("{task.fields[slices]}", markup=False),
        TextColumn("{task.fields[rows]}", markup=False),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[failed]}", markup=False, style="red"),
        TextColumn("{task.fields[waits]}", markup=False),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(name, total=0, slices="", rows="", rate=0.0, failed="", waits="")
        began = time.monotonic()
        first_rows: int | None = None
        told: tuple[int, int] | None = None

        def show(run: Run) -> None:
            nonlocal first_rows, told
            if bar.disable:
                now = (run.state, run.wait.reason)
                if now != told:
                    told = now
                    say(_line(name, run))
                return
            if first_rows is None:
                first_rows = run.row_count
            seconds = time.monotonic() - began
            failed = run.progress.failed_count
            bar.update(
                task,
                description=f"{name} {_state_text(run)}",
                total=run.progress.total_count,
                completed=done_count(run.progress),
                slices=_slices_text(run),
                rows=counted(run.row_count, "row"),
                rate=(run.row_count - first_rows) / seconds if seconds else 0.0,
                failed=f"{failed:,} failed" if failed else "",
                waits=wait_text(run, datetime.now(UTC)),
            )

        yield show


def _line(name: str, run: Run) -> str:
    waits = wait_text(run, datetime.now(UTC))
    return f"{name} {_state_text(run)}, {_slices_text(run)}" + (waits and f", {waits}")


def _state_text(run: Run) -> str:
    return enum_word_of(run, "state").lower().replace("_", " ")


def _slices_text(run: Run) -> str:
    slices = counted(run.progress.total_count, "slice")
    return f"{done_count(run.progress):,}/{slices}"


def print_run(run: Run) -> None:
    """Print how a run went, in one sentence, and each of its accounts."""
    print(
        f"{short_name(run.name)}: {enum_word_of(run, 'state')},"
        f" {done_count(run.progress):,} of {counted(run.progress.total_count, 'slice')},"
        f" {counted(run.row_count, 'row')},"
        f" {counted(run.upserted_count, 'entry', 'entries')} new or changed,"
        f" {run.vanished_count:,} vanished, {counted(run.dead_letter_count, 'row')} refused,"
        f" {counted(run.call_count, 'call')}{_duration(run)}."
    )
    print_accounts(run)
    say_left_out(run)
    if run.HasField("error") and not any(account.HasField("error") for account in run.accounts):
        say(run.error.message)
    if run.dead_letter_count:
        say(f"Refused rows: `liftos dead-letters list --run {short_name(run.name)}`.")


def say_left_out(run: Run) -> None:
    """Say which days a run does not read, and why; a run that has no others ends at once."""
    if not run.HasField("left_out"):
        return
    left_out = run.left_out
    reasons = [
        f"{counted(count, 'day')} {why}"
        for count, why in (
            (left_out.final_day_count, "final already (`--force` reads them again)"),
            (left_out.in_hand_day_count, "in hand of another run (`liftos runs list`)"),
            (left_out.unanswered_day_count, "that the platform does not answer"),
        )
        if count
    ]
    head = "Left out" if run.progress.total_count else "Nothing was read"
    say(f"{head}: {', '.join(reasons)}; each account, level and date basis counts.")


def print_accounts(run: Run) -> None:
    """Print how each account of a run went."""
    if run.accounts:
        print_table(
            [
                Column("account"),
                Column("outcome"),
                Column("slices", number=True),
                Column("failed", number=True),
                Column("last failure"),
            ],
            map(_account_row, run.accounts),
        )


def _account_row(account: RunAccount) -> list[str]:
    outcome = enum_word_of(account, "outcome")
    return [
        account.account_id,
        "" if outcome == "UNSPECIFIED" else outcome,
        progress_text(account.progress),
        f"{account.progress.failed_count:,}",
        account.error.message,
    ]


def _duration(run: Run) -> str:
    if not run.HasField("start_time") or not run.HasField("end_time"):
        return ""
    seconds = (run.end_time.ToDatetime() - run.start_time.ToDatetime()).total_seconds()
    return f", {seconds:,.1f} s"
