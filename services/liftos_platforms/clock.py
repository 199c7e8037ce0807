"""The time of the simulated platforms, which moves only when it is told to."""

import time
from datetime import UTC, datetime, timedelta


class VirtualClock:
    """A clock of whole seconds that stands still until it is moved, or runs from where it is set.

    Args:
        now: Where it starts.
        is_running: Whether it goes on by itself, as fast as the machine's.
    """

    __slots__ = ("_is_running", "_now", "_set_at")

    def __init__(self, now: datetime, *, is_running: bool = False) -> None:
        self._is_running = is_running
        self.set(now)

    def now(self) -> datetime:
        """Return the moment all platforms take for the present, in UTC."""
        if not self._is_running:
            return self._now
        return self._now + timedelta(seconds=int(time.monotonic() - self._set_at))

    def set(self, now: datetime) -> None:
        """Move to a moment, also back.

        Raises:
            ValueError: The moment has no time zone.
        """
        if now.tzinfo is None:
            raise ValueError(f"{now.isoformat()} has no time zone; give an aware datetime")
        self._now = now.astimezone(UTC).replace(microsecond=0)
        self._set_at = time.monotonic()

    def advance(self, step: timedelta) -> datetime:
        """Move on by a step and return the new moment."""
        self.set(self.now() + step)
        return self._now
