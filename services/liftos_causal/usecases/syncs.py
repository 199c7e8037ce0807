"""Syncs: platforms read now, beside the calls."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog

from liftos_causal.domain.records import (
    DayRange,
    Origin,
    PlatformSync,
    SyncedPlatform,
    SyncState,
    SyncType,
)
from liftos_causal.ports import PlatformPuller, Records
from liftos_causal.usecases.modelling import Modelling
from liftos_causal.usecases.once import made_once
from liftos_kit.core.clock import Clock
from liftos_kit.core.errors import InvalidFieldsError, NotFoundError

_RESTATED_DAYS: Final = 28
"""Days that platforms still change."""

_LONGEST: Final = timedelta(hours=1)
_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.causal")


class Syncs:
    """Starts syncs and says how they went."""

    def __init__(
        self,
        *,
        syncs: Records[PlatformSync],
        puller: PlatformPuller,
        modelling: Modelling,
        clock: Clock,
    ) -> None:
        self._syncs = syncs
        self._puller = puller
        self._modelling = modelling
        self._clock = clock
        self._running: set[asyncio.Task[None]] = set()

    async def start(
        self,
        org: str,
        *,
        platforms: Sequence[str],
        days: DayRange | None,
        sync_type: SyncType,
        origin: Origin,
    ) -> PlatformSync:
        """Begin to read platforms.

        Args:
            org: Whose.
            platforms: Only these; none takes those of the configuration, or all.
            days: None takes those that platforms may still change.
            sync_type: FULL needs days.
            origin: The request.

        Raises:
            InvalidFieldsError: A platform cannot be read, or FULL came without days.
        """
        configured = (await self._modelling.configuration(org)).platforms
        chosen = tuple(platforms or configured or self._puller.platforms)
        unknown = [each for each in chosen if each not in self._puller.platforms]
        if unknown:
            raise InvalidFieldsError.of(
                "platforms",
                f"{', '.join(unknown)} cannot be read; {', '.join(self._puller.platforms)} can",
            )
        if days is None and sync_type is SyncType.FULL:
            raise InvalidFieldsError.of("date_range", "a full sync needs days")
        today = self._clock.today()
        chosen_days = days or DayRange(today - timedelta(days=_RESTATED_DAYS), today)
        begun: list[PlatformSync] = []

        async def make() -> PlatformSync:
            sync = PlatformSync(
                id=origin.request_id,
                sync_type=sync_type,
                days=chosen_days,
                state=SyncState.RUNNING,
                platforms=tuple(SyncedPlatform(each, SyncState.RUNNING) for each in chosen),
                start_time=self._clock.now(),
                end_time=None,
                origin=origin,
            )
            begun.append(sync)
            return sync

        kept = await made_once(self._syncs, org, origin.request_id, origin, make)
        if begun and kept is begun[0]:
            task = asyncio.create_task(self._read(org, kept), name=f"sync {kept.id}")
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return kept

    async def get(self, org: str, sync_id: str) -> PlatformSync:
        """Return how a sync went.

        Raises:
            NotFoundError: There is none.
        """
        kept = await self._syncs.get(org, sync_id)
        if kept is None:
            raise NotFoundError(f"orgs/{org}/platformSyncs/{sync_id}")
        if kept.state is SyncState.RUNNING and self._clock.now() - kept.start_time > _LONGEST:
            # Whoever read it is gone: nothing reads as long as this.
            return await self._syncs.change(org, sync_id, self._given_up)
        return kept

    async def close(self) -> None:
        """Stop reading; what was not read is told as failed."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _read(self, org: str, sync: PlatformSync) -> None:
        try:
            read = await asyncio.gather(
                *(self._puller.pull(org, each.platform, sync.days) for each in sync.platforms)
            )
        except asyncio.CancelledError:
            await self._syncs.change(org, sync.id, self._given_up)
            raise
        except Exception:
            # What a puller raises is a mistake of ours, and must not leave the sync running.
            _log.exception("sync failed", org=org, sync=sync.id)
            await self._syncs.change(org, sync.id, self._given_up)
            return
        states = {each.state for each in read}
        state = states.pop() if len(states) == 1 else SyncState.PARTIALLY_SUCCEEDED
        ended = replace(sync, state=state, platforms=tuple(read), end_time=self._clock.now())
        await self._syncs.change(org, sync.id, lambda _: ended)

    def _given_up(self, sync: PlatformSync) -> PlatformSync:
        if sync.state is not SyncState.RUNNING:
            return sync
        return replace(
            sync,
            state=SyncState.FAILED,
            platforms=tuple(
                replace(each, state=SyncState.FAILED, error="the service ended; sync again")
                if each.state is SyncState.RUNNING
                else each
                for each in sync.platforms
            ),
            end_time=self._clock.now(),
        )
