"""The projection of a table: one SELECT that gives its records as Core stores them.

The same SELECT copies, catches up (for some keys) and is compared (as sums of row hashes), so that
nothing can differ between what is written and what is verified. It is evaluated by the source, in
a session with `session_settings`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from liftos_mapping.entry_digests import (
    bucket_number_sql,
    bucket_sums_sql,
    key_md5_sql,
    row_md5_sql,
    stored_sql,
)
from liftos_mapping.entry_fields import DATE_BASES, ENTRY_SCHEMA, NATURAL_KEY, FieldKind
from liftos_mapping.entry_fields import ENTRY_FIELDS as _ENTRY_FIELDS
from liftos_migration.domain.inventory import Column, Item
from liftos_migration.domain.mapping import Rounding, Rows, Rule, TableMapping, Target
from liftos_migration.domain.sql_text import bound, literal, quoted
from liftos_migration.domain.targets import (
    RATE_DECIMALS,
    TARGET_FIELDS,
    FieldType,
    TargetField,
)

_PAIRS: Final = 45
"""Members of an object that one call of a function makes; it takes 100 arguments."""

_SETTINGS: Final = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
}
"""What the texts of values depend on."""

_NATIVE: Final = {
    "smallint": pa.int64(),
    "integer": pa.int64(),
    "bigint": pa.int64(),
    "real": pa.float64(),
    "double precision": pa.float64(),
    "boolean": pa.bool_(),
}
"""Types of columns of whole tables that stay what they are; others are kept as their texts."""

_RECORD_TYPES: Final = {
    FieldType.DATE: pa.date32(),
    FieldType.BYTES: pa.binary(),
    FieldType.TEXTS: pa.list_(pa.string()),
}
_LAST_NAME: Final = re.compile(r'(?:"(?:[^"]|"")+"|[^".]+)\Z')
_KIND_OF_FIELD: Final = {field.name: field.kind for field in _ENTRY_FIELDS}


def session_settings(schemas: Sequence[str]) -> Mapping[str, str]:
    """Return the settings of a session that evaluates projections.

    Args:
        schemas: In which tables without a schema are looked for.
    """
    return _SETTINGS | {"search_path": ", ".join([*map(quoted, schemas), "pg_catalog"])}


@dataclass(frozen=True, slots=True)
class Projection:
    """How the rows of a table are read as finished records.

    Attributes:
        table: As SQL writes it.
        target: What the records are.
        scope: Of artifacts and notes.
        key_columns: What identifies a record, by its name in the catalog.
        key_types: Their types, as SQL writes them.
        schema: Of what `select` gives: `key1`, `key2`, ... as texts, then the fields. A list of
            structures is the text of JSON there; so are body and attributes.
        values: SQL of each field, over the columns of `rows`.
        stored: Of entries: SQL of each column in the form in which Memory stores it.
        rows: Name and SQL of what is read from the table, and of which rows.
    """

    table: str
    target: Target
    scope: str
    key_columns: tuple[str, ...]
    key_types: tuple[str, ...]
    schema: pa.Schema
    values: Mapping[str, str]
    stored: Mapping[str, str]
    rows: "SourceRows"

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the columns with the record's key, as texts."""
        return tuple(f"key{place}" for place, _ in enumerate(self.key_columns, 1))

    @property
    def identity(self) -> tuple[str, ...]:
        """Names of the fields that tell records on Core apart."""
        return tuple(each.name for each in TARGET_FIELDS[self.target] if each.identifies)

    def select(
        self,
        *,
        where_keys: bool = False,
        after: bool = False,
        up_to: bool = False,
    ) -> str:
        """Return the query that gives records by their keys, with the columns of `schema`.

        With n key columns, its parameters are texts, in this order:

        Args:
            where_keys: Records with these keys alone; n arrays of texts, the columns of the keys.
            after: Records after a key; n texts.
            up_to: Records up to a key and with it; n texts.
        """
        columns = ", ".join(
            [
                *(f"k{place}::text as key{place}" for place, _ in enumerate(self.key_columns, 1)),
                *(f"{sql} as {quoted(name)}" for name, sql in self.values.items()),
            ]
        )
        source = self.rows.sql(self._limits(where_keys=where_keys, after=after, up_to=up_to))
        order = ", ".join(f"k{place}" for place, _ in enumerate(self.key_columns, 1))
        ordered = f" order by {order}" if order else ""
        return f"select {columns} from ({source}) source{ordered}"  # noqa: S608

    def identities_sql(self) -> str:
        """Return the query that tells which records keys stand for, whether or not rows are there.

        Its parameters are n arrays of texts; its columns are the keys, then `identity`. A key of
        which nothing follows, such as one of another organisation, stands for no record.
        """
        places = range(1, len(self.key_columns) + 1)
        given = ", ".join(f"given{place}" for place in places)
        columns = ", ".join(
            f"given{place}::{type_} as {quoted(column)}"
            for place, column, type_ in zip(places, self.key_columns, self.key_types, strict=True)
        )
        arrays = ", ".join(f"${place}::text[]" for place in places)
        keys = f"select {columns} from unnest({arrays}) given ({given})"  # noqa: S608
        named = ", ".join(
            [
                *(f"k{place}::text as key{place}" for place in places),
                *(f"{self.values[name]} as {quoted(name)}" for name in self.identity),
            ]
        )
        rows = self.rows.of(f"({keys}) {table_name(self.table)}", self.identity)
        known = " and ".join(
            f"{self.values[field.name]}"
            + (" <> ''" if field.type is FieldType.TEXT else " is not null")
            for field in TARGET_FIELDS[self.target]
            if field.identifies and field.is_required
        )
        return f"select {named} from ({rows}) source where {known}"  # noqa: S608

    def identities_of_rows_sql(self) -> str:
        """Return the query of the identity of each record of the table, unsorted.

        Its columns are `identity`. It evaluates nothing else, and reads each key once.
        """
        keys = ", ".join(f"{sql} as {quoted(column)}" for column, sql in self._named_keys())
        where = f" where {self.rows.condition}" if self.rows.condition else ""
        distinct = f"select distinct {keys} from {self.table}{where}"  # noqa: S608
        rows = self.rows.of(f"({distinct}) {table_name(self.table)}", self.identity)
        named = ", ".join(f"{self.values[name]} as {quoted(name)}" for name in self.identity)
        return f"select {named} from ({rows}) source"  # noqa: S608

    def sums_sql(self, bucket_count: int) -> str:
        """Return the query of the sums of all buckets, as `DigestEntries` with KEY_MD5 tells them.

        Its columns are bucket, row_count, hash_xor and hash_sum; the last two are signed.
        """
        stored = self.stored
        return bucket_sums_sql(
            f"({self.rows.sql('')}) source",
            row_md5=row_md5_sql(stored),
            bucket_number=bucket_number_sql(key_md5_sql(stored)),
            bucket_count=str(bucket_count),
        )

    def hashes_sql(self, bucket_count: int) -> str:
        """Return the query of the hashes of the rows of some buckets.

        Its parameter is an array of buckets; its columns are the keys, the natural key in the form
        of an Arrow batch, bucket and hash, the latter in hex.
        """
        stored = self.stored
        columns = ", ".join(
            [
                *(f"k{place}::text as key{place}" for place, _ in enumerate(self.key_columns, 1)),
                *(f"{self.values[name]} as {quoted(name)}" for name in NATURAL_KEY),
            ]
        )
        number = bucket_number_sql(key_md5_sql(stored))
        return f"""select * from (
    select {columns}, ({number} % {bucket_count})::int as bucket, {row_md5_sql(stored)} as hash
    from ({self.rows.sql("")}) source offset 0
) hashed where bucket = any($1::int[])"""  # noqa: S608

    def _named_keys(self) -> Iterator[tuple[str, str]]:
        return zip(self.key_columns, self.rows.key_sql, strict=True)

    def _limits(self, *, where_keys: bool, after: bool, up_to: bool) -> str:
        columns = ", ".join(self.rows.key_sql)
        count = len(self.key_columns)
        limits: list[str] = []
        for wanted, comparison in ((where_keys, "in"), (after, ">"), (up_to, "<=")):
            if wanted:
                first = len(limits) * count + 1
                key = self._keys(first) if comparison == "in" else self._key(first)
                limits.append(f"({columns}) {comparison} ({key})")
        return " and ".join(limits)

    def _key(self, first: int) -> str:
        """Return SQL of the key of which the first column is a parameter."""
        typed = enumerate(self.key_types, first)
        return ", ".join(f"${place}::text::{type_}" for place, type_ in typed)

    def _keys(self, first: int) -> str:
        """Return SQL of the keys whose columns are parameters from here on."""
        places = range(len(self.key_types))
        names = ", ".join(f"given{place}" for place in places)
        arrays = ", ".join(f"${first + place}::text[]" for place in places)
        typed = ", ".join(f"given{place}::{type_}" for place, type_ in enumerate(self.key_types))
        return f"select {typed} from unnest({arrays}) given ({names})"  # noqa: S608


