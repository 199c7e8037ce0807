"""What happens with more calls, and longer ones, than the server takes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.inprocess.kit.echo_service import NAME, Behaviours, Context, Echo, Stub, authorization
from tests.inprocess.kit.statuses import refusal_of

from liftos_kit.core.errors import OverloadedError
from liftos_kit.deadline import remaining_seconds
from liftos_kit.interceptors.limits import Limiter
from liftos_kit.testing.server import running_server, settings_for_tests


class _Gate:
    """A handler that waits until it is opened."""

    def __init__(self) -> None:
        self.entered = asyncio.Semaphore(0)
        self.open = asyncio.Event()

    async def unary(self, request: Any, _: Context) -> Any:
        self.entered.release()
        await self.open.wait()
        return request

    async def watch(self, request: Any, _: Context) -> AsyncIterator[Any]:
        self.entered.release()
        yield request
        await self.open.wait()


async def test_a_full_server_refuses_calls_but_answers_health() -> None:
    """The limit is told with a time to come back, and probes are exempt from it."""
    gate = _Gate()
    settings = settings_for_tests(maximum_concurrent_calls=2, drain_seconds=1)
    behaviours = Behaviours(unary=gate.unary)
    async with (
        running_server(behaviours.register, service_names=[NAME], settings=settings) as running,
        grpc.aio.insecure_channel(running.target) as channel,
    ):
        stub = Stub(channel)
        metadata = authorization()
        held = [asyncio.ensure_future(_await(stub.read(Echo(), metadata=metadata))) for _ in "ab"]
        for _ in held:
            await gate.entered.acquire()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.read(Echo(), metadata=metadata)
        refusal = refusal_of(caught.value)
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusal.reason == "ERROR_REASON_SERVER_OVERLOADED"
        assert refusal.metadata == {"limit": "concurrent_calls=2"}
        assert refusal.retry_seconds == 1.0
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", NAME):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        gate.open.set()
        assert [Echo(), Echo()] == await asyncio.gather(*held)
        await stub.read(Echo(), metadata=metadata)


async def _await(call: Any) -> Any:
    return await call


async def test_open_streams_do_not_take_the_places_of_calls() -> None:
    """As many watches as the limit allows leave room for calls; one more watch is refused."""
    gate = _Gate()
    settings = settings_for_tests(maximum_concurrent_calls=1, drain_seconds=1)
    behaviours = Behaviours(watch=gate.watch)
    async with (
        running_server(behaviours.register, service_names=[NAME], settings=settings) as running,
        grpc.aio.insecure_channel(running.target) as channel,
    ):
        stub = Stub(channel)
        metadata = authorization()
        watch = stub.watch(Echo(), metadata=metadata)
        await watch.read()
        await stub.read(Echo(), metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.watch(Echo(), metadata=metadata).read()
        assert refusal_of(caught.value).metadata == {"limit": "concurrent_streams=1"}
        # A caller that leaves gives its place back.
        watch.cancel()
        await _eventually(stub, metadata)
        gate.open.set()


async def _eventually(stub: Stub, metadata: Any) -> None:
    while True:
        call = stub.watch(Echo(), metadata=metadata)
        try:
            await call.read()
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017
        else:
            call.cancel()
            return


async def test_the_limiter_hands_places_over_in_order() -> None:
    """Who waits longest is next, who gives up is forgotten, and no place is lost."""
    limiter = Limiter("test", maximum=1, wait_seconds=30)
    order: list[str] = []

    async def work(name: str) -> None:
        async with limiter:
            order.append(name)
            await asyncio.sleep(0)

    await limiter.__aenter__()
    first, leaver = asyncio.ensure_future(work("first")), None
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError):
        await limiter.__aenter__()
    await limiter.__aexit__(None, None, None)
    await first
    await limiter.__aenter__()
    leaver = asyncio.ensure_future(work("leaver"))
    await asyncio.sleep(0)
    leaver.cancel()
    await asyncio.gather(leaver, return_exceptions=True)
    second = asyncio.ensure_future(work("second"))
    await asyncio.sleep(0)
    await limiter.__aexit__(None, None, None)
    await second
    assert order == ["first", "second"]
    assert limiter.in_flight == 0


async def test_waiting_in_vain_is_refused() -> None:
    """The wait for a place is bounded, and leaves nothing behind."""
    limiter = Limiter("test", maximum=1, wait_seconds=0.01)
    await limiter.__aenter__()
    with pytest.raises(OverloadedError):
        await limiter.__aenter__()
    await limiter.__aexit__(None, None, None)
    assert limiter.in_flight == 0


async def _forever(request: Any, context: Context) -> Any:
    await asyncio.Event().wait()


async def test_a_call_without_a_deadline_gets_one() -> None:
    """The default ends a call that would never end, with the reason and the time it had."""
    settings = settings_for_tests(default_deadline_seconds=0.05, drain_seconds=1)
    behaviours = Behaviours(unary=_forever)
    async with (
        running_server(behaviours.register, service_names=[NAME], settings=settings) as running,
        grpc.aio.insecure_channel(running.target) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await Stub(channel).read(Echo(), metadata=authorization())
        refusal = refusal_of(caught.value)
        assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert refusal.reason == "ERROR_REASON_DEADLINE_EXCEEDED"
        assert refusal.metadata == {"deadline_seconds": "0.05"}


async def test_each_call_has_the_whole_default() -> None:
    """A call that came later ends later, and one that ended in time is left alone."""
    settings = settings_for_tests(default_deadline_seconds=0.2, drain_seconds=1)
    release = asyncio.Event()

    async def unary(request: Any, context: Context) -> Any:
        if request.text == "waits":
            await release.wait()
        return request

    behaviours = Behaviours(unary=unary)
    async with (
        running_server(behaviours.register, service_names=[NAME], settings=settings) as running,
        grpc.aio.insecure_channel(running.target) as channel,
    ):
        stub = Stub(channel)
        loop = asyncio.get_running_loop()
        await stub.read(Echo(), metadata=authorization())
        for _ in "ab":
            began = loop.time()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.read(Echo(text="waits"), metadata=authorization())
            assert refusal_of(caught.value).reason == "ERROR_REASON_DEADLINE_EXCEEDED"
            assert loop.time() - began >= 0.19
            await asyncio.sleep(0.1)
        release.set()
        await stub.read(Echo(text="waits"), metadata=authorization())


async def test_the_callers_deadline_cancels_the_handler(stub: Stub, behaviours: Behaviours) -> None:
    """A deadline that passes ends the work on the server as well."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def unary(request: Any, context: Context) -> Any:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    behaviours.unary = unary
    for seconds in (0.1, 1.0, 10.0):  # on a busy machine the first may pass before the work begins
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.read(Echo(), metadata=authorization(), timeout=seconds)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        if begun.is_set():
            break
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_timeout_of_the_handlers_own_is_a_fault(stub: Stub, behaviours: Behaviours) -> None:
    """Only the call's deadline is DEADLINE_EXCEEDED; a stray TimeoutError is a bug."""

    async def unary(request: Any, context: Context) -> Any:
        raise TimeoutError

    behaviours.unary = unary
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.read(Echo(), metadata=authorization())
    assert caught.value.code() is grpc.StatusCode.INTERNAL


async def test_the_time_left_is_known_to_what_the_call_calls(
    stub: Stub, behaviours: Behaviours
) -> None:
    """It is the caller's deadline where there is one, else the default; watches have none."""
    seen: list[float | None] = []

    async def unary(request: Any, context: Context) -> Any:
        seen.append(remaining_seconds())
        return request

    async def watch(request: Any, context: Context) -> AsyncIterator[Any]:
        seen.append(remaining_seconds())
        yield request

    behaviours.unary, behaviours.watch = unary, watch
    await stub.read(Echo(), metadata=authorization(), timeout=9)
    await stub.read(Echo(), metadata=authorization())
    async for _ in stub.watch(Echo(), metadata=authorization()):
        pass
    theirs, default, none = seen
    assert theirs is not None
    assert default is not None
    assert 8 < theirs < 9.1  # the wire rounds up
    assert 29 < default <= 30
    assert none is None
    assert remaining_seconds(default=5) == 5
