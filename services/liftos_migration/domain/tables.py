"""The tables of a source with what becomes of each, and which of their records were refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from liftos_migration.domain.changes import Key
from liftos_migration.domain.inventory import Item
from liftos_migration.domain.mapping import Mapping as TableMappings
from liftos_migration.domain.mapping import TableMapping, Target
from liftos_migration.domain.projection import Projection, projection
from liftos_migration.domain.sql_text import literal


@dataclass(frozen=True, slots=True)
class Refusals:
    """Records of a table that were refused, by what became of them."""

    open: frozenset[Key] = frozenset()
    waived: frozenset[Key] = frozenset()


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of a source, with what becomes of each.

    Args:
        mapping: Says so.
        items: Tables of the inventory by name.
        org: Whose data it is.
        migration: Its id.
        refusals: Records that were refused, by table.
    """

    mapping: TableMappings
    items: Mapping[str, Item]
    org: str
    migration: str
    refusals: Mapping[str, Refusals] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """What everything on Core says that the migration wrote."""
        return f"migrations/{self.migration}"

    def of(self, *targets: Target) -> Sequence[TableMapping]:
        """Return the mappings of tables that become such records, and that are there."""
        return [
            each
            for each in self.mapping.tables
            if each.target in targets and each.table in self.items
        ]

    def projection(self, mapping: TableMapping) -> Projection:
        """Return the projection of a table, without records that were refused."""
        whole = projection(mapping, self.items[mapping.table], self.org)
        refused = self.refusals.get(mapping.table, Refusals())
        return without(whole, sorted(refused.open | refused.waived))


def without(whole: Projection, keys: Sequence[Key]) -> Projection:
    """Return a projection that does not read the rows of some records.

    Where a key of them has a null in it, no rows with such keys are read.
    """
    known = [key for key in keys if None not in key]
    rest = _limited(whole, known, "not in") if known else whole
    if len(known) < len(keys):
        condition = " and ".join(f"{column} is not null" for column in whole.rows.key_sql)
        rest = _where(rest, condition)
    return rest


def limited_to(whole: Projection, keys: Sequence[Key]) -> Projection:
    """Return a projection that reads the rows of some records alone; at least one."""
    return _limited(whole, keys, "in")


def _limited(whole: Projection, keys: Sequence[Key], comparison: str) -> Projection:
    columns = ", ".join(
        f"array[{', '.join(map(literal, column))}]::text[]" for column in zip(*keys, strict=True)
    )
    names = ", ".join(f"limit{place}" for place, _ in enumerate(whole.key_types))
    typed = ", ".join(f"limit{place}::{type_}" for place, type_ in enumerate(whole.key_types))
    limit = (
        f"({', '.join(whole.rows.key_sql)}) {comparison}"  # noqa: S608 - literals
        f" (select {typed} from unnest({columns}) limits ({names}))"
    )
    return _where(whole, limit)


def _where(whole: Projection, limit: str) -> Projection:
    condition = f"({whole.rows.condition}) and {limit}" if whole.rows.condition else limit
    return replace(whole, rows=replace(whole.rows, condition=condition))
