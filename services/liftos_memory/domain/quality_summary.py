"""The quality of many entries at once: lowest and mean score, and what was found.

An object's day is scored like an entry, from the issues of its entries and from whether its level
adds up (`level_reconciliation`), which no entry can know of itself.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from liftos_memory.domain.level_reconciliation import level_issues
from liftos_memory.domain.quality import (
    WEIGHTS_PERCENT,
    QualityIssue,
    decode_issues,
    quality_of,
)


@dataclass(frozen=True, slots=True)
class ScoredEntries:
    """Entries that have the same issues.

    Attributes:
        issues: Their issues as stored; empty for none.
        mismatched: Metrics of their days that do not add up between levels, joined by commas.
        entry_count: How many they are.
    """

    issues: str
    mismatched: str
    entry_count: int


@dataclass(frozen=True, slots=True)
class CountedIssue:
    """An issue, and how many entries have it."""

    issue: QualityIssue
    entry_count: int


@dataclass(frozen=True, slots=True)
class QualitySummary:
    """The quality of entries.

    Attributes:
        entry_count: How many they are, at least one.
        minimum_score: The lowest score of an object's day, 0 to 1.
        mean_score: The mean over entries.
        issues: What was found, what costs most of a score first.
    """

    entry_count: int
    minimum_score: float
    mean_score: float
    issues: tuple[CountedIssue, ...]


def summarise(groups: Iterable[ScoredEntries]) -> QualitySummary | None:
    """Return the quality of entries; None where there are none."""
    scores: Counter[float] = Counter()
    found: Counter[QualityIssue] = Counter()
    for group in groups:
        issues = (*decode_issues(group.issues or None), *level_issues(group.mismatched))
        scores[quality_of(issues).score] += group.entry_count
        for it in set(issues):
            found[it] += group.entry_count
    entry_count = scores.total()
    if not entry_count:
        return None
    ordered = sorted(
        found.items(),
        key=lambda it: (
            -WEIGHTS_PERCENT[it[0].part] * it[0].cost_permille,
            -it[1],
            it[0].code,
            it[0].field,
        ),
    )
    return QualitySummary(
        entry_count=entry_count,
        minimum_score=min(scores),
        mean_score=math.fsum(score * count for score, count in scores.items()) / entry_count,
        issues=tuple(CountedIssue(it, count) for it, count in ordered),
    )
