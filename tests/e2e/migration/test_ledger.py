"""The ledger in a real Postgres: leases, steps, decisions and the chain over them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any, Final

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liftos_kit import postgres
from liftos_kit.core.errors import AlreadyExistsError, NotFoundError
from liftos_kit.forgetting import forget_old_requests
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, fresh_database
from liftos_migration.adapters.postgres.database import (
    SCHEMA,
    SCHEMA_VERSION,
    held,
    schema_files,
)
from liftos_migration.adapters.postgres.ledger import PostgresLedger
from liftos_migration.adapters.postgres.migrations import PostgresMigrations, verify_ledger
from liftos_migration.domain.ledger import Decision, Step, StepState
from liftos_migration.domain.mapping import Mapping, Rule, TableMapping, Target, Waiver
from liftos_migration.domain.migrations import (
    MigrationProgress,
    MigrationSpec,
    SourceStore,
    TableProgress,
    Throttle,
)
from liftos_migration.domain.preflight import CaptureMode
from liftos_migration.domain.states import MigrationState, Place
from liftos_migration.ledger_ports import Lease, LeaseLostError, StoredMigration, Verdict

ORG: Final = "acme"
SPEC: Final = MigrationSpec(
    display_name="Attribution",
    module="causal",
    source=SourceStore("CAUSAL_DATABASE_URL", schemas=("public", "ml")),
    mapping=Mapping(
        tables=(
            TableMapping(
                "public.days",
                Target.ENTRIES,
                rules=(Rule("spend_micros", "spend * 1000000"),),
                key_columns=("id",),
            ),
        ),
        waivers=(Waiver("public.logs", "not of any use"),),
        version="3",
    ),
    capture_mode=CaptureMode.TRIGGER,
    throttle=Throttle(maximum_share=0.5),
)
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def database(stores: Stack) -> Iterator[TestDatabase]:
    """A database with Migration's schema."""
    with fresh_database(stores) as fresh:
        yield fresh


@pytest.fixture(scope="module")
async def pool(database: TestDatabase) -> AsyncIterator[asyncpg.Pool]:
    """Connections of the service's role."""
    await postgres.migrate(database.owner_url, schema_files(), schema=SCHEMA)
    opened = await postgres.create_pool(
        database.url, application_name="test", minimum=1, maximum=6, schema=SCHEMA
    )
    await postgres.require_version(opened, SCHEMA_VERSION, schema=SCHEMA)
    yield opened
    await opened.close()


@pytest.fixture
def migrations(pool: asyncpg.Pool) -> PostgresMigrations:
    """What people use."""
    return PostgresMigrations(pool)


@pytest.fixture
def ledger(pool: asyncpg.Pool) -> PostgresLedger:
    """What workers use."""
    return PostgresLedger(pool)


