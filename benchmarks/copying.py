"""Copying's figures: a module's table through its mapping, beside finished rows and a dump."""

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import asyncpg
from tests.e2e.migration.moving import Move, create, taken

import liftos_causal
from benchmarks.memory import Bench, memory_server
from benchmarks.results import DifferenceError, Measurement
from liftos_causal.adapters.module import database as module_database
from liftos_causal.sample import fill
from liftos_cli.mapping_files import read_mapping_file
from liftos_client import Client, connect
from liftos_client.frames import split_table
from liftos_kit import postgres
from liftos_kit.auth import issue_token
from liftos_kit.dumps.programs import client_programs, without_password
from liftos_migration.adapters.postgres import database as migration_database
from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.adapters.source.rows import PostgresRows
from liftos_migration.convert.mappings import mapping_of
from liftos_migration.domain.mapping import Mapping
from liftos_migration.domain.preflight import CaptureMode
from liftos_migration.usecases.preparing import moving

_TABLE: Final = "campaign_performance"
_DAYS: Final = 730
_SCALE: Final = 10
_ORG: Final = "bench"
_MAJOR: Final = 18


def measure() -> Iterator[Measurement]:
    """Measure everything, one figure after the other."""
    with memory_server(cache=False) as bench:
        yield asyncio.run(_copy(bench))


async def _copy(bench: Bench) -> Measurement:
    admin = await asyncpg.connect(bench.admin_url())
    await admin.execute("create database module")
    await admin.execute("create database restored")
    await admin.close()
    url = bench.admin_url("module")
    entries = await _filled(url)
    await postgres.migrate(
        bench.environment["LIFTOS_POSTGRES_OWNER_URL"],
        migration_database.schema_files(),
        schema=migration_database.SCHEMA,
    )
    pool = await postgres.create_pool(
        bench.environment["LIFTOS_POSTGRES_URL"],
        application_name="bench",
        minimum=1,
        maximum=6,
        schema=migration_database.SCHEMA,
    )
    source = SourceConnections(url)
    token = issue_token(secret=bench.environment["LIFTOS_JWT_SECRET"].encode(), org=_ORG)
    async with connect(bench.address, token=token) as client:
        move = await _moved(pool, source, client)
        started = time.perf_counter()
        done = await move.copy.do(move.context)
        copied = time.perf_counter() - started
        if (found := await bench.count()) != done["rows"] or done["rejects"]:
            raise DifferenceError(f"{done} were copied, and {found} are there")
        finished = await _finished(move, source)
        await bench.empty()
        plain = await bench.stream(finished)
        await move.prepare.undo(move.context)
    await pool.close()
    dumped, restored = await _dumped(url, bench.admin_url("restored"))
    rows = done["rows"]
    return Measurement(
        "migration_copy_share_of_arrow",
        plain / copied,
        0.5,
        "higher",
        f"{entries:,} rows of a module as {rows:,} entries: {copied:.1f} s"
        f" ({rows / copied:,.0f}/s), the same finished rows as Arrow: {plain:.1f} s; pg_dump -Fd"
        f" -j 2 {dumped:.1f} s and pg_restore -j 2 {restored:.1f} s of the module as it is",
    )


async def _filled(url: str) -> int:
    """Fill a module's database; return the rows of the table that is copied."""
    await postgres.migrate(url, module_database.schema_files(), schema=module_database.SCHEMA)
    pool = await postgres.create_pool(
        url,
        application_name="bench",
        minimum=1,
        maximum=1,
        schema=module_database.SCHEMA,
        statement_timeout_seconds=600.0,
    )
    async with pool.acquire() as connection:
        sample = await fill(connection, _ORG, end=date(2026, 1, 31), days=_DAYS, scale=_SCALE)
        await connection.execute("vacuum analyze")
    await pool.close()
    return sample.performance_rows


async def _moved(pool: asyncpg.Pool, source: SourceConnections, client: Client) -> Move:
    """Return a migration of the one table, prepared."""
    _, message = read_mapping_file(Path(liftos_causal.__file__).parent / "migration.yaml")
    tables = mapping_of(message).tables
    mapping = Mapping(tuple(each for each in tables if each.table == f"public.{_TABLE}"))
    await client.memory.upsert_source("tiktok", display_name="TikTok")
    await create(pool, client, "bench", CaptureMode.LOG, mapping)
    move = await taken(pool, source, client, "bench")
    assert move is not None
    await move.prepare.do(move.context)
    return move


async def _finished(move: Move, source: SourceConnections) -> Sequence[dict[str, Any]]:
    """Return the entries of the table as messages that are ready to be sent."""
    reader = PostgresRows()
    found = await moving(move.context, reader)
    payloads: list[dict[str, Any]] = []
    async with source.snapshot() as (connection, _):
        async for records in reader.range(connection, found.tables[0].projection, None, None):
            assert records.entries is not None
            payloads += [{"arrow": data} for _, data in split_table(records.entries)]
    return payloads


async def _dumped(url: str, empty_url: str) -> tuple[float, float]:
    """Return the seconds that a dump and a restore of the module take."""
    programs = client_programs(_MAJOR)
    with tempfile.TemporaryDirectory(prefix="liftos-bench-") as folder:
        files = str(Path(folder) / "dump")
        dump = ["-Fd", "-j", "2", "-f", files]
        dumped = await _ran(programs.folder / "pg_dump", url, dump)
        restore = ["-j", "2", "--no-owner", files]
        restored = await _ran(programs.folder / "pg_restore", empty_url, restore)
    return dumped, restored


async def _ran(program: Path, url: str, options: Sequence[str]) -> float:
    address, password = without_password(url)
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        program, *options, "-d", address, env={"PGPASSWORD": password or ""}
    )
    if await process.wait():
        raise RuntimeError(f"{program.name} ended with {process.returncode}")
    return time.perf_counter() - started
