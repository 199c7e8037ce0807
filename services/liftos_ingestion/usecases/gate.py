"""Leave to call a platform, under the limits that all workers share."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from liftos_ingestion.domain.failures import NotReadyError
from liftos_ingestion.domain.rate_limits import Limit, Observation, Priority, Renewal
from liftos_ingestion.quota_ports import Admitted, Parked, RateGovernor
from liftos_ingestion.run_ports import Usage
from liftos_ingestion.usecases.byte_budget import ByteBudget
from liftos_kit.core.errors import StoreUnavailableError

_PATIENCE_SECONDS: Final = 70.0
"""How long a reading that has begun waits for a limit: a little over a window of one minute. One
that gave up each time would begin anew, and never end where it needs more than a window holds."""


class GovernedGate:
    """Leave to call for one session; see `liftos_ingestion.source_ports.CallGate`.

    Args:
        governor: Limits that all workers share.
        org: Whose limits they are.
        caller: Who asks, one call at a time, such as a slice of a run.
        priority: Who goes first.
        run: Of which the caller is a slice, if it is one.
        budget: What all sessions of a worker have in hand; None bounds nothing.
    """

    def __init__(
        self,
        governor: RateGovernor,
        *,
        org: str,
        caller: str,
        priority: Priority,
        run: str = "",
        budget: ByteBudget | None = None,
    ) -> None:
        self._governor = governor
        self._org = org
        self._caller = caller
        self._priority = priority
        self._run = run
        self._budget = budget
        self._has_in_hand = False
        self._leased: list[Admitted] = []
        self._calls = 0
        self._bytes = 0

    @property
    def org(self) -> str:
        """Whose limits they are."""
        return self._org

    @property
    def run(self) -> str:
        """The run that is read; empty where there is none."""
        return self._run

    @property
    def usage(self) -> Usage:
        """What was used so far."""
        return Usage(self._calls, self._bytes)

    async def enter(self, limits: Sequence[Limit], *, is_poll: bool = False) -> None:
        """Ask for leave for one call; wait for it a while once others were made."""
        waited = 0.0
        while isinstance(answer := await self._admit(limits), Parked):
            waited += answer.wait_seconds
            if not self._calls or waited > _PATIENCE_SECONDS:
                raise NotReadyError(answer.reason, seconds=answer.wait_seconds, quota=True)
            await asyncio.sleep(answer.wait_seconds)
        if any(limit.renewal is Renewal.LEASED for limit in limits):
            self._leased.append(answer)
        self._calls += not is_poll

    async def _admit(self, limits: Sequence[Limit]) -> Admitted | Parked:
        return await self._governor.admit(limits, caller=self._caller, priority=self._priority)

    async def observe(self, observations: Sequence[Observation]) -> None:
        """Tell what the platform said of its limits."""
        if observations:
            await self._governor.observe(observations)

    def received(self, size_bytes: int) -> None:
        """Count bytes as they came over the wire."""
        self._bytes += size_bytes

    @asynccontextmanager
    async def in_hand(self, size_bytes: int) -> AsyncIterator[None]:
        """Have an answer in hand inside, once there is room for it."""
        if self._budget is None or self._has_in_hand:
            yield
            return
        async with self._budget.take(size_bytes):
            self._has_in_hand = True
            try:
                yield
            finally:
                self._has_in_hand = False

    async def renew(self) -> None:
        """Hold leased units for another lease; one that is lost is missed at the next call."""
        with suppress(StoreUnavailableError):
            for admitted in self._leased:
                await self._governor.renew(admitted)

    async def leave(self) -> None:
        """Give leased units back; those that cannot be end with their lease."""
        with suppress(StoreUnavailableError):
            for admitted in self._leased:
                await self._governor.release(admitted)
