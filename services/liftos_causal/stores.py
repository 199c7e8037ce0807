"""Where the module keeps its data: a store of its own, or Core."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from pydantic import SecretStr
from redis.asyncio import Redis

from liftos_causal.adapters.answer_cache import RedisAnswerCache
from liftos_causal.adapters.core import records as core_records
from liftos_causal.adapters.core.configurations import CoreConfigurations
from liftos_causal.adapters.core.performance import CorePerformance
from liftos_causal.adapters.core.pulls import CorePuller
from liftos_causal.adapters.core.records import CoreRecords
from liftos_causal.adapters.module import records as module_records
from liftos_causal.adapters.module.configurations import ModuleConfigurations
from liftos_causal.adapters.module.database import SCHEMA, SCHEMA_VERSION
from liftos_causal.adapters.module.performance import ModulePerformance
from liftos_causal.adapters.module.pulls import ModulePuller, PlatformAccess
from liftos_causal.adapters.module.records import ModuleRecords
from liftos_causal.domain.records import (
    AttributionResult,
    BudgetOptimization,
    Experiment,
    LiftMeasurement,
    Model,
    PlatformSync,
)
from liftos_causal.ports import (
    AnswerCache,
    Configurations,
    PerformanceReader,
    PlatformPuller,
    Records,
)
from liftos_causal.settings import CausalSettings
from liftos_client import OrgClients, TlsOptions, connect
from liftos_kit import postgres
from liftos_kit.health import StoreProbe
from liftos_kit.secrets.secret import Secret
from liftos_kit.service_tokens import service_tokens

_REDIS_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Stores:
    """What the module reads and keeps.

    Attributes:
        performance, models, results, experiments, lifts, budgets, syncs, configurations, puller,
            cache: Behind the ports of the same names.
        probes: For health.
        close: Awaited in order at the end.
    """

    performance: PerformanceReader
    models: Records[Model]
    results: Records[AttributionResult]
    experiments: Records[Experiment]
    lifts: Records[LiftMeasurement]
    budgets: Records[BudgetOptimization]
    syncs: Records[PlatformSync]
    configurations: Configurations
    puller: PlatformPuller
    cache: AnswerCache
    probes: Sequence[StoreProbe]
    close: Sequence[Callable[[], Awaitable[None]]]


async def open_module(settings: CausalSettings) -> Stores:
    """Connect to the module's own Postgres and Redis.

    Raises:
        SchemaOutdatedError: The database has an older schema.
        StoreUnavailableError: Postgres does not answer.
    """
    assert settings.postgres_url is not None, "checked by load"
    pool = await postgres.create_pool(
        settings.postgres_url.get_secret_value(),
        application_name="liftos-causal",
        minimum=1,
        maximum=settings.postgres_connections,
        schema=SCHEMA,
    )
    await postgres.require_version(pool, SCHEMA_VERSION, schema=SCHEMA)
    redis = _redis(settings)
    return Stores(
        performance=ModulePerformance(pool),
        models=ModuleRecords(pool, module_records.MODELS),
        results=ModuleRecords(pool, module_records.RESULTS),
        experiments=ModuleRecords(pool, module_records.EXPERIMENTS),
        lifts=ModuleRecords(pool, module_records.LIFTS),
        budgets=ModuleRecords(pool, module_records.BUDGETS),
        syncs=ModuleRecords(pool, module_records.SYNCS),
        configurations=ModuleConfigurations(pool),
        puller=ModulePuller(pool, _access(settings)),
        cache=RedisAnswerCache(redis),
        probes=(
            StoreProbe("postgres", lambda: pool.fetchval("/* ping */ select 1")),
            # Answers are computed anew where it is away.
            StoreProbe("redis", redis.ping, is_required=False),
        ),
        close=(redis.aclose, pool.close),
    )


async def open_core(settings: CausalSettings) -> Stores:
    """Return the stores of the module on Core; nothing is connected before the first call."""
    tokens = service_tokens(settings, subject="liftos-causal", scopes=("memory", "ingestion"))
    tls = TlsOptions.of_files(
        settings.memory_ca_file, settings.memory_certificate_file, settings.memory_key_file
    )
    clients = OrgClients(
        lambda org: connect(
            settings.memory_address,
            ingestion_target=settings.ingestion_address,
            token=partial(tokens.token, org),
            tls=tls,
        )
    )
    redis = _redis(settings)
    return Stores(
        performance=CorePerformance(clients),
        models=CoreRecords(clients, core_records.MODELS),
        results=CoreRecords(clients, core_records.RESULTS),
        experiments=CoreRecords(clients, core_records.EXPERIMENTS),
        lifts=CoreRecords(clients, core_records.LIFTS),
        budgets=CoreRecords(clients, core_records.BUDGETS),
        syncs=CoreRecords(clients, core_records.SYNCS),
        configurations=CoreConfigurations(clients),
        puller=CorePuller(clients),
        cache=RedisAnswerCache(redis),
        probes=(StoreProbe("redis", redis.ping, is_required=False),),
        close=(redis.aclose, clients.close),
    )


def _redis(settings: CausalSettings) -> Redis:
    assert settings.redis_url is not None, "checked by load"
    return Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=_REDIS_SECONDS,
        socket_connect_timeout=_REDIS_SECONDS,
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
