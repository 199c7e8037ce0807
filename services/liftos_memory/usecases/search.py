"""Search: legs over the index, fused, with what stands behind each hit."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from liftos_kit.core.errors import (
    InvalidFieldsError,
    NotBuiltError,
    StaleReadError,
    StoreUnavailableError,
)
from liftos_memory.document_ports import DocumentStore, ObjectMetrics
from liftos_memory.domain.documents import Document
from liftos_memory.domain.fusion import (
    FusedAnswer,
    FusedHit,
    FusionMethod,
    Leg,
    LegHit,
    SearchMode,
    explain,
    fuse,
)
from liftos_memory.domain.highlights import Highlight, highlight
from liftos_memory.search_ports import DocumentIndex, Embedder, SearchScope

LEG_DEPTH: Final = 200
"""Hits that each leg gives to the fusion; no page goes deeper."""

_POLL_SECONDS: Final = 0.05
_BUILT: Final = (SearchMode.NEURAL, SearchMode.LEXICAL)


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A ranked query.

    Attributes:
        query: What is looked for; not empty.
        scope: Which documents may be seen.
        weights: The legs and their weights.
        method: How legs become one order.
        metrics_range: Days of the metrics beside hits; None is each document's own.
        group_by_object: At most one hit per object.
        offset: Hits to pass by.
        limit: Hits to return at most.
    """

    query: str
    scope: SearchScope
    weights: Mapping[SearchMode, float]
    method: FusionMethod
    metrics_range: tuple[date, date] | None
    group_by_object: bool
    offset: int
    limit: int


@dataclass(frozen=True, slots=True)
class Hit:
    """One result with what stands behind it; metrics are None for a document without an object."""

    fused: FusedHit
    document: Document
    highlights: tuple[Highlight, ...]
    explanation: str
    metrics: ObjectMetrics | None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Hits, whether there are more, and the version up to which the index had followed."""

    hits: Sequence[Hit]
    has_more: bool
    indexed_version: int


class Search:
    """Ranks documents.

    Args:
        store: Documents as the record of truth has them.
        index: What is searched.
        embedder: Gives the vector of a query.
        on_leg: Told of each leg that answered and the seconds it took.
    """

    def __init__(
        self,
        store: DocumentStore,
        index: DocumentIndex,
        embedder: Embedder,
        *,
        on_leg: Callable[[SearchMode, float], None],
    ) -> None:
        self._store = store
        self._index = index
        self._embedder = embedder
        self._on_leg = on_leg

    async def wait_for(self, org: str, version: int, *, timeout_seconds: float) -> None:
        """Return once the index has followed the org up to a version.

        Raises:
            StaleReadError: It has not in time.
        """
        until = time.monotonic() + timeout_seconds
        while await self._store.indexed_version(org) < version:
            if time.monotonic() + _POLL_SECONDS > until:
                raise StaleReadError("milvus")
            await asyncio.sleep(_POLL_SECONDS)

    async def search(self, request: SearchRequest) -> SearchResult:
        """Return a page of hits, best first.

        A leg whose store fails adds nothing and is named in the explanations, as long as another
        leg answers.

        Raises:
            NotBuiltError: A leg is asked for that this version does not have.
            StoreUnavailableError: No leg answers.
        """
        for mode in request.weights:
            if mode not in _BUILT:
                raise NotBuiltError(f"Search by {mode.value}")
        if not request.query.strip():
            raise InvalidFieldsError.of("query", "say what to look for", rule="required")
        org = request.scope.org
        indexed_version = await self._store.indexed_version(org)
        answer = await self._fuse(request)
        stored = await self._store.fetch(org, [hit.document_id for hit in answer.hits])
        # The record of truth has the last word on what exists.
        found = [(hit, stored[hit.document_id]) for hit in answer.hits if hit.document_id in stored]
        if request.group_by_object:
            found = _first_of_each_object(found)
        page = found[request.offset : request.offset + request.limit]
        metrics = await self._metrics(request, [each for _, each in page])
        hits = []
        for fused, document in page:
            highlights = highlight(document.text, request.query)
            hits.append(
                Hit(
                    fused,
                    document,
                    highlights,
                    explain(fused, failed=answer.failed, matched_words=_words(highlights)),
                    metrics.get(fused.document_id),
                )
            )
        return SearchResult(hits, len(found) > request.offset + request.limit, indexed_version)

    async def _fuse(self, request: SearchRequest) -> FusedAnswer:
        answers = await asyncio.gather(
            *(self._leg(mode, weight, request) for mode, weight in request.weights.items())
        )
        failures = [error for _, error in answers if error is not None]
        if len(failures) == len(answers):
            raise failures[0]
        return fuse([leg for leg, _ in answers], method=request.method)

    async def _leg(
        self, mode: SearchMode, weight: float, request: SearchRequest
    ) -> tuple[Leg, StoreUnavailableError | None]:
        ask: Mapping[SearchMode, Callable[[SearchRequest], Awaitable[list[LegHit]]]] = {
            SearchMode.NEURAL: self._neural,
            SearchMode.LEXICAL: self._lexical,
        }
        started = time.perf_counter()
        try:
            hits = await ask[mode](request)
        except StoreUnavailableError as error:
            return Leg(mode, weight, None), error
        self._on_leg(mode, time.perf_counter() - started)
        return Leg(mode, weight, hits), None

    async def _neural(self, request: SearchRequest) -> list[LegHit]:
        vector = await self._embedder.embed_query(request.query)
        return await self._index.search_dense(request.scope, vector, LEG_DEPTH)

    async def _lexical(self, request: SearchRequest) -> list[LegHit]:
        return await self._index.search_lexical(request.scope, request.query, LEG_DEPTH)

    async def _metrics(
        self, request: SearchRequest, page: Sequence[Document]
    ) -> Mapping[str, ObjectMetrics]:
        documents = [each for each in page if each.key is not None]
        wanted = []
        for document in documents:
            assert document.key is not None
            days = request.metrics_range or (document.start_date, document.end_date)
            wanted.append((document.key, *days))
        sums = await self._store.metrics(request.scope.org, wanted)
        return {
            document.document_id: metrics for document, metrics in zip(documents, sums, strict=True)
        }


def _first_of_each_object(
    found: Sequence[tuple[FusedHit, Document]],
) -> list[tuple[FusedHit, Document]]:
    first: dict[object, tuple[FusedHit, Document]] = {}
    for hit, document in found:
        first.setdefault(document.key or hit.document_id, (hit, document))
    return list(first.values())


def _words(highlights: Sequence[Highlight]) -> list[str]:
    return [piece.snippet[span.start : span.end] for piece in highlights for span in piece.spans]
