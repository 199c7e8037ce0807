"""Runs as people start, stop and follow them."""

from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

from liftos_ingestion.domain.windows import Days
from liftos_ingestion.run_ports import RunState
from liftos_ingestion.run_view_ports import Page, Row, RunViews
from liftos_ingestion.usecases.planning import Planning, RunRequest
from liftos_kit.core.clock import Clock
from liftos_kit.core.errors import InvalidFieldsError, NotFoundError
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import AnsweredBeforeError, Repeatable

_LOOK_SECONDS: Final = 0.5
_HEARTBEAT_SECONDS: Final = 15.0
_MAXIMUM_DAYS: Final = 1_200


class Runs:
    """Starts, stops and shows runs.

    Args:
        views: Where they are.
        planning: Plans them.
        clock: Time between two looks.
    """

    def __init__(self, views: RunViews, planning: Planning, clock: Clock) -> None:
        self._views = views
        self._planning = planning
        self._clock = clock

    async def start(
        self, org: str, request: RunRequest, repeatable: Repeatable[Row] | None
    ) -> Row | bytes:
        """Start a run.

        Returns:
            The run, or the answer that the same request was given before.

        Raises:
            NotFoundError: There is no such connection.
            StateTransitionError: It cannot be used.
            InvalidFieldsError: What was asked for cannot be had.
        """
        if request.days is not None:
            check_days(request.days)
        run = await self._planning.plan(org, request)
        try:
            return await self._views.start(org, run, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response

    async def get(self, org: str, run: UUID) -> Row:
        """Return a run.

        Raises:
            NotFoundError: There is none.
        """
        row = await self._views.get(org, run)
        if row is None:
            raise NotFoundError(f"orgs/{org}/runs/{run.hex}")
        return row

    async def cancel(
        self, org: str, run: UUID, reason: str, repeatable: Repeatable[Row] | None
    ) -> Row | bytes:
        """Cancel a run.

        Returns:
            The run, or the answer that the same request was given before.

        Raises:
            NotFoundError: There is none.
            StateTransitionError: It has ended, or is being cancelled.
        """
        try:
            return await self._views.cancel(org, run, reason, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response

    async def watch(self, org: str, run: UUID) -> AsyncIterator[Row]:
        """Yield a run at each change and at least every 15 s, until it has ended.

        Raises:
            NotFoundError: There is none.
        """
        while True:
            row = await self.get(org, run)
            yield row
            if RunState(row["state"]).ended:
                return
            told_at = self._clock.monotonic_seconds()
            while self._clock.monotonic_seconds() - told_at < _HEARTBEAT_SECONDS:
                await self._clock.sleep(_LOOK_SECONDS)
                if await self._views.revision(org, run) != row["revision"]:
                    break

    async def list_runs(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> Page:
        """Return a page of runs, newest first."""
        return await self._views.list_runs(org, where=where, cursor=cursor, limit=limit)

    async def list_slices(
        self, org: str, run: UUID, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> Page:
        """Return a page of the slices of a run.

        Raises:
            NotFoundError: There is no such run.
        """
        if await self._views.revision(org, run) is None:
            raise NotFoundError(f"orgs/{org}/runs/{run.hex}")
        return await self._views.list_slices(org, run, where=where, cursor=cursor, limit=limit)

    async def list_objects(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> Page:
        """Return a page of objects, by platform, account, level and id."""
        return await self._views.list_objects(org, where=where, cursor=cursor, limit=limit)

    async def list_reconciliations(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> Page:
        """Return a page of reconciliations, newest first."""
        return await self._views.list_reconciliations(org, where=where, cursor=cursor, limit=limit)


def check_days(days: Days) -> None:
    """Refuse ranges that no platform answers.

    Raises:
        InvalidFieldsError: There are too many days.
    """
    if len(days) > _MAXIMUM_DAYS:
        raise InvalidFieldsError.of(
            "date_range",
            f"has {len(days)} days, and a run may have {_MAXIMUM_DAYS}",
            rule="date_range.days",
        )
