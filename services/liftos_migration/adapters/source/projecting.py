"""Mappings held against the source that they are for: every expression, every row, the way back."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Final

import asyncpg

from liftos_kit import postgres
from liftos_migration.adapters.source.findings import ROWS_FAIL, Findings
from liftos_migration.adapters.source.way_back import WayBack
from liftos_migration.domain import mapping as plan
from liftos_migration.domain.inventory import Inventory, Item
from liftos_migration.domain.mapping import Reverse, Rounding, Rows, Rule, TableMapping, Target
from liftos_migration.domain.preflight import Finding
from liftos_migration.domain.projection import Projection, projection, table_name
from liftos_migration.domain.sql_text import bound, quoted, references
from liftos_migration.domain.targets import FieldType, target_field

_INTEGERS: Final = frozenset(("int2", "int4", "int8"))
_NUMBERS: Final = _INTEGERS | {"numeric", "float4", "float8"}
_JSON: Final = frozenset(("json", "jsonb"))
_TEXTS: Final = frozenset(("text", "varchar", "bpchar", "name", "char", "uuid", "citext"))

_FITTING: Final[Mapping[FieldType, tuple[frozenset[str], str]]] = {
    FieldType.TEXT: (_TEXTS | _INTEGERS, "say how it is written, as in (column)::text"),
    FieldType.DATE: (
        frozenset(("date",)),
        "say which day it is, as in (column at time zone 'Europe/Berlin')::date",
    ),
    FieldType.INTEGER: (_INTEGERS, "give the rule a rounding, or cast it to bigint"),
    FieldType.REAL: (_NUMBERS, "cast it to double precision"),
    FieldType.DECIMAL: (_NUMBERS, "cast it to numeric"),
    FieldType.BOOLEAN: (frozenset(("bool",)), "compare it, as in column = 'yes'"),
    FieldType.JSON: (_JSON, "build an object with jsonb_build_object"),
    FieldType.BYTES: (frozenset(("bytea",)), "encode it, as in convert_to(column, 'UTF8')"),
    FieldType.TEXTS: (frozenset(("text[]", "varchar[]")), "build an array of texts"),
    FieldType.ACTIONS: (_JSON, "build an array with jsonb_agg"),
}
"""Types of SQL that a field takes, and what to do about others."""

_TOLD: Final = 3


async def mapping_problems(
    connection: asyncpg.Connection, mapping: plan.Mapping, inventory: Inventory, org: str
) -> Sequence[Finding]:
    """Return what a source finds wrong with a mapping that keeps its own rules.

    Reads all rows, more than once; writes nothing. Tables that are not there are left alone.

    Args:
        connection: To the source, in a session with `session_settings`, not in a transaction.
        mapping: The mapping.
        inventory: Of the source.
        org: The organisation.

    Raises:
        StoreUnavailableError: The source does not answer.
    """
    items = {item.object: item for item in inventory.tables()}
    found: list[Finding] = []
    with postgres.translate_errors():
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            wrong = set()
            for table in mapping.tables:
                if table.table in items:
                    findings = Findings(connection, table.table)
                    await _Check(connection, items[table.table], table, org, findings).all()
                    _key_of_whole(mapping, items, table, findings)
                    found += findings.found
                    wrong |= set() if findings.is_startable else {table.table}
            for table in mapping.tables:
                owner = table.part_of or table.table
                if table.reverse is Reverse.INVERSE and not {table.table, owner} & wrong:
                    findings = Findings(connection, table.table)
                    sound = [each for each in mapping.tables if each.table not in wrong]
                    whole = plan.Mapping(tuple(sound), waivers=mapping.waivers)
                    await WayBack(connection, whole, items, table, org).prove(findings)
                    found += findings.found
    return found


def _key_of_whole(
    mapping: plan.Mapping, items: Mapping[str, Item], table: TableMapping, findings: Findings
) -> None:
    """Hold the key of a part against that of the records which hold its rows."""
    whole, item = mapping.table(table.part_of), items.get(table.part_of)
    if table.target is not Target.PART or whole is None or item is None or not table.key_columns:
        return
    keys = whole.key_columns or item.key_columns
    if len(keys) != len(table.key_columns):
        findings.add(
            "PART_KEY",
            "key_columns",
            f"{len(table.key_columns)} columns for the {len(keys)} of {table.part_of}:"
            f" {', '.join(keys)}",
            wanted="columns with the key of the record, in its order",
            remedy="name one for each, or none: then all records are compared where a row changes",
        )


class _Check:
    """One table of a mapping, held against the source."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        item: Item,
        table: TableMapping,
        org: str,
        findings: Findings,
    ) -> None:
        self._connection = connection
        self._table = table
        self._item = item
        self._org = org
        self._findings = findings
        name = table_name(item.object)
        keys = table.key_columns or item.key_columns
        self._keys = ", ".join(f"{name}.{quoted(column)}" for column in keys)
        self._key_count = len(keys)
        self._group = f" group by {self._keys}" if table.rows is Rows.GROUPED else ""

    async def all(self) -> None:
        """Find all that is wrong; what builds on what is wrong is not looked at."""
        table = self._table
        has_records = table.target not in (Target.UNDECIDED, Target.TABLE_ARTIFACT, Target.PART)
        if not self._columns_exist() or (has_records and not self._has_key()):
            return
        if has_records:
            for rule in table.rules:
                await self._rule(rule)
        if table.row_filter:
            condition = bound(table.row_filter, self._org)
            async with self._findings.asking(
                "EXPRESSION",
                "row_filter",
                wanted="a condition over the columns",
                remedy="correct the condition",
            ):
                await self._connection.prepare(f"select 1 from {table.table} where {condition}")  # noqa: S608
        await self._functions()
        if not self._findings.found and has_records:
            rows = projection(table, self._item, self._org)
            await self._identity(rows)
            if not self._findings.found:
                await self._rows(rows)

    def _columns_exist(self) -> bool:
        names = [column.name for column in self._item.columns]
        for place, given in (
            ("key_columns", self._table.key_columns),
            ("inverse", tuple(rule.column for rule in self._table.inverse)),
        ):
            for column in given:
                if column not in names:
                    near = difflib.get_close_matches(column, names, 1)
                    told = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
                    self._findings.add(
                        "UNKNOWN_COLUMN",
                        place,
                        f"the table has no column {column}",
                        wanted="a column of the table",
                        remedy=told,
                    )
        return not self._findings.found

    def _has_key(self) -> bool:
        if not self._key_count:
            self._findings.add(
                "NO_KEY",
                "key_columns",
                "the table has no primary key",
                wanted="columns that tell records apart",
                remedy="name them in key_columns",
            )
        return self._key_count > 0

    async def _rule(self, rule: Rule) -> None:
        """Prepare an expression alone, and hold its type against that of the field."""
        place = f"rule of {rule.field}"
        sql, table, group = bound(rule.expression, self._org), self._table.table, self._group
        chosen = "having" if group else "where"
        attributes: Sequence[asyncpg.Attribute] = ()
        async with self._findings.asking(
            "EXPRESSION",
            place,
            wanted="an expression over the columns of the table",
            remedy="correct the expression",
        ):
            prepared = await self._connection.prepare(
                f"select {self._keys}, ({sql}) as value from {table}{group}"  # noqa: S608
            )
            # Where rows are chosen, neither sets nor windows are allowed, which a part of the rows
            # would give otherwise than all.
            await self._connection.prepare(
                f"select 1 from {table}{group} {chosen} ({sql}) is null"  # noqa: S608
            )
            attributes = prepared.get_attributes()[self._key_count :]
        field = target_field(self._table.target, rule.field)
        assert field is not None, "checked by the rules of the mapping"
        if not attributes or "." in rule.field:
            return
        fits, remedy = _FITTING[field.type]
        if rule.rounding is not Rounding.NONE:
            fits |= _NUMBERS
        type_ = attributes[0].type
        is_word = field.type is FieldType.TEXT and type_.kind == "enum"
        if type_.name not in fits and not is_word:
            self._findings.add(
                "TYPE",
                place,
                f"the expression gives {type_.name}",
                wanted=f"{rule.field} is a {field.type.value}",
                remedy=remedy,
            )

    async def _functions(self) -> None:
        """Refuse functions that give another value each time, or read what nobody sees."""
        sql = [*self._table.expressions(), *(rule.expression for rule in self._table.inverse)]
        names = sorted({name for each in sql for name in references(each).functions})
        rows = await self._connection.fetch(
            """/* functions_that_change */
            select proname::text as name, bool_and(provolatile = 'v') as is_volatile
            from pg_proc where proname = any($1::text[]) group by proname
            having bool_and(provolatile = 'v') or bool_and(
                provolatile <> 'i' and pronamespace <> 'pg_catalog'::regnamespace)
            order by 1""",
            names,
        )
        for row in rows:
            self._findings.add(
                "FUNCTION",
                row["name"],
                "gives another value each time"
                if row["is_volatile"]
                else "may read tables whose changes nobody sees",
                wanted="what follows from the row, and from tables that the expression names",
                remedy="write out what it does, or declare it immutable if it is",
            )

    async def _identity(self, rows: Projection) -> None:
        """What identifies a record follows from its key, and from all of it."""
        wanted = "fields that identify a record follow from key_columns alone"
        async with self._findings.asking(
            "IDENTITY",
            "key_columns",
            wanted=wanted,
            remedy="of a deleted row no more is known than its key: name the column in key_columns",
        ):
            await self._connection.prepare(rows.identities_sql())
        named = {
            column
            for rule in self._table.rules
            if rule.field in rows.identity
            for _, column in references(rule.expression).columns
        }
        for column in rows.key_columns:
            if column not in named:
                self._findings.add(
                    "IDENTITY",
                    "key_columns",
                    f"{column} tells rows apart, and no field that identifies a record names it",
                    wanted=wanted,
                    remedy=f"leave {column} out of key_columns, or name it in one of"
                    f" {', '.join(rows.identity[:4])}",
                )

    async def _rows(self, rows: Projection) -> None:
        """What all rows have to keep."""
        async with self._findings.asking(
            ROWS_FAIL,
            "",
            wanted="rows of which records can be made",
            remedy="let the expressions allow for such values, or filter the rows",
        ):
            await self._keys_are_told(rows)
            if self._table.rows is Rows.ONE and not self._is_primary(rows):
                await self._keys_are_one(rows)
            if not self._findings.found:
                await self._records_are_one(rows)
                await self._numbers_are_exact(rows)
            # Evaluates every field of every row.
            await self._connection.fetchval(
                f"select max(length(record::text)) from ({rows.select()}) record"  # noqa: S608
            )

    def _is_primary(self, rows: Projection) -> bool:
        """Tell whether the database itself keeps the key unique."""
        own = self._item.key_columns
        return bool(own) and set(own) <= set(rows.key_columns)

    async def _keys_are_told(self, rows: Projection) -> None:
        may_be_null = {column.name for column in self._item.columns if column.is_nullable}
        if not may_be_null & set(rows.key_columns):
            return
        unknown = " or ".join(f"{column} is null" for column in rows.rows.key_sql)
        where = f"({rows.rows.condition}) and ({unknown})" if rows.rows.condition else unknown
        count = await self._connection.fetchval(
            f"select count(*) from {rows.table} where {where}"  # noqa: S608
        )
        if count:
            self._findings.add(
                "KEY_NULL",
                "key_columns",
                f"{count:,} rows have a null in {', '.join(rows.key_columns)}",
                wanted="a value in each column of the key",
                remedy="filter such rows, or choose other columns",
            )

    async def _keys_are_one(self, rows: Projection) -> None:
        where = f" where {rows.rows.condition}" if rows.rows.condition else ""
        again = await self._connection.fetch(
            f"""select row({self._keys})::text as key, count(*) as count from {rows.table}{where}
            group by {self._keys} having count(*) > 1 order by 2 desc, 1 limit {_TOLD}"""  # noqa: S608
        )
        if again:
            told = ", ".join(f"{row['key']} ({row['count']} rows)" for row in again)
            self._findings.add(
                "KEY_NOT_UNIQUE",
                "key_columns",
                f"several rows have the same key: {told}",
                wanted="one row for each key",
                remedy="choose NEWEST or GROUPED for rows, or more columns",
            )

    async def _records_are_one(self, rows: Projection) -> None:
        names = ", ".join(map(quoted, rows.identity))
        # They follow from the key alone, so that no other field has to be evaluated.
        again = await self._connection.fetch(
            f"""select row({names})::text as record, count(*) as count
            from ({rows.identities_of_rows_sql()}) record group by {names} having count(*) > 1
            order by 2 desc, 1 limit {_TOLD}"""  # noqa: S608
        )
        if again:
            told = ", ".join(f"{row['record']} ({row['count']} keys)" for row in again)
            self._findings.add(
                "IDENTITY_NOT_UNIQUE",
                "rules",
                f"several keys give the same record: {told}",
                wanted="one record for each key",
                remedy=f"let one of {', '.join(rows.identity[:4])} tell them apart",
            )

    async def _numbers_are_exact(self, rows: Projection) -> None:
        """Numbers within JSON are doubles on Core."""
        prepared = await self._connection.prepare(rows.rows.sql(""))
        kinds = {each.name: each.type.name for each in prepared.get_attributes()}
        members = [
            (f"f{place}", rule.field)
            for place, rule in enumerate(self._table.rules, 1)
            if "." in rule.field and kinds[f"f{place}"] in ("int8", "numeric")
        ]
        if not members:
            return
        counts = ", ".join(
            f"count(*) filter (where {column}::numeric <> {column}::float8::text::numeric)"
            for column, _ in members
        )
        row = await self._connection.fetchrow(
            f"select {counts} from ({rows.rows.sql('')}) source"  # noqa: S608
        )
        for (_, field), count in zip(members, row.values(), strict=True):
            if count:
                self._findings.add(
                    "NUMBER_INEXACT",
                    f"rule of {field}",
                    f"{count:,} rows hold a number of which a double keeps less",
                    wanted="numbers that JSON keeps",
                    remedy="give it as text, as in (column)::text",
                )
