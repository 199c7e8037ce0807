"""Rolling up: findings of objects that the finding of a whole tells along with itself."""

from collections.abc import Sequence
from dataclasses import replace

from liftos_mapping.entry_fields import LEVEL_IDS
from liftos_memory.domain.insights import Insight, InsightKind


def within_wholes(insights: Sequence[Insight]) -> list[Insight]:
    """Return findings, each of them within the whole that tells it, if any.

    A whole tells the same finding of its objects, of finer levels of its channel, and of its
    account. Coarser wholes go first, then the more severe.
    """
    wholes = sorted(
        (it for it in insights if it.subject.is_whole),
        key=lambda it: (len(_ids(it)), -it.severity, it.insight_id),
    )
    within: dict[str, str] = {}
    for whole in wholes:
        if whole.insight_id in within:
            continue
        for it in insights:
            if it.insight_id not in within and _tells(whole, it):
                within[it.insight_id] = whole.insight_id
    own = {
        (whole_id, it.subject.key): it.insight_id
        for it in insights
        if (whole_id := within.get(it.insight_id))
    }
    return [
        replace(
            it,
            whole_id=within.get(it.insight_id, ""),
            contributors=tuple(
                replace(part, insight_id=own.get((it.insight_id, part.key), ""))
                for part in it.contributors
            ),
        )
        for it in insights
    ]


def _ids(insight: Insight) -> set[str]:
    """Return the ids that an object of the level may have."""
    required, allowed = LEVEL_IDS[insight.subject.key.level]
    return {*required, *allowed}


def _tells(whole: Insight, other: Insight) -> bool:
    """Return whether a whole tells another finding: the same, of a part or of its account."""
    mine, its = whole.subject, other.subject
    is_account = its.key.level == "ACCOUNT"
    is_part = its.channel == mine.channel and (
        _ids(other) > _ids(whole) or (its.key.level == mine.key.level and not its.is_whole)
    )
    return (
        (is_account or is_part)
        and other.kind is whole.kind
        and other.metric == whole.metric
        and other.direction is whole.direction
        and other.percentile is None
        and (mine.key.platform, mine.key.account_id) == (its.key.platform, its.key.account_id)
        and (mine.attribution_key, mine.date_basis) == (its.attribution_key, its.date_basis)
        and mine.currency_code == its.currency_code
        and (
            other.kind is not InsightKind.ANOMALY
            or (other.start_date <= whole.end_date and whole.start_date <= other.end_date)
        )
    )
