"""The port of messages that are on their way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from liftos_kit.notify.targets import SealedTarget

Told = TypeVar("Told")


@dataclass(frozen=True, slots=True)
class DueMessage:
    """A message whose time has come.

    Attributes:
        org: Whose.
        route: Where it goes.
        message: Its id.
    """

    org: str
    route: str
    message: UUID


@dataclass(frozen=True, slots=True)
class TakenMessage(Generic[Told]):
    """A message in the hands of one worker.

    Attributes:
        due: Which.
        attempt: From 1.
        target: Where it goes.
        told: What it tells.
    """

    due: DueMessage
    attempt: int
    target: SealedTarget
    told: Told


class Outbox(Protocol[Told]):
    """Messages of all orgs that are on their way."""

    async def due(self, *, limit: int) -> Sequence[DueMessage]:
        """Return messages whose time has come, the longest due first."""

    async def take(self, due: DueMessage, *, lease_seconds: float) -> TakenMessage[Told] | None:
        """Take a message; None where nobody waits for it any more, or another worker has it.

        It comes again where it is neither recorded as sent nor as failed within the lease.
        """

    async def sent(self, taken: TakenMessage[Told]) -> None:
        """Record that a message has gone out."""

    async def failed(
        self, taken: TakenMessage[Told], error: str, *, retry_seconds: float | None
    ) -> None:
        """Record that a message has not gone out.

        Args:
            taken: The message.
            error: Why, without any secret.
            retry_seconds: When it is tried again, and other messages of its route are tried at
                the earliest; None gives it up.
        """
