"""HTTP for the faces: an answer is a value, and so is the way in which it is delivered."""

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final, Self, assert_never

from aiohttp import web

from liftos_platforms.faults import FaultKind

JSON: Final = "application/json; charset=UTF-8"
HTML: Final = "text/html; charset=utf-8"


class Delivery(Enum):
    """How an answer reaches its caller."""

    WHOLE = "whole"
    CUT_OFF = "cut_off"
    """Chunked, and broken off after half of the bytes."""
    LENGTH_WRONG = "length_wrong"
    """With a Content-Length beyond the bytes that come."""
    RESET = "reset"
    """Not at all: the connection is reset."""
    NEVER = "never"
    """Not at all: nothing comes until the caller hangs up."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a face answers."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    delivery: Delivery = Delivery.WHOLE

    @classmethod
    def json(cls, value: object, *, status: int = 200, content_type: str = JSON) -> Self:
        """Answer a value as JSON."""
        return cls(status, json.dumps(value, separators=(",", ":")).encode(), content_type)


_PAGE: Final = (
    "<!DOCTYPE html><html><head><title>{0}</title></head><body><h1>{0}</h1>"
    "<p>Something went wrong. Please try again later.</p></body></html>"
)


def page(status: int, title: str) -> Answer:
    """A page for people, as proxies in front of a platform send it."""
    return Answer(status, _PAGE.format(title).encode(), HTML)


_STRUCK_BEFORE: Final = MappingProxyType(
    {
        FaultKind.CONNECTION_RESET: Answer(0, b"", delivery=Delivery.RESET),
        FaultKind.ANSWER_NEVER_COMES: Answer(0, b"", delivery=Delivery.NEVER),
        FaultKind.ANSWER_IS_HTML: page(200, "Sorry"),
        FaultKind.ANSWER_IS_EMPTY: Answer(200, b""),
        FaultKind.BAD_GATEWAY: page(502, "502 Bad Gateway"),
        FaultKind.SERVICE_UNAVAILABLE: page(503, "503 Service Unavailable"),
        FaultKind.GATEWAY_TIMEOUT: page(504, "504 Gateway Timeout"),
        FaultKind.ORIGIN_TIMEOUT: page(524, "524: A timeout occurred"),
    }
)


def struck_before(kind: FaultKind) -> Answer | None:
    """The answer of a fault that keeps a call from being handled, if it is one of HTTP's own."""
    return _STRUCK_BEFORE.get(kind)


def delivery_of(kind: FaultKind) -> Delivery:
    """How the answer of a call that was handled reaches its caller under a fault."""
    match kind:
        case FaultKind.ANSWER_LOST:
            return Delivery.RESET
        case FaultKind.ANSWER_CUT_OFF:
            return Delivery.CUT_OFF
        case FaultKind.ANSWER_LENGTH_WRONG:
            return Delivery.LENGTH_WRONG
        case _:
            return Delivery.WHOLE


async def deliver(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Send an answer the way that it says."""
    headers = {**answer.headers, "Content-Type": answer.content_type}
    match answer.delivery:
        case Delivery.WHOLE:
            return web.Response(status=answer.status, body=answer.body, headers=headers)
        case Delivery.CUT_OFF:
            response = web.StreamResponse(status=answer.status, headers=headers)
            response.enable_chunked_encoding()
            await response.prepare(request)
            await response.write(answer.body[: len(answer.body) // 2] or b"{")
            _hang_up(request)
            return response
        case Delivery.LENGTH_WRONG:
            promised = {**headers, "Content-Length": str(len(answer.body) + 512)}
            response = web.StreamResponse(status=answer.status, headers=promised)
            await response.prepare(request)
            await response.write(answer.body)
            _hang_up(request)
            return response
        case Delivery.RESET:
            _reset(request)
            return web.Response(status=500)
        case Delivery.NEVER:
            # The server cancels its handlers when their caller hangs up.
            await asyncio.Event().wait()
            return web.Response(status=500)
        case _:
            assert_never(answer.delivery)


def _hang_up(request: web.Request) -> None:
    """Close after what was written has gone out, without the end that was promised."""
    if request.transport is not None:
        request.transport.close()


def _reset(request: web.Request) -> None:
    transport = request.transport
    if transport is None:
        return
    raw = transport.get_extra_info("socket")
    if raw is not None:
        # Zero linger turns the close into a reset, which callers see as a broken connection.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class HttpServer:
    """An aiohttp application on a port."""

    __slots__ = ("_app", "_runner", "port")

    def __init__(self, app: web.Application) -> None:
        self._app = app
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one."""
        runner = web.AppRunner(
            self._app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await runner.setup()
        site = web.TCPSite(runner, host, port)
        await site.start()
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and hang up on everyone."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
            self.port = 0
