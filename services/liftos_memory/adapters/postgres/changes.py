"""What commits did, read from the tables and their histories."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any, Final

from asyncpg import Record

from liftos_kit import postgres
from liftos_kit.core.filters import Filter
from liftos_mapping.entry_id import format_entry_id, parse_entry_id
from liftos_memory.adapters.postgres.database import Database
from liftos_memory.adapters.postgres.entry_columns import (
    BATCH_COLUMNS,
    entry_condition,
    restated_condition,
)
from liftos_memory.adapters.postgres.record_columns import RECORD_COLUMNS
from liftos_memory.domain.records import Collection
from liftos_memory.replication_ports import (
    Change,
    ChangeSource,
    Position,
    RestatementQuery,
)

_SLICE_TX: Final = "select tx from slices where org = $1 and slice"


@dataclass(frozen=True, slots=True)
class _Table:
    """A table whose earlier states are kept in a history.

    Attributes:
        name: The table.
        history: Its history.
        keys: What identifies a row below the org.
        id: Those of the keys that its id is made of.
        columns: Columns of a state, the keys among them.
        read_id: The key of an id.
        format_id: The id of a row.
    """

    name: str
    history: str
    keys: tuple[str, ...]
    id: tuple[str, ...]
    columns: tuple[str, ...]
    read_id: Callable[[str], tuple[object, ...]]
    format_id: Callable[[Record], str]

    @property
    def key_list(self) -> str:
        return ", ".join(self.keys)

    def images(self) -> str:
        """Return SQL for both states of each row of `changed`, the state before first.

        The row before a commit was superseded by it; the row after was written by it. A row that
        was both never was visible.
        """

        def image(table: str, side: str, condition: str) -> str:
            # The limit keeps the planner from reading whole tables for a few thousand keys.
            same_key = " and ".join(f"r.{key} = c.{key}" for key in self.keys)
            return f"""
select c.version as change_version, c.commit_time, c.origin as commit_origin,
       {side} as is_after, r.*
from changed c cross join lateral (
    select {", ".join(self.columns)} from {table} r
    where r.org = $1 and {same_key} and {condition} limit 1
) r"""  # noqa: S608 - names are ours

        return "\nunion all".join(
            (
                image(self.history, "false", "r.superseded_tx = c.tx and r.tx <> c.tx"),
                image(self.name, "true", "r.tx = c.tx"),
                image(self.history, "true", "r.tx = c.tx and r.superseded_tx <> c.tx"),
            )
        )


_ENTRIES: Final = _Table(
    name="entries",
    history="entry_history",
    keys=("date", "entry_key"),
    id=("date", "entry_key"),
    columns=(*BATCH_COLUMNS, "slice", "origin", "create_time", "update_time", "tx"),
    read_id=parse_entry_id,
    format_id=lambda row: format_entry_id(row["date"], row["entry_key"]),
)
_RECORDS: Final = _Table(
    name="records",
    history="record_history",
    keys=("collection", "record_id"),
    id=("record_id",),
    columns=RECORD_COLUMNS,
    read_id=lambda record_id: (record_id,),
    format_id=lambda row: str(row["record_id"]),
)


@dataclass(frozen=True, slots=True)
class _Feed:
    """Changes of the rows of a table where one of their states meets a condition.

    Attributes:
        database: Where.
        table: Of which table.
        condition: SQL of unqualified columns; its parameters are numbered from 5.
        values: Its parameters.
    """

    database: Database
    table: _Table
    condition: str
    values: Sequence[object]

    async def read(
        self, org: str, *, after: Position, through_version: int, limit: int
    ) -> Sequence[Change]:
        """Return the changes after a position."""
        table = self.table
        parameters = [org, after.version, through_version, limit, *self.values]
        if after.after is None:
            span, beyond = "version > $2 and version <= $3", ""
        else:
            # Within one commit, so that its rows are read from the index in their order.
            span = "version = $2 and version <= $3"
            key = table.read_id(after.after)
            places = ", ".join(f"${len(parameters) + place}" for place in range(1, len(key) + 1))
            beyond = f"and ({', '.join(table.id)}) > ({places})"
            parameters += key
        meets = f"org = $1 and {self.condition} {beyond}"
        ordered = f"order by {', '.join(table.id)} limit $4"
        statement = f"""/* changes_of_{table.name} */
