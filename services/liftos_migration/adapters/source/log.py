"""Changes from the log of a Postgres, read by SQL from a slot of the plugin `pgoutput`.

A slot is read by peeking: what was read stays until `forget`, so that nothing is lost by whoever
dies in between. A transaction that the snapshot of a round does not see stops what may be
forgotten; it comes again in the next round.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, assert_never, cast

import asyncpg

from liftos_kit import postgres
from liftos_migration.adapters.source import pgoutput
from liftos_migration.capture_ports import (
    CaptureLostError,
    CaptureStatus,
    Changes,
    Horizon,
    SchemaDriftError,
    SourceForbidsError,
    SourceIdentity,
    WritersWaitedForError,
)
from liftos_migration.domain.changes import (
    DirtyRecords,
    Key,
    Mark,
    TransactionSnapshot,
    Watched,
)

SQL: Final = postgres.load_queries("liftos_migration", "sql/capture/capture.sql")

CHANGES_AT_A_TIME: Final = 200_000
"""Changes after which a read ends with the transaction in hand; the next one goes on after it."""

_FETCHED_AT_A_TIME: Final = 5_000
_WAIT_SECONDS: Final = 30.0
"""How long the slot waits for transactions that run when it is made, or for its last reader."""
_FLUSH_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.05
_BETWEEN: Final = ";\n"
_IDENTITIES: Final = {"d": "default", "n": "nothing"}
"""Identities that can be given back as they were."""

Connect = Callable[[], AbstractAsyncContextManager[asyncpg.Connection]]
"""Opens a connection to the source that may write."""


class LogCapture:
    """Changes from the log; see `liftos_migration.capture_ports.Capture`.

    Args:
        connect: Opens connections.
        name: Of slot and publication; lower case letters, digits and underscores.
        watched: What changes of each table make dirty.
        columns: Names of each table's columns, as the mapping was made for them.
        changes_at_a_time: See `CHANGES_AT_A_TIME`.
    """

    def __init__(
        self,
        connect: Connect,
        name: str,
        watched: Watched,
        *,
        columns: Mapping[str, tuple[str, ...]],
        changes_at_a_time: int = CHANGES_AT_A_TIME,
    ) -> None:
        self._connect = connect
        self._name = name
        self._watched = watched
        self._columns = columns
        self._changes_at_a_time = changes_at_a_time

    async def prepare(self) -> SourceIdentity:
        """Make the publication, then the slot; does nothing where they are.

        Tables whose records have other keys than their rows get the whole old row into the log,
        where their owner allows it.

        Raises:
            SourceForbidsError: The role may not do so, or a publication that somebody made lacks
                changes.
            WritersWaitedForError: A transaction was open for too long.
        """
        async with self._connect() as connection:
            await self._publish(connection)
            if await SQL.slot(connection, slot=self._name) is None:
                try:
                    async with asyncio.timeout(_WAIT_SECONDS):
                        await SQL.create_slot(connection, slot=self._name)
                except TimeoutError as error:
                    raise WritersWaitedForError(
                        f"The slot {self._name} waits for transactions that were open when it was "
                        f"made, for more than {_WAIT_SECONDS:.0f} s. End them, and resume."
                    ) from error
            return await self._identity(connection)

    async def check(self, identity: SourceIdentity) -> CaptureStatus:
        """Say how the slot is doing."""
        async with self._connect() as connection:
            slot = await self._checked(connection, identity)
            status = await SQL.status(connection)
            return CaptureStatus(
                slot["retained_bytes"],
                status["oldest_transaction_seconds"],
                status["replica_lag_seconds"],
            )

    async def read(self, horizon: Horizon) -> Changes:
        """Return changes that a snapshot sees."""
        async with self._connect() as connection:
            oids = {
                row["oid"]: row["object"]
                async for row in SQL.relations(connection, tables=list(self._watched))
            }
            await _flushed(connection, horizon.lsn)
            reading = _Reading(
                self._watched, self._columns, oids, TransactionSnapshot.parse(horizon.snapshot)
            )
            try:
                async for data in self._peek(connection, horizon.lsn):
                    reading.take(pgoutput.decode(data))
                    if reading.drift:
                        break
            except asyncpg.PostgresError as error:
                # Both are told so: the slot is gone, or what it needs of the log is.
                if isinstance(
                    error,
                    asyncpg.UndefinedObjectError | asyncpg.ObjectNotInPrerequisiteStateError,
                ):
                    raise CaptureLostError(f"The slot {self._name} cannot be read: {error}.") from (
                        error
                    )
                raise
        return reading.changes(horizon.lsn, self._changes_at_a_time)

    async def forget(self, position: str) -> None:
        """Advance the slot; one that is beyond already stays there."""
        async with self._connect() as connection:
            slot = await SQL.slot(connection, slot=self._name)
            if slot is not None and slot["confirmed_flush_lsn"] < lsn_number(position):
                await self._free(connection)
                await SQL.advance_slot(connection, slot=self._name, lsn=lsn_number(position))

    async def remove(self) -> None:
        """Drop slot and publication, and let tables write into the log what they wrote before.

        A publication of another role stays.
        """
        async with self._connect() as connection:
            await self._free(connection)
            await SQL.drop_slot(connection, slot=self._name)
            made = await connection.fetchrow(
                "select obj_description(oid, 'pg_publication') as undo from pg_publication"
                " where pubname = $1 and pubowner = current_user::regrole",
                self._name,
            )
            if made is None:
                return
            async with connection.transaction():
                for statement in (made["undo"] or "").split(_BETWEEN):
                    if statement:
                        await connection.execute(statement)
                await connection.execute(f"drop publication {self._name}")

    async def _publish(self, connection: asyncpg.Connection) -> None:
        """Make the publication, which keeps in its comment how identities are taken back."""
        create = (
            f"create publication {self._name} for table {', '.join(self._watched)}"
            " with (publish_via_partition_root = true)"
        )
        relations = [row async for row in SQL.relations(connection, tables=list(self._watched))]
        async for row in SQL.publications(connection, publication=self._name):
            if not _has_all(row, relations):
                raise SourceForbidsError(
                    f"The publication {self._name} does not have all changes of all tables.",
                    f"drop publication {self._name}; {create}",
                )
            return
        statements, undo = [], []
        for row in relations:
            if (
                not _tells_keys(row, self._watched[row["object"]])
                and row["identity"] in _IDENTITIES
            ):
                before = _IDENTITIES[row["identity"]]
                for table in (row["object"], *row["partitions"]):
                    statements.append(f"alter table {table} replica identity full")
                    undo.append(f"alter table {table} replica identity {before}")
        try:
            async with connection.transaction():
                # Waiting for this lock would keep everybody else waiting too.
                await connection.execute("set local lock_timeout = '2s'")
                for statement in statements:
                    await connection.execute(statement)
                await connection.execute(create)
                words = postgres.quote_literal(_BETWEEN.join(undo))
                await connection.execute(f"comment on publication {self._name} is {words}")
        except asyncpg.InsufficientPrivilegeError as error:
            raise SourceForbidsError(
                f"The role may not publish changes of all tables: {error}.",
                "; ".join((*statements, create)),
            ) from error

    async def _identity(self, connection: asyncpg.Connection) -> SourceIdentity:
        server = await SQL.server_identity(connection)
        return SourceIdentity(server["system"], server["timeline"], self._name)

    async def _checked(
        self, connection: asyncpg.Connection, identity: SourceIdentity
    ) -> asyncpg.Record:
        found = await self._identity(connection)
        if found.system != identity.system:
            raise CaptureLostError("The source is another server than the one that was prepared.")
        if found.timeline != identity.timeline:
            raise CaptureLostError("A standby of the source has taken over.")
        slot = await SQL.slot(connection, slot=self._name)
        if slot is None:
            raise CaptureLostError(f"The slot {self._name} was dropped.")
        if slot["wal_status"] == "lost":
            raise CaptureLostError(
                f"The source did not keep its log for the slot {self._name} (see its setting "
                "max_slot_wal_keep_size)."
            )
        return slot

    async def _peek(self, connection: asyncpg.Connection, lsn: int) -> AsyncIterator[bytes]:
        await self._free(connection)
        async with connection.transaction(readonly=True):
            async for row in connection.cursor(
                "/* peek_slot */ select data from pg_logical_slot_peek_binary_changes($1, $2, $3,"
                " 'proto_version', '1', 'publication_names', $4, 'messages', 'true')",
                self._name,
                lsn,
                self._changes_at_a_time,
                self._name,
                prefetch=_FETCHED_AT_A_TIME,
            ):
                yield row["data"]

    async def _free(self, connection: asyncpg.Connection) -> None:
        """Wait until nobody reads the slot: whoever died keeps it until the server notices."""
        now = asyncio.get_running_loop().time
        deadline = now() + _WAIT_SECONDS
        while await SQL.slot_reader(connection, slot=self._name) is not None:
            if now() > deadline:
                raise WritersWaitedForError(f"The slot {self._name} is read by somebody else.")
            await asyncio.sleep(_PAUSE_SECONDS)


class _Reading:
    """Collects what is dirty, transaction by transaction.

    Args:
        watched: What changes of each table make dirty.
        columns: See `LogCapture`.
        tables: Names of tables by oid.
        snapshot: Transactions that it does not see are left for the next read.
    """

    def __init__(
        self,
        watched: Watched,
        columns: Mapping[str, tuple[str, ...]],
        tables: Mapping[int, str],
        snapshot: TransactionSnapshot,
    ) -> None:
        self._watched = watched
        self._columns = columns
        self._tables = tables
        self._snapshot = snapshot
        self._relations: dict[int, pgoutput.Relation] = {}
        self._dirty = DirtyRecords()
        self._transaction = DirtyRecords()
        self._is_seen = True
        self._is_blocked = False
        self._end_lsn = 0
        self._message_count = 0
        self._change_count = 0
        self.drift = ""

    def take(self, message: pgoutput.LogMessage) -> None:
        """Take the next message."""
        self._message_count += 1
        match message:
            case pgoutput.Begin():
                self._transaction = DirtyRecords()
                self._is_seen = self._snapshot.sees(message.xid)
            case pgoutput.Commit():
                if self._is_seen:
                    self._dirty.merge(self._transaction)
                self._is_blocked = self._is_blocked or not self._is_seen
                if not self._is_blocked:
                    self._end_lsn = message.end_lsn
            case pgoutput.Relation():
                self._relations[message.oid] = message
                self.drift = self._drift(message)
            case pgoutput.Insert() | pgoutput.Update() | pgoutput.Delete():
                self._changed(message)
            case pgoutput.Truncate():
                for oid in message.oids:
                    self._change_count += 1
                    for mark in self._watched.get(self._tables.get(oid, ""), ()):
                        self._transaction.add_whole(mark.table, f"{self._tables[oid]} was emptied")
            case pgoutput.Origin() | pgoutput.Message() | pgoutput.Type():
                pass
            case _:
                assert_never(message)

    def changes(self, lsn: int, maximum: int) -> Changes:
        """Return what was collected up to a place in the log.

        Raises:
            SchemaDriftError: Nothing was, since a table has changed.
        """
        if self.drift and not self._end_lsn:
            raise SchemaDriftError([self.drift])
        complete = self._message_count < maximum and not self.drift
        end_lsn = lsn if complete and not self._is_blocked else self._end_lsn
        return Changes(
            self._dirty, lsn_text(end_lsn) if end_lsn else "", complete, self._change_count
        )

    def _drift(self, relation: pgoutput.Relation) -> str:
        table = self._tables.get(relation.oid)
        if table is None:
            # A partition is told beside its root, which its changes are told for.
            return ""
        name = f"{relation.schema}.{relation.name}"
        expected = self._columns[table]
        if relation.columns == expected:
            return ""
        added = [column for column in relation.columns if column not in expected]
        gone = [column for column in expected if column not in relation.columns]
        words = [f"has the new columns {', '.join(added)}"] if added else []
        words += [f"has no columns {', '.join(gone)} any more"] if gone else []
        return f"{name} {' and '.join(words) or 'has its columns in another order'}"

    def _changed(self, change: pgoutput.Insert | pgoutput.Update | pgoutput.Delete) -> None:
        self._change_count += 1
        relation = self._relations[change.oid]
        table = self._tables.get(change.oid)
        if table is None:
            self.drift = f"{relation.schema}.{relation.name} was made anew"
            return
        for mark in self._watched[table]:
            keys = _keys(relation, mark, change)
            if keys is None:
                self._transaction.add_whole(
                    mark.table,
                    f"the log does not tell which records rows of {relation.name} are of",
                )
            else:
                self._transaction.add(mark.table, keys)


def _keys(
    relation: pgoutput.Relation,
    mark: Mark,
    change: pgoutput.Insert | pgoutput.Update | pgoutput.Delete,
) -> Sequence[Key] | None:
    """Return the keys of the records that a change touches; None where the log does not tell."""
    if not mark.key_columns:
        return None
    places = [relation.columns.index(column) for column in mark.key_columns]
    is_told = relation.key_columns.issuperset(mark.key_columns)
    if isinstance(change, pgoutput.Insert):
        rows = [change.new]
    elif not is_told:
        # The old row is left out, or lacks what is not part of the table's identity.
        return None
    elif isinstance(change, pgoutput.Delete):
        rows = [change.old]
    elif change.old is None:
        rows = [change.new]
    else:
        rows = [change.old, _completed(change.new, change.old)]
    keys = [tuple(row[place] for place in places) for row in rows]
    if any(not isinstance(value, str) for key in keys for value in key):
        return None
    return cast("list[Key]", keys)


def _completed(new: pgoutput.Values, old: pgoutput.Values) -> pgoutput.Values:
    return tuple(
        before if after is pgoutput.Unchanged.VALUE else after
        for before, after in zip(old, new, strict=True)
    )


def lsn_text(lsn: int) -> str:
    """Return a place in the log as the database writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def lsn_number(text: str) -> int:
    """Return a place in the log as a number."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def _has_all(publication: asyncpg.Record, relations: Iterable[asyncpg.Record]) -> bool:
    """Tell whether a publication has all changes of some tables, whole and under their names."""
    return (
        publication["whole"]
        and not publication["restricted"]
        and all(publication["via_root"] or not each["partitions"] for each in relations)
        and (
            publication["all_tables"]
            or {each["oid"] for each in relations} <= set(publication["oids"])
        )
    )


def _tells_keys(relation: asyncpg.Record, marks: Iterable[Mark]) -> bool:
    """Tell whether the log has the keys of records that a table's old rows belonged to.

    A published table without any identity would refuse updates and deletes.
    """
    wanted = {column for mark in marks for column in mark.key_columns}
    columns = set(relation["identity_columns"])
    return relation["identity"] == "f" or (bool(columns) and wanted <= columns)


async def _flushed(connection: asyncpg.Connection, lsn: int) -> None:
    """Wait until the log is on the disk up to a place; only then it can be read.

    Transactions that do not wait for the disk are seen before they are there.
    """
    async with asyncio.timeout(_FLUSH_SECONDS):
        while await SQL.flushed(connection) < lsn:
            await SQL.flush(connection)
