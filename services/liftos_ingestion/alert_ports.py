"""Alerts: as people see them, as they are found, and as they are told."""

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
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
class ToldAlert:
    """An alert, as a message tells it.

    Attributes:
        alert: Its id.
        resolved: Whether its end is told.
        kind, severity, summary, remedy, occurrence_count: Of the alert.
        first_time: When it was first seen.
    """

    alert: UUID
    resolved: bool
    kind: AlertKind
    severity: AlertSeverity
    summary: str
    remedy: str
    occurrence_count: int
    first_time: datetime
