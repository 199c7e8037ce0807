"""What long runs came to, for people and for programs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Tally:
    """What one part came to.

    Attributes:
        name: What ran.
        runs: How many runs were compared with the truth.
        kills: How many processes were killed under them.
        lost: Rows that are missing, or say less than they should.
        doubled: Rows that are too many, or say more than they should.
        detail: More figures, for people.
    """

    name: str
    runs: int
    kills: int
    lost: int
    doubled: int
    detail: str

    @property
    def holds(self) -> bool:
        """Whether something was compared, and nothing is lost and nothing doubled."""
        return self.runs > 0 and not self.lost and not self.doubled


def write_json(tallies: Sequence[Tally], path: Path) -> None:
    """Write the sums of all parts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ("runs", "kills", "lost", "doubled")
    sums = {name: sum(getattr(it, name) for it in tallies) for name in names}
    path.write_text(json.dumps(sums, indent=2) + "\n")


def print_table(tallies: Sequence[Tally]) -> None:
    """Show what each part came to."""
    table = Table("part", "runs", "kills", "lost", "doubled", "holds", "behind it")
    for it in tallies:
        figures = (str(number) for number in (it.runs, it.kills, it.lost, it.doubled))
        table.add_row(it.name, *figures, "yes" if it.holds else "NO", it.detail)
    Console(width=150).print(table)
