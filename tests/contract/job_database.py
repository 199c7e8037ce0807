"""A database with a queue of jobs in it, and workers for the length of a block."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from liftos_kit import postgres
from liftos_kit.jobs.postgres_queue import PostgresJobQueue
from liftos_kit.jobs.queue import Handler
from liftos_kit.jobs.tables import install_sql
from liftos_kit.jobs.worker import WorkerTimes
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, make_template

SCHEMA = "ingestion"
HASTY = WorkerTimes(heartbeat_seconds=0.5, grace_seconds=5.0)


def make_job_template(stack: Stack, template: str, directory: Path) -> None:
    """Make a database to clone, whose schema file, to be written here, is what the kit gives."""
    (directory / "0001_pre_jobs.sql").write_text(
        "create table effects (job bigint not null, pid int not null, what text not null);\n"
        f"grant select, insert on effects to liftos_app;\n{install_sql(SCHEMA)}"
    )

    def migrate(environment: Mapping[str, str]) -> None:
        owner_url = environment["LIFTOS_POSTGRES_OWNER_URL"]
        with ThreadPoolExecutor(1) as executor:
            executor.submit(
                asyncio.run, postgres.migrate(owner_url, directory, schema=SCHEMA)
            ).result()

    make_template(stack, template, migrate)


@asynccontextmanager
async def open_queue(
    database: TestDatabase, times: WorkerTimes = HASTY
) -> AsyncIterator[PostgresJobQueue]:
    """Open the queue of a database as the role under row-level security."""
    pool = await postgres.create_pool(
        database.url, application_name="test", minimum=1, maximum=4, schema=SCHEMA
    )
    try:
        yield PostgresJobQueue(pool, schema=SCHEMA, url=database.url, times=times)
    finally:
        await pool.close()


@asynccontextmanager
async def working(
    queue: PostgresJobQueue, handlers: Mapping[str, Handler], *, concurrency: int = 4
) -> AsyncIterator[Callable[[], None]]:
    """Work for the length of the block, which gets what stops it, and end in good order."""
    stop = asyncio.Event()
    work = asyncio.create_task(queue.work(handlers, concurrency=concurrency, stop=stop))
    try:
        yield stop.set
    finally:
        stop.set()
        await asyncio.wait_for(work, timeout=20)


async def end_connections(stack: Stack, database: TestDatabase, *, statement: str = "%") -> int:
    """End the connections of the app's role whose last statement is like this; return how many."""
    connection = await asyncpg.connect(stack.postgres_admin_url())
    try:
        count: int = await connection.fetchval(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity "
            "where datname = $1 and usename = 'liftos_app' and query like $2",
            database.name,
            statement,
        )
    finally:
        await connection.close()
    return count
