"""Named, versioned conversions from what platforms send to what an entry holds.

A conversion's name ends in its version (`decimal_to_micros@1`). Its meaning never changes under
one name, so that the lineage of a stored number stays true; a new meaning is a new version.

Each conversion has a scalar form, which is its definition, and some have a form for whole columns,
which must give the same values for what it accepts and leaves the rest to the scalar form. Every
conversion takes any JSON value (and the scalars of pandas and numpy) and either gives a value,
gives None for what is absent (None, blank text), or raises `ConversionError`.
"""

import math
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal
from types import MappingProxyType, NoneType
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from liftos_mapping.errors import MappingError, RowErrorCode
from liftos_mapping.text_column import TextColumn

_INT64_MAXIMUM: Final = 2**63 - 1
_EXACT_FLOAT_MAXIMUM: Final = 2**53
_MAXIMUM_NUMBER_LENGTH: Final = 400
"""Longer than the longest float written out; keeps hostile digits from costing time."""

_WIDE: Final = Context(prec=1000, Emax=MAX_EMAX, Emin=MIN_EMIN)
"""Wide enough that nothing a conversion accepts is rounded before it is asked to be."""

_MILLION: Final = pa.scalar(1_000_000, pa.decimal128(7, 0))

_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", re.ASCII)
_NOT_FINITE: Final = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE | re.ASCII)
_DAY: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})([T ][0-9:.]{5,15}(Z|[+-][0-9:]{4,6})?)?")
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_PLAIN_DECIMAL: Final = r"^[0-9]{1,12}(\.[0-9]{1,6})?$"
_PLAIN_INTEGER: Final = r"^[0-9]{1,18}$"

Scalar = Callable[[object], object]
"""Converts one value; None is an absent value; raises `ConversionError`."""

Vector = Callable[[Sequence[object]], tuple[pa.Array, npt.NDArray[np.intp]] | None]
"""Converts a column of values of one type, or gives None when it cannot.

Gives the converted array (int64, null where absent) and the positions that it left to the scalar.
"""


