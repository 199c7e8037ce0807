"""Sources that an org defines as data, from a real file and a real API into a real Memory."""

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from redis.asyncio import Redis
from tests.e2e.ingestion.readings import DAY, OneSource, SilentQueue

from liftos_client import Client
from liftos_ingestion.adapters.inmemory_rate_governor import InMemoryRateGovernor
from liftos_ingestion.adapters.memory import MemoryEntryWriter
from liftos_ingestion.adapters.memory_checks import MemoryEntryChecks
from liftos_ingestion.adapters.postgres.runs import PostgresRunLedger
from liftos_ingestion.adapters.postgres.sources import PostgresSources
from liftos_ingestion.adapters.redis.rate_governor import RedisRateGovernor
from liftos_ingestion.adapters.sources.own_sources import OwnSources
from liftos_ingestion.catalog_ports import NewSource, SourceKind
from liftos_ingestion.connection_ports import OpenConnection
from liftos_ingestion.run_ports import NewRun, RunKind, RunState, SlicePlan, SliceState
from liftos_ingestion.source_ports import Credential, PlatformAccount, PlatformSource
from liftos_ingestion.testing.fake_platform import FakeAnswer, FakePlatform, FakeRequest
from liftos_ingestion.usecases.previews import Preview, PreviewRequest, Previews
from liftos_ingestion.usecases.reading import Reading
from liftos_ingestion.usecases.sources import Catalog
from liftos_kit import postgres
from liftos_kit.core.clock import SystemClock
from liftos_kit.secrets.secret import Secret
from liftos_local.stack import Stack
from liftos_mapping.language import compile_mapping

SHOP = PlatformAccount("shop", "Shop", "Europe/Berlin", "EUR")
ACCOUNTS = [{"account_id": "shop", "time_zone": "Europe/Berlin", "currency_code": "EUR"}]
MAPPING: dict[str, Any] = {
    "level": "OUTCOME",
    "date_basis": "EVENT",
    "calculate": {"day": "date(at, 'iso', 'Europe/Berlin')", "one": "1"},
    "aggregate": {"by": ["day", "country"], "sum": ["one", "total"]},
    "columns": {"date": "day", "orders": "one", "revenue_micros": "total"},
    "breakdowns": {"country": "country"},
}
HEAD = "at,country,total\n"
Figures = dict[tuple[str, str], tuple[int, int]]


@dataclass
class Worker:
    """Reads one source of one org."""

    org: str
    pool: asyncpg.Pool
    memory: Client
    redis: Redis

    async def open(self, org: str, connection: str) -> OpenConnection:
        """Return the connection of the test."""
        return OpenConnection("till", {}, Credential({"token": Secret("t0ken")}), [SHOP])

    async def read(self, source: PlatformSource) -> Sequence[asyncpg.Record]:
        """Read the first two days of March whole, and return the slices of all runs."""
        ledger = PostgresRunLedger(self.pool, SilentQueue())
        end = DAY.replace(day=DAY.day + 1)
        run = await ledger.start(
            self.org,
            NewRun(
                kind=RunKind.INCREMENTAL,
                connection="till",
                platform="till",
                start_date=DAY,
                end_date=end,
                levels=("OUTCOME",),
                account_ids=("shop",),
                force=False,
                slices=[SlicePlan("shop", "OUTCOME", "", "EVENT", DAY, end, 0)],
                subject="test",
            ),
        )
        assert run is not None
        reading = Reading(
            ledger=ledger,
            connections=self,
            catalog=OneSource(source),
            governor=RedisRateGovernor(self.redis),
            writer=MemoryEntryWriter(lambda _: self.memory),
            executor=ThreadPoolExecutor(1),
            clock=SystemClock(),
            worker="worker-1",
        )
        for slice_ in await self._slices(run):
            await reading.read(self.org, slice_["slice"])
        return await self._slices(run)

    async def _slices(self, run: UUID) -> Sequence[asyncpg.Record]:
        async with postgres.transaction(self.pool, org=self.org) as connection:
            found: Sequence[asyncpg.Record] = await connection.fetch(
                "select * from run_slices where run = $1", run
            )
        return found

    async def rows(self, table: str) -> Sequence[asyncpg.Record]:
        """Return the rows of a table."""
        async with postgres.transaction(self.pool, org=self.org) as connection:
            found: Sequence[asyncpg.Record] = await connection.fetch(f"select * from {table}")
        return found

    async def stored(self) -> Figures:
        """Return orders and revenue that Memory holds, by day and breakdown."""
        entries = [entry async for entry in self.memory.memory.list_entries()]
        return {
            (it.date, it.breakdown_key): (it.metrics.orders, it.metrics.revenue_micros)
            for it in entries
        }


