"""Insights from run to run: which are the same, which hold no more, and what is within what."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from liftos_memory.domain.insight_looks import Question
from liftos_memory.domain.insights import Insight, InsightKind, Subject


def is_same(found: Insight, before: Insight) -> bool:
    """Return whether a finding is the one of before; restated days may move an anomaly a little."""
    if found.insight_id == before.insight_id:
        return True
    return (
        found.kind is before.kind is InsightKind.ANOMALY
        and found.metric == before.metric
        and found.direction is before.direction
        and _without_money(found.subject) == _without_money(before.subject)
        and found.start_date <= before.end_date
        and before.start_date <= found.end_date
    )


def no_longer_found(
    active: Sequence[Insight],
    told: Sequence[Insight],
    questions: Sequence[Question],
    *,
    usual_days: bool,
    subjects: Collection[Subject] | None,
) -> list[str]:
    """Return ids of insights that were looked at again and not found.

    Of an anomaly that is so where its first day was judged, or, by a run over the usual days, where
    it lies before them; of others where the run reaches as far.

    Args:
        active: Insights that held.
        told: Those that were found now.
        questions: What was asked.
        usual_days: Whether the days are the usual ones.
        subjects: The series that were looked at; None is all of them.
    """
    found = {it.insight_id for it in told}
    looked_at = None if subjects is None else {_without_money(it) for it in subjects}
    gone = []
    for it in active:
        if it.insight_id in found:
            continue
        if looked_at is not None and _without_money(it.subject) not in looked_at:
            continue
        for question in questions:
            if it.kind not in question.kinds:
                continue
            if it.kind is InsightKind.ANOMALY:
                again = question.start_date <= it.start_date <= question.last_day
                again |= usual_days and it.end_date < question.start_date
            else:
                again = question.last_day >= it.end_date
            if again:
                gone.append(it.insight_id)
    return gone


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
