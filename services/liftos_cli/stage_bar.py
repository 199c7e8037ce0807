"""Progress of work with several stages: one bar on a terminal, a line for each stage elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from liftos_cli.output import say

Advance = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


@contextmanager
def stage_bar() -> Iterator[Advance]:
    """Show progress on stderr while the block runs."""
    if not sys.stderr.isatty():
        yield stage_lines()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield advance


def stage_lines() -> Advance:
    """Return what says each stage once on stderr."""
    told: set[str] = set()

    def advance(stage: str, _done: int, _total: int) -> None:
        if stage not in told:
            told.add(stage)
            say(f"{stage} …")

    return advance