@dataclass(frozen=True, slots=True)
class SourceRows:
    """The rows of a table before their values are brought into the form of the target.

    Attributes:
        table: As SQL writes it.
        key_sql: Key columns, qualified.
        expressions: SQL of what is read, by the name of the column that holds it.
        fields: Which of these columns each field is made of.
        condition: Which rows there are; empty for all.
        order_by: Order within a record; empty where it has one row.
        is_grouped: Whether the rows of a record are aggregated.
    """

    table: str
    key_sql: tuple[str, ...]
    expressions: Mapping[str, str]
    fields: Mapping[str, tuple[str, ...]]
    condition: str
    order_by: str
    is_grouped: bool

    def sql(self, limit: str) -> str:
        """Return the query; `limit` is one more condition."""
        keys = ", ".join(self.key_sql)
        conditions = " and ".join(f"({each})" for each in (self.condition, limit) if each)
        where = f" where {conditions}" if conditions else ""
        grouped = f" group by {keys}" if self.is_grouped else ""
        distinct = f"distinct on ({keys}) " if self.order_by else ""
        ordered = f" order by {keys}, {self.order_by}" if self.order_by else ""
        columns = self._columns(self.expressions)
        return f"select {distinct}{columns} from {self.table}{where}{grouped}{ordered}"  # noqa: S608

    def of(self, source: str, fields: Sequence[str]) -> str:
        """Return the query of some fields from something else that has the table's columns."""
        named = {column for field in fields for column in self.fields[field]}
        return f"select {self._columns(named)} from {source}"  # noqa: S608

    def _columns(self, named: Mapping[str, str] | set[str]) -> str:
        return ", ".join(
            [
                *(f"{sql} as k{place}" for place, sql in enumerate(self.key_sql, 1)),
                *(f"({sql}) as {name}" for name, sql in self.expressions.items() if name in named),
            ]
        )


