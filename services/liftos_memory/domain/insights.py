"""Insights: findings over the complete store, with what is needed to find them again."""

import hashlib
from dataclasses import dataclass, fields
from datetime import date
from enum import IntEnum
from typing import Final

import numpy as np

from liftos_kit.core.filters import (
    And,
    Comparison,
    FieldType,
    Filter,
    FilterField,
    Not,
    Operator,
    Or,
)
from liftos_kit.notify.topic import Topic
from liftos_mapping.entry_fields import DATE_BASES, LEVELS
from liftos_memory.domain.documents import ObjectKey, ObjectNames
from liftos_memory.domain.metrics_query import Granularity
from liftos_memory.domain.quality import QualityIssue

ALPHA: Final = 0.05
"""Share of false discoveries that is accepted among what a run tells."""

ORIGIN: Final = "insights"
"""What commits of insights are marked with."""

INSIGHTS: Final = Topic("insight")
"""What people are told of by routes."""


class InsightKind(IntEnum):
    """What was looked for; the numbers are the contract's."""

    TREND = 1
    ANOMALY = 2
    BENCHMARK = 3


class InsightPattern(IntEnum):
    """What it looks like; the numbers are the contract's."""

    TREND = 1
    POINT = 2
    LEVEL_SHIFT = 3
    PEERS = 4
    PERIOD = 5


class InsightState(IntEnum):
    """Where an insight is; the numbers are the contract's."""

    ACTIVE = 1
    RESOLVED = 2


class InsightDirection(IntEnum):
    """To which side; the numbers are the contract's."""

    UP = 1
    DOWN = 2


class InsightRating(IntEnum):
    """What a reader thought; the numbers are the contract's."""

    UNRATED = 0
    USEFUL = 1
    NOT_USEFUL = 2


INSIGHT_FILTER_FIELDS: Final = {
    "kind": FilterField(FieldType.ENUM, tuple(it.name for it in InsightKind)),
    "pattern": FilterField(FieldType.ENUM, tuple(it.name for it in InsightPattern)),
    "direction": FilterField(FieldType.ENUM, tuple(it.name for it in InsightDirection)),
    "state": FilterField(FieldType.ENUM, tuple(it.name for it in InsightState)),
    "rating": FilterField(FieldType.ENUM, tuple(it.name for it in InsightRating)),
    "level": FilterField(FieldType.ENUM, LEVELS),
    "metric": FilterField(FieldType.TEXT),
    "platform": FilterField(FieldType.TEXT),
    "account_id": FilterField(FieldType.TEXT),
    "campaign_id": FilterField(FieldType.TEXT),
    "ad_group_id": FilterField(FieldType.TEXT),
    "ad_id": FilterField(FieldType.TEXT),
    "flow_id": FilterField(FieldType.TEXT),
    "message_id": FilterField(FieldType.TEXT),
    "channel": FilterField(FieldType.TEXT),
    "attribution_key": FilterField(FieldType.TEXT),
    "date_basis": FilterField(FieldType.ENUM, DATE_BASES),
    "currency_code": FilterField(FieldType.TEXT),
    "whole": FilterField(FieldType.TEXT),
    "severity": FilterField(FieldType.REAL),
    "quality_score": FilterField(FieldType.REAL),
    "start_date": FilterField(FieldType.DATE),
    "end_date": FilterField(FieldType.DATE),
}
"""Fields that a filter of insights may name."""


def told_for_themselves(where: Filter | None) -> Filter:
    """Return a filter that leaves out what wholes tell, unless it says itself which of these."""
    own = Comparison("whole", Operator.EQUAL, "")
    if where is None:
        return own
    return where if _names_whole(where) else And((where, own))


def _names_whole(term: Filter) -> bool:
    match term:
        case Not(inner):
            return _names_whole(inner)
        case And(terms) | Or(terms):
            return any(map(_names_whole, terms))
        case _:
            return term.field == "whole"


@dataclass(frozen=True, slots=True)
class Subject:
    """The series that an insight is about.

    Attributes:
        key: The object.
        channel: Its channel; empty where unknown.
        attribution_key: Of its numbers.
        date_basis: Number of what its days stand for, from 1.
        currency_code: Of its money; empty where it has none.
        is_whole: Whether it is all objects of the level in an account and channel; the key names
            the account alone then.
    """

    key: ObjectKey
    channel: str = ""
    attribution_key: str = ""
    date_basis: int = 1
    currency_code: str = ""
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """A query of metrics that gives the numbers of an insight.

    Attributes:
        level: Its level.
        filter: Its filter.
        start_date, end_date: Its days.
        granularity: Its step.
        group_by: Its dimensions.
        entry_count: Entries behind the finding.
        version: The org's version that the finding was made on.
    """

    level: str
    filter: str
    start_date: date
    end_date: date
    granularity: Granularity
    group_by: tuple[str, ...]
    entry_count: int
    version: int


