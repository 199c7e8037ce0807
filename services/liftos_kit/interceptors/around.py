"""The one place that knows the four kinds of gRPC handlers.

A layer says, once for each method, what surrounds a call and what looks at each request message.
`LayeredInterceptor` builds the wrapped handler of a method once and keeps it, so that a call pays
for its layers and for nothing else.
"""

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import grpc
from google.protobuf.message import DecodeError, Message

from liftos_kit.core.errors import InvalidFieldsError
from liftos_kit.draining import Draining

Context = grpc.aio.ServicerContext[Any, Any]
if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]
else:
    Handler = grpc.RpcMethodHandler
Check = Callable[[Message], None]
Enter = Callable[[Context], AbstractAsyncContextManager[object, bool | None]]
Call = Callable[[object, Context], Awaitable[object]]
Messages = AsyncGenerator[object, None]
Stream = Callable[[object, Context], Messages]
# What handlers are made of; their message types are the service's, not the chain's.
Behaviour = Callable[[Any, Context], Any]


@dataclass(frozen=True, slots=True)
class Method:
    """An RPC method, as a layer needs to know it.

    Attributes:
        path: As on the wire, `/liftos.memory.v1.MemoryService/GetEntry`.
        request_streaming: The caller sends a stream.
        response_streaming: The server sends a stream.
    """

    path: str
    request_streaming: bool = False
    response_streaming: bool = False

    @property
    def full_name(self) -> str:
        """`liftos.memory.v1.MemoryService/GetEntry`, the method's name in telemetry."""
        return self.path.removeprefix("/")

    @property
    def service(self) -> str:
        """`liftos.memory.v1.MemoryService`."""
        return self.full_name.rpartition("/")[0]

    @property
    def name(self) -> str:
        """`GetEntry`."""
        return self.full_name.rpartition("/")[2]

    @property
    def is_infrastructure(self) -> bool:
        """Health and reflection: open without a token, exempt from limits, not traced."""
        return self.service.startswith(("grpc.health.", "grpc.reflection."))


@dataclass(frozen=True, slots=True)
class Around:
    """What a layer does for calls of one method.

    Attributes:
        enter: Gives the context manager that surrounds a call, from request to status; it sees
            every exception and may raise another instead.
        check: Looks at each request message and raises if it may not pass.
    """

    enter: Enter | None = None
    check: Check | None = None


class Layer(Protocol):
    """One concern of the chain."""

    def bind(self, method: Method) -> Around | None:
        """Return what surrounds calls of this method, or None to leave it alone."""
        ...


