"""Exchange rates of an org against its base currency, and the rules that they keep."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_memory.domain.currencies import CURRENCY_CODES

_RATE: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class ExchangeRate:
    """The worth of one unit of a currency, from a day on until a later rate.

    Attributes:
        currency_code: ISO 4217 code.
        date: First day on which the rate holds.
        rate: Units of the org's base currency for one unit; above 0, at most 12 places.
        source: Who published it.
    """

    currency_code: str
    date: date
    rate: Decimal
    source: str = ""


@dataclass(frozen=True, slots=True)
class WrittenRate:
    """A rate as it was sent; see `ExchangeRate` for the fields."""

    currency_code: str
    date: str
    rate: str
    source: str


def read_rates(written: Sequence[WrittenRate], *, field: str) -> list[ExchangeRate]:
    """Return the rates of a request.

    Args:
        written: What was sent.
        field: Name of the list in the request, for errors.

    Raises:
        InvalidFieldsError: A currency is unknown, a date is no day, a rate is no decimal above 0,
            or a currency has two rates on one day; lists every one.
    """
    rates: list[ExchangeRate] = []
    violations: list[FieldViolation] = []
    places: dict[tuple[str, str], int] = {}
    for index, one in enumerate(written):
        here = f"{field}[{index}]"
        found = list(_violations(one, here))
        first = places.setdefault((one.currency_code, one.date), index)
        if first != index:
            found.append(
                FieldViolation(
                    here,
                    f"{one.currency_code} has a rate on {one.date} at index {first} already",
                    "exchange_rate.duplicate",
                )
            )
        violations += found
        if not found:
            rates.append(
                ExchangeRate(
                    one.currency_code, date.fromisoformat(one.date), Decimal(one.rate), one.source
                )
            )
    if violations:
        raise InvalidFieldsError(violations)
    return rates


def _violations(one: WrittenRate, here: str) -> Iterator[FieldViolation]:
    if one.currency_code not in CURRENCY_CODES:
        yield FieldViolation(
            f"{here}.currency_code",
            f"{one.currency_code!r} is no ISO 4217 code of money in use since 2000",
            "exchange_rate.currency",
        )
    try:
        date.fromisoformat(one.date)
    except ValueError:
        yield FieldViolation(
            f"{here}.date", f"{one.date!r} is no day of the calendar", "exchange_rate.date"
        )
    if not _RATE.fullmatch(one.rate):
        yield FieldViolation(
            f"{here}.rate",
            "must be a decimal with at most 12 digits before and 12 after the point",
            "exchange_rate.decimal",
        )
    elif not Decimal(one.rate):
        yield FieldViolation(f"{here}.rate", "must be above 0", "exchange_rate.positive")


def check_base_rates(rates: Sequence[ExchangeRate], base_currency_code: str) -> None:
    """Refuse rates that give the base currency another worth than its own.

    Raises:
        InvalidFieldsError: A rate of the base currency is not 1.
    """
    wrong = [
        f"{base_currency_code} is the base currency of the organisation, so its rate is 1, "
        f"not {rate.rate.normalize():f} ({rate.date})"
        for rate in rates
        if rate.currency_code == base_currency_code and rate.rate != 1
    ]
    if wrong:
        raise InvalidFieldsError(
            FieldViolation("exchange_rates", problem, "exchange_rate.base") for problem in wrong
        )
