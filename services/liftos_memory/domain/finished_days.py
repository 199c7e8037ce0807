"""Which days are over: for each account in its own time zone."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Self
from zoneinfo import ZoneInfo, available_timezones


@dataclass(frozen=True, slots=True)
class FinishedDays:
    """What is over at a moment.

    Attributes:
        today: The day in UTC; it and later ones are over nowhere that counts.
        zones_behind: Time zones in which the day before is not over either.
    """

    today: date
    zones_behind: tuple[str, ...]

    @classmethod
    def at(cls, now: datetime) -> Self:
        """Return what is over at a moment with a time zone; goes through all zones of the world."""
        today = now.astimezone(UTC).date()
        zones = sorted(available_timezones())
        behind = (name for name in zones if now.astimezone(ZoneInfo(name)).date() < today)
        return cls(today, tuple(behind))
