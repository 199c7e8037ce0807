"""Health shows the real state of the stores."""

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from tests.inprocess.kit.echo_service import NAME, Behaviours

from liftos_kit.health import HealthMonitor, StoreProbe
from liftos_kit.testing.server import running_server

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class _Store:
    """A store that can be broken."""

    def __init__(self) -> None:
        self.problem: Exception | None = None
        self.hangs = False

    async def ask(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.problem is not None:
            raise self.problem


async def _states(servicer: Any, *names: str) -> list[int]:
    return [
        (await servicer.Check(health_pb2.HealthCheckRequest(service=name), None)).status
        for name in names
    ]


async def test_a_service_is_ready_while_the_stores_it_needs_answer() -> None:
    """A required store takes the service along, an optional one only itself, none the process."""
    postgres, milvus = _Store(), _Store()
    servicer = health_aio.HealthServicer()
    monitor = HealthMonitor(
        servicer,
        service_names=[NAME],
        probes=[
            StoreProbe("postgres", postgres.ask, timeout_seconds=0.05),
            StoreProbe("milvus", milvus.ask, is_required=False, timeout_seconds=0.05),
        ],
    )
    names = ("", NAME, "postgres", "milvus")
    await monitor.check()
    assert await _states(servicer, *names) == [SERVING] * 4
    milvus.problem = OSError("gone")
    await monitor.check()
    assert await _states(servicer, *names) == [SERVING, SERVING, SERVING, NOT_SERVING]
    postgres.hangs = True
    await monitor.check()
    assert await _states(servicer, *names) == [SERVING, NOT_SERVING, NOT_SERVING, NOT_SERVING]
    postgres.hangs, milvus.problem = False, None
    await monitor.check()
    assert await _states(servicer, *names) == [SERVING] * 4


async def test_a_server_starts_with_a_store_down_and_says_so() -> None:
    """The first answer of health is already the truth."""
    store = _Store()
    store.problem = OSError("down")
    async with (
        running_server(
            Behaviours().register,
            service_names=[NAME],
            probes=[StoreProbe("postgres", store.ask)],
        ) as running,
        grpc.aio.insecure_channel(running.target) as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        states = [
            (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status
            for name in ("", NAME, "postgres")
        ]
        assert states == [SERVING, NOT_SERVING, NOT_SERVING]
