"""Whether what is stored adds up to what the platform said."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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


def compare(stored: DaySums, answered: DaySums, total: DaySums | None) -> Iterator[Comparison]:
    """Compare the sums of a level, day by day and metric by metric.

    Args:
        stored: What is stored.
        answered: What the platform answered for this level.
        total: What it answered for the account as a whole, where the level adds up to it.
    """
    for day in sorted(answered.keys() | stored.keys() | (total or {}).keys()):
        ours, said = stored.get(day, {}), answered.get(day, {})
        whole = None if total is None else total.get(day, {})
        for metric in sorted(ours.keys() | said.keys()):
            yield _compared(day, metric, ours.get(metric), said.get(metric), whole)


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
