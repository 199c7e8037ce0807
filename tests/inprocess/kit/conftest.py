"""A server with the echo service, and a stub that calls it."""

from collections.abc import AsyncIterator

import grpc
import pytest
from tests.inprocess.kit.echo_service import NAME, Behaviours, Stub

from liftos_kit.testing.server import RunningServer, running_server


@pytest.fixture
def behaviours() -> Behaviours:
    """What the methods do in this test."""
    return Behaviours()


@pytest.fixture
async def running(behaviours: Behaviours) -> AsyncIterator[RunningServer]:
    """A server with settings as by default."""
    async with running_server(behaviours.register, service_names=[NAME]) as server:
        yield server


@pytest.fixture
async def stub(running: RunningServer) -> AsyncIterator[Stub]:
    """Calls that server."""
    async with grpc.aio.insecure_channel(running.target) as channel:
        yield Stub(channel)
