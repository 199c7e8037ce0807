"""The composition root of Memory's worker, which keeps the search index in step."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from typing import Final

import structlog

from liftos_kit import postgres, telemetry, worker_process
from liftos_kit.core.clock import SystemClock
from liftos_kit.notify.apprise_notifier import apprise_notifier
from liftos_kit.notify.sender import Sender
from liftos_kit.notify.targets import TargetVault
from liftos_memory.adapters.embedders import open_embedder
from liftos_memory.adapters.http_wording import open_wording
from liftos_memory.adapters.measured_embedder import MeasuredEmbedder
from liftos_memory.adapters.milvus import MilvusDocumentIndex
from liftos_memory.adapters.postgres.database import SCHEMA, SCHEMA_VERSION, Database
from liftos_memory.adapters.postgres.documents import PostgresDocumentStore
from liftos_memory.adapters.postgres.insight_routes import PostgresInsightOutbox
from liftos_memory.adapters.postgres.insights import (
    PostgresInsightSchedule,
    PostgresInsightStore,
    documents_of_insights,
)
from liftos_memory.adapters.postgres.metrics import PostgresMetricsStore
from liftos_memory.adapters.postgres.org import PostgresOrgStore
from liftos_memory.adapters.postgres.perishables import PostgresPerishables
from liftos_memory.adapters.postgres.record_documents import documents_of_records
from liftos_memory.document_ports import IndexLag
from liftos_memory.domain.insights import INSIGHTS
from liftos_memory.settings import MemorySettings
from liftos_memory.usecases.calendar import OrgCalendars
from liftos_memory.usecases.housekeeping import Housekeeping
from liftos_memory.usecases.index_lag import watch_lag
from liftos_memory.usecases.indexing import Indexing
from liftos_memory.usecases.insight_messages import message_of
from liftos_memory.usecases.insight_watch import InsightWatch
from liftos_memory.usecases.insights import Insights

_CONNECTIONS: Final = 8

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.worker")


def work(settings: MemorySettings) -> int:
    """Work until a signal.

    Returns:
        The exit code: 0 after a clean end, 2 if the worker could not start or go on.
    """
    return worker_process.work("liftos-memory-worker", settings, partial(follow_entries, settings))


async def follow_entries(settings: MemorySettings, stop: asyncio.Event) -> None:
    """Write documents of what is stored and keep the index, until `stop`."""
    assert settings.postgres_url is not None, "checked by load"
    assert settings.milvus_url is not None, "checked by load"
    pool = await postgres.create_pool(
        settings.postgres_url.get_secret_value(),
        application_name="liftos-memory-worker",
        minimum=1,
        maximum=_CONNECTIONS,
        schema=SCHEMA,
        statement_timeout_seconds=300.0,
    )
    await postgres.require_version(pool, SCHEMA_VERSION, schema=SCHEMA)
    database = Database(pool)
    clock = SystemClock()
    store = PostgresDocumentStore(database)
    key = settings.embedder_api_key
    embedder = MeasuredEmbedder(
        open_embedder(
            settings.embedder,
            threads=settings.executor_threads,
            api_key="" if key is None else key.get_secret_value(),
        )
    )
    index = MilvusDocumentIndex(
        settings.milvus_url.get_secret_value(),
        model_id=embedder.model_id,
        dimension=embedder.dimension,
    )
    calendars = OrgCalendars(PostgresOrgStore(database), monotonic_seconds=clock.monotonic_seconds)
    indexing = Indexing(
        store,
        index,
        embedder,
        calendars,
        {**documents_of_records(database), **documents_of_insights(database)},
        today=clock.today,
        on_round=_measure_round,
        continue_trace=_continue_trace,
    )
    executor = ThreadPoolExecutor(1, thread_name_prefix="insights")
    insight_store = PostgresInsightStore(database)
    wording = open_wording(settings)
    watch = InsightWatch(
        PostgresInsightSchedule(
            database,
            quiet_seconds=settings.insight_quiet_seconds,
            wait_seconds=settings.insight_wait_seconds,
            every_seconds=settings.insight_every_hours * 3600.0,
        ),
        Insights(
            insight_store,
            PostgresMetricsStore(database),
            calendars,
            executor,
            last_version=database.last_version,
            now=clock.now,
            wording=wording,
        ),
    )
    telling = Sender(
        INSIGHTS,
        PostgresInsightOutbox(pool),
        TargetVault(settings.keyring()),
        apprise_notifier(settings),
        message_of=message_of,
        send_seconds=settings.notification_timeout_seconds,
    )
    try:
        _log.info("working", model=embedder.model_id)
        # An error in any of them ends the worker, so that it is seen and started again.
        async with asyncio.TaskGroup() as programs:
            programs.create_task(indexing.run_alone(stop), name="indexing")
            programs.create_task(watch.run(stop), name="insights")
            programs.create_task(telling.run(stop), name="telling")
            programs.create_task(watch_lag(store, _measure_lag, stop), name="lag")
            programs.create_task(
                Housekeeping(PostgresPerishables(database)).run(stop), name="housekeeping"
            )
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        if wording is not None:
            await wording.close()
        await index.close()
        await embedder.close()
        await pool.close()


def _continue_trace(trace_parent: str | None) -> AbstractContextManager[object]:
    carrier = {"traceparent": trace_parent} if trace_parent else {}
    return telemetry.background_span("index documents", carrier)


def _measure_round(written: int, deleted: int) -> None:
    telemetry.outbox_documents.add(written, {telemetry.OUTCOME: "written"})
    telemetry.outbox_documents.add(deleted, {telemetry.OUTCOME: "deleted"})


def _measure_lag(lag: IndexLag) -> None:
    telemetry.outbox_lag_commits.set(lag.commits)
    telemetry.outbox_lag_seconds.set(lag.oldest_seconds)
