"""How much time the present call has left, to be passed on to what it calls."""

import time
from contextvars import ContextVar
from typing import Final

_ENDS_AT: Final[ContextVar[float | None]] = ContextVar("liftos_deadline", default=None)


def set_remaining_seconds(remaining_seconds: float | None) -> None:
    """Give the present task so much time; None is without end."""
    _ENDS_AT.set(None if remaining_seconds is None else time.monotonic() + remaining_seconds)


def remaining_seconds(default: float | None = None) -> float | None:
    """Return the seconds left to the present call, at least 0, or `default` if it has no end."""
    ends_at = _ENDS_AT.get()
    return default if ends_at is None else max(0.0, ends_at - time.monotonic())
