"""Answers in the module's Redis."""

from redis.asyncio import Redis
from redis.exceptions import RedisError


class RedisAnswerCache:
    """See `liftos_causal.ports.AnswerCache`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def get(self, key: str) -> bytes | None:
        """Return an answer."""
        try:
            found = await self._redis.get(key)
        except (RedisError, OSError):
            return None
        return found if isinstance(found, bytes) else None

    async def put(self, key: str, answer: bytes, *, seconds: float) -> None:
        """Keep an answer."""
        try:
            await self._redis.set(key, answer, px=max(round(seconds * 1000), 1))
        except (RedisError, OSError):
            return
