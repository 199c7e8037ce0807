"""The proof that a table could be taken back: every row that moves comes back as it was."""

from collections.abc import Mapping
from typing import Final

import asyncpg

from liftos_migration.adapters.source.findings import NO_WAY_BACK, Findings
from liftos_migration.domain import mapping as plan
from liftos_migration.domain.inventory import Item
from liftos_migration.domain.inverse import (
    Inverse,
    identities_sql,
    inverse,
    moved_rows_sql,
    record_types,
    records_sql,
)
from liftos_migration.domain.mapping import TableMapping, Target
from liftos_migration.domain.projection import projection
from liftos_migration.domain.sql_text import bound, quoted, references

_PLACE: Final = "inverse"
_TOLD: Final = 3


class WayBack:
    """Looks for what keeps a table from being taken back.

    Args:
        connection: To the source, in a transaction that sees one snapshot.
        mapping: The whole mapping.
        items: Tables of the source, by name.
        table: The table, whose mapping has an inverse and is otherwise right.
        org: The organisation.
    """

    def __init__(
        self,
        connection: asyncpg.Connection,
        mapping: plan.Mapping,
        items: Mapping[str, Item],
        table: TableMapping,
        org: str,
    ) -> None:
        self._connection = connection
        self._mapping = mapping
        self._items = items
        self._table = table
        self._item = items[table.table]
        self._org = org
        owner = mapping.table(table.part_of) if table.target is Target.PART else table
        assert owner is not None, "checked by the rules of the mapping"
        self._owner = owner

    async def prove(self, findings: Findings) -> None:
        """Add what does not come back, or not as it was."""
        back = inverse(self._table, self._item, self._owner.target, self._org)
        before = len(findings.found)
        self._columns(findings, back)
        await self._expressions(findings, back)
        if len(findings.found) > before:
            return
        async with findings.asking(
            NO_WAY_BACK, _PLACE, wanted="an inverse of every row", remedy="correct the inverse"
        ):
            await self._all_rows(findings, back)
            await self._only_own(findings, back)

    def _columns(self, findings: Findings, back: Inverse) -> None:
        inverted = {rule.column for rule in back.rules}
        for column in self._item.columns:
            if column.name in inverted or column.default.startswith("generated always as"):
                continue
            waived = self._mapping.waived(f"{self._item.object}.{column.name}") is not None
            if not waived or not (column.is_nullable or column.default):
                findings.add(
                    NO_WAY_BACK,
                    _PLACE,
                    f"no rule of {column.name}",
                    wanted="a rule of each column that moves or needs a value",
                    remedy=f"add a rule of {column.name}, or choose READ_ONLY",
                )
            elif column.name in back.row_columns:
                findings.add(
                    NO_WAY_BACK,
                    _PLACE,
                    f"no rule of {column.name}, which tells rows apart",
                    wanted="rules of all columns of the key",
                    remedy=f"add a rule of {column.name}, or choose READ_ONLY",
                )

    async def _expressions(self, findings: Findings, back: Inverse) -> None:
        """Prepare each rule alone, so that the one at fault is named."""
        fields = ", ".join(
            f"null::{type_} as {quoted(name)}" for name, type_ in record_types(back.target).items()
        )
        items = f" cross join lateral {bound(back.item_sql, self._org)}" if back.item_sql else ""
        for rule in back.rules:
            async with findings.asking(
                NO_WAY_BACK,
                f"inverse of {rule.column}",
                wanted="an expression over the fields of the target",
                remedy="correct the expression",
            ):
                value = f"({bound(rule.expression, self._org)})::{back.types[rule.column]}"
                await self._connection.prepare(
                    f"select {value} from (select {fields}) record{items}"  # noqa: S608
                )

    async def _all_rows(self, findings: Findings, back: Inverse) -> None:
        records = records_sql(projection(self._owner, self._items[self._owner.table], self._org))
        rows = moved_rows_sql(self._table, self._item, self._org)
        row = await self._connection.fetchrow(back.round_trip_sql(rows, records))
        columns = ", ".join(
            f"{rule.column} ({count:,})"
            for rule, count in zip(back.rules, row["differing"], strict=True)
            if count
        )
        for count, what in (
            (row["missing"], "do not come back"),
            (row["extra"], "come back that were not there"),
            (row["changed"], f"come back otherwise, in {columns}"),
        ):
            if count:
                findings.add(
                    NO_WAY_BACK,
                    _PLACE,
                    f"{count:,} of {row['row_count']:,} rows {what}; first"
                    f" {', '.join(row['failing'][:_TOLD])}",
                    wanted="rows as they were",
                    remedy="correct the inverse, give a tolerance, or choose READ_ONLY",
                )

    async def _only_own(self, findings: Findings, back: Inverse) -> None:
        """Records of other tables must not be taken for those of this one."""
        for other in self._mapping.tables:
            item = self._items.get(other.table)
            if back.target is not Target.ENTRIES or other.target is not Target.ENTRIES:
                continue
            if other.table == self._table.table or item is None:
                continue
            condition = bound(back.condition, self._org)
            rows = projection(other, item, self._org)
            named = {name for _, name in references(back.condition).columns}
            if named & {*record_types(back.target), "record"} <= set(rows.identity):
                # What follows from the key is told without the other fields, of constants at once.
                identities = identities_sql(rows)
                if not await self._connection.fetchval(
                    f"select exists (select from ({identities}) record where {condition})"  # noqa: S608
                ):
                    continue
            count = await self._connection.fetchval(
                f"select count(*) from ({records_sql(rows)}) record where {condition}"  # noqa: S608
            )
            if count:
                findings.add(
                    NO_WAY_BACK,
                    "inverse_filter",
                    f"holds for {count:,} records of {other.table}",
                    wanted="a condition that holds for records of this table alone",
                    remedy="name the level, the platform or the account in it",
                )
