"""Fusion: how the answers of several ways to search become one order that explains itself.

WEIGHTED_MIN_MAX spreads each leg's scores over 0 to 1 — (s - min) / (max - min) over the hits that
the leg gave, 1 where all are the same — and adds them by weight. RECIPROCAL_RANK adds
weight / (60 + rank), after Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms
Condorcet and individual rank learning methods" (SIGIR 2009).

A document about other days than the query names counts half in every leg, where the caller says
so: the right week of an object then stands before its other weeks, and still below what fits far
better.

Weights are scaled to a sum of 1 over the legs that were asked for. They are not scaled again when
a leg fails or finds nothing: it adds 0, so that scores mean the same with and without it, and the
answer names the legs that were used and those that failed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, assert_never

RECIPROCAL_RANK_CONSTANT: Final = 60
"""Keeps the first ranks of one leg from outweighing agreement between legs."""


OTHER_DAYS_SHARE: Final = 0.5
"""What a document counts that is about other days than the query names."""


class SearchMode(Enum):
    """One way to rank; the names are those of the contract."""

    NEURAL = "NEURAL"
    LEXICAL = "LEXICAL"
    CONCEPTUAL = "CONCEPTUAL"
    KNOWLEDGE = "KNOWLEDGE"


class FusionMethod(Enum):
    """How legs become one score; the names are those of the contract."""

    WEIGHTED_MIN_MAX = "WEIGHTED_MIN_MAX"
    RECIPROCAL_RANK = "RECIPROCAL_RANK"


DEFAULT_WEIGHTS: Final[Mapping[SearchMode, float]] = {
    SearchMode.NEURAL: 0.5,
    SearchMode.LEXICAL: 0.5,
}
"""Legs of a hybrid search and their weights where the request gives none."""


@dataclass(frozen=True, slots=True)
class LegHit:
    """A document as one leg found it; a higher raw score is better."""

    document_id: str
    raw_score: float


@dataclass(frozen=True, slots=True)
class Leg:
    """What one leg answered.

    Attributes:
        mode: The way it ranks.
        weight: Its share before scaling, at least 0.
        hits: What it found, in any order, each document once; None where it failed.
    """

    mode: SearchMode
    weight: float
    hits: Sequence[LegHit] | None


@dataclass(frozen=True, slots=True)
class LegShare:
    """What one leg said about a hit.

    Attributes:
        mode: The leg.
        rank: Place in the leg, from 1.
        raw_score: What the leg measured.
        weight: The leg's weight, scaled to a sum of 1 over all legs.
        contribution: What the leg added to the score; half of it for other days than asked.
    """

    mode: SearchMode
    rank: int
    raw_score: float
    weight: float
    contribution: float


@dataclass(frozen=True, slots=True)
class FusedHit:
    """A document with its score, 0 to 1, and the legs that found it, in the order of the modes.

    Attributes:
        document_id: The document.
        score: Sum of what the legs added.
        legs: The legs.
        is_of_other_days: Whether it counts half, as about other days than the query names.
    """

    document_id: str
    score: float
    legs: tuple[LegShare, ...]
    is_of_other_days: bool = False


@dataclass(frozen=True, slots=True)
class FusedAnswer:
    """Hits from best to worst, and which legs they rest on.

    Attributes:
        hits: Every document that a leg found; equal scores stand in the order of their ids.
        used: Legs that answered, also those that found nothing.
        failed: Legs that did not answer; they added nothing.
    """

    hits: tuple[FusedHit, ...]
    used: tuple[SearchMode, ...]
    failed: tuple[SearchMode, ...]


def fuse(
    legs: Sequence[Leg],
    *,
    method: FusionMethod = FusionMethod.WEIGHTED_MIN_MAX,
    of_other_days: Callable[[str], bool] = lambda _: False,
) -> FusedAnswer:
    """Bring the answers of several legs into one order.

    The order of the legs and of their hits does not matter.

    Args:
        legs: What the legs answered.
        method: How scores of legs become parts of one.
        of_other_days: Tells by its id which document is about other days than the query names.

    Raises:
        ValueError: A mode stands twice, a weight is negative or not finite, all weights are 0, a
            leg holds a document twice, or a raw score is not finite.
    """
    ordered = sorted(legs, key=lambda leg: _MODE_ORDER[leg.mode])
    weights = _scaled_weights(ordered)
    shares: dict[str, list[LegShare]] = {}
    for leg in ordered:
        for document_id, share in _shares(leg, weights[leg.mode], method):
            shares.setdefault(document_id, []).append(share)
    hits = [
        _fused(document_id, found, is_of_other_days=of_other_days(document_id))
        for document_id, found in shares.items()
    ]
    hits.sort(key=lambda hit: (-hit.score, hit.document_id))
    return FusedAnswer(
        hits=tuple(hits),
        used=tuple(leg.mode for leg in ordered if leg.hits is not None),
        failed=tuple(leg.mode for leg in ordered if leg.hits is None),
    )


def explain(
    hit: FusedHit,
    *,
    failed: Sequence[SearchMode] = (),
    empty: Mapping[SearchMode, str] | None = None,
    details: Mapping[SearchMode, str] | None = None,
    matched_words: Sequence[str] = (),
) -> str:
    """Say in one sentence why a hit is where it is.

    Args:
        hit: The hit.
        failed: Legs of its answer that failed.
        empty: Legs of its answer that found nothing, and why.
        details: What else legs have to say of the hit.
        matched_words: Words of the document that the query names, as a reader sees them.
    """
    told = details or {}
    reasons = [
        f"rank {share.rank} {_BY[share.mode]} ({_MEASURE[share.mode]} {share.raw_score:.3g},"
        f" adds {share.contribution:.3f}{f'; {told[share.mode]}' if share.mode in told else ''})"
        for share in hit.legs
    ]
    sentence = f"Score {hit.score:.3f}: {' and '.join(reasons)}"
    if hit.is_of_other_days:
        sentence += "; it is about other days than the query names, and counts half"
    if matched_words:
        words: dict[str, str] = {}
        for word in matched_words:
            words.setdefault(word.casefold(), word)
        sentence += f"; it names {', '.join(words.values())}"
    for mode, why in (empty or {}).items():
        sentence += f"; {mode.value} added 0: {why}"
    if failed:
        sentence += f"; {' and '.join(mode.value for mode in failed)} did not answer and added 0"
    return f"{sentence}."


_MODE_ORDER: Final[Mapping[SearchMode, int]] = {mode: i for i, mode in enumerate(SearchMode)}
_BY: Final[Mapping[SearchMode, str]] = {
    SearchMode.NEURAL: "by meaning",
    SearchMode.LEXICAL: "by words",
    SearchMode.CONCEPTUAL: "by named dimensions",
    SearchMode.KNOWLEDGE: "by related objects",
}
_MEASURE: Final[Mapping[SearchMode, str]] = {
    SearchMode.NEURAL: "cosine",
    SearchMode.LEXICAL: "BM25",
    SearchMode.CONCEPTUAL: "closeness",
    SearchMode.KNOWLEDGE: "nearness",
}


def _scaled_weights(legs: Sequence[Leg]) -> Mapping[SearchMode, float]:
    weights = {leg.mode: leg.weight for leg in legs}
    if len(weights) != len(legs):
        raise ValueError("each mode may stand for one leg only")
    if any(not math.isfinite(weight) or weight < 0 for weight in weights.values()):
        raise ValueError("weights are finite and at least 0")
    total = math.fsum(weights.values())
    if not 0 < total < math.inf:
        raise ValueError("at least one leg needs a weight above 0")
    return {mode: weight / total for mode, weight in weights.items()}


def _shares(leg: Leg, weight: float, method: FusionMethod) -> list[tuple[str, LegShare]]:
    hits = sorted(leg.hits or (), key=lambda hit: (-hit.raw_score, hit.document_id))
    if len({hit.document_id for hit in hits}) != len(hits):
        raise ValueError(f"the leg {leg.mode.value} holds a document twice")
    if not all(math.isfinite(hit.raw_score) for hit in hits):
        raise ValueError(f"the leg {leg.mode.value} holds a score that is not finite")
    match method:
        case FusionMethod.WEIGHTED_MIN_MAX:
            parts = _min_max([hit.raw_score for hit in hits])
        case FusionMethod.RECIPROCAL_RANK:
            parts = [1 / (RECIPROCAL_RANK_CONSTANT + rank) for rank in range(1, len(hits) + 1)]
        case _:
            assert_never(method)
    return [
        (hit.document_id, LegShare(leg.mode, rank, hit.raw_score, weight, weight * part))
        for rank, (hit, part) in enumerate(zip(hits, parts, strict=True), start=1)
    ]


def _fused(document_id: str, shares: Sequence[LegShare], *, is_of_other_days: bool) -> FusedHit:
    if is_of_other_days:
        shares = [
            replace(share, contribution=OTHER_DAYS_SHARE * share.contribution) for share in shares
        ]
    return FusedHit(
        document_id,
        min(1.0, math.fsum(share.contribution for share in shares)),
        tuple(shares),
        is_of_other_days,
    )


def _min_max(descending: Sequence[float]) -> list[float]:
    """Spread scores, best first, over 0 to 1."""
    if not descending:
        return []
    highest, lowest = descending[0], descending[-1]
    if highest == lowest:
        return [1.0] * len(descending)
    # Halves keep the distance of two huge numbers finite.
    span = highest / 2 - lowest / 2
    if span == 0.0:
        return [1.0] * len(descending)
    return [(score / 2 - lowest / 2) / span for score in descending]
