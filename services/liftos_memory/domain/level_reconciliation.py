"""Levels against each other: whether the objects of a level add up to the one above.

Compared are the sums of an account's day, of one attribution, date basis and currency, without
breakdowns. A level is meant to be whole below each object that has any entries there: a campaign
without ad groups (Performance Max) is left aside, an account of whose campaigns one is missing is
not. A metric is compared below the objects where every entry of both levels has it; null is not
zero. Which of two levels is wrong cannot be told from them, so the finding is one of both.
"""

from dataclasses import dataclass
from typing import Final

from liftos_memory.domain.quality import QualityIssue, issue

TOLERANCE: Final = 0.01
"""Share of the larger sum by which levels may differ: they are read minutes apart, and rounded by
row."""

LEAST_DIFFERENCE: Final = 1
"""Units of a metric (money, conversions, counts) by which they may differ in any case."""


@dataclass(frozen=True, slots=True)
class LevelPair:
    """Two levels of which the lower adds up to the upper.

    Attributes:
        above: The upper level.
        below: The lower one.
        parent_ids: Columns of the id of the upper object, which entries of both have.
    """

    above: str
    below: str
    parent_ids: tuple[str, ...]


LEVEL_PAIRS: Final = (
    LevelPair("ACCOUNT", "CAMPAIGN", ()),
    LevelPair("CAMPAIGN", "AD_GROUP", ("campaign_id",)),
    LevelPair("AD_GROUP", "AD", ("campaign_id", "ad_group_id")),
    LevelPair("FLOW", "MESSAGE", ("flow_id",)),
)

RECONCILED_METRICS: Final = (
    "spend_micros",
    "impressions",
    "clicks",
    "conversions_micros",
    "revenue_micros",
    "sent",
    "delivered",
)
"""Metrics that add up over the objects of a level."""


def pairs_of(levels: set[str]) -> tuple[LevelPair, ...]:
    """Return the pairs that have one of these levels."""
    return tuple(it for it in LEVEL_PAIRS if {it.above, it.below} & levels)


def level_issues(metrics: str) -> tuple[QualityIssue, ...]:
    """Return the findings of a day on which these metrics do not add up; joined by commas."""
    names = sorted(set(metrics.split(",")) - {""})
    return tuple(issue("LEVEL_MISMATCH", name) for name in names)
