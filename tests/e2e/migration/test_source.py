"""What is found in a source: every part of a schema of many kinds, its changes, and its rights."""

import secrets
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, fresh_database
from liftos_migration.adapters.source.catalog import read_inventory
from liftos_migration.adapters.source.facts import read_facts
from liftos_migration.domain.inventory import Column, Inventory, ItemKind, drift
from liftos_migration.domain.preflight import CaptureMode, Severity, preflight

ZOO = """
create schema zoo;
create type zoo.mood as enum ('calm', 'wild');
create table zoo.keepers (
    id int primary key generated always as identity, name text not null unique);
create table zoo."Odd Cages" (
    row int not null, "Column" int not null, keeper int references zoo.keepers,
    size numeric(10, 2) check (size > 0), area numeric generated always as (size * size) stored,
    tags text[] not null default '{}', notes jsonb, mood zoo.mood, primary key (row, "Column"));
create table zoo.feedings (at timestamptz not null, cage_row int, cage_column int, amount float8,
    foreign key (cage_row, cage_column) references zoo."Odd Cages") partition by range (at);
create table zoo.feedings_2025 partition of zoo.feedings
    for values from ('2025-01-01') to ('2026-01-01');
create table zoo.feedings_2026 partition of zoo.feedings
    for values from ('2026-01-01') to ('2027-01-01');
create unlogged table zoo.scratch (id int primary key, place point);
create view zoo.hungry as
    select k.name from zoo.keepers k join zoo.feedings f on f.cage_row = k.id;
create materialized view zoo.busy as select count(*) from zoo.feedings;
create sequence zoo.tickets increment by 5;
create index feedings_amount on zoo.feedings (amount);
create function zoo.feed() returns trigger language plpgsql as 'begin return new; end';
create trigger fed before insert on zoo.keepers for each row execute function zoo.feed();
insert into zoo.keepers (name) values ('Ann'), ('Bo');
insert into zoo.feedings (at, amount)
    values ('2025-05-01', 1), ('2026-05-01', 2), ('2026-06-01', 3);
"""


@pytest.fixture(scope="module")
def database(stores: Stack) -> Iterator[TestDatabase]:
    """An empty database."""
    with fresh_database(stores) as fresh:
        yield fresh


