"""Dated exchange rates as a data set needs them: the worth of each currency on each of its days."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal

from liftos_kit.core.errors import RateMissingError


def rates_on_days(
    needed: Iterable[tuple[str, date]],
    rates: Mapping[str, Sequence[tuple[date, Decimal]]],
    *,
    target: str,
    base: str,
) -> tuple[dict[tuple[str, date], Decimal], dict[date, Decimal]]:
    """Return the worth of currencies, and of the target, on days; in the base currency.

    A rate holds from its day until the next one.

    Args:
        needed: Currencies and days with money; those in the target need none.
        rates: Rates of each currency, by day.
        target: What money becomes.
        base: The currency in which rates are given.

    Raises:
        RateMissingError: A currency has no rate up to a day; names the days of each.
    """
    pairs = sorted({(code, day) for code, day in needed if code != target})
    missing: dict[str, list[date]] = {}

    def worth(code: str, day: date) -> Decimal:
        if code == base:
            return Decimal(1)
        known = rates.get(code, ())
        place = bisect_right(known, day, key=lambda rate: rate[0])
        if not place:
            missing.setdefault(code, []).append(day)
            return Decimal(0)
        return known[place - 1][1]

    from_rates = {(code, day): worth(code, day) for code, day in pairs}
    to_rates = {day: worth(target, day) for day in sorted({day for _, day in pairs})}
    if missing:
        raise RateMissingError(
            [(code, base, _range(min(days), max(days))) for code, days in sorted(missing.items())]
        )
    return from_rates, to_rates


def _range(first: date, last: date) -> str:
    return first.isoformat() if first == last else f"{first} to {last}"
