"""A service made for tests: the four kinds of methods, three roles, one rule, nested names."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from buf.validate import validate_pb2
from liftos.common.v1 import access_pb2
from liftos_kit.testing import server as testing_server

NAME: Final = "liftos.echo.v1.EchoService"
UNGUARDED_NAME: Final = "liftos.echo.v1.UnguardedService"

_Field = descriptor_pb2.FieldDescriptorProto
_METHODS: Final = {
    # name: (role, request stream, response stream)
    "Read": (access_pb2.ROLE_READER, False, False),
    "Write": (access_pb2.ROLE_WRITER, False, False),
    "Administer": (access_pb2.ROLE_ADMIN, False, False),
    "Collect": (access_pb2.ROLE_READER, True, False),
    "Watch": (access_pb2.ROLE_READER, False, True),
    "Chat": (access_pb2.ROLE_READER, True, True),
}


def _build() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="liftos/echo/v1/echo.proto", package="liftos.echo.v1", syntax="proto3"
    )
    file.dependency.extend(["buf/validate/validate.proto", "liftos/common/v1/access.proto"])
    item = file.message_type.add(name="Item")
    item.field.add(name="name", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
    echo = file.message_type.add(name="Echo")
    for number, name in enumerate(("name", "parent", "connection", "query", "text"), start=1):
        echo.field.add(
            name=name, number=number, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL
        )
    count = echo.field.add(
        name="count", number=6, type=_Field.TYPE_INT64, label=_Field.LABEL_OPTIONAL
    )
    count.options.Extensions[validate_pb2.field].int64.gte = 0
    for number, (name, label) in enumerate(
        (("item", _Field.LABEL_OPTIONAL), ("items", _Field.LABEL_REPEATED)), start=7
    ):
        echo.field.add(
            name=name,
            number=number,
            type=_Field.TYPE_MESSAGE,
            type_name=".liftos.echo.v1.Item",
            label=label,
        )
    labels = echo.field.add(
        name="labels", number=9, type=_Field.TYPE_STRING, label=_Field.LABEL_REPEATED
    )
    labels.options.Extensions[validate_pb2.field].repeated.items.string.min_len = 2
    echo.field.add(
        name="request_id", number=10, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL
    )
    echo.field.add(
        name="page_token", number=11, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL
    )
    echo.field.add(name="page_size", number=12, type=_Field.TYPE_INT32, label=_Field.LABEL_OPTIONAL)
    service = file.service.add(name="EchoService")
    for name, (role, request_streaming, response_streaming) in _METHODS.items():
        method = service.method.add(
            name=name,
            input_type=".liftos.echo.v1.Echo",
            output_type=".liftos.echo.v1.Echo",
            client_streaming=request_streaming,
            server_streaming=response_streaming,
        )
        method.options.Extensions[access_pb2.required_role] = role
    unguarded = file.service.add(name="UnguardedService")
    unguarded.method.add(
        name="Open", input_type=".liftos.echo.v1.Echo", output_type=".liftos.echo.v1.Echo"
    )
    return file


_pool = descriptor_pool.Default()
_pool.Add(_build())
Echo: Any = message_factory.GetMessageClass(_pool.FindMessageTypeByName("liftos.echo.v1.Echo"))
Item: Any = message_factory.GetMessageClass(_pool.FindMessageTypeByName("liftos.echo.v1.Item"))

authorization: Final = functools.partial(testing_server.authorization, scopes=("echo",))
"""Metadata of a caller who may call the service."""

Context = grpc.aio.ServicerContext[Any, Any]


async def echo(request: Any, context: Context) -> Any:
    """Answer with the request."""
    return request


async def _join(requests: AsyncIterator[Any], context: Context) -> Any:
    return Echo(text=",".join([each.text async for each in requests]))


async def _repeat(request: Any, context: Context) -> AsyncIterator[Any]:
    for _ in range(request.count):
        yield request


async def _reply(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
    async for request in requests:
        yield request


@dataclass
class Behaviours:
    """What each method does; tests replace what they test."""

    unary: Callable[[Any, Context], Awaitable[Any]] = field(default=echo)
    collect: Callable[[AsyncIterator[Any], Context], Awaitable[Any]] = field(default=_join)
    watch: Callable[[Any, Context], Any] = field(default=_repeat)
    chat: Callable[[AsyncIterator[Any], Context], Any] = field(default=_reply)

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""
        echo = (Echo.FromString, Echo.SerializeToString)
        unary = grpc.unary_unary_rpc_method_handler(self._unary, *echo)
        handlers = {
            **dict.fromkeys(("Read", "Write", "Administer"), unary),
            "Collect": grpc.stream_unary_rpc_method_handler(self._collect, *echo),
            "Watch": grpc.unary_stream_rpc_method_handler(self._watch, *echo),
            "Chat": grpc.stream_stream_rpc_method_handler(self._chat, *echo),
        }
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(NAME, handlers),
                grpc.method_handlers_generic_handler(UNGUARDED_NAME, {"Open": unary}),
            )
        )

    # Looked up late, so that a test may change behaviours while the server runs.
    def _unary(self, request: Any, context: Any) -> Any:
        return self.unary(request, context)

    def _collect(self, requests: Any, context: Any) -> Any:
        return self.collect(requests, context)

    def _watch(self, request: Any, context: Any) -> Any:
        return self.watch(request, context)

    def _chat(self, requests: Any, context: Any) -> Any:
        return self.chat(requests, context)


class Stub:
    """Calls the service over a channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        codec = {
            "request_serializer": Echo.SerializeToString,
            "response_deserializer": Echo.FromString,
        }
        self.read: Any = channel.unary_unary(f"/{NAME}/Read", **codec)
        self.write: Any = channel.unary_unary(f"/{NAME}/Write", **codec)
        self.administer: Any = channel.unary_unary(f"/{NAME}/Administer", **codec)
        self.collect: Any = channel.stream_unary(f"/{NAME}/Collect", **codec)
        self.watch: Any = channel.unary_stream(f"/{NAME}/Watch", **codec)
        self.chat: Any = channel.stream_stream(f"/{NAME}/Chat", **codec)
        self.open: Any = channel.unary_unary(f"/{UNGUARDED_NAME}/Open", **codec)
        self.missing: Any = channel.unary_unary(f"/{NAME}/Missing")
        self.raw: Any = channel.unary_unary(f"/{NAME}/Read")
