"""A worker that reads one account of a simulated Klaviyo, whose waits pass in the world's time."""

import math
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import asyncpg
from redis.asyncio import Redis
from tests.e2e.ingestion.platform_worker import (
    FixedConnection,
    PlatformWorker,
    WorldClock,
    described,
)
from tests.e2e.ingestion.readings import OneSource

from liftos_client import Client
from liftos_ingestion.adapters.memory import MemoryEntryWriter
from liftos_ingestion.adapters.redis.rate_governor import RedisRateGovernor
from liftos_ingestion.adapters.sources.klaviyo import KlaviyoSource
from liftos_ingestion.domain.rate_limits import Limit, Observation, Priority
from liftos_ingestion.quota_ports import Admitted, Parked
from liftos_ingestion.usecases.reading import Reading
from liftos_local.stack import Stack
from liftos_platforms.clock import VirtualClock
from liftos_platforms.testing import Platforms
from liftos_platforms.truth import Platform

REVISION = "2026-10-15"

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
class KlaviyoWorker(PlatformWorker):
    """A worker over one account."""

    governor: WorldGovernor = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.governor = WorldGovernor(self.redis, self.simulation.clock, self._clock_key)
        self._reading = Reading(
            ledger=self.ledger,
            connections=self.connection,
            catalog=OneSource(self.source),
            governor=self.governor,
            writer=MemoryEntryWriter(lambda _: self.memory),
            executor=ThreadPoolExecutor(1),
            clock=WorldClock(self.simulation.clock),
            worker="worker",
        )


@dataclass(frozen=True)
class Workers:
    """Makes workers, one for each account, since a key opens one."""

    platforms: Platforms
    org: str
    pool: asyncpg.Pool
    memory: Client
    redis: Redis

    def of(
        self,
        account_id: str,
        *,
        credential: dict[str, str] | None = None,
        settings: dict[str, object] | None = None,
        revision: str = REVISION,
    ) -> KlaviyoWorker:
        """Return the worker of an account, with its key where no credential is given."""
        simulation = self.platforms.simulation
        account = simulation.account(Platform.KLAVIYO, account_id)
        key = self.platforms.token(Platform.KLAVIYO, account_id)
        return KlaviyoWorker(
            org=self.org,
            simulation=simulation,
            source=KlaviyoSource(self.platforms.url(Platform.KLAVIYO), revision, None, 1.0),
            connection=FixedConnection(
                "klaviyo", [described(account)], credential or {"api_key": key}, settings or {}
            ),
            pool=self.pool,
            memory=self.memory,
            redis=self.redis,
        )


@asynccontextmanager
async def workers_of(
    platforms: Platforms, org: str, pool: asyncpg.Pool, memory: Client, stores: Stack
) -> AsyncIterator[Workers]:
    """Make workers over real stores."""
    redis = Redis.from_url(stores.environment["LIFTOS_REDIS_URL"])
    yield Workers(platforms, org, pool, memory, redis)
    await redis.aclose()
