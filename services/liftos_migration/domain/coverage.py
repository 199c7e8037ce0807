"""What a mapping says of each part of a source, so that none is forgotten."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from liftos_migration.domain.inventory import Inventory, Item, ItemKind
from liftos_migration.domain.mapping import KeyClass, Mapping, TableMapping, Target
from liftos_migration.domain.preflight import Finding, Severity
from liftos_migration.domain.sql_text import References, SqlTextError, name_parts, references

_MOVING: Final = (ItemKind.TABLE, ItemKind.REDIS_KEYS)
"""Parts that hold data; all others follow from them, or are told for people alone."""


@dataclass(frozen=True, slots=True)
class CoveredItem:
    """A part of a source with what a mapping says of it.

    Attributes:
        item: The part.
        mapped: Whether it becomes something.
        waived: Whether it was waived.
        unmapped_columns: Its columns that no rule reads and that are not waived.
    """

    item: Item
    mapped: bool = False
    waived: bool = False
    unmapped_columns: tuple[str, ...] = ()


def covered(mapping: Mapping, item: Item) -> CoveredItem:
    """Return a part with what a mapping says of it.

    A column counts as read where a rule of its table names it. Of a part, a rule of the whole does
    so with the name under which it reads the part.
    """
    waived = mapping.waived(item.object) is not None
    if item.kind is ItemKind.REDIS_KEYS:
        known = any(
            each.prefix == item.object and each.key_class is not KeyClass.UNDECIDED
            for each in mapping.keys
        )
        return CoveredItem(item, mapped=known, waived=waived)
    table = mapping.table(item.object)
    if item.kind is not ItemKind.TABLE or table is None or table.target is Target.UNDECIDED:
        return CoveredItem(item, waived=waived)
    return CoveredItem(
        item, mapped=True, waived=waived, unmapped_columns=_unread(mapping, table, item)
    )


def _unread(mapping: Mapping, table: TableMapping, item: Item) -> tuple[str, ...]:
    if table.target is Target.TABLE_ARTIFACT:
        return ()
    schema, name = name_parts(item.object)
    read = {*(table.key_columns or item.key_columns), *_columns(table, {"", name})}
    whole = mapping.table(table.part_of) if table.target is Target.PART else None
    if whole is not None:
        # Within the rules of the whole, columns of its parts are those of a subquery.
        aliases = {
            alias
            for sql in whole.expressions()
            for alias, (in_schema, read_table) in _references(sql).tables.items()
            if read_table == name and in_schema in ("", schema)
        }
        read |= _columns(whole, aliases)
    return tuple(
        column.name
        for column in item.columns
        if column.name not in read and mapping.waived(f"{item.object}.{column.name}") is None
    )


def _columns(table: TableMapping, qualifiers: set[str]) -> set[str]:
    """Return the columns that the rules of a table name with one of these qualifiers."""
    return {
        column
        for sql in table.expressions()
        for qualifier, column in _references(sql).columns
        if qualifier in qualifiers
    }


def _references(sql: str) -> References:
    try:
        return references(sql)
    except SqlTextError:  # which the rules of mappings tell
        return References(frozenset(), {}, frozenset())


def forgotten(mapping: Mapping, inventory: Inventory) -> Sequence[Finding]:
    """Return what a mapping says nothing of: tables, columns and Redis keys."""
    found = []
    for item in inventory.items:
        if item.kind not in _MOVING:
            continue
        each = covered(mapping, item)
        if not each.mapped and not each.waived:
            found.append(
                Finding(
                    Severity.BLOCKER,
                    "NOT_MAPPED",
                    item.object,
                    "nothing says what becomes of it",
                    "a target, or a waiver with a reason",
                    "add it to the mapping; `liftos migration plan` drafts one",
                )
            )
        if each.unmapped_columns and not each.waived:
            found.append(
                Finding(
                    Severity.BLOCKER,
                    "COLUMNS_NOT_MAPPED",
                    item.object,
                    ", ".join(each.unmapped_columns),
                    "each column read by a rule, or waived with a reason",
                    f"add rules, or waivers such as {item.object}.{each.unmapped_columns[0]}",
                )
            )
    return found


def unknown(mapping: Mapping, inventory: Inventory) -> Sequence[Finding]:
    """Return the tables of a mapping that the source does not have."""
    tables = {table.object for table in inventory.tables()}
    return [
        Finding(
            Severity.BLOCKER,
            "TABLE_MISSING",
            each.table,
            "the source has no such table",
            "the name of a table, as the inventory has it",
            "correct its name, or take it out of the mapping",
        )
        for each in mapping.tables
        if each.table not in tables
    ]
