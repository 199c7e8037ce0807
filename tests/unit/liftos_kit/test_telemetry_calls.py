"""Spans and metrics of real calls, on both sides, for every kind of call and every ending."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from liftos_kit import telemetry
from liftos_kit.core.errors import NotFoundError, StoreUnavailableError
from liftos_kit.draining import Draining
from liftos_kit.interceptors.around import Layer, LayeredInterceptor
from liftos_kit.interceptors.errors import ErrorsLayer
from liftos_kit.interceptors.telemetry import TelemetryLayer, client_interceptors

KINDS = ["UnaryUnary", "UnaryStream", "StreamUnary", "StreamStream"]
SECRET = "postgresql://app:hunter2@db/liftos"

handlers_waiting: list[object] = []
"""The contexts of the calls whose handlers have read `wait`."""


async def end_as_asked(how: bytes, context: Any) -> None:
    """End a call as its request says."""
    match how:
        case b"abort":
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
        case b"bug":
            raise RuntimeError(f"cannot reach {SECRET}")
        case b"domain":
            raise NotFoundError("orgs/acme/entries/1")
        case b"store":
            raise StoreUnavailableError("postgres")
        case b"set code":
            context.set_code(grpc.StatusCode.FAILED_PRECONDITION)
            context.set_details("not now")
        case b"wait":
            handlers_waiting.append(context)
            try:
                await asyncio.sleep(30)
            finally:
                handlers_waiting.remove(context)
        case _:
            pass


async def unary_unary(request: bytes, context: Any) -> bytes:
    """Answer with the trace id that the handler sees."""
    await end_as_asked(request, context)
    return trace.format_trace_id(trace.get_current_span().get_span_context().trace_id).encode()


async def unary_stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
    """Answer once, then end as asked."""
    yield b"first"
    await end_as_asked(request, context)


async def stream_unary(requests: AsyncIterator[bytes], context: Any) -> bytes:
    """Read all, ending as the first one asks."""
    async for request in requests:
        await end_as_asked(request, context)
    return b"done"


async def stream_stream(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    """Answer each once, then end as it asks."""
    async for request in requests:
        yield b"first"
        await end_as_asked(request, context)


async def until(condition: Callable[[], bool]) -> None:
    """Wait, five seconds at most, for what another task or thread does."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)


async def consume(call: Any) -> Any:
    """Read a call of any kind to its end, and return its first message."""
    if not hasattr(call, "__aiter__"):
        return await call
    messages = [message async for message in call]
    return messages[0]


@dataclass(slots=True)
class World:
    """A server and a channel with telemetry on both, and what they recorded."""

    channel: grpc.aio.Channel
    address: str
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader

    async def call(self, kind: str, how: bytes, *, timeout_seconds: float | None = None) -> Any:
        """Make a call, read it to its end, and return its first message."""
        return await consume(self.start(kind, how, timeout_seconds=timeout_seconds))

    def start(self, kind: str, how: bytes, *, timeout_seconds: float | None = None) -> Any:
        """Begin a call."""
        channel: Any = self.channel
        many = kind.startswith("Stream")
        method = {
            "UnaryUnary": channel.unary_unary,
            "UnaryStream": channel.unary_stream,
            "StreamUnary": channel.stream_unary,
            "StreamStream": channel.stream_stream,
        }[kind]
        request = iter([how]) if many else how
        return method(f"/test.Echo/{kind}")(request, timeout=timeout_seconds)

    async def spans(self) -> tuple[ReadableSpan, ReadableSpan]:
        """Return the client's and the server's span once both have ended."""
        await until(lambda: len(self.exporter.get_finished_spans()) == 2)
        by_kind = {span.kind: span for span in self.exporter.get_finished_spans()}
        return by_kind[SpanKind.CLIENT], by_kind[SpanKind.SERVER]

    def points(self, metric: str) -> list[tuple[dict[str, Any], Any]]:
        """Return (attributes, data point) of a metric."""
        data = self.reader.get_metrics_data()
        return [
            (dict(point.attributes or {}), point)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for found in scope.metrics
            if found.name == metric
            for point in found.data.data_points
        ]


async def make_world(ratio: float = 1.0) -> AsyncIterator[World]:
    """Yield a world that records a share of its traces."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = TracerProvider(sampler=ParentBased(telemetry.WorkSampler(ratio)))
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    meters = MeterProvider(metric_readers=[reader])
    layers: list[Layer] = [
        TelemetryLayer(tracer_provider=tracers, meter_provider=meters),
        ErrorsLayer(),
    ]
    server = grpc.aio.server(interceptors=[LayeredInterceptor(layers, draining=Draining())])
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "UnaryUnary": grpc.unary_unary_rpc_method_handler(unary_unary),
        "UnaryStream": grpc.unary_stream_rpc_method_handler(unary_stream),
        "StreamUnary": grpc.stream_unary_rpc_method_handler(stream_unary),
        "StreamStream": grpc.stream_stream_rpc_method_handler(stream_stream),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
    health_pb2_grpc.add_HealthServicer_to_server(health_aio.HealthServicer(), server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    interceptors = client_interceptors(
        f"dns:///{address}", tracer_provider=tracers, meter_provider=meters
    )
    async with grpc.aio.insecure_channel(address, interceptors=interceptors) as channel:
        yield World(channel, address, exporter, reader)
    await server.stop(None)
    tracers.shutdown()
    meters.shutdown()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Yield a world that records everything."""
    async for found in make_world():
        yield found


