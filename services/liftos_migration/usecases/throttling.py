"""Waiting between pieces of work, as the limits of a migration ask."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from liftos_migration.domain.migrations import Throttle
from liftos_migration.domain.throttle import Load, Verdict, judge, next_pause

_MEASURE_SECONDS: Final = 1.0
_RATE_SECONDS: Final = 10.0


class Meter:
    """Rows a second, over the last ten seconds."""

    def __init__(self) -> None:
        self._counted: deque[tuple[float, int]] = deque()

    def rate(self, rows: int) -> float:
        """Count rows, and return how many there were a second."""
        now = asyncio.get_running_loop().time()
        self._counted.append((now, rows))
        while now - self._counted[0][0] > _RATE_SECONDS:
            self._counted.popleft()
        return sum(count for _, count in self._counted) / _RATE_SECONDS


class Pacing:
    """Slows work down.

    Args:
        limits: Reads the limits as they are now.
        measure: Reads how the source is doing.
        tell: Is told what slows work down, and an empty text when nothing does.
        stop: Ends all waiting.
        copies: Whether the work is copying; see `liftos_migration.domain.throttle.judge`.
    """

    def __init__(
        self,
        limits: Callable[[], Throttle],
        measure: Callable[[], Awaitable[Load]],
        tell: Callable[[str], None],
        *,
        stop: asyncio.Event,
        copies: bool,
    ) -> None:
        self._read_limits = limits
        self._measure = measure
        self._tell = tell
        self._stop = stop
        self._copies = copies
        self._limits = Throttle()
        self._load = Load()
        self._verdict = Verdict()
        self._pause = 0.0
        self._measured = -_MEASURE_SECONDS
        self._measuring = asyncio.Lock()

    async def worked(self, seconds: float) -> None:
        """Wait after a piece of work, for as long as is asked.

        Args:
            seconds: What the piece took.
        """
        await self._look()
        # What the source keeps gets less by applying changes, not by waiting.
        while self._verdict.stops and not (self._stop.is_set() or self.asks_for_changes):
            await self._wait(_MEASURE_SECONDS)
            await self._look()
        share = max(self._limits.maximum_share, 0.01)
        await self._wait(self._pause + seconds * (1 / share - 1))

    @property
    def asks_for_changes(self) -> bool:
        """Whether changes should be applied, so that the source can forget them."""
        return self._load.retained_bytes > self._limits.maximum_retained_bytes

    async def stops(self) -> bool:
        """Look, and tell whether work is not to go on."""
        await self._look()
        return self._verdict.stops

    async def _look(self) -> None:
        now = asyncio.get_running_loop().time
        async with self._measuring:
            if now() - self._measured < _MEASURE_SECONDS:
                return
            self._limits = self._read_limits()
            self._load = await self._measure()
            self._verdict = judge(self._limits, self._load, copies=self._copies)
            self._pause = next_pause(self._pause, self._verdict)
            self._measured = now()
            self._tell(self._verdict.reason)

    async def _wait(self, seconds: float) -> None:
        if seconds <= 0 or self._stop.is_set():
            return
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return
