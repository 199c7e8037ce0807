"""A worker that reads a simulated platform and whose waits pass in the world's time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from redis.asyncio import Redis
from tests.e2e.ingestion.platform_worker import PlatformWorker

from liftos_ingestion.adapters.redis.rate_governor import RedisRateGovernor
from liftos_ingestion.domain.rate_limits import Limit, Observation, Priority
from liftos_ingestion.quota_ports import Admitted, Parked, RateGovernor
from liftos_platforms.clock import VirtualClock

_PATIENCE_SECONDS = 90.0
"""Longer waits are left to the reading, which parks its slice."""


class WorldGovernor(RedisRateGovernor):
    """The real governor on the time of a world, which moves on where a call has to wait.

    Attributes:
        waited: How long calls had to wait, in order.
    """

    def __init__(self, redis: Redis, world: VirtualClock, key: str) -> None:
        super().__init__(redis, clock_command=("LRANGE", key, "0", "1"))
        self._redis_clock = redis
        self._world = world
        self._key = key
        self.waited: list[float] = []

    async def admit(
        self, limits: Sequence[Limit], *, caller: str, priority: Priority
    ) -> Admitted | Parked:
        """Ask again once the wait is over in the world."""
        while True:
            await self._set_clock()
            answer = await super().admit(limits, caller=caller, priority=priority)
            if isinstance(answer, Admitted) or answer.wait_seconds > _PATIENCE_SECONDS:
                return answer
            self.waited.append(answer.wait_seconds)
            self._world.advance(timedelta(seconds=math.ceil(answer.wait_seconds)))

    async def observe(self, observations: Sequence[Observation]) -> None:
        """Take in what the platform told, at the world's time."""
        await self._set_clock()
        await super().observe(observations)

    async def _set_clock(self) -> None:
        moment = int(self._world.now().timestamp())
        await self._redis_clock.delete(self._key)
        await self._redis_clock.rpush(self._key, str(moment), "0")


@dataclass
class WorldTimeWorker(PlatformWorker):
    """A worker that moves the world on where a call has to wait for a limit."""

    governor: WorldGovernor = field(init=False)

    def make_governor(self) -> RateGovernor:
        """Return a governor that moves the world on."""
        self.governor = WorldGovernor(self.redis, self.simulation.clock, self._clock_key)
        return self.governor
