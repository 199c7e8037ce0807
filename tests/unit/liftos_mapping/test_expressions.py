"""Expressions of the mapping language: what can be written, and what it comes to."""

import datetime as dt
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal, DecimalException
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_mapping.calculation import Calculator
from liftos_mapping.conversions import ConversionError
from liftos_mapping.errors import RowErrorCode
from liftos_mapping.expressions import (
    MAXIMUM_LENGTH,
    MAXIMUM_PARTS,
    ExpressionError,
    fields_of,
    parse_expression,
)


def value_of(source: str, row: Mapping[str, object] | None = None) -> object:
    """What an expression comes to in one row; an error as its code."""
    fields = row or {}
    calculator = Calculator(lambda path: [fields[path]] if path in fields else None, 1)
    (value,) = calculator.column(parse_expression(source))
    return value.code if isinstance(value, ConversionError) else value


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("1 + 2 * 3", Decimal(7)),
        ("(1 + 2) * 3", Decimal(9)),
        ("7 - 2 - 1", Decimal(4)),
        ("8 / 4 / 2", Decimal(1)),
        ("-2 * --3", Decimal(-6)),
        ("0.1 + 0.2 == 0.3", True),
        ("1 < 2 and not 2 < 1 or null", True),
        ("null and false", False),
        ("null or false", None),
        ("not null", None),
        ("'it''s' == 'it''s'", True),
        ("'9' < '10'", True),
        ("'5.0' == 5", True),
        ("'5.0' == '5'", False),
        ("true == false", False),
        ("if(null, 1, 2)", Decimal(2)),
        ("if(false, 1 / 0, 2)", Decimal(2)),
        ("false and 1 / 0 > 1", False),
        ("coalesce(null, '', 3)", ""),
        ("is_set(null)", False),
        ("round(2.5)", Decimal(2)),
        ("round(1.005, 2)", Decimal("1.00")),
        ("abs(0 - 3)", Decimal(3)),
        ("lower(trim(' Ab '))", "ab"),
        ("upper('ß')", "SS"),
        ("concat('a', null, 1.50, true)", "a1.50true"),
        ("number(replace(replace('1.234,56', '.', ''), ',', '.'))", Decimal("1234.56")),
        ("contains('brand search', 'brand')", True),
        ("date('31.12.2026', '%d.%m.%Y')", dt.date(2026, 12, 31)),
        ("date('2026-11-01T23:30:00Z', 'iso', 'Europe/Berlin')", dt.date(2026, 11, 2)),
        ("date('2026-11-01T23:30:00Z')", dt.date(2026, 11, 1)),
        ("date(1793576100, 'unix_seconds', 'Pacific/Auckland')", dt.date(2026, 11, 2)),
        ("date(1793576100000, 'unix_milliseconds')", dt.date(2026, 11, 1)),
        ("date('2026-11-01') < '2026-11-02'", True),
        ("date(null)", None),
        ("1 + null", None),
    ],
)
def test_expressions_come_to_what_they_say(source: str, value: object) -> None:
    """Operators bind as in arithmetic; null spreads; errors that are not chosen do not count."""
    found = value_of(source)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("source", "row", "code"),
    [
        ("a / b", {"a": "1", "b": "0"}, RowErrorCode.OUT_OF_RANGE),
        ("a + 1", {"a": "x"}, RowErrorCode.NOT_A_NUMBER),
        ("a + 1", {"a": True}, RowErrorCode.NOT_A_NUMBER),
        ("a + 1", {"a": [1]}, RowErrorCode.WRONG_SHAPE),
        ("a + 1", {"a": float("nan")}, RowErrorCode.NOT_FINITE),
        ("a + 1", {"a": "1e4000"}, RowErrorCode.OUT_OF_RANGE),
        ("a * a", {"a": "9" * 60}, RowErrorCode.OUT_OF_RANGE),
        ("not a", {"a": "yes"}, RowErrorCode.NOT_A_BOOLEAN),
        ("if(a, 1, 2)", {"a": 1}, RowErrorCode.NOT_A_BOOLEAN),
        ("coalesce(a / 0, 1)", {"a": 1}, RowErrorCode.OUT_OF_RANGE),
        ("date(a, '%Y%m%d')", {"a": "2026-11-01"}, RowErrorCode.NOT_A_DATE),
        ("date('2026-11-01', a)", {"a": "%Q"}, RowErrorCode.NOT_A_DATE),
        ("date(a, 'iso', 'UTC')", {"a": "9999-12-31T23:59:59-14:00"}, RowErrorCode.OUT_OF_RANGE),
        ("date(a, 'unix_seconds')", {"a": 10**15}, RowErrorCode.OUT_OF_RANGE),
        ("replace(a, 'a', b)", {"a": "a" * 5000, "b": "b" * 5000}, RowErrorCode.OUT_OF_RANGE),
        ("concat(a, a)", {"a": "a" * 6000}, RowErrorCode.OUT_OF_RANGE),
        ("round(1, a)", {"a": "99999999999"}, RowErrorCode.OUT_OF_RANGE),
        ("text(a)", {"a": Decimal("1e999999")}, RowErrorCode.OUT_OF_RANGE),
    ],
)
def test_what_cannot_be_computed_is_an_error_of_its_row(
    source: str, row: Mapping[str, object], code: RowErrorCode
) -> None:
    """No value makes an expression raise, be huge, or be rounded in silence."""
    assert value_of(source, row) is code


