"""Relevance: exact search to compare an index with, and conditions that hits have to keep.

Exact search takes documents page by page and keeps the ten best scores of each query alone, so that
its memory does not grow with the collection.
"""

import math
import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt

from liftos_memory.domain.documents import Document, DocumentKind

NEAREST: Final = 10
"""Documents that recall looks at, for each query."""

_EQUAL_COSINE: Final = 1e-5
"""Cosines closer than that are equal: products of 32-bit numbers differ by the order of sums."""

Floats = npt.NDArray[np.float32]
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Condition:
    """What a filtered search asks of documents; what is None is not asked.

    Attributes:
        kind: Their kind.
        platform: Their object's platform.
        level: Their object's level.
        account_id: Their object's account.
        scope: Their record's scope.
        days: First and last day of a range that they touch.
        minimum_quality: Their least quality.
    """

    kind: DocumentKind | None = None
    platform: str | None = None
    level: str | None = None
    account_id: str | None = None
    scope: str | None = None
    days: tuple[date, date] | None = None
    minimum_quality: float | None = None


NO_CONDITION: Final = Condition()


class DocumentColumns:
    """Documents as columns, for conditions on many at once."""

    def __init__(self, documents: Sequence[Document]) -> None:
        keys = [document.key for document in documents]
        self._texts = {
            "platform": _texts(key.platform if key else "" for key in keys),
            "level": _texts(key.level if key else "" for key in keys),
            "account_id": _texts(key.account_id if key else "" for key in keys),
            "scope": _texts(document.scope for document in documents),
            "kind": _texts(document.kind.value for document in documents),
        }
        self._starts = np.array([each.start_date for each in documents], "datetime64[D]")
        self._ends = np.array([each.end_date for each in documents], "datetime64[D]")
        self._quality = np.array(
            [math.nan if each.quality_score is None else each.quality_score for each in documents],
            np.float64,
        )

    def keep(self, condition: Condition) -> Booleans:
        """Return which documents keep a condition."""
        kept = np.ones(len(self._starts), np.bool_)
        for name, values in self._texts.items():
            asked = getattr(condition, name)
            if asked is not None:
                kept &= values == (asked.value if isinstance(asked, DocumentKind) else asked)
        if condition.days is not None:
            kept &= self._starts <= np.datetime64(condition.days[1])
            kept &= self._ends >= np.datetime64(condition.days[0])
        if condition.minimum_quality is not None:
            # What has none is not a number, and that is not at least anything.
            kept &= self._quality >= condition.minimum_quality
        return kept


def drawn_condition(document: Document, *, seed: int) -> Condition:
    """Return one or two conditions that a document keeps and others may not, by the seed alone."""
    draw = random.Random(f"{seed} {document.document_id}")  # noqa: S311
    facets: list[tuple[str, object]] = [
        ("kind", document.kind),
        ("days", (document.start_date, document.end_date)),
    ]
    if document.key is not None:
        facets += [
            ("platform", document.key.platform),
            ("level", document.key.level),
            ("account_id", document.key.account_id),
        ]
    if document.scope:
        facets.append(("scope", document.scope))
    if document.quality_score is not None:
        facets.append(("minimum_quality", math.floor(document.quality_score * 20) / 20))
    return Condition(**dict(draw.sample(facets, draw.choice((1, 2)))))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Recall:
    """What an index found of what it should have.

    Attributes:
        found_count: Documents that it gave and that are among the nearest.
        expected_count: Documents that there were to find: ten for each query, or all in scope.
        document_count: Documents that were compared.
    """

    found_count: int
    expected_count: int
    document_count: int


class ExactSearch:
    """Exact search over the vectors that an index was made of, to be compared with its answers.

    A document that is as near as the tenth counts as found: which of several equal ones comes first
    is nobody's fault. One that the search was not to see does not count, nor does one that is
    not there.

    Args:
        queries: Vectors of length 1, shape (queries, dimension).
        conditions: What each query asks of documents.
        served: Ids that the index gave to each query, at most ten.
    """

    def __init__(
        self,
        queries: Floats,
        conditions: Sequence[Condition],
        served: Sequence[Collection[str]],
    ) -> None:
        self._queries = queries
        self._conditions = conditions
        self._places: dict[str, list[int]] = {}
        for query, document_ids in enumerate(served):
            for document_id in set(document_ids):
                self._places.setdefault(document_id, []).append(query)
        self._served: list[list[float]] = [[] for _ in served]
        self._nearest = np.full((len(queries), NEAREST), -np.inf, np.float32)
        self._in_scope = np.zeros(len(queries), np.int64)
        self._document_count = 0

    def add(self, documents: Sequence[Document], vectors: Floats) -> None:
        """Compare more documents, with their vectors of length 1 in the same order."""
        columns = DocumentColumns(documents)
        masks: dict[Condition, Booleans] = {
            condition: columns.keep(condition) for condition in set(self._conditions)
        }
        scores = self._queries @ vectors.T
        for query, condition in enumerate(self._conditions):
            if condition != NO_CONDITION:
                scores[query, ~masks[condition]] = -np.inf
            self._in_scope[query] += int(masks[condition].sum())
        for place, document in enumerate(documents):
            for query in self._places.get(document.document_id, ()):
                self._served[query].append(float(scores[query, place]))
        together = np.concatenate([self._nearest, scores], axis=1)
        self._nearest = np.partition(together, -NEAREST, axis=1)[:, -NEAREST:]
        self._document_count += len(documents)

    def recall(self) -> Recall:
        """Return what the index found, over all queries."""
        expected = np.minimum(self._in_scope, NEAREST)
        found = 0
        for query, scores in enumerate(self._served):
            if expected[query]:
                furthest = np.sort(self._nearest[query])[-expected[query]]
                near = sum(score >= furthest - _EQUAL_COSINE for score in scores)
                found += min(near, int(expected[query]))
        return Recall(found, int(expected.sum()), self._document_count)


def _texts(values: Iterable[str]) -> npt.NDArray[np.object_]:
    return np.array(list(values), np.object_)
