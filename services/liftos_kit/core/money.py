"""Money in int64 micros: exact sums, one rounding rule (half to even), no floats."""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

MICROS: Final = 1_000_000
"""Micros in one unit of a currency."""

INT64_MINIMUM: Final = -(2**63)
INT64_MAXIMUM: Final = 2**63 - 1


class MoneyError(ValueError):
    """An amount that cannot be kept."""


def check_int64(value: int) -> int:
    """Return `value` as it came.

    Raises:
        MoneyError: It does not fit into 64 bits.
    """
    if not INT64_MINIMUM <= value <= INT64_MAXIMUM:
        raise MoneyError(f"{value} does not fit into a signed 64-bit integer")
    return value


def micros_from_decimal(amount: Decimal) -> int:
    """Convert currency units to micros, rounding half to even.

    Raises:
        MoneyError: The amount is not finite or its micros do not fit into 64 bits.
    """
    if not amount.is_finite():
        raise MoneyError(f"{amount} is no amount of money")
    # Beyond this no int64 is near; the test also keeps 1E+999999 from becoming a huge integer.
    if amount.adjusted() > 20:
        raise MoneyError(f"{amount} does not fit into 64 bits of micros")
    scaled = amount.scaleb(6, context=Context(prec=max(60, len(amount.as_tuple().digits) + 6)))
    return check_int64(int(scaled.to_integral_value(rounding=ROUND_HALF_EVEN)))


def split_by_largest_remainder(total: int, weights: Sequence[int]) -> list[int]:
    """Split an integer in proportion to weights so that the parts sum to it exactly.

    Hamilton's method: each part gets the floor of its quota, what is left goes one by one to the
    largest remainders, earlier parts first. A negative total splits as its mirror image.

    Args:
        total: What to split.
        weights: At least one, none negative; if all are 0 the split is even.

    Raises:
        ValueError: There are no weights, or one is negative.
    """
    if not weights or min(weights) < 0:
        raise ValueError("weights must be at least one number, none negative")
    if total < 0:
        return [-part for part in split_by_largest_remainder(-total, weights)]
    shares = weights if any(weights) else [1] * len(weights)
    whole = sum(shares)
    parts = [total * share // whole for share in shares]
    by_remainder = sorted(
        range(len(shares)), key=lambda index: (-(total * shares[index] % whole), index)
    )
    for index in by_remainder[: total - sum(parts)]:
        parts[index] += 1
    return parts
