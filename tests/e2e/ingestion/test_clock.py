"""What day it is: Postgres says it to all servers and workers, whatever their machines say."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import structlog
from tests.e2e.ingestion.readings import (
    Harness,
    OneConnection,
    OneSource,
    ScriptedSource,
    add_connection,
    pages,
    row,
)

from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos_client import Client
from liftos_ingestion.adapters.postgres import clock as clock_module
from liftos_ingestion.adapters.postgres.clock import PostgresClock
from liftos_ingestion.run_ports import NewRun, RunKind, SlicePlan
from liftos_ingestion.source_ports import Page, PlatformJob, ReadRequest
from liftos_ingestion.usecases.reading import Reading
from liftos_kit.core.clock import SystemClock
from liftos_kit.testing.server import RunningServer
from liftos_mapping.transform import TransformContext

AHEAD = timedelta(days=40)


class AheadClock(SystemClock):
    """The clock of a machine that nobody has set."""

    __slots__ = ()

    def now(self) -> datetime:
        """Return a moment that has not come yet."""
        return datetime.now(UTC) + AHEAD


async def _asked(pool: asyncpg.Pool) -> datetime:
    moment: datetime = await pool.fetchval("select clock_timestamp()")
    return moment


async def test_the_machines_clock_does_not_count(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the time that passes on it does; that it is off is told once."""
    monkeypatch.setattr(clock_module, "_ASK_SECONDS", 0.05)
    with structlog.testing.capture_logs() as told:
        clock = await PostgresClock.ask(pool, AheadClock())
        stop = asyncio.Event()
        asking = asyncio.create_task(clock.run(stop))
        for _ in range(3):
            before = await _asked(pool)
            now = clock.now()
            assert before - timedelta(seconds=1) <= now <= await _asked(pool)
            await asyncio.sleep(0.1)
        stop.set()
        await asking
    assert clock.today() == clock.now().date()
    warnings = [it for it in told if it["event"] == "clock_differs"]
    assert [round(it["seconds"] / 86_400) for it in warnings] == [AHEAD.days]


async def test_no_day_becomes_final_too_early(harness: Harness, memory: Client) -> None:
    """A worker that is ahead closes none that the platform still changes."""
    clock = await PostgresClock.ask(harness.pool, AheadClock())
    today = clock.today()

    async def answer(request: ReadRequest) -> AsyncGenerator[Page | PlatformJob, None]:
        yield Page([row("1", "5", day=request.start_date)], TransformContext())

    harness.source.answers = [answer]
    days = [today - timedelta(days=it) for it in (35, 3)]
    run = NewRun(
        kind=RunKind.INCREMENTAL,
        connection="shop",
        platform="meta",
        start_date=days[0],
        end_date=days[1],
        levels=("CAMPAIGN",),
        account_ids=("7",),
        force=False,
        slices=[SlicePlan("7", "CAMPAIGN", "", "INTERACTION", day, day, 0) for day in days],
        subject="test",
    )
    await harness.ledger.start(harness.org, run)
    reading = Reading(
        ledger=harness.ledger,
        connections=OneConnection(),
        catalog=OneSource(harness.source),
        governor=harness.governor,
        writer=harness.writer,
        executor=ThreadPoolExecutor(1),
        clock=clock,
        worker="ahead",
    )
    for slice_ in await harness.rows("run_slices"):
        await reading.read(harness.org, slice_["slice"])
    finals = {it["date"]: it["final"] for it in await harness.rows("lane_days")}
    assert finals == {days[0]: True, days[1]: False}


async def test_a_server_asks_postgres(
    ingestion_client: Callable[..., Any],
    pool: asyncpg.Pool,
    org: str,
    scripted: ScriptedSource,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that names no days ends today, and not on the day of a server that is ahead."""
    scripted.answers = [pages([])]
    connection = await add_connection(pool, org)
    monkeypatch.setattr(SystemClock, "now", AheadClock.now)
    request = pb.StartRunRequest(parent=connection, request_id=str(uuid4()))
    before = await _asked(pool)
    run = (await ingestion_client(org).StartRun(request)).run
    today = {before.date().isoformat(), (await _asked(pool)).date().isoformat()}
    assert run.date_range.end_date in today


_AHEAD_WORKER = """
import runpy, sys
from datetime import UTC, datetime, timedelta
from liftos_kit.core.clock import SystemClock
SystemClock.now = lambda self: datetime.now(UTC) + timedelta(days=40)
sys.argv = ["liftos_ingestion", "worker"]
runpy.run_module("liftos_ingestion", run_name="__main__")
"""


async def test_a_worker_asks_postgres(
    environment: Mapping[str, str], memory_server: RunningServer
) -> None:
    """It starts on a machine that is ahead, says by how much, and works."""
    given = {k: v for k, v in environment.items() if k != "LIFTOS_MILVUS_URL"} | {
        "LIFTOS_MEMORY_ADDRESS": memory_server.target,
        "LIFTOS_METRICS_PORT": "0",
        "PYTHONPATH": ":".join(it for it in sys.path if it),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _AHEAD_WORKER, env=given, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    seen: dict[str, Any] = {}
    try:
        async with asyncio.timeout(60):
            while "working" not in seen:
                line = await process.stderr.readline()
                assert line.startswith(b"{"), line + await process.stderr.read()
                told = json.loads(line)
                seen[told["event"]] = told
    finally:
        process.terminate()
        await process.communicate()
    assert round(seen["clock_differs"]["seconds"] / 86_400) == AHEAD.days
    assert process.returncode == 0
