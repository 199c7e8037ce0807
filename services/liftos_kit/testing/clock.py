"""A clock that moves only when told to."""

import asyncio
import heapq
import itertools
from datetime import UTC, date, datetime, timedelta


class FakeClock:
    """A `Clock` whose time stands still until `advance`."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = now
        self._elapsed_seconds = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """Return the clock's moment, in UTC."""
        return self._start + timedelta(seconds=self._elapsed_seconds)

    def today(self) -> date:
        """Return the clock's date, in UTC."""
        return self.now().date()

    def monotonic_seconds(self) -> float:
        """Return the seconds that the clock was advanced by."""
        return self._elapsed_seconds

    async def sleep(self, seconds: float) -> None:
        """Return once the clock was advanced by `seconds`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wake = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed_seconds + seconds, next(self._order), wake))
        await wake

    async def advance(self, seconds: float) -> None:
        """Move on, and let everything run that slept until then."""
        # Tasks that have only been created get to their first sleep at the present time.
        await _settle()
        end = self._elapsed_seconds + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            self._elapsed_seconds, _, wake = heapq.heappop(self._sleepers)
            if not wake.done():
                wake.set_result(None)
            await _settle()
        self._elapsed_seconds = end
        await _settle()


async def _settle() -> None:
    # Woken tasks may take several turns of the loop until they sleep again.
    for _ in range(10):
        await asyncio.sleep(0)
