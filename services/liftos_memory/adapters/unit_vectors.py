"""Vectors of length 1, as every embedder gives them."""

import numpy as np
import numpy.typing as npt

from liftos_memory.search_ports import EmbeddingError, Vectors


def unit_rows(matrix: npt.NDArray[np.floating], *, texts: int, dimension: int) -> Vectors:
    """Scale every row to length 1.

    Args:
        matrix: What a model gave.
        texts: How many rows it should have.
        dimension: How long each should be.

    Raises:
        EmbeddingError: The shape is another, or a row is not finite or has length 0.
    """
    if matrix.shape != (texts, dimension):
        raise EmbeddingError(
            f"the model gave an array of shape {matrix.shape} for {texts} texts; expected"
            f" ({texts}, {dimension}): check the model's name and dimension"
        )
    lengths = np.linalg.norm(matrix.astype(np.float64), axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths)) or np.any(lengths == 0.0):
        raise EmbeddingError("the model gave a vector that is zero or not finite")
    return np.asarray(matrix / lengths, dtype=np.float32)