@pytest.fixture(scope="module")
async def source(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the owner to a source with parts of every kind."""
    connection = await asyncpg.connect(database.owner_url)
    await connection.execute(ZOO)
    yield connection
    await connection.close()


@pytest.fixture(scope="module")
async def inventory(source: asyncpg.Connection) -> Inventory:
    """What was found."""
    return await read_inventory(source, ["zoo"])


def _named(inventory: Inventory, kind: ItemKind) -> list[str]:
    return [item.object for item in inventory.items if item.kind is kind]


def test_every_part_is_found_once(inventory: Inventory) -> None:
    """Partitions belong to their root, and what belongs to a key is no index of its own."""
    assert _named(inventory, ItemKind.TABLE) == [
        'zoo."Odd Cages"', "zoo.feedings", "zoo.keepers", "zoo.scratch"
    ]  # fmt: skip
    assert _named(inventory, ItemKind.VIEW) == ["zoo.busy", "zoo.hungry"]
    assert _named(inventory, ItemKind.SEQUENCE) == ["zoo.keepers_id_seq", "zoo.tickets"]
    assert _named(inventory, ItemKind.FUNCTION) == ["zoo.feed()"]
    assert _named(inventory, ItemKind.TRIGGER) == ["zoo.keepers.fed"]
    assert _named(inventory, ItemKind.INDEX) == ["zoo.feedings_amount"]
    constraints = _named(inventory, ItemKind.CONSTRAINT)
    assert {
        'zoo."Odd Cages".Odd Cages_pkey',
        'zoo."Odd Cages".Odd Cages_size_check',
        'zoo."Odd Cages".Odd Cages_keeper_fkey',
        "zoo.feedings.feedings_cage_row_cage_column_fkey",
        "zoo.keepers.keepers_name_key",
    } <= set(constraints)
    assert "wal_level" in _named(inventory, ItemKind.SETTING)


def test_tables_say_what_they_are(inventory: Inventory) -> None:
    """Columns with types, keys, rows of all partitions, and what they refer to."""
    tables = {table.object: table for table in inventory.tables()}
    cages = tables['zoo."Odd Cages"']
    assert cages.key_columns == ("row", "Column")
    columns = {column.name: column for column in cages.columns}
    assert columns["size"] == Column("size", "numeric(10,2)", True)
    assert columns["area"].default == "generated always as (size * size)"
    assert columns["tags"] == Column("tags", "text[]", False, "'{}'::text[]")
    assert columns["mood"].type == "zoo.mood"
    assert tables["zoo.keepers"].columns[0].default == "generated as identity (a)"
    assert cages.depends_on == ("zoo.keepers",)
    feedings = tables["zoo.feedings"]
    assert (feedings.row_count, feedings.key_columns) == (3, ())
    assert feedings.definition == "table partition by RANGE (at)"
    assert feedings.size_bytes >= 16_384, "both partitions"
    views = {item.object: item for item in inventory.items if item.kind is ItemKind.VIEW}
    assert views["zoo.hungry"].depends_on == ("zoo.feedings", "zoo.keepers")


async def test_a_change_of_the_schema_is_told_and_rows_are_none(
    source: asyncpg.Connection, inventory: Inventory
) -> None:
    """Added, removed and changed by name; the digest follows."""
    await source.execute("insert into zoo.keepers (name) values ('Cy')")
    same = await read_inventory(source, ["zoo"])
    assert not drift(inventory, same)
    assert same.sha256 == inventory.sha256
    await source.execute(
        "alter table zoo.keepers add column age int; drop view zoo.hungry;"
        " create table zoo.visitors (id int primary key)"
    )
    changed = await read_inventory(source, ["zoo"])
    found = drift(inventory, changed)
    assert found.changed == ("zoo.keepers",)
    assert found.removed == ("zoo.hungry",)
    assert found.added == ("zoo.visitors", "zoo.visitors.visitors_pkey")
    assert changed.sha256 != inventory.sha256
    await source.execute(
        "alter table zoo.keepers drop column age; drop table zoo.visitors;"
        " create view zoo.hungry as select k.name from zoo.keepers k"
        " join zoo.feedings f on f.cage_row = k.id"
    )
    assert (await read_inventory(source, ["zoo"])).sha256 == inventory.sha256


async def test_preflight_tells_what_blocks_and_what_to_do(
    source: asyncpg.Connection, inventory: Inventory
) -> None:
    """A table without a key blocks; the role may not read the log, so that triggers would do."""
    facts = await read_facts(source, [table.object for table in inventory.tables()])
    assert abs(facts.clock_offset_seconds or 9) < 0.5
    assert facts.session_is_pooled is False
    report = preflight(facts, inventory)
    by_code = {(each.code, each.object): each for each in report.findings}
    assert by_code["NO_KEY", "zoo.feedings"].severity is Severity.BLOCKER
    assert by_code["UNLOGGED", "zoo.scratch"].severity is Severity.WARNING
    assert by_code["TYPE_NOT_COMPARABLE", "zoo.scratch.place"].found == "point"
    assert by_code["REPLICATION_MISSING", ""].remedy == f"ALTER ROLE {facts.role} REPLICATION"
    assert report.capture_modes == (CaptureMode.TRIGGER, CaptureMode.FREEZE)
    assert not report.startable
    severities = [each.severity for each in report.findings]
    assert severities == sorted(severities, reverse=True)


async def test_a_role_without_rights_is_told_which_it_needs(
    source: asyncpg.Connection, stores: Stack, database: TestDatabase, inventory: Inventory
) -> None:
    """Whoever may only look at some tables gets one grant to run for each."""
    role = f"looker_{secrets.token_hex(4)}"
    admin = await asyncpg.connect(stores.postgres_admin_url(database.name))
    await admin.execute(f"create role {role} login")
    await admin.execute(
        f"grant usage on schema zoo to {role}; grant select on zoo.keepers to {role}"
    )
    await admin.execute(f"set session authorization {role}")
    facts = await read_facts(admin, [table.object for table in inventory.tables()])
    await admin.execute("reset session authorization")
    await admin.execute(f"drop owned by {role}; drop role {role}")
    await admin.close()
    report = preflight(facts, inventory)
    assert report.capture_modes == ()
    blockers = {
        (each.code, each.object): each.remedy
        for each in report.findings
        if each.severity is Severity.BLOCKER
    }
    assert blockers["SELECT_MISSING", 'zoo."Odd Cages"'] == (
        f'GRANT SELECT ON zoo."Odd Cages" TO {role}'
    )
    assert ("SELECT_MISSING", "zoo.keepers") not in blockers
    assert ("NO_CAPTURE_MODE", "") in blockers
