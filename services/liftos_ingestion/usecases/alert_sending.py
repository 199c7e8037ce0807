"""Sending the messages of alerts: each of them once, or twice where a worker dies on the way."""

import asyncio
import random
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final

import structlog

from liftos_ingestion.alert_ports import DueNotice, Outbox, TakenNotice
from liftos_ingestion.connection_ports import CredentialUnusableError, CredentialVault
from liftos_ingestion.domain.alerts import AlertKind, AlertSeverity, one_line
from liftos_ingestion.usecases.alert_routes import reveal_target
from liftos_kit.core.clock import pause
from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.core.retry import Backoff
from liftos_kit.notify.notifier import (
    Message,
    NotificationFailedError,
    Notifier,
    Problem,
    Severity,
)

_LOOK_SECONDS: Final = 1.0
_AT_ONCE: Final = 100
_ROUTES_AT_ONCE: Final = 4
_MARGIN_SECONDS: Final = 30.0
_BACKOFF: Final = Backoff(base_seconds=10.0, maximum_seconds=3600.0, maximum_tries=14)
"""A target that is away for some five hours is told once it is back."""

_SEVERITIES: Final = {
    AlertSeverity.INFO: Severity.INFO,
    AlertSeverity.WARNING: Severity.WARNING,
    AlertSeverity.CRITICAL: Severity.CRITICAL,
}
_TITLES: Final = {
    AlertKind.RUN_FAILED: "Run failed",
    AlertKind.CREDENTIALS_REJECTED: "Credential rejected",
    AlertKind.CREDENTIALS_EXPIRING: "Credential ends soon",
    AlertKind.QUOTA_EXHAUSTED: "Limit reached",
    AlertKind.DATA_LATE: "Data is late",
    AlertKind.RECONCILIATION_FAILED: "Sums differ",
    AlertKind.DEAD_LETTERS_GROWING: "Rows are refused",
    AlertKind.VERSION_RETIRING: "API version ends soon",
}

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.ingestion")


class AlertSender:
    """Sends what is due.

    A message is taken, sent and recorded. A worker that dies between the last two leaves one
    message for each route that it was sending to, which goes out once more when the lease is over.

    Args:
        outbox: Messages on their way.
        vault: Opens targets.
        notifier: Sends.
        send_seconds: How long one message may take, at most.
    """

    def __init__(
        self, outbox: Outbox, vault: CredentialVault, notifier: Notifier, *, send_seconds: float
    ) -> None:
        self._outbox = outbox
        self._vault = vault
        self._notifier = notifier
        self._send_seconds = send_seconds + _MARGIN_SECONDS
        self._lease_seconds = self._send_seconds + _MARGIN_SECONDS

    async def run(self, stop: asyncio.Event) -> None:
        """Send what is due, looking every second, until `stop`."""
        while not stop.is_set():
            try:
                await self.send_due(stop)
            except StoreUnavailableError as error:
                _log.warning("alerts_unsent", error=error.message)
            await pause(stop, _LOOK_SECONDS)

    async def send_due(self, stop: asyncio.Event) -> int:
        """Send what is due now; return how many messages were looked at."""
        found = await self._outbox.due(limit=_AT_ONCE)
        route = attrgetter("org", "alert_route")
        routes = [list(due) for _, due in groupby(sorted(found, key=route), key=route)]
        turn = asyncio.Semaphore(_ROUTES_AT_ONCE)

        async def serve(due: Sequence[DueNotice]) -> None:
            # One after the other within a route: what it cannot take now is not tried in vain.
            for notice in due:
                async with turn:
                    if not stop.is_set():
                        await self._send(notice)

        outcomes = await asyncio.gather(*map(serve, routes), return_exceptions=True)
        failures = [outcome for outcome in outcomes if outcome is not None]
        if failures:
            raise failures[0]
        return len(found)

    async def _send(self, due: DueNotice) -> None:
        taken = await self._outbox.take(due, lease_seconds=self._lease_seconds)
        if taken is None:
            return
        try:
            target_url = await reveal_target(self._vault, due.org, due.alert_route, taken.target)
            async with asyncio.timeout(self._send_seconds):
                await self._notifier.send(target_url, message_of(due.org, taken))
        except CredentialUnusableError as error:
            # A key may come back with the next start of the worker.
            await self._failed(taken, str(error), may_pass=True)
        except NotificationFailedError as error:
            await self._failed(taken, str(error), may_pass=error.may_pass)
        except TimeoutError:
            late = NotificationFailedError(Problem.TIMED_OUT)
            await self._failed(taken, str(late), may_pass=late.may_pass)
        else:
            await self._outbox.sent(taken)

    async def _failed(self, taken: TakenNotice, error: str, *, may_pass: bool) -> None:
        assert _BACKOFF.maximum_tries is not None, "given above"
        retry_seconds = None
        if may_pass and taken.attempt < _BACKOFF.maximum_tries:
            bound = _BACKOFF.bound_seconds(taken.attempt - 1)
            retry_seconds = random.uniform(0.5, 1.0) * bound  # noqa: S311
        _log.warning(
            "alert_unsent",
            org=taken.due.org,
            alert_route=taken.due.alert_route,
            alert=taken.alert.hex,
            attempt=taken.attempt,
            retry_seconds=retry_seconds,
            error=error,
        )
        await self._outbox.failed(
            taken, error, retry_seconds=retry_seconds, pause_route=retry_seconds is not None
        )


def message_of(org: str, notice: TakenNotice) -> Message:
    """Return what a person is told of an alert."""
    title = f"{_TITLES[notice.kind]} ({org})"
    name = f"orgs/{org}/alerts/{notice.alert.hex}"
    first = f"{notice.first_time:%Y-%m-%d %H:%M} UTC"
    if notice.resolved:
        body = f"No longer so: {notice.summary}\n\nIt was first seen at {first}.\n{name}"
        return Message(one_line(f"Resolved: {title}"), body, Severity.INFO)
    seen = f"Seen {notice.occurrence_count} times since {first}."
    if notice.occurrence_count == 1:
        seen = f"Seen at {first}."
    body = f"{notice.summary}\n\n{notice.remedy}\n\n{seen}\n{name}"
    return Message(one_line(title), body, _SEVERITIES[notice.severity])
