"""Raw rows that are one: grouped by what they have in common, with exact sums.

A row that cannot be read spoils its group, since a sum without it would be a wrong number; the
group's row then says so under `UNREADABLE_FIELD`, and the engine makes a row error of it.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from typing import Final, TypeAlias

from liftos_mapping.calculation import Calculator, Column
from liftos_mapping.conversions import ConversionError, show
from liftos_mapping.errors import RowError, RowErrorCode
from liftos_mapping.expression_functions import EXACT, number, plain_text, too_many_digits
from liftos_mapping.expressions import Expression, fields_of
from liftos_mapping.mapping import UNREADABLE_FIELD, PlatformMapping
from liftos_mapping.source_columns import read_columns, wanted_paths

GroupedRow: TypeAlias = dict[str, object]
Choice: TypeAlias = Callable[[Sequence[GroupedRow]], Sequence[bool]]
"""Tells of grouped rows, whose sums are not done yet, which are wanted."""


@dataclass(slots=True)
class _Group:
    first_row: int
    by: GroupedRow
    sums: list[Decimal | None]
    unreadable: dict[str, object] | None = None
    unreadable_count: int = 0


class RowGroups:
    """Groups rows that come batch by batch; keeps one row for each group.

    Args:
        mapping: A mapping with a grouping.
        choose: Groups to keep; None keeps all.
    """

    def __init__(self, mapping: PlatformMapping, choose: Choice | None = None) -> None:
        assert mapping.grouping is not None, "only mappings with a grouping have groups"
        self._rule = mapping.grouping
        self._choose = choose
        expressions = [it for _, it in (*self._rule.by, *self._rule.sums)]
        paths = frozenset[str]().union(*map(fields_of, expressions))
        self._wanted = wanted_paths(paths, redundant=mapping.redundant)
        self._groups: dict[object, _Group] = {}
        self._row_count = 0
        self.unmapped: Final[set[str]] = set()

    def __len__(self) -> int:
        return len(self._groups)

    @property
    def first_rows(self) -> Sequence[int]:
        """For each group the position of its first row, over all batches."""
        return [group.first_row for group in self._groups.values()]

    def add(self, rows: Sequence[object]) -> None:
        """Add a batch of raw rows."""
        source = read_columns(rows, self._wanted)
        self.unmapped.update(source.unmapped)
        misshapen: dict[int, RowError] = {error.index: error for error in source.errors}
        calculator = Calculator(source.get, len(rows))
        by = [(name, *self._shown(calculator, name, it)) for name, it in self._rule.by]
        sums = [(name, *self._shown(calculator, name, it)) for name, it in self._rule.sums]
        fresh: list[object] = []
        for position in range(len(rows)):
            row = self._row_count + position
            problem = misshapen.get(position)
            parts = [_key_part(column[position]) for _, _, column in by]
            wrong = next(
                (
                    RowError(position, shown, part.code, part.message)
                    for (_, shown, _), part in zip(by, parts, strict=True)
                    if isinstance(part, ConversionError)
                ),
                problem,
            )
            # A row of which it is unknown where it belongs is a group of its own.
            key: object = tuple(parts) if wrong is None else row
            group = self._groups.get(key)
            if group is None:
                values = [] if wrong is not None else [part[1] for part in parts]  # type: ignore[index]
                names = [name for name, _, _ in by]
                group = _Group(row, dict(zip(names, values, strict=False)), [None] * len(sums))
                self._groups[key] = group
                fresh.append(key)
            if wrong is not None:
                _spoil(group, row, wrong)
                continue
            for place, (_, shown, column) in enumerate(sums):
                try:
                    group.sums[place] = _added(group.sums[place], column[position])
                except ConversionError as error:
                    _spoil(group, row, RowError(position, shown, error.code, error.message))
        self._row_count += len(rows)
        self._drop(fresh)

    def rows(self) -> list[GroupedRow]:
        """The grouped rows, in the order in which their first rows came."""
        return [self._row(group) for group in self._groups.values()]

    def _drop(self, fresh: Sequence[object]) -> None:
        if self._choose is None or not fresh:
            return
        wanted = self._choose([self._row(self._groups[key]) for key in fresh])
        for key, chosen in zip(fresh, wanted, strict=True):
            if not chosen:
                del self._groups[key]

    def _row(self, group: _Group) -> GroupedRow:
        names = (name for name, _ in self._rule.sums)
        sums = (None if it is None else format(it, "f") for it in group.sums)
        row: GroupedRow = {**group.by, **dict(zip(names, sums, strict=True))}
        if group.unreadable is not None:
            row[UNREADABLE_FIELD] = {**group.unreadable, "count": group.unreadable_count}
        return row

    @staticmethod
    def _shown(calculator: Calculator, name: str, expression: Expression) -> tuple[str, Column]:
        """What errors of an expression name, its only field if it has one, and its column."""
        paths = fields_of(expression)
        return next(iter(paths)) if len(paths) == 1 else name, calculator.column(expression)


def _key_part(value: object) -> tuple[type, object] | ConversionError:
    """What tells rows apart, and how the grouped row has it, or why it cannot."""
    if value is None or isinstance(value, bool | int):
        return type(value), value
    if isinstance(value, ConversionError):
        return value
    if isinstance(value, str):
        return str, value.strip()
    if isinstance(value, float | Decimal | dt.date):
        try:
            return str, plain_text(value)
        except ConversionError as error:
            return error
    return ConversionError(
        RowErrorCode.WRONG_SHAPE, f"expected one value to group by, got {show(value)}"
    )


def _added(total: Decimal | None, value: object) -> Decimal | None:
    if value is None:
        return total
    if isinstance(value, ConversionError):
        raise value
    try:
        return number(value) if total is None else EXACT.add(total, number(value))
    except DecimalException as error:
        raise too_many_digits() from error


def _spoil(group: _Group, row: int, error: RowError) -> None:
    group.unreadable_count += 1
    if group.unreadable is None:
        group.unreadable = {
            "row": row,
            "field": error.field,
            "code": error.code,
            "message": error.message,
        }
