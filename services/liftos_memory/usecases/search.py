"""Search: legs over the index, fused, with what stands behind each hit."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Final, assert_never

import structlog

from liftos_kit.core.errors import InvalidFieldsError, StaleReadError, StoreUnavailableError
from liftos_memory.document_ports import DocumentStore, ObjectMetrics
from liftos_memory.domain.concept_lexicon import wished
from liftos_memory.domain.concepts import Concept, Targets, explain_concepts, explain_targets
from liftos_memory.domain.corrections import Reading, explain_corrections
from liftos_memory.domain.documents import (
    Document,
    DocumentKind,
    ObjectKey,
    document_id,
    own_id,
)
from liftos_memory.domain.fusion import (
    FusedHit,
    FusionMethod,
    Leg,
    SearchMode,
    explain,
    fuse,
)
from liftos_memory.domain.highlights import Highlight, highlight
from liftos_memory.domain.knowledge import MAXIMUM_RELATED, explain_path
from liftos_memory.domain.lexical import (
    lexical_terms,
    note_of_meaning,
    note_of_script,
    note_of_words,
)
from liftos_memory.object_ports import ObjectStore, Related
from liftos_memory.search_ports import DocumentIndex, Embedder, SearchScope
from liftos_memory.usecases.query_reading import of_other_days, read_query

LEG_DEPTH: Final = 200
"""Hits that each leg gives to the fusion; no page goes deeper."""

_POLL_SECONDS: Final = 0.05
_OF_WORDS: Final = frozenset({SearchMode.LEXICAL, SearchMode.KNOWLEDGE})
_OF_OBJECTS: Final = (SearchMode.CONCEPTUAL, SearchMode.KNOWLEDGE)
_LONG_CHARACTERS: Final = 20_000
"""More text than that is highlighted beside the event loop."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.search")


class LegOutcome(StrEnum):
    """What became of a leg."""

    ANSWERED = "answered"
    FAILED = "failed"


