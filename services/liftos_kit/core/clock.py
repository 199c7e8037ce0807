"""Time as a dependency, so that tests need not wait for it."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> datetime:
        """Return the present moment, in UTC."""
        ...

    def today(self) -> date:
        """Return the present date, in UTC."""
        ...

    def monotonic_seconds(self) -> float:
        """Return seconds since some fixed point, never going back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


class SystemClock:
    """The machine's clock."""

    __slots__ = ()

    def now(self) -> datetime:
        """Return the present moment, in UTC."""
        return datetime.now(UTC)

    def today(self) -> date:
        """Return the present date, in UTC."""
        return datetime.now(UTC).date()

    def monotonic_seconds(self) -> float:
        """Return seconds since some fixed point, never going back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await asyncio.sleep(seconds)


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait for so long, or until `stop`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
