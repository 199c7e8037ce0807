"""Evaluation: how well the index that serves does what it is for.

Questions with known answers go the way of any search. Beside each goes its vector, alone, and what
the index gives for that is compared with exact search over the same vectors. Every second question
is asked under a condition as well, which its hits must keep.
"""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

import numpy as np

from liftos_kit.core.filters import And, Comparison, Filter, Operator
from liftos_memory.document_ports import DocumentStore
from liftos_memory.domain.documents import Document, DocumentKind
from liftos_memory.domain.fusion import FusionMethod, SearchMode
from liftos_memory.domain.intervals import wilson_interval
from liftos_memory.domain.known_items import KnownItem, QuestionKind, known_items
from liftos_memory.domain.relevance import (
    NEAREST,
    NO_CONDITION,
    Condition,
    DocumentColumns,
    ExactSearch,
    Recall,
    drawn_condition,
)
from liftos_memory.evaluation_ports import DocumentSamples
from liftos_memory.search_ports import DocumentIndex, Embedder, SearchScope, Vectors
from liftos_memory.usecases.search import Search, SearchRequest

SUCCESS_DEPTH: Final = 5
"""A known item has to be among so many hits."""

MAXIMUM_MISSES: Final = 20

_SHARE_OF_QUESTIONS: Final = 0.6
"""Of the time; the rest is for exact search, which cannot be left half done."""
_AT_ONCE: Final = 2
"""Questions under way; more would measure a service that its users do not have meanwhile."""
_RECORDS: Final = (DocumentKind.INSIGHT, DocumentKind.ARTIFACT, DocumentKind.NOTE)
_GROUPS: Final = ((DocumentKind.PROFILE,), (DocumentKind.WEEKLY_DIGEST,), _RECORDS)


@dataclass(frozen=True, slots=True)
class Miss:
    """A question whose answer was not among the first hits.

    Attributes:
        item: The question.
        first: What came first instead; None where nothing was found.
    """

    item: KnownItem
    first: Document | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured.

    Attributes:
        questions: How many were asked, by kind.
        successes: How many of them had an answer among the first five hits.
        interval: Ends of Wilson's 95 % interval of their share; None where none was asked.
        filtered_hits: Hits of searches under a condition.
        kept_hits: Those of them that keep it.
        recall: The index beside exact search.
        misses: Some that had no answer.
    """

    questions: Mapping[QuestionKind, int]
    successes: Mapping[QuestionKind, int]
    interval: tuple[float, float] | None
    filtered_hits: int
    kept_hits: int
    recall: Recall
    misses: Sequence[Miss]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of one question.

    Attributes:
        item: The question.
        vector: Of its query.
        condition: What its filtered search asked, or NO_CONDITION.
        hits: The first hits without a condition.
        filtered: Hits of the filtered search.
        nearest: Ids that the index gave for the vector, under the condition.
    """

    item: KnownItem
    vector: Vectors
    condition: Condition
    hits: Sequence[Document]
    filtered: Sequence[Document]
    nearest: Sequence[str]


