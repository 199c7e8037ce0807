"""Measures of rankings against judgements, with bootstrap intervals.

As trec_eval has them: nDCG adds relevance / log2(rank + 1) and divides by what the best order would
give (Järvelin and Kekäläinen 2002); reciprocal rank is that of the first document that answers, 0
where none is among the first ten; recall is the share of all that answer. Relevance below 0 is 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

DEPTH: Final = 100
"""Documents that are looked at for each query."""

CONFIDENCE: Final = 0.95

_FIRST: Final = 10
_RESAMPLES: Final = 10_000
_SEED: Final = 20_261_125
_DRAWS_AT_ONCE: Final = 2_000_000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measure:
    """A mean over queries, with the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


def measure(
    rankings: Mapping[str, Sequence[str]], judgements: Mapping[str, Mapping[str, int]]
) -> dict[str, Measure]:
    """Return `ndcg_at_10`, `mrr_at_10` and `recall_at_100` over all judged queries.

    Args:
        rankings: Ids of documents by query, best first; a query that is absent found nothing.
        judgements: Relevance by document for each query, at least one and at least one above 0.
    """
    scores = np.array(
        [_scores(rankings.get(query, ()), judged) for query, judged in judgements.items()],
        np.float64,
    )
    means = scores.mean(axis=0)
    low, high = _interval(scores)
    return {
        name: Measure(float(means[place]), float(low[place]), float(high[place]))
        for place, name in enumerate(("ndcg_at_10", "mrr_at_10", "recall_at_100"))
    }


def _scores(ranking: Sequence[str], judged: Mapping[str, int]) -> tuple[float, float, float]:
    gains = np.array([max(judged.get(each, 0), 0) for each in ranking[:DEPTH]], np.float64)
    ideal = np.sort(np.maximum(np.array(list(judged.values()), np.float64), 0.0))[::-1]
    answering = np.flatnonzero(gains[:_FIRST])
    return (
        _discounted(gains) / _discounted(ideal),
        1.0 / (answering[0] + 1) if answering.size else 0.0,
        np.count_nonzero(gains) / np.count_nonzero(ideal),
    )


def _discounted(gains: Floats) -> float:
    first = gains[:_FIRST]
    return float(np.sum(first / np.log2(np.arange(2, first.size + 2))))


def _interval(scores: Floats) -> tuple[Floats, Floats]:
    """Return the ends of the percentile bootstrap interval of the means of columns (Efron 1979)."""
    draw = np.random.default_rng(_SEED)
    count = len(scores)
    rounds = max(1, _DRAWS_AT_ONCE // count)
    means: list[Floats] = []
    for start in range(0, _RESAMPLES, rounds):
        drawn = draw.integers(0, count, (min(rounds, _RESAMPLES - start), count))
        means.append(np.stack([column[drawn].mean(axis=1) for column in scores.T], axis=1))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    return low, high