@pytest.fixture
async def worker(
    pool: asyncpg.Pool, memory: Client, org: str, stores: Stack
) -> AsyncIterator[Worker]:
    """A worker of an org whose Memory knows the source."""
    redis = Redis.from_url(stores.environment["LIFTOS_REDIS_URL"])
    await memory.memory.upsert_source("till", display_name="Till")
    yield Worker(org, pool, memory, redis)
    await redis.aclose()


def built(kind: SourceKind, definition: dict[str, Any], folder: Path | None) -> PlatformSource:
    """The source of a definition."""
    sources = OwnSources(folder, private_allowed=True, timeout_seconds=5)
    return sources.build(NewSource("till", "Till", kind, definition, MAPPING))


async def previewed(worker: Worker, spec: NewSource, folder: Path, **asked: Any) -> Preview:
    """What a preview of the source shows."""
    store = PostgresSources(worker.pool)
    async with store.write(worker.org) as write:
        await write.upsert(spec)
    sources = OwnSources(folder, private_allowed=True, timeout_seconds=5)
    previews = Previews(
        catalog=Catalog({}, store=store, build=sources.build),
        opener=worker,
        governor=InMemoryRateGovernor(),
        read_mapping=compile_mapping,
        memory=MemoryEntryChecks(lambda _: worker.memory),
        executor=ThreadPoolExecutor(1),
        clock=OnDay(),
    )
    given: dict[str, Any] = {"mapping": None, "rows": (), "connection": "till", "account_id": ""}
    return await previews.preview(worker.org, PreviewRequest(source="till", **(given | asked)))


class OnDay(SystemClock):
    """A clock of the days that the tests read."""

    def now(self) -> datetime:
        """Return noon of the day behind those that are read."""
        return datetime(2026, 3, 4, 12, tzinfo=UTC)


def figures(preview: Preview) -> Figures:
    """Return orders and revenue of a preview, by day and breakdown."""
    return {
        (it["date"].isoformat(), it["breakdown_key"]): (it["orders"], it["revenue_micros"])
        for it in preview.entries.to_pylist()
    }


async def test_orders_from_files_replace_what_was_stored(worker: Worker, tmp_path: Path) -> None:
    """Orders are summed by day and country; another export of the days replaces the whole."""
    folder = tmp_path / worker.org
    folder.mkdir()
    files = [{"level": "OUTCOME", "pattern": "*.csv", "format": "csv"}]
    definition = {"place": {"kind": "local"}, "files": files, "accounts": ACCOUNTS}
    source = built(SourceKind.FILES, definition, tmp_path)
    (folder / "a.csv").write_text(
        f"{HEAD}2026-03-02T10:00:00Z,DE,10.10\n2026-03-02T23:30:00Z,DE,1\n2026-03-01,DE,9\n"
    )
    (folder / "b.csv").write_text(f"{HEAD}2026-03-02,DE,0.05\n2026-03-02,FR,7\n")
    (slice_,) = await worker.read(source)
    assert (slice_["state"], slice_["row_count"]) == (SliceState.COMMITTED, 3)
    assert await worker.stored() == {
        ("2026-03-02", "country=DE"): (2, 10_150_000),
        ("2026-03-02", "country=FR"): (1, 7_000_000),
        ("2026-03-03", "country=DE"): (1, 1_000_000),
    }
    (slice_,) = await worker.read(source)
    assert slice_["state"] == SliceState.UNCHANGED
    (folder / "b.csv").unlink()
    (slice_,) = await worker.read(source)
    assert slice_["vanished_count"] == 1
    assert await worker.stored() == {
        ("2026-03-02", "country=DE"): (1, 10_100_000),
        ("2026-03-03", "country=DE"): (1, 1_000_000),
    }


