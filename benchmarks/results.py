"""Measurements against their targets, for people and for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table


class DifferenceError(Exception):
    """Two that were to give the same gave something else, so that their times compare nothing."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure.

    Attributes:
        name: Stable name.
        value: What was measured.
        target: What was promised.
        better: Which direction is better.
        detail: The absolute figures behind it, for people.
    """

    name: str
    value: float
    target: float
    better: Literal["higher", "lower"]
    detail: str

    @property
    def holds(self) -> bool:
        """Whether the promise is kept."""
        return self.value >= self.target if self.better == "higher" else self.value <= self.target


def write_json(measurements: Sequence[Measurement], path: Path) -> None:
    """Write name, value, target, better and holds of each figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [{**asdict(each), "holds": each.holds} for each in measurements]
    for line in lines:
        del line["detail"]
    path.write_text(json.dumps(lines, indent=2) + "\n")


def print_table(measurements: Sequence[Measurement]) -> None:
    """Show the figures."""
    table = Table("figure", "value", "target", "holds", "behind it")
    for each in measurements:
        sign = "≥" if each.better == "higher" else "≤"
        holds = "yes" if each.holds else "NO"
        table.add_row(each.name, f"{each.value:.3g}", f"{sign} {each.target:g}", holds, each.detail)
    Console(width=150).print(table)
