"""Hears at once that a migration wants to go on; whoever hears nothing looks a little later."""

import asyncio
from contextlib import suppress
from typing import Final

import asyncpg
import structlog

from liftos_kit import postgres
from liftos_kit.core.clock import pause
from liftos_kit.core.errors import StoreUnavailableError

_CHANNEL: Final = "liftos_migration"
_AGAIN_SECONDS: Final = 5.0
_CONNECT_SECONDS: Final = 10.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.migration")


async def wake_on_change(url: str, wake: asyncio.Event, stop: asyncio.Event) -> None:
    """Set `wake` whenever a migration may go on, until `stop`.

    Args:
        url: Of Migration's Postgres; no pooler may stand between that shares sessions.
        wake: Is set, and never cleared here.
        stop: Ends it.
    """
    while not stop.is_set():
        try:
            await _listen(url, wake, stop)
        except StoreUnavailableError as error:
            _log.warning("wake_ups_not_heard", error=error.message)
            await pause(stop, _AGAIN_SECONDS)


async def _listen(url: str, wake: asyncio.Event, stop: asyncio.Event) -> None:
    lost = asyncio.Event()
    with postgres.translate_errors():
        connection = await asyncpg.connect(
            url,
            timeout=_CONNECT_SECONDS,
            server_settings={"application_name": "liftos-migration-wake-ups"},
        )
        try:
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(_CHANNEL, lambda *_: wake.set())
            # What came before the listener was there.
            wake.set()
            ends = [asyncio.create_task(event.wait()) for event in (lost, stop)]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
        finally:
            with suppress(OSError):
                connection.terminate()
