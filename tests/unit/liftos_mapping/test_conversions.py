"""Conversions: exact values, precise errors, no crash, columns as scalars."""

import datetime as dt
import math
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_mapping.conversions import (
    CONVERSIONS,
    ConversionError,
    conversion_of,
    decimal_to_micros,
    fraction_of_count,
    fractions_of_counts,
    integer,
    text_id,
)
from liftos_mapping.errors import MappingError, RowErrorCode

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.from_regex(r"[+-]?[0-9]{0,25}(\.[0-9]{0,12})?([eE][+-]?[0-9]{1,6})?", fullmatch=True),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
"""Any JSON value, and what Python's reader takes beyond JSON: NaN, infinity, lone surrogates."""

FRACTIONS_OF_MICROS = st.decimals(
    min_value=0, max_value=Decimal(10) ** 12, places=9, allow_nan=False
)


def error_code(name: str, value: object) -> RowErrorCode | None:
    """The code of the error that a conversion gives, through the path that columns take."""
    errors = conversion_of(name).apply([value]).errors
    return errors[0][1].code if errors else None


def error_code_of_scalar(name: str, value: object) -> RowErrorCode | None:
    """The code of the error that the scalar form gives."""
    try:
        conversion_of(name).scalar(value)
    except ConversionError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    ("value", "micros"),
    [
        ("1250.50", 1_250_500_000),
        ("53.39", 53_390_000),
        ("5339.5", 5_339_500_000),
        (12.34, 12_340_000),
        (0.1, 100_000),
        (2.3333333333333335, 2_333_333),
        (4500, 4_500_000_000),
        ("0", 0),
        ("0.0000005", 0),
        ("0.0000015", 2),
        ("0.0000025", 2),
        ("1e3", 1_000_000_000),
        ("1.5E-6", 2),
        (1e-07, 0),
        (5e-324, 0),
        ("1e-9999", 0),
        (" 7.5 ", 7_500_000),
        ("+1", 1_000_000),
        (Decimal("9.999999"), 9_999_999),
        (np.float64(2.5), 2_500_000),
        (np.int64(3), 3_000_000),
        ("9223372036854.775807", 2**63 - 1),
        (None, None),
        ("", None),
        ("  ", None),
        (pd.NA, None),
    ],
)
def test_decimal_to_micros_is_exact(value: object, micros: int | None) -> None:
    """Units become micros exactly, rounded half to even at the seventh decimal."""
    column = conversion_of("decimal_to_micros@1").apply([value])
    assert column.errors == ()
    assert column.values.to_pylist() == [micros]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("1,234.50", RowErrorCode.NOT_A_NUMBER),
        ("1_000", RowErrorCode.NOT_A_NUMBER),
        ("$5", RowErrorCode.NOT_A_NUMBER),
        ("0x10", RowErrorCode.NOT_A_NUMBER),
        ("٣", RowErrorCode.NOT_A_NUMBER),
        ("--", RowErrorCode.NOT_A_NUMBER),
        ("1e99999", RowErrorCode.NOT_A_NUMBER),
        ("9" * 5000, RowErrorCode.NOT_A_NUMBER),
        (True, RowErrorCode.NOT_A_NUMBER),
        (float("nan"), RowErrorCode.NOT_FINITE),
        (float("inf"), RowErrorCode.NOT_FINITE),
        ("NaN", RowErrorCode.NOT_FINITE),
        ("-Infinity", RowErrorCode.NOT_FINITE),
        (Decimal("sNaN"), RowErrorCode.NOT_FINITE),
        ("-0.01", RowErrorCode.NEGATIVE),
        (-1, RowErrorCode.NEGATIVE),
        ("9223372036854.775808", RowErrorCode.OUT_OF_RANGE),
        ("1e9999", RowErrorCode.OUT_OF_RANGE),
        (1e300, RowErrorCode.OUT_OF_RANGE),
        (10**80, RowErrorCode.OUT_OF_RANGE),
        ([1], RowErrorCode.WRONG_SHAPE),
        ({"value": 1}, RowErrorCode.WRONG_SHAPE),
    ],
)
def test_decimal_to_micros_names_what_is_wrong(value: object, code: RowErrorCode) -> None:
    """A value that is no amount is an error of the right kind and never a zero."""
    assert error_code("decimal_to_micros@1", value) is code


