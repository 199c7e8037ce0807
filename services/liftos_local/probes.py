"""Cheap questions that only a working process can answer; each raises where it does not."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import asyncpg
import grpc
from google.protobuf import empty_pb2
from google.protobuf.unknown_fields import UnknownFieldSet
from grpc_health.v1 import health_pb2, health_pb2_grpc

Probe = Callable[[], Awaitable[None]]

# A proxy of the environment knows nothing of this machine.
_CHANNEL_OPTIONS: Final = (("grpc.enable_http_proxy", 0),)


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


async def milvus_version(address: str) -> str:
    """Ask for the version, the cheapest call of the Milvus protocol."""
    return (await _ask_milvus(address, "GetVersion"))[0]


async def milvus_collections(address: str) -> list[str]:
    """Ask for the names of all collections."""
    return await _ask_milvus(address, "ShowCollections")


async def _ask_milvus(address: str, method: str) -> list[str]:
    """Call a method without arguments and return the texts of field 2 of the answer.

    The answer is read without the Milvus client, whose import takes longer than the start of
    the whole stack.
    """
    async with grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS) as channel:
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            f"/milvus.proto.milvus.MilvusService/{method}"
        )
        answer = empty_pb2.Empty.FromString(await ask(b"", timeout=5))
    fields = UnknownFieldSet(answer)
    texts = (fields[index] for index in range(len(fields)))
    return [field.data.decode() for field in texts if field.field_number == 2]


def milvus_probe(address: str) -> Probe:
    """Ask for the version."""

    async def probe() -> None:
        await milvus_version(address)

    return probe


def health_probe(address: str, service: str) -> Probe:
    """Ask grpc.health.v1 about one service."""

    async def probe() -> None:
        async with grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS) as channel:
            request = health_pb2.HealthCheckRequest(service=service)
            answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=5)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
            raise ProbeError(f"{service} says {status}")

    return probe


async def life_probe() -> None:
    """Ask nothing: the process is well as long as it lives."""
