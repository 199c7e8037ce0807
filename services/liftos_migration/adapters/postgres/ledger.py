"""The ledger in Postgres; see `liftos_migration.ledger_ports.Ledger`."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import asyncpg

from liftos_kit import postgres
from liftos_migration.adapters.postgres.database import held
from liftos_migration.adapters.postgres.rows import migration_of, step_of, to_json
from liftos_migration.domain.ledger import (
    Decision,
    Head,
    JsonObject,
    Step,
    StepState,
    chained,
    head_of,
    storable,
)
from liftos_migration.domain.migrations import MigrationProgress
from liftos_migration.domain.states import MigrationState
from liftos_migration.failpoints import failpoint
from liftos_migration.ledger_ports import Lease, LeaseLostError, Renewal, StoredMigration, Verdict

SQL: Final = postgres.load_queries("liftos_migration", "sql/ledger.sql")


class PostgresLedger:
    """Migrations as a worker advances them."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def due(self, *, limit: int) -> Sequence[tuple[str, str]]:
        """Return migrations that could go on and that nobody has."""
        with postgres.translate_errors():
            async with self._pool.acquire() as connection:
                return [
                    (row["org"], row["migration"])
                    async for row in SQL.due_migrations(connection, limit=limit)
                ]

    async def take(self, org: str, migration: str, *, owner: str, seconds: float) -> Lease | None:
        """Take a migration."""
        with postgres.translate_errors():
            epoch = await SQL.take_migration(
                self._pool, org=org, migration=migration, owner=owner, seconds=seconds
            )
        return None if epoch is None else Lease(org, migration, owner, epoch)

    async def renew(
        self, lease: Lease, *, seconds: float, progress: MigrationProgress | None
    ) -> Renewal:
        """Go on holding a migration."""
        with postgres.translate_errors():
            row = await SQL.renew_migration(
                self._pool,
                **_keys(lease),
                epoch=lease.epoch,
                seconds=seconds,
                progress=None if progress is None else to_json(MigrationProgress, progress),
            )
        if row is None:
            raise LeaseLostError
        return Renewal(MigrationState(row["state"]), row["generation"], row["revision"])

    async def release(self, lease: Lease) -> None:
        """Give a migration back."""
        with postgres.translate_errors():
            await SQL.release_migration(self._pool, **_keys(lease), epoch=lease.epoch)

    async def read(self, lease: Lease) -> StoredMigration:
        """Return the migration."""
        async with held(self._pool, lease) as connection:
            return await read_migration(connection, lease.org, lease.migration)

    async def newest_steps(self, lease: Lease) -> Sequence[Step]:
        """Return the newest attempt of each step."""
        async with held(self._pool, lease) as connection:
            return sorted(
                [step_of(row) async for row in SQL.newest_steps(connection, **_keys(lease))],
                key=lambda step: step.sequence,
            )

    async def begin(
        self,
        lease: Lease,
        phase: MigrationState,
        title: str,
        *,
        given: JsonObject,
    ) -> Step:
        """Begin an attempt."""
        async with held(self._pool, lease) as connection:
            left = await SQL.step_under_way(connection, **_keys(lease))
            if left is not None:
                lost = step_of(left)
                await _end(
                    connection,
                    lease,
                    lost,
                    state=StepState.FAILED,
                    error=f"Its worker was lost (epoch {lost.epoch}); the next attempt goes on.",
                )
            head = await SQL.get_head(connection, **_keys(lease))
            row = await SQL.insert_step(
                connection,
                **_keys(lease),
                phase=phase,
                title=title,
                generation=head["generation"],
                epoch=lease.epoch,
                input=storable(given),
            )
        return step_of(row)

    async def finish(self, lease: Lease, step: Step, output: JsonObject) -> Step:
        """End an attempt as done."""
        async with held(self._pool, lease) as connection:
            ended = await _end(
                connection, lease, step, state=StepState.DONE, output=storable(output)
            )
            await failpoint("ledger.before_step_commit")
        await failpoint("ledger.after_step_commit")
        return ended

    async def fail(self, lease: Lease, step: Step, error: str) -> Step:
        """End an attempt as failed or stopped."""
        async with held(self._pool, lease) as connection:
            return await _end(
                connection, lease, step, state=StepState.FAILED, error=storable(error)
            )

    async def undo(self, lease: Lease, step: Step) -> Step:
        """End an attempt as taken back."""
        async with held(self._pool, lease) as connection:
            ended = await _end(connection, lease, step, state=StepState.UNDONE)
            await failpoint("ledger.before_undo_commit")
        return ended

    async def decide(
        self, lease: Lease, decide: Callable[[StoredMigration], Verdict | None]
    ) -> StoredMigration:
        """Change the state with its decision."""
        async with held(self._pool, lease) as connection:
            stored = await read_migration(connection, lease.org, lease.migration)
            verdict = decide(stored)
            if verdict is None:
                return stored
            await store_verdict(connection, lease.org, stored, verdict)
            await failpoint("ledger.before_state_commit")
            after = await read_migration(connection, lease.org, lease.migration)
        await failpoint("ledger.after_state_commit")
        return after

    async def say(self, lease: Lease, state_reason: str) -> None:
        """Tell people what it waits for."""
        async with held(self._pool, lease) as connection:
            await SQL.tell_reason(connection, **_keys(lease), state_reason=storable(state_reason))


