"""Suspending: once it is done, nothing of the scope is written any more."""

from contextlib import suppress
from typing import Final
from uuid import UUID

import structlog

from liftos_ingestion.domain.failures import ReadingError
from liftos_ingestion.run_ports import OBJECTS, EntryWriter, HoldLostError, Lane
from liftos_ingestion.run_view_ports import Page, Row
from liftos_ingestion.suspension_ports import HeldLane, SuspensionScope, SuspensionStore
from liftos_kit.core.clock import Clock
from liftos_kit.core.errors import NotFoundError, StoreUnavailableError
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import AnsweredBeforeError, Repeatable

_LOOK_SECONDS: Final = 0.25
_MEMORY: Final = "memory"

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.ingestion")


class Suspensions:
    """Suspends scopes and lifts suspensions.

    Args:
        store: Where they are.
        writer: Memory, which shuts out writers that do not let go.
        clock: Time between two looks.
    """

    def __init__(self, store: SuspensionStore, writer: EntryWriter, clock: Clock) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock

    async def suspend(
        self,
        org: str,
        scope: SuspensionScope,
        *,
        reason: str,
        subject: str,
        repeatable: Repeatable[Row] | None,
    ) -> Row | bytes:
        """Suspend a scope, and wait until no write of it is under way.

        Workers let go within two seconds. One that has died or is frozen has until its lease ends;
        then its lane is taken from it, in Memory first. A call that ends before that leaves the
        suspension as it is, and the same request waits again.

        Returns:
            The suspension, or the answer that the same request was given before.

        Raises:
            NotFoundError: Its connection does not exist.
            StoreUnavailableError: Memory does not answer, and writes may still be under way.
        """
        answer: Row | bytes
        try:
            answer = await self._store.suspend(
                org, scope, reason=reason, subject=subject, repeatable=repeatable
            )
        except AnsweredBeforeError as answered:
            answer = answered.response
        await self._settle(org, scope)
        return answer

    async def resume(
        self,
        org: str,
        suspension: UUID,
        *,
        reason: str,
        subject: str,
        repeatable: Repeatable[Row] | None,
    ) -> Row | bytes:
        """Lift a suspension; what waited goes on at once. One that was lifted stays as it was.

        Returns:
            The suspension, or the answer that the same request was given before.

        Raises:
            NotFoundError: There is none.
        """
        try:
            row = await self._store.resume(
                org, suspension, reason=reason, subject=subject, repeatable=repeatable
            )
        except AnsweredBeforeError as answered:
            return answered.response
        if row is None:
            raise NotFoundError(f"orgs/{org}/suspensions/{suspension.hex}")
        return row

    async def list_suspensions(
        self, org: str, *, include_ended: bool, cursor: JsonValue, limit: int
    ) -> Page:
        """Return a page of suspensions, those that hold first, then newest first."""
        return await self._store.list_suspensions(
            org, include_ended=include_ended, cursor=cursor, limit=limit
        )

    async def _settle(self, org: str, scope: SuspensionScope) -> None:
        epochs: dict[Lane, int] = {}
        while held := await self._store.held_lanes(org, scope):
            epochs.update({it.lane: it.epoch for it in held})
            for it in held:
                if it.lease_over:
                    await self._take_away(it)
            await self._clock.sleep(_LOOK_SECONDS)
        # What a worker had sent when it let go may still be on its way in Memory.
        for lane, epoch in epochs.items():
            await self._shut_out(lane, epoch)

    async def _take_away(self, held: HeldLane) -> None:
        _log.warning("lane_taken_away", lane=held.lane, epoch=held.epoch)
        # In this order: whoever finds the lane free must not find its old holder writing.
        await self._shut_out(held.lane, held.epoch)
        await self._store.take_away(held)

    async def _shut_out(self, lane: Lane, epoch: int) -> None:
        if lane.level == OBJECTS:
            # They are kept beside the lanes, where its epoch alone decides.
            return
        # Where a higher epoch is known already, nothing is left to do.
        with suppress(HoldLostError):
            try:
                await self._writer.fence(lane, epoch=epoch + 1)
            except ReadingError as error:
                raise StoreUnavailableError(_MEMORY) from error
