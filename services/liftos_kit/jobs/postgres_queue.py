"""The queue in Postgres; see `liftos_kit.jobs.queue.JobQueue` for what it promises."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import asyncpg

from liftos_kit.jobs import store
from liftos_kit.jobs.queue import Handler, Job, KindDepth
from liftos_kit.jobs.tables import JobTables
from liftos_kit.jobs.worker import Worker, WorkerTimes
from liftos_kit.postgres import translate_errors
from liftos_kit.telemetry import inject_carrier

_ACQUIRE_TIMEOUT_SECONDS: Final = 5.0


class PostgresJobQueue:
    """Jobs in tables of the service's schema.

    Args:
        pool: For jobs that are added outside a transaction, and for counting.
        schema: Where the tables are; see `install_sql`.
        url: Of the connection that each worker has for itself.
        times: How patient workers are; all workers of a queue must agree on it.
    """

    def __init__(
        self, pool: asyncpg.Pool, *, schema: str, url: str, times: WorkerTimes | None = None
    ) -> None:
        self._pool = pool
        self._tables = JobTables(schema)
        self._url = url
        self._times = times or WorkerTimes()

    async def enqueue(
        self, jobs: Sequence[Job], *, connection: asyncpg.Connection | None = None
    ) -> None:
        """Add jobs, which carry the present trace."""
        carrier = inject_carrier()
        if connection is not None:
            await store.add(connection, self._tables, jobs, carrier)
            return
        with translate_errors():
            async with self._pool.acquire(timeout=_ACQUIRE_TIMEOUT_SECONDS) as own:
                await store.add(own, self._tables, jobs, carrier)

    async def work(
        self, handlers: Mapping[str, Handler], *, concurrency: int, stop: asyncio.Event
    ) -> None:
        """Take jobs and have them done, until `stop` is set."""
        await Worker(
            self._url,
            self._tables,
            self._times,
            handlers=handlers,
            concurrency=concurrency,
            stop=stop,
        ).run()

    async def depth(self) -> tuple[KindDepth, ...]:
        """Count the jobs by kind."""
        with translate_errors():
            async with self._pool.acquire(timeout=_ACQUIRE_TIMEOUT_SECONDS) as connection:
                return await store.depth(connection, self._tables)
