"""The composition root of the Causal service on its own store."""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import grpc
from pydantic import SecretStr
from redis.asyncio import Redis

from liftos.causal.v1 import causal_service_pb2, causal_service_pb2_grpc
from liftos_causal.adapters.answer_cache import RedisAnswerCache
from liftos_causal.adapters.module.configurations import ModuleConfigurations
from liftos_causal.adapters.module.database import SCHEMA, SCHEMA_VERSION
from liftos_causal.adapters.module.performance import ModulePerformance
from liftos_causal.adapters.module.pulls import ModulePuller, PlatformAccess
from liftos_causal.adapters.module.records import (
    BUDGETS,
    EXPERIMENTS,
    LIFTS,
    MODELS,
    RESULTS,
    SYNCS,
    ModuleRecords,
)
from liftos_causal.servicer.attribution import AttributionServicer, KeptAnswers
from liftos_causal.servicer.configurations import ConfigurationServicer
from liftos_causal.servicer.experiments import ExperimentsServicer
from liftos_causal.settings import CausalSettings
from liftos_causal.usecases.attribution import Attribution
from liftos_causal.usecases.budgets import Budgets
from liftos_causal.usecases.configurations import ConfigurationAdministration
from liftos_causal.usecases.experiments import Experiments, Lift
from liftos_causal.usecases.insights import Insights
from liftos_causal.usecases.modelling import Modelling
from liftos_causal.usecases.models import Models
from liftos_causal.usecases.syncs import Syncs
from liftos_kit import postgres
from liftos_kit.core.clock import SystemClock
from liftos_kit.core.paging import PageTokens
from liftos_kit.health import StoreProbe
from liftos_kit.secrets.secret import Secret
from liftos_kit.server import Application, Services
from liftos_kit.servicer_parts import combine

SERVICE_NAME: Final = "liftos.causal.v1.CausalService"

_REDIS_SECONDS: Final = 1.0


def application(settings: CausalSettings) -> Application:
    """Return the Causal service, ready to be served."""
    return Application(
        name="liftos-causal",
        settings=settings,
        service_names=(SERVICE_NAME,),
        open=lambda: open_services(settings),
    )


async def open_services(settings: CausalSettings) -> Services:
    """Connect to the stores and put the service together.

    Raises:
        SchemaOutdatedError: The database has an older schema.
        StoreUnavailableError: Postgres does not answer.
    """
    assert settings.postgres_url is not None, "checked by load"
    assert settings.redis_url is not None, "checked by load"
    pool = await postgres.create_pool(
        settings.postgres_url.get_secret_value(),
        application_name="liftos-causal",
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
    clock = SystemClock()
    page_tokens = PageTokens(settings.page_token_key)
    executor = ThreadPoolExecutor(settings.executor_threads, thread_name_prefix="fitting")
    performance = ModulePerformance(pool)
    configurations = ModuleConfigurations(pool)
    experiments = ModuleRecords(pool, EXPERIMENTS)
    lifts = ModuleRecords(pool, LIFTS)
    modelling = Modelling(
        performance=performance,
        experiments=experiments,
        configurations=configurations,
        executor=executor,
    )
    models = Models(ModuleRecords(pool, MODELS), modelling, clock)
    syncs = Syncs(
        syncs=ModuleRecords(pool, SYNCS),
        puller=ModulePuller(pool, _access(settings)),
        modelling=modelling,
        clock=clock,
    )
    servicer = combine(
        causal_service_pb2.DESCRIPTOR.services_by_name["CausalService"],
        [
            AttributionServicer(
                attribution=Attribution(
                    results=ModuleRecords(pool, RESULTS),
                    models=models,
                    modelling=modelling,
                    clock=clock,
                ),
                models=models,
                budgets=Budgets(
                    budgets=ModuleRecords(pool, BUDGETS),
                    models=models,
                    modelling=modelling,
                    performance=performance,
                    clock=clock,
                ),
                kept=KeptAnswers(RedisAnswerCache(redis), performance, modelling),
                page_tokens=page_tokens,
            ),
            ExperimentsServicer(
                experiments=Experiments(
                    experiments=experiments,
                    modelling=modelling,
                    performance=performance,
                    clock=clock,
                ),
                lift=Lift(lifts=lifts, modelling=modelling, performance=performance, clock=clock),
                page_tokens=page_tokens,
            ),
            ConfigurationServicer(
                administration=ConfigurationAdministration(
                    configurations=configurations, modelling=modelling, models=models, clock=clock
                ),
                insights=Insights(
                    experiments=experiments, lifts=lifts, modelling=modelling, clock=clock
                ),
                syncs=syncs,
                page_tokens=page_tokens,
                clock=clock,
            ),
        ],
    )

    async def close_executor() -> None:
        executor.shutdown(wait=False, cancel_futures=True)

    def register(server: grpc.aio.Server) -> None:
        causal_service_pb2_grpc.add_CausalServiceServicer_to_server(servicer, server)

    return Services(
        register=register,
        probes=(
            StoreProbe("postgres", lambda: pool.fetchval("/* ping */ select 1")),
            # Answers are computed anew where it is away.
            StoreProbe("redis", redis.ping, is_required=False),
        ),
        close=(syncs.close, close_executor, redis.aclose, pool.close),
    )


def _access(settings: CausalSettings) -> PlatformAccess:
    client_secret = _secret(settings.google_ads_client_secret)
    return PlatformAccess(
        meta_url=settings.meta_url,
        meta_version=settings.meta_version,
        meta_token=_secret(settings.meta_token),
        google_ads_url=settings.google_ads_url,
        google_ads_version=settings.google_ads_version,
        google_ads_refresh_token=_secret(settings.google_ads_refresh_token),
        google_ads_client=None
        if client_secret is None
        else (settings.google_ads_client_id, client_secret),
        google_ads_developer_token=_secret(settings.google_ads_developer_token),
        google_ads_login_customer_id=settings.google_ads_login_customer_id,
    )


def _secret(value: SecretStr | None) -> Secret | None:
    return None if value is None else Secret(value.get_secret_value())
