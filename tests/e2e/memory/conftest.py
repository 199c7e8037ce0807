"""Memory with real stores: one database and one server a module."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

import grpc
import pytest

from liftos.memory.v1 import memory_service_pb2_grpc
from liftos_kit import postgres
from liftos_kit.secrets.keyring import generate_key
from liftos_kit.server import Server
from liftos_kit.settings import load
from liftos_kit.testing.server import SECRET, RunningServer, authorization
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, fresh_database, make_template
from liftos_memory.adapters.postgres.database import SCHEMA, schema_files
from liftos_memory.server import application
from liftos_memory.settings import MemorySettings

_TEMPLATE = "memory_template"
_MAXIMUM_MESSAGE_BYTES = 16 * 1024 * 1024


class ClientFactory(Protocol):
    """Makes clients of Memory; each acts for one org with some roles."""

    def __call__(self, org: str, *roles: str) -> Any:
        """Return an object with the methods of the stub; the token travels with each call."""
        ...


class Client:
    """A stub whose calls carry a token."""

    def __init__(self, stub: object, metadata: tuple[tuple[str, str], ...]) -> None:
        self._stub = stub
        self._metadata = metadata

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(getattr(self._stub, name), metadata=self._metadata)


def _migrate(environment: Mapping[str, str]) -> None:
    with ThreadPoolExecutor(1) as executor:
        executor.submit(
            asyncio.run,
            postgres.migrate(
                environment["LIFTOS_POSTGRES_OWNER_URL"], schema_files(), schema=SCHEMA
            ),
        ).result()


@pytest.fixture(scope="session")
def memory_template(stores: Stack) -> str:
    """A migrated database to clone."""
    make_template(stores, _TEMPLATE, _migrate)
    return _TEMPLATE


@pytest.fixture(scope="module")
def database(stores: Stack, memory_template: str) -> Iterator[TestDatabase]:
    """A migrated database for the tests of one module."""
    with fresh_database(stores, memory_template) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def memory_settings(database: TestDatabase) -> MemorySettings:
    """Settings of a server over the module's database, on a free port."""
    environment = {
        name: value
        for name, value in database.environment.items()
        if name != "LIFTOS_POSTGRES_OWNER_URL"
    }
    own = {
        "LIFTOS_PORT": "0",
        "LIFTOS_JWT_SECRET": SECRET,
        "LIFTOS_DRAIN_SECONDS": "5",
        "LIFTOS_SECRET_KEYS": generate_key("test").reveal(),
        # Targets of insight routes are servers of the tests.
        "LIFTOS_NOTIFICATION_PRIVATE_TARGETS": "true",
    }
    return load(MemorySettings, environment | own)


@pytest.fixture(scope="module")
async def memory_server(memory_settings: MemorySettings) -> AsyncIterator[RunningServer]:
    """Memory, served by this process with its whole chain."""
    server = Server(application(memory_settings))
    try:
        await server.start()
        yield RunningServer(f"{memory_settings.host}:{server.port}", server)
    finally:
        await server.drain()


@pytest.fixture(scope="module")
async def memory_client(memory_server: RunningServer) -> AsyncIterator[ClientFactory]:
    """Clients of the module's server: `memory_client("acme", "writer").ListEntries(request)`."""
    options = [("grpc.max_receive_message_length", _MAXIMUM_MESSAGE_BYTES)]
    async with grpc.aio.insecure_channel(memory_server.target, options=options) as channel:
        stub: Any = memory_service_pb2_grpc.MemoryServiceStub(channel)

        def client(org: str, *roles: str) -> Client:
            return Client(stub, authorization(org, roles=roles or ("admin",)))

        yield client


@pytest.fixture
def org() -> str:
    """An org that no other test uses."""
    return f"org-{secrets.token_hex(4)}"
