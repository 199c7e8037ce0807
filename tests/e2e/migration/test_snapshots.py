"""Snapshots of a real source that steps rest on, kept in a real ledger."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from liftos_kit import postgres
from liftos_kit.core.errors import InvalidFieldsError, StoreUnavailableError
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, fresh_database
from liftos_migration.adapters.postgres.database import SCHEMA, schema_files
from liftos_migration.adapters.postgres.ledger import PostgresLedger
from liftos_migration.adapters.postgres.migrations import PostgresMigrations
from liftos_migration.adapters.postgres.snapshots import PostgresSnapshotRecords
from liftos_migration.adapters.source.connections import SourceConnections
from liftos_migration.adapters.source.dumping import DumpedSnapshots
from liftos_migration.adapters.source.inspecting import PostgresInspector
from liftos_migration.adapters.source.references import SourceReferences
from liftos_migration.domain.ledger import JsonObject
from liftos_migration.domain.migrations import MigrationSpec, SourceStore, Throttle
from liftos_migration.domain.states import MigrationState, Place
from liftos_migration.ledger_ports import LeaseLostError, Verdict
from liftos_migration.snapshot_ports import SnapshotRequest
from liftos_migration.usecases.snapshotting import AfterSnapshot, Snapshots, TakeSnapshot
from liftos_migration.usecases.steps import StepContext, StepFailedError, StepStoppedError

ORG: Final = "acme"
SPEC: Final = MigrationSpec(
    display_name="Shop", module="shop", source=SourceStore("SHOP_DATABASE_URL", schemas=("shop",))
)
SOURCE: Final = """
create schema shop;
create table shop.orders (id bigint primary key, at timestamptz not null, amount numeric(18, 4));
create table shop.notes (order_id bigint references shop.orders, text text);
insert into shop.orders select n, timestamptz '2026-01-01' + n * interval '1 minute', n / 3.0
from generate_series(1, 3000) n;
insert into shop.notes select n, 'note ' || n from generate_series(1, 100) n;
"""


@pytest.fixture(scope="module")
def database(stores: Stack) -> Iterator[TestDatabase]:
    """Migration's own."""
    with fresh_database(stores) as fresh:
        yield fresh


@pytest.fixture(scope="module")
async def pool(database: TestDatabase) -> AsyncIterator[asyncpg.Pool]:
    """Connections of the service's role."""
    await postgres.migrate(database.owner_url, schema_files(), schema=SCHEMA)
    opened = await postgres.create_pool(
        database.url, application_name="test", minimum=1, maximum=6, schema=SCHEMA
    )
    yield opened
    await opened.close()


@pytest.fixture
async def source(stores: Stack) -> AsyncIterator[TestDatabase]:
    """The module's database."""
    with fresh_database(stores) as fresh:
        connection = await asyncpg.connect(fresh.owner_url)
        await connection.execute(SOURCE)
        await connection.close()
        yield fresh


@pytest.fixture
async def scratch_url(stores: Stack) -> AsyncIterator[str]:
    """A server for restore tests, as a role that may create databases and nothing else."""
    admin = await asyncpg.connect(stores.postgres_admin_url())
    await admin.execute("create role restorer login createdb password 'restorer-password'")
    try:
        yield f"postgresql://restorer:restorer-password@{_address(stores)}/postgres"
        left = "select datname from pg_database where datname like 'liftos_restore_%'"
        assert await admin.fetch(left) == []
    finally:
        await admin.execute("drop role restorer")
        await admin.close()


def _address(stores: Stack) -> str:
    return stores.postgres_admin_url().rpartition("@")[2].partition("/")[0]


class Desk:
    """A migration that a worker has, and the parts that its snapshots are made with."""

    def __init__(
        self, pool: asyncpg.Pool, source: TestDatabase, scratch_url: str, at: Path
    ) -> None:
        self.directory = at
        self.references = SourceReferences(
            {"SHOP_DATABASE_URL": source.owner_url}, frozenset({(ORG, "SHOP_")})
        )
        self.store = DumpedSnapshots(at, self.references, scratch_url, jobs=2)
        self.ledger = PostgresLedger(pool)
        self.records = PostgresSnapshotRecords(pool)
        self.snapshots = Snapshots(
            store=self.store,
            records=self.records,
            ledger=self.ledger,
            inspector=PostgresInspector(self.references, None),
            maximum_age=timedelta(hours=6),
        )
        self.step = TakeSnapshot(self.snapshots)
        self._pool = pool
        self._source = source

    async def context(self, migration: str) -> StepContext:
        """Create a migration, and take it as a worker."""
        migrations = PostgresMigrations(self._pool)
        await migrations.create(ORG, migration, SPEC, None)
        verdict = Verdict("start", "ann", "it is time", place=Place(MigrationState.PREFLIGHT))
        await migrations.decide(ORG, migration, lambda _: verdict, None)
        lease = await self.ledger.take(ORG, migration, owner="worker-1", seconds=60)
        assert lease is not None
        return StepContext(
            lease=lease,
            spec=SPEC,
            source=SourceConnections(self._source.owner_url),
            core=None,
            stop=asyncio.Event(),
            progress=lambda _: None,
            throttle=Throttle,
        )

    async def kept(self, context: StepContext) -> list[tuple[str, bool]]:
        """Return what the ledger has: ids, and whether each counts."""
        found, _ = await self.records.list_page(ORG, context.migration, cursor=None, limit=100)
        return [(snapshot.id, snapshot.counts) for snapshot, _ in found]


