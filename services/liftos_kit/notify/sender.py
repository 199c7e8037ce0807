"""Sending what is due: each message once, or twice where a worker dies on the way."""

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Final, Generic

import structlog

from liftos_kit.core.retry import Backoff
from liftos_kit.notify.notifier import Message, NotificationFailedError, Notifier, Problem
from liftos_kit.notify.outbox import DueMessage, Outbox, TakenMessage, Told
from liftos_kit.notify.targets import TargetUnusableError, TargetVault
from liftos_kit.notify.topic import Topic
from liftos_kit.repeat import repeat

_LOOK_SECONDS: Final = 1.0
_AT_ONCE: Final = 100
_ROUTES_AT_ONCE: Final = 4
_MARGIN_SECONDS: Final = 30.0
_MAXIMUM_TRIES: Final = 14
"""A target that is away for some five hours is told once it is back."""

_BACKOFF: Final = Backoff(base_seconds=10.0, maximum_seconds=3600.0)

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.notify")


class Sender(Generic[Told]):
    """Sends what is due.

    A message is taken, sent and recorded. A worker that dies between the last two leaves one
    message for each route that it was sending to, which goes out once more when the lease is over.

    Args:
        topic: What is told.
        outbox: Messages on their way.
        vault: Opens targets.
        notifier: Sends.
        message_of: What people read, of an org and what a message tells.
        send_seconds: How long one message may take, at most.
    """

    def __init__(
        self,
        topic: Topic,
        outbox: Outbox[Told],
        vault: TargetVault,
        notifier: Notifier,
        *,
        message_of: Callable[[str, Told], Message],
        send_seconds: float,
    ) -> None:
        self._topic = topic
        self._outbox = outbox
        self._vault = vault
        self._notifier = notifier
        self._message_of = message_of
        self._send_seconds = send_seconds + _MARGIN_SECONDS
        self._lease_seconds = self._send_seconds + _MARGIN_SECONDS

    async def run(self, stop: asyncio.Event) -> None:
        """Send what is due, looking every second, until `stop`."""
        await repeat(
            partial(self.send_due, stop), stop, seconds=_LOOK_SECONDS, event="messages_unsent"
        )

    async def send_due(self, stop: asyncio.Event) -> int:
        """Send what is due now; return how many messages were looked at."""
        found = await self._outbox.due(limit=_AT_ONCE)
        route = attrgetter("org", "route")
        routes = [list(due) for _, due in groupby(sorted(found, key=route), key=route)]
        turn = asyncio.Semaphore(_ROUTES_AT_ONCE)

        async def serve(messages: Sequence[DueMessage]) -> None:
            # One after the other within a route: what it cannot take now is not tried in vain.
            for due in messages:
                async with turn:
                    if not stop.is_set():
                        await self._send(due)

        outcomes = await asyncio.gather(*map(serve, routes), return_exceptions=True)
        failures = [outcome for outcome in outcomes if outcome is not None]
        if failures:
            raise failures[0]
        return len(found)

    async def _send(self, due: DueMessage) -> None:
        taken = await self._outbox.take(due, lease_seconds=self._lease_seconds)
        if taken is None:
            return
        name = self._topic.route_name(due.org, due.route)
        try:
            target_url = self._vault.open(taken.target, resource_name=name)
            async with asyncio.timeout(self._send_seconds):
                await self._notifier.send(target_url, self._message_of(due.org, taken.told))
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

    async def _failed(self, taken: TakenMessage[Told], error: str, *, may_pass: bool) -> None:
        retry_seconds = None
        if may_pass and taken.attempt < _MAXIMUM_TRIES:
            bound = _BACKOFF.bound_seconds(taken.attempt - 1)
            retry_seconds = random.uniform(0.5, 1.0) * bound  # noqa: S311
        _log.warning(
            "message_unsent",
            route=self._topic.route_name(taken.due.org, taken.due.route),
            message=taken.due.message.hex,
            attempt=taken.attempt,
            retry_seconds=retry_seconds,
            error=error,
        )
        await self._outbox.failed(taken, error, retry_seconds=retry_seconds)
