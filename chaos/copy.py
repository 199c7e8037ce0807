"""Moves of a module while their workers are killed and writers write, compared record by record.

Each run is a module's database of its own with eight writers: long, aborted and nested
transactions, moved keys, emptied tables. One worker after the other takes the migration and is
killed with signal 9, anywhere in preparing, copying and catching up; the last one ends it, and all
records are compared with what the source's own SQL makes of its rows.
"""

import itertools
import secrets
import tempfile
import time
from pathlib import Path
from typing import Final

import asyncpg
from tests.e2e.migration.killing import Outcome, Place, killed_move

from chaos.results import Tally
from liftos_client import connect
from liftos_kit import postgres
from liftos_kit.auth import issue_token
from liftos_local import stack
from liftos_local.ports import PortPlan
from liftos_local.stack import Stack
from liftos_migration.adapters.postgres import database
from liftos_migration.domain.preflight import CaptureMode

WHOLE_RUNS: Final = 20
WHOLE_KILLS: Final = 30
SHARE_MINUTES: Final = 4.0
SHARE_KILLS: Final = 10
CAMPAIGNS: Final = 200
"""100,000 rows that no writer changes."""


async def run(*, seed: int, is_whole: bool, minutes: float | None) -> list[Tally]:
    """Run moves; all of them where the part was named, else as many as its share has time for."""
    limit = None if is_whole and minutes is None else 60.0 * (minutes or SHARE_MINUTES)
    kills = WHOLE_KILLS if is_whole else SHARE_KILLS
    started = time.monotonic()
    outcomes: list[Outcome] = []
    with (
        tempfile.TemporaryDirectory(prefix="liftos-chaos-") as folder,
        stack.start(
            Path(folder) / "data", ports=PortPlan.automatic(), services=("memory", "memory-worker")
        ) as running,
    ):
        await postgres.migrate(
            running.environment["LIFTOS_POSTGRES_OWNER_URL"],
            database.schema_files(),
            schema=database.SCHEMA,
        )
        modes = itertools.cycle((CaptureMode.LOG, CaptureMode.TRIGGER))
        for number, mode in zip(range(WHOLE_RUNS), modes, strict=False):
            outcomes.append(
                await _one(running, Path(folder), mode, seed=seed + number, kills=kills)
            )
            if limit is not None and time.monotonic() - started > limit:
                break
    return [
        Tally(
            "copy",
            len(outcomes),
            sum(each.kills for each in outcomes),
            sum(each.lost for each in outcomes),
            sum(each.doubled + each.rewritten for each in outcomes),
            f"{sum(each.chunks for each in outcomes):,} chunks, by log and by triggers",
        )
    ]


async def _one(
    running: Stack, folder: Path, mode: CaptureMode, *, seed: int, kills: int
) -> Outcome:
    name = f"module_{secrets.token_hex(4)}"
    admin = await asyncpg.connect(running.postgres_admin_url())
    await admin.execute(f"create database {name}")
    core = running.environment["LIFTOS_POSTGRES_URL"]
    pool = await postgres.create_pool(
        core, application_name="chaos", minimum=1, maximum=4, schema=database.SCHEMA
    )
    secret = running.environment["LIFTOS_JWT_SECRET"].encode()
    token = issue_token(secret=secret, org=f"org-{secrets.token_hex(4)}", roles=["admin"])
    address = running.addresses["memory"]
    try:
        async with connect(address, token=token) as client:
            return await killed_move(
                Place(core, running.postgres_admin_url(name), address, token), client, pool, folder,
                mode=mode, kills=kills, campaigns=CAMPAIGNS, seed=seed, migration="shop",
            )  # fmt: skip
    finally:
        await pool.close()
        await admin.execute(f"drop database {name} with (force)")
        await admin.close()
