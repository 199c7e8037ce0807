"""Looking after orgs: what needs a person becomes an alert, and ends by itself."""

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from liftos_ingestion.alert_ports import WatchedOrgs
from liftos_ingestion.domain.alert_rules import KINDS, VersionEnd, conditions
from liftos_ingestion.source_ports import PlatformSource
from liftos_kit.core.clock import Clock
from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.repeat import repeat

_LOOK_SECONDS: Final = 30.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.ingestion")


class WatchingOver:
    """Keeps the alerts of all orgs true.

    Args:
        orgs: Who is looked after.
        sources: Those that are built in, whose versions end.
        clock: Now.
    """

    def __init__(
        self, orgs: WatchedOrgs, sources: Mapping[str, PlatformSource], clock: Clock
    ) -> None:
        self._orgs = orgs
        self._versions = {
            platform: VersionEnd(source.capabilities.api_version, end_date)
            for platform, source in sources.items()
            if (end_date := source.capabilities.api_version_end_date) is not None
        }
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Look at all orgs every 30 s, until `stop`."""

        async def look_at_all() -> None:
            for org in await self._orgs.orgs():
                if stop.is_set():
                    return
                await self._look_safely(org)

        await repeat(look_at_all, stop, seconds=_LOOK_SECONDS, event="orgs_unwatched")

    async def look(self, org: str) -> None:
        """Make the alerts of an org true, unless another worker is at it."""
        async with self._orgs.watch(org) as watch:
            if watch is None:
                return
            facts = await watch.facts()
            # In a thread: to walk along a schedule that fires every minute takes a while.
            held = await asyncio.to_thread(conditions, facts, self._versions, now=self._clock.now())
            changed = await watch.record(held, kinds=KINDS)
        if changed:
            _log.info("alerts_changed", org=org, count=changed)

    async def _look_safely(self, org: str) -> None:
        try:
            await self.look(org)
        except StoreUnavailableError:
            raise
        except Exception:
            # What is wrong with one org must not keep the others from being looked after.
            _log.error("org_unwatched", org=org, exc_info=True)
