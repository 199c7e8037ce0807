"""The end of streams when a server leaves: at a safe point, with a clear status.

`grpc.aio` lets open streams run until the grace is over and then cancels them without a word. Here
a stream says when it only waits; a drain interrupts the wait, and the stream ends itself with
UNAVAILABLE and RetryInfo. Work between two waits, such as the commit of a batch, is finished.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from liftos_kit.core.errors import ShuttingDownError

T = TypeVar("T")


class Draining:
    """Whether the server is leaving, and the waits that this ends."""

    def __init__(self) -> None:
        self.started = False
        self._waits: set[_Wait] = set()

    def start(self) -> None:
        """End every wait, present and future; safe to call again."""
        self.started = True
        for wait in tuple(self._waits):
            wait.interrupted = True
            wait.task.cancel()
        self._waits.clear()

    async def interruptible(self, wait_for: Callable[[], Awaitable[T]]) -> T:
        """Await what `wait_for` returns, unless the drain comes first.

        Raises:
            ShuttingDownError: The drain came first.
        """
        if self.started:
            raise ShuttingDownError
        task = asyncio.current_task()
        assert task is not None
        wait = _Wait(task)
        self._waits.add(wait)
        try:
            return await wait_for()
        except asyncio.CancelledError:
            # A cancellation of the caller's own that came as well has the last word.
            if wait.interrupted and task.uncancel() == 0:
                raise ShuttingDownError from None
            raise
        finally:
            self._waits.discard(wait)


class _Wait:
    __slots__ = ("interrupted", "task")

    def __init__(self, task: "asyncio.Task[object]") -> None:
        self.task = task
        self.interrupted = False
