"""SQL text and COPY encoding that follow from the table of an entry's columns."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pgpq
import pyarrow as pa
import pyarrow.compute as pc

from liftos_kit.core.filters import And, Comparison, Filter, Not, Or, to_sql
from liftos_mapping.entry_fields import DATE_BASES, ENTRY_FIELDS, LEVELS, FieldKind

CONTENT_COLUMNS: Final = tuple(
    field.name for field in ENTRY_FIELDS if field.kind is not FieldKind.KEY
)
"""What a writer can change about an entry; any difference here makes a new version of it."""

REPORTED_COLUMNS: Final = tuple(name for name in CONTENT_COLUMNS if name != "final")
"""What a platform can correct; that a number has settled is no correction."""

BATCH_COLUMNS: Final = (
    "date",
    "entry_key",
    *(field.name for field in ENTRY_FIELDS if field.name != "date"),
    "quality_score",
    "quality_issues",
)
"""Columns of a batch on its way into the database."""

_CODED: Final = {"level": LEVELS, "date_basis": DATE_BASES}

_FILTERED_KINDS: Final = (FieldKind.KEY, FieldKind.ATTRIBUTE)

_ROWS_PER_COPY_MESSAGE: Final = 16_384

# JSON travels as text: the encoder of its binary form costs a small batch more than all else.
CREATE_BATCH: Final = f"""
create temp table batch on commit delete rows as
select {", ".join(BATCH_COLUMNS).replace("actions", "actions::text as actions")}
from entries with no data
"""  # noqa: S608 - column names are ours


def _batch_values(alias: str) -> str:
    return _prefixed(alias, BATCH_COLUMNS).replace(".actions", ".actions::jsonb")


def _prefixed(alias: str, columns: tuple[str, ...]) -> str:
    return ", ".join(f"{alias}.{column}" for column in columns)


def _assignments(columns: tuple[str, ...]) -> str:
    return ", ".join(f"{column} = excluded.{column}" for column in columns)


def restated_condition(before: str, after: str) -> str:
    """Return SQL that is true where a row's numbers or names differ between two states."""
    return (
        f"({_prefixed(before, REPORTED_COLUMNS)})"
        f" is distinct from ({_prefixed(after, REPORTED_COLUMNS)})"
    )


def upsert_sql(source: str) -> str:
    """Return the statement that writes the rows of `source` and skips those that are the same.

    A row belongs to the slice and the origin that reported its numbers: who finds them unchanged,
    or only settles them, does not take it over, so that purging that origin leaves it.

    Parameters: org, slice, origin, tx. One row each for what it wrote.
    """
    columns = (*BATCH_COLUMNS, "slice", "origin", "create_time", "update_time", "tx")
    changed = (*CONTENT_COLUMNS, "quality_score", "quality_issues", "update_time", "tx")
    restated = restated_condition("e", "excluded")
    owner = ", ".join(
        f"{column} = case when {restated} then excluded.{column} else e.{column} end"
        for column in ("slice", "origin")
    )
    return f"""
insert into entries as e (org, {", ".join(columns)})
select $1, {_batch_values("b")}, $2::uuid, $3, now(), now(), $4
from {source} b
on conflict (org, date, entry_key) do update set {_assignments(changed)}, {owner}
where ({_prefixed("e", CONTENT_COLUMNS)})
    is distinct from ({_prefixed("excluded", CONTENT_COLUMNS)})
"""  # noqa: S608 - column names are ours


STAGE_SQL: Final = f"""
insert into staged_entries (org, slice, origin, {", ".join(BATCH_COLUMNS)})
select $1, $2, $3, {_batch_values("b")} from batch b
on conflict (org, slice, entry_key) do update
set {_assignments((*CONTENT_COLUMNS, "quality_score", "quality_issues"))}
"""  # noqa: S608 - column names are ours


def _coded(column: pa.ChunkedArray, words: tuple[str, ...]) -> pa.ChunkedArray:
    numbers = pc.index_in(column, value_set=pa.array(words))
    return pc.add(numbers, 1).cast(pa.int16())


def _as_json(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), pa.string())])
    texts = [
        None if actions is None else json.dumps(actions, separators=(",", ":"))
        for actions in column.to_pylist()
    ]
    return pa.chunked_array([pa.array(texts, pa.string())])


def database_table(rows: pa.Table) -> pa.Table:
    """Return checked, scored rows with the columns and types of the database, in key order.

    The order keeps two writers of the same entries from waiting for each other in a circle.
    """
    columns = {
        name: _coded(rows[name], _CODED[name])
        if name in _CODED
        else _as_json(rows[name])
        if name == "actions"
        else rows[name]
        for name in BATCH_COLUMNS
    }
    return pa.table(columns).sort_by([("date", "ascending"), ("entry_key", "ascending")])


def copy_messages(table: pa.Table) -> Iterator[bytes]:
    """Yield binary COPY data of a table from `database_table`."""
    encoder = pgpq.ArrowToPostgresBinaryEncoder(table.schema)
    yield encoder.write_header()
    for batch in table.combine_chunks().to_batches(max_chunksize=_ROWS_PER_COPY_MESSAGE):
        yield encoder.write_batch(batch)
    yield encoder.finish()


ENTRY_SQL_NAMES: Final = {
    **{field.name: field.name for field in ENTRY_FIELDS if field.kind in _FILTERED_KINDS},
    "final": "final",
    "origin": "origin",
    "slice": "slice::text",
    "quality.score": "quality_score",
}
"""SQL expression of each name that a filter or an order may use."""


def entry_condition(where: Filter | None, *, first_parameter: int) -> tuple[str, list[Any]]:
    """Return a filter of entries as a condition and its parameters."""
    if where is None:
        return "true", []
    condition, values = to_sql(
        _as_stored(where), columns=ENTRY_SQL_NAMES, first_parameter=first_parameter
    )
    return f"({condition})", list(values)


def _as_stored(term: Filter) -> Filter:
    """Replace words by the numbers that the database holds."""
    match term:
        case Comparison(field, operator, str(word)) if field in _CODED:
            return Comparison(field, operator, _CODED[field].index(word) + 1)
        case And(terms):
            return And(tuple(map(_as_stored, terms)))
        case Or(terms):
            return Or(tuple(map(_as_stored, terms)))
        case Not(inner):
            return Not(_as_stored(inner))
        case _:
            return term
