"""A database with a queue of jobs in it, and workers for the length of a block."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg
import pytest

from liftos_kit import postgres
from liftos_kit.jobs.postgres_queue import PostgresJobQueue
from liftos_kit.jobs.queue import Handler
from liftos_kit.jobs.tables import install_sql
from liftos_kit.jobs.worker import WorkerTimes
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, make_template, store_stack

SCHEMA = "ingestion"
TEMPLATE = "jobs_template"
HASTY = WorkerTimes(heartbeat_seconds=0.5, grace_seconds=5.0)


@contextmanager
def job_stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Run the stores, with a database to clone whose schema file is what the kit gives."""
    directory: Path = tmp_path_factory.mktemp("schema")
    (directory / "0001_pre_jobs.sql").write_text(
        f"create table effects (job bigint not null, pid int not null, what text not null);\n"
        f"grant select, insert on effects to liftos_app;\n{install_sql(SCHEMA)}"
    )

    def migrate(environment: Mapping[str, str]) -> None:
        owner_url = environment["LIFTOS_POSTGRES_OWNER_URL"]
        asyncio.run(postgres.migrate(owner_url, directory, schema=SCHEMA))

    with store_stack(tmp_path_factory) as stack:
        make_template(stack, TEMPLATE, migrate)
        yield stack


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
