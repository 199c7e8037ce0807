"""Insights from run to run: which are the same, which hold no more, and what is within what."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date

from liftos_memory.domain.insight_findings import tell
from liftos_memory.domain.insight_looks import Look, Question
from liftos_memory.domain.insight_metrics import METRICS_BY_NAME
from liftos_memory.domain.insights import Insight, InsightKind, Subject


def is_same(found: Insight, before: Insight) -> bool:
    """Return whether a finding is the one of before; restated days may move an anomaly a little."""
    if found.insight_id == before.insight_id:
        return True
    if (
        found.kind is not before.kind
        or found.metric != before.metric
        or found.direction is not before.direction
        or _without_money(found.subject) != _without_money(before.subject)
    ):
        return False
    if found.kind is InsightKind.ANOMALY:
        return found.start_date <= before.end_date and before.start_date <= found.end_date
    return found.pattern is before.pattern and _days(found) == _days(before)


def no_longer_found(
    active: Sequence[Insight],
    told: Sequence[Insight],
    looks: Sequence[Look],
    questions: Sequence[Question],
    *,
    subjects: Collection[Subject] | None,
) -> list[str]:
    """Return ids of insights that were looked at again and do not hold.

    That takes a look at their own days: what is not found in other days says nothing of them. One
    that this run is too wide to tell, and that is as unlikely as when it was told, holds.

    Args:
        active: Insights that held.
        told: Those that were found now.
        looks: What they were found among.
        questions: What was asked.
        subjects: The series that were looked at; None is all of them.
    """
    found = {it.insight_id for it in told}
    looked_at = None if subjects is None else {_without_money(it) for it in subjects}
    missing = [
        it
        for it in active
        if it.insight_id not in found
        and (looked_at is None or _without_money(it.subject) in looked_at)
        and any(_asks_again(question, it) for question in questions)
    ]
    if not missing:
        return []
    at_all = tell(looks, p_limit=max(it.p_limit for it in missing)).insights
    by_series = _by_series(at_all), _by_series(told)
    gone = []
    for it in missing:
        alike, told_alike = (
            [other for other in those.get(_series(it), ()) if is_same(other, it)]
            for those in by_series
        )
        if told_alike or all(other.p_value > it.p_limit for other in alike):
            gone.append(it.insight_id)
    return gone


def _asks_again(question: Question, before: Insight) -> bool:
    """Return whether a question looks at the days of an insight, as it was looked at before."""
    if before.kind not in question.kinds:
        return False
    if before.kind is InsightKind.ANOMALY:
        return question.start_date <= before.start_date and before.end_date <= question.last_day
    if before.kind is InsightKind.TREND:
        metric = METRICS_BY_NAME[before.metric]
        return question.weeks_of(before.subject.key.platform, metric) == _days(before)
    return (question.start_date, question.last_day) == _days(before)


def _days(insight: Insight) -> tuple[date, date]:
    return insight.start_date, insight.end_date


def _by_series(insights: Sequence[Insight]) -> dict[tuple[str, Subject], list[Insight]]:
    found: dict[tuple[str, Subject], list[Insight]] = {}
    for it in insights:
        found.setdefault(_series(it), []).append(it)
    return found


def _series(insight: Insight) -> tuple[str, Subject]:
    return insight.metric, _without_money(insight.subject)


def still_within(
    told: Sequence[Insight], active: Sequence[Insight], resolved: Collection[str]
) -> Mapping[str, str]:
    """Return the whole of each insight that is within one, by id.

    What was within a whole stays so where this run did not look at the whole.

    Args:
        told: What was found now.
        active: Insights that held before.
        resolved: Ids of those that hold no more.
    """
    looked_at = {*resolved, *(it.insight_id for it in told)}
    before = {
        it.insight_id: it.whole_id for it in active if it.whole_id and it.whole_id not in looked_at
    }
    return before | {it.insight_id: it.whole_id for it in told if it.whole_id}


def _without_money(subject: Subject) -> Subject:
    return replace(subject, currency_code="", channel="")