async def test_a_preview_is_what_a_run_stores(worker: Worker, tmp_path: Path) -> None:
    """Of given rows and of a sample, with the source's own mapping and with one that is tried."""
    folder = tmp_path / worker.org
    folder.mkdir()
    files = [{"level": "OUTCOME", "pattern": "*.csv", "format": "csv"}]
    definition = {"place": {"kind": "local"}, "files": files, "accounts": ACCOUNTS}
    rows = [("2026-03-02T10:00:00Z", "DE", "10.10"), ("2026-03-02T23:30:00Z", "DE", "1")]
    rows += [("2026-03-02", "FR", "7"), ("2026-03-02", "DE", "0.05")]
    (folder / "a.csv").write_text(HEAD + "".join(f"{','.join(row)}\n" for row in rows))
    spec = NewSource("till", "Till", SourceKind.FILES, definition, MAPPING)
    given = [dict(zip(("at", "country", "total"), row, strict=True)) for row in rows]
    of_rows = await previewed(worker, spec, tmp_path, rows=given)
    alone = await previewed(worker, spec, tmp_path, rows=given, connection="")
    sampled = await previewed(worker, spec, tmp_path)
    await worker.read(built(SourceKind.FILES, definition, tmp_path))
    stored = await worker.stored()
    assert len(stored) == 3
    assert figures(of_rows) == figures(alone) == figures(sampled) == stored
    assert list(of_rows.source_indexes) == [0, 1, 2], "the first row of each group"
    assert not of_rows.errors
    assert not of_rows.unmapped_fields
    by_day = {
        **MAPPING,
        "aggregate": {"by": ["day"], "sum": ["one", "total"]},
        "breakdowns": {},
        "ignore": ["country"],
    }
    expected = {("2026-03-02", ""): (3, 17_150_000), ("2026-03-03", ""): (1, 1_000_000)}
    for asked in ({"rows": given}, {}):
        tried = await previewed(worker, spec, tmp_path, mapping=by_day, **asked)
        assert figures(tried) == expected


async def test_half_a_file_changes_nothing(worker: Worker, tmp_path: Path) -> None:
    """A damaged file gives its days up and leaves what is stored; a bad order is a dead letter."""
    folder = tmp_path / worker.org
    folder.mkdir()
    files = [{"level": "OUTCOME", "pattern": "*.jsonl", "format": "jsonl"}]
    definition = {"place": {"kind": "local"}, "files": files, "accounts": ACCOUNTS}
    source = built(SourceKind.FILES, definition, tmp_path)
    good = '{"at": "2026-03-02", "country": "DE", "total": 1.5}\n'
    (folder / "a.jsonl").write_text(good * 2)
    await worker.read(source)
    before = await worker.stored()
    (folder / "a.jsonl").write_text(good * 3 + '{"at": "2026-03-02", "cou')
    (slice_,) = await worker.read(source)
    assert slice_["state"] == SliceState.FAILED
    assert await worker.stored() == before == {("2026-03-02", "country=DE"): (2, 3_000_000)}
    (folder / "a.jsonl").write_text(good + good.replace("DE", "FR").replace("1.5", '"x"'))
    (slice_,) = await worker.read(source)
    assert slice_["state"] == SliceState.COMMITTED
    assert await worker.stored() == {("2026-03-02", "country=DE"): (1, 1_500_000)}
    (letter,) = await worker.rows("dead_letters")
    assert "'x' is not a number" in str(dict(letter))


async def test_an_api_is_read_by_its_definition_alone(worker: Worker) -> None:
    """Pages, credential and sums of a declared API, through limits that all workers share."""
    orders = [
        {"at": f"2026-03-0{2 + n % 2}T12:00:00+01:00", "country": "DE", "total": "0.35"}
        for n in range(7)
    ]

    def answer(request: FakeRequest) -> object:
        if request.headers.get("authorization") != "Bearer t0ken":
            return FakeAnswer(401)
        start = int(request.query.get("after", 0))
        assert request.query["from"] == "2026-03-02"
        more = start + 2 if start + 2 < len(orders) else None
        return {"orders": orders[start : start + 2], "next": more}

    with FakePlatform(answer) as platform:
        definition = {
            "base_url": platform.url,
            "auth": {"kind": "bearer"},
            "accounts": ACCOUNTS,
            "reads": [
                {
                    "level": "OUTCOME",
                    "path": "/orders",
                    "params": {"from": "{start_date}", "until": "{next_date}"},
                    "records": "orders",
                    "pagination": {"kind": "cursor", "param": "after", "from": "next"},
                }
            ],
        }
        (slice_,) = await worker.read(built(SourceKind.HTTP, definition, None))
    assert slice_["state"] == SliceState.COMMITTED
    assert {it["state"] for it in await worker.rows("runs")} == {RunState.SUCCEEDED}
    assert len(platform.calls) == 4
    assert await worker.stored() == {
        ("2026-03-02", "country=DE"): (4, 1_400_000),
        ("2026-03-03", "country=DE"): (3, 1_050_000),
    }
