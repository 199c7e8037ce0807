"""Keeps the number of calls in flight within what the server can do.

The server's own `maximum_concurrent_rpcs` would refuse health checks too, and the cluster would
kill the pod for being busy.
"""

import asyncio
from collections import deque
from types import TracebackType

from liftos_kit.core.errors import OverloadedError
from liftos_kit.interceptors.around import Around, Context, Method


class Limiter:
    """So many calls at once; a few more wait for a moment, in order, the rest are refused.

    Args:
        name: Named in the error.
        maximum: Calls at once; as many more may wait.
        wait_seconds: Longest wait.
    """

    def __init__(self, name: str, *, maximum: int, wait_seconds: float) -> None:
        self._name = name
        self._maximum = maximum
        self._wait_seconds = wait_seconds
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.in_flight = 0

    async def __aenter__(self) -> None:
        """Take a place.

        Raises:
            OverloadedError: None came free in time, or too many wait already.
        """
        if self.in_flight < self._maximum:
            self.in_flight += 1
            return
        if len(self._waiting) >= self._maximum:
            raise self._refusal()
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await asyncio.wait_for(place, self._wait_seconds)
        except TimeoutError:
            self._give_up(place)
            raise self._refusal() from None
        except asyncio.CancelledError:
            self._give_up(place)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Hand the place to who waits longest."""
        self._release()

    def _release(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.in_flight -= 1

    def _give_up(self, place: "asyncio.Future[None]") -> None:
        # The place may have been handed over in the very moment of giving up.
        if place.done() and not place.cancelled():
            self._release()
        elif place in self._waiting:
            self._waiting.remove(place)

    def _refusal(self) -> OverloadedError:
        return OverloadedError(limit=f"{self._name}={self._maximum}")


class LimitsLayer:
    """One limit for calls and one for streams, which last long and mostly wait.

    Args:
        maximum: Calls at once, and streams at once.
        wait_seconds: Longest wait for a place.
    """

    def __init__(self, *, maximum: int, wait_seconds: float = 0.1) -> None:
        self.calls = Limiter("concurrent_calls", maximum=maximum, wait_seconds=wait_seconds)
        self.streams = Limiter("concurrent_streams", maximum=maximum, wait_seconds=wait_seconds)

    def bind(self, method: Method) -> Around | None:
        """Surround every method but health and reflection."""
        if method.is_infrastructure:
            return None
        streaming = method.request_streaming or method.response_streaming
        limiter = self.streams if streaming else self.calls

        def enter(context: Context) -> Limiter:  # noqa: ARG001  # all calls share one limiter
            return limiter

        return Around(enter=enter)
