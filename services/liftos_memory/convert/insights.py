"""Insights on the wire."""

from datetime import date
from typing import Final

from liftos.memory.v1 import entry_pb2, insight_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.core.errors import InvalidFieldsError
from liftos_kit.core.filters import parse_filter
from liftos_kit.core.names import Pattern
from liftos_kit.structs import timestamp
from liftos_mapping.entry_fields import LEVELS
from liftos_memory.convert.documents import object_message
from liftos_memory.convert.entries import issue_message
from liftos_memory.convert.slices import date_range
from liftos_memory.domain.entry_filter import ENTRY_FILTER_FIELDS
from liftos_memory.domain.insight_text import object_name
from liftos_memory.domain.insights import Contributor, Insight, InsightKind
from liftos_memory.domain.write_token import encode_write_token
from liftos_memory.insight_ports import StoredInsight
from liftos_memory.usecases.insights import DEFAULT_LEVELS, Scope

INSIGHT_NAME: Final = Pattern("orgs/{org}/insights/{insight}")


def scope_of(request: pb.GenerateInsightsRequest) -> Scope:
    """Return what a request has looked at.

    Raises:
        InvalidFieldsError: A day is none.
        FilterError: The filter cannot be read.
    """
    days = None
    if request.HasField("date_range"):
        days = (
            _day(request.date_range.start_date, "start_date"),
            _day(request.date_range.end_date, "end_date"),
        )
    return Scope(
        days=days,
        kinds=tuple(InsightKind(kind) for kind in request.kinds) or tuple(InsightKind),
        levels=tuple(LEVELS[level - 1] for level in request.levels) or DEFAULT_LEVELS,
        where=parse_filter(request.filter, ENTRY_FILTER_FIELDS),
        skips_large_levels=not request.levels,
    )


def _day(text: str, name: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidFieldsError.of(
            f"date_range.{name}", f"{text!r:.20} is no day of the calendar", rule="insights.day"
        ) from None


def insight_message(org: str, stored: StoredInsight) -> insight_pb2.Insight:
    """Return the message of an insight."""
    insight = stored.insight
    subject = insight.subject
    return insight_pb2.Insight(
        name=INSIGHT_NAME.format(org=org, insight=insight.insight_id),
        kind=insight_pb2.InsightKind.ValueType(insight.kind),
        pattern=insight_pb2.InsightPattern.ValueType(insight.pattern),
        direction=insight_pb2.InsightDirection.ValueType(insight.direction),
        state=insight_pb2.InsightState.ValueType(insight.state),
        summary=insight.summary,
        metric=insight.metric,
        object=object_message(subject.key),
        display_name=object_name(subject.key, insight.names),
        whole=_insight_name(org, insight.whole_id),
        object_count=insight.object_count,
        moved_count=insight.moved_count,
        contributors=[_contributor_message(org, it) for it in insight.contributors],
        channel=subject.channel,
        attribution_key=subject.attribution_key,
        date_basis=entry_pb2.DateBasis.ValueType(subject.date_basis),
        currency_code=subject.currency_code,
        date_range=date_range(insight.start_date, insight.end_date),
        observed=insight.observed,
        expected=insight.expected,
        expected_low=insight.expected_low,
        expected_high=insight.expected_high,
        change=insight.change,
        change_low=insight.change_low,
        change_high=insight.change_high,
        sample_count=insight.sample_count,
        percentile=insight.percentile,
        severity=insight.severity,
        p_value=insight.p_value,
        q_value=insight.q_value,
        quality_score=insight.quality_score,
        quality_issues=[issue_message(it) for it in insight.quality_issues],
        evidence=_evidence_message(org, insight),
        context=insight.context,
        rating=insight_pb2.InsightRating.ValueType(stored.rating),
        rating_comment=stored.rating_comment,
        create_time=timestamp(stored.create_time),
        update_time=timestamp(stored.update_time),
    )


def _insight_name(org: str, insight_id: str) -> str:
    return INSIGHT_NAME.format(org=org, insight=insight_id) if insight_id else ""


def _contributor_message(org: str, contributor: Contributor) -> insight_pb2.InsightContributor:
    return insight_pb2.InsightContributor(
        object=object_message(contributor.key),
        display_name=object_name(contributor.key, contributor.names),
        before=contributor.before,
        after=contributor.after,
        share=contributor.share,
        insight=_insight_name(org, contributor.insight_id),
    )


def _evidence_message(org: str, insight: Insight) -> insight_pb2.InsightEvidence:
    evidence = insight.evidence
    return insight_pb2.InsightEvidence(
        filter=evidence.filter,
        level=f"ENTRY_LEVEL_{evidence.level}",
        date_range=date_range(evidence.start_date, evidence.end_date),
        granularity=f"GRANULARITY_{evidence.granularity.name}",
        group_by=evidence.group_by,
        entry_count=evidence.entry_count,
        write_token=encode_write_token(org, evidence.version),
    )
