"""Gives every unary call an end, and tells the call how much time it has."""

import asyncio
from types import TracebackType

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
        self._default_seconds = default_seconds

    def bind(self, method: Method) -> Around | None:
        """Surround every method but health and reflection."""
        if method.is_infrastructure:
            return None
        streaming = method.request_streaming or method.response_streaming
        default_seconds = None if streaming else self._default_seconds
        return Around(enter=lambda context: _Timed(context, default_seconds))


class _Timed:
    __slots__ = ("_context", "_default_seconds", "_timeout")

    def __init__(self, context: Context, default_seconds: float | None) -> None:
        self._context = context
        self._default_seconds = default_seconds
        self._timeout: asyncio.Timeout | None = None

    async def __aenter__(self) -> None:
        remaining_seconds = self._context.time_remaining()
        if remaining_seconds is not None:
            set_remaining_seconds(remaining_seconds)
            return
        set_remaining_seconds(self._default_seconds)
        if self._default_seconds is not None:
            self._timeout = asyncio.timeout(self._default_seconds)
            await self._timeout.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timeout is None:
            return
        assert self._default_seconds is not None
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError:
            raise DeadlineExceededError(deadline_seconds=self._default_seconds) from None
