"""Gives every unary call an end, and tells the call how much time it has."""

import asyncio
import time
from types import TracebackType
from typing import Final

from liftos_kit.core.errors import DeadlineExceededError
from liftos_kit.deadline import set_remaining_seconds
from liftos_kit.interceptors.around import Around, Context, Method


class DeadlineLayer:
    """Ends a unary call that came without a deadline; streams may last.

    A deadline of the caller's own is kept by gRPC, which cancels the call when it has passed.

    Args:
        default_seconds: Time of a call whose caller did not say.
    """

    def __init__(self, *, default_seconds: float) -> None:
        self._default_seconds: Final = default_seconds
        self._expiry: Final = _Expiry(default_seconds)

    def bind(self, method: Method) -> Around | None:
        """Surround every method but health and reflection."""
        if method.is_infrastructure:
            return None
        if method.request_streaming or method.response_streaming:
            return Around(enter=_Told)
        return Around(enter=lambda context: _Timed(context, self._expiry))


class _Expiry:
    """Cancels calls after one and the same time.

    A timer for each call would cost more than all the rest of its chain. As all calls have the
    same time, they expire in the order in which they came, and one timer for the oldest does.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds: Final = seconds
        # Keeps the order of insertion, and forgets a finished call at once.
        self._open: Final[dict[_Timed, None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, call: "_Timed") -> None:
        self._open[call] = None
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self.seconds, self._expire, loop)

    def remove(self, call: "_Timed") -> None:
        self._open.pop(call, None)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = time.monotonic()
        for call in tuple(self._open):
            if call.ends_at > now:
                self._timer = loop.call_later(call.ends_at - now, self._expire, loop)
                return
            self.remove(call)
            call.expire()


class _Told:
    """Tells a call how much time its caller gave it."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    async def __aenter__(self) -> None:
        set_remaining_seconds(self._context.time_remaining())

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return


class _Timed:
    """Ends a call that has no deadline of its own."""

    __slots__ = ("_context", "_expired", "_expiry", "_task", "ends_at")

    def __init__(self, context: Context, expiry: _Expiry) -> None:
        self._context = context
        self._expiry = expiry
        self._expired = False
        self._task: asyncio.Task[object] | None = None
        self.ends_at = 0.0

    async def __aenter__(self) -> None:
        remaining_seconds = self._context.time_remaining()
        if remaining_seconds is not None:
            set_remaining_seconds(remaining_seconds)
            return
        set_remaining_seconds(self._expiry.seconds)
        self._task = asyncio.current_task()
        self.ends_at = time.monotonic() + self._expiry.seconds
        self._expiry.add(self)

    def expire(self) -> None:
        assert self._task is not None
        self._expired = True
        self._task.cancel()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._task is None:
            return
        self._expiry.remove(self)
        # A cancellation of the caller's own that came as well has the last word.
        if (
            self._expired
            and self._task.uncancel() == 0
            and isinstance(error, asyncio.CancelledError)
        ):
            raise DeadlineExceededError(deadline_seconds=self._expiry.seconds) from None
