"""Verifying connections without being asked.

A token is renewed before it ends, a revoked one is noticed before a run needs it, and a currency or
a time zone that a platform has changed is known to the next run.
"""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

import structlog

from liftos_ingestion.connection_ports import VerificationDue
from liftos_ingestion.usecases.connections import ConnectionAdministration
from liftos_kit.core.errors import DomainError, StoreUnavailableError
from liftos_kit.repeat import repeat

_LOOK_SECONDS: Final = 60.0
_LIMIT: Final = 500
_AT_ONCE: Final = 4
_AGAIN: Final = timedelta(hours=1)
"""When a connection is tried again whose platform did not say whether it takes the credential."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.ingestion")


class Verifying:
    """Verifies connections of all orgs from time to time, each by one worker.

    Args:
        due: Tells which.
        administration: Tries their credentials.
        every: How long a verification holds.
        grace_seconds: Time that verifications have to end after a stop.
    """

    def __init__(
        self,
        due: VerificationDue,
        administration: ConnectionAdministration,
        *,
        every: timedelta,
        grace_seconds: float,
    ) -> None:
        self._due = due
        self._administration = administration
        self._every = every
        self._grace_seconds = grace_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Verify what is due, every minute, until `stop`."""
        await repeat(
            partial(self.look, stop), stop, seconds=_LOOK_SECONDS, event="connections_unverified"
        )

    async def look(self, stop: asyncio.Event) -> None:
        """Verify what is due, a few at a time, as long as `stop` is not set.

        Raises:
            StoreUnavailableError: Connections cannot be looked at.
        """
        due = iter(await self._due.due_verifications(every=self._every, again=_AGAIN, limit=_LIMIT))
        # Several, so that a platform which hangs does not hold up tokens that are to be renewed.
        async with asyncio.TaskGroup() as group:
            tries = [group.create_task(self._verify_all(due, stop)) for _ in range(_AT_ONCE)]
            leaving = group.create_task(self._leave(tries, stop))
            await asyncio.wait(tries)
            leaving.cancel()
        for each in tries:
            if not each.cancelled() and (outage := each.result()) is not None:
                raise outage

    async def _leave(
        self, tries: Sequence[asyncio.Task[StoreUnavailableError | None]], stop: asyncio.Event
    ) -> None:
        await stop.wait()
        await asyncio.sleep(self._grace_seconds)
        for each in tries:
            each.cancel()

    async def _verify_all(
        self, due: Iterator[tuple[str, str]], stop: asyncio.Event
    ) -> StoreUnavailableError | None:
        """Verify until nothing is due, and return the outage of ours that ended it before."""
        for org, connection in due:
            if stop.is_set():
                break
            try:
                claimed = await self._due.claim_verification(
                    org, connection, every=self._every, again=_AGAIN
                )
            except StoreUnavailableError as outage:
                # Nobody could claim what is left; those who have claimed go on.
                for _ in due:
                    pass
                return outage
            if claimed:
                await self._verify(org, connection)
        return None

    async def _verify(self, org: str, connection: str) -> None:
        names = {"org": org, "connection": connection}
        try:
            stored = await self._administration.verify(org, connection, repeatable=None)
        except DomainError as error:
            # What needs a person was warned of where it was found.
            _log.info("connection_not_verified", **names, error=error.message)
        except Exception:
            # What is wrong with one source must not keep other connections from being verified.
            _log.error("connection_not_verified", **names, exc_info=True)
        else:
            assert not isinstance(stored, bytes), "nobody asked, so nobody was answered before"
            _log.info("connection_tried", **names, state=stored.state.name)