def test_a_comma_is_explained() -> None:
    """The message about a thousands separator says what to send instead."""
    with pytest.raises(ConversionError, match="without thousands separators"):
        decimal_to_micros("1,234.50")


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ("45000", 45000),
        (5000.0, 5000),
        ("5000.0", 5000),
        ("1e3", 1000),
        (2**63 - 1, 2**63 - 1),
        (str(2**63 - 1), 2**63 - 1),
        ("2500000000", 2_500_000_000),
        (0, 0),
        (None, None),
    ],
)
def test_integer_takes_whole_numbers(value: object, count: int | None) -> None:
    """Counts come as text, as integers and as whole floats."""
    column = conversion_of("integer@1").apply([value])
    assert column.errors == ()
    assert column.values.to_pylist() == [count]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (5000.5, RowErrorCode.NOT_WHOLE),
        ("80.5", RowErrorCode.NOT_WHOLE),
        ("1e-9999", RowErrorCode.NOT_WHOLE),
        (2.0**53 + 2, RowErrorCode.OUT_OF_RANGE),
        (2**63, RowErrorCode.OUT_OF_RANGE),
        (str(2**63), RowErrorCode.OUT_OF_RANGE),
        ("1e9999", RowErrorCode.OUT_OF_RANGE),
        (-1, RowErrorCode.NEGATIVE),
        (False, RowErrorCode.NOT_A_NUMBER),
        (math.nan, RowErrorCode.NOT_FINITE),
    ],
)
def test_integer_refuses_the_rest(value: object, code: RowErrorCode) -> None:
    """A fraction, a float too large to be exact and a negative number are no counts."""
    assert error_code("integer@1", value) is code
    assert error_code("micros@1", value) is code


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("text_id@1", 120_210_000_000_000_001, "120210000000000001"),
        ("text_id@1", np.int64(7), "7"),
        ("text_id@1", " 01H ", "01H"),
        ("text_id@1", "007", "007"),
        ("meta_account_id@1", "act_1001", "1001"),
        ("google_customer_id@1", "111-222-3333", "1112223333"),
        ("google_customer_id@1", "customers/1112223333", "1112223333"),
        ("fraction@1", 0.0999, 0.0999),
        ("positive_real@1", "1.165484", 1.165484),
        ("positive_real@1", "0", None),
        ("currency@1", "EUR", "EUR"),
        ("date@1", "2026-11-01", dt.date(2026, 11, 1)),
        ("date@1", "2026-11-01T00:00:00+00:00", dt.date(2026, 11, 1)),
        ("date@1", "2026-11-01T23:30:00-05:00", dt.date(2026, 11, 1)),
        ("date@1", dt.date(2026, 11, 1), dt.date(2026, 11, 1)),
        ("date@1", pd.Timestamp("2026-11-01 10:00"), dt.date(2026, 11, 1)),
        ("date@1", pd.NaT, None),
        ("boolean@1", True, True),
    ],
)
def test_other_conversions(name: str, value: object, expected: object) -> None:
    """Ids stay text and exact, days stay as they are written."""
    column = conversion_of(name).apply([value])
    assert column.errors == ()
    assert column.values.to_pylist() == [expected]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("text_id@1", 120210000000000000.0, RowErrorCode.INEXACT_ID),
        ("text_id@1", Decimal(5), RowErrorCode.INEXACT_ID),
        ("text_id@1", True, RowErrorCode.NOT_TEXT),
        ("text_id@1", ["1"], RowErrorCode.NOT_TEXT),
        ("text@1", "a\0b", RowErrorCode.NOT_TEXT),
        ("text@1", "\ud800", RowErrorCode.NOT_TEXT),
        ("text@1", math.nan, RowErrorCode.NOT_TEXT),
        ("fraction@1", 45.2, RowErrorCode.OUT_OF_RANGE),
        ("fraction@1", "< 10%", RowErrorCode.NOT_A_NUMBER),
        ("positive_real@1", "1e999", RowErrorCode.OUT_OF_RANGE),
        ("currency@1", "eur", RowErrorCode.NOT_TEXT),
        ("currency@1", "€", RowErrorCode.NOT_TEXT),
        ("date@1", "2026-02-30", RowErrorCode.NOT_A_DATE),
        ("date@1", "01/11/2026", RowErrorCode.NOT_A_DATE),
        ("date@1", "20261101", RowErrorCode.NOT_A_DATE),
        ("date@1", 1793491200, RowErrorCode.NOT_A_DATE),
        ("boolean@1", "true", RowErrorCode.NOT_A_BOOLEAN),
        ("boolean@1", 1, RowErrorCode.NOT_A_BOOLEAN),
    ],
)
def test_other_conversions_refuse(name: str, value: object, code: RowErrorCode) -> None:
    """What only looks like a value is refused by its own code."""
    assert error_code(name, value) is code


