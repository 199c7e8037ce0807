"""The rules that a mapping keeps by itself, before any source is asked."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from liftos_kit.core.errors import FieldViolation
from liftos_migration.domain.mapping import (
    FILTERED,
    KeyClass,
    Mapping,
    Reverse,
    Rounding,
    Rows,
    TableMapping,
    Target,
)
from liftos_migration.domain.sql_text import SqlTextError, check
from liftos_migration.domain.targets import TARGET_FIELDS, FieldType, target_field

_WITH_FIELDS: Final = frozenset(target for target, fields in TARGET_FIELDS.items() if fields)
_WITH_SCOPE: Final = frozenset((Target.ARTIFACTS, Target.NOTES, Target.TABLE_ARTIFACT))
_ROUNDED: Final = frozenset((FieldType.INTEGER, FieldType.DECIMAL))
_TOLERANCE: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,18})?")
_MEMBER: Final = re.compile(r"[^.]+(?:\.[^.]+)*")


def violations(mapping: Mapping, *, path: str = "mapping") -> Sequence[FieldViolation]:
    """Return what is wrong with a mapping; tables that are not decided yet are no fault of it.

    Args:
        mapping: The mapping.
        path: Where it stands in the request.
    """
    return [
        *_repeated([each.table for each in mapping.tables], f"{path}.tables", "table"),
        *_repeated([each.prefix for each in mapping.keys], f"{path}.keys", "prefix"),
        *_repeated([each.object for each in mapping.waivers], f"{path}.waivers", "object"),
        *(
            found
            for index, table in enumerate(mapping.tables)
            for found in _Table(mapping, table, f"{path}.tables[{index}]").violations()
        ),
        *_scopes(mapping, path),
        *_keys(mapping, path),
        *_waivers(mapping, path),
    ]


def undecided(mapping: Mapping) -> Sequence[str]:
    """Return the tables and Redis prefixes of which nobody has said yet what they become."""
    return [
        *(each.table for each in mapping.tables if each.target is Target.UNDECIDED),
        *(each.prefix for each in mapping.keys if each.key_class is KeyClass.UNDECIDED),
    ]


class _Table:
    """The rules of one table."""

    def __init__(self, mapping: Mapping, table: TableMapping, path: str) -> None:
        self._mapping = mapping
        self._table = table
        self._path = path

    def violations(self) -> Iterator[FieldViolation]:
        """Yield what is wrong."""
        yield from self._shape()
        yield from self._part()
        yield from self._rows()
        yield from self._rules()
        yield from self._reverse()

    def _at(self, field: str, description: str, rule: str) -> FieldViolation:
        return FieldViolation(f"{self._path}.{field}", description, f"mapping.{rule}")

    def _shape(self) -> Iterator[FieldViolation]:
        table = self._table
        has_scope = table.target in _WITH_SCOPE
        if has_scope and not table.scope:
            yield self._at("scope", f"is needed by {table.target.name}; name one", "scope")
        if not has_scope and table.scope:
            yield self._at("scope", "is for artifacts and notes alone; leave it away", "scope")
        if table.rules and table.target not in (*_WITH_FIELDS, Target.UNDECIDED):
            yield self._at(
                "rules", f"a {table.target.name} has no fields; leave them away", "rules"
            )

    def _part(self) -> Iterator[FieldViolation]:
        table = self._table
        if table.target is not Target.PART:
            if table.part_of:
                yield self._at("part_of", "is for PART alone; leave it away", "part_of")
            return
        owner = self._mapping.table(table.part_of)
        if not table.part_of:
            yield self._at("part_of", "name the table whose records hold the rows", "part_of")
        elif owner is None or owner.target not in (*_WITH_FIELDS, Target.UNDECIDED):
            yield self._at(
                "part_of",
                f"{table.part_of} has no records of its own in this mapping; name a table that has",
                "part_of",
            )
        if table.order_by or table.rows is not Rows.ONE:
            yield self._at("rows", "rows of a PART are ordered by the rules of its table", "rows")

    def _rows(self) -> Iterator[FieldViolation]:
        table = self._table
        if table.row_filter:
            yield from self._sql("row_filter", table.row_filter)
            if self._mapping.waived(table.table + FILTERED) is None:
                yield self._at(
                    "row_filter",
                    "leaves rows behind; say why they do not move, in a waiver of"
                    f" {table.table}{FILTERED}",
                    "filtered",
                )
        if table.target is Target.PART:
            return
        if table.rows is Rows.NEWEST and not table.order_by:
            yield self._at("order_by", "say which row of a record is the newest", "order_by")
        if table.order_by:
            if table.rows is not Rows.NEWEST:
                yield self._at("order_by", "is for rows NEWEST alone; leave it away", "order_by")
            yield from self._sql("order_by", table.order_by, several=True)
        if table.rows is not Rows.ONE:
            if not table.key_columns:
                yield self._at(
                    "key_columns", f"name what the rows of a record share, for {table.rows.name}",
                    "key_columns",
                )  # fmt: skip
            if table.target is Target.TABLE_ARTIFACT:
                yield self._at("rows", "a TABLE_ARTIFACT holds all rows; leave it away", "rows")

    def _rules(self) -> Iterator[FieldViolation]:
        table = self._table
        if table.target not in _WITH_FIELDS:
            return
        names = [rule.field for rule in table.rules]
        yield from _repeated(names, f"{self._path}.rules", "target_field")
        for index, rule in enumerate(table.rules):
            where = f"rules[{index}]"
            field = target_field(table.target, rule.field)
            if field is None or not _MEMBER.fullmatch(rule.field):
                yield self._at(
                    f"{where}.target_field",
                    f"{rule.field[:80]!r} is no field of {table.target.name}; its fields are"
                    f" {_listed(table.target)}",
                    "target_field",
                )
            elif rule.rounding is not Rounding.NONE and field.type not in _ROUNDED:
                yield self._at(
                    f"{where}.rounding", f"{rule.field} holds no rounded number", "rounding"
                )
            inner = next((each for each in names if each.startswith(f"{rule.field}.")), None)
            if inner is not None:
                yield self._at(
                    f"{where}.target_field",
                    f"gives all of {rule.field}, and another rule {inner}; leave one of them away",
                    "target_field",
                )
            yield from self._sql(f"{where}.expression", rule.expression)
        for field in TARGET_FIELDS[table.target]:
            if field.is_required and field.name not in names:
                yield self._at(
                    "rules", f"{table.target.name} need {field.name}; add a rule of it", "required"
                )

    def _reverse(self) -> Iterator[FieldViolation]:
        table = self._table
        is_inverse = table.reverse is Reverse.INVERSE
        if is_inverse and not table.inverse:
            yield self._at("inverse", "reverse INVERSE needs rules; add one a column", "inverse")
        for field, given in (
            ("inverse", bool(table.inverse)),
            ("inverse_rows", bool(table.inverse_rows)),
            ("inverse_filter", bool(table.inverse_filter)),
        ):
            if given and not is_inverse:
                yield self._at(field, "is for reverse INVERSE alone; leave it away", "inverse")
        if is_inverse and table.target is Target.ENTRIES and not table.inverse_filter:
            yield self._at(
                "inverse_filter",
                "say which entries are of this table, such as level = 'OUTCOME'",
                "inverse_filter",
            )
        if is_inverse and table.target in (Target.TABLE_ARTIFACT, Target.UNDECIDED):
            yield self._at(
                "reverse",
                f"{table.target.name} has no fields to invert; choose READ_ONLY",
                "inverse",
            )
        columns = [rule.column for rule in table.inverse]
        yield from _repeated(columns, f"{self._path}.inverse", "source_column")
        for index, rule in enumerate(table.inverse):
            yield from self._sql(f"inverse[{index}].expression", rule.expression)
            if rule.tolerance and not _TOLERANCE.fullmatch(rule.tolerance):
                yield self._at(
                    f"inverse[{index}].tolerance",
                    f"{rule.tolerance[:40]!r} is no decimal such as 0.000001",
                    "tolerance",
                )
        for field, sql in (
            ("inverse_rows", table.inverse_rows),
            ("inverse_filter", table.inverse_filter),
        ):
            if sql:
                yield from self._sql(field, sql)

    def _sql(self, field: str, sql: str, *, several: bool = False) -> Iterator[FieldViolation]:
        try:
            check(sql, several=several)
        except SqlTextError as error:
            yield self._at(field, str(error), "expression")


def _listed(target: Target) -> str:
    return ", ".join(
        f"{field.name} (or {field.name}.member)" if field.has_members else field.name
        for field in TARGET_FIELDS[target]
    )


def _repeated(names: Sequence[str], path: str, field: str) -> Iterator[FieldViolation]:
    counts = Counter(names)
    seen: set[str] = set()
    for index, name in enumerate(names):
        if counts[name] > 1 and name in seen:
            yield FieldViolation(
                f"{path}[{index}].{field}",
                f"{name[:80]!r} stands twice; leave one of them away",
                "mapping.unique",
            )
        seen.add(name)


def _scopes(mapping: Mapping, path: str) -> Iterator[FieldViolation]:
    """Records of a scope are of one table: by its scope it is compared, and taken back."""
    owners: dict[tuple[Target, str], str] = {}
    for index, table in enumerate(mapping.tables):
        if table.target not in (Target.ARTIFACTS, Target.NOTES):
            continue
        owner = owners.setdefault((table.target, table.scope), table.table)
        if owner != table.table and table.scope:
            yield FieldViolation(
                f"{path}.tables[{index}].scope",
                f"{table.scope} is the scope of {owner}; give each table its own",
                "mapping.scope",
            )


def _keys(mapping: Mapping, path: str) -> Iterator[FieldViolation]:
    for index, each in enumerate(mapping.keys):
        moves = each.key_class in (KeyClass.STATE, KeyClass.CONFIGURATION)
        if moves and not each.scope:
            yield FieldViolation(
                f"{path}.keys[{index}].scope",
                f"keys of class {each.key_class.name} become artifacts; name their scope",
                "mapping.scope",
            )
        if each.scope and not moves and each.key_class is not KeyClass.UNDECIDED:
            yield FieldViolation(
                f"{path}.keys[{index}].scope",
                "a derived cache does not move; leave it away",
                "mapping.scope",
            )


def _waivers(mapping: Mapping, path: str) -> Iterator[FieldViolation]:
    for index, waiver in enumerate(mapping.waivers):
        if not waiver.reason.strip():
            yield FieldViolation(
                f"{path}.waivers[{index}].reason",
                f"say why {waiver.object} does not move; the report shows it",
                "mapping.reason",
            )
        problem = ""
        if mapping.table(waiver.object) is not None:
            problem = "is mapped as well; leave one of them away"
        elif waiver.object.endswith(FILTERED):
            table = mapping.table(waiver.object.removesuffix(FILTERED))
            if table is None or not table.row_filter:
                problem = "names rows that no row_filter leaves behind"
        if problem:
            yield FieldViolation(
                f"{path}.waivers[{index}].object", f"{waiver.object} {problem}", "mapping.waiver"
            )
