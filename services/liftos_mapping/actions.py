"""Lists of platform actions: one chosen count and value, and all of them in order.

A list item names its action type; `value` is the number in the default window and every other
number stands under the name of its window (`7d_click`).
"""

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from liftos_mapping.conversions import (
    ConversionError,
    conversion_of,
    is_absent,
    show,
    text,
)
from liftos_mapping.entry_fields import ACTION_TYPE
from liftos_mapping.errors import RowError, RowErrorCode
from liftos_mapping.mapping import ActionListRule, ActionValueRule, ChosenActionRule
from liftos_mapping.source_columns import SourceColumns

DEFAULT_WINDOW: Final = "default"
"""The window of `value`: the one of the object's own attribution setting."""

_WINDOW: Final = re.compile(
    r"[0-9]+d_(click|view|ev)(_first_conversion|_all_conversions)?|default|dda|incrementality"
    r"|skan_(click|view)(_second_postback|_third_postback)?",
    re.ASCII,
)
_MICROS: Final = conversion_of("decimal_to_micros@1")


Actions = Mapping[str, Mapping[str, object]]
"""The actions of one row's list as the platform sent them, by action type."""

ActionRows = Sequence[Actions | None]
"""The actions of each row; None where a row has no such list."""


@dataclass(slots=True)
class ActionLists:
    """The lists of actions of a call, each checked once.

    Attributes:
        columns: Where the lists are.
        errors: Takes a row error for each list that is not a list of actions.
        windows: The window of each field name of an action; None for what is not a number.
    """

    columns: SourceColumns
    errors: list[RowError]
    windows: dict[str, str | None] = field(default_factory=lambda: {"action_type": None})
    _types: dict[str, str] = field(default_factory=dict)
    _read: dict[str, ActionRows | None] = field(default_factory=dict)

    def get(self, path: str) -> ActionRows | None:
        """The actions under a path; None where no row has them."""
        if path not in self._read:
            values = self.columns.get(path)
            self._read[path] = None if values is None else self._rows(path, values)
        return self._read[path]

    def _rows(self, path: str, values: Sequence[object]) -> ActionRows:
        rows: list[Actions | None] = []
        names: set[str] = set()
        for position, value in enumerate(values):
            actions = None
            if value is not None:
                try:
                    actions = self._actions(value, names)
                except ConversionError as error:
                    self.errors.append(RowError(position, path, error.code, error.message))
            rows.append(actions)
        for name in names:
            self.windows[name] = window_of(str(name))
        self.columns.unmapped.update(
            f"{path}[].{name}"
            for name in names
            if self.windows[name] is None and name != "action_type"
        )
        return rows

    def _actions(self, value: object, names: set[str]) -> Actions:
        if not isinstance(value, list | tuple):
            raise ConversionError(
                RowErrorCode.WRONG_SHAPE, f"expected a list of actions, got {show(value)}"
            )
        actions = {}
        for item in value:
            action_type = self._type_of(item)
            if action_type in actions:
                raise ConversionError(
                    RowErrorCode.DUPLICATE_ACTION,
                    f"action type {show(action_type)} comes twice; ask for action_type as"
                    " the only action breakdown",
                )
            actions[action_type] = item
            names.update(item)
        return actions

    def _type_of(self, item: object) -> str:
        raw = item.get("action_type") if isinstance(item, dict | Mapping) else None
        if not isinstance(item, dict | Mapping) or not isinstance(raw, str):
            raise _shape_error(item)
        if "value" in item and DEFAULT_WINDOW in item:
            raise ConversionError(
                RowErrorCode.AMBIGUOUS,
                f"action {show(raw)} has both a value and a default window",
            )
        known = self._types.get(raw)
        if known is None:
            known = text(raw)
            if known is None:
                raise _shape_error(item)
            self._types[raw] = known
        return known


def _shape_error(item: object) -> ConversionError:
    return ConversionError(
        RowErrorCode.WRONG_SHAPE,
        f"expected an action with action_type and value, got {show(item)}",
    )


def window_of(name: str) -> str | None:
    """The window that an action's field holds; None for a field that is no number."""
    if name == "value":
        return DEFAULT_WINDOW
    return name if _WINDOW.fullmatch(name) else None


def default_of(action: Mapping[str, object]) -> object:
    """The raw number of an action in its default window."""
    return action.get("value", action.get(DEFAULT_WINDOW))


def action_value(
    lists: ActionLists, rule: ActionValueRule, errors: list[RowError]
) -> pa.Array | None:
    """The count of the first action type of the rule that each row has."""
    rows = lists.get(rule.source)
    if rows is None:
        return None
    chosen = [_first_type(row, rule.action_types) for row in rows]
    return _convert(rows, chosen, rule.conversion, rule.source, errors)


