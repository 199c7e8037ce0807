"""Verifying connections without being asked.

A token is renewed before it ends, a revoked one is noticed before a run needs it, and a currency or
a time zone that a platform has changed is known to the next run.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Final

import structlog

from liftos_ingestion.connection_ports import VerificationDue
from liftos_ingestion.usecases.connections import ConnectionAdministration
from liftos_kit.core.errors import DomainError, StoreUnavailableError

_LOOK_SECONDS: Final = 60.0
_AGAIN: Final = timedelta(hours=1)
"""When a connection is tried again whose platform did not say whether it takes the credential."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.ingestion")


class Verifying:
    """Verifies connections of all orgs from time to time, each by one worker.

    Args:
        due: Tells which.
        administration: Tries their credentials.
        every: How long a verification holds.
    """

    def __init__(
        self, due: VerificationDue, administration: ConnectionAdministration, *, every: timedelta
    ) -> None:
        self._due = due
        self._administration = administration
        self._every = every

    async def run(self, stop: asyncio.Event) -> None:
        """Verify what is due, every minute, until `stop`."""
        while not stop.is_set():
            try:
                await self.look(stop)
            except StoreUnavailableError as error:
                _log.warning("connections_unverified", error=error.message)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await stop.wait()

    async def look(self, stop: asyncio.Event) -> None:
        """Verify what is due, one after the other, as long as `stop` is not set.

        Raises:
            StoreUnavailableError: Connections cannot be looked at.
        """
        for org, connection in await self._due.due_verifications(every=self._every, again=_AGAIN):
            if stop.is_set():
                return
            if await self._due.claim_verification(org, connection, again=_AGAIN):
                await self._verify(org, connection)

    async def _verify(self, org: str, connection: str) -> None:
        names = {"org": org, "connection": connection}
        try:
            await self._administration.verify(org, connection, repeatable=None)
        except DomainError as error:
            _log.warning("connection_not_verified", **names, error=error.message)
        except Exception:
            # What is wrong with one source must not keep other connections from being verified.
            _log.error("connection_not_verified", **names, exc_info=True)
        else:
            _log.info("connection_verified", **names)