@pytest.fixture
def desk(pool: asyncpg.Pool, source: TestDatabase, scratch_url: str, tmp_path: Path) -> Desk:
    """A desk with a source of its own."""
    return Desk(pool, source, scratch_url, tmp_path)


async def test_a_snapshot_is_taken_once_and_counts(desk: Desk) -> None:
    """While schema, plan and age allow it is used again; else there is another one."""
    context = await desk.context("once")
    output = await desk.step.do(context)
    assert (output["tables"], output["rows"]) == (2, 3100)
    assert output["restore_seconds"] > 0
    await desk.step.verify(context)
    assert await desk.kept(context) == [(output["snapshot"], True)]
    again = await desk.step.do(context)
    assert again == output

    stored = await desk.ledger.read(context.lease)
    assert stored.snapshot_plan_sha256 == stored.plan_sha256

    older = replace(desk.snapshots, clock=lambda: datetime.now(UTC) + timedelta(hours=7))
    assert await older.find(context) is None
    async with context.source.connect() as connection:
        await connection.execute("alter table shop.orders add column paid boolean")
    with pytest.raises(StepFailedError) as missing:
        await desk.step.verify(context)
    assert missing.value.code == "SNAPSHOT_MISSING"
    other = await desk.step.do(context)
    assert other["snapshot"] != output["snapshot"]
    await desk.step.verify(context)

    await desk.step.undo(context)
    assert await desk.kept(context) == []
    assert not (desk.directory / ORG / "once").exists()
    await desk.step.undo(context)


async def test_one_that_was_not_tested_yet_is_tested_and_not_taken_again(desk: Desk) -> None:
    """So goes on who follows a worker that died between the two."""
    context = await desk.context("untested")
    output = await desk.step.do(context)
    (desk.directory / ORG / "untested" / output["snapshot"] / "restore-test.json").unlink()
    assert await desk.snapshots.find(context) is None
    again = await desk.step.do(context)
    assert again["snapshot"] == output["snapshot"]
    assert again["sha256"] == output["sha256"]


async def test_one_that_was_damaged_does_not_pass(desk: Desk) -> None:
    """The worker stops with what to do, and no scratch database stays."""
    context = await desk.context("damaged")
    output = await desk.step.do(context)
    folder = desk.directory / ORG / "damaged" / output["snapshot"]
    (folder / "restore-test.json").unlink()
    file = next((folder / "data").glob("*.dat.gz"))
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(StepFailedError) as damaged:
        await desk.step.do(context)
    assert damaged.value.code == "SNAPSHOT_DAMAGED"
    assert file.name in damaged.value.message
    shutil.rmtree(folder)
    assert (await desk.step.do(context))["snapshot"] != output["snapshot"]


async def test_what_stands_in_the_way_is_told(
    desk: Desk, source: TestDatabase, scratch_url: str
) -> None:
    """No place, no right, another org's variable, a server that is away, a lost lease, a stop."""
    context = await desk.context("told")
    with pytest.raises(StepFailedError) as off:
        await TakeSnapshot(replace(desk.snapshots, store=None)).do(context)
    assert "LIFTOS_SNAPSHOT_DIRECTORY" in off.value.remedy

    blind = SourceReferences({"SHOP_DATABASE_URL": source.url}, frozenset({(ORG, "SHOP_")}))
    unseen = DumpedSnapshots(desk.directory, blind, scratch_url, jobs=1)
    with pytest.raises(StepFailedError) as refused:
        await TakeSnapshot(replace(desk.snapshots, store=unseen)).do(context)
    assert refused.value.code == "SNAPSHOT_PERMISSION"

    foreign = replace(context, spec=replace(SPEC, source=SourceStore("OTHER_URL")))
    with pytest.raises(InvalidFieldsError):
        await desk.step.do(foreign)

    away = "postgresql://a:b@127.0.0.1:1/postgres"
    untestable = DumpedSnapshots(desk.directory, desk.references, away, jobs=1)
    with pytest.raises(StoreUnavailableError):
        await TakeSnapshot(replace(desk.snapshots, store=untestable)).do(context)
    assert await desk.kept(context) == []

    context.stop.set()
    with pytest.raises(StepStoppedError):
        await desk.step.do(context)
    context.stop.clear()
    lost = replace(context, lease=replace(context.lease, epoch=context.lease.epoch - 1))
    with pytest.raises(LeaseLostError):
        await desk.step.do(lost)
    assert (await desk.step.do(context))["rows"] == 3100


