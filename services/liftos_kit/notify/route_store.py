"""Routes, which say what is told where, and the port of where they are kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from liftos_kit.core.repeatable import Repeatable
from liftos_kit.notify.targets import SealedTarget


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """What a person decides about a route, but for its target.

    Attributes:
        display_name: Shown to people.
        kinds: Only these, as the service numbers them; none means all.
        minimum_severity: Only what is at least as severe, by the service's scale.
        platforms: Only these; none means all.
        disabled: Whether nothing is sent.
    """

    display_name: str
    kinds: tuple[int, ...]
    minimum_severity: float
    platforms: tuple[str, ...]
    disabled: bool


@dataclass(frozen=True, slots=True)
class StoredRoute:
    """A route.

    Attributes:
        route: Its id.
        spec: What a person decided.
        target: Where it leads.
        send_time: Last message that went out; None where none did.
        send_error: Why the last message did not go out; empty where it did.
        revision: Grows with each change by a person; its etag.
        create_time, update_time: When.
    """

    route: str
    spec: RouteSpec
    target: SealedTarget
    send_time: datetime | None
    send_error: str
    revision: int
    create_time: datetime
    update_time: datetime


class RouteStore(Protocol):
    """Routes of an org. Each change is one transaction."""

    async def find_answer(
        self, org: str, method: str, request_id: UUID, payload_digest: bytes
    ) -> bytes | None:
        """Return the answer that a request was given before; None where it is new.

        Raises:
            RequestIdReusedError: The id was used for another payload.
        """

    async def create(
        self,
        org: str,
        route: str,
        spec: RouteSpec,
        target: SealedTarget,
        repeatable: Repeatable[StoredRoute] | None,
    ) -> StoredRoute:
        """Store a route.

        Raises:
            AlreadyExistsError: The id is taken.
            AnsweredBeforeError: The same request was done before.
            RequestIdReusedError: Another request was.
        """

    async def change(
        self,
        org: str,
        route: str,
        change: Callable[[StoredRoute], tuple[RouteSpec, SealedTarget]],
        repeatable: Repeatable[StoredRoute] | None,
    ) -> StoredRoute:
        """Store what `change` makes of a route.

        Raises:
            AnsweredBeforeError: The same request was done before.
            NotFoundError: There is none.
            RequestIdReusedError: Another request was.
        """

    async def delete(
        self,
        org: str,
        route: str,
        check: Callable[[StoredRoute], None],
        repeatable: Repeatable[None] | None,
    ) -> None:
        """Remove a route that passes a check, with its messages.

        Raises:
            AnsweredBeforeError: The same request was done before.
            NotFoundError: There is none.
            RequestIdReusedError: Another request was.
        """

    async def record_sending(
        self, org: str, route: str, error: str, repeatable: Repeatable[str] | None
    ) -> None:
        """Store whether a message went out; empty is yes.

        Raises:
            AnsweredBeforeError: The same request was done before.
            RequestIdReusedError: Another request was.
        """

    async def get(self, org: str, route: str) -> StoredRoute | None:
        """Return a route; None where there is none."""

    async def list_page(
        self, org: str, *, after: str, limit: int
    ) -> tuple[Sequence[StoredRoute], bool]:
        """Return routes by id, from behind `after` on, and whether there are more.

        They are at most `limit`, and fewer where they are too large for one answer.
        """
