"""How a tier of the cache does: look-ups by result, and how long they take."""

import math
from array import array
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from typing import Final

_STEPS_PER_DECADE: Final = 10
_SHORTEST_SECONDS: Final = 1e-7
_BUCKETS: Final = 9 * _STEPS_PER_DECADE
"""From 100 ns to 100 s; a quantile is told within 26 %."""
_KEPT_OWNERS: Final = 4_096


class CacheResult(Enum):
    """What came of a look-up."""

    HIT = "hit"
    MISS = "miss"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class TierStatistics:
    """Look-ups of one owner in one tier.

    Attributes:
        hit_count: Answers.
        miss_count: Questions that it could not answer.
        error_count: Look-ups that failed.
        p50_seconds: Median of the time of a look-up; 0 where there was none.
        p99_seconds: 99th percentile.
    """

    hit_count: int = 0
    miss_count: int = 0
    error_count: int = 0
    p50_seconds: float = 0.0
    p99_seconds: float = 0.0


class CacheStatistics:
    """Counts look-ups by owner and tier; the owners seen last are remembered."""

    def __init__(self) -> None:
        self._owners: OrderedDict[str, dict[str, _Counts]] = OrderedDict()

    def record(self, owner: str, tier: str, result: CacheResult, seconds: float) -> None:
        """Count a look-up."""
        tiers = self._owners.get(owner)
        if tiers is None:
            tiers = self._owners[owner] = {}
            if len(self._owners) > _KEPT_OWNERS:
                self._owners.popitem(last=False)
        else:
            self._owners.move_to_end(owner)
        tiers.setdefault(tier, _Counts()).add(result, seconds)

    def of(self, owner: str, tier: str) -> TierStatistics:
        """Return what was counted."""
        counts = self._owners.get(owner, {}).get(tier)
        return TierStatistics() if counts is None else counts.statistics()


class _Counts:
    __slots__ = ("_buckets", "_results")

    def __init__(self) -> None:
        self._results = dict.fromkeys(CacheResult, 0)
        self._buckets = array("Q", bytes(8 * _BUCKETS))

    def add(self, result: CacheResult, seconds: float) -> None:
        self._results[result] += 1
        place = math.log10(max(seconds, _SHORTEST_SECONDS) / _SHORTEST_SECONDS)
        self._buckets[min(int(place * _STEPS_PER_DECADE), _BUCKETS - 1)] += 1

    def statistics(self) -> TierStatistics:
        return TierStatistics(
            hit_count=self._results[CacheResult.HIT],
            miss_count=self._results[CacheResult.MISS],
            error_count=self._results[CacheResult.ERROR],
            p50_seconds=self._quantile(0.5),
            p99_seconds=self._quantile(0.99),
        )

    def _quantile(self, share: float) -> float:
        """Return the middle, on the log scale, of the bucket in which the quantile lies."""
        wanted, seen = share * sum(self._buckets), 0
        for place, count in enumerate(self._buckets):
            seen += count
            if count and seen >= wanted:
                return float(_SHORTEST_SECONDS * 10 ** ((place + 0.5) / _STEPS_PER_DECADE))
        return 0.0
