"""The way back: rows of the source from records of Core, in SQL that the source evaluates.

What is proved before a cut-over is that the inverse of each record that the projection gives is the
row that it came from.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from liftos_migration.domain.inventory import Item
from liftos_migration.domain.mapping import InverseRule, Rows, TableMapping, Target
from liftos_migration.domain.projection import Projection, newest_first, table_name
from liftos_migration.domain.sql_text import bound, quoted
from liftos_migration.domain.targets import TARGET_FIELDS, FieldType

_TYPES: Final = {
    FieldType.TEXT: "text",
    FieldType.DATE: "date",
    FieldType.INTEGER: "bigint",
    FieldType.REAL: "double precision",
    FieldType.DECIMAL: "numeric",
    FieldType.BOOLEAN: "boolean",
    FieldType.JSON: "jsonb",
    FieldType.BYTES: "bytea",
    FieldType.TEXTS: "text[]",
    FieldType.ACTIONS: "jsonb",
}
_COMPARED_AS: Final = {"json": "jsonb", "xml": "text", "point": "text"}
"""What values are compared as whose types have no equality."""


def record_types(target: Target) -> Mapping[str, str]:
    """Return the SQL type of each field, as inverse expressions see it."""
    return {field.name: _TYPES[field.type] for field in TARGET_FIELDS[target]}


def records_sql(projection: Projection) -> str:
    """Return the query of all records of a projection, with every field of the target."""
    columns = _columns(projection, projection.values)
    return f"select {columns} from ({projection.rows.sql('')}) source"  # noqa: S608


def identities_sql(projection: Projection) -> str:
    """Return the query of the identity of each row; all other fields are null in it.

    Rows of the same record come each by themselves, with the same identity.
    """
    rows = projection.rows
    where = f" where {rows.condition}" if rows.condition else ""
    source = rows.of(f"{rows.table}{where}", projection.identity)
    return f"select {_columns(projection, projection.identity)} from ({source}) source"  # noqa: S608


def _columns(projection: Projection, names: Collection[str]) -> str:
    return ", ".join(
        f"({projection.values[name]})::{type_} as {quoted(name)}"
        if name in names
        else f"null::{type_} as {quoted(name)}"
        for name, type_ in record_types(projection.target).items()
    )


@dataclass(frozen=True, slots=True)
class Inverse:
    """How rows of a table come about from records.

    Attributes:
        table: As SQL writes it.
        target: What the records are.
        rules: One a column.
        types: Types of these columns.
        row_columns: What tells rows apart.
        item_sql: What comes beside a record in FROM, to have one row for each; may be empty.
        condition: Which records are of the table; may be empty.
        org: The organisation.
    """

    table: str
    target: Target
    rules: tuple[InverseRule, ...]
    types: Mapping[str, str]
    row_columns: tuple[str, ...]
    item_sql: str
    condition: str
    org: str

    def select(self, records: str) -> str:
        """Return the query of rows, with the columns of the rules.

        Args:
            records: SQL of a query whose columns are those of `record_types`.
        """
        columns = ", ".join(
            f"({bound(rule.expression, self.org)})::{self.types[rule.column]}"
            f" as {quoted(rule.column)}"
            for rule in self.rules
        )
        items = f" cross join lateral {bound(self.item_sql, self.org)}" if self.item_sql else ""
        where = f" where {bound(self.condition, self.org)}" if self.condition else ""
        return f"select {columns} from ({records}) record{items}{where}"  # noqa: S608

    def round_trip_sql(self, rows: str, records: str) -> str:
        """Return the query that compares rows with what comes back of them, as one row.

        Its columns are row_count; missing and extra, rows that do not come back and that were not
        there; changed; failing, the keys of the first of all these as text; and the number of
        rows in which each column differs, by its place among the rules.

        Args:
            rows: SQL of the rows that were moved.
            records: SQL of the records that they became.
        """
        equal = {f"equal{place}": self._equal(rule) for place, rule in enumerate(self.rules)}
        flags = ", ".join(f"{sql} as {name}" for name, sql in equal.items())
        counts = ", ".join(f"count(*) filter (where paired and not {name})" for name in equal)
        same = " and ".join(equal)
        joined = " and ".join(
            f"before.{quoted(column)} = after.{quoted(column)}" for column in self.row_columns
        )
        before = ", ".join(f"before.{quoted(column)}" for column in self.row_columns)
        return f"""
with before as (select *, true as here from ({rows}) moved),
after as (select *, true as here from ({self.select(records)}) back),
compared as (
    select row({before})::text as key, before.here is not null as there,
           after.here is not null as back, before.here and after.here as paired, {flags}
    from before full join after on {joined}
)
select count(*) filter (where there) as row_count,
       count(*) filter (where there and not back) as missing,
       count(*) filter (where back and not there) as extra,
       count(*) filter (where paired and not ({same})) as changed,
       (array_agg(key) filter (where not coalesce(paired and {same}, false)))[:5] as failing,
       array[{counts}] as differing
from compared
"""  # noqa: S608

    def _equal(self, rule: InverseRule) -> str:
        column = quoted(rule.column)
        if rule.tolerance:
            away = f"abs(before.{column}::text::numeric - after.{column}::text::numeric)"
            return (
                f"((before.{column} is null) = (after.{column} is null)"
                f" and coalesce({away} <= {rule.tolerance}, true))"
            )
        as_type = _COMPARED_AS.get(self.types[rule.column])
        cast = f"::{as_type}" if as_type else ""
        return f"(before.{column}{cast} is not distinct from after.{column}{cast})"


def moved_rows_sql(mapping: TableMapping, item: Item, org: str) -> str:
    """Return the query of the rows of a table that are in records, with the columns of its inverse.

    Of the rows that a record is the newest of, it is that one.
    """
    name = table_name(item.object)
    columns = ", ".join(f"{name}.{quoted(rule.column)}" for rule in mapping.inverse)
    where = f" where {bound(mapping.row_filter, org)}" if mapping.row_filter else ""
    if mapping.rows is not Rows.NEWEST:
        return f"select {columns} from {item.object}{where}"  # noqa: S608
    keys = ", ".join(f"{name}.{quoted(column)}" for column in mapping.key_columns)
    order = newest_first(mapping, item, org)
    return (
        f"select distinct on ({keys}) {columns} from {item.object}{where} order by {keys}, {order}"  # noqa: S608
    )


def inverse(mapping: TableMapping, item: Item, target: Target, org: str) -> Inverse:
    """Return the inverse of a table whose mapping has one.

    Args:
        mapping: Of the table.
        item: The table.
        target: What holds its rows: its own target, or that of the table whose part it is.
        org: The organisation.
    """
    types = {column.name: column.type for column in item.columns}
    # What an older version of a record was does not come back, so that its key tells rows apart.
    by_record = (
        mapping.rows is not Rows.GROUPED
        and mapping.target is not Target.PART
        and bool(mapping.key_columns)
    )
    return Inverse(
        table=item.object,
        target=target,
        rules=mapping.inverse,
        types={rule.column: types[rule.column] for rule in mapping.inverse},
        row_columns=mapping.key_columns if by_record else item.key_columns,
        item_sql=mapping.inverse_rows,
        condition=mapping.inverse_filter,
        org=org,
    )
