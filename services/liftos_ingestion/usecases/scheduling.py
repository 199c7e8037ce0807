"""Starting runs by the clock: each moment of a schedule once, whatever happened meanwhile."""

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Final

import structlog

from liftos_ingestion.domain.schedules import due_fire_time
from liftos_ingestion.run_ports import RunKind
from liftos_ingestion.schedule_ports import OverlapPolicy, ScheduleClock, StoredSchedule, Tick
from liftos_ingestion.usecases.planning import Planning, RunRequest
from liftos_kit.core.clock import Clock
from liftos_kit.core.errors import DomainError
from liftos_kit.repeat import repeat

_LOOK_SECONDS: Final = 1.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.ingestion")


class Scheduling:
    """Starts the runs of all schedules.

    Args:
        schedules: What fires.
        planning: Plans their runs.
        clock: Now.
    """

    def __init__(self, schedules: ScheduleClock, planning: Planning, clock: Clock) -> None:
        self._schedules = schedules
        self._planning = planning
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Look at all schedules every second, until `stop`."""
        await repeat(self._look_at_all, stop, seconds=_LOOK_SECONDS, event="schedules_unread")

    async def _look_at_all(self) -> None:
        for org, schedule in await self._schedules.active():
            await self.look(org, schedule)

    async def look(self, org: str, schedule: str) -> None:
        """Start the run of a schedule that is due."""
        async with self._schedules.tick(org, schedule) as tick:
            if tick is None:
                return
            fire_time = self._due(tick.schedule)
            if fire_time is not None and tick.running is not None:
                match tick.schedule.spec.overlap_policy:
                    case OverlapPolicy.SKIP:
                        await tick.pass_over(fire_time)
                    case OverlapPolicy.BUFFER_ONE:
                        await tick.buffer(fire_time)
                    case OverlapPolicy.CANCEL_OTHER:
                        await tick.cancel(tick.running, "the next run of its schedule is due")
                        await self._start(org, tick, fire_time)
            elif fire_time is not None:
                await self._start(org, tick, fire_time)
            elif tick.running is None and tick.schedule.buffered_fire_time is not None:
                await self._start(org, tick, tick.schedule.buffered_fire_time)

    def _due(self, schedule: StoredSchedule) -> datetime | None:
        spec = schedule.spec
        return due_fire_time(
            spec.cron,
            spec.time_zone,
            after=schedule.due_after,
            now=self._clock.now(),
            catchup=spec.catchup,
        )

    async def _start(self, org: str, tick: Tick, fire_time: datetime) -> None:
        spec = tick.schedule.spec
        request = RunRequest(
            kind=RunKind.INCREMENTAL,
            connection=spec.connection,
            days=None,
            account_ids=spec.account_ids,
            levels=spec.levels,
            lookback_days=spec.lookback_days,
            subject=f"schedules/{tick.schedule.schedule}",
        )
        try:
            run = await self._planning.plan(org, request)
        except DomainError as error:
            # Said by the connection's own state and alerts; the next moment is tried again.
            _log.warning("schedule_missed", schedule=tick.schedule.schedule, error=error.message)
            await tick.pass_over(fire_time)
            return
        await tick.start(replace(run, schedule=tick.schedule.schedule, fire_time=fire_time))