with span as (
    select version, tx, commit_time, origin from commits where org = $1 and {span}
), changed as materialized (
    select s.version, s.tx, s.commit_time, s.origin, {table.key_list}
    from span s cross join lateral (
        (select {table.key_list} from {table.history}
         where superseded_tx = s.tx and tx <> s.tx and {meets} {ordered})
        union
        (select {table.key_list} from {table.name} where tx = s.tx and {meets} {ordered})
        union
        (select {table.key_list} from {table.history}
         where tx = s.tx and superseded_tx <> s.tx and {meets} {ordered})
    ) k
    order by s.version, {table.key_list} limit $4
), image as ({table.images()})
select * from image order by change_version, {table.key_list}, is_after
"""  # noqa: S608 - names are ours, values are parameters
        async with self.database.read(org) as connection:
            rows = await connection.fetch(statement, *parameters)
        return _changes(rows, table)


class PostgresChangeStore:
    """Changes in Postgres; see `liftos_memory.replication_ports.ChangeStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def last_version(self, org: str) -> int:
        """Return the org's newest commit, in one round trip."""
        with postgres.translate_errors():
            version: int = await self._database.pool.fetchval(
                "/* read_version */ select read_version($1)", org
            )
        return version

    def entry_changes(self, where: Filter | None) -> ChangeSource:
        """Return the feed of the entries that match."""
        condition, values = entry_condition(where, first_parameter=5)
        return _Feed(self._database, _ENTRIES, condition, values)

    def record_changes(self, collection: Collection, scope: str) -> ChangeSource:
        """Return the feed of the records of a scope."""
        return _Feed(
            self._database,
            _RECORDS,
            "collection = $5 and ($6 = '' or scope = $6)",
            [int(collection), scope],
        )

    async def restatements(
        self, org: str, query: RestatementQuery, *, after: Position | None, limit: int
    ) -> Sequence[Change]:
        """Return corrections of entries that were there before; to settle one is none."""
        condition, values = entry_condition(query.where, first_parameter=3)
        parameters: list[Any] = [org, limit, *values]

        def parameter(value: object) -> str:
            parameters.append(value)
            return f"${len(parameters)}"

        of_commit = "c.org = $1"
        if query.slice is not None:
            slice_ = parameter(query.slice)
            of_commit += f" and c.tx = ({_SLICE_TX} = {slice_})"
        if query.start_date is not None:
            of_commit += f" and c.commit_time >= {parameter(query.start_date)}::date"
        if query.end_date is not None:
            of_commit += (
                f" and c.commit_time < {parameter(query.end_date + timedelta(days=1))}::date"
            )
        if after is not None:
            assert after.after is not None, "the cursor names a restatement"
            day, key = parse_entry_id(after.after)
            version = parameter(after.version)
            of_commit += f" and c.version <= {version}"
            beyond = (
                f"(c.version < {version} or"
                f" (k.date, k.entry_key) > ({parameter(day)}, {parameter(key)}))"
            )
        else:
            beyond = "true"

        def exists_after(holds: str) -> str:
            return " or ".join(
                f"""exists (
                select from {table} a where a.org = $1 and a.date = h.date
                and a.entry_key = h.entry_key and a.tx = h.superseded_tx and {lasting}
                and {holds})"""
                for table, lasting in (
                    ("entries", "true"),
                    ("entry_history", "a.superseded_tx <> a.tx"),
                )
            )

        matches = condition
        if query.where is not None:
            matches += f" or {exists_after(condition)}"
        settled = exists_after(f"not {restated_condition('h', 'a')}")
        statement = f"""/* restatements */
with changed as materialized (
    select c.version, c.tx, c.commit_time, c.origin, k.date, k.entry_key
    from commits c cross join lateral (
        select date, entry_key from entry_history h
        where org = $1 and superseded_tx = c.tx and tx <> c.tx
        and ({matches}) and not ({settled})
    ) k
    where {of_commit} and {beyond}
    order by c.version desc, k.date, k.entry_key limit $2
), image as ({_ENTRIES.images()})
select image.*, s.slice as commit_slice
from image
join commits c on c.org = $1 and c.version = change_version
left join slices s on s.org = $1 and s.tx = c.tx
order by change_version desc, date, entry_key, is_after
"""  # noqa: S608 - names are ours, values are parameters
        async with self._database.read(org) as connection:
            rows = await connection.fetch(statement, *parameters)
        return _changes(rows, _ENTRIES)


def _changes(rows: Sequence[Record], table: _Table) -> Sequence[Change]:
    """Pair the states before and after, which follow each other."""
    changes = []
    for (version, key), states in groupby(
        rows, lambda row: (row["change_version"], table.format_id(row))
    ):
        by_side = {row["is_after"]: row for row in states}
        before, after = by_side.get(False), by_side.get(True)
        row = after if after is not None else before
        assert row is not None
        changes.append(
            Change(
                version=version,
                id=key,
                before=before,
                after=after,
                origin=row["commit_origin"],
                commit_time=row["commit_time"],
                slice=row.get("commit_slice"),
            )
        )
    return changes