def projection(mapping: TableMapping, item: Item, org: str) -> Projection:
    """Return the projection of a table whose mapping keeps the rules of `mapping_rules`.

    Args:
        mapping: With a target that has records of its own.
        item: The table.
        org: The organisation.
    """
    keys = mapping.key_columns or item.key_columns
    types = {column.name: column.type for column in item.columns}
    rules = mapping.rules
    if mapping.target is Target.TABLE_ARTIFACT:
        rules = tuple(Rule(column.name, quoted(column.name)) for column in item.columns)
        fields = [_whole_column(place, column) for place, column in enumerate(item.columns, 1)]
    else:
        fields = list(_fields(mapping.target, rules))
    stored: Mapping[str, str] = {}
    if mapping.target is Target.ENTRIES:
        stored = stored_sql({field.name: field.sql for field in fields if field.columns})
        fields = [_with_date_basis(field, fields, stored["date_basis"]) for field in fields]
    return Projection(
        table=item.object,
        target=mapping.target,
        scope=mapping.scope,
        key_columns=keys,
        key_types=tuple(types[column] for column in keys),
        schema=pa.schema(
            [
                *((f"key{place}", pa.string()) for place, _ in enumerate(keys, 1)),
                *((field.name, field.type) for field in fields),
            ]
        ),
        values={field.name: field.sql for field in fields},
        stored=stored,
        rows=SourceRows(
            table=item.object,
            key_sql=tuple(f"{table_name(item.object)}.{quoted(column)}" for column in keys),
            expressions={f"f{n}": bound(rule.expression, org) for n, rule in enumerate(rules, 1)},
            fields={field.name: field.columns for field in fields},
            condition=bound(mapping.row_filter, org),
            order_by=newest_first(mapping, item, org) if mapping.rows is Rows.NEWEST else "",
            is_grouped=mapping.rows is Rows.GROUPED,
        ),
    )


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a projection: its SQL, over these columns of its rows, and its type in Arrow."""

    name: str
    sql: str
    columns: tuple[str, ...]
    type: pa.DataType


def _whole_column(place: int, column: Column) -> _Field:
    """Return a column of a table that moves as a whole."""
    type_ = _NATIVE.get(column.type, pa.string())
    sql = f"f{place}" if column.type in _NATIVE else f"f{place}::text"
    return _Field(column.name, sql, (f"f{place}",), type_)


def _fields(target: Target, rules: Sequence[Rule]) -> Iterator[_Field]:
    """Yield the fields of records: of entries those with rules and the key, otherwise all."""
    for field in TARGET_FIELDS[target]:
        own = [
            (f"f{place}", rule)
            for place, rule in enumerate(rules, 1)
            if rule.field.partition(".")[0] == field.name
        ]
        if own or field.identifies or target is not Target.ENTRIES:
            columns = tuple(column for column, _ in own)
            yield _Field(field.name, _value(target, field, own), columns, _arrow(target, field))


def _with_date_basis(field: _Field, fields: Sequence[_Field], number: str) -> _Field:
    """Return a field; the date basis, as a word, follows from level and platform too."""
    if field.name != "date_basis":
        return field
    sources = ("date_basis", "level", "platform")
    columns = [name for each in fields if each.name in sources for name in each.columns]
    words = ", ".join(f"'{word}'" for word in DATE_BASES)
    return replace(field, sql=f"(array[{words}])[{number}]", columns=tuple(columns))


def table_name(table: str) -> str:
    """Return the name of a table without its schema, as SQL writes it."""
    found = _LAST_NAME.search(table)
    assert found is not None, f"{table} is no name of a table"
    return found.group()


def newest_first(mapping: TableMapping, item: Item, org: str) -> str:
    """Return the order of the rows of a record; what it leaves open, the primary key decides."""
    rest = (f"{table_name(item.object)}.{quoted(column)}" for column in item.key_columns)
    return ", ".join([bound(mapping.order_by, org), *rest])


def _arrow(target: Target, field: TargetField) -> pa.DataType:
    if target is Target.ENTRIES:
        return ENTRY_SCHEMA.field(field.name).type
    return _RECORD_TYPES.get(field.type, pa.string())


def _value(target: Target, field: TargetField, own: Sequence[tuple[str, Rule]]) -> str:
    """Return SQL of a field over the columns that its rules are read into."""
    if not own:
        return _UNSET.get(field.type, "''")
    if field.has_members and own[0][1].field != field.name:
        members = _members([(rule.field.split(".")[1:], column) for column, rule in own])
        return f"({members})::text"
    column, rule = own[0]
    if target is Target.ENTRIES and field.type is FieldType.TEXT:
        is_key = _KIND_OF_FIELD[field.name] is FieldKind.KEY
        return f"coalesce({column}::text, '')" if is_key else f"nullif({column}::text, '')"
    return _typed(field.type, column, rule.rounding)


_UNSET: Final = {
    FieldType.JSON: "null::text",
    FieldType.BYTES: "null::bytea",
    FieldType.TEXTS: "array[]::text[]",
}


def _typed(type_: FieldType, column: str, rounding: Rounding) -> str:
    if type_ in (FieldType.INTEGER, FieldType.DECIMAL):
        decimals = RATE_DECIMALS if type_ is FieldType.DECIMAL else 0
        number = _rounded(column, rounding, decimals)
        return f"{number}::text" if decimals else f"{number}::bigint"
    return _FORMS[type_].format(column=column)


_ACTIONS: Final = """case when {column} is not null then coalesce((
    select jsonb_agg(jsonb_build_object(
        'action_type', one ->> 'action_type', 'window', one ->> 'window',
        'count_micros', (one ->> 'count_micros')::bigint,
        'value_micros', (one ->> 'value_micros')::bigint) order by place)
    from jsonb_array_elements({column}::jsonb) with ordinality listed (one, place)
), '[]')::text end"""


_FORMS: Final = {
    FieldType.TEXT: "coalesce({column}::text, '')",
    FieldType.DATE: "{column}::date",
    FieldType.REAL: "{column}::double precision",
    FieldType.BOOLEAN: "{column}::boolean",
    FieldType.JSON: "{column}::jsonb::text",
    FieldType.BYTES: "{column}::bytea",
    FieldType.TEXTS: "coalesce({column}::text[], array[]::text[])",
    FieldType.ACTIONS: _ACTIONS,
}
"""SQL of a column's value as a field of a type has it, numbers apart."""