class Evaluations:
    """Measures search.

    Args:
        search: What is measured.
        store: Documents and their vectors.
        samples: Draws documents to ask for.
        index: What serves, asked for vectors alone.
        embedder: That of search.
        executor: For exact search.
    """

    def __init__(
        self,
        search: Search,
        store: DocumentStore,
        samples: DocumentSamples,
        *,
        index: DocumentIndex,
        embedder: Embedder,
        executor: Executor,
    ) -> None:
        self._search = search
        self._store = store
        self._samples = samples
        self._index = index
        self._embedder = embedder
        self._executor = executor

    async def evaluate(
        self,
        org: str,
        weights: Mapping[SearchMode, float],
        *,
        question_count: int,
        seed: int,
        seconds: float,
    ) -> Evaluation:
        """Measure the index and the search of an org.

        Args:
            org: The tenant.
            weights: The legs to measure and their weights.
            question_count: Questions to ask at most; there are fewer where the org has few
                documents.
            seed: Decides which questions.
            seconds: Questions begin in the first part of this time; with many documents and little
                time not all of them do, and those are not counted.

        Raises:
            StoreUnavailableError: The index does not answer.
        """
        until = time.monotonic() + _SHARE_OF_QUESTIONS * seconds
        items = await self._items(org, count=question_count, seed=seed)
        outcomes: dict[int, _Outcome] = {}
        waiting = iter(enumerate(items))

        async def ask() -> None:
            for place, item in waiting:
                if time.monotonic() > until:
                    return
                condition = drawn_condition(item.document, seed=seed) if place % 2 else NO_CONDITION
                outcomes[place] = await self._ask(org, weights, item, condition)

        tasks = [asyncio.create_task(ask()) for _ in range(_AT_ONCE)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        asked = [outcomes[place] for place in sorted(outcomes)]
        return _evaluation(asked, await self._recall(org, asked))

    async def _items(self, org: str, *, count: int, seed: int) -> list[KnownItem]:
        drawn = [await self._samples.draw(org, kinds, seed=seed, limit=count) for kinds in _GROUPS]
        ids = [document_id for group in drawn for document_id in group]
        found = await self._store.fetch(org, ids)
        documents = [found[document_id] for document_id in ids if document_id in found]
        return known_items(documents, count=count, seed=seed)

    async def _ask(
        self,
        org: str,
        weights: Mapping[SearchMode, float],
        item: KnownItem,
        condition: Condition,
    ) -> _Outcome:
        scope = _scope(org, condition)
        vector = await self._embedder.embed_query(item.query)
        nearest = await self._index.search_dense(scope, vector, NEAREST)
        filtered: Sequence[Document] = ()
        if condition != NO_CONDITION:
            filtered = await self._hits(scope, weights, item.query, limit=NEAREST)
        return _Outcome(
            item,
            vector,
            condition,
            await self._hits(SearchScope(org), weights, item.query, limit=SUCCESS_DEPTH),
            filtered,
            [hit.document_id for hit in nearest],
        )

    async def _hits(
        self, scope: SearchScope, weights: Mapping[SearchMode, float], query: str, *, limit: int
    ) -> list[Document]:
        result = await self._search.search(
            SearchRequest(
                query=query,
                scope=scope,
                weights=weights,
                method=FusionMethod.WEIGHTED_MIN_MAX,
                metrics_range=None,
                group_by_object=False,
                offset=0,
                limit=limit,
            )
        )
        return [hit.document for hit in result.hits]

    async def _recall(self, org: str, outcomes: Sequence[_Outcome]) -> Recall:
        """Compare what the index gave with exact search over all documents."""
        dimension = self._embedder.dimension
        exact = ExactSearch(
            np.array([each.vector for each in outcomes], np.float32).reshape(-1, dimension),
            [each.condition for each in outcomes],
            [each.nearest for each in outcomes],
        )
        loop = asyncio.get_running_loop()
        async for documents in self._store.all_documents(org):
            vectors = await self._vectors(documents)
            await loop.run_in_executor(self._executor, exact.add, documents, vectors)
        return exact.recall()

    async def _vectors(self, documents: Sequence[Document]) -> Vectors:
        """Return the vectors of documents; those of texts that were not embedded are computed."""
        texts = {document.embedding_hash: document.embedded_text for document in documents}
        known = dict(await self._store.load_vectors(self._embedder.model_id, texts.keys()))
        if missing := [text_hash for text_hash in texts if text_hash not in known]:
            fresh = await self._embedder.embed_documents([texts[each] for each in missing])
            known |= dict(zip(missing, fresh, strict=True))
        return np.stack([known[document.embedding_hash] for document in documents])


def _evaluation(outcomes: Sequence[_Outcome], recall: Recall) -> Evaluation:
    questions = dict.fromkeys(QuestionKind, 0)
    successes = dict.fromkeys(QuestionKind, 0)
    misses: list[Miss] = []
    filtered_hits = kept_hits = 0
    for each in outcomes:
        questions[each.item.kind] += 1
        if any(each.item.is_answered_by(hit) for hit in each.hits):
            successes[each.item.kind] += 1
        else:
            misses.append(Miss(each.item, each.hits[0] if each.hits else None))
        if each.filtered:
            filtered_hits += len(each.filtered)
            kept_hits += int(DocumentColumns(each.filtered).keep(each.condition).sum())
    interval = None
    if outcomes:
        ends = wilson_interval(
            np.array([sum(successes.values())], np.float64), np.array([len(outcomes)], np.float64)
        )
        interval = (float(ends.low[0]), float(ends.high[0]))
    return Evaluation(
        questions,
        successes,
        interval,
        filtered_hits,
        kept_hits,
        recall,
        misses[:MAXIMUM_MISSES],
    )


def _scope(org: str, condition: Condition) -> SearchScope:
    start, end = condition.days or (None, None)
    kinds: Collection[DocumentKind] = () if condition.kind is None else (condition.kind,)
    return SearchScope(
        org=org,
        kinds=kinds,
        where=_where(condition),
        start_date=start,
        end_date=end,
        minimum_quality=condition.minimum_quality,
    )


def _where(condition: Condition) -> Filter | None:
    terms = tuple(
        Comparison(name, Operator.EQUAL, value)
        for name in ("platform", "level", "account_id", "scope")
        if (value := getattr(condition, name)) is not None
    )
    return And(terms) if len(terms) > 1 else next(iter(terms), None)
