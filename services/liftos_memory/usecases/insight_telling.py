"""Telling people of insights: each message once, or twice where a worker dies on the way."""

import asyncio
import random
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final

import structlog

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
from liftos_memory.domain.insights import route_name
from liftos_memory.insight_ports import StoredInsight
from liftos_memory.insight_route_ports import (
    DueMessage,
    InsightOutbox,
    TakenMessage,
    TargetUnusableError,
    TargetVault,
)

_LOOK_SECONDS: Final = 1.0
_AT_ONCE: Final = 100
_ROUTES_AT_ONCE: Final = 4
_MARGIN_SECONDS: Final = 30.0
_TOLD_AT_ONCE: Final = 10
_CRITICAL_SEVERITY: Final = 60.0
_BACKOFF: Final = Backoff(base_seconds=10.0, maximum_seconds=3600.0, maximum_tries=14)
"""A target that is away for some five hours is told once it is back."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.insights")


class InsightTelling:
    """Sends what is due.

    Args:
        outbox: Messages on their way.
        vault: Opens targets.
        notifier: Sends.
        send_seconds: How long one message may take, at most.
    """

    def __init__(
        self, outbox: InsightOutbox, vault: TargetVault, notifier: Notifier, *, send_seconds: float
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
                _log.warning("insights_untold", error=error.message)
            await pause(stop, _LOOK_SECONDS)

    async def send_due(self, stop: asyncio.Event) -> int:
        """Send what is due now; return how many messages were looked at."""
        found = await self._outbox.due(limit=_AT_ONCE)
        route = attrgetter("org", "insight_route")
        routes = [list(due) for _, due in groupby(sorted(found, key=route), key=route)]
        turn = asyncio.Semaphore(_ROUTES_AT_ONCE)

        async def serve(due: Sequence[DueMessage]) -> None:
            for message in due:
                async with turn:
                    if not stop.is_set():
                        await self._send(message)

        outcomes = await asyncio.gather(*map(serve, routes), return_exceptions=True)
        failures = [outcome for outcome in outcomes if outcome is not None]
        if failures:
            raise failures[0]
        return len(found)

    async def _send(self, due: DueMessage) -> None:
        taken = await self._outbox.take(due, lease_seconds=self._lease_seconds)
        if taken is None:
            return
        try:
            name = route_name(due.org, due.insight_route)
            target_url = self._vault.open(taken.target, resource_name=name)
            async with asyncio.timeout(self._send_seconds):
                await self._notifier.send(target_url, message_of(taken))
        except TargetUnusableError as error:
            # A key may come back with the next start of the worker.
            await self._failed(taken, str(error), may_pass=True)
        except NotificationFailedError as error:
            await self._failed(taken, str(error), may_pass=error.may_pass)
        except TimeoutError:
            late = NotificationFailedError(Problem.TIMED_OUT)
            await self._failed(taken, str(late), may_pass=late.may_pass)
        else:
            await self._outbox.sent(taken)

    async def _failed(self, taken: TakenMessage, error: str, *, may_pass: bool) -> None:
        assert _BACKOFF.maximum_tries is not None, "given above"
        retry_seconds = None
        if may_pass and taken.attempt < _BACKOFF.maximum_tries:
            bound = _BACKOFF.bound_seconds(taken.attempt - 1)
            retry_seconds = random.uniform(0.5, 1.0) * bound  # noqa: S311
        _log.warning(
            "insights_unsent",
            org=taken.due.org,
            insight_route=taken.due.insight_route,
            attempt=taken.attempt,
            retry_seconds=retry_seconds,
            error=error,
        )
        await self._outbox.failed(taken, error, retry_seconds=retry_seconds)


def message_of(taken: TakenMessage) -> Message:
    """Return what a person is told: what was found, most severe first, and what has ended."""
    org = taken.due.org
    if not taken.found:
        return Message(
            f"Resolved: {_count(taken.resolved)} ({org})",
            _lines(org, taken.resolved),
            Severity.INFO,
        )
    body = _lines(org, taken.found)
    if taken.resolved:
        body = f"{body}\n\nNo longer so:\n\n{_lines(org, taken.resolved)}"
    worst = taken.found[0].insight.severity
    severity = Severity.CRITICAL if worst >= _CRITICAL_SEVERITY else Severity.WARNING
    return Message(f"{_count(taken.found)} ({org})", body, severity)


def _count(insights: Sequence[StoredInsight]) -> str:
    return "1 insight" if len(insights) == 1 else f"{len(insights)} insights"


def _lines(org: str, insights: Sequence[StoredInsight]) -> str:
    shown = [
        f"{it.insight.summary}\norgs/{org}/insights/{it.insight.insight_id}"
        for it in insights[:_TOLD_AT_ONCE]
    ]
    if len(insights) > _TOLD_AT_ONCE:
        shown.append(f"… and {len(insights) - _TOLD_AT_ONCE} more: liftos insights list")
    return "\n\n".join(shown)
