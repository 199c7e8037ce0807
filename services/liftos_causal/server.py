"""The composition root of the Causal service."""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import grpc

from liftos.causal.v1 import causal_service_pb2, causal_service_pb2_grpc
from liftos_causal.servicer.attribution import AttributionServicer, KeptAnswers
from liftos_causal.servicer.configurations import ConfigurationServicer
from liftos_causal.servicer.experiments import ExperimentsServicer
from liftos_causal.settings import CausalSettings
from liftos_causal.stores import open_core, open_module
from liftos_causal.usecases.attribution import Attribution
from liftos_causal.usecases.budgets import Budgets
from liftos_causal.usecases.configurations import ConfigurationAdministration
from liftos_causal.usecases.experiments import Experiments, Lift
from liftos_causal.usecases.insights import Insights
from liftos_causal.usecases.modelling import Modelling
from liftos_causal.usecases.models import Models
from liftos_causal.usecases.syncs import Syncs
from liftos_kit.core.clock import SystemClock
from liftos_kit.core.paging import PageTokens
from liftos_kit.server import Application, Services
from liftos_kit.servicer_parts import combine

SERVICE_NAME: Final = "liftos.causal.v1.CausalService"


def application(settings: CausalSettings) -> Application:
    """Return the Causal service, ready to be served."""
    return Application(
        name="liftos-causal",
        settings=settings,
        service_names=(SERVICE_NAME,),
        open=lambda: open_services(settings),
    )


async def open_services(settings: CausalSettings) -> Services:
    """Open the stores and put the service together.

    Raises:
        SchemaOutdatedError: The module's database has an older schema.
        StoreUnavailableError: The module's Postgres does not answer.
    """
    stores = await (open_core if settings.store == "core" else open_module)(settings)
    clock = SystemClock()
    page_tokens = PageTokens(settings.page_token_key)
    executor = ThreadPoolExecutor(settings.executor_threads, thread_name_prefix="fitting")
    performance, experiments = stores.performance, stores.experiments
    modelling = Modelling(
        performance=performance,
        experiments=experiments,
        configurations=stores.configurations,
        executor=executor,
    )
    models = Models(stores.models, modelling, clock)
    syncs = Syncs(syncs=stores.syncs, puller=stores.puller, modelling=modelling, clock=clock)
    servicer = combine(
        causal_service_pb2.DESCRIPTOR.services_by_name["CausalService"],
        [
            AttributionServicer(
                attribution=Attribution(
                    results=stores.results, models=models, modelling=modelling, clock=clock
                ),
                models=models,
                budgets=Budgets(
                    budgets=stores.budgets,
                    models=models,
                    modelling=modelling,
                    performance=performance,
                    clock=clock,
                ),
                kept=KeptAnswers(stores.cache, performance, modelling),
                page_tokens=page_tokens,
            ),
            ExperimentsServicer(
                experiments=Experiments(
                    experiments=experiments,
                    modelling=modelling,
                    performance=performance,
                    clock=clock,
                ),
                lift=Lift(
                    lifts=stores.lifts, modelling=modelling, performance=performance, clock=clock
                ),
                page_tokens=page_tokens,
            ),
            ConfigurationServicer(
                administration=ConfigurationAdministration(
                    configurations=stores.configurations,
                    modelling=modelling,
                    models=models,
                    clock=clock,
                ),
                insights=Insights(
                    experiments=experiments, lifts=stores.lifts, modelling=modelling, clock=clock
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
        probes=stores.probes,
        close=(syncs.close, close_executor, *stores.close),
    )
