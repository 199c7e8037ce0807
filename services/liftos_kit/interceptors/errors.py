"""Turns exceptions into statuses, by the one table; internals stay in the log."""

from types import TracebackType
from typing import Final

import grpc
import structlog
from grpc_status import rpc_status

from liftos_kit.core.errors import DomainError, InternalError, NotBuiltError
from liftos_kit.interceptors.around import Around, Context, Method
from liftos_kit.status import status_of
from liftos_kit.telemetry import current_trace_id

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.rpc")


class ErrorsLayer:
    """Answers every exception with a status and its details."""

    def bind(self, method: Method) -> Around:
        """Surround every method."""
        name = method.full_name
        return Around(enter=lambda context: _Answering(name, context))


class _Answering:
    __slots__ = ("_context", "_method")

    def __init__(self, method: str, context: Context) -> None:
        self._method = method
        self._context = context

    async def __aenter__(self) -> None:
        return

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # AbortError is an Exception that already carries a status; cancellation and the closing of
        # a stream are no Exceptions, and no errors either.
        if not isinstance(error, Exception) or isinstance(error, grpc.aio.AbortError):
            return
        # Nobody is left to answer.
        if self._context.done():
            return
        if isinstance(error, DomainError):
            answer = error
        elif _is_generated_default(error, self._context):
            answer = NotBuiltError(self._method)
        else:
            answer = self._hidden(error)
        await self._context.abort_with_status(rpc_status.to_status(status_of(answer)))

    def _hidden(self, error: Exception) -> DomainError:
        trace_id = current_trace_id()
        _log.error("rpc_failed", method=self._method, trace_id=trace_id, exc_info=error)
        return InternalError(trace_id)


def _is_generated_default(error: Exception, context: Context) -> bool:
    # A generated servicer base sets the code and raises NotImplementedError. One that a library
    # raises sets no code, and is a fault.
    return isinstance(error, NotImplementedError) and context.code() in (
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNIMPLEMENTED.value[0],
    )
