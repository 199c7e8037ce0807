"""Changes from triggers that write the keys of changed records to a table of the source.

The row of the outbox is written in the transaction of the change, so that a snapshot that sees the
one sees the other. Numbers of rows tell no order of commits and are not asked: what a snapshot sees
is read, and later deleted.
"""

from typing import Final

import asyncpg

from liftos_kit import postgres
from liftos_migration.adapters.source.log import SQL, Connect
from liftos_migration.adapters.source.objects import (
    SCHEMA,
    drop_functions,
    drop_schema_if_empty,
    ensure_schema,
    with_locks,
)
from liftos_migration.capture_ports import (
    CaptureLostError,
    CaptureStatus,
    Changes,
    Horizon,
    SourceIdentity,
)
from liftos_migration.domain.changes import DirtyRecords, Mark, Watched
from liftos_migration.domain.sql_text import quoted

_FETCHED_AT_A_TIME: Final = 5_000

_ROWS: Final = {
    "insert": "referencing new table as new_rows",
    "update": "referencing old table as old_rows new table as new_rows",
    "delete": "referencing old table as old_rows",
    "truncate": "",
}
"""Rows that a trigger of each event sees."""


class OutboxCapture:
    """Changes from triggers; see `liftos_migration.capture_ports.Capture`.

    Args:
        connect: Opens connections.
        name: Of the outbox and its triggers; lower case letters, digits and underscores.
        watched: What changes of each table make dirty.
    """

    def __init__(self, connect: Connect, name: str, watched: Watched) -> None:
        self._connect = connect
        self._name = name
        self._watched = watched
        self._outbox = f"{SCHEMA}.{name}_outbox"

    async def prepare(self) -> SourceIdentity:
        """Make the outbox and the triggers; does nothing where they are.

        Raises:
            WritersWaitedForError: A transaction was open for too long.
        """
        async with self._connect() as connection:
            await ensure_schema(connection)
            await connection.execute(
                f"create table if not exists {self._outbox} ("
                " xid xid8 not null default pg_current_xact_id(), record_table text not null,"
                " key text[])"
            )
            relations = [row async for row in SQL.relations(connection, tables=list(self._watched))]
            for row in sorted(relations, key=lambda each: str(each["object"])):
                await self._watch(connection, row)
            server = await SQL.server_identity(connection)
            return SourceIdentity(server["system"], server["timeline"], self._name)

    async def check(self, identity: SourceIdentity) -> CaptureStatus:
        """Say how the triggers are doing; a standby that took over has them too."""
        async with self._connect() as connection:
            server = await SQL.server_identity(connection)
            if server["system"] != identity.system:
                raise CaptureLostError("The source is another server than the one prepared.")
            size = await connection.fetchval(
                "select pg_total_relation_size(to_regclass($1))", self._outbox
            )
            if size is None:
                raise CaptureLostError(f"The table {self._outbox} was dropped.")
            async for row in SQL.relations(connection, tables=list(self._watched)):
                found = await connection.fetchval(
                    "select count(*) from pg_trigger where tgrelid = any($1::text[]::regclass[])"
                    " and tgname = any($2::text[]) and tgenabled <> 'D'",
                    [row["object"], *row["partitions"]],
                    [f"{self._name}_{event}" for event in _ROWS],
                )
                if found != len(_ROWS) * (1 + len(row["partitions"])):
                    raise CaptureLostError(
                        f"Triggers of {row['object']} or of one of its partitions are missing or "
                        "disabled."
                    )
            status = await SQL.status(connection)
            return CaptureStatus(
                size, status["oldest_transaction_seconds"], status["replica_lag_seconds"]
            )

    async def read(self, horizon: Horizon) -> Changes:
        """Return changes that a snapshot sees."""
        dirty, count = DirtyRecords(), 0
        async with self._connect() as connection:
            try:
                async with connection.transaction(readonly=True):
                    async for row in connection.cursor(
                        f"/* read_outbox */ select record_table, key, count(*) as count"  # noqa: S608
                        f" from {self._outbox}"
                        " where pg_visible_in_snapshot(xid, $1::text::pg_snapshot) group by 1, 2",
                        horizon.snapshot,
                        prefetch=_FETCHED_AT_A_TIME,
                    ):
                        count += row["count"]
                        table, key = row["record_table"], row["key"]
                        if key is None:
                            dirty.add_whole(table, "a change does not tell which records it is of")
                        elif None in key:
                            dirty.add_whole(table, "a key of a changed record is null")
                        else:
                            dirty.add(table, [tuple(key)])
            except asyncpg.UndefinedTableError as error:
                raise CaptureLostError(f"The table {self._outbox} was dropped.") from error
        return Changes(dirty, horizon.snapshot if count else "", complete=True, count=count)

    async def forget(self, position: str) -> None:
        """Delete the rows that a snapshot saw."""
        async with self._connect() as connection:
            await connection.execute(
                f"/* forget_outbox */ delete from {self._outbox}"  # noqa: S608
                " where pg_visible_in_snapshot(xid, $1::text::pg_snapshot)",
                position,
            )

    async def remove(self) -> None:
        """Drop triggers and outbox."""
        async with self._connect() as connection:
            await drop_functions(connection, f"{self._name}_keys", what="Dropping triggers")
            await connection.execute(f"drop table if exists {self._outbox}")
            await drop_schema_if_empty(connection)

    async def _watch(self, connection: asyncpg.Connection, relation: asyncpg.Record) -> None:
        """Make the triggers of a table and its partitions, in one transaction."""
        table = relation["object"]

        async def make() -> None:
            for event, rows in _ROWS.items():
                function = f"{SCHEMA}.{self._name}_keys_{relation['oid']}_{event}"
                await connection.execute(
                    f"create or replace function {function}() returns trigger language plpgsql"
                    # Whoever writes to the table has no right to the outbox.
                    " security definer set search_path = pg_catalog set timezone = 'UTC'"
                    " set datestyle = 'ISO, MDY' set intervalstyle = 'postgres'"
                    " set extra_float_digits = 1 set bytea_output = 'hex'"
                    f" as {postgres.quote_literal(self._body(self._watched[table], event))}"
                )
                for each in (table, *relation["partitions"]):
                    await connection.execute(
                        f"create or replace trigger {self._name}_{event} after {event} on {each}"
                        f" {rows} for each statement execute function {function}()"
                    )

        await with_locks(connection, make, what=f"Making triggers of {table}")

    def _body(self, marks: tuple[Mark, ...], event: str) -> str:
        seen = [name for name in ("old_rows", "new_rows") if name in _ROWS[event]]
        statements = []
        for mark in marks:
            table = postgres.quote_literal(mark.table)
            insert = f"insert into {self._outbox} (record_table, key)"
            if not seen:
                statements.append(f"{insert} values ({table}, null);")
            elif not mark.key_columns:
                some = " or ".join(f"exists (select from {name})" for name in seen)
                statements.append(f"{insert} select {table}, null where {some};")
            else:
                columns = ", ".join(f"{quoted(name)}::text" for name in mark.key_columns)
                keys = " union ".join(f"select array[{columns}] from {name}" for name in seen)  # noqa: S608
                statements.append(f"{insert} select {table}, k.key from ({keys}) k (key);")  # noqa: S608
        return f"begin {' '.join(statements)} return null; end"