@given(amount=FRACTIONS_OF_MICROS)
def test_decimal_text_to_micros_is_exact_for_every_amount(amount: Decimal) -> None:
    """Any decimal text gives the micros of exact decimal arithmetic, half to even."""
    exact = int((amount * 1_000_000).quantize(Decimal(1), ROUND_HALF_EVEN))
    assert decimal_to_micros(format(amount, "f")) == exact
    assert decimal_to_micros(f"{amount:E}") == exact
    assert decimal_to_micros(amount) == exact


@given(micros=st.integers(min_value=0, max_value=2**63 - 1))
def test_micros_survive_the_way_through_text(micros: int) -> None:
    """Micros written as units with six decimals come back as they were."""
    assert decimal_to_micros(f"{micros // 1_000_000}.{micros % 1_000_000:06d}") == micros


@given(value=st.integers(min_value=-(2**70), max_value=2**70))
def test_ids_keep_every_digit(value: int) -> None:
    """An integer id is its digits, however long."""
    assert text_id(value) == str(value)


@given(values=st.lists(JSON_VALUES, max_size=8))
def test_no_value_crashes_and_columns_agree_with_scalars(values: list[object]) -> None:
    """For any JSON values a column gives what its scalar form gives, value by value."""
    for conversion in CONVERSIONS.values():
        column = conversion.apply(values)
        failed = {position for position, _ in column.errors}
        assert column.values.type == conversion.type
        for position, value in enumerate(values):
            got = column.values[position].as_py()
            try:
                expected = conversion.scalar(value)
            except ConversionError:
                assert position in failed
                assert got is None
            else:
                assert position not in failed
                assert got == expected


@given(
    values=st.one_of(
        st.lists(st.none() | st.decimals(0, 10**14, places=7).map(str), max_size=20),
        st.lists(st.none() | st.integers(-5, 2**65), max_size=20),
        st.lists(st.none() | st.floats(width=64), max_size=20),
        st.lists(st.none() | st.integers(-3, 10**16).map(lambda it: it / 10**6), max_size=20),
        st.lists(st.none() | st.integers(-5, 2**65).map(str), max_size=20),
    )
)
def test_columns_of_one_type_agree_with_scalars(values: list[object]) -> None:
    """The whole-column forms of money and counts give the values of their scalar forms."""
    for name in ("decimal_to_micros@1", "integer@1"):
        column = conversion_of(name).apply(values)
        failed = {position: error.code for position, error in column.errors}
        for position, value in enumerate(values):
            assert failed.get(position) is error_code_of_scalar(name, value)
            if position not in failed:
                assert column.values[position].as_py() == conversion_of(name).scalar(value)


def test_fraction_of_count_rounds_half_to_even() -> None:
    """A share of a count is a whole count, and unset where either is unset."""
    assert fraction_of_count(0.25, "10") == 2
    assert fraction_of_count("0.35", 10) == 4
    assert fraction_of_count(None, 10) is None
    assert fraction_of_count(0.5, None) is None
    with pytest.raises(ConversionError):
        fraction_of_count(25, 10)


SHARES = st.one_of(
    st.none(),
    st.floats(width=64),
    st.floats(0, 1),
    st.integers(0, 1000).map(lambda it: it / 1000),
)


@given(
    rows=st.lists(st.tuples(SHARES, st.none() | st.integers(-2, 2000)), max_size=20),
    large=st.none() | st.integers(2**39, 2**1100),
    text=st.none() | st.just("17"),
)
def test_shares_of_counts_agree_with_the_scalar(
    rows: list[tuple[float | None, int | None]], large: int | None, text: str | None
) -> None:
    """A column of shares gives what each of them gives, near the middle of two counts too."""
    odd: list[tuple[object, object]] = [(0.5, it) for it in (large, text) if it is not None]
    shares = [share for share, _ in (*rows, *odd)]
    wholes = [whole for _, whole in (*rows, *odd)]
    counts, errors = fractions_of_counts(shares, wholes)
    failed = {position for position, _ in errors}
    for position, (share, whole) in enumerate(zip(shares, wholes, strict=True)):
        if position in failed:
            assert counts[position] is None
            with pytest.raises(ConversionError):
                fraction_of_count(share, whole)
        else:
            assert counts[position] == fraction_of_count(share, whole)


def test_an_unknown_conversion_is_refused() -> None:
    """A conversion is asked for by name and version."""
    with pytest.raises(MappingError, match="integer@1"):
        conversion_of("integer@2")
    assert integer("3") == 3
