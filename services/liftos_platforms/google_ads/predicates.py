"""Conditions on the values of fields."""

import re
from dataclasses import dataclass

from liftos_platforms.google_ads.catalogue import Field
from liftos_platforms.google_ads.gaql import LIST_OPERATORS, PATTERN_OPERATORS, Operator

Value = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Predicate:
    """A condition on a field whose values have the field's type."""

    field: Field
    operator: Operator
    values: tuple[Value, ...]


def matches(predicate: Predicate, value: Value) -> bool:
    """Tell whether a value of the predicate's field meets it; null meets only IS NULL."""
    operator = predicate.operator
    if operator in (Operator.IS_NULL, Operator.IS_NOT_NULL):
        return (value is None) is (operator is Operator.IS_NULL)
    if value is None:
        return operator is Operator.CONTAINS_NONE
    if operator in LIST_OPERATORS:
        return (value in predicate.values) is (operator is Operator.IN)
    if operator in PATTERN_OPERATORS:
        return _matches_pattern(operator, str(predicate.values[0]), str(value))
    if operator in (Operator.EQUAL, Operator.NOT_EQUAL):
        return (value == predicate.values[0]) is (operator is Operator.EQUAL)
    return _matches_order(operator, predicate.values, value)


def _matches_pattern(operator: Operator, pattern: str, text: str) -> bool:
    if operator in (Operator.REGEXP_MATCH, Operator.NOT_REGEXP_MATCH):
        return (re.fullmatch(pattern, text) is not None) is (operator is Operator.REGEXP_MATCH)
    return (_like(pattern).fullmatch(text) is not None) is (operator is Operator.LIKE)


def _like(pattern: str) -> re.Pattern[str]:
    """Return the expression for a LIKE pattern: `%` is any text, `_` one character, `[x]` is x."""
    parts = []
    for piece in re.findall(r"\[.\]|.", pattern, re.DOTALL):
        if len(piece) == 3:
            parts.append(re.escape(piece[1]))
        else:
            parts.append({"%": ".*", "_": "."}.get(piece, re.escape(piece)))
    return re.compile("".join(parts), re.DOTALL | re.IGNORECASE)


def _matches_order(operator: Operator, bounds: tuple[Value, ...], value: Value) -> bool:
    # Values of one field are of one type, so that text meets text and numbers meet numbers.
    key, first = _comparable(value), _comparable(bounds[0])
    match operator:
        case Operator.BETWEEN:
            return first <= key <= _comparable(bounds[1])
        case Operator.LESS:
            return key < first
        case Operator.LESS_OR_EQUAL:
            return key <= first
        case Operator.GREATER:
            return key > first
        case _:
            return key >= first


def _comparable(value: Value) -> tuple[int | float, str]:
    return (0, value) if isinstance(value, str) else (value or 0, "")
