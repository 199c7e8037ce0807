"""Whether what is stored adds up to what the platform said."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import IntEnum
from typing import TypeAlias

DaySums: TypeAlias = Mapping[date, Mapping[str, int]]
"""For each day the sums of the metrics that were reported, by the name of the column."""


class ReconciliationState(IntEnum):
    """What a comparison found; numbers as in the contract."""

    MATCHED = 1
    MISMATCHED = 2
    NOT_COMPARABLE = 3


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of one day of one level.

    Attributes:
        day: The day.
        metric: Name of the column.
        stored: Our sum; None where no row reported it.
        platform: The platform's; None where it gave none.
        state: What was found.
        detail: Why it differs or cannot be compared.
    """

    day: date
    metric: str
    stored: int | None
    platform: int | None
    state: ReconciliationState
    detail: str


@dataclass(frozen=True, slots=True)
class ReadDay:
    """A day of a level that a run has committed.

    Attributes:
        metrics_before: What was compared of it before; told of again, also where it is gone.
        refused_count: Its rows that are dead letters, so that nobody knows what they add.
    """

    metrics_before: Collection[str] = ()
    refused_count: int = 0


def compare(
    days: Mapping[date, ReadDay], stored: DaySums, answered: DaySums, total: DaySums | None
) -> Iterator[Comparison]:
    """Compare the sums of a level, day by day and metric by metric.

    Args:
        days: The days that are compared.
        stored: What is stored.
        answered: What the platform answered for this level.
        total: What it answered for the account as a whole, where the level adds up to it.
    """
    for day in sorted(days):
        ours, said = stored.get(day, {}), answered.get(day, {})
        whole = None if total is None else total.get(day, {})
        # Where no row became an entry, the total alone tells that something is missing.
        metrics = {*ours, *said, *(whole or {}), *days[day].metrics_before}
        for metric in sorted(metrics):
            found = _compared(day, metric, ours.get(metric), said.get(metric), whole)
            yield _in_doubt(found, days[day].refused_count)


def _in_doubt(found: Comparison, refused_count: int) -> Comparison:
    """Return what can be said of a sum where rows were refused: never that it matches."""
    if not refused_count or found.state is not ReconciliationState.MATCHED:
        return found
    return replace(
        found,
        state=ReconciliationState.NOT_COMPARABLE,
        detail=f"{refused_count} rows of the day were refused; look at its dead letters.",
    )


def _compared(
    day: date,
    metric: str,
    stored: int | None,
    said: int | None,
    whole: Mapping[str, int] | None,
) -> Comparison:
    # Nothing reported and nothing but zeros are the same sum.
    if (stored or 0) != (said or 0):
        return Comparison(
            day,
            metric,
            stored,
            said,
            ReconciliationState.MISMATCHED,
            "Not all that the platform answered is stored; look for dead letters of the day.",
        )
    if whole is None:
        return Comparison(day, metric, stored, said, ReconciliationState.MATCHED, "")
    total = whole.get(metric)
    if total is None and stored is None:
        return Comparison(day, metric, None, None, ReconciliationState.MATCHED, "")
    if total is None:
        return Comparison(
            day,
            metric,
            stored,
            None,
            ReconciliationState.NOT_COMPARABLE,
            "The platform gives no total of it.",
        )
    if total == (stored or 0):
        return Comparison(day, metric, stored, total, ReconciliationState.MATCHED, "")
    return Comparison(
        day,
        metric,
        stored,
        total,
        ReconciliationState.MISMATCHED,
        "The parts do not add up to the account's total; they may be from before a restatement.",
    )
