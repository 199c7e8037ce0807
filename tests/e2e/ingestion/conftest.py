"""Ingestion with real stores and a real Memory: one database and one Memory a module."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import pytest

from liftos_client import Client, connect
from liftos_ingestion.adapters.postgres import database as ingestion_database
from liftos_ingestion.adapters.postgres.database import SCHEMA
from liftos_kit import postgres
from liftos_kit.auth import issue_token
from liftos_kit.server import Server
from liftos_kit.settings import load
from liftos_kit.testing.server import SECRET, RunningServer
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, fresh_database, make_template
from liftos_memory.adapters.postgres import database as memory_database
from liftos_memory.server import application as memory_application
from liftos_memory.settings import MemorySettings

_TEMPLATE = "ingestion_template"


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
