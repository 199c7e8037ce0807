"""Money is exact, rounds half to even, and never overflows in silence."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_kit.core.money import (
    INT64_MAXIMUM,
    INT64_MINIMUM,
    MoneyError,
    micros_from_decimal,
    split_by_largest_remainder,
)

INT64 = st.integers(INT64_MINIMUM, INT64_MAXIMUM)


@given(INT64)
def test_micros_survive_the_way_through_decimals(micros: int) -> None:
    """Every amount that can be stored is shown and read back as itself."""
    assert micros == micros_from_decimal(Decimal(micros).scaleb(-6))


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_rounding_is_half_to_even_or_refused(amount: Decimal) -> None:
    """The result is the nearest micro, the even one of two; what does not fit is an error."""
    try:
        micros = micros_from_decimal(amount)
    except MoneyError:
        assert abs(amount) > Decimal("9223372036854.7")
        return
    distance = abs(Fraction(amount) * 1_000_000 - micros)
    assert distance < Fraction(1, 2) or (distance == Fraction(1, 2) and micros % 2 == 0)


@pytest.mark.parametrize(
    ("amount", "micros"),
    [
        ("1.40506", 1_405_060),
        ("0.0000005", 0),
        ("0.0000015", 2),
        ("-0.0000025", -2),
        ("9223372036854.775807", INT64_MAXIMUM),
        ("-9223372036854.775808", INT64_MINIMUM),
    ],
)
def test_known_amounts(amount: str, micros: int) -> None:
    """Ties and the ends of the range."""
    assert micros == micros_from_decimal(Decimal(amount))


@pytest.mark.parametrize(
    "amount", ["NaN", "Infinity", "9223372036854.775808", "1E+999999", "-1E+30"]
)
def test_impossible_amounts(amount: str) -> None:
    """Not a number, infinite or too large: an error, at once."""
    with pytest.raises(MoneyError):
        micros_from_decimal(Decimal(amount))


@given(st.integers(-(10**15), 10**15), st.lists(st.integers(0, 10**9), min_size=1, max_size=20))
def test_a_split_sums_exactly_and_is_fair(total: int, weights: list[int]) -> None:
    """Parts sum to the whole, and none is a unit or more away from its quota."""
    parts = split_by_largest_remainder(total, weights)
    assert total == sum(parts)
    shares = weights if any(weights) else [1] * len(weights)
    for part, share in zip(parts, shares, strict=True):
        assert abs(part - Fraction(total * share, sum(shares))) < 1


def test_a_split_is_the_same_every_time() -> None:
    """What is left goes to the largest remainders, to earlier parts first."""
    assert split_by_largest_remainder(10, [1, 1, 1]) == [4, 3, 3]
    assert split_by_largest_remainder(7, [0, 2, 3]) == [0, 3, 4]
    assert split_by_largest_remainder(-10, [1, 1, 1]) == [-4, -3, -3]
    assert split_by_largest_remainder(3, [0, 0]) == [2, 1]


@pytest.mark.parametrize("weights", [[], [1, -1]])
def test_a_split_needs_weights(weights: list[int]) -> None:
    """There is no split over nothing, or over less than nothing."""
    with pytest.raises(ValueError, match="weights"):
        split_by_largest_remainder(1, weights)
