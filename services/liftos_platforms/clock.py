"""The time of the simulated platforms, which moves only when it is told to."""

from datetime import UTC, datetime, timedelta


class VirtualClock:
    """A clock that stands still until it is moved."""

    __slots__ = ("_now",)

    def __init__(self, now: datetime) -> None:
        self._now = _utc(now)

    def now(self) -> datetime:
        """Return the moment all platforms take for the present, in UTC."""
        return self._now

    def set(self, now: datetime) -> None:
        """Move to a moment, also back.

        Raises:
            ValueError: The moment has no time zone.
        """
        self._now = _utc(now)

    def advance(self, step: timedelta) -> datetime:
        """Move on by a step and return the new moment."""
        self._now += step
        return self._now


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; give an aware datetime")
    return moment.astimezone(UTC)
