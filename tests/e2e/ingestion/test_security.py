"""Who is let in to Ingestion, and what each org can see."""

from collections.abc import AsyncIterator
from types import MappingProxyType

import asyncpg
import grpc
import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from tests.e2e.access_suite import AccessSuite
from tests.e2e.memory.contract_calls import Rpc, exposed_methods

from liftos.ingestion.v1 import source_pb2
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


_DEAD_LETTER = f"orgs/{{org}}/runs/{'0' * 32}/deadLetters/{'0' * 32}"
_SOURCE = {
    "source.kind": source_pb2.SOURCE_KIND_FILES,
    "source.definition": ParseDict(
        {
            "place": {"kind": "local"},
            "files": [{"level": "OUTCOME", "pattern": "*.csv", "format": "csv"}],
            "accounts": [{"account_id": "1", "time_zone": "UTC", "currency_code": "EUR"}],
        },
        Struct(),
    ),
    "source.mapping": ParseDict(
        {
            "level": "OUTCOME",
            "date_basis": "EVENT",
            "columns": {"date": "day", "revenue_micros": "total"},
        },
        Struct(),
    ),
}
_ROUTE = {"alert_route.target_url": "json://hooks.example.com/liftos"}
_SCHEDULE = {"schedule.cron": "0 6 * * *", "schedule.time_zone": "UTC"}


class TestAccess(AccessSuite):
    """Every method of Ingestion."""

    schema = "ingestion"
    kinds = frozenset({(False, False), (False, True)})
    needs = MappingProxyType(
        {
            "ReplayDeadLetters": {"names": [_DEAD_LETTER]},
            "DiscardDeadLetters": {"names": [_DEAD_LETTER]},
            "CreateSchedule": _SCHEDULE,
            "UpdateSchedule": _SCHEDULE,
            "UpsertSource": _SOURCE,
            "CreateAlertRoute": _ROUTE,
        }
    )
