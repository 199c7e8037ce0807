"""Documents and hits as messages."""

from typing import Final

from liftos.memory.v1 import document_pb2, entry_pb2
from liftos_kit.core.errors import InvalidFieldsError
from liftos_mapping.entry_fields import LEVELS
from liftos_mapping.entry_id import format_entry_id
from liftos_memory.convert.entries import ENTRY_NAME, fill_metrics
from liftos_memory.convert.slices import date_range
from liftos_memory.document_ports import ObjectMetrics
from liftos_memory.domain.concepts import Targets
from liftos_memory.domain.documents import Document, DocumentKind, ObjectKey
from liftos_memory.domain.fusion import FusionMethod, LegShare, SearchMode
from liftos_memory.domain.highlights import Highlight
from liftos_memory.usecases.search import Hit, LegReport

KINDS: Final = tuple(DocumentKind)
MODES: Final = tuple(SearchMode)
METHODS: Final = tuple(FusionMethod)
"""Values in the order of the contract's numbers, which start at 1."""


def object_message(key: ObjectKey) -> document_pb2.ObjectRef:
    """Return the message of an object."""
    return document_pb2.ObjectRef(
        platform=key.platform,
        level=entry_pb2.EntryLevel.ValueType(LEVELS.index(key.level) + 1),
        account_id=key.account_id,
        campaign_id=key.campaign_id,
        ad_group_id=key.ad_group_id,
        ad_id=key.ad_id,
        flow_id=key.flow_id,
        message_id=key.message_id,
        series_id=key.series_id,
    )


def object_key(message: document_pb2.ObjectRef, *, field: str) -> ObjectKey:
    """Return the object of a message; ids that do not belong to its level are left alone.

    Raises:
        InvalidFieldsError: It has no platform or no level.
    """
    if not message.platform:
        raise InvalidFieldsError.of(f"{field}.platform", "name the object's platform")
    if not 1 <= message.level <= len(LEVELS):
        raise InvalidFieldsError.of(f"{field}.level", "name the object's level")
    return ObjectKey(
        platform=message.platform,
        level=LEVELS[message.level - 1],
        account_id=message.account_id,
        campaign_id=message.campaign_id,
        ad_group_id=message.ad_group_id,
        ad_id=message.ad_id,
        flow_id=message.flow_id,
        message_id=message.message_id,
        series_id=message.series_id,
    )


def leg_report(report: LegReport) -> document_pb2.LegReport:
    """Return the message of what a leg did."""
    return document_pb2.LegReport(
        mode=_mode(report.mode),
        hit_count=report.hit_count,
        note=report.note,
        failed=report.failed,
    )


def document_message(org: str, document: Document) -> document_pb2.Document:
    """Return the message of a document."""
    return document_pb2.Document(
        name=f"orgs/{org}/documents/{document.document_id}",
        kind=document_pb2.DocumentKind.ValueType(KINDS.index(document.kind) + 1),
        title=document.title,
        text=document.text,
        object=None if document.key is None else object_message(document.key),
        date_range=date_range(document.start_date, document.end_date),
        quality_score=document.quality_score,
        record=f"orgs/{org}/{document.record}" if document.record else "",
        scope=document.scope,
    )


def hit_message(org: str, hit: Hit, targets: Targets) -> document_pb2.SearchHit:
    """Return the message of a hit, with what was wished for beside where its object stands."""
    message = document_pb2.SearchHit(
        document=document_message(org, hit.document),
        score=hit.fused.score,
        legs=[_leg(share) for share in hit.fused.legs],
        highlights=[_highlight(piece) for piece in hit.highlights],
        explanation=hit.explanation,
        concepts=[
            document_pb2.Concept(
                dimension=concept.dimension.value,
                percentile=concept.percentile,
                measure=concept.basis,
                target=targets.get(concept.dimension),
            )
            for concept in hit.concepts
        ],
    )
    if hit.metrics is not None:
        _fill_metrics(message, org, hit.metrics)
        message.metrics_date_range.CopyFrom(date_range(*hit.metrics_range))
    return message


def _fill_metrics(message: document_pb2.SearchHit, org: str, metrics: ObjectMetrics) -> None:
    sums = {**metrics.sums, "currency_code": metrics.currency_code}
    fill_metrics(message.metrics, message.derived_metrics, sums)
    message.entry_count = metrics.entry_count
    message.date_basis = entry_pb2.DateBasis.ValueType(metrics.date_basis)
    message.attribution_key = metrics.attribution_key
    message.entries.extend(
        ENTRY_NAME.format(org=org, entry=format_entry_id(day, digest))
        for day, digest in metrics.entries
    )


def _leg(share: LegShare) -> document_pb2.SearchLeg:
    return document_pb2.SearchLeg(
        mode=_mode(share.mode),
        rank=share.rank,
        raw_score=share.raw_score,
        weight=share.weight,
        contribution=share.contribution,
    )


def _mode(mode: SearchMode) -> document_pb2.SearchMode.ValueType:
    return document_pb2.SearchMode.ValueType(MODES.index(mode) + 1)


def _highlight(piece: Highlight) -> document_pb2.Highlight:
    return document_pb2.Highlight(
        snippet=piece.snippet,
        spans=[document_pb2.TextSpan(start=span.start, end=span.end) for span in piece.spans],
    )
