"""Literals of a query as values of the fields that they are compared with."""

import re
from datetime import date
from typing import Final

from liftos_platforms.google_ads.catalogue import CHANGE_MOMENT, Field, FieldType
from liftos_platforms.google_ads.dates import PERIODS
from liftos_platforms.google_ads.gaql import GaqlError, Literal, LiteralKind, Operator
from liftos_platforms.google_ads.predicates import Value

_YEARS: Final = range(1970, 2101)
_INTEGER_TEXT: Final = re.compile(r"-?[0-9]+")
_NUMBER_TEXT: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_MOMENT_TEXT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_DATE_TEXT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def value_of(literal: Literal, field: Field) -> Value:
    """Return what a literal stands for: enums by name, dates as text.

    Raises:
        GaqlError: The field cannot have such a value.
    """
    value: Value
    match field.type:
        case FieldType.ENUM:
            value = _enum_name(literal, field)
        case FieldType.DATE if field.name == CHANGE_MOMENT:
            value = _moment(literal)
        case FieldType.DATE:
            value = _day(literal, field).isoformat()
        case FieldType.INT32 | FieldType.INT64:
            value = _integer(literal.text, field)
        case FieldType.DOUBLE | FieldType.FLOAT:
            value = _real(literal.text)
        case FieldType.BOOLEAN:
            value = _truth_value(literal.text)
        case _:
            value = _text(literal, field)
    return value


def _enum_name(literal: Literal, field: Field) -> str:
    text = literal.text
    if literal.kind is LiteralKind.NUMBER or text not in field.enum_numbers:
        raise GaqlError(
            "BAD_ENUM_CONSTANT", f"'{text}' is no value of '{field.name}'.", trigger=text
        )
    return text


def _integer(text: str, field: Field) -> int:
    if _INTEGER_TEXT.fullmatch(text) is None:
        raise GaqlError("BAD_NUMBER", f"'{text}' is no integer.", trigger=text)
    if field.name == "segments.year" and int(text) not in _YEARS:
        raise GaqlError("BAD_VALUE", f"There are no days of {text}.", trigger=text)
    return int(text)


def _real(text: str) -> float:
    if _NUMBER_TEXT.fullmatch(text) is None:
        raise GaqlError("BAD_NUMBER", f"'{text}' is no number.", trigger=text)
    return float(text)


def _truth_value(text: str) -> bool:
    if text.upper() not in ("TRUE", "FALSE"):
        raise GaqlError("BAD_VALUE", f"'{text}' is neither TRUE nor FALSE.", trigger=text)
    return text.upper() == "TRUE"


def _text(literal: Literal, field: Field) -> str:
    if literal.kind is not LiteralKind.TEXT:
        raise GaqlError("BAD_VALUE", f"'{field.name}' takes text in quotes.", trigger=literal.text)
    return literal.text


def _moment(literal: Literal) -> str:
    """Return a date and time; a date alone is the moment at which its day begins."""
    text = literal.text
    moment = text if " " in text else f"{text} 00:00:00"
    if literal.kind is not LiteralKind.TEXT or _MOMENT_TEXT.fullmatch(moment) is None:
        raise GaqlError(
            "INVALID_DATE_FORMAT",
            f"'{text}' is not a moment like '2026-10-31 23:59:59'.",
            trigger=text,
        )
    return moment


def _day(literal: Literal, field: Field) -> date:
    text = literal.text
    if literal.kind is not LiteralKind.TEXT or _DATE_TEXT.fullmatch(text) is None:
        raise GaqlError(
            "INVALID_DATE_FORMAT", f"'{text}' is not a date like '2026-10-31'.", trigger=text
        )
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise GaqlError("BAD_VALUE", f"There is no day '{text}'.", trigger=text) from None
    if day.year not in _YEARS:
        raise GaqlError("BAD_VALUE", f"There are no days of {day.year}.", trigger=text)
    if field.name != "segments.date" and PERIODS[field.name](day)[0] != day:
        raise GaqlError(
            "MISALIGNED_DATE_FOR_FILTER",
            f"'{text}' is not the first day of a period of '{field.name}'.",
            trigger=text,
        )
    return day


def check_pattern(operator: Operator, pattern: str, field: Field) -> None:
    """Refuse a pattern that is no expression.

    Raises:
        GaqlError: It is none.
    """
    if operator in (Operator.REGEXP_MATCH, Operator.NOT_REGEXP_MATCH):
        try:
            re.compile(pattern)
        except re.error as error:
            raise GaqlError(
                "INVALID_STRING_VALUE",
                f"'{pattern}' is no expression: {error}.",
                trigger=field.name,
            ) from None