async def test_old_snapshots_go(desk: Desk) -> None:
    """The newest that count stay, in the ledger too."""
    context = await desk.context("pruned")
    taken = []
    for number in range(3):
        async with context.source.connect() as connection:
            await connection.execute(f"create table shop.more_{number} (id int primary key)")
        taken.append((await desk.step.do(context))["snapshot"])
    assert await desk.kept(context) == [(taken[2], True), (taken[1], True)]
    listed = await desk.store.list(ORG, "pruned")
    assert [each.id for each in listed] == taken[1:]


class _AlterSource:
    """A step that changes the source."""

    title = "alter the source"
    phase = MigrationState.PREPARED

    async def do(self, context: StepContext) -> JsonObject:
        async with context.source.connect() as connection:
            await connection.execute("alter table shop.notes add column seen boolean")
        return {"altered": True}

    async def verify(self, context: StepContext) -> None:
        """Nothing can go wrong with it."""

    async def undo(self, context: StepContext) -> None:
        async with context.source.connect() as connection:
            await connection.execute("alter table shop.notes drop column seen")


async def test_a_step_that_changes_the_source_has_a_snapshot_from_before(desk: Desk) -> None:
    """The one that there is, or another where it is too old; triggers of ours change nothing."""
    context = await desk.context("rests")
    first = (await desk.step.do(context))["snapshot"]
    async with context.source.connect() as connection:
        await connection.execute(
            "create schema liftos_migration; create table liftos_migration.seen as select 1 as n;"
            "create function liftos_migration.seen() returns trigger language plpgsql"
            " as $$ begin return null; end $$;"
            "create trigger seen after insert on shop.notes"
            " execute function liftos_migration.seen()"
        )
    step = AfterSnapshot(_AlterSource(), desk.snapshots)
    assert (step.title, step.phase) == ("alter the source", MigrationState.PREPARED)
    assert await step.do(context) == {"altered": True}
    await step.verify(context)
    assert [each for each, _ in await desk.kept(context)] == [first]
    await step.undo(context)
    late = replace(desk.snapshots, maximum_age=timedelta(seconds=0))
    await AfterSnapshot(_AlterSource(), late).do(context)
    kept = await desk.kept(context)
    assert len(kept) == 2
    assert (first, True) in kept


CHILD: Final = """
import asyncio, os, sys
from pathlib import Path
from liftos_migration.adapters.source.dumping import DumpedSnapshots
from liftos_migration.adapters.source.references import SourceReferences
from liftos_migration.domain.migrations import SourceStore
from liftos_migration.snapshot_ports import SnapshotRequest

async def main():
    references = SourceReferences(os.environ, frozenset({("acme", "SHOP_")}))
    store = DumpedSnapshots(Path(sys.argv[1]), references, os.environ["SCRATCH_URL"], jobs=2)
    source = SourceStore("SHOP_DATABASE_URL", schemas=("shop",))
    request = SnapshotRequest(source, "schema", "plan")
    print("begun", flush=True)
    taken = await store.take("acme", "killed", request, lambda *_: None)
    print("taken", flush=True)
    await store.test("acme", "killed", taken.id, lambda *_: None)
    print("tested", flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("said", ["begun", "taken"])
def test_a_worker_that_is_killed_leaves_none_that_counts_by_mistake(
    said: str, source: TestDatabase, scratch_url: str, tmp_path: Path
) -> None:
    """In the middle of a dump or of its test: the next one goes on, and nothing is left over."""
    references = SourceReferences(
        {"SHOP_DATABASE_URL": source.owner_url}, frozenset({(ORG, "SHOP_")})
    )
    store = DumpedSnapshots(tmp_path, references, scratch_url, jobs=2)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        env=os.environ
        | {
            "SHOP_DATABASE_URL": source.owner_url,
            "SCRATCH_URL": scratch_url,
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    while child.stdout.readline().strip() != said:
        assert child.poll() is None
    time.sleep(0.1)
    child.send_signal(signal.SIGKILL)
    child.communicate()

    found = asyncio.run(store.list(ORG, "killed"))
    assert [each.counts for each in found] == [False] * (said == "taken")
    if not found:
        request = SnapshotRequest(SPEC.source, "schema", "plan")
        found = [asyncio.run(store.take(ORG, "killed", request, lambda *_: None))]
    (folder,) = (each for each in (tmp_path / ORG / "killed").iterdir() if each.is_dir())
    assert folder.name == found[0].id
    assert asyncio.run(store.test(ORG, "killed", found[0].id, lambda *_: None)).counts
