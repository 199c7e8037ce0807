"""What is thrown away with time, over all organisations."""

import asyncio
from datetime import timedelta
from typing import Final, Protocol

import structlog

from liftos_kit.core.repeatable import KEPT_HOURS
from liftos_kit.repeat import repeat

REQUESTS_KEPT: Final = timedelta(hours=KEPT_HOURS)
"""How long a repeated request_id gets the first answer."""
OPEN_SLICES_KEPT: Final = timedelta(hours=24)
"""How long a slice may stay open without a new batch before it is aborted."""

_ROUND_SECONDS: Final = 600.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.housekeeping")


class Perishables(Protocol):
    """Where things are kept that go bad."""

    async def forget_requests(self, kept: timedelta) -> int:
        """Delete answers of request ids that are older; return how many."""

    async def abort_open_slices(self, kept: timedelta) -> int:
        """Abort slices that have been open for longer; return how many."""


class Housekeeping:
    """Throws away what is too old, again and again."""

    def __init__(self, perishables: Perishables) -> None:
        self._perishables = perishables

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; an outage is waited out."""
        await repeat(self._throw_away, stop, seconds=_ROUND_SECONDS, event="housekeeping_waits")

    async def _throw_away(self) -> None:
        requests = await self._perishables.forget_requests(REQUESTS_KEPT)
        slices = await self._perishables.abort_open_slices(OPEN_SLICES_KEPT)
        if requests or slices:
            _log.info("housekeeping", request_ids=requests, open_slices=slices)