@pytest.mark.parametrize(
    ("source", "position", "words"),
    [
        ("", 0, "expected a value, found the end"),
        ("1 +", 3, "found the end"),
        ("a = 1", 2, "write == to compare"),
        ("1 < 2 < 3", 6, "join comparisons with and"),
        ("__import__('os')", 0, "no function __import__; there are if, coalesce"),
        ("a.b.c('x')", 0, "no function a.b.c"),
        ("(1).real", 3, "cannot read '.'"),
        ("a[0]", 1, r"cannot read '\['"),
        ("1e5", 0, "cannot read '1'"),
        ("if(1, 2)", 0, "if takes 3 arguments"),
        ("lower()", 0, "lower takes 1 argument"),
        ("coalesce(1,)", 11, "expected a value"),
        ("'open", 0, "cannot read"),
        ("and", 0, "expected a value, found and"),
        ("(" * 40 + "1" + ")" * 40, 32, "nested deeper"),
        ("+".join(["a"] * (MAXIMUM_PARTS + 1)), 2 * MAXIMUM_PARTS, "parts"),
        ("1" * (MAXIMUM_LENGTH + 1), MAXIMUM_LENGTH, "longer"),
        ("lambda: 1", 6, "cannot read ':'"),
        ("a if b else c", 2, "expected an operator or the end"),
    ],
)
def test_what_is_no_expression_is_refused_where_it_breaks(
    source: str, position: int, words: str
) -> None:
    """The message says at which character, and what would be right."""
    with pytest.raises(ExpressionError, match=words) as caught:
        parse_expression(source)
    assert caught.value.position == position


def test_fields_are_paths_or_any_quoted_name() -> None:
    """A header with blanks is quoted; words of the language are no fields."""
    parsed = parse_expression("`Cost (incl. VAT)` + metrics.cost - if(true, a_1, null)")
    assert fields_of(parsed) == {"Cost (incl. VAT)", "metrics.cost", "a_1"}
    assert value_of("`Cost (EUR)` * 2", {"Cost (EUR)": "1.10"}) == Decimal("2.20")


@given(st.text(max_size=60) | st.text("ab1.'`(),+-*/<>=! \n", max_size=40))
def test_any_text_is_an_expression_or_refused(source: str) -> None:
    """Whatever is written either parses or is refused with its place, and nothing is run."""
    try:
        parsed = parse_expression(source)
    except ExpressionError as error:
        position = error.position
    else:
        position = 0
        Calculator(lambda _: None, 2).column(parsed)
    assert 0 <= position <= len(source)


