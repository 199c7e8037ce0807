"""An embedder without a model: terms hashed into a vector (Weinberger et al., ICML 2009).

Texts are close when they share terms, which is no meaning at all, but it is exact, instant and
needs no file: for tests, and for measuring the rest of the system without a model.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from liftos_memory.adapters.unit_vectors import unit_rows
from liftos_memory.domain.lexical import lexical_terms
from liftos_memory.search_ports import Vectors


class HashingEmbedder:
    """Embedder by feature hashing.

    Args:
        dimension: Length of the vectors, at least 2.
    """

    def __init__(self, *, dimension: int = 384) -> None:
        if dimension < 2:
            raise ValueError("dimension is at least 2")
        self._dimension = dimension
        recipe = f"signed BLAKE2b-64 of each term, summed into {dimension}"
        self._model_id = f"feature-hashing@{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"

    @property
    def model_id(self) -> str:
        """Name and hash of the recipe."""
        return self._model_id

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        return self._dimension

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one vector per text."""
        matrix = np.zeros((len(texts), self._dimension), dtype=np.float32)
        for row, text in zip(matrix, texts, strict=True):
            self._add_terms(row, text)
        return unit_rows(matrix, texts=len(texts), dimension=self._dimension)

    async def embed_query(self, text: str) -> Vectors:
        """Return the vector of a query."""
        vectors = await self.embed_documents([text])
        return np.asarray(vectors[0])

    async def close(self) -> None:
        """Do nothing; there is nothing to give back."""

    def _add_terms(self, row: Vectors, text: str) -> None:
        for term in lexical_terms(text):
            digest = hashlib.blake2b(term.encode(), digest_size=8).digest()
            number = int.from_bytes(digest, "big")
            row[(number >> 1) % self._dimension] += 1.0 if number & 1 else -1.0
        if not row.any():
            # No terms, or terms that cancel out: the text still needs a place.
            row[0] = 1.0
