"""A fake Memory on a port of this machine, and a client of it."""

from collections.abc import AsyncIterator

import pytest
from tests.inprocess.client.fake_memory import FakeMemory, serving, unsigned_token

from liftos_client import Client, connect


@pytest.fixture
def memory() -> FakeMemory:
    """What the server answers from."""
    return FakeMemory()  # type: ignore[abstract]  # what it lacks is UNIMPLEMENTED


@pytest.fixture
async def target(memory: FakeMemory) -> AsyncIterator[str]:
    """The server's address."""
    async with serving(memory) as address:
        yield address


@pytest.fixture
async def client(target: str) -> AsyncIterator[Client]:
    """A client of that server."""
    async with connect(target, token=unsigned_token()) as client:
        yield client
