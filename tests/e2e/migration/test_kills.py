"""Workers that are killed in the midst of copying and catching up: nothing is lost or doubled."""

import secrets
from pathlib import Path

from tests.e2e.migration.killing import Place, killed_move

from liftos_client import connect
from liftos_kit import postgres
from liftos_kit.auth import issue_token
from liftos_kit.testing.server import SECRET, RunningServer
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, fresh_database
from liftos_migration.adapters.postgres.database import SCHEMA
from liftos_migration.domain.preflight import CaptureMode


async def test_killed_workers_lose_and_double_nothing(
    stores: Stack,
    core_database: TestDatabase,
    memory_server: RunningServer,
    tmp_path: Path,
) -> None:
    """Killed anywhere, the next worker goes on; what nobody changed is written once."""
    pool = await postgres.create_pool(
        core_database.url, application_name="test", minimum=1, maximum=4, schema=SCHEMA
    )
    org = f"org-{secrets.token_hex(4)}"
    token = issue_token(secret=SECRET.encode(), org=org, subject="mover", roles=["admin"])
    with fresh_database(stores) as module:
        url = stores.postgres_admin_url(module.name)
        place = Place(core_database.url, url, memory_server.target, token)
        async with connect(memory_server.target, token=token) as client:
            outcome = await killed_move(
                place, client, pool, tmp_path,
                mode=CaptureMode.LOG, kills=3, campaigns=24, seed=7, migration="shop",
            )  # fmt: skip
    await pool.close()
    assert (outcome.kills, outcome.lost, outcome.doubled, outcome.rewritten) == (3, 0, 0, 0)
    assert outcome.chunks >= 6
