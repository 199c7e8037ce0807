"""A server that leaves: calls finish, streams end at a safe point, health says so first."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.inprocess.kit.echo_service import Behaviours, Context, Echo, Stub, authorization
from tests.inprocess.kit.statuses import Refusal, refusal_of

from liftos_kit.testing.server import RunningServer

SHUTTING_DOWN = Refusal(
    code=grpc.StatusCode.UNAVAILABLE,
    message="The server is shutting down; call again.",
    reason="ERROR_REASON_SHUTTING_DOWN",
    domain="liftos.dev",
    retry_seconds=0.1,
)


async def _ending(call: Any) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    return refusal_of(caught.value)


async def test_a_waiting_watch_ends_at_once(
    running: RunningServer, stub: Stub, behaviours: Behaviours
) -> None:
    """It does not keep the server for the whole grace, and is told to come back."""

    async def watch(request: Any, context: Context) -> AsyncIterator[Any]:
        yield request
        await asyncio.Event().wait()

    behaviours.watch = watch
    call = stub.watch(Echo(), metadata=authorization())
    await call.read()
    began = time.monotonic()
    ending, _ = await asyncio.gather(_ending(call), running.server.drain())
    assert ending == SHUTTING_DOWN
    assert time.monotonic() - began < 4


async def test_a_health_watch_does_not_hold_the_server(running: RunningServer) -> None:
    """Watchers of health see NOT_SERVING, then the end, well before the grace is over."""
    async with grpc.aio.insecure_channel(running.target) as channel:
        call = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await call.read()).status == health_pb2.HealthCheckResponse.SERVING
        began = time.monotonic()
        drain = asyncio.ensure_future(running.server.drain())
        assert (await call.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert (await _ending(call)).reason == "ERROR_REASON_SHUTTING_DOWN"
        await drain
        assert time.monotonic() - began < 4


async def test_a_batch_in_work_is_finished_and_acknowledged(
    running: RunningServer, stub: Stub, behaviours: Behaviours
) -> None:
    """A bidirectional stream ends between two batches, never within one."""
    working, finish, committed = asyncio.Event(), asyncio.Event(), list[str]()

    async def chat(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        async for request in requests:
            working.set()
            await finish.wait()
            committed.append(request.text)
            yield request

    behaviours.chat = chat
    call = stub.chat(metadata=authorization())
    await call.write(Echo(text="one"))
    await working.wait()
    drain = asyncio.ensure_future(running.server.drain())
    await call.write(Echo(text="two"))
    await asyncio.sleep(0.05)
    assert committed == []
    finish.set()
    assert (await call.read()).text == "one"
    assert await _ending(call) == SHUTTING_DOWN
    await drain
    assert committed == ["one"]


async def test_a_waiting_upload_ends_at_once(
    running: RunningServer, stub: Stub, behaviours: Behaviours
) -> None:
    """A client stream whose client is silent is told to come back as well."""
    read = asyncio.Event()

    async def collect(requests: AsyncIterator[Any], context: Context) -> Any:
        async for _ in requests:
            read.set()
        return Echo()

    behaviours.collect = collect
    call = stub.collect(metadata=authorization())
    await call.write(Echo())
    await read.wait()
    drain = asyncio.ensure_future(running.server.drain())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert refusal_of(caught.value) == SHUTTING_DOWN
    await drain


async def test_a_call_in_flight_finishes(
    running: RunningServer, stub: Stub, behaviours: Behaviours
) -> None:
    """Unary calls have the drain time; their answers arrive."""
    working, finish = asyncio.Event(), asyncio.Event()

    async def unary(request: Any, context: Context) -> Any:
        working.set()
        await finish.wait()
        return request

    behaviours.unary = unary
    call = stub.read(Echo(text="kept"), metadata=authorization())
    answer = asyncio.ensure_future(_await(call))
    await working.wait()
    drain = asyncio.ensure_future(running.server.drain())
    await asyncio.sleep(0.05)
    finish.set()
    assert (await answer).text == "kept"
    await drain


async def _await(call: Any) -> Any:
    return await call
