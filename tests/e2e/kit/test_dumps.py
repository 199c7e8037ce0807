"""Dumps of real databases: whole or not there, and not trusted before they were restored."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from liftos_kit.dumps import shelf
from liftos_kit.dumps.dumping import DumpRequest, take_dump
from liftos_kit.dumps.errors import DumpError, DumpProblem
from liftos_kit.dumps.manifest import digest_files
from liftos_kit.dumps.programs import client_programs
from liftos_kit.dumps.restoring import (
    check_dump,
    restore_dump,
    scratch_database,
    with_database,
)
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, fresh_database

ZOO = """
create schema shop;
create type shop.mood as enum ('calm', 'wild');
create function shop.doubled(n int) returns int language sql immutable as 'select n * 2';
create table shop.sales (
    id bigint generated always as identity primary key, day date not null, mood shop.mood,
    rate float8, amount numeric(18, 6), name text, tags text[], body jsonb, raw bytea,
    at timestamptz,
    twice int generated always as (shop.doubled(7)) stored
);
create table shop.days (day date not null, n int) partition by range (day);
create table shop.days_2025 partition of shop.days for values from ('2025-01-01') to ('2026-01-01');
create table shop.days_2026 partition of shop.days for values from ('2026-01-01') to ('2027-01-01');
create view shop.totals as select day, sum(amount) as amount from shop.sales group by day;
create table "Odd name" (id int primary key);
alter table shop.sales enable row level security;
create policy own on shop.sales to liftos_app using (name = current_setting('liftos.org', true));
grant usage on schema shop to liftos_app;
grant select, insert on shop.sales to liftos_app;
insert into shop.sales (day, mood, rate, amount, name, tags, body, raw, at)
select date '2025-01-01' + n % 700, case n % 3 when 0 then 'calm'::shop.mood end,
       case n % 50 when 0 then 'NaN' when 1 then '-Infinity' else n / 3.0 end, n / 7.0,
       case n % 9 when 0 then null when 1 then '' when 2 then 'a,"b"' else 'n' || n end,
       array['a', null, n::text], jsonb_build_object('n', n, 'x', null),
       decode(md5(n::text), 'hex'), timestamptz '2025-01-01' + n * interval '1 minute'
from generate_series(1, 5000) n;
insert into shop.days select date '2025-01-01' + n % 700, n from generate_series(1, 3000) n;
insert into "Odd name" values (1), (2);
"""


@pytest.fixture
def database(stores: Stack) -> Iterator[TestDatabase]:
    """A database of its own."""
    with fresh_database(stores) as database:
        yield database


@pytest.fixture
def admin_url(stores: Stack, database: TestDatabase) -> str:
    """Its address for a role that may read and write all."""
    return stores.postgres_admin_url(database.name)


@pytest.fixture
async def owner(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection as its owner, to a database with something of everything."""
    connection = await asyncpg.connect(database.owner_url)
    await connection.execute(ZOO)
    yield connection
    await connection.close()


