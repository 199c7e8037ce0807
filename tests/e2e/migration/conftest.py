"""Migration with real stores: a Core, and the database of a module that moves."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Final

import pytest

from liftos_causal.adapters.module import database as module_database_files
from liftos_causal.sample import fill
from liftos_client import Client, connect
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
from liftos_migration.adapters.postgres import database as migration_database
from liftos_migration.server import application as migration_application
from liftos_migration.settings import MigrationSettings
from liftos_migration.worker import advance_migrations

LAST_DAY: Final = date(2026, 1, 31)
REFERENCE: Final = "CAUSAL_DATABASE_URL"
_CORE: Final = "migration_core_template"
_MODULE: Final = "migration_module_template"
_DAYS: Final = 60


def _beside(work: Callable[[], None]) -> None:
    with ThreadPoolExecutor(1) as executor:
        executor.submit(work).result()


@pytest.fixture(scope="session")
def core_template(stores: Stack) -> str:
    """A database to clone, migrated for Memory and Migration."""

    async def migrate(environment: Mapping[str, str]) -> None:
        for module in (memory_database, migration_database):
            await postgres.migrate(
                environment["LIFTOS_POSTGRES_OWNER_URL"],
                module.schema_files(),
                schema=module.SCHEMA,
            )

    make_template(stores, _CORE, lambda given: _beside(lambda: asyncio.run(migrate(given))))
    return _CORE


@pytest.fixture(scope="session")
def module_template(stores: Stack) -> str:
    """A database to clone, as the Causal module has it, with two months of its sample."""

    async def prepare(environment: Mapping[str, str]) -> None:
        owner_url = environment["LIFTOS_POSTGRES_OWNER_URL"]
        schema = module_database_files.SCHEMA
        await postgres.migrate(owner_url, module_database_files.schema_files(), schema=schema)
        pool = await postgres.create_pool(
            owner_url, application_name="test", minimum=1, maximum=1, schema=schema
        )
        async with pool.acquire() as connection:
            await fill(connection, "acme", end=LAST_DAY, days=_DAYS)
        await pool.close()

    make_template(stores, _MODULE, lambda given: _beside(lambda: asyncio.run(prepare(given))))
    return _MODULE


@pytest.fixture(scope="module")
def core_database(stores: Stack, core_template: str) -> Iterator[TestDatabase]:
    """Core's database for the tests of one module."""
    with fresh_database(stores, core_template) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def module_database(stores: Stack, module_template: str) -> Iterator[TestDatabase]:
    """The module's database for the tests of one module."""
    with fresh_database(stores, module_template) as fresh:
        yield fresh


@pytest.fixture(scope="module")
async def memory_server(core_database: TestDatabase) -> AsyncIterator[RunningServer]:
    """Memory, served by this process with its whole chain."""
    given = {
        key: value
        for key, value in core_database.environment.items()
        if key != "LIFTOS_POSTGRES_OWNER_URL"
    }
    settings = load(
        MemorySettings,
        {**given, "LIFTOS_JWT_SECRET": SECRET, "LIFTOS_DRAIN_SECONDS": "5", "LIFTOS_PORT": "0"},
    )
    server = Server(memory_application(settings))
    try:
        await server.start()
        yield RunningServer(f"{settings.host}:{server.port}", server)
    finally:
        await server.drain()


@pytest.fixture(scope="module")
def migration_settings(
    stores: Stack,
    core_database: TestDatabase,
    module_database: TestDatabase,
    memory_server: RunningServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[MigrationSettings]:
    """Settings of Migration's server and worker, which may read the module's database."""
    snapshots: Path = tmp_path_factory.mktemp("snapshots")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(REFERENCE, stores.postgres_admin_url(module_database.name))
        yield load(
            MigrationSettings,
            {
                "LIFTOS_POSTGRES_URL": core_database.url,
                "LIFTOS_JWT_SECRET": SECRET,
                "LIFTOS_PORT": "0",
                "LIFTOS_DRAIN_SECONDS": "5",
                "LIFTOS_LEASE_SECONDS": "3",
                "LIFTOS_MEMORY_ADDRESS": memory_server.target,
                "LIFTOS_SOURCE_ENVIRONMENT_PREFIXES": "acme:CAUSAL_",
                "LIFTOS_SNAPSHOT_DIRECTORY": str(snapshots),
                "LIFTOS_SNAPSHOT_RESTORE_URL": stores.postgres_admin_url("postgres"),
            },
        )


@pytest.fixture(scope="module")
async def migration_server(
    migration_settings: MigrationSettings,
) -> AsyncIterator[RunningServer]:
    """Migration, served by this process with its whole chain."""
    server = Server(migration_application(migration_settings))
    try:
        await server.start()
        yield RunningServer(f"{migration_settings.host}:{server.port}", server)
    finally:
        await server.drain()


Worker = Callable[[], "asyncio.Task[None]"]


@pytest.fixture
async def working(migration_settings: MigrationSettings) -> AsyncIterator[None]:
    """A worker in this process, for the time of the test."""
    async with worker(migration_settings):
        yield


@asynccontextmanager
async def worker(settings: MigrationSettings) -> AsyncIterator[None]:
    """Run a worker in this process."""
    stop = asyncio.Event()
    task = asyncio.create_task(advance_migrations(settings, stop))
    try:
        yield
    finally:
        stop.set()
        await task


@pytest.fixture
def org() -> str:
    """An org that no other test uses; it may name no source."""
    return f"org-{secrets.token_hex(4)}"


@pytest.fixture(scope="module")
async def migrations(migration_server: RunningServer) -> AsyncIterator[Client]:
    """An administrator of the org whose module moves."""
    token = issue_token(secret=SECRET.encode(), org="acme", subject="ada", roles=["admin"])
    async with connect(migration_server.target, token=token) as client:
        yield client
