"""Ingestion with real stores and a real Memory: one database and one Memory a module."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import asyncpg
import grpc
import pytest
from redis.asyncio import Redis
from tests.e2e.ingestion.readings import Harness, ScriptedSource, SilentQueue

from liftos.ingestion.v1 import ingestion_service_pb2_grpc
from liftos_client import Client, connect
from liftos_ingestion.adapters.memory import MemoryEntryWriter
from liftos_ingestion.adapters.postgres import database as ingestion_database
from liftos_ingestion.adapters.postgres.database import SCHEMA
from liftos_ingestion.adapters.postgres.runs import PostgresRunLedger
from liftos_ingestion.adapters.redis.rate_governor import RedisRateGovernor
from liftos_ingestion.server import application as ingestion_application
from liftos_ingestion.settings import IngestionSettings
from liftos_kit import postgres
from liftos_kit.auth import issue_token
from liftos_kit.secrets.keyring import generate_key
from liftos_kit.server import Server
from liftos_kit.settings import load
from liftos_kit.testing.server import SECRET, RunningServer, authorization
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, fresh_database, make_template
from liftos_memory.adapters.postgres import database as memory_database
from liftos_memory.server import application as memory_application
from liftos_memory.settings import MemorySettings

_TEMPLATE = "ingestion_template"


class StubClient:
    """A stub whose calls carry a token."""

    def __init__(self, stub: object, metadata: tuple[tuple[str, str], ...]) -> None:
        self._stub = stub
        self._metadata = metadata

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(getattr(self._stub, name), metadata=self._metadata)


def _migrate(environment: Mapping[str, str]) -> None:
    async def run() -> None:
        for module in (memory_database, ingestion_database):
            await postgres.migrate(
                environment["LIFTOS_POSTGRES_OWNER_URL"],
                module.schema_files(),
                schema=module.SCHEMA,
            )

    with ThreadPoolExecutor(1) as executor:
        executor.submit(asyncio.run, run()).result()


@pytest.fixture(scope="session")
def ingestion_template(stores: Stack) -> str:
    """A database to clone, migrated for Memory and Ingestion."""
    make_template(stores, _TEMPLATE, _migrate)
    return _TEMPLATE


@pytest.fixture(scope="module")
def database(stores: Stack, ingestion_template: str) -> Iterator[TestDatabase]:
    """A migrated database for the tests of one module."""
    with fresh_database(stores, ingestion_template) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def environment(database: TestDatabase) -> Mapping[str, str]:
    """Variables of a service over the module's database, without those of the owner."""
    given = {k: v for k, v in database.environment.items() if k != "LIFTOS_POSTGRES_OWNER_URL"}
    return given | {"LIFTOS_JWT_SECRET": SECRET, "LIFTOS_DRAIN_SECONDS": "5"}


@pytest.fixture(scope="module")
async def memory_server(environment: Mapping[str, str]) -> AsyncIterator[RunningServer]:
    """Memory, served by this process with its whole chain."""
    settings = load(MemorySettings, {**environment, "LIFTOS_PORT": "0"})
    server = Server(memory_application(settings))
    try:
        await server.start()
        yield RunningServer(f"{settings.host}:{server.port}", server)
    finally:
        await server.drain()


@pytest.fixture(scope="module")
async def pool(database: TestDatabase) -> AsyncIterator[asyncpg.Pool]:
    """Connections of Ingestion, under row-level security."""
    opened = await postgres.create_pool(
        database.url, application_name="test", minimum=1, maximum=8, schema=SCHEMA
    )
    yield opened
    await opened.close()


@pytest.fixture
def org() -> str:
    """An org that no other test uses."""
    return f"org-{secrets.token_hex(4)}"


@pytest.fixture
async def memory(memory_server: RunningServer, org: str) -> AsyncIterator[Client]:
    """A client of Memory for the org of the test."""
    async with connect(
        memory_server.target, token=issue_token(secret=SECRET.encode(), org=org)
    ) as it:
        yield it


@pytest.fixture(scope="module")
def scripted() -> ScriptedSource:
    """The source of the module's server."""
    return ScriptedSource()


@pytest.fixture(scope="module")
async def ingestion_server(
    environment: Mapping[str, str], memory_server: RunningServer, scripted: ScriptedSource
) -> AsyncIterator[RunningServer]:
    """Ingestion, served by this process with its whole chain and a scripted source."""
    given = {
        "LIFTOS_PORT": "0",
        "LIFTOS_MEMORY_ADDRESS": memory_server.target,
        "LIFTOS_SECRET_KEYS": generate_key("test").reveal(),
    }
    settings = load(
        IngestionSettings,
        {k: v for k, v in environment.items() if k != "LIFTOS_MILVUS_URL"} | given,
    )
    server = Server(ingestion_application(settings, sources={"meta": scripted}))
    try:
        await server.start()
        yield RunningServer(f"{settings.host}:{server.port}", server)
    finally:
        await server.drain()


@pytest.fixture(scope="module")
async def ingestion_client(
    ingestion_server: RunningServer,
) -> AsyncIterator[Callable[..., Any]]:
    """Clients of the module's server: `ingestion_client("acme", "writer").GetRun(request)`."""
    async with grpc.aio.insecure_channel(ingestion_server.target) as channel:
        stub = ingestion_service_pb2_grpc.IngestionServiceStub(channel)

        def client(org: str, *roles: str) -> StubClient:
            return StubClient(stub, authorization(org, roles=roles or ("admin",)))

        yield client


@pytest.fixture
async def harness(
    pool: asyncpg.Pool, memory: Client, org: str, stores: Stack
) -> AsyncIterator[Harness]:
    """A worker over the org whose source answers what the test says."""
    redis = Redis.from_url(stores.environment["LIFTOS_REDIS_URL"])
    yield Harness(
        org=org,
        source=ScriptedSource(),
        ledger=PostgresRunLedger(pool, SilentQueue()),
        writer=MemoryEntryWriter(lambda _: memory),
        pool=pool,
        governor=RedisRateGovernor(redis),
    )
    await redis.aclose()
