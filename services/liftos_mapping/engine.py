"""The one engine that evaluates a platform's mapping over raw rows, column by column."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from liftos_kit.core.time_zones import time_zone_problem
from liftos_mapping.actions import ActionLists, action_list, action_value, chosen_action
from liftos_mapping.breakdowns import breakdown_keys
from liftos_mapping.calculation import Calculator
from liftos_mapping.conversions import (
    ConversionError,
    conversion_of,
    fractions_of_counts,
    is_absent,
    show,
)
from liftos_mapping.entry_fields import (
    DATE_BASES,
    ENTRY_FIELDS,
    ENTRY_SCHEMA,
    LEVEL_IDS,
    LEVELS,
    FieldKind,
)
from liftos_mapping.errors import RowError, RowErrorCode, TransformContextError
from liftos_mapping.grouping import RowGroups
from liftos_mapping.mapping import (
    OBJECT_IDS,
    UNREADABLE_FIELD,
    CalculationRule,
    ColumnRule,
    PlatformMapping,
    ShareRule,
)
from liftos_mapping.series import UnfoldedRows, unfold
from liftos_mapping.source_columns import (
    SourceColumn,
    SourceColumns,
    read_columns,
    wanted_paths,
)
from liftos_mapping.text_column import TextColumn

Mask = npt.NDArray[np.bool_]

_MONEY: Final = tuple(f.name for f in ENTRY_FIELDS if f.kind is FieldKind.MONEY)
_CONTRADICTED: Final = {
    "account_id": RowErrorCode.ACCOUNT_MISMATCH,
    "currency_code": RowErrorCode.CURRENCY_MISMATCH,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformContext:
    """What the rows of a call have in common and may not say themselves.

    `date`, `account_name`, `time_zone` and `attribution_key` stand in where a row does not have
    them. `account_id` and `currency_code` stand in too, and a row that says another one is an
    error, since it would land in another account or be taken for other money. `level` and
    `date_basis` decide for all rows.

    Attributes:
        account_id: The platform's account.
        account_name: Its name.
        currency_code: ISO 4217.
        time_zone: IANA name of the zone whose days the rows hold.
        level: One of `LEVELS`; None sees it from the ids of each row.
        attribution_key: The attribution setting of rows that do not say theirs.
        date_basis: One of `DATE_BASES`; None takes the platform's usual one.
        date: The day of rows without one, as of a report whose timeframe is one day.
        date_times: The days of rows that hold a list per statistic, as of a flow series.
        conversion_actions: Action types that count a conversion, the preferred first; empty takes
            the platform's usual ones.
        final: Whether the platform may still restate these rows; None if unknown.
    """

    account_id: str | None = None
    account_name: str | None = None
    currency_code: str | None = None
    time_zone: str | None = None
    level: str | None = None
    attribution_key: str | None = None
    date_basis: str | None = None
    date: dt.date | str | None = None
    date_times: tuple[dt.date | str, ...] = ()
    conversion_actions: tuple[str, ...] = ()
    final: bool | None = None

    def __post_init__(self) -> None:
        """Refuses levels and date bases that do not exist."""
        if self.level is not None and self.level not in LEVELS:
            raise TransformContextError("level", f"{self.level!r} is not one of {LEVELS}")
        if self.date_basis is not None and self.date_basis not in DATE_BASES:
            raise TransformContextError(
                "date_basis", f"{self.date_basis!r} is not one of {DATE_BASES}"
            )


@dataclass(frozen=True, slots=True)
class TransformResult:
    """Entries, and everything that did not become one.

    Attributes:
        table: The entries in the order of their raw rows, by `ENTRY_SCHEMA`, all columns.
        source_index: For each entry the position of its raw row in the call; the first of them
            where the mapping groups rows.
        errors: Why raw rows gave no entry, by position; a row can have several.
        unmapped_fields: Source fields that no rule reads, sorted; they are not in the entries.
    """

    table: pa.Table
    source_index: list[int]
    errors: tuple[RowError, ...]
    unmapped_fields: tuple[str, ...]


def evaluate(
    mapping: PlatformMapping, rows: Sequence[object], context: TransformContext
) -> TransformResult:
    """Turns raw rows into entries by a mapping.

    Raises:
        TransformContextError: The context holds a value that no entry can have.
    """
    if mapping.grouping is not None:
        return _evaluate_groups(mapping, rows, context)
    unfolded = unfold(rows, mapping.series, context.date_times)
    return _Evaluation(mapping, context, unfolded).result()


def days_of(mapping: PlatformMapping, rows: Sequence[object]) -> list[dt.date | None]:
    """The day of each raw row; None where it has none, or one that cannot be read.

    Args:
        mapping: Without a grouping that is still to be done.
        rows: Rows of one day each.
    """
    dated = [rule for rule in mapping.columns if rule.target == "date"]
    if not dated:
        return [None] * len(rows)
    rule = dated[0]
    needed = tuple(it for it in mapping.calculations if it.name in rule.sources)
    paths = replace(mapping, columns=(rule,), calculations=needed).source_paths()
    source = read_columns(rows, wanted_paths(paths, camel_case=mapping.camel_case))
    _calculate(source, needed)
    raw = source.first_of(rule.sources)
    if raw is None:
        return [None] * len(rows)
    days: list[dt.date | None] = conversion_of(rule.conversion).apply(raw).values.to_pylist()
    return days


def _evaluate_groups(
    mapping: PlatformMapping, rows: Sequence[object], context: TransformContext
) -> TransformResult:
    groups = RowGroups(mapping)
    groups.add(rows)
    result = evaluate(mapping.grouped(), groups.rows(), context)
    first_rows = groups.first_rows
    return replace(
        result,
        source_index=[first_rows[index] for index in result.source_index],
        errors=tuple(replace(it, index=first_rows[it.index]) for it in result.errors),
        unmapped_fields=tuple(sorted(groups.unmapped)),
    )


def _calculate(source: SourceColumns, rules: Sequence[CalculationRule]) -> None:
    """Adds the computed columns; what cannot be computed is an error and unset."""
    calculator = Calculator(source.get, source.row_count)
    for rule in rules:
        values = calculator.column(rule.expression)
        failed = [it for it in enumerate(values) if isinstance(it[1], ConversionError)]
        if failed:
            values = list(values)
        for position, error in failed:
            assert isinstance(error, ConversionError)
            values[position] = None
            source.errors.append(RowError(position, rule.name, error.code, error.message))
        source.columns[rule.name] = values


class _Evaluation:
    """One call: the columns so far and what is wrong with which one-day row."""

    def __init__(
        self, mapping: PlatformMapping, context: TransformContext, unfolded: UnfoldedRows
    ) -> None:
        self._date_basis = context.date_basis or mapping.date_basis
        self._mapping = mapping.in_force(self._date_basis)
        self._context = context
        self._constants = _constants(mapping, context)
        self._unfolded = unfolded
        self._wanted = wanted_paths(
            self._mapping.source_paths(),
            groups=mapping.breakdowns.groups,
            redundant=mapping.redundant,
            camel_case=mapping.camel_case,
        )
        self._source = read_columns(unfolded.rows, self._wanted)
        self._errors = self._source.errors
        self._columns: dict[str, pa.Array] = {}

    def result(self) -> TransformResult:
        """Evaluates the rules in the order in which they depend on each other."""
        self._refuse_spoilt_groups()
        _calculate(self._source, self._mapping.calculations)
        for rule in self._mapping.columns:
            self._convert(rule)
        for share in self._mapping.shares:
            self._count_share(share)
        self._read_actions()
        self._check_same_day()
        self._stand_in()
        self._set_breakdowns()
        # What follows from a first error is not worth a second one.
        readable = self._good()
        self._set_level(readable)
        self._require(readable)
        return self._finish()

    def _fail(self, position: int, field: str, code: RowErrorCode, message: str) -> None:
        self._errors.append(RowError(position, field, code, message))

    def _refuse_spoilt_groups(self) -> None:
        if not self._mapping.reads_groups:
            return
        for position, told in enumerate(self._source.get(UNREADABLE_FIELD) or ()):
            if isinstance(told, Mapping):
                message = f"row {told['row']}: {told['message']}"
                if told["count"] > 1:
                    message += f"; {told['count'] - 1} more rows of its group cannot be read"
                self._fail(position, told["field"], RowErrorCode(told["code"]), message)

    def _convert(self, rule: ColumnRule) -> None:
        raw = self._source.first_of(rule.sources)
        if raw is None:
            return
        converted = conversion_of(rule.conversion).apply(raw)
        for position, error in converted.errors:
            path = self._source.path_used(rule.sources, position)
            self._fail(position, path, error.code, error.message)
        self._columns[rule.target] = self._unset(rule, converted.values)

    def _unset(self, rule: ColumnRule, values: pa.Array) -> pa.Array:
        condition = rule.unset_where
        if condition is None or condition.column not in self._columns:
            return values
        other = self._columns[condition.column]
        unset = pc.is_in(other, pa.array(sorted(condition.values), other.type))
        contradicted = pc.and_kleene(unset, pc.not_equal(values, 0))
        for position in _where(contradicted):
            self._fail(
                position,
                self._source.path_used(rule.sources, position),
                RowErrorCode.CONTRADICTION,
                f"{rule.target} does not exist where {condition.column} is {other[position]}",
            )
        return pc.if_else(unset, pa.scalar(None, values.type), values)

    def _count_share(self, rule: ShareRule) -> None:
        shares, wholes = self._source.get(rule.share), self._source.get(rule.whole)
        if shares is None or wholes is None:
            return
        counts, errors = fractions_of_counts(shares, wholes)
        for position, error in errors:
            self._fail(position, rule.share, error.code, error.message)
        self._columns[rule.target] = pa.array(counts, pa.int64())

    def _read_actions(self) -> None:
        lists = ActionLists(self._source, self._errors)
        for rule in self._mapping.action_values:
            counts = action_value(lists, rule, self._errors)
            if counts is not None:
                self._columns[rule.target] = counts
        chosen = self._mapping.chosen_action
        if chosen is not None:
            priority = self._context.conversion_actions or chosen.action_types
            self._columns.update(chosen_action(lists, chosen, priority, self._errors))
        if self._mapping.action_list is not None:
            actions = action_list(lists, self._mapping.action_list, self._errors)
            if actions is not None:
                self._columns["actions"] = actions

    def _check_same_day(self) -> None:
        if self._mapping.same_day is None:
            return
        first, last = self._mapping.same_day
        starts, ends = self._source.get(first), self._source.get(last)
        if starts is None or ends is None or _are_equal(starts, ends):
            return
        for position, (start, end) in enumerate(zip(starts, ends, strict=True)):
            if start != end and not is_absent(start) and not is_absent(end):
                message = f"the row covers {show(start)} to {show(end)}; ask for one row a day"
                self._fail(position, last, RowErrorCode.NOT_DAILY, message)

    def _stand_in(self) -> None:
        """Fills what rows do not say from the context, and finds what contradicts it."""
        if self._context.date_basis is not None:
            self._columns.pop("date_basis", None)
        for name, constant in self._constants.items():
            given = self._columns.get(name)
            if given is None:
                given = pa.nulls(len(self._unfolded.rows), ENTRY_SCHEMA.field(name).type)
            elif name in _CONTRADICTED and constant.is_valid:
                for position in _where(pc.not_equal(given, constant)):
                    message = f"the row says {given[position]}, the call says {constant}"
                    path = self._mapping.path_of(name)
                    self._fail(position, path, _CONTRADICTED[name], message)
            self._columns[name] = pc.fill_null(given, constant) if constant.is_valid else given

    def _set_level(self, readable: Mask) -> None:
        ids = {name: self._present(name) for name in OBJECT_IDS}
        seen = np.full(len(self._unfolded.rows), "ACCOUNT", dtype=object)
        for rule in reversed(self._mapping.levels):
            seen[ids[rule.present]] = rule.level
        levels = pa.array(seen, pa.string())
        if self._context.level is not None:
            levels = _constant(self._context.level, pa.string(), len(seen))
        elif "level" in self._columns:
            levels = pc.coalesce(self._columns["level"], levels)
        for level in levels.unique().to_pylist():
            self._check_ids(level, readable & _mask(pc.equal(levels, level)), ids)
        self._columns["level"] = levels

    def _check_ids(self, level: str, rows: Mask, ids: dict[str, Mask]) -> None:
        if level not in LEVEL_IDS:
            for position in np.flatnonzero(rows).tolist():
                message = f"{level!r} is not one of {', '.join(LEVELS)}"
                self._fail(
                    position,
                    self._mapping.path_of("level"),
                    RowErrorCode.LEVEL_MISMATCH,
                    message,
                )
            return
        required, allowed = LEVEL_IDS[level]
        for name, present in ids.items():
            path = self._mapping.path_of(name)
            if name in required:
                for position in np.flatnonzero(rows & ~present).tolist():
                    message = f"an entry of level {level} needs its {name}"
                    self._fail(position, path, RowErrorCode.MISSING, message)
            elif name not in allowed:
                for position in np.flatnonzero(rows & present).tolist():
                    message = f"an entry of level {level} has no {name}; its row is of another one"
                    self._fail(position, path, RowErrorCode.LEVEL_MISMATCH, message)

    def _set_breakdowns(self) -> None:
        keys = breakdown_keys(
            self._unfolded.rows,
            self._source,
            self._mapping.breakdowns,
            self._wanted,
            self._errors,
        )
        seen = pa.array(keys, pa.string())
        given = self._columns.get("breakdown_key")
        self._columns["breakdown_key"] = seen if given is None else pc.coalesce(given, seen)

    def _require(self, readable: Mask) -> None:
        known = _mask(pc.is_in(self._columns["date_basis"], pa.array(DATE_BASES, pa.string())))
        for position in np.flatnonzero(readable & ~known).tolist():
            message = f"{self._columns['date_basis'][position]} is not one of {DATE_BASES}"
            path = self._mapping.path_of("date_basis")
            self._fail(position, path, RowErrorCode.NOT_TEXT, message)
        for name in ("date", "platform", "account_id"):
            for position in np.flatnonzero(readable & ~self._present(name)).tolist():
                message = f"no {name} in the row or in the context of the call"
                self._fail(position, self._mapping.path_of(name), RowErrorCode.MISSING, message)
        money = np.logical_or.reduce([self._present(name) for name in _MONEY])
        for position in np.flatnonzero(readable & money & ~self._present("currency_code")).tolist():
            self._fail(
                position,
                self._mapping.path_of("currency_code"),
                RowErrorCode.MISSING,
                "money needs its currency, in the row or in the context of the call",
            )

    def _good(self) -> Mask:
        """Rows without an error so far."""
        good = np.ones(len(self._unfolded.rows), dtype=np.bool_)
        good[[error.index for error in self._errors]] = False
        return good

    def _present(self, name: str) -> Mask:
        column = self._columns.get(name)
        if column is None:
            return np.zeros(len(self._unfolded.rows), dtype=np.bool_)
        return _mask(pc.is_valid(column))

    def _finish(self) -> TransformResult:
        count = len(self._unfolded.rows)
        good = self._good()
        arrays = []
        for field in ENTRY_FIELDS:
            column = self._columns.get(field.name, pa.nulls(count, field.type))
            if field.kind is FieldKind.KEY and pa.types.is_string(field.type):
                column = pc.fill_null(column, "")
            arrays.append(column)
        table = pa.Table.from_arrays(arrays, schema=ENTRY_SCHEMA).filter(pa.array(good))
        return TransformResult(
            table=table.combine_chunks(),
            source_index=[self._unfolded.source_index[i] for i in np.flatnonzero(good).tolist()],
            errors=self._errors_of_raw_rows(),
            unmapped_fields=tuple(sorted(self._source.unmapped)),
        )

    def _errors_of_raw_rows(self) -> tuple[RowError, ...]:
        # Two rules can read one bad number; a caller needs to hear of it once.
        named = (replace(it, field=self._mapping.field_of(it.field)) for it in self._errors)
        found = {(error.index, error.field, error.code): error for error in named}
        raw = [*self._unfolded.errors]
        for error in found.values():
            day = self._unfolded.day_index[error.index]
            raw.append(
                RowError(
                    self._unfolded.source_index[error.index],
                    error.field if day is None else f"{error.field}[{day}]",
                    error.code,
                    error.message,
                )
            )
        return tuple(sorted(raw, key=lambda error: error.index))


def _constants(mapping: PlatformMapping, context: TransformContext) -> dict[str, pa.Scalar]:
    """The context's values as the platform's own conversions read them, null where not given."""
    if context.time_zone and (problem := time_zone_problem(context.time_zone)):
        raise TransformContextError("time_zone", problem)
    conversions = {"date": "date@1"} | {it.target: it.conversion for it in mapping.columns}
    given: dict[str, object] = {
        "date": context.date,
        "account_id": context.account_id,
        "account_name": context.account_name,
        "currency_code": context.currency_code,
        "time_zone": context.time_zone,
        "attribution_key": context.attribution_key,
        "platform": mapping.platform,
        "date_basis": context.date_basis or mapping.date_basis,
        "final": context.final,
    }
    constants = {}
    for name, value in given.items():
        type_ = ENTRY_SCHEMA.field(name).type
        converted = value
        if name in conversions:
            try:
                converted = conversion_of(conversions[name]).scalar(value)
            except ConversionError as error:
                raise TransformContextError(name, error.message) from error
        constants[name] = pa.scalar(converted, type_)
    return constants


def _constant(value: object, type_: pa.DataType, length: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, type_), length)


def _mask(values: pa.Array) -> Mask:
    mask: Mask = values.to_numpy(zero_copy_only=False)
    return mask.astype(np.bool_)


def _are_equal(first: SourceColumn, second: SourceColumn) -> bool:
    if isinstance(first, TextColumn) and isinstance(second, TextColumn):
        return bool(first.array.equals(second.array))
    return first == second


def _where(condition: pa.Array) -> list[int]:
    positions: list[int] = np.flatnonzero(_mask(pc.fill_null(condition, fill_value=False))).tolist()
    return positions
