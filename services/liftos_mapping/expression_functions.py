"""The functions of the mapping language, by name: the only ones that an expression can call.

Each takes values of one row and gives one. A value is None where it is unset, else a text, a
boolean, an exact `Decimal`, a day, or whatever a raw row has. A function of which an argument is
unset gives what is unset, unless it says otherwise. `ConversionError` says that it cannot be done.
"""

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from liftos_kit.core.time_zones import time_zone_problem
from liftos_mapping.conversions import ConversionError, day, exact_decimal, show, text
from liftos_mapping.errors import RowErrorCode

MAXIMUM_TEXT_LENGTH: Final = 10_000
"""Characters of a text that a function makes."""

MAXIMUM_DIGITS: Final = 100
"""Significant digits of a sum, a difference or a product, which are exact."""

QUOTIENT_DIGITS: Final = 40
"""Significant digits of a quotient, rounded half to even."""

_TRAPS: Final = [DivisionByZero, InvalidOperation, Overflow]
EXACT: Final = Context(prec=MAXIMUM_DIGITS, Emax=999, Emin=-999, traps=[*_TRAPS, Inexact])
"""Computes without rounding, or refuses to."""

QUOTIENTS: Final = Context(
    prec=QUOTIENT_DIGITS, rounding=ROUND_HALF_EVEN, Emax=999, Emin=-999, traps=_TRAPS
)

_DIRECTIVES: Final = frozenset("YymdHMSfzbBjp")
_DIRECTIVE: Final = re.compile(r"%(.)?", re.DOTALL)
_NAMED_FORMATS: Final = ("iso", "unix_seconds", "unix_milliseconds")
_LATEST_SECOND: Final = 253_402_300_799
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

Value = object
"""What an expression computes with; see the module."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function.

    Attributes:
        meaning: What it gives, in one line for documents.
        least, most: How many arguments it takes; None is as many as there are.
        apply: Gives the value; None where the evaluation itself decides which argument counts.
        takes_unset: Whether it wants to see arguments that are unset.
    """

    meaning: str
    least: int
    most: int | None
    apply: Callable[..., Value] | None
    takes_unset: bool = False

    def arity_problem(self, count: int) -> str:
        """How many arguments it takes, where that is not `count`; else nothing."""
        if count >= self.least and (self.most is None or count <= self.most):
            return ""
        if self.most == self.least:
            return f"{self.least} arguments" if self.least != 1 else "1 argument"
        return f"{self.least} to {self.most}" if self.most else f"{self.least} or more arguments"


def number(value: Value) -> Decimal:
    """A number, or the number that a text is."""
    # Numbers that were computed are the usual case.
    found = value if isinstance(value, Decimal) and value.is_finite() else exact_decimal(value)
    if found is None:
        raise ConversionError(RowErrorCode.NOT_A_NUMBER, "expected a number, got nothing")
    try:
        return EXACT.create_decimal(found)
    except (Inexact, InvalidOperation, Overflow) as error:
        raise too_many_digits() from error


def too_many_digits() -> ConversionError:
    """The error of a number that is not kept exactly."""
    return ConversionError(
        RowErrorCode.OUT_OF_RANGE, f"the number needs more than {MAXIMUM_DIGITS} digits"
    )


def plain_text(value: Value) -> str:
    """A value as text: numbers without exponent, days as they are written."""
    if isinstance(value, Decimal):
        return format(number(value), "f")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return format(number(value), "f")
    if isinstance(value, dt.date):
        return value.isoformat()
    return text(value) or ""


def day_of(value: Value, pattern: Value = "iso", zone: Value = None) -> dt.date:
    """The day of a text, a moment or a count of seconds; see `date_format_problem`."""
    if zone is None and pattern == "iso":
        found = day(value)
        assert found is not None, "unset values do not come here"
        return found
    for given in (pattern, zone):
        if given is not None and not isinstance(given, str):
            raise ConversionError(RowErrorCode.NOT_TEXT, f"{show(given)} is not a text")
    problem = date_format_problem(str(pattern)) or (zone and time_zone_problem(str(zone)))
    if problem:
        raise ConversionError(RowErrorCode.NOT_A_DATE, str(problem))
    return _day_in(value, str(pattern), str(zone) if zone else None)


def date_format_problem(pattern: str) -> str:
    """What is wrong with a format of dates; nothing where it can be used.

    A format is `iso`, `unix_seconds`, `unix_milliseconds`, or a pattern such as `%d.%m.%Y`.
    """
    if pattern in _NAMED_FORMATS:
        return ""
    directives = _DIRECTIVE.findall(pattern)
    unknown = [it for it in directives if it not in _DIRECTIVES]
    if unknown or not directives:
        return (
            f"{pattern!r} is no format of dates; use {', '.join(_NAMED_FORMATS)}, or a pattern of "
            f"{' '.join(f'%{it}' for it in sorted(_DIRECTIVES))} such as %d.%m.%Y"
        )
    if len(directives) != len(set(directives)):
        return f"{pattern!r} has a part twice"
    return ""


