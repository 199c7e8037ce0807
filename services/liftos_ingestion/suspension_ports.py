"""Suspensions: what keeps runs from starting and going on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from liftos_ingestion.run_ports import Lane
from liftos_ingestion.run_view_ports import Page, Row
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import Repeatable


@dataclass(frozen=True, slots=True)
class SuspensionScope:
    """What is suspended; empty fields mean all.

    Attributes:
        platform, connection, account_id: Only these.
    """

    platform: str = ""
    connection: str = ""
    account_id: str = ""


@dataclass(frozen=True, slots=True)
class HeldLane:
    """A lane that a worker holds, or held and did not give back.

    Attributes:
        lane: Which.
        epoch: Of its holder.
        lease_over: Whether the holder has fallen silent.
    """

    lane: Lane
    epoch: int
    lease_over: bool


class SuspensionStore(Protocol):
    """Suspensions of an org. Each change is one transaction."""

    async def suspend(
        self,
        org: str,
        scope: SuspensionScope,
        *,
        reason: str,
        subject: str,
        repeatable: Repeatable[Row] | None,
    ) -> Row:
        """Keep lanes of a scope from being taken from now on.

        Raises:
            AnsweredBeforeError: The same request was done before.
            NotFoundError: Its connection does not exist.
            RequestIdReusedError: Another request was.
        """

    async def held_lanes(self, org: str, scope: SuspensionScope) -> Sequence[HeldLane]:
        """Return lanes of a scope that are held although they are suspended."""

    async def take_away(self, held: HeldLane) -> None:
        """Free a lane of a holder that has fallen silent, which can record nothing afterwards."""

    async def resume(
        self,
        org: str,
        suspension: UUID,
        *,
        reason: str,
        subject: str,
        repeatable: Repeatable[Row] | None,
    ) -> Row | None:
        """Lift a suspension, line up what waited, and return it; None where there is none.

        Raises:
            AnsweredBeforeError: The same request was done before.
            RequestIdReusedError: Another request was.
        """

    async def list_suspensions(
        self, org: str, *, include_ended: bool, cursor: JsonValue, limit: int
    ) -> Page:
        """Return suspensions, those that hold first, then newest first."""
