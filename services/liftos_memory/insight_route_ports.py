"""Routes of insights, and the messages that are on their way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from liftos_kit.core.repeatable import Repeatable
from liftos_kit.secrets.secret import Secret
from liftos_memory.domain.insights import InsightKind
from liftos_memory.insight_ports import StoredInsight


class TargetUnusableError(Exception):
    """The target of a route cannot be sealed, or does not open.

    Attributes:
        problem: What is wrong and what to do, without any secret.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """What a person decides about a route, but for its target.

    Attributes:
        display_name: Shown to people.
        kinds: Only these; none means all.
        minimum_severity: Only insights at least as severe, 0 to 100.
        platforms: Only these; none means all.
        disabled: Whether nothing is sent.
    """

    display_name: str
    kinds: tuple[InsightKind, ...]
    minimum_severity: float
    platforms: tuple[str, ...]
    disabled: bool


@dataclass(frozen=True, slots=True)
class SealedTarget:
    """Where a route leads, as it is kept.

    Attributes:
        kind: The scheme of its URL.
        sealed: The encrypted URL.
        key_id: The key that encrypts it.
    """

    kind: str
    sealed: bytes = field(repr=False)
    key_id: str


@dataclass(frozen=True, slots=True)
class StoredRoute:
    """A route.

    Attributes:
        insight_route: Its id.
        spec: What a person decided.
        target: Where it leads.
        send_time: Last message that went out; None where none did.
        send_error: Why the last message did not go out; empty where it did.
        revision: Grows with each change by a person; its etag.
        create_time, update_time: When.
    """

    insight_route: str
    spec: RouteSpec
    target: SealedTarget
    send_time: datetime | None
    send_error: str
    revision: int
    create_time: datetime
    update_time: datetime


class InsightRouteStore(Protocol):
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
        insight_route: str,
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
        insight_route: str,
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
        insight_route: str,
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
        self, org: str, insight_route: str, error: str, repeatable: Repeatable[str] | None
    ) -> None:
        """Store whether a message went out; empty is yes.

        Raises:
            AnsweredBeforeError: The same request was done before.
            RequestIdReusedError: Another request was.
        """

    async def get(self, org: str, insight_route: str) -> StoredRoute | None:
        """Return a route; None where there is none."""

    async def list_page(self, org: str, *, after: str, limit: int) -> Sequence[StoredRoute]:
        """Return routes by id, from behind `after` on."""


class TargetVault(Protocol):
    """Seals the URLs of routes, which hold secrets."""

    def seal(self, target_url: Secret, *, kind: str, resource_name: str) -> SealedTarget:
        """Return a URL as it is kept.

        Raises:
            TargetUnusableError: There is no key.
        """

    def open(self, target: SealedTarget, *, resource_name: str) -> Secret:
        """Return the URL of a route.

        Raises:
            TargetUnusableError: It does not open.
        """


@dataclass(frozen=True, slots=True)
class DueMessage:
    """A message whose time has come.

    Attributes:
        org: Whose.
        insight_route: Where it goes.
        message: Its id.
    """

    org: str
    insight_route: str
    message: UUID


@dataclass(frozen=True, slots=True)
class TakenMessage:
    """A message in the hands of one worker.

    Attributes:
        due: Which.
        attempt: From 1.
        target: Where it goes.
        found: Insights that it tells, most severe first.
        resolved: Insights whose end it tells.
    """

    due: DueMessage
    attempt: int
    target: SealedTarget
    found: Sequence[StoredInsight]
    resolved: Sequence[StoredInsight]


class InsightOutbox(Protocol):
    """Messages of all orgs that are on their way."""

    async def due(self, *, limit: int) -> Sequence[DueMessage]:
        """Return messages whose time has come, the longest due first."""

    async def take(self, due: DueMessage, *, lease_seconds: float) -> TakenMessage | None:
        """Take a message; None where nobody waits for it any more, or another worker has it.

        It comes again where it is neither recorded as sent nor as failed within the lease.
        """

    async def sent(self, taken: TakenMessage) -> None:
        """Record that a message has gone out."""

    async def failed(self, taken: TakenMessage, error: str, *, retry_seconds: float | None) -> None:
        """Record that a message has not gone out.

        Args:
            taken: The message.
            error: Why, without any secret.
            retry_seconds: When it, and others of its route, are tried again; None gives it up.
        """