def _day_in(value: Value, pattern: str, zone: str | None) -> dt.date:
    if pattern.startswith("unix_"):
        seconds = number(value)
        if pattern == "unix_milliseconds":
            seconds = QUOTIENTS.divide(seconds, Decimal(1000))
        if not 0 <= seconds <= _LATEST_SECOND:
            raise ConversionError(RowErrorCode.OUT_OF_RANGE, f"{show(value)} is no moment")
        moment: dt.datetime = _EPOCH + dt.timedelta(seconds=int(seconds))
        return moment.astimezone(ZoneInfo(zone or "UTC")).date()
    if isinstance(value, dt.datetime):
        return _in_zone(value, zone)
    if isinstance(value, dt.date):
        return value
    word = text(value) or ""
    try:
        moment = (
            dt.datetime.fromisoformat(word)
            if pattern == "iso"
            else dt.datetime.strptime(word, pattern)  # noqa: DTZ007 - has its zone or needs none
        )
    except ValueError as error:
        raise ConversionError(
            RowErrorCode.NOT_A_DATE, f"{show(word)} is not a date by {pattern}"
        ) from error
    if pattern == "iso" and len(word) <= len("2026-11-01"):
        return moment.date()
    return _in_zone(moment, zone)


def _in_zone(moment: dt.datetime, zone: str | None) -> dt.date:
    """The day of a moment; without a zone, or without an offset, the day that is written."""
    if zone is None or moment.tzinfo is None:
        return moment.date()
    try:
        return moment.astimezone(ZoneInfo(zone)).date()
    except OverflowError as error:
        raise ConversionError(RowErrorCode.OUT_OF_RANGE, f"{show(moment)} is no moment") from error


def _round(value: Value, digits: Value = Decimal(0)) -> Decimal:
    places = number(digits)
    if places != places.to_integral_value() or not 0 <= places <= 12:
        raise ConversionError(RowErrorCode.OUT_OF_RANGE, "round keeps 0 to 12 digits")
    quantum = Decimal(1).scaleb(-int(places))
    try:
        return number(value).quantize(quantum, ROUND_HALF_EVEN, Context(prec=1200))
    except InvalidOperation as error:
        raise too_many_digits() from error


def _bounded(made: str) -> str:
    if len(made) > MAXIMUM_TEXT_LENGTH:
        raise ConversionError(
            RowErrorCode.OUT_OF_RANGE, f"the text has more than {MAXIMUM_TEXT_LENGTH} characters"
        )
    return made


def _concat(*values: Value) -> str:
    return _bounded("".join("" if value is None else _as_it_is(value) for value in values))


def _replace(value: Value, old: Value, new: Value) -> str:
    where, what = _as_it_is(value), _as_it_is(old)
    if not what:
        return where
    into = _as_it_is(new)
    if where.count(what) * len(into) > MAXIMUM_TEXT_LENGTH:
        raise ConversionError(
            RowErrorCode.OUT_OF_RANGE, f"the text has more than {MAXIMUM_TEXT_LENGTH} characters"
        )
    return _bounded(where.replace(what, into))


def _contains(value: Value, part: Value) -> bool:
    return _as_it_is(part) in _as_it_is(value)


def _as_it_is(value: Value) -> str:
    """A value as text, with the blanks around it."""
    return value if isinstance(value, str) else plain_text(value)


FUNCTIONS: Final[Mapping[str, Function]] = MappingProxyType(
    {
        "if": Function(
            "if(condition, then, otherwise): an unset condition takes the last", 3, 3, None
        ),
        "coalesce": Function("the first argument that is set", 1, None, None),
        "is_set": Function(
            "whether the argument is set", 1, 1, lambda value: value is not None, takes_unset=True
        ),
        "number": Function("the number that a text is", 1, 1, number),
        "round": Function("round(number, digits): half to even, to whole numbers", 1, 2, _round),
        "abs": Function(
            "the number without its sign", 1, 1, lambda value: number(value).copy_abs()
        ),
        "text": Function("the value as text", 1, 1, plain_text),
        "lower": Function(
            "in small letters", 1, 1, lambda value: _bounded(plain_text(value).lower())
        ),
        "upper": Function("in capitals", 1, 1, lambda value: _bounded(plain_text(value).upper())),
        "trim": Function(
            "without surrounding blanks", 1, 1, lambda value: plain_text(value).strip()
        ),
        "concat": Function(
            "the arguments one behind the other; unset ones are left out",
            1,
            None,
            _concat,
            takes_unset=True,
        ),
        "replace": Function("replace(text, old, new): every old becomes new", 3, 3, _replace),
        "contains": Function("contains(text, part): whether text has it", 2, 2, _contains),
        "date": Function(
            "date(value, format, zone): the day by a format, of a moment in a time zone",
            1,
            3,
            day_of,
        ),
    }
)
"""Every function, by name."""
