"""Statistics of the cache on the wire."""

from typing import Any

from grpc.aio import ServicerContext

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.auth import require_org
from liftos_memory.usecases.cache import Cache, TierReport
from liftos_memory.usecases.query_vectors import CachedQueryVectors


class CacheServicer:
    """Tells how the tiers of the cache do."""

    def __init__(self, *, cache: Cache, vectors: CachedQueryVectors) -> None:
        self._cache = cache
        self._vectors = vectors

    async def GetCacheStats(
        self, request: pb.GetCacheStatsRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetCacheStatsResponse:
        org = require_org(request.parent)
        reports = [*await self._cache.report(org), await self._vectors.report()]
        return pb.GetCacheStatsResponse(tiers=[_message(report) for report in reports])


def _message(report: TierReport) -> pb.CacheTierStats:
    return pb.CacheTierStats(
        tier=report.tier,
        hit_count=report.statistics.hit_count,
        miss_count=report.statistics.miss_count,
        error_count=report.statistics.error_count,
        latency_p50_seconds=report.statistics.p50_seconds,
        latency_p99_seconds=report.statistics.p99_seconds,
        size_bytes=report.size_bytes,
        maximum_bytes=report.maximum_bytes,
    )
