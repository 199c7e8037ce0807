"""Looking at orgs by the clock and after their writes, each by one worker at a time."""

import asyncio
from functools import partial
from typing import Final

import structlog

from liftos_kit.core.errors import DomainError, StoreUnavailableError
from liftos_kit.repeat import repeat
from liftos_memory.insight_ports import InsightSchedule
from liftos_memory.usecases.insights import Generated, Insights, Scope

_LOOK_SECONDS: Final = 2.0
_LONGEST_SECONDS: Final = 600.0
"""Shorter than a place is held, so that nobody else begins meanwhile."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.insights")


class InsightWatch:
    """Generates insights of orgs whose time has come.

    Args:
        schedule: Which orgs.
        insights: Generates.
    """

    def __init__(self, schedule: InsightSchedule, insights: Insights) -> None:
        self._schedule = schedule
        self._insights = insights

    async def run(self, stop: asyncio.Event) -> None:
        """Look after all orgs until `stop`; an outage is waited for."""
        await repeat(partial(self.look, stop), stop, seconds=_LOOK_SECONDS, event="insights_wait")

    async def look(self, stop: asyncio.Event) -> int:
        """Look at the orgs whose time has come now; return how many were."""
        looked_at = 0
        for org in await self._schedule.awaiting():
            if stop.is_set():
                break
            looked_at += await self._generate(org)
        return looked_at

    async def _generate(self, org: str) -> bool:
        if not await self._schedule.take(org):
            return False
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                result = await self._insights.generate(org, Scope(skips_large_levels=True))
        except StoreUnavailableError:
            await self._schedule.failed(org)
            raise
        except (DomainError, TimeoutError) as error:
            # Closed for writes, or too slow: it is tried again later.
            _log.warning("insights_failed", org=org, error=str(error))
            await self._schedule.failed(org)
            return False
        assert isinstance(result, Generated), "not a repeated request"
        await self._schedule.done(org, result.seen_version)
        _log.info(
            "insights_generated",
            org=org,
            insights=result.insight_count,
            resolved=len(result.resolved),
            series=result.series_count,
            skipped_levels=result.skipped_levels,
        )
        return True
