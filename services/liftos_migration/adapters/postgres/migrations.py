"""Migrations as people see them, in Postgres; see `liftos_migration.ledger_ports.Migrations`."""

from collections.abc import Callable, Iterable, Sequence
from heapq import merge
from typing import Final

import asyncpg

from liftos_kit import postgres
from liftos_kit.core.errors import AlreadyExistsError, NotFoundError
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import Repeatable
from liftos_kit.postgres_pages import Listing, Order, read_page, word_of
from liftos_kit.postgres_requests import begin, once
from liftos_migration.adapters.postgres.ledger import SQL, read_migration, store_verdict
from liftos_migration.adapters.postgres.rows import (
    decision_of,
    migration_of,
    spec_columns,
    step_of,
)
from liftos_migration.domain.ledger import (
    BadLink,
    Decision,
    Head,
    Row,
    Step,
    StepState,
    ends_at,
    follow,
)
from liftos_migration.domain.migrations import MigrationSpec
from liftos_migration.domain.names import migration_name
from liftos_migration.domain.states import MigrationState
from liftos_migration.ledger_ports import StoredMigration, Verdict

_ROWS_AT_ONCE: Final = 500
_STATES: Final = tuple(state.name for state in MigrationState)

_MIGRATIONS: Final = Listing(
    name="list_migrations",
    select="""
        select m.*,
               case when m.lease_end_time >= clock_timestamp() then m.lease_owner else '' end
                   as lease_holder,
               coalesce((select s.plan_sha256 from snapshots s
                         where s.org = m.org and s.migration = m.migration
                           and s.restore_seconds is not null
                         order by s.create_time desc limit 1), '') as snapshot_plan_sha256
        from migrations m where m.org = $1""",
    order=(Order("create_time", "timestamptz", descends=True), Order("migration", "text")),
    fields={
        "module": "module",
        "state": word_of(_STATES, "state"),
        "rehearsal": "rehearsal",
        "display_name": "display_name",
    },
)
_STEPS: Final = Listing(
    name="list_steps",
    select="select * from steps where org = $1 and migration = $2",
    order=(Order("sequence", "bigint"),),
    fields={
        "phase": word_of(_STATES, "phase"),
        "state": word_of(tuple(state.name for state in StepState), "state"),
    },
)
_DECISIONS: Final = Listing(
    name="list_decisions",
    select="select * from decisions where org = $1 and migration = $2",
    order=(Order("sequence", "bigint", descends=True),),
    fields={
        "subject": "subject",
        "state_before": word_of(_STATES, "state_before"),
        "state_after": word_of(_STATES, "state_after"),
        "dry_run": "dry_run",
    },
)


class PostgresMigrations:
    """Migrations of an org."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def create(
        self,
        org: str,
        migration: str,
        spec: MigrationSpec,
        repeatable: Repeatable[StoredMigration] | None,
    ) -> StoredMigration:
        """Store a draft."""

        async def created(connection: asyncpg.Connection) -> StoredMigration:
            row = await SQL.insert_migration(
                connection, org=org, migration=migration, **spec_columns(spec)
            )
            if row is None:
                raise AlreadyExistsError(migration_name(org, migration))
            return migration_of(row)

        return await once(begin(self._pool, org), repeatable, created)

    async def change(
        self,
        org: str,
        migration: str,
        change: Callable[[StoredMigration], MigrationSpec],
        repeatable: Repeatable[StoredMigration] | None,
    ) -> StoredMigration:
        """Store what `change` makes of a migration."""

        async def changed(connection: asyncpg.Connection) -> StoredMigration:
            spec = change(await _locked(connection, org, migration))
            await SQL.update_migration(
                connection, org=org, migration=migration, **spec_columns(spec)
            )
            return await read_migration(connection, org, migration)

        return await once(begin(self._pool, org), repeatable, changed)

    async def delete(
        self,
        org: str,
        migration: str,
        check: Callable[[StoredMigration], None],
        repeatable: Repeatable[None] | None,
    ) -> None:
        """Remove a migration."""

        async def deleted(connection: asyncpg.Connection) -> None:
            check(await _locked(connection, org, migration))
            await SQL.delete_migration(connection, org=org, migration=migration)

        await once(begin(self._pool, org), repeatable, deleted)

    async def decide(
        self,
        org: str,
        migration: str,
        decide: Callable[[StoredMigration], Verdict],
        repeatable: Repeatable[tuple[StoredMigration, Decision]] | None,
    ) -> tuple[StoredMigration, Decision]:
        """Decide about a migration."""

        async def decided(connection: asyncpg.Connection) -> tuple[StoredMigration, Decision]:
            stored = await _locked(connection, org, migration)
            decision = await store_verdict(connection, org, stored, decide(stored))
            return await read_migration(connection, org, migration), decision

        return await once(begin(self._pool, org), repeatable, decided)

    async def get(self, org: str, migration: str) -> StoredMigration | None:
        """Return a migration."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            row = await SQL.get_migration(connection, org=org, migration=migration)
        return None if row is None else migration_of(row)

    async def list_page(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[StoredMigration], JsonValue]:
        """Return migrations, newest first."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            rows, following = await read_page(
                connection, _MIGRATIONS, [org], where=where, cursor=cursor, limit=limit
            )
        return [migration_of(row) for row in rows], following

    async def list_steps(
        self, org: str, migration: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[Step], JsonValue]:
        """Return attempts of steps in order."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            rows, following = await read_page(
                connection, _STEPS, [org, migration], where=where, cursor=cursor, limit=limit
            )
        return [step_of(row) for row in rows], following

    async def list_decisions(
        self, org: str, migration: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[Decision], JsonValue]:
        """Return decisions, newest first."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            rows, following = await read_page(
                connection, _DECISIONS, [org, migration], where=where, cursor=cursor, limit=limit
            )
        return [decision_of(row) for row in rows], following

    async def verify_ledger(self, org: str, migration: str) -> BadLink | None:
        """Return where the ledger's chain breaks."""
        async with postgres.transaction(
            self._pool, org=org, read_only=True, isolation="repeatable read"
        ) as connection:
            return await verify_ledger(connection, org, migration)


async def verify_ledger(connection: asyncpg.Connection, org: str, migration: str) -> BadLink | None:
    """Return where the chain of a migration breaks, as a transaction sees it.

    Raises:
        NotFoundError: There is no such migration.
    """
    row = await SQL.get_head(connection, org=org, migration=migration)
    if row is None:
        raise NotFoundError(migration_name(org, migration))
    last = Head()
    newest = await SQL.last_link(connection, org=org, migration=migration)
    for after in range(0, newest, _ROWS_AT_ONCE):
        followed = follow(await _linked(connection, org, migration, after), last)
        if isinstance(followed, BadLink):
            return followed
        last = followed
    return ends_at(last, Head(row["head_link"], row["head_sha256"]))


async def _linked(
    connection: asyncpg.Connection, org: str, migration: str, after: int
) -> Iterable[Row]:
    """Return some rows of a chain in order."""
    keys = {"org": org, "migration": migration, "after": after, "up_to": after + _ROWS_AT_ONCE}
    steps: list[Row] = [step_of(row) async for row in SQL.linked_steps(connection, **keys)]
    decisions: list[Row] = [
        decision_of(row) async for row in SQL.linked_decisions(connection, **keys)
    ]
    return merge(steps, decisions, key=lambda row: row.link)


async def _locked(connection: asyncpg.Connection, org: str, migration: str) -> StoredMigration:
    if await SQL.lock_migration(connection, org=org, migration=migration) is None:
        raise NotFoundError(migration_name(org, migration))
    return await read_migration(connection, org, migration)