class ConversionError(ValueError):
    """A value that the conversion does not accept."""

    def __init__(self, code: RowErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class ConvertedColumn:
    """A converted column and what could not be converted, by position."""

    values: pa.Array
    errors: tuple[tuple[int, ConversionError], ...]


@dataclass(frozen=True, slots=True)
class Conversion:
    """A named conversion to one Arrow type."""

    name: str
    type: pa.DataType
    scalar: Scalar
    vector: Vector | None = None

    def apply(self, values: Sequence[object]) -> ConvertedColumn:
        """Converts a column; a value in error is null in the result."""
        fast = self.vector(values) if self.vector is not None else None
        if fast is not None:
            array, rest = fast
            if len(rest) == 0:
                return ConvertedColumn(values=array, errors=())
            converted: list[object] = array.to_pylist()
            return self._apply_scalar(values, converted, rest.tolist())
        if self.vector is None and isinstance(values, TextColumn):
            return self._apply_text(values)
        if self.vector is None and _types(values) in ({str}, {int}):
            return self._apply_distinct(values)
        return self._apply_scalar(values, [None] * len(values), range(len(values)))

    def _apply_scalar(
        self, values: Sequence[object], converted: list[object], positions: Sequence[int]
    ) -> ConvertedColumn:
        errors = []
        scalar = self.scalar
        for position in positions:
            try:
                converted[position] = scalar(values[position])
            except ConversionError as error:
                errors.append((position, error))
        return ConvertedColumn(values=pa.array(converted, self.type), errors=tuple(errors))

    def _apply_distinct(self, values: Sequence[object]) -> ConvertedColumn:
        # Names, ids and dates repeat from row to row; each distinct one is read once.
        distinct = list(set(values))
        result = self._apply_scalar(distinct, [None] * len(distinct), range(len(distinct)))
        known = dict(zip(distinct, result.values.to_pylist(), strict=True))
        failed = {distinct[position]: error for position, error in result.errors}
        errors = (
            tuple((i, failed[value]) for i, value in enumerate(values) if value in failed)
            if failed
            else ()
        )
        return ConvertedColumn(
            values=pa.array([known[value] for value in values], self.type), errors=errors
        )

    def _apply_text(self, values: TextColumn) -> ConvertedColumn:
        distinct, places = values.distinct()
        result = self._apply_scalar(distinct, [None] * len(distinct), range(len(distinct)))
        errors: tuple[tuple[int, ConversionError], ...] = ()
        if result.errors:
            failed = dict(result.errors)
            positions = np.flatnonzero(np.isin(places, list(failed))).tolist()
            errors = tuple((position, failed[int(places[position])]) for position in positions)
        return ConvertedColumn(values=result.values.take(pa.array(places)), errors=errors)


def _types(values: Sequence[object]) -> set[type]:
    """The types of the values that are there."""
    return {str} if isinstance(values, TextColumn) else set(map(type, values)) - {NoneType}


def is_absent(value: object) -> bool:
    """Whether a raw value stands for nothing: None, pandas' missing marks, or blank text.

    A float NaN is not absent: it is a number that somebody failed to compute.
    """
    if value is None or value is pd.NaT or value is pd.NA:
        return True
    return isinstance(value, str) and (not value or value.isspace())


def show(value: object) -> str:
    """A short form of any value for a message."""
    return str(value) if isinstance(value, Decimal) else reprlib.repr(value)


def exact_decimal(value: object) -> Decimal | None:
    """The exact decimal of a number or of its text; a float counts as its shortest text."""
    if isinstance(value, np.generic):
        value = value.item()
    if is_absent(value):
        return None
    if isinstance(value, bool):
        raise ConversionError(RowErrorCode.NOT_A_NUMBER, f"{value} is a boolean; send a number")
    if isinstance(value, int):
        if value.bit_length() > 256:
            raise _out_of_range("the integer")
        return Decimal(value)
    if isinstance(value, float):
        value = _finite(value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ConversionError(RowErrorCode.NOT_FINITE, f"{value} is not a finite number")
        return value
    if isinstance(value, str):
        return _decimal_of_text(value.strip())
    raise ConversionError(
        RowErrorCode.WRONG_SHAPE, f"expected one number, got {type(value).__name__} {show(value)}"
    )


def _finite(value: float) -> Decimal:
    if not math.isfinite(value):
        raise ConversionError(
            RowErrorCode.NOT_FINITE,
            f"{value} is not a finite number; leave out what was not measured",
        )
    return Decimal(repr(value))


def _decimal_of_text(text: str) -> Decimal:
    if len(text) <= _MAXIMUM_NUMBER_LENGTH and _NUMBER.fullmatch(text):
        return Decimal(text)
    if _NOT_FINITE.fullmatch(text):
        raise ConversionError(RowErrorCode.NOT_FINITE, f"{show(text)} is not a finite number")
    hint = "; send it without thousands separators and with a decimal point" if "," in text else ""
    raise ConversionError(RowErrorCode.NOT_A_NUMBER, f"{show(text)} is not a number{hint}")


def _out_of_range(what: str) -> ConversionError:
    return ConversionError(RowErrorCode.OUT_OF_RANGE, f"{what} does not fit 64 bits")


def _not_negative(number: Decimal, value: object) -> None:
    if number < 0:
        raise ConversionError(
            RowErrorCode.NEGATIVE, f"{show(value)} is negative; it must be 0 or more"
        )


def decimal_to_micros(value: object) -> int | None:
    """Whole units to millionths, rounded half to even: `"53.39"` to 53390000."""
    number = exact_decimal(value)
    if number is None:
        return None
    _not_negative(number, value)
    # The exponent is looked at first, since an honest power of a hostile one is a huge integer.
    if number and number.adjusted() > 12:
        raise _out_of_range(f"{show(value)} in micros")
    if number.adjusted() < -7:
        return 0
    micros = int((number.scaleb(6, _WIDE)).quantize(Decimal(1), ROUND_HALF_EVEN, _WIDE))
    if micros > _INT64_MAXIMUM:
        raise _out_of_range(f"{show(value)} in micros")
    return micros


def integer(value: object) -> int | None:
    """A count of 0 or more; 5000.0 and `"5000"` are 5000, and 5000.5 is an error."""
    number = exact_decimal(value)
    if number is None:
        return None
    _not_negative(number, value)
    if isinstance(value, float | np.floating) and number > _EXACT_FLOAT_MAXIMUM:
        raise ConversionError(
            RowErrorCode.OUT_OF_RANGE,
            f"{show(value)} is too large to be exact as a float; send it as text",
        )
    if number and number.adjusted() > 18:
        raise _out_of_range(show(value))
    whole = int(number)
    if whole != number:
        raise ConversionError(
            RowErrorCode.NOT_WHOLE, f"{show(value)} is not a whole number, and this is a count"
        )
    if whole > _INT64_MAXIMUM:
        raise _out_of_range(show(value))
    return whole


def real(value: object) -> float | None:
    """A finite number of 0 or more that is not money."""
    number = exact_decimal(value)
    if number is None:
        return None
    _not_negative(number, value)
    result = float(number)
    if not math.isfinite(result):
        raise ConversionError(RowErrorCode.OUT_OF_RANGE, f"{show(value)} is too large")
    return result


def positive_real(value: object) -> float | None:
    """A finite number above 0; 0 is what platforms send where there was nothing to measure.

    A frequency of nobody reached and a quality score of a keyword without one are such zeros.
    """
    return real(value) or None


def fraction(value: object) -> float | None:
    """A share from 0 to 1; percentages are refused."""
    result = real(value)
    if result is not None and result > 1:
        raise ConversionError(
            RowErrorCode.OUT_OF_RANGE, f"{show(value)} is not a fraction from 0 to 1"
        )
    return result


def text(value: object) -> str | None:
    """Text without surrounding blanks; an integer counts as its digits."""
    if isinstance(value, np.generic):
        value = value.item()
    if is_absent(value):
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 256:
        return str(value)
    if not isinstance(value, str):
        raise ConversionError(
            RowErrorCode.NOT_TEXT, f"expected text, got {type(value).__name__} {show(value)}"
        )
    stripped = value.strip()
    if "\0" in stripped or not _is_storable(stripped):
        raise ConversionError(
            RowErrorCode.NOT_TEXT, f"{show(value)} has characters that no store can keep"
        )
    return stripped


def _is_storable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def text_id(value: object) -> str | None:
    """An id as text; integers exactly; a float is an error, since it may have lost digits."""
    if isinstance(value, float | np.floating | Decimal):
        raise ConversionError(
            RowErrorCode.INEXACT_ID,
            f"the id {show(value)} is a float and may have lost digits; send ids as text",
        )
    return text(value)


def meta_account_id(value: object) -> str | None:
    """An ad account's digits, without the `act_` that paths carry."""
    identifier = text_id(value)
    return None if identifier is None else identifier.removeprefix("act_")


def google_customer_id(value: object) -> str | None:
    """A customer's digits, without dashes and without `customers/`."""
    identifier = text_id(value)
    return None if identifier is None else identifier.removeprefix("customers/").replace("-", "")


DBT_PLATFORMS: Final = {"facebook_ads": "meta"}
"""Platforms that have another name here than in dbt_ad_reporting, by their name there."""


def dbt_platform(value: object) -> str | None:
    """A platform's name here for its name in dbt_ad_reporting; others stay as they are."""
    name = text(value)
    return None if name is None else DBT_PLATFORMS.get(name, name)


def currency(value: object) -> str | None:
    """An ISO 4217 code in capitals."""
    code = text(value)
    if code is not None and not _CURRENCY.fullmatch(code):
        raise ConversionError(
            RowErrorCode.NOT_TEXT, f"{show(value)} is not an ISO 4217 code such as EUR"
        )
    return code


def day(value: object) -> date | None:
    """A calendar day as it is written: of a time of day with an offset, the day before the T.

    Platforms write their days in the account's time zone; moving them to another would be wrong.
    """
    if is_absent(value):
        return None
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    match = _DAY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is not None:
        try:
            return date.fromisoformat(match.group(1))
        except ValueError:
            pass
    raise ConversionError(RowErrorCode.NOT_A_DATE, f"{show(value)} is not a day such as 2026-11-01")


def boolean(value: object) -> bool | None:
    """True or false, and nothing that merely looks like it."""
    if isinstance(value, np.generic):
        value = value.item()
    if is_absent(value):
        return None
    if isinstance(value, bool):
        return value
    raise ConversionError(RowErrorCode.NOT_A_BOOLEAN, f"{show(value)} is not true or false")


def fraction_of_count(share: object, whole: object) -> int | None:
    """How many of `whole` a share is, rounded half to even; unset where either is."""
    fraction(share)
    part, count = exact_decimal(share), integer(whole)
    if part is None or count is None:
        return None
    return int((part * count).quantize(Decimal(1), ROUND_HALF_EVEN, _WIDE))


def fractions_of_counts(
    shares: Sequence[object], wholes: Sequence[object]
) -> tuple[list[int | None], list[tuple[int, ConversionError]]]:
    """`fraction_of_count` of columns, with what could not be converted by position."""
    counts: list[int | None] = [None] * len(shares)
    rest: Iterable[int] = range(len(shares))
    if set(map(type, shares)) <= {float, NoneType} and set(map(type, wholes)) <= {int, NoneType}:
        fast, is_plain = _plain_fractions_of_counts(shares, wholes)
        counts = fast
        rest = np.flatnonzero(~is_plain).tolist()
    errors = []
    for position in rest:
        try:
            counts[position] = fraction_of_count(shares[position], wholes[position])
        except ConversionError as error:
            counts[position] = None
            errors.append((position, error))
    return counts, errors


def _plain_fractions_of_counts(
    shares: Sequence[object], wholes: Sequence[object]
) -> tuple[list[int | None], npt.NDArray[np.bool_]]:
    """Counts where floats round as the exact product does, and where that is."""
    part = np.array(shares, dtype=np.float64)
    try:
        whole = np.array(wholes, dtype=np.float64)
    except OverflowError:
        return [None] * len(shares), np.zeros(len(shares), dtype=np.bool_)
    with np.errstate(invalid="ignore", over="ignore"):
        product = part * whole
        # Floats are off by far less than what keeps these away from the middle of two counts.
        is_plain = (part >= 0) & (part <= 1) & (whole >= 0) & (whole < 2.0**40)
        is_plain &= np.abs(product - np.floor(product) - 0.5) > 0.001
    counts: list[int | None] = np.rint(np.where(is_plain, product, 0)).astype(np.int64).tolist()
    return counts, is_plain


def _micros_of_column(
    values: Sequence[object],
) -> tuple[pa.Array, npt.NDArray[np.intp]] | None:
    if _types(values) == {float}:
        return _micros_of_floats(pa.array(values, pa.float64()))
    numbers = _number_texts(values)
    if numbers is None:
        return None
    plain, rest = _split(numbers, _PLAIN_DECIMAL)
    decimals = plain.cast(pa.decimal128(18, 6))
    return pc.multiply(decimals, _MILLION).cast(pa.int64()), rest


def _micros_of_floats(values: pa.Array) -> tuple[pa.Array, npt.NDArray[np.intp]]:
    """The micros of floats of at most 15 digits, 6 of them decimals.

    Of decimals with so few digits no two are the same float, so that a float which some micros
    give is written as these micros.
    """
    numbers = values.to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore", over="ignore"):
        micros = np.rint(numbers * 1e6)
        is_plain = (micros >= 0) & (micros < 1e15) & (micros / 1e6 == numbers)
    rest = np.flatnonzero(~is_plain & values.is_valid().to_numpy(zero_copy_only=False))
    whole = np.where(is_plain, micros, 0).astype(np.int64)
    return pa.array(whole, mask=~is_plain), rest


def _integers_of_column(
    values: Sequence[object],
) -> tuple[pa.Array, npt.NDArray[np.intp]] | None:
    if _types(values) == {int}:
        return _counts_of_integers(values)
    numbers = _number_texts(values)
    if numbers is None:
        return None
    plain, rest = _split(numbers, _PLAIN_INTEGER)
    return plain.cast(pa.int64()), rest


def _counts_of_integers(
    values: Sequence[object],
) -> tuple[pa.Array, npt.NDArray[np.intp]] | None:
    try:
        counts = pa.array(values, pa.int64())
    except (OverflowError, pa.ArrowInvalid):
        return None
    negative = pc.fill_null(pc.less(counts, 0), fill_value=False)
    rest = np.flatnonzero(negative.to_numpy(zero_copy_only=False))
    return pc.if_else(negative, pa.scalar(None, pa.int64()), counts), rest


def _number_texts(values: Sequence[object]) -> pa.Array | None:
    """The values as text where all are text, all integers or all floats; else None."""
    if isinstance(values, TextColumn):
        return values.array
    types = _types(values)
    try:
        if types <= {str}:
            return pa.array(values, pa.string())
        if types == {int}:
            return pa.array(values, pa.int64()).cast(pa.string())
        if types == {float}:
            return pa.array(values, pa.float64()).cast(pa.string())
    except (UnicodeEncodeError, OverflowError, pa.ArrowInvalid):
        return None
    return None


def _split(numbers: pa.Array, pattern: str) -> tuple[pa.Array, npt.NDArray[np.intp]]:
    """The numbers that match, else null, and the positions of those that do not match."""
    matches = pc.match_substring_regex(numbers, pattern)
    irregular = pc.fill_null(pc.invert(matches), fill_value=False)
    rest = np.flatnonzero(irregular.to_numpy(zero_copy_only=False))
    if len(rest) == 0:
        return numbers, rest
    return pc.if_else(irregular, pa.scalar(None, pa.string()), numbers), rest


CONVERSIONS: Final[Mapping[str, Conversion]] = MappingProxyType(
    {
        conversion.name: conversion
        for conversion in (
            Conversion("decimal_to_micros@1", pa.int64(), decimal_to_micros, _micros_of_column),
            Conversion("micros@1", pa.int64(), integer, _integers_of_column),
            Conversion("integer@1", pa.int64(), integer, _integers_of_column),
            Conversion("positive_real@1", pa.float64(), positive_real),
            Conversion("fraction@1", pa.float64(), fraction),
            Conversion("text@1", pa.string(), text),
            Conversion("text_id@1", pa.string(), text_id),
            Conversion("meta_account_id@1", pa.string(), meta_account_id),
            Conversion("google_customer_id@1", pa.string(), google_customer_id),
            Conversion("dbt_platform@1", pa.string(), dbt_platform),
            Conversion("currency@1", pa.string(), currency),
            Conversion("date@1", pa.date32(), day),
            Conversion("boolean@1", pa.bool_(), boolean),
        )
    }
)
"""Every conversion of one value, by name."""


def conversion_of(name: str) -> Conversion:
    """The conversion of that name and version.

    Raises:
        MappingError: There is none.
    """
    if name not in CONVERSIONS:
        raise MappingError(f"no conversion {name!r}; there are {', '.join(CONVERSIONS)}")
    return CONVERSIONS[name]
