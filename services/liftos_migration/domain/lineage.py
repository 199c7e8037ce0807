"""Where fields come from: the columns that expressions name, and the rows behind one record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from liftos_migration.domain.inventory import Item
from liftos_migration.domain.mapping import Mapping as TableMappings
from liftos_migration.domain.mapping import Target
from liftos_migration.domain.sql_text import name_parts, references


@dataclass(frozen=True, slots=True)
class Edge:
    """Where one field comes from.

    Attributes:
        table: As SQL writes it.
        source_columns: Columns of the table that the expression names, in the table's order.
        expression: SQL.
        target: What the rows become.
        target_field: The field.
    """

    table: str
    source_columns: tuple[str, ...]
    expression: str
    target: Target
    target_field: str


@dataclass(frozen=True, slots=True)
class RecordOrigin:
    """Which row, or which rows together, a record comes from.

    Attributes:
        table: As SQL writes it.
        source_key: Key of the record in the source, as compact JSON.
        source_hash: Of its rows, 16 bytes.
        target_record: Name of the record on Core.
        target_hash: Hash that the record has, as in Memory's digests, 16 bytes.
    """

    table: str
    source_key: str
    source_hash: bytes
    target_record: str
    target_hash: bytes


def edges(
    mapping: TableMappings,
    items: Mapping[str, Item],
    *,
    table: str = "",
    target_field: str = "",
) -> Sequence[Edge]:
    """Return where fields come from.

    Args:
        mapping: Of all tables.
        items: Tables of the inventory by name; of one that is not there, all names are told.
        table: Only of this one; empty is all.
        target_field: Only this field, or the members of it; empty is all.
    """
    found = []
    for mapped in mapping.tables:
        if table and mapped.table != table:
            continue
        item = items.get(mapped.table)
        if mapped.target is Target.TABLE_ARTIFACT and item is not None:
            found += [
                Edge(mapped.table, (each.name,), "", mapped.target, each.name)
                for each in item.columns
                if target_field in ("", each.name)
            ]
        for rule in mapped.rules:
            whole = rule.field.partition(".")[0]
            if target_field and target_field not in (rule.field, whole):
                continue
            columns = _own_columns(mapped.table, rule.expression, item)
            found.append(Edge(mapped.table, columns, rule.expression, mapped.target, rule.field))
    return found


def _own_columns(table: str, expression: str, item: Item | None) -> tuple[str, ...]:
    """Return the columns of the table that an expression names; subqueries have their own."""
    found = references(expression)
    own = name_parts(table)[-1]
    named = {
        name
        for qualifier, name in found.columns
        if qualifier == own or (not qualifier and name not in found.tables)
    }
    if item is None:
        return tuple(sorted(named))
    return tuple(each.name for each in item.columns if each.name in named)
