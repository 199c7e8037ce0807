"""Draws of a model as bytes, for stores."""

import io

import numpy as np

from liftos_causal.domain.mix_model import Draws


def saved(draws: Draws) -> bytes:
    """Return draws as a compressed archive of arrays."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        decays=draws.decays,
        half_saturations=draws.half_saturations,
        coefficients=draws.coefficients,
    )
    return buffer.getvalue()


def loaded(content: bytes) -> Draws:
    """Return the draws of such an archive."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return Draws(arrays["decays"], arrays["half_saturations"], arrays["coefficients"])