OnLeg = Callable[[SearchMode, LegOutcome, float], None]
"""Told of each leg: what became of it, and the seconds it took."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A ranked query.

    Attributes:
        query: What is looked for; may be empty with `like`.
        scope: Which documents may be seen.
        weights: The legs and their weights.
        method: How legs become one order.
        metrics_range: Days of the metrics beside hits; None is each document's own.
        like: What hits resemble; its one leg is CONCEPTUAL.
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
    like: ObjectKey | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """One result with what stands behind it.

    Attributes:
        fused: Its score.
        document: What was found.
        highlights: Pieces that match.
        explanation: Why it is here.
        metrics: Sums of its object; None for a document without one.
        metrics_range: Days of the sums.
        concepts: Where its object stands.
    """

    fused: FusedHit
    document: Document
    highlights: tuple[Highlight, ...]
    explanation: str
    metrics: ObjectMetrics | None
    metrics_range: tuple[date, date]
    concepts: Sequence[Concept]


@dataclass(frozen=True, slots=True)
class LegReport:
    """What a leg did: how many documents it found, what to know of it, whether it failed."""

    mode: SearchMode
    hit_count: int
    note: str
    failed: bool


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A page of hits.

    Attributes:
        hits: The hits.
        has_more: Whether there are more.
        indexed_version: The version up to which the index had followed.
        legs: What each leg did.
        targets: What was wished for by dimension; empty where nothing.
    """

    hits: Sequence[Hit]
    has_more: bool
    indexed_version: int
    legs: Sequence[LegReport]
    targets: Targets


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a leg said.

    Attributes:
        leg: Its hits.
        note: What to know of it.
        details: What it has to say of hits, by document.
        error: Why it failed.
    """

    leg: Leg
    note: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    error: StoreUnavailableError | None = None


class Search:
    """Ranks documents.

    Args:
        store: Documents as the record of truth has them.
        objects: Objects with what they are like and how they are related.
        index: What is searched.
        embedder: Gives the vector of a query.
        executor: Where long texts are highlighted.
        on_leg: Told of each leg.
    """

    def __init__(
        self,
        store: DocumentStore,
        objects: ObjectStore,
        index: DocumentIndex,
        embedder: Embedder,
        *,
        executor: Executor,
        on_leg: OnLeg,
    ) -> None:
        self._store = store
        self._objects = objects
        self._index = index
        self._embedder = embedder
        self._executor = executor
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
        leg answers. So does a leg that the query gives nothing to look for.

        Raises:
            InvalidFieldsError: There is nothing to look for.
            StoreUnavailableError: No leg answers.
        """
        org = request.scope.org
        targets = await self._targets(request)
        indexed_version, reading = await asyncio.gather(
            self._store.indexed_version(org), self._read(request)
        )
        answers = await self._ask(request, reading, targets)
        answer = fuse(
            [each.leg for each in answers],
            method=request.method,
            # A leg by itself ranks by what it measures alone.
            of_other_days=of_other_days(request.query if len(answers) > 1 else ""),
        )
        found = await self._first(request, answer.hits)
        page = found[request.offset : request.offset + request.limit]
        metrics, concepts, highlights = await asyncio.gather(
            self._metrics(request, [document for _, document in page]),
            self._concepts(org, [document for _, document in page]),
            self._highlights(reading.text, [document for _, document in page]),
        )
        empty = {
            each.leg.mode: each.note
            for each in answers
            if each.leg.hits is not None and not each.leg.hits and each.note
        }
        hits = [
            Hit(
                fused,
                document,
                pieces,
                explain(
                    fused,
                    failed=answer.failed,
                    empty=empty,
                    details=_details(answers, fused.document_id, places, targets),
                    matched_words=_words(pieces),
                ),
                metrics.get(fused.document_id),
                _metrics_range(request, document),
                places,
            )
            for (fused, document), pieces in zip(page, highlights, strict=True)
            for places in (concepts.get(_object_id(document), ()),)
        ]
        return SearchResult(
            hits,
            len(found) > request.offset + request.limit,
            indexed_version,
            [
                LegReport(each.leg.mode, len(each.leg.hits or ()), each.note, each.leg.hits is None)
                for each in answers
            ],
            targets,
        )

    async def _first(
        self, request: SearchRequest, hits: Sequence[FusedHit]
    ) -> list[tuple[FusedHit, Document]]:
        """Return hits with their documents, at least one more than the page goes if there is one.

        The record of truth has the last word on what exists.
        """
        wanted = request.offset + request.limit + 1
        found: dict[object, tuple[FusedHit, Document]] = {}
        position, size = 0, wanted
        while position < len(hits) and len(found) < wanted:
            part = hits[position : position + size]
            documents = await self._store.fetch(
                request.scope.org, [hit.document_id for hit in part]
            )
            for hit in part:
                document = documents.get(hit.document_id)
                if document is not None:
                    key = document.key if request.group_by_object else None
                    found.setdefault(key or hit.document_id, (hit, document))
            position, size = position + size, 2 * size
        return list(found.values())

    async def _targets(self, request: SearchRequest) -> Targets:
        """Return what is wished for by dimension."""
        if request.like is not None:
            return await self._targets_of(request.scope.org, request.like, request.query)
        if not request.query.strip():
            raise InvalidFieldsError.of("query", "say what to look for", rule="required")
        if SearchMode.CONCEPTUAL not in request.weights:
            return {}
        targets = wished(request.query)
        if not targets and len(request.weights) == 1:
            raise InvalidFieldsError.of("query", f"{_NO_CONCEPT}; {_WRITE_CONCEPTS}")
        return targets

    async def _targets_of(self, org: str, like: ObjectKey, query: str) -> Targets:
        """Return where an object stands, in the dimensions that the query names or in all."""
        object_id = document_id(DocumentKind.PROFILE, like)
        places = (await self._objects.concepts(org, [object_id])).get(object_id)
        if places is None:
            if await self._objects.is_known(org, object_id):
                raise InvalidFieldsError.of(
                    "like", "is not compared with others yet; try again when the load is done"
                )
            raise InvalidFieldsError.of("like", "names no object that has entries")
        named = wished(query) if query.strip() else None
        if named is not None and not named:
            raise InvalidFieldsError.of(
                "query", f"{_NO_CONCEPT}; {_WRITE_CONCEPTS}, or leave it empty"
            )
        targets = {
            place.dimension: place.percentile
            for place in places
            if named is None or place.dimension in named
        }
        if not targets:
            raise InvalidFieldsError.of("query", "names dimensions that like has no data for")
        return targets

    async def _read(self, request: SearchRequest) -> Reading:
        """Return the query as legs of words read it."""
        if not _OF_WORDS.isdisjoint(request.weights):
            return await read_query(request.scope.org, request.query, self._objects, self._index)
        return Reading(request.query)

    async def _ask(
        self, request: SearchRequest, reading: Reading, targets: Targets
    ) -> list[_Answer]:
        """Ask all legs; those of objects last, since they also score what the others found."""
        modes = list(request.weights)
        answers = list(
            await asyncio.gather(
                *(
                    self._leg(mode, request, reading, targets, ())
                    for mode in modes
                    if mode not in _OF_OBJECTS
                )
            )
        )
        also = {hit.document_id for answer in answers for hit in answer.leg.hits or ()}
        answers += await asyncio.gather(
            *(
                self._leg(mode, request, reading, targets, also)
                for mode in modes
                if mode in _OF_OBJECTS
            )
        )
        errors = [answer.error for answer in answers if answer.error is not None]
        if len(errors) == len(answers):
            raise errors[0]
        return answers

    async def _leg(
        self,
        mode: SearchMode,
        request: SearchRequest,
        reading: Reading,
        targets: Targets,
        also: Collection[str],
    ) -> _Answer:
        weight = request.weights[mode]
        started = time.perf_counter()
        try:
            match mode:
                case SearchMode.NEURAL:
                    answer = await self._neural(weight, request)
                case SearchMode.LEXICAL:
                    answer = await self._lexical(weight, request, reading)
                case SearchMode.CONCEPTUAL:
                    answer = await self._conceptual(weight, request, targets, also)
                case SearchMode.KNOWLEDGE:
                    answer = await self._knowledge(weight, request, reading, also)
                case _:
                    assert_never(mode)
        except StoreUnavailableError as error:
            self._on_leg(mode, LegOutcome.FAILED, time.perf_counter() - started)
            _log.warning("search_leg_failed", leg=mode.value.lower(), store=error.store)
            return _Answer(
                Leg(mode, weight, None), "did not answer, and added nothing", error=error
            )
        self._on_leg(mode, LegOutcome.ANSWERED, time.perf_counter() - started)
        return answer

    async def _neural(self, weight: float, request: SearchRequest) -> _Answer:
        vector = await self._embedder.embed_query(request.query)
        hits = await self._index.search_dense(request.scope, vector, LEG_DEPTH)
        note = note_of_script(request.query) or note_of_meaning(request.query)
        return _Answer(Leg(SearchMode.NEURAL, weight, hits), note)

    async def _lexical(self, weight: float, request: SearchRequest, reading: Reading) -> _Answer:
        hits = await self._index.search_lexical(request.scope, reading.text, LEG_DEPTH)
        corrected = explain_corrections(reading.corrections)
        note = note_of_words(request.query) or ("" if hits else _NO_WORD)
        return _Answer(
            Leg(SearchMode.LEXICAL, weight, hits),
            "; ".join(filter(None, (corrected, note))),
            {hit.document_id: corrected for hit in hits if corrected},
        )

    async def _conceptual(
        self, weight: float, request: SearchRequest, targets: Targets, also: Collection[str]
    ) -> _Answer:
        if not targets:
            return _Answer(Leg(SearchMode.CONCEPTUAL, weight, []), _NO_CONCEPT)
        hits = await self._objects.search_conceptual(
            request.scope, targets, LEG_DEPTH, also=also, like=request.like
        )
        asked = explain_targets(targets)
        note = f"looked for {asked}" if hits else f"no object in scope is known for {asked}"
        return _Answer(Leg(SearchMode.CONCEPTUAL, weight, hits), note)

    async def _knowledge(
        self, weight: float, request: SearchRequest, reading: Reading, also: Collection[str]
    ) -> _Answer:
        terms = set(lexical_terms(reading.text))
        related = await self._objects.search_knowledge(request.scope, terms, LEG_DEPTH, also=also)
        return _Answer(
            Leg(SearchMode.KNOWLEDGE, weight, related.hits),
            _note_of_beginnings(related),
            {each: explain_path(path) for each, path in related.paths.items()},
        )

    async def _concepts(
        self, org: str, page: Sequence[Document]
    ) -> Mapping[str, Sequence[Concept]]:
        object_ids = {_object_id(document) for document in page} - {""}
        return await self._objects.concepts(org, object_ids)

    async def _highlights(
        self, query: str, page: Sequence[Document]
    ) -> list[tuple[Highlight, ...]]:
        def find() -> list[tuple[Highlight, ...]]:
            return [highlight(document.text, query) for document in page]

        if sum(len(document.text) for document in page) > _LONG_CHARACTERS:
            return await asyncio.get_running_loop().run_in_executor(self._executor, find)
        return find()

    async def _metrics(
        self, request: SearchRequest, page: Sequence[Document]
    ) -> Mapping[str, ObjectMetrics]:
        wanted = {
            document.document_id: (
                document.key,
                *_metrics_range(request, document),
            )
            for document in page
            # What is about a whole platform has no entries of its own.
            if document.key is not None and own_id(document.key)
        }
        sums = await self._store.metrics(request.scope.org, list(wanted.values()))
        return dict(zip(wanted, sums, strict=True))


