"""Documents in memory: exact cosine and BM25 without a store, for tests and small tools."""

import math
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from liftos_kit.core.filters import evaluate
from liftos_memory.domain.documents import Document, ObjectKey
from liftos_memory.domain.lexical import lexical_terms
from liftos_memory.search_ports import (
    IndexedDocument,
    LegHit,
    SearchScope,
    Vectors,
)

BM25_K1: Final = 1.2
BM25_B: Final = 0.75
_KEY_FIELDS: Final = tuple(field.name for field in fields(ObjectKey))


@dataclass(frozen=True, slots=True)
class _Stored:
    document: Document
    vector: Vectors
    terms: Counter[str]


_Orgs = dict[str, dict[str, _Stored]]


class InMemoryDocumentIndex:
    """DocumentIndex in dictionaries. BM25 counts document frequencies within the org.

    Args:
        dimension: The embedder's.
    """

    def __init__(self, *, dimension: int) -> None:
        self._dimension = dimension
        self._orgs: _Orgs = {}
        self._unfinished: _Orgs = {}

    async def ensure(self) -> None:
        """Do nothing; it is always ready."""

    async def confirm(self) -> None:
        """Do nothing; it is always there."""

    async def upsert(self, org: str, documents: Sequence[Document], vectors: Vectors) -> None:
        """Add or replace documents of an org."""
        self._add(self._orgs, org, documents, vectors)

    async def settle(self) -> None:
        """Do nothing; it is always settled."""

    async def delete(self, org: str, document_ids: Collection[str]) -> None:
        """Remove documents of an org."""
        for document_id in document_ids:
            self._orgs.get(org, {}).pop(document_id, None)

    async def search_dense(self, scope: SearchScope, vector: Vectors, limit: int) -> list[LegHit]:
        """Return the documents in scope nearest to a vector, scored by cosine."""
        if vector.shape != (self._dimension,):
            raise ValueError(f"the vector has shape {vector.shape}, not ({self._dimension},)")
        return _best(
            [
                LegHit(stored.document.document_id, float(np.dot(stored.vector, vector)))
                for stored in self._in_scope(scope)
            ],
            limit,
        )

    async def search_lexical(self, scope: SearchScope, text: str, limit: int) -> list[LegHit]:
        """Return the documents in scope that share terms with a text, scored by BM25."""
        wanted = Counter(lexical_terms(text))
        everything = list(self._orgs.get(scope.org, {}).values())
        lengths = [stored.terms.total() for stored in everything]
        average = sum(lengths) / len(lengths) if lengths else 0.0
        weight = {
            term: count * _inverse_document_frequency(term, everything)
            for term, count in wanted.items()
        }
        hits = [
            LegHit(stored.document.document_id, _bm25(stored.terms, weight, average))
            for stored in self._in_scope(scope)
        ]
        return _best([hit for hit in hits if hit.raw_score > 0.0], limit)

    async def fetch(self, org: str, document_ids: Collection[str]) -> dict[str, IndexedDocument]:
        """Return the documents of an org that are there, by id."""
        stored = self._orgs.get(org, {})
        return {each: _indexed(stored[each].document) for each in document_ids if each in stored}

    async def count(self, org: str) -> int:
        """Return how many documents an org has."""
        return len(self._orgs.get(org, {}))

    async def list_ids(self, org: str) -> dict[str, str]:
        """Return the content hash of every document of an org by id."""
        return _hashes(self._orgs, org)

    @asynccontextmanager
    async def rebuild(self) -> AsyncIterator["InMemoryRebuild"]:
        """Open a second index beside the one that serves, with what an earlier try left in it."""
        yield InMemoryRebuild(self)

    def _add(self, orgs: _Orgs, org: str, documents: Sequence[Document], vectors: Vectors) -> None:
        if vectors.shape != (len(documents), self._dimension):
            raise ValueError(
                f"{len(documents)} documents need vectors of shape"
                f" ({len(documents)}, {self._dimension}), not {vectors.shape}"
            )
        if len({document.document_id for document in documents}) != len(documents):
            raise ValueError("a document stands twice in one batch")
        for document, vector in zip(documents, vectors, strict=True):
            stored = _Stored(document, vector.copy(), Counter(document.lexical_text.split()))
            orgs.setdefault(org, {})[document.document_id] = stored

    def _in_scope(self, scope: SearchScope) -> list[_Stored]:
        stored = self._orgs.get(scope.org, {}).values()
        return [each for each in stored if _is_seen(scope, each.document)]


