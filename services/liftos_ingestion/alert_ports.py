"""Alerts, where they go, and the messages that are on their way."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from liftos_ingestion.domain.alert_rules import OrgFacts
from liftos_ingestion.domain.alerts import AlertKind, AlertSeverity, Condition
from liftos_ingestion.run_view_ports import Page, Row
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import Repeatable


class AlertStore(Protocol):
    """Alerts as people look at them."""

    async def get(self, org: str, alert: UUID) -> Row | None:
        """Return an alert; None where there is none."""

    async def list_alerts(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> Page:
        """Return alerts, open ones first, then newest first."""

    async def acknowledge(
        self,
        org: str,
        alert: UUID,
        *,
        subject: str,
        comment: str,
        repeatable: Repeatable[Row] | None,
    ) -> Row | None:
        """Take an alert up and return it; None where it is resolved, or does not exist.

        Raises:
            AnsweredBeforeError: The same request was done before.
            RequestIdReusedError: Another request was.
        """


class Watch(Protocol):
    """One look at an org, as one transaction that no other worker looks during."""

    async def facts(self) -> OrgFacts:
        """Return what the rules decide by."""

    async def record(self, conditions: Sequence[Condition], *, kinds: Collection[AlertKind]) -> int:
        """Make the alerts of some kinds those that hold now, with the messages that follow.

        A condition whose alert is open is that alert, seen again; an alert whose condition is not
        among them is resolved.

        Returns:
            How many alerts opened, got more severe or were resolved.
        """


class WatchedOrgs(Protocol):
    """Orgs, for the worker that looks after them."""

    async def orgs(self) -> Sequence[str]:
        """Return those that something can be said of."""

    def watch(self, org: str) -> AbstractAsyncContextManager[Watch | None]:
        """Begin a look; None where another worker is at it."""


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """What a person decides about a route, but for its target.

    Attributes:
        display_name: Shown to people.
        kinds: Only these; none means all.
        minimum_severity: Only alerts at least as severe.
        platforms: Only these; none means all.
        disabled: Whether nothing is sent.
    """

    display_name: str
    kinds: tuple[AlertKind, ...]
    minimum_severity: AlertSeverity
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
        alert_route: Its id.
        spec: What a person decided.
        target: Where it leads.
        send_time: Last message that went out; None where none did.
        send_error: Why the last message did not go out; empty where it did.
        revision: Grows with each change by a person; its etag.
        create_time, update_time: When.
    """

    alert_route: str
    spec: RouteSpec
    target: SealedTarget
    send_time: datetime | None
    send_error: str
    revision: int
    create_time: datetime
    update_time: datetime


class AlertRouteStore(Protocol):
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
        alert_route: str,
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
        alert_route: str,
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
        alert_route: str,
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
        self, org: str, alert_route: str, error: str, repeatable: Repeatable[str] | None
    ) -> None:
        """Store whether a message went out; empty is yes.

        Raises:
            AnsweredBeforeError: The same request was done before.
            RequestIdReusedError: Another request was.
        """

    async def get(self, org: str, alert_route: str) -> StoredRoute | None:
        """Return a route; None where there is none."""

    async def list_page(self, org: str, *, after: str, limit: int) -> Sequence[StoredRoute]:
        """Return routes by id, from behind `after` on."""


@dataclass(frozen=True, slots=True)
class DueNotice:
    """A message whose time has come.

    Attributes:
        org: Whose.
        alert_route: Where it goes.
        notice: Its id.
    """

    org: str
    alert_route: str
    notice: UUID


@dataclass(frozen=True, slots=True)
class TakenNotice:
    """A message in the hands of one worker.

    Attributes:
        due: Which.
        attempt: From 1.
        target: Where it goes.
        resolved: Whether it tells the end of its alert.
        alert: Id of the alert.
        kind, severity, summary, remedy, occurrence_count: Of the alert.
        first_time, last_time: When the alert was seen.
    """

    due: DueNotice
    attempt: int
    target: SealedTarget
    resolved: bool
    alert: UUID
    kind: AlertKind
    severity: AlertSeverity
    summary: str
    remedy: str
    occurrence_count: int
    first_time: datetime
    last_time: datetime


class Outbox(Protocol):
    """Messages of all orgs that are on their way."""

    async def due(self, *, limit: int) -> Sequence[DueNotice]:
        """Return messages whose time has come, the longest due first."""

    async def take(self, due: DueNotice, *, lease_seconds: float) -> TakenNotice | None:
        """Take a message; None where it is no longer to be sent, or another worker has it.

        It comes again where it is neither recorded as sent nor as failed within the lease.
        """

    async def sent(self, taken: TakenNotice) -> None:
        """Record that a message has gone out."""

    async def failed(
        self, taken: TakenNotice, error: str, *, retry_seconds: float | None, pause_route: bool
    ) -> None:
        """Record that a message has not gone out.

        Args:
            taken: The message.
            error: Why, without any secret.
            retry_seconds: When it is tried again; None gives it up.
            pause_route: Whether other messages of the route wait as long.
        """
