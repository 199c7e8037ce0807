"""Klaviyo's rate limits: exact fixed windows of a second, a minute and a day.

Each endpoint counts on its own, for each quota: an account's private keys share one, every OAuth
application has its own. A request must fit into all windows; one that does not is counted in none.
"""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

BURST_SECONDS: Final = 1
STEADY_SECONDS: Final = 60
DAILY_SECONDS: Final = 86_400

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How many requests an endpoint takes.

    Attributes:
        burst: Requests a second.
        steady: Requests a minute.
        daily: Requests a day, or None.
    """

    burst: int
    steady: int
    daily: int | None = None

    def windows(self) -> tuple[tuple[int, int], ...]:
        """Return (length in seconds, requests) of every window, shortest first."""
        windows = ((BURST_SECONDS, self.burst), (STEADY_SECONDS, self.steady))
        return windows if self.daily is None else (*windows, (DAILY_SECONDS, self.daily))


XS: Final = RateLimit(1, 15)
S: Final = RateLimit(3, 60)
M: Final = RateLimit(10, 150)
XL: Final = RateLimit(350, 3500)
REPORTS: Final = RateLimit(1, 2, 225)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that fits.

    Attributes:
        limit: Requests that the steady window takes.
        remaining: How many of them are left.
        reset_seconds: Whole seconds until the steady window ends.
    """

    limit: int
    remaining: int
    reset_seconds: int


@dataclass(frozen=True, slots=True)
class Throttled:
    """A request that does not fit.

    Attributes:
        retry_after_seconds: Whole seconds until every full window has ended.
        window_seconds: The longest window that is full.
    """

    retry_after_seconds: int
    window_seconds: int


@dataclass(slots=True)
class _Window:
    index: int = -1
    count: int = 0


@dataclass(slots=True)
class WindowLimiter:
    """Counts requests by quota and endpoint; time comes with each request."""

    _windows: dict[tuple[str, str, int], _Window] = field(default_factory=dict)

    def admit(
        self, quota: str, endpoint: str, limit: RateLimit, now: datetime
    ) -> Admitted | Throttled:
        """Count one request, or refuse it.

        Args:
            quota: Whose quota: an account, or an account and an application.
            endpoint: The endpoint's name.
            limit: What the endpoint takes.
            now: The moment of the request, aware.
        """
        microseconds = _microseconds(now)
        held: list[_Window] = []
        full_seconds = 0
        for seconds, most in limit.windows():
            window = self._windows.setdefault((quota, endpoint, seconds), _Window())
            index = microseconds // (seconds * _MICROSECONDS)
            if window.index != index:
                window.index, window.count = index, 0
            held.append(window)
            if window.count >= most:
                full_seconds = seconds
        if full_seconds:
            return Throttled(_seconds_left(microseconds, full_seconds), full_seconds)
        for window in held:
            window.count += 1
        return Admitted(
            limit=limit.steady,
            remaining=limit.steady - held[1].count,
            reset_seconds=_seconds_left(microseconds, STEADY_SECONDS),
        )

    def reset(self) -> None:
        """Forget every request."""
        self._windows.clear()


def _microseconds(now: datetime) -> int:
    # Integers: a float of this size is off by a fraction of a microsecond, and windows are exact.
    elapsed = now - _EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * _MICROSECONDS + elapsed.microseconds


def _seconds_left(microseconds: int, window_seconds: int) -> int:
    length = window_seconds * _MICROSECONDS
    return math.ceil((length - microseconds % length) / _MICROSECONDS)