class InMemoryRebuild:
    """A second index in memory; made by `InMemoryDocumentIndex.rebuild`."""

    def __init__(self, index: InMemoryDocumentIndex) -> None:
        self._index = index

    async def list_ids(self, org: str) -> dict[str, str]:
        """Return the content hash of every document of an org by id."""
        return _hashes(self._index._unfinished, org)

    async def delete(self, org: str, document_ids: Collection[str]) -> None:
        """Remove documents of an org."""
        for document_id in document_ids:
            self._index._unfinished.get(org, {}).pop(document_id, None)

    async def upsert(self, org: str, documents: Sequence[Document], vectors: Vectors) -> None:
        """Add documents."""
        self._index._add(self._index._unfinished, org, documents, vectors)

    async def switch(self) -> None:
        """Let this index serve."""
        self._index._orgs, self._index._unfinished = self._index._unfinished, {}


def _hashes(orgs: _Orgs, org: str) -> dict[str, str]:
    return {
        document_id: stored.document.content_hash
        for document_id, stored in orgs.get(org, {}).items()
    }


def _is_seen(scope: SearchScope, document: Document) -> bool:
    key = document.key
    row = {name: getattr(key, name) if key else "" for name in _KEY_FIELDS}
    row["scope"] = document.scope
    chosen: tuple[tuple[object, Collection[object]], ...] = (
        (document.kind, scope.kinds),
        (row["platform"], scope.platforms),
        (row["level"], scope.levels),
        (row["account_id"], scope.account_ids),
        (row["campaign_id"], scope.campaign_ids),
        (document.document_id, scope.document_ids),
    )
    return (
        all(not wanted or value in wanted for value, wanted in chosen)
        and (scope.start_date is None or document.end_date >= scope.start_date)
        and (scope.end_date is None or document.start_date <= scope.end_date)
        and evaluate(scope.where, row)
        and (scope.minimum_quality is None or _reaches(document, scope.minimum_quality))
    )


def _reaches(document: Document, minimum_quality: float) -> bool:
    return document.quality_score is not None and document.quality_score >= minimum_quality


def _best(hits: list[LegHit], limit: int) -> list[LegHit]:
    return sorted(hits, key=lambda hit: (-hit.raw_score, hit.document_id))[:limit]


def _inverse_document_frequency(term: str, everything: Sequence[_Stored]) -> float:
    holders = sum(term in stored.terms for stored in everything)
    return math.log(1 + (len(everything) - holders + 0.5) / (holders + 0.5))


def _bm25(terms: Counter[str], weight: dict[str, float], average_length: float) -> float:
    """Score a document, after Robertson and Zaragoza, "The Probabilistic Relevance Framework"."""
    length = BM25_K1 * (1 - BM25_B + BM25_B * terms.total() / (average_length or 1.0))
    return math.fsum(
        each * terms[term] * (BM25_K1 + 1) / (terms[term] + length)
        for term, each in weight.items()
        if terms[term]
    )


def _indexed(document: Document) -> IndexedDocument:
    key = document.key
    return IndexedDocument(
        document_id=document.document_id,
        content_hash=document.content_hash,
        kind=document.kind,
        platform=key.platform if key else "",
        level=key.level if key else "",
        account_id=key.account_id if key else "",
        campaign_id=key.campaign_id if key else "",
        start_date=document.start_date,
        end_date=document.end_date,
        title=document.title,
        text=document.text,
        quality_score=document.quality_score,
        scope=document.scope,
    )
