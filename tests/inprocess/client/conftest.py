"""A fake Memory on a port of this machine, and a client of it."""

from collections.abc import AsyncIterator

import grpc
import pytest
from tests.inprocess.client.fake_memory import FakeMemory, unsigned_token

from liftos.memory.v1 import memory_service_pb2_grpc
from liftos_client import Client, connect


@pytest.fixture
def memory() -> FakeMemory:
    """What the server answers from."""
    return FakeMemory()  # type: ignore[abstract]  # what it lacks is UNIMPLEMENTED


@pytest.fixture
async def target(memory: FakeMemory) -> AsyncIterator[str]:
    """The server's address."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 16 * 1024 * 1024)])
    memory_service_pb2_grpc.add_MemoryServiceServicer_to_server(memory, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(0)


@pytest.fixture
async def client(target: str) -> AsyncIterator[Client]:
    """A client of that server."""
    async with connect(target, token=unsigned_token()) as client:
        yield client
