"""The composition root of Ingestion's server."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import grpc
from redis.asyncio import Redis

from liftos.ingestion.v1 import ingestion_service_pb2, ingestion_service_pb2_grpc
from liftos_ingestion.adapters.credential_vault import KeyringVault
from liftos_ingestion.adapters.memory import MemoryEntryWriter
from liftos_ingestion.adapters.memory_checks import MemoryEntryChecks
from liftos_ingestion.adapters.memory_clients import memory_clients
from liftos_ingestion.adapters.postgres.alerts import PostgresAlerts
from liftos_ingestion.adapters.postgres.clock import PostgresClock
from liftos_ingestion.adapters.postgres.connections import (
    PostgresConnectionOpener,
    PostgresConnections,
)
from liftos_ingestion.adapters.postgres.database import SCHEMA, SCHEMA_VERSION
from liftos_ingestion.adapters.postgres.dead_letters import PostgresDeadLetters
from liftos_ingestion.adapters.postgres.run_views import PostgresRunViews
from liftos_ingestion.adapters.postgres.runs import PostgresRunLedger
from liftos_ingestion.adapters.postgres.schedules import PostgresScheduleStore
from liftos_ingestion.adapters.postgres.sources import PostgresSources
from liftos_ingestion.adapters.postgres.suspensions import PostgresSuspensions
from liftos_ingestion.adapters.redis.rate_governor import RedisRateGovernor
from liftos_ingestion.adapters.sources.own_sources import check_source
from liftos_ingestion.adapters.sources.plugins import plugin_names
from liftos_ingestion.adapters.sources.registry import built_in_sources, own_sources
from liftos_ingestion.domain.alerts import AlertSeverity
from liftos_ingestion.domain.names import ALERTS
from liftos_ingestion.servicer.alerts import AlertsServicer
from liftos_ingestion.servicer.connections import ConnectionsServicer
from liftos_ingestion.servicer.dead_letters import DeadLettersServicer
from liftos_ingestion.servicer.runs import RunsServicer
from liftos_ingestion.servicer.schedules import SchedulesServicer
from liftos_ingestion.servicer.sources import SourcesServicer
from liftos_ingestion.servicer.suspensions import SuspensionsServicer
from liftos_ingestion.settings import IngestionSettings
from liftos_ingestion.source_ports import PlatformSource
from liftos_ingestion.usecases.alerts import Alerts
from liftos_ingestion.usecases.backfills import Backfills
from liftos_ingestion.usecases.connections import ConnectionAdministration
from liftos_ingestion.usecases.dead_letters import DeadLetters
from liftos_ingestion.usecases.planning import Planning
from liftos_ingestion.usecases.previews import Previews
from liftos_ingestion.usecases.quotas import Quotas
from liftos_ingestion.usecases.runs import Runs
from liftos_ingestion.usecases.schedules import Schedules
from liftos_ingestion.usecases.sources import Catalog, SourceAdministration
from liftos_ingestion.usecases.suspensions import Suspensions
from liftos_kit import postgres
from liftos_kit.core.paging import PageTokens
from liftos_kit.health import StoreProbe
from liftos_kit.jobs.postgres_queue import PostgresJobQueue
from liftos_kit.notify.apprise_notifier import apprise_notifier
from liftos_kit.notify.postgres_routes import PostgresRoutes
from liftos_kit.notify.routes import Routes
from liftos_kit.notify.servicer import route_servicer
from liftos_kit.notify.targets import TargetVault
from liftos_kit.server import Application, Services
from liftos_kit.servicer_parts import combine
from liftos_mapping.language import compile_mapping

SERVICE_NAME: Final = "liftos.ingestion.v1.IngestionService"

_REDIS_SECONDS: Final = 1.0


def application(
    settings: IngestionSettings, *, sources: Mapping[str, PlatformSource] | None = None
) -> Application:
    """Return Ingestion, ready to be served.

    Args:
        settings: What its environment says.
        sources: What can be read; the built-in ones by default.
    """
    chosen = built_in_sources(settings) if sources is None else sources
    return Application(
        name="liftos-ingestion",
        settings=settings,
        service_names=(SERVICE_NAME,),
        open=lambda: open_services(settings, chosen),
    )


async def open_services(
    settings: IngestionSettings, sources: Mapping[str, PlatformSource]
) -> Services:
    """Connect to the stores and put the service together.

    Raises:
        SchemaOutdatedError: The database has an older schema.
        StoreUnavailableError: Postgres does not answer.
    """
    assert settings.postgres_url is not None, "checked by load"
    assert settings.redis_url is not None, "checked by load"
    postgres_url = settings.postgres_url.get_secret_value()
    pool = await postgres.create_pool(
        postgres_url,
        application_name="liftos-ingestion",
        minimum=1,
        maximum=settings.postgres_connections,
        schema=SCHEMA,
    )
    await postgres.require_version(pool, SCHEMA_VERSION, schema=SCHEMA)
    redis = Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=_REDIS_SECONDS,
        socket_connect_timeout=_REDIS_SECONDS,
    )
    clock = await PostgresClock.ask(pool)
    closing = asyncio.Event()
    clock_asking = asyncio.create_task(clock.run(closing), name="clock")
    page_tokens = PageTokens(settings.page_token_key)
    clients = memory_clients(settings)
    executor = ThreadPoolExecutor(settings.executor_threads, thread_name_prefix="mapping")
    jobs = PostgresJobQueue(pool, schema=SCHEMA, url=postgres_url)
    ledger = PostgresRunLedger(pool, jobs)
    connections = PostgresConnections(pool)
    vault = KeyringVault(settings.secret_places())
    governor = RedisRateGovernor(redis)
    source_store = PostgresSources(pool)
    catalog = Catalog(
        sources,
        plugins=plugin_names(),
        store=source_store,
        build=own_sources(settings).build,
    )
    opener = PostgresConnectionOpener(pool, vault)
    memory_checks = MemoryEntryChecks(clients.of)
    views = PostgresRunViews(pool, ledger)
    planning = Planning(connections, catalog, clock)
    servicer = combine(
        ingestion_service_pb2.DESCRIPTOR.services_by_name["IngestionService"],
        [
            ConnectionsServicer(
                administration=ConnectionAdministration(
                    store=connections,
                    catalog=catalog,
                    opener=opener,
                    vault=vault,
                    governor=governor,
                ),
                page_tokens=page_tokens,
            ),
            SourcesServicer(
                catalog=catalog,
                administration=SourceAdministration(
                    catalog, source_store, check=check_source, memory=memory_checks
                ),
                previews=Previews(
                    catalog=catalog,
                    opener=opener,
                    governor=governor,
                    read_mapping=compile_mapping,
                    memory=memory_checks,
                    executor=executor,
                    clock=clock,
                ),
                page_tokens=page_tokens,
            ),
            RunsServicer(runs=Runs(views, planning, clock), page_tokens=page_tokens),
            SchedulesServicer(
                schedules=Schedules(PostgresScheduleStore(pool), clock),
                backfills=Backfills(connections, views, planning, catalog, clock),
                quotas=Quotas(governor, sources),
                page_tokens=page_tokens,
            ),
            AlertsServicer(alerts=Alerts(PostgresAlerts(pool)), page_tokens=page_tokens),
            route_servicer(
                ingestion_service_pb2,
                Routes(
                    ALERTS,
                    PostgresRoutes(ALERTS, pool),
                    TargetVault(settings.keyring()),
                    apprise_notifier(settings),
                    check_platforms=catalog.require,
                ),
                page_tokens=page_tokens,
                least_severity=AlertSeverity.INFO,
            ),
            SuspensionsServicer(
                suspensions=Suspensions(
                    PostgresSuspensions(pool, jobs), MemoryEntryWriter(clients.of), clock
                ),
                catalog=catalog,
                page_tokens=page_tokens,
            ),
            DeadLettersServicer(
                dead_letters=DeadLetters(PostgresDeadLetters(pool, jobs)),
                page_tokens=page_tokens,
            ),
        ],
    )

    async def close_clock() -> None:
        closing.set()
        await clock_asking

    async def close_executor() -> None:
        executor.shutdown(wait=False, cancel_futures=True)

    def register(server: grpc.aio.Server) -> None:
        ingestion_service_pb2_grpc.add_IngestionServiceServicer_to_server(servicer, server)

    return Services(
        register=register,
        probes=(
            StoreProbe("postgres", lambda: pool.fetchval("/* ping */ select 1")),
            # Only readings need it, and they wait for it.
            StoreProbe("redis", redis.ping, is_required=False),
        ),
        close=(close_clock, close_executor, clients.close, redis.aclose, pool.close),
    )
