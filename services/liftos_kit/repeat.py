"""Work that is done again and again, for as long as a process runs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from liftos_kit.core.clock import pause
from liftos_kit.core.errors import StoreUnavailableError

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.repeat")


async def repeat(
    work: Callable[[], Awaitable[object]], stop: asyncio.Event, *, seconds: float, event: str
) -> None:
    """Do some work, and again after a pause, until `stop`; an outage of a store is waited out.

    Args:
        work: One round.
        stop: Set where no further round is to begin; a pause ends with it.
        seconds: From the end of a round to the next one.
        event: What the log says of a round that a store kept from its end.

    Raises:
        Exception: Whatever a round failed with, an outage excepted.
    """
    while not stop.is_set():
        try:
            await work()
        except StoreUnavailableError as error:
            _log.warning(event, error=error.message)
        await pause(stop, seconds)
