"""Who is let in to Migration, and what each org can see."""

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
async def channel(migration_server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    """A channel without a token."""
    async with grpc.aio.insecure_channel(migration_server.target) as opened:
        yield opened


@pytest.fixture(scope="module")
async def rpcs(channel: grpc.aio.Channel) -> tuple[Rpc, ...]:
    """All methods of the server."""
    return await exposed_methods(channel)


@pytest.fixture(scope="module")
async def admin(core_database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the owner, whom no policy binds."""
    connection = await asyncpg.connect(core_database.owner_url)
    yield connection
    await connection.close()


_FILTER = {"filter": "state = OPEN"}


class TestAccess(AccessSuite):
    """Every method of Migration."""

    schema = "migration"
    kinds = frozenset({(False, False), (False, True)})
    needs = MappingProxyType(
        {
            "ResolveRejects": _FILTER,
            "WaiveRejects": _FILTER,
            "VerifyReport": {"signature": bytes(64)},
        }
    )
