"""The image's health check tells a well process from a sick one, in plaintext, TLS and mTLS."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
import trustme
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tests.deploy.chart import REPOSITORY

SCRIPT = REPOSITORY / "deploy" / "docker" / "healthcheck.py"
SERVICE = "liftos.memory.v1.MemoryService"
Status = health_pb2.HealthCheckResponse


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on, held so that nobody else can take it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@asynccontextmanager
async def health_server(
    credentials: grpc.ServerCredentials | None = None,
) -> AsyncIterator[tuple[int, health.aio.HealthServicer]]:
    """A server whose process is well and whose Memory service is not; yields its port."""
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    await servicer.set(SERVICE, Status.NOT_SERVING)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield port, servicer
    finally:
        await server.stop(None)


async def check(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the script as the container does; its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        *arguments,
        env={"PATH": os.environ["PATH"], **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_process_and_service_are_asked_apart() -> None:
    """The process is well while its stores are not, and becomes ready when they answer."""
    async with health_server() as (port, servicer):
        environment = {"LIFTOS_PORT": str(port)}
        assert await check(**environment) == (0, "")
        code, said = await check("--service", SERVICE, **environment)
        assert code == 1
        assert "NOT_SERVING" in said
        await servicer.set(SERVICE, Status.SERVING)
        assert await check("--service", SERVICE, **environment) == (0, "")


async def test_unknown_service_is_not_healthy() -> None:
    """A misspelt health name fails instead of passing for the process."""
    async with health_server() as (port, _):
        code, said = await check("--service", "nobody", LIFTOS_PORT=str(port))
        assert (code, "NOT_FOUND" in said) == (1, True)


async def test_dead_process_is_reported_in_time(closed_port: int) -> None:
    """Nobody listening is a failure within the timeout, not a hang."""
    async with asyncio.timeout(15):
        code, said = await check("--timeout-seconds", "0.5", LIFTOS_PORT=str(closed_port))
    assert code == 1
    assert str(closed_port) in said


@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mtls"])
async def test_tls_is_spoken_with_the_served_certificate(tmp_path: Path, *, mutual: bool) -> None:
    """The certificate that the pod serves is enough to ask it, also where clients show one."""
    authority = trustme.CA()
    issued = authority.issue_cert("*.memory.example.com", "memory.example.com")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    (tmp_path / "tls.crt").write_bytes(chain)
    (tmp_path / "tls.key").write_bytes(issued.private_key_pem.bytes())
    credentials = grpc.ssl_server_credentials(
        [(issued.private_key_pem.bytes(), chain)],
        root_certificates=authority.cert_pem.bytes() if mutual else None,
        require_client_auth=mutual,
    )
    environment = {
        "LIFTOS_TLS_CERTIFICATE_FILE": str(tmp_path / "tls.crt"),
        "LIFTOS_TLS_KEY_FILE": str(tmp_path / "tls.key"),
    }
    if mutual:
        environment["LIFTOS_TLS_CLIENT_CA_FILE"] = str(tmp_path / "ca.crt")
    async with health_server(credentials) as (port, _):
        assert await check(LIFTOS_PORT=str(port), **environment) == (0, "")
        code, _said = await check("--timeout-seconds", "1", LIFTOS_PORT=str(port))
        assert code == 1


async def test_worker_is_asked_for_its_metrics(closed_port: int) -> None:
    """A worker is well while it answers HTTP on its metrics port, and not once it is gone."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await check("--metrics", LIFTOS_METRICS_PORT=str(port)) == (0, "")
    code, said = await check("--metrics", LIFTOS_METRICS_PORT=str(closed_port))
    assert (code, "/metrics" in said) == (1, True)
