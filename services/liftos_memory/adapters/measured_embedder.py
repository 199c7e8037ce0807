"""An embedder whose time is measured."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from liftos_kit import telemetry
from liftos_memory.search_ports import Embedder, Vectors


class MeasuredEmbedder:
    """An embedder that records how long each call took, by what was embedded."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def model_id(self) -> str:
        """The model's."""
        return self._embedder.model_id

    @property
    def dimension(self) -> int:
        """The model's."""
        return self._embedder.dimension

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one vector per text."""
        with _measured("documents"):
            return await self._embedder.embed_documents(texts)

    async def embed_query(self, text: str) -> Vectors:
        """Return the vector of a query."""
        with _measured("query"):
            return await self._embedder.embed_query(text)

    async def close(self) -> None:
        """Close the embedder."""
        await self._embedder.close()


@contextmanager
def _measured(what: str) -> Iterator[None]:
    started = time.perf_counter()
    with telemetry.step_span(f"embed {what}"):
        yield
    telemetry.embedding_duration.record(time.perf_counter() - started, {telemetry.EMBEDDED: what})
