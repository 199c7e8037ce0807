"""The composition root of Ingestion's worker, which reads what is due."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Final

import structlog
from redis.asyncio import Redis

from liftos_ingestion.adapters.credential_vault import KeyringVault
from liftos_ingestion.adapters.lag_gauge import LagGauge
from liftos_ingestion.adapters.memory import MemoryEntryTotals, MemoryEntryWriter
from liftos_ingestion.adapters.memory_clients import memory_clients
from liftos_ingestion.adapters.postgres.alerts import PostgresAlertOutbox
from liftos_ingestion.adapters.postgres.clock import PostgresClock
from liftos_ingestion.adapters.postgres.connections import (
    PostgresConnectionOpener,
    PostgresConnections,
)
from liftos_ingestion.adapters.postgres.database import SCHEMA, SCHEMA_VERSION
from liftos_ingestion.adapters.postgres.dead_letters import REPLAY, PostgresReplays
from liftos_ingestion.adapters.postgres.reconciliations import PostgresReconciliationStore
from liftos_ingestion.adapters.postgres.runs import READ_SLICE, RECONCILE_RUN, PostgresRunLedger
from liftos_ingestion.adapters.postgres.schedules import PostgresScheduleClock
from liftos_ingestion.adapters.postgres.sources import PostgresSources
from liftos_ingestion.adapters.postgres.watched_orgs import PostgresWatchedOrgs
from liftos_ingestion.adapters.redis.rate_governor import RedisRateGovernor
from liftos_ingestion.adapters.sources.plugins import plugin_names
from liftos_ingestion.adapters.sources.registry import built_in_sources, own_sources
from liftos_ingestion.domain.names import ALERTS
from liftos_ingestion.settings import IngestionSettings
from liftos_ingestion.usecases.alert_messages import message_of
from liftos_ingestion.usecases.connections import ConnectionAdministration
from liftos_ingestion.usecases.planning import Planning
from liftos_ingestion.usecases.reading import AttemptMeasure, Reading
from liftos_ingestion.usecases.reconciling import Reconciling
from liftos_ingestion.usecases.replaying import Replaying, replay_named
from liftos_ingestion.usecases.scheduling import Scheduling
from liftos_ingestion.usecases.sources import Catalog
from liftos_ingestion.usecases.verifying import Verifying
from liftos_ingestion.usecases.waking import make_good, read_named, reconcile_named, watch_lags
from liftos_ingestion.usecases.watching_over import WatchingOver
from liftos_kit import postgres, telemetry, worker_process
from liftos_kit.forgetting import keep_forgetting
from liftos_kit.jobs.postgres_queue import PostgresJobQueue
from liftos_kit.jobs.queue import Delivery
from liftos_kit.jobs.worker import WorkerTimes
from liftos_kit.notify.apprise_notifier import apprise_notifier
from liftos_kit.notify.sender import Sender
from liftos_kit.notify.targets import TargetVault

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.worker")


def work(settings: IngestionSettings) -> int:
    """Work until a signal.

    Returns:
        The exit code: 0 after a clean end, 2 if the worker could not start or go on.
    """
    return worker_process.work(
        "liftos-ingestion-worker", settings, partial(_read_what_is_due, settings)
    )


async def _read_what_is_due(settings: IngestionSettings, stop: asyncio.Event) -> None:
    assert settings.postgres_url is not None, "checked by load"
    assert settings.redis_url is not None, "checked by load"
    postgres_url = settings.postgres_url.get_secret_value()
    pool = await postgres.create_pool(
        postgres_url,
        application_name="liftos-ingestion-worker",
        minimum=1,
        maximum=settings.postgres_connections,
        schema=SCHEMA,
    )
    redis = Redis.from_url(settings.redis_url.get_secret_value())
    clients = memory_clients(settings)
    executor = ThreadPoolExecutor(settings.executor_threads, thread_name_prefix="mapping")
    try:
        await postgres.require_version(pool, SCHEMA_VERSION, schema=SCHEMA)
        clock = await PostgresClock.ask(pool)
        jobs = PostgresJobQueue(
            pool,
            schema=SCHEMA,
            url=postgres_url,
            times=WorkerTimes(grace_seconds=settings.drain_seconds),
        )
        ledger = PostgresRunLedger(pool, jobs)
        sources = built_in_sources(settings, clock)
        catalog = Catalog(
            sources,
            plugins=plugin_names(),
            store=PostgresSources(pool),
            build=own_sources(settings).build,
        )
        vault = KeyringVault(settings.secret_places())
        connections = PostgresConnections(pool)
        opener = PostgresConnectionOpener(pool, vault)
        governor = RedisRateGovernor(redis)
        reading = Reading(
            ledger=ledger,
            connections=opener,
            catalog=catalog,
            governor=governor,
            writer=MemoryEntryWriter(clients.of),
            executor=executor,
            clock=clock,
            worker=settings.effective_worker_name,
            bytes_in_hand=settings.worker_mib_in_hand * 2**20,
            on_attempt=_measure_attempt,
        )
        scheduling = Scheduling(
            PostgresScheduleClock(pool, ledger),
            Planning(connections, catalog, clock),
            clock,
        )
        verifying = Verifying(
            connections,
            ConnectionAdministration(
                store=connections, catalog=catalog, opener=opener, vault=vault, governor=governor
            ),
            every=timedelta(hours=settings.verification_hours),
            grace_seconds=settings.drain_seconds,
        )

        notifier = apprise_notifier(settings)
        sender = Sender(
            ALERTS,
            PostgresAlertOutbox(pool),
            TargetVault(settings.keyring()),
            notifier,
            message_of=message_of,
            send_seconds=settings.notification_timeout_seconds,
        )
        replaying = Replaying(
            ledger=PostgresReplays(pool, jobs),
            connections=connections,
            catalog=catalog,
            writer=MemoryEntryWriter(clients.of),
            executor=executor,
            worker=settings.effective_worker_name,
        )
        reconciling = Reconciling(
            PostgresReconciliationStore(pool), MemoryEntryTotals(clients.of), catalog
        )

        async def read_slice(delivery: Delivery) -> None:
            await read_named(reading, delivery.payload)

        async def reconcile_run(delivery: Delivery) -> None:
            await reconcile_named(reconciling, delivery.payload)

        async def replay(delivery: Delivery) -> None:
            await replay_named(replaying, delivery.payload)

        _log.info("working", worker=settings.effective_worker_name, sources=sorted(sources))
        # An error in any of them ends the worker, so that it is seen and started again.
        async with asyncio.TaskGroup() as programs:
            programs.create_task(
                jobs.work(
                    {READ_SLICE: read_slice, RECONCILE_RUN: reconcile_run, REPLAY: replay},
                    concurrency=settings.worker_concurrency,
                    stop=stop,
                ),
                name="jobs",
            )
            programs.create_task(clock.run(stop), name="clock")
            programs.create_task(make_good(ledger, stop), name="wake-ups")
            programs.create_task(watch_lags(ledger, LagGauge().tell, stop), name="lags")
            programs.create_task(scheduling.run(stop), name="schedules")
            programs.create_task(sender.run(stop), name="alerts")
            programs.create_task(verifying.run(stop), name="verifications")
            programs.create_task(keep_forgetting(pool, stop), name="old requests")
            programs.create_task(
                WatchingOver(PostgresWatchedOrgs(pool), sources, clock).run(stop),
                name="watch over",
            )
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        await clients.close()
        await redis.aclose()
        await pool.close()


def _measure_attempt(attempt: AttemptMeasure) -> None:
    labels = {telemetry.PLATFORM: attempt.platform}
    telemetry.read_calls.add(attempt.usage.call_count, labels)
    telemetry.read_bytes.add(attempt.usage.size_bytes, labels)
    telemetry.read_rows.add(attempt.row_count, labels)
    if attempt.error_class is not None:
        telemetry.read_failures.add(1, {**labels, telemetry.ERROR_CLASS: attempt.error_class})
    if attempt.loss is not None:
        telemetry.read_losses.add(1, {**labels, telemetry.OUTCOME: attempt.loss})
