"""What runs are reconciled with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol, TypeAlias
from uuid import UUID

from liftos_ingestion.domain.reconciliation import Comparison, DaySums, ReadDay
from liftos_ingestion.run_ports import Lane


@dataclass(frozen=True, slots=True)
class ReadLane:
    """What a run has committed of a lane.

    Attributes:
        lane: The lane.
        start_date, end_date: Its first and its last day.
    """

    lane: Lane
    start_date: date
    end_date: date


ReadDays: TypeAlias = Mapping[date, ReadDay]


class EntryTotals(Protocol):
    """Memory, as what is stored."""

    async def day_sums(self, read: ReadLane) -> DaySums:
        """Return the sums of a lane's entries by day.

        Raises:
            StoreUnavailableError: Memory does not answer.
        """


class ReconciliationStore(Protocol):
    """What platforms said, and what comparisons found."""

    async def read_lanes(self, org: str, run: UUID) -> Sequence[tuple[ReadLane, ReadDays]]:
        """Return the lanes that a run has committed slices of, with the days of those."""

    async def answered(self, read: ReadLane) -> DaySums:
        """Return what the platform last said of a lane."""

    async def store(self, run: UUID, lane: Lane, comparisons: Sequence[Comparison]) -> None:
        """Keep what was found of a lane, in place of what the same run found before."""
