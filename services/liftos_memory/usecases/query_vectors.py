"""Vectors of queries, kept beyond any write: a vector follows from the model and the text alone."""

import hashlib
import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from liftos_memory.domain.cache_statistics import CacheResult, CacheStatistics
from liftos_memory.search_ports import Embedder, Vectors
from liftos_memory.usecases.cache import Cache, TierReport

OWNER: Final = "-"
"""Vectors belong to no org: this is the name of none."""

EMBEDDINGS: Final = "embeddings"

_KEPT_SECONDS: Final = 24 * 60 * 60.0


class CachedQueryVectors:
    """An embedder that looks for the vector of a query before it computes it."""

    def __init__(self, embedder: Embedder, cache: Cache) -> None:
        self._embedder = embedder
        self._cache = cache
        self._statistics = CacheStatistics()

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
        digest = hashlib.blake2b(text.encode(), digest_size=20).hexdigest()
        key = f"{OWNER}:{self.model_id}:{digest}"
        started = time.perf_counter()
        data = self._cache.get_here(key, owner=OWNER)
        if data is None:
            data = await self._cache.get_shared(key, owner=OWNER, seconds=_KEPT_SECONDS)
        result = CacheResult.MISS if data is None else CacheResult.HIT
        self._statistics.record(OWNER, EMBEDDINGS, result, time.perf_counter() - started)
        if data is not None and len(data) == 4 * self.dimension:
            return np.frombuffer(data, np.float32)
        vector = await self._embedder.embed_query(text)
        data = np.asarray(vector, np.float32).tobytes()
        self._cache.put(key, data, owner=OWNER, seconds=_KEPT_SECONDS)
        return vector

    async def report(self) -> TierReport:
        """Return how the tier of vectors does, for all orgs."""
        tiers = await self._cache.report(OWNER)
        sizes = [tier.size_bytes for tier in tiers if tier.size_bytes is not None]
        return TierReport(
            EMBEDDINGS,
            self._statistics.of(OWNER, EMBEDDINGS),
            sum(sizes) if len(sizes) == len(tiers) else None,
            sum(tier.maximum_bytes for tier in tiers),
        )

    async def close(self) -> None:
        """Close the embedder."""
        await self._embedder.close()
