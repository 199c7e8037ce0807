"""What search needs from the outside: an embedder, and an index of documents."""

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date
from typing import Protocol

import numpy as np
import numpy.typing as npt

from liftos_kit.core.filters import Filter
from liftos_memory.domain.documents import Document, DocumentKind
from liftos_memory.domain.fusion import LegHit

Vectors = npt.NDArray[np.float32]
"""One vector of length 1 per row, shape (texts, dimension)."""

__all__ = [
    "DocumentIndex",
    "Embedder",
    "EmbeddingError",
    "IndexOfAnotherModelError",
    "IndexRebuild",
    "IndexedDocument",
    "LegHit",
    "SearchScope",
    "Vectors",
]


class EmbeddingError(Exception):
    """An embedder answered with something that is no embedding; trying again will not help."""


class IndexOfAnotherModelError(Exception):
    """The index that serves has vectors of another model, or other fields; it has to be rebuilt.

    Attributes:
        serving: Name of the collection that serves.
        expected: How names of the present model's collections begin.
    """

    def __init__(self, *, serving: str, expected: str) -> None:
        super().__init__(
            f"the search index {serving} was made with another model or other fields than"
            f" {expected}; rebuild it, or go back to what made it"
        )
        self.serving = serving
        self.expected = expected


class Embedder(Protocol):
    """Turns texts into vectors whose cosine is their closeness in meaning.

    Vectors of different `model_id` must never meet in one index.
    """

    @property
    def model_id(self) -> str:
        """Name of the model and 12 digits of the hash of what computes it, `name@hash`."""
        ...

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        ...

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one vector per text, in the order of the texts; (0, dimension) for none.

        A text gives nearly the same vector whatever stands beside it (a model that computes in
        int8 scales a batch as one; cosine above 0.95). An empty text has a vector too. The event
        loop stays free meanwhile.

        Raises:
            EmbeddingError: The model answered with something else than asked.
            StoreUnavailableError: The model does not answer.
        """
        ...

    async def embed_query(self, text: str) -> Vectors:
        """Return the vector of a query, shape (dimension,). Errors as of `embed_documents`."""
        ...

    async def close(self) -> None:
        """Give back threads and connections; the embedder is of no use afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class SearchScope:
    """Which documents a search may see; every condition holds before anything is ranked.

    Attributes:
        org: The tenant; there is no scope without one.
        kinds: Kinds to see; empty is all. Likewise the following.
        platforms: Platforms to see.
        levels: Levels to see.
        account_ids: Accounts to see.
        campaign_ids: Campaigns to see.
        document_ids: Documents to see.
        where: Filter over platform, level, object ids and scope; None is no condition.
        start_date: Documents about this day or later; None is no bound.
        end_date: Documents about this day or earlier; None is no bound.
        minimum_quality: Least quality, 0 to 1. Documents that rest on no entries have none and are
            not seen once this is given.
    """

    org: str
    kinds: Collection[DocumentKind] = ()
    platforms: Collection[str] = ()
    levels: Collection[str] = ()
    account_ids: Collection[str] = ()
    campaign_ids: Collection[str] = ()
    document_ids: Collection[str] = ()
    where: Filter | None = None
    start_date: date | None = None
    end_date: date | None = None
    minimum_quality: float | None = None

    def __post_init__(self) -> None:
        if not self.org:
            raise ValueError("a search needs an org")
        if self.minimum_quality is not None and not 0.0 <= self.minimum_quality <= 1.0:
            raise ValueError("minimum_quality is between 0 and 1")


@dataclass(frozen=True, slots=True)
class IndexedDocument:
    """A document as the index holds it: without its lexical terms and vector."""

    document_id: str
    content_hash: str
    kind: DocumentKind
    platform: str
    level: str
    account_id: str
    campaign_id: str
    start_date: date
    end_date: date
    title: str
    text: str
    quality_score: float | None
    scope: str


class DocumentIndex(Protocol):
    """Documents that are found by meaning and by words. It follows Postgres and may be rebuilt.

    One writer at a time: the worker behind the outbox. Every method raises
    `StoreUnavailableError("milvus")` where the index does not answer within its deadline, and
    works again by itself once the index does. What was written is seen by every later call.
    """

    async def ensure(self) -> None:
        """Create what is missing and make it ready to search; does nothing where all is well.

        Only the writer creates. A reader finds an index that is not there yet unavailable, and
        makes one ready that is there but not loaded by itself.

        Raises:
            IndexOfAnotherModelError: What serves was made with another model.
        """
        ...

    async def confirm(self) -> None:
        """Return if the index is there; unavailable if it does not answer or was lost."""
        ...

    async def upsert(self, org: str, documents: Sequence[Document], vectors: Vectors) -> None:
        """Add documents of an org, or replace those with the same ids.

        Args:
            org: The tenant.
            documents: Each id once; a few hundred a call keep messages small.
            vectors: Their embeddings, in the same order.

        Raises:
            ValueError: The shape of `vectors` does not fit, an id stands twice, or a text is
                larger than the index takes (65 535 bytes).
        """
        ...

    async def settle(self) -> None:
        """Bring what was written into the form that is quickest to search.

        The writer calls it before it says that it has caught up. Searches are right without it,
        only slower; while it runs, a search may miss what had not been settled.
        """
        ...

    async def delete(self, org: str, document_ids: Collection[str]) -> None:
        """Remove documents of an org; ids that are not there do not matter."""
        ...

    async def search_dense(self, scope: SearchScope, vector: Vectors, limit: int) -> list[LegHit]:
        """Return the documents in scope nearest to a vector, best first, scored by cosine."""
        ...

    async def search_lexical(self, scope: SearchScope, text: str, limit: int) -> list[LegHit]:
        """Return the documents in scope that share terms with a text, best first.

        Args:
            scope: What may be seen.
            text: The query as a person wrote it; it is analysed as documents are.
            limit: How many at most.

        Returns:
            Hits scored by BM25 (k1 1.2, b 0.75), above 0, higher is better. None where the query
            has no terms.
        """
        ...

    async def fetch(self, org: str, document_ids: Collection[str]) -> dict[str, IndexedDocument]:
        """Return the documents of an org that are there, by id."""
        ...

    async def count(self, org: str) -> int:
        """Return how many documents an org has."""
        ...

    async def list_ids(self, org: str) -> dict[str, str]:
        """Return the content hash of every document of an org by id, for reconciliation."""
        ...

    def rebuild(self) -> AbstractAsyncContextManager["IndexRebuild"]:
        """Open a second index beside the one that serves; it has what an earlier try left in it.

        Write into it, then `switch`: from then on it serves, at once and for all readers, and the
        old one is gone. Leaving without a switch keeps it for the next try, which goes on with it.
        """
        ...


class IndexRebuild(Protocol):
    """A second index that does not serve yet."""

    async def list_ids(self, org: str) -> dict[str, str]:
        """Return what is in it, as `DocumentIndex.list_ids`."""
        ...

    async def delete(self, org: str, document_ids: Collection[str]) -> None:
        """Remove documents, as `DocumentIndex.delete`."""
        ...

    async def upsert(self, org: str, documents: Sequence[Document], vectors: Vectors) -> None:
        """Add documents, as `DocumentIndex.upsert`."""
        ...

    async def switch(self) -> None:
        """Let this index serve instead of the old one, and drop that."""
        ...
