"""A span and a duration for every call, with the status that the caller really gets.

Spans and metrics follow the semantic conventions of RPC 1.44: the span's name is the method, only
faults of the server are errors of a server span, and every code but OK is one of a client span.
A call that is not sampled costs its ids, a look at the clock and one histogram.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final

import grpc
from grpc.aio import ClientCallDetails, Metadata
from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from liftos_kit import telemetry
from liftos_kit.interceptors.around import Around, Context, Method
from liftos_kit.redaction import redact_text

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_CLIENT_FAULTS: Final = frozenset(grpc.StatusCode) - {grpc.StatusCode.OK}
_SERVER_FAULTS: Final = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
_TRACE_KEYS: Final = frozenset({"traceparent", "tracestate"})
# A cancellation this close to the deadline, or past it, is the deadline's.
_DEADLINE_MARGIN_SECONDS: Final = 0.01

_propagator: Final = TraceContextTextMapPropagator()


class TelemetryLayer:
    """Traces and measures the calls that a server answers; outermost, to see the final status.

    Health and reflection are left alone.

    Args:
        tracer_provider: Where spans go; the process's by default.
        meter_provider: Where measurements go; the process's by default.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(telemetry.SCOPE, tracer_provider=tracer_provider)
        meter = metrics.get_meter(telemetry.SCOPE, meter_provider=meter_provider)
        self._duration = meter.create_histogram(
            telemetry.RPC_SERVER_DURATION,
            unit="s",
            description="Time from a call's arrival to its status.",
            explicit_bucket_boundaries_advisory=telemetry.SECONDS_BUCKETS,
        )
        # Observed rather than counted up and down, which would cost a call two measurements.
        self._active: Counter[str] = Counter()
        meter.create_observable_up_down_counter(
            telemetry.RPC_SERVER_ACTIVE,
            callbacks=[self._observe_active],
            unit="{call}",
            description="Calls being answered now.",
        )

    def bind(self, method: Method) -> Around | None:
        """Surround every method but health and reflection."""
        if method.is_infrastructure:
            return None
        attributes = _Attributes(method.full_name, _SERVER_FAULTS, {})

        def enter(context: Context) -> _ServerCall:
            return _ServerCall(self._tracer, self._duration, self._active, attributes, context)

        return Around(enter=enter)

    def _observe_active(self, _: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(count, {telemetry.RPC_SYSTEM: "grpc", telemetry.RPC_METHOD: method})
            for method, count in self._active.items()
        ]


class _Attributes:
    """The attributes of a method's calls, built once for each status."""

    __slots__ = ("by_code", "faults", "method", "start")

    def __init__(
        self, method: str, faults: frozenset[grpc.StatusCode], more: Mapping[str, str | int]
    ) -> None:
        self.method = method
        self.faults = faults
        self.start: dict[str, str | int] = {
            telemetry.RPC_SYSTEM: "grpc",
            telemetry.RPC_METHOD: method,
            **more,
        }
        self.by_code: dict[grpc.StatusCode, dict[str, str | int]] = {}
        for code in grpc.StatusCode:
            self.by_code[code] = {**self.start, telemetry.RPC_STATUS: code.name}
            if code in faults:
                self.by_code[code][telemetry.ERROR_TYPE] = code.name

    def finish(self, span: Span, code: grpc.StatusCode, details: str | None) -> None:
        """End a span with a status."""
        if span.is_recording():
            span.set_attribute(telemetry.RPC_STATUS, code.name)
            if code in self.faults:
                span.set_attribute(telemetry.ERROR_TYPE, code.name)
                span.set_status(Status(StatusCode.ERROR, redact_text(details or "")))
        span.end()


class _ServerCall:
    """One call, from its arrival to its status."""

    __slots__ = ("_active", "_attributes", "_context", "_duration", "_span", "_started", "_tracer")

    def __init__(
        self,
        tracer: trace.Tracer,
        duration: metrics.Histogram,
        active: Counter[str],
        attributes: _Attributes,
        context: Context,
    ) -> None:
        self._tracer = tracer
        self._duration = duration
        self._active = active
        self._attributes = attributes
        self._context = context
        self._span: Span = trace.INVALID_SPAN
        self._started = 0.0

    async def __aenter__(self) -> None:
        self._started = time.perf_counter()
        attributes = self._attributes
        self._active[attributes.method] += 1
        parent = _caller(self._context)
        self._span = span = self._tracer.start_span(
            attributes.method, context=parent, kind=SpanKind.SERVER, attributes=attributes.start
        )
        present = trace.set_span_in_context(span, parent)
        if not span.is_recording():
            present = telemetry.suppress_child_spans(present)
        # Never detached: the context belongs to the task of this call and ends with it, while a
        # response stream may be closed from another task, where detaching fails.
        otel_context.attach(present)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        code = self._code(error)
        attributes = self._attributes
        self._duration.record(time.perf_counter() - self._started, attributes.by_code[code])
        self._active[attributes.method] -= 1
        span = self._span
        if code in _SERVER_FAULTS and span.is_recording():
            # Behind an abort stands the error that it answers.
            cause = error.__context__ if isinstance(error, grpc.aio.AbortError) else error
            if isinstance(cause, Exception):
                telemetry.record_error(span, cause)
        details = self._context.details()
        attributes.finish(span, code, details if isinstance(details, str) else None)

    def _code(self, error: BaseException | None) -> grpc.StatusCode:
        said = self._context.code()
        code = said if isinstance(said, grpc.StatusCode) else _CODES.get(said)
        if error is None:
            return code or grpc.StatusCode.OK
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            left_seconds = self._context.time_remaining()
            if left_seconds is not None and left_seconds <= _DEADLINE_MARGIN_SECONDS:
                return grpc.StatusCode.DEADLINE_EXCEEDED
            return grpc.StatusCode.CANCELLED
        return code if code not in {None, grpc.StatusCode.OK} else grpc.StatusCode.UNKNOWN


