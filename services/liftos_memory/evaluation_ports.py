"""What the evaluation of search needs beside search itself."""

from collections.abc import Collection, Sequence
from typing import Protocol

from liftos_memory.domain.documents import DocumentKind


class DocumentSamples(Protocol):
    """Draws documents."""

    async def draw(
        self, org: str, kinds: Collection[DocumentKind], *, seed: int, limit: int
    ) -> Sequence[str]:
        """Return ids of some of an org's documents of these kinds, the same for the same seed."""
