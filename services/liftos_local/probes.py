"""Cheap questions that only a working process can answer; each raises where it does not."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import asyncpg
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

Probe = Callable[[], Awaitable[None]]

_MILVUS_VERSION_METHOD: Final = "/milvus.proto.milvus.MilvusService/GetVersion"


class ProbeError(Exception):
    """A process answered, and said that it is not well."""


class PostgresProbe:
    """Asks over one connection that stays open, since connecting costs more than asking."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: asyncpg.Connection | None = None

    async def __call__(self) -> None:
        """Run a query; connect first where the last connection is gone."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self._url, timeout=5)
        try:
            await self._connection.execute("select 1")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            self._connection.terminate()
            self._connection = None
            raise

    async def close(self) -> None:
        """Close the connection, so that Postgres may stop."""
        if self._connection is not None:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await self._connection.close(timeout=1)


async def redis_command(host: str, port: int, password: str, command: str) -> str:
    """Send one inline command as an authenticated client and return the whole answer."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"AUTH {password}\r\n{command}\r\nQUIT\r\n".encode())
        answer = (await reader.read(-1)).decode("utf-8", "replace")
    finally:
        writer.close()
    accepted, _, rest = answer.partition("\r\n")
    if accepted != "+OK":
        raise ProbeError(f"Redis refused the password: {accepted}")
    return rest.removesuffix("+OK\r\n")


def redis_probe(host: str, port: int, password: str) -> Probe:
    """Ask for a PING."""

    async def probe() -> None:
        answer = await redis_command(host, port, password, "PING")
        if not answer.startswith("+PONG"):
            raise ProbeError(f"PING answered {answer.strip()!r}")

    return probe


async def milvus_version(address: str, *, timeout_seconds: float = 5.0) -> str:
    """Ask for the version, the cheapest call of the Milvus protocol.

    The answer is read without the Milvus client, whose import takes longer than the start of
    the whole stack.
    """
    async with grpc.aio.insecure_channel(address) as channel:
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            _MILVUS_VERSION_METHOD
        )
        answer: bytes = await ask(b"", timeout=timeout_seconds, wait_for_ready=False)
    # The version is the last field and plain ASCII.
    return answer[answer.rfind(b"\x12") + 2 :].decode("ascii", "replace")


def milvus_probe(address: str) -> Probe:
    """Ask for the version."""

    async def probe() -> None:
        await milvus_version(address)

    return probe


def health_probe(address: str, service: str) -> Probe:
    """Ask grpc.health.v1 about one service."""

    async def probe() -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            request = health_pb2.HealthCheckRequest(service=service)
            answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=5)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
            raise ProbeError(f"{service} says {status}")

    return probe


async def life_probe() -> None:
    """Ask nothing: the process is well as long as it lives."""
