"""Splitting whole numbers by the largest remainder."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_cli.demo.spreading import largest_remainder, spread

TOTALS = st.integers(0, 10**16)
WEIGHTS = st.lists(st.integers(0, 1_000), min_size=1, max_size=40).filter(any)


@given(TOTALS, WEIGHTS)
def test_parts_add_up_and_are_never_negative(total: int, weights: list[int]) -> None:
    """The parts sum up to the total exactly, and no part is below 0."""
    parts = largest_remainder(total, weights)

    assert sum(parts) == total
    assert len(parts) == len(weights)
    assert min(parts) >= 0


@given(TOTALS, WEIGHTS)
def test_each_part_is_its_share_rounded_up_or_down(total: int, weights: list[int]) -> None:
    """No part is further than 1 from its exact share, and a weight of 0 gets nothing."""
    parts = largest_remainder(total, weights)

    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Fraction(total * weight, sum(weights))) < 1
        assert weight or part == 0


@given(TOTALS, WEIGHTS, st.integers(1, 1_000))
def test_parts_follow_from_proportions_alone(total: int, weights: list[int], factor: int) -> None:
    """The same total splits in the same way again, and where all weights are multiplied."""
    parts = largest_remainder(total, weights)

    assert largest_remainder(total, weights) == parts
    assert largest_remainder(total, [weight * factor for weight in weights]) == parts


def test_the_largest_remainders_are_rounded_up_and_the_first_of_equal_ones() -> None:
    """Shares 5.0, 3.75 and 1.25 of 10 become 5, 4, 1; of three equal ones the first gets the 1."""
    assert largest_remainder(10, [4, 3, 1]) == (5, 4, 1)
    assert largest_remainder(4, [1, 1, 1]) == (2, 1, 1)


@given(
    TOTALS,
    st.lists(st.integers(1, 100), min_size=1, max_size=6),
    st.lists(st.integers(0, 100), min_size=7, max_size=7).filter(any),
)
def test_cells_add_up(total: int, rows: list[int], days: list[int]) -> None:
    """A spread has a row for each row weight, seven days each, and sums up to the total."""
    cells = spread(total, rows, days)

    assert [len(row) for row in cells] == [7] * len(rows)
    assert sum(map(sum, cells)) == total


@pytest.mark.parametrize(
    ("total", "weights"), [(-1, [1]), (1, []), (1, [0, 0]), (1, [2, -1]), (0, [0])]
)
def test_what_cannot_be_split_is_refused(total: int, weights: list[int]) -> None:
    """Negative totals, negative weights and no weight at all are errors, not zeros."""
    with pytest.raises(ValueError, match="0"):
        largest_remainder(total, weights)
