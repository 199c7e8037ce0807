"""Evaluates expressions, a column at a time, with exact decimals.

What cannot be computed in a row is a `ConversionError` in its place. It spreads to whatever is
computed from it and is dropped where `if`, `and` or `or` do not choose it, so that
`if(clicks > 0, spend / clicks, 0)` is no error in rows without clicks.

What is unset stays unset through all that is computed from it: null is not 0.
"""

import datetime as dt
import operator
from collections.abc import Callable, Mapping, Sequence
from decimal import DecimalException, DivisionByZero, InvalidOperation
from typing import Any, Final, TypeAlias, assert_never

import numpy as np

from liftos_mapping.conversions import ConversionError, is_absent, show
from liftos_mapping.errors import RowErrorCode
from liftos_mapping.expression_functions import (
    EXACT,
    FUNCTIONS,
    QUOTIENTS,
    Value,
    day_of,
    number,
    plain_text,
    too_many_digits,
)
from liftos_mapping.expressions import (
    Binary,
    Call,
    Expression,
    Field,
    Literal,
    Lookup,
    Not,
    Operator,
)

Column: TypeAlias = list[Value]
"""A value, or the error in its place, for each row."""

_ARITHMETIC: Final = {
    Operator.ADD: EXACT.add,
    Operator.SUBTRACT: EXACT.subtract,
    Operator.MULTIPLY: EXACT.multiply,
    Operator.DIVIDE: QUOTIENTS.divide,
}
_ORDER: Final[dict[Operator, Callable[[Any, Any], bool]]] = {
    Operator.EQUAL: operator.eq,
    Operator.UNEQUAL: operator.ne,
    Operator.LESS: operator.lt,
    Operator.LESS_OR_EQUAL: operator.le,
    Operator.GREATER: operator.gt,
    Operator.GREATER_OR_EQUAL: operator.ge,
}


class Calculator:
    """Evaluates expressions over the rows of one call; each part of them once.

    Args:
        read: Gives the raw values under a path; None where no row has it.
        row_count: How many rows there are.
    """

    def __init__(self, read: Callable[[str], Sequence[object] | None], row_count: int) -> None:
        self._read = read
        self._row_count = row_count
        self._known: dict[int, tuple[Expression, Column]] = {}

    def column(self, expression: Expression) -> Column:
        """The values of an expression, with errors in the place of those that it has not."""
        known = self._known.get(id(expression))
        if known is None:
            # The expression is kept too, so that its identity is not given to another one.
            known = self._known[id(expression)] = (expression, self._evaluate(expression))
        return known[1]

    def _evaluate(self, expression: Expression) -> Column:
        match expression:
            case Literal(value):
                return [value] * self._row_count
            case Field(path):
                raw = self._read(path)
                return [None] * self._row_count if raw is None else list(map(_loaded, raw))
            case Not(operand):
                return [_not(value) for value in self.column(operand)]
            case Binary(operator_, left, right):
                apply = _binary(operator_)
                return list(map(apply, self.column(left), self.column(right)))
            case Call(name, arguments):
                columns = [self.column(argument) for argument in arguments]
                return list(map(_function(name), *columns))
            case Lookup(operand, table, otherwise):
                found = _lookup(table)
                return list(map(found, self.column(operand), self.column(otherwise)))
            case _:
                assert_never(expression)


def _loaded(raw: object) -> Value:
    if isinstance(raw, np.generic):
        raw = raw.item()
    return None if is_absent(raw) else raw


def _binary(operator_: Operator) -> Callable[[Value, Value], Value]:
    if operator_ in _ARITHMETIC:
        return _arithmetic(operator_)
    if operator_ in _ORDER:
        return _comparison(operator_)
    return _junction(deciding=operator_ is Operator.OR)


def _arithmetic(operator_: Operator) -> Callable[[Value, Value], Value]:
    compute = _ARITHMETIC[operator_]

    def apply(left: Value, right: Value) -> Value:
        problem = _first_error(left, right)
        if problem is not None:
            return problem
        if left is None or right is None:
            return None
        try:
            return compute(number(left), number(right))
        except ConversionError as error:
            return error
        except (DivisionByZero, InvalidOperation):
            return ConversionError(
                RowErrorCode.OUT_OF_RANGE,
                f"{plain_text(left)} cannot be divided by {plain_text(right)}",
            )
        except DecimalException:
            return too_many_digits()

    return apply


def _comparison(operator_: Operator) -> Callable[[Value, Value], Value]:
    compare = _ORDER[operator_]
    ordered = operator_ not in (Operator.EQUAL, Operator.UNEQUAL)

    def apply(left: Value, right: Value) -> Value:
        problem = _first_error(left, right)
        if problem is not None:
            return problem
        if left is None or right is None:
            return None
        try:
            return compare(*_comparable(left, right, ordered=ordered))
        except ConversionError as error:
            return error

    return apply


def _comparable(left: Value, right: Value, *, ordered: bool) -> tuple[object, object]:
    """Both operands as days, as numbers or, where they are only told apart, as texts or booleans.

    Texts that are put in an order are numbers, or "9" would be more than "10".
    """
    if isinstance(left, dt.date) or isinstance(right, dt.date):
        return day_of(left), day_of(right)
    both = (left, right)
    if not ordered and (
        all(isinstance(it, str) for it in both) or all(isinstance(it, bool) for it in both)
    ):
        return tuple(it.strip() if isinstance(it, str) else it for it in both)  # type: ignore[return-value]
    return number(left), number(right)


def _junction(*, deciding: bool) -> Callable[[Value, Value], Value]:
    """`or` is decided by the first true operand, `and` by the first false one."""

    def apply(left: Value, right: Value) -> Value:
        first = _truth(left)
        if first is deciding or isinstance(first, ConversionError):
            return first
        second = _truth(right)
        if second is deciding or isinstance(second, ConversionError):
            return second
        return None if first is None or second is None else not deciding

    return apply


def _not(value: Value) -> Value:
    truth = _truth(value)
    return not truth if isinstance(truth, bool) else truth


def _truth(value: Value) -> bool | ConversionError | None:
    if value is None or isinstance(value, bool | ConversionError):
        return value
    return ConversionError(RowErrorCode.NOT_A_BOOLEAN, f"{show(value)} is not true or false")


def _function(name: str) -> Callable[..., Value]:
    if name == "if":
        return _if
    if name == "coalesce":
        return _coalesce
    function = FUNCTIONS[name]
    compute = function.apply
    assert compute is not None, "the two others are above"

    def apply(*values: Value) -> Value:
        problem = _first_error(*values)
        if problem is not None:
            return problem
        if not function.takes_unset and any(value is None for value in values):
            return None
        try:
            return compute(*values)
        except ConversionError as error:
            return error

    return apply


def _if(condition: Value, then: Value, otherwise: Value) -> Value:
    truth = _truth(condition)
    if isinstance(truth, ConversionError):
        return truth
    return then if truth else otherwise


def _coalesce(*values: Value) -> Value:
    return next((value for value in values if value is not None), None)


def _lookup(table: Mapping[str, Value]) -> Callable[[Value, Value], Value]:
    def apply(value: Value, otherwise: Value) -> Value:
        if value is None or isinstance(value, ConversionError):
            return value
        try:
            return table.get(plain_text(value), otherwise)
        except ConversionError as error:
            return error

    return apply


def _first_error(*values: Value) -> ConversionError | None:
    for value in values:
        if isinstance(value, ConversionError):
            return value
    return None