def _metrics_range(request: SearchRequest, document: Document) -> tuple[date, date]:
    return request.metrics_range or (document.start_date, document.end_date)


def _object_id(document: Document) -> str:
    return "" if document.key is None else document_id(DocumentKind.PROFILE, document.key)


def _details(
    answers: Sequence[_Answer], found_id: str, places: Sequence[Concept], targets: Targets
) -> Mapping[SearchMode, str]:
    details = {
        answer.leg.mode: answer.details[found_id]
        for answer in answers
        if found_id in answer.details
    }
    if targets and places:
        details[SearchMode.CONCEPTUAL] = explain_concepts(places, targets)
    return details


def _note_of_beginnings(related: Related) -> str:
    if not related.beginnings:
        return "no object's name or id has a word of the query"
    first, *more = related.beginnings
    note = f"began at {first}" + (f" and {len(more)} more" if more else "")
    if not related.hits:
        note = f"{note}, but nothing related is in scope"
    if related.is_cut:
        note = f"{note}; of more than {MAXIMUM_RELATED:,} related objects the nearest were taken"
    return note


def _words(highlights: Sequence[Highlight]) -> list[str]:
    return [piece.snippet[span.start : span.end] for piece in highlights for span in piece.spans]


_NO_WORD: Final = "no document in scope has a word of the query"
_NO_CONCEPT: Final = "no word of the query names a dimension"
_WRITE_CONCEPTS: Final = "write words such as “large”, “growing” or “low cost”"
