"""Refused rows in Postgres; see `liftos_migration.reject_ports`."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final
from uuid import UUID

import asyncpg

from liftos_kit import postgres
from liftos_kit.core.errors import NotFoundError, StateTransitionError
from liftos_kit.core.filters import Filter, to_sql
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import Repeatable
from liftos_kit.postgres_pages import Listing, Order, Row, read_page, word_of
from liftos_kit.postgres_requests import begin, once
from liftos_migration.adapters.postgres.database import held
from liftos_migration.domain.ledger import storable
from liftos_migration.domain.names import REJECT_NAME
from liftos_migration.domain.rejects import RecordError, RejectState
from liftos_migration.ledger_ports import Lease
from liftos_migration.reject_ports import Choice, StoredReject, Tried

_SQL: Final = postgres.load_queries("liftos_migration", "sql/rejects.sql")
_STATE: Final = word_of([state.name for state in RejectState], "r.state")
_REJECTS: Final = Listing(
    name="list_rejects",
    select=f"""
select r.*, {_STATE} as state_word
from rejects r where r.org = $1 and r.migration = $2""",  # noqa: S608 - words are ours
    order=(Order("table_name", "text"), Order("key", "text"), Order("reject", "uuid")),
    fields={"table": "table_name", "phase": "phase", "state": "state_word"},
)


class PostgresRejects:
    """Refused rows of migrations."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def list_page(
        self, org: str, migration: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[StoredReject], JsonValue]:
        """Return refused rows by table and key."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            rows, following = await read_page(
                connection, _REJECTS, [org, migration], where=where, cursor=cursor, limit=limit
            )
        return [_reject(row) for row in rows], following

    async def ask(
        self, org: str, migration: str, choice: Choice, *, subject: str, reason: str
    ) -> Sequence[UUID]:
        """Keep that open rows are to be tried again."""
        async with postgres.transaction(self._pool, org=org) as connection:
            chosen = await _chosen(connection, org, migration, choice)
            await _SQL.ask_rejects(
                connection,
                org=org,
                migration=migration,
                rejects=chosen,
                subject=subject,
                reason=storable(reason),
            )
            await connection.execute(
                "select pg_notify('liftos_migration', $1)", f"{org}/{migration}"
            )
        return chosen

    async def tried(self, org: str, migration: str, rejects: Sequence[UUID]) -> Tried | None:
        """Return what trying them came to."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as connection:
            row = await _SQL.count_tried(
                connection, org=org, migration=migration, rejects=list(rejects)
            )
        if row["waiting_count"]:
            return None
        return Tried(row["resolved_count"], row["open_count"])

    async def answer(self, org: str, tried: Tried, repeatable: Repeatable[Tried] | None) -> Tried:
        """Keep the answer of a request."""

        async def same(_: asyncpg.Connection) -> Tried:
            return tried

        return await once(begin(self._pool, org), repeatable, same)

    async def waive(
        self,
        org: str,
        migration: str,
        choice: Choice,
        *,
        subject: str,
        reason: str,
        repeatable: Repeatable[int] | None,
    ) -> int:
        """Give open rows up."""

        async def waived(connection: asyncpg.Connection) -> int:
            chosen = await _chosen(connection, org, migration, choice)
            await _SQL.waive_rejects(
                connection,
                org=org,
                migration=migration,
                rejects=chosen,
                subject=subject,
                reason=storable(reason),
            )
            return len(chosen)

        return await once(begin(self._pool, org), repeatable, waived)

    async def asked(self, lease: Lease) -> Mapping[UUID, str]:
        """Return the rows that are to be tried again, each with its table."""
        async with held(self._pool, lease) as connection:
            rows = _SQL.asked_rejects(connection, org=lease.org, migration=lease.migration)
            return {row["reject"]: row["table_name"] async for row in rows}

    async def end_asking(self, lease: Lease, rejects: Collection[UUID]) -> None:
        """Keep that rows were tried."""
        async with held(self._pool, lease) as connection:
            await _SQL.end_asking(
                connection, org=lease.org, migration=lease.migration, rejects=list(rejects)
            )


async def _chosen(
    connection: asyncpg.Connection, org: str, migration: str, choice: Choice
) -> list[UUID]:
    """Return the ids of the rows that are meant, which are locked.

    Raises:
        NotFoundError: One of those that are named is not there.
        StateTransitionError: One of them is not open.
    """
    condition = "reject = any($3::uuid[])"
    given: Sequence[object] = [list(choice.ids)]
    if not choice.ids:
        condition, given = to_sql(choice.where, columns=_REJECTS.fields, first_parameter=3)
        condition = f"state = {RejectState.OPEN:d} and ({condition})"
    rows = await connection.fetch(
        f"""/* choose_rejects */
        select * from ({_REJECTS.select} for no key update) listed where {condition}
        """,  # noqa: S608 - names are ours, values are parameters
        org,
        migration,
        *given,
    )
    found = {row["reject"]: RejectState(row["state"]) for row in rows}
    for reject in choice.ids:
        name = REJECT_NAME.format(org=org, migration=migration, reject=reject.hex)
        if reject not in found:
            raise NotFoundError(name)
        if found[reject] is not RejectState.OPEN:
            raise StateTransitionError(
                name, state=found[reject].name, allowed_states=[RejectState.OPEN.name]
            )
    return list(found)


def _reject(row: Row) -> StoredReject:
    state = RejectState(row["state"])
    ended = state is not RejectState.OPEN
    return StoredReject(
        reject=row["reject"],
        table=row["table_name"],
        key=row["key"],
        phase=row["phase"],
        row=row["row"],
        errors=tuple(RecordError(**error) for error in row["errors"]),
        state=state,
        reason=row["reason"] if ended else "",
        subject=row["subject"] if ended else "",
        create_time=row["create_time"],
        end_time=row["end_time"],
    )
