"""Platforms read by Ingestion, in runs of its own."""

import asyncio
from collections.abc import Sequence
from typing import Final

from liftos.ingestion.v1.run_pb2 import Run, RunState
from liftos_causal.adapters.core.refusals import translated
from liftos_causal.domain.records import DayRange, SyncedPlatform, SyncState
from liftos_client import OrgClients
from liftos_client.errors import LiftosError

_ENDED: Final = {
    RunState.RUN_STATE_SUCCEEDED: SyncState.SUCCEEDED,
    RunState.RUN_STATE_PARTIALLY_SUCCEEDED: SyncState.PARTIALLY_SUCCEEDED,
    RunState.RUN_STATE_FAILED: SyncState.FAILED,
    RunState.RUN_STATE_CANCELLED: SyncState.FAILED,
}
_PLATFORMS: Final = ("google_ads", "klaviyo", "meta")


class CorePuller:
    """See `liftos_causal.ports.PlatformPuller`."""

    def __init__(self, clients: OrgClients) -> None:
        self._clients = clients

    @property
    def platforms(self) -> Sequence[str]:
        """Which it can read."""
        return _PLATFORMS

    async def pull(self, org: str, platform: str, days: DayRange) -> SyncedPlatform:
        """Have a platform's days read by the org's connections, and wait for it."""
        try:
            with translated("ingestion"):
                return await self._pull(org, platform, days)
        except LiftosError as error:
            return SyncedPlatform(platform, SyncState.FAILED, error=error.message)

    async def _pull(self, org: str, platform: str, days: DayRange) -> SyncedPlatform:
        ingestion = self._clients.of(org).ingestion
        connections = [
            each async for each in ingestion.list_connections(filter=f'platform = "{platform}"')
        ]
        if not connections:
            return SyncedPlatform(
                platform, SyncState.FAILED, error=f"no connection of {platform} is there; make one"
            )
        runs = [
            await ingestion.start_run(each.name, start_date=days.start, end_date=days.end)
            for each in connections
        ]
        ended = await asyncio.gather(*(self._end_of(org, run.name) for run in runs))
        states = {_ENDED[run.state] for run in ended}
        return SyncedPlatform(
            platform,
            states.pop() if len(states) == 1 else SyncState.PARTIALLY_SUCCEEDED,
            row_count=sum(run.row_count for run in ended),
            runs=tuple(run.name for run in runs),
        )

    async def _end_of(self, org: str, name: str) -> Run:
        ingestion = self._clients.of(org).ingestion
        async for _ in ingestion.watch_run(name):
            pass
        return await ingestion.get_run(name)
