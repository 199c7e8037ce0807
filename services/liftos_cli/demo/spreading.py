"""How one number becomes several that add up to it."""

from collections.abc import Sequence


def largest_remainder(total: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Split a whole number in proportion to weights, by the method of the largest remainder.

    Each part is its exact share, rounded up or down. Of equal remainders the earlier one is
    rounded up, so that the same numbers are always split in the same way.

    Raises:
        ValueError: The total or a weight is negative, or no weight is above 0.
    """
    if total < 0:
        raise ValueError(f"{total} is negative; only numbers from 0 on can be split")
    if any(weight < 0 for weight in weights) or not any(weights):
        raise ValueError(f"weights have to be 0 or more, one of them above 0: {list(weights)}")
    whole = sum(weights)
    shares = [divmod(total * weight, whole) for weight in weights]
    missing = total - sum(quotient for quotient, _ in shares)
    by_remainder = sorted(range(len(weights)), key=lambda place: -shares[place][1])
    rounded_up = set(by_remainder[:missing])
    return tuple(quotient + (place in rounded_up) for place, (quotient, _) in enumerate(shares))


def spread(
    total: int, row_weights: Sequence[int], column_weights: Sequence[int]
) -> tuple[tuple[int, ...], ...]:
    """Split a whole number over rows and columns; a cell weighs its row times its column.

    Returns:
        One tuple for each row, with one number for each column.

    Raises:
        ValueError: As `largest_remainder`.
    """
    width = len(column_weights)
    cells = largest_remainder(
        total, [row * column for row in row_weights for column in column_weights]
    )
    return tuple(cells[start : start + width] for start in range(0, len(cells), width))
