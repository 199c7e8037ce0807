"""The tables that move: how each is read, and which changes concern its records."""

import hashlib
from collections.abc import Mapping as Map
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from liftos_migration.domain.changes import Mark, Watched
from liftos_migration.domain.inventory import Inventory, Item
from liftos_migration.domain.mapping import Mapping, TableMapping, Target
from liftos_migration.domain.projection import Projection, projection

RECORDS: Final = frozenset({Target.ENTRIES, Target.ARTIFACTS, Target.NOTES, Target.EXCHANGE_RATES})
"""Targets of which a row, or a few, make a record."""

_ROWS_PER_PART: Final = 100_000


@dataclass(frozen=True, slots=True)
class MovedTable:
    """A table whose rows become records, or one artifact as a whole.

    Attributes:
        mapping: What they become.
        item: The table.
        projection: How they are read.
    """

    mapping: TableMapping
    item: Item
    projection: Projection

    @property
    def name(self) -> str:
        """The table's name, as SQL writes it."""
        return self.mapping.table

    @property
    def has_records(self) -> bool:
        """Whether it becomes records; otherwise it is one artifact."""
        return self.mapping.target in RECORDS


def moved_tables(mapping: Mapping, inventory: Inventory, org: str) -> tuple[MovedTable, ...]:
    """Return the tables of a mapping that have records of their own, or are one artifact.

    Raises:
        KeyError: A table of the mapping is not there.
    """
    items = {item.object: item for item in inventory.tables()}
    return tuple(
        MovedTable(each, items[each.table], projection(each, items[each.table], org))
        for each in mapping.tables
        if each.target in RECORDS or each.target is Target.TABLE_ARTIFACT
    )


def watched(
    mapping: Mapping, tables: Sequence[MovedTable], reads: Map[str, Sequence[str]]
) -> Watched:
    """Return what changes of each table make dirty.

    Args:
        mapping: Of all tables.
        tables: Those that move.
        reads: For each of them, the tables that its query reads beside the rows of its records.
    """
    marks: dict[str, dict[str, Mark]] = {}
    for table in tables:
        keys = table.projection.key_columns if table.has_records else ()
        marks.setdefault(table.name, {})[table.name] = Mark(table.name, keys)
        for part in mapping.parts_of(table.name):
            # Columns of the part that name the record which holds it.
            told = part.key_columns if len(part.key_columns) == len(keys) else ()
            marks.setdefault(part.table, {})[table.name] = Mark(table.name, told)
        for read in reads.get(table.name, ()):
            # Parts are read by the record's key; of all else it is not known which records read it.
            if read == table.name or table.name not in marks.get(read, {}):
                marks.setdefault(read, {})[table.name] = Mark(table.name, ())
    return {name: tuple(marks[name].values()) for name in sorted(marks)}


def columns_told(inventory: Inventory) -> Map[str, tuple[str, ...]]:
    """Return the columns of each table that its log tells: those that are not computed."""
    return {
        item.object: tuple(
            column.name
            for column in item.columns
            if not column.default.startswith("generated always as")
        )
        for item in inventory.tables()
    }


def part_count(row_count: int, connections: int) -> int:
    """Return into how many ranges of keys a table is cut, which are copied at the same time."""
    return max(1, min(connections, row_count // _ROWS_PER_PART))


def source_name(org: str, migration: str) -> str:
    """Return the name of what a migration puts into its source, such as a slot.

    It fits a slot's name, and differs for each migration of all organisations.
    """
    digest = hashlib.sha256(f"{org}/{migration}".encode()).hexdigest()[:12]
    readable = "".join(c if c.isascii() and c.isalnum() else "_" for c in migration)[:30]
    return f"liftos_{readable}_{digest}"


def schema_changes(before: Map[str, Sequence[str]], after: Map[str, Sequence[str]]) -> list[str]:
    """Say how columns and keys differ, in words.

    Args:
        before: For each table, one text for each column and for its key.
        after: The same, later.
    """
    words = [f"{table} is new" for table in sorted(after.keys() - before.keys())]
    words += [f"{table} is gone" for table in sorted(before.keys() - after.keys())]
    for table in sorted(before.keys() & after.keys()):
        old, new = set(before[table]), set(after[table])
        words += [f"{table} has {each} no more" for each in before[table] if each not in new]
        words += [f"{table} has now {each}" for each in after[table] if each not in old]
    return words
