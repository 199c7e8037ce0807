"""Who is let in to Memory, and what each org can see."""

from collections.abc import AsyncIterator
from types import MappingProxyType

import asyncpg
import grpc
import pytest
from tests.e2e.access_suite import AccessSuite
from tests.e2e.memory.contract_calls import Rpc, exposed_methods

from liftos_kit.testing.server import RunningServer
from liftos_local.testing import TestDatabase


@pytest.fixture(scope="module")
async def channel(memory_server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    """A channel without a token."""
    async with grpc.aio.insecure_channel(memory_server.target) as opened:
        yield opened


@pytest.fixture(scope="module")
async def rpcs(channel: grpc.aio.Channel) -> tuple[Rpc, ...]:
    """All methods of the server."""
    return await exposed_methods(channel)


@pytest.fixture(scope="module")
async def admin(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the owner, whom no policy binds."""
    connection = await asyncpg.connect(database.owner_url)
    yield connection
    await connection.close()


class TestAccess(AccessSuite):
    """Every method of Memory."""

    schema = "memory"
    needs = MappingProxyType(
        {"CreateInsightRoute": {"insight_route.target_url": "json://hooks.example.com/liftos"}}
    )
    kinds = frozenset({(False, False), (False, True), (True, True)})
