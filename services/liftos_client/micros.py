"""Numbers in units, turned into the contract's millionths: exactly, rounding half to even.

A float counts as the shortest decimal that reads back as it, which is what a person sees: 0.1 is
100,000 micros, and 0.0000005 is a tie that rounds to 0.
"""

from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Final

import numpy as np
import numpy.typing as npt

_MICROS: Final = 1_000_000
_LIMIT: Final = 2**63
# Below this the product with a million is off by less than 1e-3, so only ties are in doubt.
_SAFE_MICROS: Final = 2.0**42
_TIE_MARGIN: Final = 0.01


class MicrosError(ValueError):
    """A number that has no micros."""


def micros_from_decimal(amount: Decimal | int | str) -> int:
    """Return the micros of an exact number.

    Raises:
        MicrosError: It is no finite number, or has no 64-bit micros.
    """
    try:
        value = Decimal(amount)
        if value.is_finite() and value.adjusted() < 20:
            exact = Context(prec=len(value.as_tuple().digits) + 6)
            micros = int(value.scaleb(6, exact).to_integral_value(rounding=ROUND_HALF_EVEN))
            if -_LIMIT <= micros < _LIMIT:
                return micros
    except InvalidOperation:
        pass
    raise MicrosError(f"{amount!r} has no 64-bit number of millionths")


def micros_from_floats(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the micros of floats.

    Args:
        values: Finite numbers.

    Raises:
        MicrosError: One is not finite, or has no 64-bit micros.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = values * _MICROS
        whole = np.rint(scaled)
        near_a_tie = np.abs(np.abs(scaled - np.trunc(scaled)) - 0.5) < _TIE_MARGIN
        doubtful = near_a_tie | ~(np.abs(scaled) < _SAFE_MICROS)
        micros = np.where(doubtful, 0.0, whole).astype(np.int64)
    for place in np.flatnonzero(doubtful):
        micros[place] = micros_from_decimal(repr(float(values[place])))
    return micros