def _caller(context: Context) -> otel_context.Context:
    carrier = {
        key: value
        for key, value in context.invocation_metadata() or ()
        if key in _TRACE_KEYS and isinstance(value, str)
    }
    return telemetry.extract(carrier) if carrier else otel_context.Context()


def client_interceptors(
    target: str,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> list[grpc.aio.ClientInterceptor]:
    """Return interceptors that trace and measure calls to another service, and pass the trace on.

    Args:
        target: The channel's target, as `dns:///host:port`.
        tracer_provider: Where spans go; the process's by default.
        meter_provider: Where measurements go; the process's by default.
    """
    calls = _ClientCalls(target, tracer_provider, meter_provider)
    return [_UnaryUnary(calls), _UnaryStream(calls), _StreamUnary(calls), _StreamStream(calls)]


class _ClientCalls:
    """What the interceptors of one channel share."""

    def __init__(
        self,
        target: str,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
    ) -> None:
        self._tracer = trace.get_tracer(telemetry.SCOPE, tracer_provider=tracer_provider)
        meter = metrics.get_meter(telemetry.SCOPE, meter_provider=meter_provider)
        self._duration = meter.create_histogram(
            telemetry.RPC_CLIENT_DURATION,
            unit="s",
            description="Time from a call's start to its status.",
            explicit_bucket_boundaries_advisory=telemetry.SECONDS_BUCKETS,
        )
        self._server = _server_attributes(target)
        self._attributes: dict[str, _Attributes] = {}
        self._finishing: set[asyncio.Task[None]] = set()

    async def trace(
        self,
        begin: Callable[[ClientCallDetails], Awaitable[Any]],
        details: ClientCallDetails,
    ) -> Any:  # noqa: ANN401 - the library's four kinds of calls have no common type
        """Begin a call within a span; the span ends with the call's status."""
        attributes = self._attributes_of(details.method)
        started = time.perf_counter()
        span = self._tracer.start_span(
            attributes.method, kind=SpanKind.CLIENT, attributes=attributes.start
        )
        metadata = Metadata(*(details.metadata or ()))
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, context=trace.set_span_in_context(span))
        for key, value in carrier.items():
            metadata[key] = value
        call = await begin(
            ClientCallDetails(
                method=details.method,
                timeout=details.timeout,
                metadata=metadata,
                credentials=details.credentials,
                wait_for_ready=details.wait_for_ready,
            )
        )

        def on_done(_: object) -> None:
            # The status is there, but only a coroutine may ask for it.
            ended = time.perf_counter()
            task = asyncio.ensure_future(self._end(call, attributes, span, ended - started))
            self._finishing.add(task)
            task.add_done_callback(self._finishing.discard)

        call.add_done_callback(on_done)
        return call

    async def _end(
        self,
        call: grpc.aio.Call,
        attributes: _Attributes,
        span: Span,
        seconds: float,
    ) -> None:
        code = await call.code()
        self._duration.record(seconds, attributes.by_code[code])
        attributes.finish(span, code, await call.details())

    def _attributes_of(self, method: str | bytes) -> _Attributes:
        path = method.decode() if isinstance(method, bytes) else method
        known = self._attributes.get(path)
        if known is None:
            known = _Attributes(path.removeprefix("/"), _CLIENT_FAULTS, self._server)
            self._attributes[path] = known
        return known


class _UnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, calls: _ClientCalls) -> None:
        self._calls = calls

    async def intercept_unary_unary(
        self,
        continuation: Callable[[ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: ClientCallDetails,
        request: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        return await self._calls.trace(
            lambda details: continuation(details, request), client_call_details
        )


class _UnaryStream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, calls: _ClientCalls) -> None:
        self._calls = calls

    async def intercept_unary_stream(
        self,
        continuation: Callable[[ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: ClientCallDetails,
        request: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        return await self._calls.trace(
            lambda details: continuation(details, request), client_call_details
        )


class _StreamUnary(grpc.aio.StreamUnaryClientInterceptor):
    def __init__(self, calls: _ClientCalls) -> None:
        self._calls = calls

    async def intercept_stream_unary(
        self,
        continuation: Callable[[ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: ClientCallDetails,
        request_iterator: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        return await self._calls.trace(
            lambda details: continuation(details, request_iterator), client_call_details
        )


class _StreamStream(grpc.aio.StreamStreamClientInterceptor):
    def __init__(self, calls: _ClientCalls) -> None:
        self._calls = calls

    async def intercept_stream_stream(
        self,
        continuation: Callable[[ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: ClientCallDetails,
        request_iterator: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        return await self._calls.trace(
            lambda details: continuation(details, request_iterator), client_call_details
        )


def _server_attributes(target: str) -> dict[str, str | int]:
    address, _, port = target.rpartition("/")[2].rpartition(":")
    if not port.isdigit():
        return {telemetry.SERVER_ADDRESS: target}
    return {telemetry.SERVER_ADDRESS: address.strip("[]"), telemetry.SERVER_PORT: int(port)}
