"""One log line for each call that did not go well, and, at level debug, for each that did."""

import asyncio
import logging
import time
from types import TracebackType
from typing import Final

import grpc
import structlog

from liftos_kit.interceptors.around import Around, Context, Method

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.rpc")

_SERVER_FAULTS: Final = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class RequestLogLayer:
    """Logs calls: faults of the server as warnings, refusals as info, the rest as debug."""

    def bind(self, method: Method) -> Around | None:
        """Surround every method but health and reflection."""
        if method.is_infrastructure:
            return None
        name = method.full_name
        return Around(enter=lambda context: _Logged(name, context))


class _Logged:
    __slots__ = ("_context", "_method", "_peer", "_started")

    def __init__(self, method: str, context: Context) -> None:
        self._method = method
        self._context = context
        # Read at once: a stream that its caller left may be closed when its call is gone already,
        # and to ask for the peer of such a call crashes the process.
        self._peer = context.peer()
        self._started = 0.0

    async def __aenter__(self) -> None:
        self._started = time.perf_counter()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            _log.debug("rpc", method=self._method, code="OK", duration_seconds=self._duration())
            return
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            _log.info("rpc", **self._fields(grpc.StatusCode.CANCELLED))
            return
        told = self._context.code()
        code = told if isinstance(told, grpc.StatusCode) else _CODES.get(told)
        code = code or grpc.StatusCode.UNKNOWN
        level = logging.WARNING if code in _SERVER_FAULTS else logging.INFO
        _log.log(level, "rpc", **self._fields(code), details=self._context.details())

    def _fields(self, code: grpc.StatusCode) -> dict[str, object]:
        return {
            "method": self._method,
            "code": code.name,
            "duration_seconds": self._duration(),
            "peer": self._peer,
        }

    def _duration(self) -> float:
        return round(time.perf_counter() - self._started, 6)
