"""Which days are read, and in which pieces."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, order=True)
class Days:
    """A range of days, both ends included."""

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError("a range has at least one day")

    def __len__(self) -> int:
        return (self.end - self.start).days + 1


def without(days: Days, taken: Iterable[Days]) -> Sequence[Days]:
    """Return what is left of a range, in order, once others are taken out of it."""
    left = []
    start = days.start
    for other in sorted(taken):
        if other.end < start or other.start > days.end:
            continue
        if other.start > start:
            left.append(Days(start, other.start - _DAY))
        start = max(start, other.end + _DAY)
    if start <= days.end:
        left.append(Days(start, days.end))
    return left


def windows(days: Days, *, days_per_read: int) -> Iterator[Days]:
    """Cut a range into pieces of at most so many days, the newest first."""
    end = days.end
    while end >= days.start:
        start = max(days.start, end - timedelta(days=days_per_read - 1))
        yield Days(start, end)
        end = start - _DAY


def clamp_to_retention(days: Days, *, today: date, retention_days: int) -> Days | None:
    """Return the part of a range that a platform still answers and that has begun.

    Args:
        days: What is asked for.
        today: In the account's time zone, where the platform counts.
        retention_days: How many days back it answers; 0 is without end.
    """
    start = days.start
    if retention_days:
        start = max(start, today - timedelta(days=retention_days - 1))
    end = min(days.end, today)
    return Days(start, end) if start <= end else None
