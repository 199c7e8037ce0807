"""Vectors of queries, shared by all servers through Redis."""

import hashlib
import time
from collections.abc import Sequence
from typing import Final

import numpy as np
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from liftos_kit import telemetry
from liftos_memory.search_ports import Embedder, Vectors

_KEPT_SECONDS: Final = 24 * 60 * 60
_TIER: Final = "redis"

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.query_vectors")


class SharedQueryVectors:
    """An embedder that asks Redis before it computes the vector of a query.

    A vector follows from the model and the text alone, so no org is part of the key, and nothing
    ever has to be dropped. Without Redis every vector is computed.
    """

    def __init__(self, embedder: Embedder, redis: Redis) -> None:
        self._embedder = embedder
        self._redis = redis

    @property
    def model_id(self) -> str:
        """The model's."""
        return self._embedder.model_id

    @property
    def dimension(self) -> int:
        """The model's."""
        return self._embedder.dimension

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Compute; the vectors of documents are kept in Postgres."""
        return await self._embedder.embed_documents(texts)

    async def embed_query(self, text: str) -> Vectors:
        """Return the vector of a query."""
        digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        key = f"liftos:query_vector:{self.model_id}:{digest}"
        kept = await self._get(key)
        if kept is not None:
            return kept
        vector = await self._embedder.embed_query(text)
        await self._set(key, vector)
        return vector

    async def close(self) -> None:
        """Close the embedder and the connection."""
        await self._embedder.close()
        await self._redis.aclose()

    async def _get(self, key: str) -> Vectors | None:
        started = time.perf_counter()
        try:
            data = await self._redis.get(key)
        except (RedisError, OSError) as error:
            _log.debug("redis_unavailable", error=type(error).__name__)
            _measure("error", started)
            return None
        if not isinstance(data, bytes) or len(data) != 4 * self.dimension:
            _measure("miss", started)
            return None
        _measure("hit", started)
        return np.frombuffer(data, np.float32)

    async def _set(self, key: str, vector: Vectors) -> None:
        try:
            await self._redis.set(key, np.asarray(vector, np.float32).tobytes(), ex=_KEPT_SECONDS)
        except (RedisError, OSError) as error:
            _log.debug("redis_unavailable", error=type(error).__name__)


def _measure(result: str, started: float) -> None:
    telemetry.cache_requests.add(1, {telemetry.TIER: _TIER, telemetry.RESULT: result})
    telemetry.cache_duration.record(time.perf_counter() - started, {telemetry.TIER: _TIER})