def chosen_action(
    lists: ActionLists,
    rule: ChosenActionRule,
    action_types: tuple[str, ...],
    errors: list[RowError],
) -> dict[str, pa.Array]:
    """Conversions and value of the one action type that each row's priority chooses."""
    counts, values = lists.get(rule.counts), lists.get(rule.values)
    empty: ActionRows = [None] * lists.columns.row_count
    chosen = [
        _first_type(count, action_types) or _first_type(value, action_types)
        for count, value in zip(counts or empty, values or empty, strict=True)
    ]
    result = {}
    if counts is not None:
        result[rule.count_target] = _convert(counts, chosen, _MICROS.name, rule.counts, errors)
    if values is not None:
        result[rule.value_target] = _convert(values, chosen, _MICROS.name, rule.values, errors)
    return result


def action_list(
    lists: ActionLists, rule: ActionListRule, errors: list[RowError]
) -> pa.Array | None:
    """The `actions` column: each row's actions by type and window, sorted, null without lists.

    The order is ours and not the platform's, so that an unchanged answer is an unchanged entry.
    """
    values = lists.get(rule.values)
    counts = [
        (path, prefix, rows)
        for path, prefix in ((rule.counts, ""), *((o, f"{o}.") for o in rule.others))
        if (rows := lists.get(path)) is not None
    ]
    if values is None and not counts:
        return None
    table = _ActionTable(rule)
    for position in range(lists.columns.row_count):
        row_counts = [
            (prefix, actions)
            for _, prefix, rows in counts
            if (actions := rows[position]) is not None
        ]
        row_values = values[position] if values is not None else None
        if row_counts or row_values is not None:
            table.add_row(
                _by_window(row_counts, lists.windows),
                _by_window([("", row_values)], lists.windows) if row_values else {},
            )
        else:
            table.add_null()
    return table.finish(errors)


Numbers = dict[tuple[str, str], object]
"""Raw numbers of one row by action type and window."""


def _by_window(lists: Sequence[tuple[str, Actions]], windows: Mapping[str, str | None]) -> Numbers:
    numbers: Numbers = {}
    for prefix, actions in lists:
        for action_type, action in actions.items():
            name_of_action = prefix + action_type
            for name, raw in action.items():
                window = windows[name]
                if window is not None and raw is not None:
                    numbers[name_of_action, window] = raw
    return numbers


class _ActionTable:
    """Collects the actions of all rows flat, so that numbers convert as whole columns."""

    def __init__(self, rule: ActionListRule) -> None:
        self._rule = rule
        self._offsets: list[int | None] = []
        self._keys: list[tuple[str, str]] = []
        self._counts: list[object] = []
        self._values: list[object] = []

    def add_null(self) -> None:
        """Adds a row that has no list of actions."""
        self._offsets.append(None)

    def add_row(self, counts: Numbers, values: Numbers) -> None:
        """Adds one row's actions, ordered by type and window."""
        self._offsets.append(len(self._keys))
        keys = sorted(counts.keys() | values.keys()) if values else sorted(counts)
        self._keys.extend(keys)
        self._counts.extend(map(counts.get, keys))
        self._values.extend(map(values.get, keys))

    def finish(self, errors: list[RowError]) -> pa.Array:
        """The list column; a number that cannot be read is a row error."""
        types = pa.array([action_type for action_type, _ in self._keys], pa.string())
        windows = pa.array([window for _, window in self._keys], pa.string())
        counts, values = _MICROS.apply(self._counts), _MICROS.apply(self._values)
        rows = [row for row, start in enumerate(self._offsets) if start is not None]
        starts = [start for start in self._offsets if start is not None]
        for column, is_value in ((counts, False), (values, True)):
            for at, error in column.errors:
                row = rows[bisect_right(starts, at) - 1]
                path = self._path(*self._keys[at], is_value=is_value)
                errors.append(RowError(row, path, error.code, error.message))
        items = pa.StructArray.from_arrays(
            [types, windows, counts.values, values.values], fields=list(ACTION_TYPE)
        )
        offsets = pa.array([*self._offsets, len(self._keys)], pa.int32())
        return pa.ListArray.from_arrays(offsets, items, type=pa.list_(ACTION_TYPE))

    def _path(self, action_type: str, window: str, *, is_value: bool) -> str:
        if is_value:
            return _number_path(self._rule.values, action_type, window)
        for other in self._rule.others:
            if action_type.startswith(f"{other}."):
                return _number_path(other, action_type.removeprefix(f"{other}."), window)
        return _number_path(self._rule.counts, action_type, window)


def _first_type(actions: Actions | None, action_types: tuple[str, ...]) -> str | None:
    if not actions:
        return None
    for action_type in action_types:
        action = actions.get(action_type)
        if action is not None and not is_absent(default_of(action)):
            return action_type
    return None


def _convert(
    rows: ActionRows,
    chosen: list[str | None],
    conversion: str,
    path: str,
    errors: list[RowError],
) -> pa.Array:
    raw = [
        default_of(actions[action_type])
        if actions and action_type is not None and action_type in actions
        else None
        for actions, action_type in zip(rows, chosen, strict=True)
    ]
    column = conversion_of(conversion).apply(raw)
    errors.extend(
        RowError(at, _number_path(path, chosen[at], DEFAULT_WINDOW), error.code, error.message)
        for at, error in column.errors
    )
    return column.values


def _number_path(path: str, action_type: str | None, window: str) -> str:
    return f"{path}[{action_type}].{'value' if window == DEFAULT_WINDOW else window}"