@pytest.fixture
async def unsampled() -> AsyncIterator[World]:
    """Yield a world that records no trace."""
    async for found in make_world(0.0):
        yield found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("how", "code", "server_error"),
    [
        (b"ok", "OK", False),
        (b"abort", "NOT_FOUND", False),
        (b"domain", "NOT_FOUND", False),
        (b"set code", "FAILED_PRECONDITION", False),
        (b"store", "UNAVAILABLE", True),
        (b"bug", "INTERNAL", True),
        (b"deadline", "DEADLINE_EXCEEDED", True),
        (b"cancel", "CANCELLED", False),
    ],
)
async def test_every_ending_has_its_status_on_both_sides(
    world: World, kind: str, how: bytes, code: str, server_error: bool
) -> None:
    """Spans and durations carry the code that the caller got, and errors are those of the side."""
    if how == b"cancel":
        call = world.start(kind, b"wait")
        waiting = asyncio.ensure_future(consume(call))
        # A handler whose stream of requests is cancelled before it read one ends in order.
        await until(lambda: bool(handlers_waiting))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    elif how == b"ok":
        await world.call(kind, how)
    else:
        timeout_seconds = 0.15 if how == b"deadline" else None
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await world.call(
                kind, b"wait" if how == b"deadline" else how, timeout_seconds=timeout_seconds
            )
        assert caught.value.code().name == code

    client, server = await world.spans()
    for span in (client, server):
        assert span.name == f"test.Echo/{kind}"
        assert span.attributes is not None
        assert span.attributes["rpc.system.name"] == "grpc"
        assert span.attributes["rpc.response.status_code"] == code
    assert client.attributes is not None
    host, _, port = world.address.partition(":")
    assert client.attributes["server.address"] == host
    assert client.attributes["server.port"] == int(port)
    assert client.status.status_code is (StatusCode.UNSET if code == "OK" else StatusCode.ERROR)
    assert server.status.status_code is (StatusCode.ERROR if server_error else StatusCode.UNSET)
    assert server.parent is not None
    assert client.context is not None
    assert (server.parent.trace_id, server.parent.span_id) == (
        client.context.trace_id,
        client.context.span_id,
    )

    base = {"rpc.system.name": "grpc", "rpc.method": f"test.Echo/{kind}"}
    expected = base | {"rpc.response.status_code": code}
    error = {"error.type": code}
    (attributes, point), *more = world.points("rpc.server.call.duration")
    assert (attributes, point.count, more) == (expected | (error if server_error else {}), 1, [])
    (attributes, point), *more = world.points("rpc.client.call.duration")
    del attributes["server.address"], attributes["server.port"]
    assert (attributes, point.count, more) == (expected | ({} if code == "OK" else error), 1, [])
    assert [(a, p.value) for a, p in world.points("liftos.rpc.server.active_calls")] == [(base, 0)]


async def test_a_bug_is_on_the_span_without_its_secrets(world: World) -> None:
    """The exception behind INTERNAL is recorded once, and what it knew is not given away."""
    with pytest.raises(grpc.aio.AioRpcError):
        await world.call("UnaryUnary", b"bug")
    _, server = await world.spans()
    (event,) = server.events
    assert event.attributes is not None
    assert event.attributes["exception.type"] == "RuntimeError"
    assert event.attributes["exception.message"] == (
        "cannot reach postgresql://[redacted]@db/liftos"
    )
    assert "end_as_asked" in str(event.attributes["exception.stacktrace"])
    assert "hunter2" not in str(server.to_json())


async def test_unsampled_calls_are_measured_and_keep_their_trace(unsampled: World) -> None:
    """Without a recording, durations are still exact and both sides share one trace id."""
    assert len(await unsampled.call("UnaryUnary", b"ok")) == 32
    with pytest.raises(grpc.aio.AioRpcError):
        await unsampled.call("UnaryUnary", b"abort")
    assert unsampled.exporter.get_finished_spans() == ()

    def counts() -> dict[str, int]:
        return {
            attributes["rpc.response.status_code"]: point.count
            for attributes, point in unsampled.points("rpc.server.call.duration")
        }

    # The server measures a call after it has answered it.
    await until(lambda: sum(counts().values()) == 2)
    assert counts() == {"OK": 1, "NOT_FOUND": 1}


async def test_the_callers_decision_to_record_is_kept(unsampled: World) -> None:
    """A caller that records makes the server record, whatever the server's own share."""
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    channel: Any
    async with grpc.aio.insecure_channel(unsampled.address) as channel:
        answer = await channel.unary_unary("/test.Echo/UnaryUnary")(
            b"ok", metadata=(("traceparent", f"00-{trace_id}-00f067aa0ba902b7-01"),)
        )
    assert answer.decode() == trace_id
    (span,) = unsampled.exporter.get_finished_spans()
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == "00f067aa0ba902b7"


@pytest.mark.parametrize("header", ["", "nonsense", "00-0-0-01", "ff-" + "a" * 32 + "-b-01"])
async def test_a_broken_trace_header_begins_a_new_trace(world: World, header: str) -> None:
    """Nobody's call fails for the header of a trace."""
    channel: Any
    async with grpc.aio.insecure_channel(world.address) as channel:
        answer = await channel.unary_unary("/test.Echo/UnaryUnary")(
            b"ok", metadata=(("traceparent", header),)
        )
    assert len(answer) == 32
    (span,) = world.exporter.get_finished_spans()
    assert span.parent is None


async def test_health_checks_leave_no_trace(world: World) -> None:
    """Probes are neither traced nor measured."""
    async with grpc.aio.insecure_channel(world.address) as channel:
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert world.exporter.get_finished_spans() == ()
    assert world.points("rpc.server.call.duration") == []


async def test_children_are_made_only_within_a_recorded_call(
    world: World, unsampled: World
) -> None:
    """A lone store access is no trace of its own."""
    with telemetry.milvus_span("search", "documents") as span:
        assert not span.is_recording()
    assert telemetry.inject_carrier() == {}
