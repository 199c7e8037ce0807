"""Some parts of Ingestion, served by this process with the whole chain around them."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import grpc
from tests.e2e.ingestion.conftest import StubClient

from liftos.ingestion.v1 import ingestion_service_pb2, ingestion_service_pb2_grpc
from liftos_ingestion.adapters.postgres.sources import PostgresSources
from liftos_ingestion.adapters.sources.registry import built_in_sources, own_sources
from liftos_ingestion.server import SERVICE_NAME
from liftos_ingestion.settings import IngestionSettings
from liftos_ingestion.usecases.sources import Catalog
from liftos_kit.server import Application, Server, Services
from liftos_kit.servicer_parts import combine
from liftos_kit.settings import load
from liftos_kit.testing.server import authorization

ClientFactory = Callable[..., Any]

_SERVICE = ingestion_service_pb2.DESCRIPTOR.services_by_name["IngestionService"]


def ingestion_settings(environment: Mapping[str, str], **given: str) -> IngestionSettings:
    """Return the settings of a service over the module's database."""
    kept = {key: value for key, value in environment.items() if key != "LIFTOS_MILVUS_URL"}
    return load(IngestionSettings, {**kept, "LIFTOS_PORT": "0", **given})


def catalog_of(pool: asyncpg.Pool, settings: IngestionSettings) -> Catalog:
    """Return the server's catalogue of sources."""
    return Catalog(
        built_in_sources(settings),
        store=PostgresSources(pool),
        build=own_sources(settings).build,
    )


@asynccontextmanager
async def clients_of(
    settings: IngestionSettings, parts: Sequence[object]
) -> AsyncIterator[ClientFactory]:
    """Serve parts and give clients: `client("acme", "writer").GetAlert(request)`."""
    served = {name for part in parts for name in dir(part)}
    servicer = combine(
        _SERVICE, parts, later=[it.name for it in _SERVICE.methods if it.name not in served]
    )

    def register(server: grpc.aio.Server) -> None:
        ingestion_service_pb2_grpc.add_IngestionServiceServicer_to_server(servicer, server)

    async def opened() -> Services:
        return Services(register=register, probes=(), close=())

    server = Server(
        Application(
            name="liftos-ingestion", settings=settings, service_names=(SERVICE_NAME,), open=opened
        )
    )
    try:
        await server.start()
        async with grpc.aio.insecure_channel(f"{settings.host}:{server.port}") as channel:
            stub = ingestion_service_pb2_grpc.IngestionServiceStub(channel)

            def client(org: str, *roles: str) -> StubClient:
                return StubClient(stub, authorization(org, roles=roles or ("admin",)))

            yield client
    finally:
        await server.drain()
