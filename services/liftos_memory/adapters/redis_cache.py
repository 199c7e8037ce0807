"""The tier of the cache that servers share, in Redis.

Keys are spread over a few parts, each with a hash tag of its own, so that a cluster keeps a part on
one node. Beside its values a part has the order in which they came and what they add up to, by
owner and in all; a script keeps the three in step, and drops the oldest values beyond the limit.

A value is sealed: a keyed digest of its key and itself stands before it. What was damaged, cut,
written by somebody else or stored under another key is recognised and not given.
"""

import hashlib
import hmac
import time
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from liftos_memory.cache_ports import TierError

_PARTS: Final = 8
_SEAL_BYTES: Final = 16
_ALL: Final = "*"
"""What all owners have together; no owner has this name."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.cache")

_PUT: Final = """
local value, order, sizes = KEYS[1], KEYS[2], KEYS[3]
local seconds, now, size = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local maximum, owner, kept_seconds = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])
redis.call('SET', value, ARGV[1], 'EX', seconds)
local member = size .. ' ' .. owner .. ' ' .. value
if redis.call('ZADD', order, now, member) == 1 then
    redis.call('HINCRBY', sizes, '*', size)
    redis.call('HINCRBY', sizes, owner, size)
end
redis.call('EXPIRE', order, kept_seconds)
redis.call('EXPIRE', sizes, kept_seconds)
for _ = 1, 1000 do
    local first = redis.call('ZRANGE', order, 0, 0, 'WITHSCORES')
    local total = tonumber(redis.call('HGET', sizes, '*') or '0')
    if not first[1] or (total <= maximum and tonumber(first[2]) > now - kept_seconds) then
        break
    end
    redis.call('ZREM', order, first[1])
    local old_size, old_owner, old_value = string.match(first[1], '^(%d+) (%S+) (.*)$')
    redis.call('DEL', old_value)
    redis.call('HINCRBY', sizes, '*', -old_size)
    if redis.call('HINCRBY', sizes, old_owner, -old_size) <= 0 then
        redis.call('HDEL', sizes, old_owner)
    end
end
"""
_KEPT_SECONDS: Final = 2 * 24 * 60 * 60
"""Longer than any value lives."""


class RedisTier:
    """Values in Redis; see `liftos_memory.cache_ports.SharedTier`.

    Args:
        redis: With short timeouts: a slow answer is worth less than none.
        secret: Seals values; the same on every server.
        maximum_bytes: Of all values together.
    """

    def __init__(self, redis: Redis, *, secret: bytes, maximum_bytes: int) -> None:
        self._redis = redis
        self._secret = hmac.digest(secret, b"liftos cache", "sha256")
        self._maximum_bytes = maximum_bytes
        self._put = redis.register_script(_PUT)

    @property
    def maximum_bytes(self) -> int:
        """What it may hold."""
        return self._maximum_bytes

    async def get(self, key: str) -> bytes | None:
        """Return a value as it was put."""
        try:
            sealed = await self._redis.get(_place(key))
        except (RedisError, OSError) as error:
            raise TierError(type(error).__name__) from error
        if not isinstance(sealed, bytes):
            return None
        value = sealed[_SEAL_BYTES:]
        if not hmac.compare_digest(sealed[:_SEAL_BYTES], self._seal(key, value)):
            # Damaged, or put there by somebody else: the tier itself is well.
            _log.warning("cache_seal_broken")
            return None
        return value

    async def put(self, key: str, value: bytes, *, owner: str, seconds: float) -> None:
        """Keep a value for so long at most."""
        place = _place(key)
        part = place[: place.index("}") + 1]
        sealed = self._seal(key, value) + value
        try:
            await self._put(
                keys=[place, f"{part}:order", f"{part}:sizes"],
                args=[
                    sealed,
                    max(1, int(seconds)),
                    time.time(),
                    len(sealed) + len(place),
                    self._maximum_bytes // _PARTS,
                    owner,
                    _KEPT_SECONDS,
                ],
            )
        except (RedisError, OSError) as error:
            raise TierError(type(error).__name__) from error

    async def size_bytes(self, owner: str) -> int:
        """Return what it holds for an owner."""
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for part in range(_PARTS):
                    pipeline.hget(f"liftos:{{cache-{part}}}:sizes", owner)
                sizes = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise TierError(type(error).__name__) from error
        return sum(int(size or 0) for size in sizes)

    def _seal(self, key: str, value: bytes) -> bytes:
        digest = hashlib.blake2b(value, digest_size=_SEAL_BYTES, key=self._secret)
        # The length of the value keeps it apart from the key.
        digest.update(len(value).to_bytes(8, "big") + key.encode())
        return digest.digest()


def _place(key: str) -> str:
    part = hashlib.blake2b(key.encode(), digest_size=1).digest()[0] % _PARTS
    return f"liftos:{{cache-{part}}}:{key}"
