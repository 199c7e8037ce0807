"""The schema files against what the installed libraries need."""

import asyncpg

from liftos_ingestion.adapters.postgres.database import SCHEMA
from liftos_kit.jobs.tables import pending_changes


async def test_the_queue_is_what_the_library_expects(pool: asyncpg.Pool) -> None:
    """After an upgrade of the library the next schema file has to say what this finds."""
    async with pool.acquire() as connection:
        assert await pending_changes(connection, schema=SCHEMA) == ()
