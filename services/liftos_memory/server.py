"""The composition root of Memory's server: the one place that names concrete adapters."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import grpc
from redis.asyncio import Redis

from liftos.memory.v1 import memory_service_pb2, memory_service_pb2_grpc
from liftos_kit import postgres, telemetry
from liftos_kit.core.clock import SystemClock
from liftos_kit.core.paging import PageTokens
from liftos_kit.health import StoreProbe
from liftos_kit.notify.apprise_notifier import apprise_notifier
from liftos_kit.notify.postgres_routes import PostgresRoutes
from liftos_kit.notify.routes import Routes
from liftos_kit.notify.servicer import route_servicer
from liftos_kit.notify.targets import TargetVault
from liftos_kit.server import Application, Services
from liftos_kit.servicer_parts import combine
from liftos_memory.adapters.embedders import open_embedder
from liftos_memory.adapters.http_wording import open_wording
from liftos_memory.adapters.measured_embedder import MeasuredEmbedder
from liftos_memory.adapters.milvus import MilvusDocumentIndex
from liftos_memory.adapters.postgres.changes import PostgresChangeStore
from liftos_memory.adapters.postgres.database import SCHEMA, SCHEMA_VERSION, Database
from liftos_memory.adapters.postgres.digests import PostgresDigestStore
from liftos_memory.adapters.postgres.documents import PostgresDocumentStore
from liftos_memory.adapters.postgres.entries import PostgresEntryStore
from liftos_memory.adapters.postgres.evaluation import PostgresDocumentSamples
from liftos_memory.adapters.postgres.exchange_rates import PostgresRateStore
from liftos_memory.adapters.postgres.insight_routes import begin_route_write
from liftos_memory.adapters.postgres.insights import PostgresInsightStore
from liftos_memory.adapters.postgres.metrics import PostgresMetricsStore
from liftos_memory.adapters.postgres.objects import PostgresObjectStore
from liftos_memory.adapters.postgres.org import PostgresOrgStore
from liftos_memory.adapters.postgres.panel import PostgresPanelStore
from liftos_memory.adapters.postgres.records import PostgresRecordStore
from liftos_memory.adapters.postgres.states import PostgresOrgStates
from liftos_memory.adapters.program_digest import data_set_libraries, program_digest
from liftos_memory.adapters.redis_cache import RedisTier
from liftos_memory.domain.byte_cache import ByteCache
from liftos_memory.domain.cache_statistics import CacheResult
from liftos_memory.domain.fusion import SearchMode
from liftos_memory.domain.insights import INSIGHTS
from liftos_memory.servicer.cache import CacheServicer
from liftos_memory.servicer.calendar import CalendarServicer
from liftos_memory.servicer.changes import ChangesServicer
from liftos_memory.servicer.comparisons import ComparisonsServicer
from liftos_memory.servicer.entries import EntriesServicer
from liftos_memory.servicer.evaluation import EvaluationServicer
from liftos_memory.servicer.exports import ExportsServicer
from liftos_memory.servicer.insights import InsightsServicer
from liftos_memory.servicer.metrics import MetricsServicer
from liftos_memory.servicer.org import OrgServicer
from liftos_memory.servicer.presenter import EntryPresenter
from liftos_memory.servicer.records import RecordsServicer
from liftos_memory.servicer.search import SearchServicer
from liftos_memory.servicer.transform import TransformServicer
from liftos_memory.settings import MemorySettings
from liftos_memory.usecases.answers import Answers
from liftos_memory.usecases.cache import Cache
from liftos_memory.usecases.calendar import Calendar, OrgCalendars
from liftos_memory.usecases.changes import Changes
from liftos_memory.usecases.comparisons import Comparisons
from liftos_memory.usecases.digests import Digests
from liftos_memory.usecases.entries import Entries
from liftos_memory.usecases.evaluation import Evaluations
from liftos_memory.usecases.exports import Exports
from liftos_memory.usecases.freshness import Freshness
from liftos_memory.usecases.ingest import BatchMeasure, Ingest
from liftos_memory.usecases.insight_routes import check_platforms
from liftos_memory.usecases.insights import Insights
from liftos_memory.usecases.metrics import ExchangeRates, Metrics
from liftos_memory.usecases.org import OrgAdministration
from liftos_memory.usecases.query_vectors import CachedQueryVectors
from liftos_memory.usecases.records import Records
from liftos_memory.usecases.search import LegOutcome, Search
from liftos_memory.usecases.transform import Transform

SERVICE_NAME: Final = "liftos.memory.v1.MemoryService"

_REDIS_SECONDS: Final = 0.25
_VECTORS_SHARE: Final = 8
"""Vectors of queries have an eighth of the cache in this process."""


def application(settings: MemorySettings) -> Application:
    """Return Memory, ready to be served."""
    return Application(
        name="liftos-memory",
        settings=settings,
        service_names=(SERVICE_NAME,),
        open=lambda: open_services(settings),
    )


async def open_services(settings: MemorySettings) -> Services:
    """Connect to the stores and put the service together.

    Raises:
        SchemaOutdatedError: The database has an older schema.
        StoreUnavailableError: Postgres does not answer.
    """
    assert settings.postgres_url is not None, "checked by load"
    assert settings.redis_url is not None, "checked by load"
    assert settings.milvus_url is not None, "checked by load"
    pool = await postgres.create_pool(
        settings.postgres_url.get_secret_value(),
        application_name="liftos-memory",
        minimum=1,
        maximum=settings.postgres_connections,
        schema=SCHEMA,
    )
    await postgres.require_version(pool, SCHEMA_VERSION, schema=SCHEMA)
    executor = ThreadPoolExecutor(settings.executor_threads, thread_name_prefix="memory")
    database = Database(pool)
    entry_store = PostgresEntryStore(database)
    org_store = PostgresOrgStore(database)
    metrics_store = PostgresMetricsStore(database)
    clock = SystemClock()
    calendars = OrgCalendars(org_store, monotonic_seconds=clock.monotonic_seconds)
    freshness = Freshness(database.last_version)
    page_tokens = PageTokens(settings.page_token_key)
    documents = PostgresDocumentStore(database)
    redis = Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=_REDIS_SECONDS,
        socket_connect_timeout=_REDIS_SECONDS,
    )
    key = settings.embedder_api_key
    shared_tier = (
        RedisTier(redis, secret=settings.page_token_key, maximum_bytes=settings.cache_redis_bytes)
        if settings.cache_redis_bytes
        else None
    )

    def opened_cache(kind: str, maximum_bytes: int) -> Cache:
        return Cache(
            ByteCache(maximum_bytes, monotonic_seconds=clock.monotonic_seconds),
            shared_tier,
            on_lookup=partial(_measure_lookup, kind),
        )

    vector_bytes = settings.cache_bytes // _VECTORS_SHARE
    answer_cache = opened_cache("answer", settings.cache_bytes - vector_bytes)
    vector_cache = opened_cache("query_vector", vector_bytes)
    embedder = CachedQueryVectors(
        MeasuredEmbedder(
            open_embedder(
                settings.embedder,
                threads=settings.executor_threads,
                api_key="" if key is None else key.get_secret_value(),
            )
        ),
        vector_cache,
    )
    index = MilvusDocumentIndex(
        settings.milvus_url.get_secret_value(),
        model_id=embedder.model_id,
        dimension=embedder.dimension,
    )
    search = Search(
        documents,
        PostgresObjectStore(database),
        index,
        embedder,
        executor=executor,
        on_leg=_measure_leg,
    )
    states = PostgresOrgStates(database)
    answers = Answers(
        answer_cache,
        states,
        program=f"{program_digest()} {embedder.model_id}",
    )
    wording = open_wording(settings)
    presenter = EntryPresenter(calendars, executor)
    servicer = combine(
        memory_service_pb2.DESCRIPTOR.services_by_name["MemoryService"],
        [
            EntriesServicer(
                ingest=Ingest(entry_store, executor, today=clock.today, on_batch=_measure_batch),
                entries=Entries(entry_store),
                freshness=freshness,
                presenter=presenter,
                page_tokens=page_tokens,
            ),
            MetricsServicer(
                metrics=Metrics(metrics_store),
                answers=answers,
                exchange_rates=ExchangeRates(PostgresRateStore(database), org_store),
                freshness=freshness,
                page_tokens=page_tokens,
            ),
            ComparisonsServicer(
                comparisons=Comparisons(metrics_store, org_store, executor),
                answers=answers,
                freshness=freshness,
            ),
            CacheServicer(cache=answer_cache, vectors=embedder),
            EvaluationServicer(
                evaluations=Evaluations(
                    search,
                    documents,
                    PostgresDocumentSamples(database),
                    index=index,
                    embedder=embedder,
                    executor=executor,
                )
            ),
            SearchServicer(
                search=search,
                answers=answers,
                page_tokens=page_tokens,
            ),
            InsightsServicer(
                insights=Insights(
                    PostgresInsightStore(database),
                    PostgresMetricsStore(database),
                    calendars,
                    executor,
                    last_version=database.last_version,
                    now=clock.now,
                    wording=wording,
                ),
                page_tokens=page_tokens,
            ),
            route_servicer(
                memory_service_pb2,
                Routes(
                    INSIGHTS,
                    PostgresRoutes(
                        INSIGHTS, pool, begin_write=partial(begin_route_write, database)
                    ),
                    TargetVault(settings.keyring()),
                    apprise_notifier(settings),
                    check_platforms=partial(check_platforms, entry_store.platforms),
                ),
                page_tokens=page_tokens,
            ),
            TransformServicer(
                transform=Transform(entry_store, org_store, executor, today=clock.today)
            ),
            ExportsServicer(
                exports=Exports(
                    PostgresPanelStore(database), executor, made_with=data_set_libraries()
                ),
                freshness=freshness,
                page_tokens=page_tokens,
            ),
            CalendarServicer(
                calendar=Calendar(org_store, calendars, executor), page_tokens=page_tokens
            ),
            OrgServicer(
                administration=OrgAdministration(org_store, calendars),
                states=states,
                page_tokens=page_tokens,
            ),
            ChangesServicer(
                changes=Changes(PostgresChangeStore(database), clock),
                digests=Digests(PostgresDigestStore(database)),
                freshness=freshness,
                page_tokens=page_tokens,
            ),
            RecordsServicer(
                records=Records(PostgresRecordStore(database)), page_tokens=page_tokens
            ),
        ],
    )

    def register(server: grpc.aio.Server) -> None:
        memory_service_pb2_grpc.add_MemoryServiceServicer_to_server(servicer, server)

    async def close_executor() -> None:
        executor.shutdown(wait=False, cancel_futures=True)

    async def close_wording() -> None:
        if wording is not None:
            await wording.close()

    return Services(
        register=register,
        probes=(
            StoreProbe("postgres", lambda: pool.fetchval("/* ping */ select 1")),
            # Only searches need these two, and they say so themselves.
            StoreProbe("redis", redis.ping, is_required=False),
            StoreProbe("milvus", index.ping, is_required=False),
        ),
        close=(
            close_executor,
            close_wording,
            index.close,
            embedder.close,
            answer_cache.close,
            vector_cache.close,
            redis.aclose,
            database.close,
        ),
    )


def _measure_leg(mode: SearchMode, outcome: LegOutcome, seconds: float) -> None:
    telemetry.search_leg_duration.record(
        seconds, {telemetry.LEG: mode.value.lower(), telemetry.OUTCOME: outcome.value}
    )


def _measure_lookup(kind: str, tier: str, result: CacheResult, seconds: float) -> None:
    telemetry.cache_requests.add(
        1,
        {telemetry.TIER: tier, telemetry.CACHED: kind, telemetry.RESULT: result.value},
    )
    telemetry.cache_duration.record(seconds, {telemetry.TIER: tier, telemetry.CACHED: kind})


def _measure_batch(batch: BatchMeasure) -> None:
    telemetry.ingest_batch_duration.record(batch.seconds)
    for outcome, rows in batch.rows.items():
        if rows:
            telemetry.ingest_rows.add(rows, {telemetry.OUTCOME: outcome})