def _rounded(column: str, rounding: Rounding, decimals: int) -> str:
    """Return SQL of a number of at most so many decimals; a text of it is exact for all types."""
    number = f"{column}::text::numeric"
    match rounding:
        case Rounding.NONE:
            return column
        case Rounding.HALF_AWAY:
            return f"round({number}, {decimals})"
        case Rounding.HALF_EVEN:
            unit = f"1e-{decimals}::numeric"
            return f"""(select case when abs(v - trunc(v, {decimals})) = {unit} / 2
                then trunc(v, {decimals}) + mod(trunc(v, {decimals}), 2 * {unit})
                else round(v, {decimals}) end from (select {number} as v) exact)"""  # noqa: S608


def _members(members: Sequence[tuple[list[str], str]]) -> str:
    """Return SQL of an object whose members are at these paths."""
    own: dict[str, list[tuple[list[str], str]]] = {}
    for path, column in members:
        own.setdefault(path[0], []).append((path[1:], column))
    pairs = [
        f"{literal(name)}, " + (_members(inner) if inner[0][0] else f"to_jsonb({inner[0][1]})")
        for name, inner in own.items()
    ]
    return " || ".join(f"jsonb_build_object({', '.join(some)})" for some in _some(pairs))


def _some(pairs: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield as many pairs at a time as a function takes."""
    for start in range(0, len(pairs), _PAIRS):
        yield pairs[start : start + _PAIRS]
