"""A platform for tests: a real HTTP server on this machine that answers, and fails, as it is told.

It needs nothing but the standard library, so that the package of a plug-in can use it.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from liftos_ingestion.testing.source_conformance import PlatformFault, RecordedCall

RETRY_AFTER_SECONDS: Final = 17


@dataclass(frozen=True, slots=True)
class FakeRequest:
    """What the platform was asked.

    Attributes:
        method, path: Of the request.
        query: The last value of each name.
        headers: By lower-case name.
        body: As it came.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class FakeAnswer:
    """What the platform answers where a status or headers matter."""

    status: int
    body: object = None
    headers: Mapping[str, str] | None = None


Answering: TypeAlias = Callable[[FakeRequest], object]
"""Returns a `FakeAnswer`, or what is answered as JSON with status 200."""


class FakePlatform:
    """The server; use it in `with`.

    Args:
        answer: What it answers, in a thread of its own.
    """

    def __init__(self, answer: Answering) -> None:
        self._answer = answer
        self._fault: PlatformFault | None = None
        self._released = threading.Event()
        self.calls: Final[list[RecordedCall]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def broken(self, fault: PlatformFault) -> Iterator[None]:
        """Fail in one way for a while."""
        self._fault = fault
        self._released.clear()
        try:
            yield
        finally:
            self._fault = None
            self._released.set()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        platform = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # An answer in one piece, or each would wait for the other side's acknowledgement.
            wbufsize = -1

            def do_GET(self) -> None:
                platform._serve(self)

            do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                """Tell nothing: what was asked is in `calls`."""

        return Handler

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        size = int(handler.headers.get("content-length") or 0)
        request = FakeRequest(
            handler.command,
            parts.path,
            dict(parse_qsl(parts.query)),
            {name.lower(): value for name, value in handler.headers.items()},
            handler.rfile.read(size),
        )
        self.calls.append(RecordedCall(request.method, request.path))
        match self._fault:
            case None:
                found = self._answer(request)
                answer = found if isinstance(found, FakeAnswer) else FakeAnswer(200, found)
                _send(handler, answer.status, _json(answer.body), answer.headers or {})
            case PlatformFault.UNAVAILABLE:
                _send(handler, 503, b"", {})
            case PlatformFault.REJECTED:
                _send(handler, 401, b"{}", {})
            case PlatformFault.LIMITED:
                _send(handler, 429, b"{}", {"Retry-After": str(RETRY_AFTER_SECONDS)})
            case PlatformFault.GARBLED:
                _send(handler, 200, b"<!DOCTYPE html><title>Just a moment...</title>", {})
            case PlatformFault.MOVED:
                _send(handler, 302, b"", {"Location": "http://127.0.0.1:1/elsewhere"})
            case PlatformFault.TRUNCATED:
                handler.send_response(200)
                handler.send_header("Content-Length", "1000")
                handler.end_headers()
                handler.wfile.write(b'{"rows": [')
                handler.close_connection = True
            case PlatformFault.SILENT:
                self._released.wait(60)
                handler.close_connection = True


def _json(body: object) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def _send(
    handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: Mapping[str, str]
) -> None:
    handler.send_response(status)
    for name, value in {"Content-Type": "application/json", **headers}.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)