class LayeredInterceptor(grpc.aio.ServerInterceptor):
    """Puts layers around every method, the first outermost.

    Response streams are async generators, or coroutines that call `context.write`. Request
    streams are read by iteration; `context.read` would pass by the checks.

    Args:
        layers: In order, outermost first.
        draining: Ends streams when the server leaves.
    """

    def __init__(self, layers: Sequence[Layer], *, draining: Draining) -> None:
        self._layers: Final = tuple(layers)
        self._draining: Final = draining
        self._wrapped: Final[dict[str, tuple[Handler, Handler]]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the wrapped handler of the called method."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        path = handler_call_details.method
        known = self._wrapped.get(path)
        if known is None or known[0] is not handler:
            known = self._wrapped[path] = (handler, self._wrap(path, handler))
        return known[1]

    def _wrap(self, path: str, handler: Handler) -> Handler:
        method = Method(path, bool(handler.request_streaming), bool(handler.response_streaming))
        arounds = [around for layer in self._layers if (around := layer.bind(method))]
        enters = [around.enter for around in arounds if around.enter]
        checks = [around.check for around in arounds if around.check]
        codec = (_tolerant(handler.request_deserializer), handler.response_serializer)
        match method.request_streaming, method.response_streaming:
            case False, False:
                call = _after_checks(_behaviour(handler, "unary_unary"), checks)
                return grpc.unary_unary_rpc_method_handler(_call_within(enters, call), *codec)
            case True, False:
                call = _reading_call(_behaviour(handler, "stream_unary"), checks, self._draining)
                return grpc.stream_unary_rpc_method_handler(_call_within(enters, call), *codec)
            case False, True:
                behaviour = _after_checks(_behaviour(handler, "unary_stream"), checks)
                stream = _interruptible(_generator(behaviour), self._draining)
                return grpc.unary_stream_rpc_method_handler(_stream_within(enters, stream), *codec)
            case _:
                stream = _reading_stream(
                    _behaviour(handler, "stream_stream"), checks, self._draining
                )
                return grpc.stream_stream_rpc_method_handler(_stream_within(enters, stream), *codec)


def _behaviour(handler: Handler, kind: str) -> Behaviour:
    # The stubs describe handlers of the synchronous server; those of grpc.aio look alike.
    return cast("Behaviour", getattr(handler, kind))


class _Malformed:
    """Stands for a message that cannot be decoded, so that the chain can answer for it."""


_MALFORMED: Final = _Malformed()


def _tolerant(decode: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    # An exception in here would reach the caller as UNKNOWN with its text, past every layer.
    if decode is None:
        return None

    def decode_or_mark(data: bytes) -> object:
        try:
            return decode(data)
        except DecodeError:
            return _MALFORMED

    return decode_or_mark


def _run_checks(message: object, checks: Sequence[Check]) -> None:
    if message is _MALFORMED:
        raise InvalidFieldsError.of(
            "", "The request is not a message of this method's type.", rule="wire_format"
        )
    for check in checks:
        check(cast("Message", message))


def _after_checks(behaviour: Behaviour, checks: Sequence[Check]) -> Behaviour:
    """Wrap a behaviour of one request; works for calls and for streams."""

    def checked(request: object, context: Context) -> object:
        _run_checks(request, checks)
        return behaviour(request, context)

    return checked


@asynccontextmanager
async def _checked(
    requests: AsyncIterable[object], checks: Sequence[Check], draining: Draining
) -> AsyncIterator[AsyncIterator[object]]:
    """Give the messages of a request stream, each after its checks, until a drain."""
    # What grpc.aio gives is an async generator, though its type does not say so. Left open by a
    # call that ends early, it would be closed by the garbage collector, in a task of its own.
    raw = cast("Messages", aiter(requests))

    async def messages() -> Messages:
        while True:
            try:
                message = await draining.interruptible(raw.__anext__)
            except StopAsyncIteration:
                return
            _run_checks(message, checks)
            yield message

    async with aclosing(raw), aclosing(messages()) as checked:
        yield checked


def _reading_call(behaviour: Behaviour, checks: Sequence[Check], draining: Draining) -> Call:
    async def call(requests: AsyncIterable[object], context: Context) -> object:
        async with _checked(requests, checks, draining) as messages:
            return await behaviour(messages, context)

    return cast("Call", call)


def _reading_stream(behaviour: Behaviour, checks: Sequence[Check], draining: Draining) -> Stream:
    answer = _generator(behaviour)

    async def stream(requests: AsyncIterable[object], context: Context) -> Messages:
        async with (
            _checked(requests, checks, draining) as messages,
            aclosing(answer(messages, context)) as answers,
        ):
            async for each in answers:
                yield each

    return cast("Stream", stream)


def _generator(behaviour: Behaviour) -> Stream:
    """Give the coroutine style of response streams the shape of a generator."""

    async def generator(request: object, context: Context) -> Messages:
        answer = behaviour(request, context)
        if not hasattr(answer, "__aiter__"):
            await answer
            return
        async with aclosing(answer) as messages:
            async for message in messages:
                yield message

    return generator


def _interruptible(stream: Stream, draining: Draining) -> Stream:
    async def interruptible(request: object, context: Context) -> Messages:
        async with aclosing(stream(request, context)) as messages:
            while True:
                try:
                    message = await draining.interruptible(messages.__anext__)
                except StopAsyncIteration:
                    return
                yield message

    return interruptible


def _call_within(enters: Sequence[Enter], behaviour: Behaviour) -> Call:
    # gRPC runs what is not a coroutine function on a thread, as a handler of the old kind.
    async def call(request: object, context: Context) -> object:
        return await behaviour(request, context)

    wrapped: Call = call
    for enter in reversed(enters):
        wrapped = _one_within(enter, wrapped)
    return wrapped


def _one_within(enter: Enter, call: Call) -> Call:
    async def within(request: object, context: Context) -> object:
        async with enter(context):
            return await call(request, context)

    return within


def _stream_within(enters: Sequence[Enter], stream: Stream) -> Stream:
    # One generator for all layers: each one more would cost every message of the stream.
    async def within(request: object, context: Context) -> Messages:
        async with AsyncExitStack() as stack:
            for enter in enters:
                await stack.enter_async_context(enter(context))
            async with aclosing(stream(request, context)) as messages:
                async for message in messages:
                    yield message

    return within
