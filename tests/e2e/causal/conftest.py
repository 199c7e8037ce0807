"""The Causal module on its own store: one filled database for all, one server a module."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import date
from functools import partial
from typing import Any, Final

import asyncpg
import grpc
import pytest

from liftos.causal.v1 import causal_service_pb2_grpc
from liftos_causal.adapters.module.database import SCHEMA, schema_files
from liftos_causal.sample import Sample, fill
from liftos_causal.server import application
from liftos_causal.settings import CausalSettings
from liftos_kit import postgres
from liftos_kit.server import Server
from liftos_kit.settings import load
from liftos_kit.testing.server import SECRET, RunningServer, authorization
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, fresh_database, make_template
from liftos_memory.adapters.postgres import database as memory_database
from liftos_memory.server import application as memory_application
from liftos_memory.settings import MemorySettings

ORG: Final = "acme"
FIRST_DAY: Final = date(2025, 1, 1)
LAST_DAY: Final = date(2026, 1, 31)
_TEMPLATE: Final = "causal_template"


class StubClient:
    """A stub whose calls carry a token."""

    def __init__(self, stub: object, metadata: tuple[tuple[str, str], ...]) -> None:
        self._stub = stub
        self._metadata = metadata

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(getattr(self._stub, name), metadata=self._metadata)


@pytest.fixture(scope="session")
def samples() -> list[Sample]:
    """What the template was filled with; empty before it was made."""
    return []


@pytest.fixture(scope="session")
def causal_template(stores: Stack, samples: list[Sample]) -> str:
    """A database to clone, with thirteen months of the sample."""

    async def run(environment: Mapping[str, str]) -> None:
        owner_url = environment["LIFTOS_POSTGRES_OWNER_URL"]
        await postgres.migrate(owner_url, schema_files(), schema=SCHEMA)
        pool = await postgres.create_pool(
            owner_url, application_name="test", minimum=1, maximum=1, schema=SCHEMA
        )
        async with pool.acquire() as connection:
            days = (LAST_DAY - FIRST_DAY).days + 1
            samples.append(await fill(connection, ORG, end=LAST_DAY, days=days))
        await pool.close()

    def prepare(environment: Mapping[str, str]) -> None:
        with ThreadPoolExecutor(1) as executor:
            executor.submit(asyncio.run, run(environment)).result()

    make_template(stores, _TEMPLATE, prepare)
    return _TEMPLATE


@pytest.fixture(scope="module")
def sample(causal_template: str, samples: list[Sample]) -> Sample:
    """What the database was filled with."""
    return samples[0]


@pytest.fixture(scope="module")
def database(stores: Stack, causal_template: str) -> Iterator[TestDatabase]:
    """A filled database for the tests of one module."""
    with fresh_database(stores, causal_template) as fresh:
        yield fresh


@pytest.fixture(scope="module")
async def admin(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the owner."""
    connection = await asyncpg.connect(database.owner_url)
    yield connection
    await connection.close()


@pytest.fixture(scope="module")
def settings(database: TestDatabase) -> CausalSettings:
    """Settings over the module's database."""
    given = {
        key: value
        for key, value in database.environment.items()
        if key in ("LIFTOS_POSTGRES_URL", "LIFTOS_REDIS_URL")
    }
    # The module's database belongs to itself, not to a role under row-level security.
    given["LIFTOS_POSTGRES_URL"] = database.owner_url
    return load(CausalSettings, {**given, "LIFTOS_PORT": "0", "LIFTOS_JWT_SECRET": SECRET})


@pytest.fixture(scope="module")
async def causal_server(settings: CausalSettings) -> AsyncIterator[RunningServer]:
    """The service, with its whole chain."""
    server = Server(application(settings))
    try:
        await server.start()
        yield RunningServer(f"{settings.host}:{server.port}", server)
    finally:
        await server.drain()


@pytest.fixture(scope="module")
async def causal(causal_server: RunningServer) -> AsyncIterator[Callable[..., Any]]:
    """Clients of the server: `causal("writer").GetModel(request)`."""
    async with grpc.aio.insecure_channel(causal_server.target) as channel:
        stub = causal_service_pb2_grpc.CausalServiceStub(channel)

        def client(*roles: str, org: str = ORG) -> StubClient:
            return StubClient(stub, authorization(org, roles=roles or ("admin",)))

        yield client


@pytest.fixture
def name() -> str:
    """An id that no other test uses."""
    return f"t-{secrets.token_hex(4)}"


@pytest.fixture(scope="module")
async def memory_server(stores: Stack) -> AsyncIterator[RunningServer]:
    """Memory with a database of its own, served by this process."""
    with fresh_database(stores) as database:
        await postgres.migrate(
            database.owner_url, memory_database.schema_files(), schema=memory_database.SCHEMA
        )
        given = {k: v for k, v in database.environment.items() if "OWNER" not in k}
        settings = load(MemorySettings, {**given, "LIFTOS_PORT": "0", "LIFTOS_JWT_SECRET": SECRET})
        server = Server(memory_application(settings))
        try:
            await server.start()
            yield RunningServer(f"{settings.host}:{server.port}", server)
        finally:
            await server.drain()


@asynccontextmanager
async def serving_on_core(
    memory_server: RunningServer, settings: CausalSettings
) -> AsyncIterator[Callable[..., StubClient]]:
    """Serve the module on a Core, with the cache of the other one; yield its clients."""
    assert settings.redis_url is not None
    own = load(
        CausalSettings,
        {
            "LIFTOS_PORT": "0",
            "LIFTOS_STORE": "core",
            "LIFTOS_JWT_SECRET": SECRET,
            "LIFTOS_MEMORY_ADDRESS": memory_server.target,
            "LIFTOS_REDIS_URL": settings.redis_url.get_secret_value(),
        },
    )
    server = Server(application(own))
    try:
        await server.start()
        async with grpc.aio.insecure_channel(f"{own.host}:{server.port}") as channel:
            stub = causal_service_pb2_grpc.CausalServiceStub(channel)

            def client(*roles: str) -> StubClient:
                return StubClient(stub, authorization(ORG, roles=roles or ("admin",)))

            yield client
    finally:
        await server.drain()
