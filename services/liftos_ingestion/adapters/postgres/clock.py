"""The clock of the database, by which all servers and workers tell what day it is."""

import asyncio
from datetime import date, datetime, timedelta
from typing import Final, Self

import asyncpg
import structlog

from liftos_kit import postgres
from liftos_kit.core.clock import Clock, SystemClock, pause
from liftos_kit.core.errors import StoreUnavailableError

_ASK_SECONDS: Final = 60.0

_TELLING_SECONDS: Final = 5.0
"""A machine whose own clock is further off is told of."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.ingestion")


class PostgresClock:
    """The time of Postgres.

    Days that a platform no longer changes are not read again: a machine whose clock is ahead would
    close days too early, for all others too. So its own clock only measures how much time has
    passed since Postgres was asked.

    Args:
        pool: Connections to it.
        asked: What it said.
        machine: Measures the time since.
    """

    def __init__(self, pool: asyncpg.Pool, asked: datetime, machine: Clock) -> None:
        self._pool = pool
        self._machine = machine
        self._is_off = False
        self._set(asked)

    @classmethod
    async def ask(cls, pool: asyncpg.Pool, machine: Clock | None = None) -> Self:
        """Return the clock.

        Raises:
            StoreUnavailableError: Postgres does not answer.
        """
        return cls(pool, await _moment(pool), machine or SystemClock())

    def now(self) -> datetime:
        """Return the present moment, in UTC."""
        passed = self._machine.monotonic_seconds() - self._asked_at
        return self._asked + timedelta(seconds=passed)

    def today(self) -> date:
        """Return the present date, in UTC."""
        return self.now().date()

    def monotonic_seconds(self) -> float:
        """Return seconds since some fixed point, never going back."""
        return self._machine.monotonic_seconds()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await self._machine.sleep(seconds)

    async def run(self, stop: asyncio.Event) -> None:
        """Ask again every minute, until `stop`; where Postgres is away the time goes on."""
        while True:
            await pause(stop, _ASK_SECONDS)
            if stop.is_set():
                return
            try:
                self._set(await _moment(self._pool))
            except StoreUnavailableError as error:
                _log.warning("clock_not_asked", error=error.message)

    def _set(self, asked: datetime) -> None:
        self._asked = asked
        self._asked_at = self._machine.monotonic_seconds()
        seconds = (self._machine.now() - asked).total_seconds()
        is_off = abs(seconds) > _TELLING_SECONDS
        if is_off and not self._is_off:
            _log.warning("clock_differs", seconds=round(seconds))
        self._is_off = is_off


async def _moment(pool: asyncpg.Pool) -> datetime:
    with postgres.translate_errors():
        moment: datetime = await pool.fetchval("/* ask_clock */ select clock_timestamp()")
    return moment
