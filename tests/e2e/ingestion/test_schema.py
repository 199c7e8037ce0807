"""The schema files against what the installed libraries need."""

import asyncpg

from liftos_ingestion.adapters.postgres.database import SCHEMA
from liftos_kit.forgetting import forget_old_requests
from liftos_kit.jobs.tables import pending_changes
from liftos_local.testing import TestDatabase


async def test_the_queue_is_what_the_library_expects(pool: asyncpg.Pool) -> None:
    """After an upgrade of the library the next schema file has to say what this finds."""
    async with pool.acquire() as connection:
        assert await pending_changes(connection, schema=SCHEMA) == ()


async def test_requests_are_forgotten_once_they_are_not_answered_again(
    database: TestDatabase, pool: asyncpg.Pool
) -> None:
    """The worker's role may, for all orgs, after a day."""
    owner = await asyncpg.connect(database.owner_url, server_settings={"search_path": SCHEMA})
    await owner.execute(
        """insert into request_ids (org, method, request_id, payload_digest, create_time)
           select org, 'StartRun', gen_random_uuid(), '', now() - age
           from unnest(array['old-acme', 'old-globex']) org,
                unnest(array[interval '25 hours', interval '23 hours']) age"""
    )
    assert await forget_old_requests(pool) == 2
    left = await owner.fetchval("select count(*) from request_ids where org like 'old-%'")
    assert left == 2
    await owner.close()
