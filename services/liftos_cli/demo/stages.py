"""The demo's progress on stderr: bars on a terminal, plain lines elsewhere; and its timings."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from liftos_cli.output import say

_PLAIN_STEPS: Final = 4

Advance = Callable[[int], None]
"""Tells how much of a stage's total is done."""


class Stages:
    """The stages of the demo, one after the other, with the time that each took.

    Attributes:
        seconds: Duration of each finished stage by its name, in their order.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, *, total: int | None = None, unit: str = "") -> Iterator[Advance]:
        """Show a stage while it runs.

        Args:
            name: What is done, in a few words.
            total: How much there is to do; None where that is not known.
            unit: What is counted, such as "rows".
        """
        began = time.monotonic()
        shown = _bar if sys.stderr.isatty() else _lines
        with shown(name, total, unit) as advance:
            yield advance
        self.seconds[name] = time.monotonic() - began
        if not sys.stderr.isatty():
            say(f"{name}: done in {self.seconds[name]:.1f} s")


@contextmanager
def _bar(name: str, total: int | None, unit: str) -> Iterator[Advance]:
    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}", markup=False),
        *((BarColumn(), TaskProgressColumn()) if total is not None else ()),
        TextColumn("{task.fields[count]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=total, count="")

        def advance(done: int) -> None:
            progress.update(task, completed=done, count=_count(done, total, unit))

        yield advance
        finished = 1 if total is None else total
        count = "" if total is None else _count(total, total, unit)
        progress.update(task, total=finished, completed=finished, count=count)


@contextmanager
def _lines(name: str, total: int | None, unit: str) -> Iterator[Advance]:
    say(f"{name} …")
    told = 0

    def advance(done: int) -> None:
        nonlocal told
        step = done * _PLAIN_STEPS // total if total else 0
        if told < step < _PLAIN_STEPS:
            told = step
            say(f"{name}: {_count(done, total, unit)}")

    yield advance


def _count(done: int, total: int | None, unit: str) -> str:
    return f"{done:,} {unit}" if total is None else f"{done:,} of {total:,} {unit}"