@dataclass(frozen=True, slots=True)
class Contributor:
    """An object that adds to the movement of a whole.

    Attributes:
        key: The object.
        names: Its names; empty where unknown.
        before: Its mean day, or its ratio of sums, before; None where unknown.
        after: The same afterwards.
        share: What it adds, as a share of the movement of the whole: below 0 where it moves
            against it, above 1 where others do.
        insight_id: The finding of its own that the whole tells; empty where it has none.
    """

    key: ObjectKey
    names: ObjectNames
    before: float | None
    after: float | None
    share: float
    insight_id: str = ""


@dataclass(frozen=True, slots=True)
class Insight:
    """A finding.

    Attributes:
        insight_id: See `insight_id`.
        kind: What was looked for.
        pattern: What it looks like.
        direction: To which side.
        state: Whether it holds.
        metric: The metric's name.
        subject: The series.
        names: Names of the object; empty where unknown.
        start_date, end_date: The days that it is about.
        observed: What was seen, in the metric's unit; of a trend the level, per week.
        expected: What was expected instead; None for a trend.
        expected_low, expected_high: Range of what was expected; None where there is none.
        change: Of a trend the slope a week, else observed against expected, as a fraction.
        change_low, change_high: Its 95 % interval; None where there is none.
        sample_count: Weeks, days or peers that it rests on.
        percentile: Place among peers, 0 to 1; None for other patterns.
        severity: 0 to 100.
        p_value: Of such a finding by chance.
        q_value: After control of false discoveries.
        p_limit: The largest p-value that was told in the same run.
        quality_score: Lowest among the days of the objects behind it.
        context: Holidays, events and breaks of its days.
        evidence: What gives the numbers.
        summary: One sentence.
        whole_id: The finding of a whole that tells this one; empty where it is told for itself.
        object_count: Objects of a whole; 0 of other series.
        moved_count: How many of them move along.
        contributors: Those of them that add most, largest share first.
        quality_issues: What was found about the entries behind it, what costs most first.
    """

    insight_id: str
    kind: InsightKind
    pattern: InsightPattern
    direction: InsightDirection
    state: InsightState
    metric: str
    subject: Subject
    names: ObjectNames
    start_date: date
    end_date: date
    observed: float
    expected: float | None
    expected_low: float | None
    expected_high: float | None
    change: float | None
    change_low: float | None
    change_high: float | None
    sample_count: int
    percentile: float | None
    severity: float
    p_value: float
    q_value: float
    p_limit: float
    quality_score: float
    context: tuple[str, ...]
    evidence: Evidence
    summary: str = ""
    whole_id: str = ""
    object_count: int = 0
    moved_count: int = 0
    contributors: tuple[Contributor, ...] = ()
    quality_issues: tuple[QualityIssue, ...] = ()


def insight_id(
    subject: Subject,
    *,
    kind: InsightKind,
    pattern: InsightPattern,
    metric: str,
    direction: InsightDirection,
    days: tuple[date, date],
    moves_along: bool = False,
) -> str:
    """Return the id of a finding, 32 hexadecimal digits, so that the same one is one insight.

    An anomaly is one of its first day, be it a day or a shift that begins with it. Others are of
    all their days, unless these move along: the newest weeks are the same question every week.
    """
    if kind is InsightKind.ANOMALY:
        when = days[0].isoformat()
    else:
        when = "" if moves_along else f"{days[0]}/{days[1]}"
    own = (when, pattern.name if kind is InsightKind.BENCHMARK else "")
    series = (subject.attribution_key, str(subject.date_basis), subject.currency_code)
    whole = ("whole", subject.channel) if subject.is_whole else ()
    key = (str(getattr(subject.key, field.name)) for field in fields(subject.key))
    digest = hashlib.blake2b(digest_size=16)
    for part in (kind.name, metric, direction.name, *own, *series, *whole, *key):
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return digest.hexdigest()


def moves_along(insight: Insight) -> bool:
    """Return whether an insight is of the usual days, whichever those are."""
    usual = insight_id(
        insight.subject,
        kind=insight.kind,
        pattern=insight.pattern,
        metric=insight.metric,
        direction=insight.direction,
        days=(insight.start_date, insight.end_date),
        moves_along=True,
    )
    return insight.insight_id == usual


def severity(p_value: float) -> float:
    """Return how unusual a finding is: -10 log10 p, from 0 to 100. One in a thousand is 30."""
    return float(np.clip(-10.0 * np.log10(max(p_value, 1e-14)), 0.0, 100.0))