# --- Against a reference that computes row by row ---

_EXACT = Context(prec=2000)
_NUMBERS = st.decimals(-(10**9), 10**9, places=3) | st.none()
_LEAF = st.sampled_from(["a", "b", "c"]) | st.integers(0, 99).map(str) | st.just("0.25")


def _extend(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    compared = st.tuples(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), inner, inner)
    condition = compared | st.tuples(st.sampled_from(["and", "or"]), compared, compared)
    return (
        st.tuples(st.sampled_from(["+", "-", "*", "/"]), inner, inner)
        | st.tuples(st.just("if"), condition, inner, inner)
        | st.tuples(st.just("coalesce"), inner, inner)
        | st.tuples(st.just("round"), inner, st.just("2"))
        | st.tuples(st.just("abs"), inner)
    )


def _written(tree: Any) -> str:
    if isinstance(tree, str):
        return tree
    head, *arguments = tree
    parts = [_written(it) for it in arguments]
    return (
        f"{head}({', '.join(parts)})"
        if head.isalpha() and head not in ("and", "or")
        else (f"({parts[0]} {head} {parts[1]})")
    )


class _WrongError(Exception):
    """The row has no value."""


def _reference(tree: Any, row: Mapping[str, Decimal | None]) -> Any:
    """One row, by recursion over the tree, as a person would do it on paper."""
    if isinstance(tree, str):
        return row[tree] if tree in row else Decimal(tree)
    head, *arguments = tree
    if head == "if":
        return _reference(arguments[1 if _reference(arguments[0], row) else 2], row)
    if head == "coalesce":
        first = _reference(arguments[0], row)
        return _reference(arguments[1], row) if first is None else first
    if head in ("and", "or"):
        decided = head == "or"
        first = _reference(arguments[0], row)
        second = None if first is decided else _reference(arguments[1], row)
        return decided if decided in (first, second) else _unless_unset(first, second, not decided)
    values = [_reference(it, row) for it in arguments]
    if None in values:
        return None
    return _computed(head, values)


def _unless_unset(first: Any, second: Any, value: bool) -> bool | None:
    return None if first is None or second is None else value


def _computed(head: str, values: list[Any]) -> Any:
    left, right = values[0], values[-1]
    if head == "/":
        if right == 0:
            raise _WrongError
        return Context(prec=40, rounding=ROUND_HALF_EVEN).divide(left, right)
    if head == "round":
        return left.quantize(Decimal("0.01"), ROUND_HALF_EVEN, _EXACT)
    if head == "abs":
        return left.copy_abs()
    compared = {"==": left == right, "!=": left != right, "<": left < right, ">": left > right}
    compared |= {"<=": left <= right, ">=": left >= right}
    if head in compared:
        return compared[head]
    exact = {"+": _EXACT.add, "-": _EXACT.subtract, "*": _EXACT.multiply}[head](left, right)
    if len(exact.as_tuple().digits) > 100:
        raise _WrongError
    return exact


@given(
    st.recursive(_LEAF, _extend, max_leaves=8),
    st.lists(st.fixed_dictionaries({"a": _NUMBERS, "b": _NUMBERS, "c": _NUMBERS}), max_size=5),
    st.booleans(),
)
def test_columns_agree_with_rows_computed_by_hand(
    tree: Any, rows: list[dict[str, Decimal | None]], as_text: bool
) -> None:
    """A column at a time gives, exactly, what one row at a time gives; texts count as numbers."""
    parsed = parse_expression(_written(tree))

    def read(path: str) -> list[object]:
        column = [row[path] for row in rows]
        return [None if it is None else str(it) for it in column] if as_text else list(column)

    found = Calculator(read, len(rows)).column(parsed)
    for row, value in zip(rows, found, strict=True):
        try:
            wanted = _reference(tree, row)
        except (_WrongError, DecimalException):
            assert isinstance(value, ConversionError)
        else:
            number = Decimal(value) if isinstance(value, str) else value
            assert number == wanted, (_written(tree), row)