async def read_migration(
    connection: asyncpg.Connection, org: str, migration: str
) -> StoredMigration:
    """Return a migration that is there."""
    return migration_of(await SQL.get_migration(connection, org=org, migration=migration))


async def store_verdict(
    connection: asyncpg.Connection, org: str, stored: StoredMigration, verdict: Verdict
) -> Decision:
    """Write a decision and what becomes of the migration, which is locked by the transaction."""
    keys = {"org": org, "migration": stored.migration}
    place = stored.place if verdict.dry_run or verdict.place is None else verdict.place
    decision = chained(
        Decision(
            sequence=await SQL.next_decision(connection, **keys),
            action=storable(verdict.action),
            subject=storable(verdict.subject),
            reason=storable(verdict.reason),
            state_before=stored.state,
            state_after=place.state,
            create_time=await _moment(connection),
            readings=tuple(storable(each) for each in verdict.readings),
            inputs=storable(verdict.inputs),
            dry_run=verdict.dry_run,
        ),
        stored.head,
    )
    assert isinstance(decision, Decision), "chained as what it is"
    await SQL.insert_decision(
        connection,
        **keys,
        **{name: getattr(decision, name) for name in Decision.__slots__ if name != "readings"},
        readings=list(decision.readings),
    )
    head = {"head_link": decision.link, "head_sha256": decision.sha256}
    if verdict.dry_run:
        await SQL.move_head(connection, **keys, **head)
        return decision
    await SQL.place_migration(
        connection,
        **keys,
        **head,
        state=place.state,
        resume_state=place.resume_state,
        state_reason=storable(_given(verdict.state_reason, stored.state_reason)),
        generation=stored.generation + verdict.begins_anew,
        rollback_level=_given(verdict.rollback_level, stored.rollback_level),
        rollback_end=_given(verdict.rollback_end, stored.rollback_end),
        purge=_given(verdict.purge, stored.purge),
    )
    await SQL.wake_workers(connection, **keys)
    return decision


async def _end(
    connection: asyncpg.Connection,
    lease: Lease,
    step: Step,
    *,
    state: StepState,
    output: JsonObject | None = None,
    error: str = "",
) -> Step:
    head = await SQL.get_head(connection, **_keys(lease))
    ended = chained(
        replace(step, state=state, output=output, error=error, end_time=await _moment(connection)),
        Head(head["head_link"], head["head_sha256"]),
    )
    assert isinstance(ended, Step), "chained as what it is"
    row = await SQL.end_step(
        connection,
        **_keys(lease),
        sequence=ended.sequence,
        state=ended.state,
        output=ended.output,
        error=ended.error,
        end_time=ended.end_time,
        link=ended.link,
        previous_sha256=ended.previous_sha256,
        sha256=ended.sha256,
    )
    if row is None:
        # It was ended by this very call before, whose answer was lost.
        return step_of(await SQL.get_step(connection, **_keys(lease), sequence=step.sequence))
    last = head_of(ended)
    await SQL.move_head(connection, **_keys(lease), head_link=last.link, head_sha256=last.sha256)
    return step_of(row)


def _keys(lease: Lease) -> dict[str, str]:
    return {"org": lease.org, "migration": lease.migration}


def _given(value: Any, otherwise: Any) -> Any:  # noqa: ANN401 - of one and the same type
    return otherwise if value is None else value


async def _moment(connection: asyncpg.Connection) -> datetime:
    moment: datetime = await SQL.moment(connection)
    return moment
