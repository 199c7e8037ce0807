"""Trying again: exponential back-off with full jitter, within a deadline.

Formula: the wait before try n is uniform in [0, min(cap, base * 2**n)] ("full jitter").
"""

import itertools
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from liftos_kit.core.clock import Clock, SystemClock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Backoff:
    """How waits between tries grow.

    Attributes:
        base_seconds: Upper bound of the first wait.
        maximum_seconds: Upper bound of every wait.
        maximum_tries: Tries in all, the first included; None is without end.
    """

    base_seconds: float = 0.1
    maximum_seconds: float = 30.0
    maximum_tries: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.base_seconds <= self.maximum_seconds:
            raise ValueError("base_seconds must be above 0 and at most maximum_seconds")
        if self.maximum_tries is not None and self.maximum_tries < 1:
            raise ValueError("maximum_tries must be at least 1")

    def bound_seconds(self, number: int) -> float:
        """Return the upper bound of a wait, the first being number 0."""
        # The exponent stops growing where the cap rules anyway; 2.0**1024 would overflow.
        return min(self.maximum_seconds, self.base_seconds * 2.0 ** min(number, 64))

    def waits_seconds(self, uniform: Callable[[float, float], float]) -> Iterator[float]:
        """Yield the wait before each further try, in seconds.

        Args:
            uniform: Gives a random number between two bounds, as `random.uniform`.
        """
        further = itertools.count() if self.maximum_tries is None else range(self.maximum_tries - 1)
        for number in further:
            yield uniform(0.0, self.bound_seconds(number))


async def retry(
    operation: Callable[[], Awaitable[T]],
    *,
    should_retry: Callable[[Exception], bool],
    backoff: Backoff,
    deadline_seconds: float,
    clock: Clock | None = None,
    uniform: Callable[[float, float], float] = random.uniform,
) -> T:
    """Call `operation` until it works, fails for good, or no time is left.

    An error's `retry_after_seconds`, where it has one, is the least wait before the next try.

    Args:
        operation: One try.
        should_retry: Tells whether an error may pass by itself.
        backoff: Waits between tries, and how many.
        deadline_seconds: No try begins later than this after the call.
        clock: Time; the system's if absent.
        uniform: Random numbers for the jitter.

    Raises:
        Exception: The last try's error, unchanged.
    """
    time = clock or SystemClock()
    end = time.monotonic_seconds() + deadline_seconds
    waits = backoff.waits_seconds(uniform)
    while True:
        try:
            return await operation()
        except Exception as error:
            if not should_retry(error):
                raise
            wait = next(waits, None)
            if wait is None:
                raise
            wait = max(wait, getattr(error, "retry_after_seconds", None) or 0.0)
            if time.monotonic_seconds() + wait >= end:
                raise
        await time.sleep(wait)
