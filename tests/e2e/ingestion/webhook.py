"""A real target of alerts: an HTTP server on this machine."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

PATH_SECRET = "Zk3yPathToken9"


@dataclass
class Webhook:
    """What it was sent.

    Attributes:
        port: Where it listens.
        status: What it answers.
        messages: What it was sent, in order.
        arrived: Set with each message.
        answering: While it is not set, messages are taken and not answered.
    """

    port: int
    status: str = "200 OK"
    messages: list[Mapping[str, str]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    answering: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """The target of a route that leads here."""
        return f"json://127.0.0.1:{self.port}/{PATH_SECRET}"

    @property
    def titles(self) -> list[str]:
        """Titles of what it was sent."""
        return [message["title"] for message in self.messages]


@asynccontextmanager
async def webhook() -> AsyncIterator[Webhook]:
    """Serve one."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            served.messages.append(json.loads(await reader.readexactly(length)))
            served.arrived.set()
            await served.answering.wait()
            reply = f"HTTP/1.1 {served.status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            writer.write(reply.encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    served = Webhook(server.sockets[0].getsockname()[1])
    served.answering.set()
    async with server:
        yield served
        served.answering.set()