@pytest.fixture
async def owner(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """Somebody who can write past every rule, in a transaction that is rolled back."""
    pool = await postgres.create_pool(
        database.owner_url, application_name="test", minimum=1, maximum=1, schema=SCHEMA
    )
    async with pool.acquire() as connection:
        yield connection
    await pool.close()


async def started(migrations: PostgresMigrations, name: str, *, org: str = ORG) -> StoredMigration:
    """Return a migration that a worker may take."""
    await migrations.create(org, name, SPEC, None)
    stored, _ = await migrations.decide(
        org, name, lambda _: _verdict(MigrationState.PREFLIGHT), None
    )
    return stored


def _verdict(state: MigrationState, **more: Any) -> Verdict:
    return Verdict(action="start", subject="ann", reason="it is time", place=Place(state), **more)


async def taken(ledger: PostgresLedger, name: str, *, seconds: float = 30.0) -> Lease:
    """Return the lease of a worker."""
    lease = await ledger.take(ORG, name, owner="worker-1", seconds=seconds)
    assert lease is not None
    return lease


async def test_a_migration_is_kept_as_it_was_described(migrations: PostgresMigrations) -> None:
    """Every part of it, and its digest changes with its plan alone."""
    created = await migrations.create(ORG, "kept", SPEC, None)
    read = await migrations.get(ORG, "kept")
    assert read == created
    assert created.spec == SPEC
    assert (created.state, created.revision, created.epoch) == (MigrationState.DRAFT, 1, 0)

    renamed = await migrations.change(
        ORG, "kept", lambda stored: replace(stored.spec, display_name="Other"), None
    )
    assert renamed.plan_sha256 == created.plan_sha256
    assert renamed.revision == created.revision + 1
    mapped = await migrations.change(
        ORG, "kept", lambda stored: replace(stored.spec, mapping=Mapping()), None
    )
    assert mapped.plan_sha256 != created.plan_sha256

    with pytest.raises(AlreadyExistsError):
        await migrations.create(ORG, "kept", SPEC, None)
    await migrations.delete(ORG, "kept", lambda _: None, None)
    assert await migrations.get(ORG, "kept") is None
    with pytest.raises(NotFoundError):
        await migrations.decide(ORG, "kept", lambda _: _verdict(MigrationState.PREFLIGHT), None)


async def test_another_org_sees_and_changes_nothing(
    migrations: PostgresMigrations, ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    """Rows are hidden by the database itself."""
    await started(migrations, "mine")
    assert await migrations.get("globex", "mine") is None
    assert await ledger.take("globex", "mine", owner="w", seconds=5) is None
    async with postgres.transaction(pool, org="globex") as connection:
        for table in ("migrations", "decisions", "steps"):
            assert await connection.fetchval(f"select count(*) from {table}") == 0
        assert await connection.execute("update migrations set purge = true") == "UPDATE 0"


async def test_only_one_worker_has_a_migration_and_its_epoch_rises(
    migrations: PostgresMigrations, ledger: PostgresLedger
) -> None:
    """Of many that try at once one succeeds; the next epoch is above."""
    await started(migrations, "sought")
    assert (ORG, "sought") in await ledger.due(limit=100)
    tries = await asyncio.gather(
        *(ledger.take(ORG, "sought", owner=f"w{n}", seconds=30) for n in range(8))
    )
    (lease,) = [each for each in tries if each is not None]
    assert lease.epoch == 1
    assert (ORG, "sought") not in await ledger.due(limit=100)
    assert (await ledger.read(lease)).lease_owner == lease.owner
    await ledger.release(lease)
    assert (await taken(ledger, "sought")).epoch == 2


async def test_what_is_a_draft_or_has_stopped_is_not_to_be_had(
    migrations: PostgresMigrations, ledger: PostgresLedger
) -> None:
    """A worker has nothing to do there."""
    await migrations.create(ORG, "resting", SPEC, None)
    assert await ledger.take(ORG, "resting", owner="w", seconds=5) is None
    await migrations.decide(ORG, "resting", lambda _: _verdict(MigrationState.COPYING), None)
    paused = Place(MigrationState.COPYING).moved(MigrationState.PAUSED)
    await migrations.decide(
        ORG, "resting", lambda _: Verdict("pause", "ann", "lunch", place=paused), None
    )
    assert await ledger.take(ORG, "resting", owner="w", seconds=5) is None
    assert (ORG, "resting") not in await ledger.due(limit=100)


async def test_a_worker_that_was_overtaken_changes_nothing(
    migrations: PostgresMigrations, ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    """Whatever it tries, its transaction is refused."""
    await started(migrations, "overtaken")
    old = await taken(ledger, "overtaken", seconds=0.05)
    step = await ledger.begin(old, MigrationState.PREFLIGHT, "look", given={})
    await asyncio.sleep(0.1)
    new = await ledger.take(ORG, "overtaken", owner="worker-2", seconds=30)
    assert new is not None
    assert new.epoch == old.epoch + 1
    before = await ledger.read(new)

    with pytest.raises(LeaseLostError):
        await ledger.renew(old, seconds=30, progress=MigrationProgress(percent=50))
    with pytest.raises(LeaseLostError):
        await ledger.finish(old, step, {"rows": 1})
    with pytest.raises(LeaseLostError):
        await ledger.fail(old, step, "no")
    with pytest.raises(LeaseLostError):
        await ledger.undo(old, step)
    with pytest.raises(LeaseLostError):
        await ledger.begin(old, MigrationState.PREFLIGHT, "look again", given={})
    with pytest.raises(LeaseLostError):
        await ledger.decide(old, lambda _: _verdict(MigrationState.INVENTORIED))
    with pytest.raises(LeaseLostError):
        await ledger.say(old, "waits")
    with pytest.raises(LeaseLostError):
        async with held(pool, old) as connection:
            await connection.execute("update migrations set purge = true")
    await ledger.release(old)
    after = await ledger.read(new)
    assert after == before


async def test_a_successor_waits_for_a_transaction_of_the_worker_before(
    migrations: PostgresMigrations, ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    """So that what that one writes is either there when the successor begins, or never."""
    await started(migrations, "awaited")
    old = await taken(ledger, "awaited", seconds=0.01)
    await asyncio.sleep(0.05)
    async with held(pool, old) as connection:
        taking = asyncio.create_task(ledger.take(ORG, "awaited", owner="w2", seconds=30))
        await asyncio.sleep(0.2)
        assert not taking.done()
        await connection.execute("update migrations set purge = true where migration = 'awaited'")
    new = await taking
    assert new is not None
    assert (await ledger.read(new)).purge


async def test_an_attempt_that_a_lost_worker_left_is_ended_before_the_next_one(
    migrations: PostgresMigrations, ledger: PostgresLedger
) -> None:
    """And a step that is done is not done again."""
    await started(migrations, "left")
    lost = await taken(ledger, "left", seconds=0.01)
    await ledger.begin(lost, MigrationState.PREFLIGHT, "look", given={"n": 1})
    await asyncio.sleep(0.05)
    lease = await taken(ledger, "left")
    second = await ledger.begin(lease, MigrationState.PREFLIGHT, "look", given={"n": 1})
    assert (second.attempt, second.epoch) == (2, lease.epoch)
    done = await ledger.finish(lease, second, {"rows": 2**60, "share": float("nan")})
    # Numbers that JSON cannot hold exactly are kept as text.
    assert done.output == {"rows": str(2**60), "share": "nan"}

    steps, _ = await migrations.list_steps(ORG, "left", where=None, cursor=None, limit=10)
    assert [(each.attempt, each.state, each.epoch) for each in steps] == [
        (1, StepState.FAILED, lost.epoch),
        (2, StepState.DONE, lease.epoch),
    ]
    assert "lost" in steps[0].error
    assert await ledger.newest_steps(lease) == [done]
    # An answer that was lost is asked for again, and changes nothing.
    assert await ledger.finish(lease, second, {"rows": 1}) == done
    again = await ledger.begin(lease, MigrationState.PREFLIGHT, "look", given={})
    with pytest.raises(asyncpg.UniqueViolationError):
        await ledger.finish(lease, again, {})
    assert await migrations.verify_ledger(ORG, "left") is None


async def test_progress_and_reasons_are_told(
    migrations: PostgresMigrations, ledger: PostgresLedger
) -> None:
    """To whoever reads the migration."""
    await started(migrations, "told")
    lease = await taken(ledger, "told")
    progress = MigrationProgress(rows_per_second=12.5).with_tables(
        TableProgress("public.days", row_count=10, exact=True, copied_count=4)
    )
    renewal = await ledger.renew(lease, seconds=30, progress=progress)
    await ledger.renew(lease, seconds=30, progress=None)
    await ledger.say(lease, "waits for the source")
    stored = await ledger.read(lease)
    assert stored.progress == progress
    assert stored.progress_time is not None
    assert stored.state_reason == "waits for the source"
    assert stored.revision == renewal.revision + 1
    assert renewal.state is MigrationState.PREFLIGHT


async def test_a_state_changes_only_with_its_decision(
    migrations: PostgresMigrations, ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    """Both are one transaction: neither is there without the other."""
    await started(migrations, "decided")
    lease = await taken(ledger, "decided")
    moved = await ledger.decide(lease, lambda _: _verdict(MigrationState.INVENTORIED))
    assert moved.state is MigrationState.INVENTORIED
    assert await ledger.decide(lease, lambda _: None) == moved

    class NoError(Exception):
        pass

    def broken(_: StoredMigration) -> Verdict:
        raise NoError

    with pytest.raises(NoError):
        await ledger.decide(lease, broken)
    # A state that its place does not allow is refused by the table, and the decision with it.
    with pytest.raises(asyncpg.CheckViolationError):
        async with held(pool, lease) as connection:
            await connection.execute("update migrations set state = 15 where migration = 'decided'")
    stored, dry = await migrations.decide(
        ORG, "decided", lambda _: _verdict(MigrationState.SNAPSHOTTED, dry_run=True), None
    )
    assert stored.state is MigrationState.INVENTORIED
    assert (dry.state_before, dry.state_after, dry.dry_run) == (stored.state, stored.state, True)
    decisions, _ = await migrations.list_decisions(
        ORG, "decided", where=None, cursor=None, limit=10
    )
    assert [each.sequence for each in decisions] == [3, 2, 1]
    assert await migrations.verify_ledger(ORG, "decided") is None


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(value=JSON)
async def test_any_json_survives_the_ledger(
    migrations: PostgresMigrations, ledger: PostgresLedger, value: object
) -> None:
    """What Postgres makes of it does not break the chain."""
    if await migrations.get(ORG, "any-json") is None:
        await started(migrations, "any-json")
        await taken(ledger, "any-json", seconds=300)
    lease = Lease(ORG, "any-json", "worker-1", 1)
    await ledger.decide(
        lease,
        lambda _: Verdict("note", "ann", str(value), inputs={"value": value}),
    )
    assert await migrations.verify_ledger(ORG, "any-json") is None


async def test_any_edit_of_the_ledger_is_found(
    migrations: PostgresMigrations,
    ledger: PostgresLedger,
    pool: asyncpg.Pool,
    owner: asyncpg.Connection,
) -> None:
    """Of any column of any row, by whoever can write past every rule."""
    await started(migrations, "edited")
    lease = await taken(ledger, "edited")
    for title in ("one", "two"):
        step = await ledger.begin(lease, MigrationState.PREFLIGHT, title, given={"a": 1})
        await ledger.finish(lease, step, {"b": 2})
        await ledger.decide(
            lease,
            lambda _: Verdict("note", "ann", "why", readings=({"kind": 1},), inputs={"c": 3}),
        )
    assert await migrations.verify_ledger(ORG, "edited") is None

    others = {
        "bigint": "{0} + 1",
        "integer": "{0} + 1",
        "smallint": "{0} % 5 + 1",
        "text": "{0} || 'x'",
        "bytea": "set_byte({0}, 0, get_byte({0}, 0) # 1)",
        "boolean": "not {0}",
        "jsonb": "jsonb_build_array({0})",
        "timestamp with time zone": "{0} + interval '1 microsecond'",
    }
    edits = []
    for table, kind in (("steps", Step), ("decisions", Decision)):
        columns = await owner.fetch(
            "select column_name, data_type from information_schema.columns"
            " where table_schema = 'migration' and table_name = $1",
            table,
        )
        types = {column["column_name"]: column["data_type"] for column in columns}
        assert set(types) == {"org", "migration", *kind.__slots__}
        edits += [
            f"update {table} set {name} = {others[types[name]].format(name)}"
            " where migration = 'edited' and sequence = 1"
            for name in kind.__slots__
        ]
    edits += [
        "delete from steps where migration = 'edited' and sequence = 2",
        "delete from decisions where migration = 'edited' and sequence = 3",
        "delete from decisions where migration = 'edited'",
        "update migrations set head_link = head_link - 1 where migration = 'edited'",
    ]
    for edit in edits:
        transaction = owner.transaction()
        await transaction.start()
        try:
            # A changed place in the order would collide with the other row.
            await owner.execute(edit.replace("sequence + 1", "sequence + 10"))
            found = await verify_ledger(owner, ORG, "edited")
        finally:
            await transaction.rollback()
        assert found is not None, edit
    assert len(edits) == len(Step.__slots__) + len(Decision.__slots__) + 4
    assert await migrations.verify_ledger(ORG, "edited") is None


async def test_every_table_begins_with_the_org_and_hides_the_others(
    owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    """So that no statement can forget it, and the data can be spread by it."""
    tables = await owner.fetch(
        """select c.relname, c.relrowsecurity, (
               select a.attname from pg_index i
               join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
               where i.indrelid = c.oid and i.indisprimary) as first_of_key
           from pg_class c where c.relnamespace = 'migration'::regnamespace
             and c.relkind = 'r' and c.relname <> 'schema_versions'"""
    )
    assert len(tables) >= 16
    assert {(row["relrowsecurity"], row["first_of_key"]) for row in tables} == {(True, "org")}
    async with postgres.transaction(pool, org=None) as connection:
        for row in tables:
            assert await connection.fetchval(f"select count(*) from {row['relname']}") == 0


async def test_requests_are_forgotten_once_they_are_not_answered_again(
    owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    """Of all orgs, after a day."""
    await owner.execute(
        """insert into request_ids (org, method, request_id, payload_digest, create_time)
           select org, 'CreateMigration', gen_random_uuid(), '', now() - age
           from unnest(array['acme', 'globex']) org,
                unnest(array[interval '3 days', interval '25 hours', interval '23 hours']) age"""
    )
    assert await forget_old_requests(pool) == 4
    ages = await owner.fetch("select org, now() - create_time as age from request_ids")
    assert sorted(row["org"] for row in ages) == ["acme", "globex"]
    assert await forget_old_requests(pool) == 0
