"""Who is let in to Ingestion, and what each org can see."""

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
async def channel(ingestion_server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    """A channel without a token."""
    async with grpc.aio.insecure_channel(ingestion_server.target) as opened:
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


_SCHEDULE = {"schedule.cron": "0 6 * * *", "schedule.time_zone": "UTC"}


class TestAccess(AccessSuite):
    """Every method of Ingestion."""

    schema = "ingestion"
    kinds = frozenset({(False, False), (False, True)})
    needs = MappingProxyType(
        {
            "ReplayDeadLetters": {"filter": "state = OPEN"},
            "DiscardDeadLetters": {"filter": "state = OPEN"},
            "CreateSchedule": _SCHEDULE,
            "UpdateSchedule": _SCHEDULE,
        }
    )