async def _execute(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def _databases(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    try:
        return {row["datname"] for row in await connection.fetch("select datname from pg_database")}
    finally:
        await connection.close()


@pytest.mark.usefixtures("owner")
async def test_a_restored_dump_is_what_was_dumped(tmp_path: Path, admin_url: str) -> None:
    """Rows, definitions, owners, rights and policies; the test is kept, its database is not."""
    told: list[tuple[str, int, int]] = []
    request = DumpRequest(has_access=True, labels={"plan": "abc"})
    dump = await take_dump(
        admin_url, tmp_path, request, on_progress=lambda *words: told.append(words)
    )
    sums = dump.manifest.tables
    assert {name: each.row_count for name, each in sums.items()} == {
        '"public"."Odd name"'.replace('"public"', "public"): 2,
        "shop.days": 3000,
        "shop.sales": 5000,
    }
    assert dump.test is None
    assert dump.manifest.labels == {"plan": "abc"}
    assert dump.manifest.roles.keys() >= {"liftos_app", "liftos_owner"}
    assert {"dumping tables", "adding up rows", "reading files"} <= {words[0] for words in told}
    assert all(0 <= done <= total for _, done, total in told)

    tested = await check_dump(admin_url, dump)
    assert tested.test is not None
    assert tested.test.compared_definitions
    assert tested.test.restore_seconds > 0
    assert shelf.list_dumps(tmp_path) == shelf.Listing((tested,), ())
    assert scratch_database(dump) not in await _databases(admin_url)


async def test_a_dump_of_a_schema_needs_no_roles_of_its_server(
    tmp_path: Path, database: TestDatabase, owner: asyncpg.Connection, stores: Stack
) -> None:
    """It is read as the owner, and restored by a role that owns nothing but what it creates."""
    await owner.execute("alter table shop.sales disable row level security")
    dump = await take_dump(database.owner_url, tmp_path, DumpRequest(schemas=("shop", "public")))
    assert not dump.manifest.has_access
    admin = await asyncpg.connect(stores.postgres_admin_url())
    await admin.execute("create role scratch login createdb password 'scratch-password'")
    address = stores.postgres_admin_url().rpartition("@")[2]
    scratch = f"postgresql://scratch:scratch-password@{address}"
    try:
        passed = await restore_dump(scratch, dump, "scratched")
        assert not passed.compared_definitions
        restored = await asyncpg.connect(with_database(scratch, "scratched"))
        assert await restored.fetchval("select sum(amount) from shop.totals") == (
            await owner.fetchval("select sum(amount) from shop.totals")
        )
        await restored.close()
    finally:
        await admin.execute("drop database if exists scratched")
        await admin.execute("drop role scratch")
        await admin.close()


async def test_a_dump_is_of_one_moment(
    tmp_path: Path, admin_url: str, database: TestDatabase, owner: asyncpg.Connection
) -> None:
    """While rows move between two tables, each is in exactly one; sums and files agree."""
    await owner.execute("create table shop.here as select n from generate_series(1, 2000) n")
    await owner.execute("create table shop.there (n int)")
    stop = asyncio.Event()
    moves = 0

    async def move() -> None:
        nonlocal moves
        while not stop.is_set():
            async with owner.transaction():
                await owner.execute(
                    "with gone as (delete from shop.here where ctid in (select ctid from shop.here"
                    " limit 7) returning n) insert into shop.there select n from gone"
                )
            moves += 1

    moving = asyncio.create_task(move())
    try:
        dump = await take_dump(admin_url, tmp_path, DumpRequest(has_access=True))
    finally:
        stop.set()
        await moving
    assert moves > 3
    rows = dump.manifest.tables
    assert rows["shop.here"].row_count + rows["shop.there"].row_count == 2000
    assert (await check_dump(admin_url, dump)).test is not None


@pytest.mark.usefixtures("owner")
async def test_what_is_damaged_or_different_does_not_pass(tmp_path: Path, admin_url: str) -> None:
    """A byte of a file, a file more, a row less: each is found, and no database stays."""
    dump = await take_dump(admin_url, tmp_path, DumpRequest(has_access=True))
    before = await _databases(admin_url)

    data = dump.folder / shelf.DATA
    chosen = max(data.glob("*.dat.gz"), key=lambda path: path.stat().st_size)
    content = chosen.read_bytes()
    chosen.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    with pytest.raises(DumpError) as damaged:
        await check_dump(admin_url, dump)
    assert damaged.value.problem is DumpProblem.DAMAGED
    assert damaged.value.details == (chosen.name,)
    chosen.write_bytes(content)

    sums = dict(dump.manifest.tables)
    sums["shop.days"] = replace(sums["shop.days"], total=sums["shop.days"].total + 1)
    (dump.folder / "manifest.json").write_bytes(replace(dump.manifest, tables=sums).to_json())
    with pytest.raises(DumpError) as different:
        await check_dump(admin_url, shelf.read_dump(dump.folder))
    assert different.value.problem is DumpProblem.DIFFERENT
    assert different.value.details == ("shop.days: 3000 rows dumped, 3000 rows restored",)

    (dump.folder / "manifest.json").write_text("{}")
    assert shelf.list_dumps(tmp_path) == shelf.Listing((), (dump.id,))
    assert await _databases(admin_url) == before


@pytest.mark.usefixtures("owner")
async def test_a_test_of_another_manifest_does_not_count(tmp_path: Path, admin_url: str) -> None:
    """What a restore test proved is proved of the files that it saw."""
    tested = await check_dump(
        admin_url, await take_dump(admin_url, tmp_path, DumpRequest(has_access=True))
    )
    stored = json.loads((tested.folder / "manifest.json").read_bytes())
    stored["labels"] = {"plan": "another"}
    (tested.folder / "manifest.json").write_text(json.dumps(stored))
    assert shelf.read_dump(tested.folder).test is None


@pytest.mark.usefixtures("owner")
def test_a_killed_dump_leaves_nothing(
    tmp_path: Path, admin_url: str, database: TestDatabase
) -> None:
    """Kill -9 in the middle: nothing is listed, no program runs on, and the next sweeps."""
    asyncio.run(
        _execute(
            database.owner_url,
            "insert into shop.sales (day, name) select '2025-01-01', repeat(md5(n::text), 8)"
            " from generate_series(1, 80000) n",
        )
    )
    code = (
        "import asyncio, os, sys; from pathlib import Path\n"
        "from liftos_kit.dumps.dumping import DumpRequest, take_dump\n"
        "request = DumpRequest(has_access=True)\n"
        "asyncio.run(take_dump(os.environ['DUMPED_URL'], Path(sys.argv[1]), request))\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        env=os.environ | {"DUMPED_URL": admin_url, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        _wait_until(lambda: any(each.stat().st_size for each in tmp_path.glob(".*/data/*.dat.gz")))
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert shelf.list_dumps(tmp_path) == shelf.Listing((), ())
    sessions = (
        "select count(*) from pg_stat_activity"
        " where application_name like '%dump%' and datname = current_database()"
    )
    _wait_until(lambda: asyncio.run(_execute(admin_url, sessions)) == 0)
    dump = asyncio.run(take_dump(admin_url, tmp_path, DumpRequest(has_access=True)))
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [dump.folder]


@pytest.mark.usefixtures("owner")
def test_a_disk_that_is_full_is_told(tmp_path: Path, admin_url: str) -> None:
    """With what to do, and without anything left on it."""
    code = (
        "import asyncio, os, sys; from pathlib import Path\n"
        "from liftos_kit.dumps.dumping import DumpRequest, take_dump\n"
        "from liftos_kit.dumps.errors import DumpError\n"
        "try: asyncio.run(take_dump(os.environ['DUMPED_URL'], Path(sys.argv[1]), DumpRequest()))\n"
        "except DumpError as error: print(error.problem, error.remedy, sep='|')\n"
    )
    # No file may be larger than 40 KB, which is the same to a program as a disk without room.
    prlimit = shutil.which("prlimit")
    assert prlimit is not None
    told = subprocess.run(
        [prlimit, "--fsize=40000", sys.executable, "-c", code, str(tmp_path)],
        env=os.environ | {"DUMPED_URL": admin_url, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    problem, _, remedy = told.stdout.partition("|")
    assert problem == DumpProblem.NO_SPACE, told.stderr
    assert "make room" in remedy
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


@pytest.mark.usefixtures("owner")
async def test_a_role_that_does_not_see_all_is_refused(
    tmp_path: Path, database: TestDatabase
) -> None:
    """Neither rights that lack nor rows that a policy hides make a smaller dump."""
    with pytest.raises(DumpError) as hidden:
        await take_dump(database.url, tmp_path, DumpRequest(schemas=("shop",)))
    assert hidden.value.problem is DumpProblem.PERMISSION
    assert hidden.value.remedy
    assert shelf.list_dumps(tmp_path) == shelf.Listing((), ())


async def test_a_server_that_is_away_is_told(tmp_path: Path) -> None:
    """As such, without its address."""
    with pytest.raises(DumpError) as away:
        await take_dump("postgresql://a:b@127.0.0.1:1/c", tmp_path, DumpRequest())
    assert away.value.problem is DumpProblem.UNREACHABLE


def test_programs_that_are_too_old_are_told() -> None:
    """With the version that is needed, and those that are there."""
    assert client_programs(18).major >= 18
    with pytest.raises(DumpError, match="Postgres 99 or newer are needed; found: ") as old:
        client_programs(99)
    assert old.value.problem is DumpProblem.PROGRAMS_MISSING
    assert "postgresql-client-99" in old.value.remedy


@pytest.mark.usefixtures("owner")
async def test_pruning_keeps_the_newest_tested_dumps(tmp_path: Path, admin_url: str) -> None:
    """An untested one is no reason to delete a tested one."""
    dump = await take_dump(admin_url, tmp_path, DumpRequest(has_access=True))
    whole = digest_files(dump.folder / shelf.DATA)
    dump = await check_dump(admin_url, dump)
    assert digest_files(dump.folder / shelf.DATA) == whole
    assert shelf.prune(tmp_path, keep=1) == ()
    names = [f"20{year}0101t000000z-abcdef" for year in (18, 19, 20)]
    for name in names:
        shutil.copytree(dump.folder, tmp_path / name)
    newer = tmp_path / "20990101t000000z-abcdef"
    shutil.copytree(dump.folder, newer)
    (newer / "restore-test.json").unlink()
    assert shelf.prune(tmp_path, keep=2) == tuple(names[:2])
    left = [each.id for each in shelf.list_dumps(tmp_path).dumps]
    assert left == [names[2], dump.id, newer.name]
