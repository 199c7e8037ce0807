"""The cache: values in this process, then in what servers share."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from liftos_memory.cache_ports import SharedTier, TierError
from liftos_memory.domain.byte_cache import ByteCache
from liftos_memory.domain.cache_statistics import CacheResult, CacheStatistics, TierStatistics

PROCESS: Final = "process"
SHARED: Final = "redis"

MAXIMUM_SHARED_VALUE_BYTES: Final = 1024 * 1024
"""Larger values stay in the process that made them."""

_MAXIMUM_WRITES: Final = 64
"""Values on their way to the shared tier; beyond that they are not sent."""
_PAUSE_SECONDS: Final = 1.0
"""After a failure the shared tier is left alone for so long: it holds up one look-up, not all."""

OnLookup = Callable[[str, CacheResult, float], None]
"""Told of each look-up: tier, result, seconds."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.cache")


@dataclass(frozen=True, slots=True)
class TierReport:
    """How a tier does for one owner; the size is None where the tier does not tell it."""

    tier: str
    statistics: TierStatistics
    size_bytes: int | None
    maximum_bytes: int


class Cache:
    """Two tiers of bytes. Whatever is wrong with them, a look-up answers None at worst.

    Args:
        process: The near tier.
        shared: The far tier; None where there is none.
        on_lookup: Told of each look-up.
    """

    def __init__(
        self, process: ByteCache, shared: SharedTier | None, *, on_lookup: OnLookup
    ) -> None:
        self._process = process
        self._shared = shared
        self._on_lookup = on_lookup
        self._statistics = CacheStatistics()
        self._writes: set[asyncio.Task[None]] = set()
        self._shared_from_seconds = 0.0

    @property
    def is_off(self) -> bool:
        """Whether nothing is kept anywhere."""
        return self._shared is None and not self._process.maximum_bytes

    def get_here(self, key: str, *, owner: str) -> bytes | None:
        """Return a value of this process."""
        started = time.perf_counter()
        value = self._process.get(key)
        self._record(owner, PROCESS, _result(value), started)
        return value

    async def get_shared(self, key: str, *, owner: str, seconds: float) -> bytes | None:
        """Return a value of the shared tier, and keep it here.

        Args:
            key: What it was put under.
            owner: Whose it is.
            seconds: What it was put with.
        """
        if self._shared is None or time.monotonic() < self._shared_from_seconds:
            return None
        started = time.perf_counter()
        try:
            value = await self._shared.get(key)
        except TierError as error:
            self._rest(error)
            self._record(owner, SHARED, CacheResult.ERROR, started)
            return None
        self._record(owner, SHARED, _result(value), started)
        if value is not None:
            self._process.put(key, value, owner=owner, seconds=seconds / 2)
        return value

    def put(self, key: str, value: bytes, *, owner: str, seconds: float) -> None:
        """Keep a value in both tiers for so long at most; nobody waits for the far one.

        The far one keeps it for half of the time, and who reads it there for the other half.
        """
        self._process.put(key, value, owner=owner, seconds=seconds)
        if (
            self._shared is None
            or len(value) > MAXIMUM_SHARED_VALUE_BYTES
            or len(self._writes) >= _MAXIMUM_WRITES
            or time.monotonic() < self._shared_from_seconds
        ):
            return
        write = asyncio.create_task(self._send(self._shared, key, value, owner, seconds / 2))
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)

    async def report(self, owner: str) -> tuple[TierReport, ...]:
        """Return how the tiers do for an owner, the nearest first."""
        reports = [
            TierReport(
                PROCESS,
                self._statistics.of(owner, PROCESS),
                self._process.size_bytes(owner),
                self._process.maximum_bytes,
            )
        ]
        if self._shared is not None:
            size: int | None
            try:
                size = await self._shared.size_bytes(owner)
            except TierError:
                size = None
            reports.append(
                TierReport(
                    SHARED, self._statistics.of(owner, SHARED), size, self._shared.maximum_bytes
                )
            )
        return tuple(reports)

    async def close(self) -> None:
        """Give up what is on its way."""
        for write in self._writes:
            write.cancel()
        await asyncio.gather(*self._writes, return_exceptions=True)

    async def _send(
        self, shared: SharedTier, key: str, value: bytes, owner: str, seconds: float
    ) -> None:
        try:
            await shared.put(key, value, owner=owner, seconds=seconds)
        except TierError as error:
            self._rest(error)

    def _rest(self, error: TierError) -> None:
        _log.debug("shared_tier_failed", error=str(error))
        self._shared_from_seconds = time.monotonic() + _PAUSE_SECONDS

    def _record(self, owner: str, tier: str, result: CacheResult, started: float) -> None:
        seconds = time.perf_counter() - started
        self._statistics.record(owner, tier, result, seconds)
        self._on_lookup(tier, result, seconds)


def _result(value: bytes | None) -> CacheResult:
    return CacheResult.MISS if value is None else CacheResult.HIT
