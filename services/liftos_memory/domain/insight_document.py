"""Documents of insights: how search finds them."""

from liftos_memory.domain.documents import Document, DocumentKind
from liftos_memory.domain.insight_metrics import METRICS_BY_NAME
from liftos_memory.domain.insight_text import object_words
from liftos_memory.domain.insights import Insight, InsightPattern
from liftos_memory.domain.record_documents import record_document

_WORDS = {
    InsightPattern.TREND: ("trend",),
    InsightPattern.POINT: ("anomaly", "outlier", "spike or drop"),
    InsightPattern.LEVEL_SHIFT: ("anomaly", "level shift", "change"),
    InsightPattern.PEERS: ("benchmark", "peers", "comparison"),
    InsightPattern.PERIOD: ("benchmark", "period over period", "comparison"),
}


def insight_document(insight: Insight) -> Document:
    """Write the document of an insight."""
    key = insight.subject.key
    metric = METRICS_BY_NAME[insight.metric]
    direction = insight.direction.name.lower()
    identifiers = (
        key.account_id, key.campaign_id, key.ad_group_id, key.ad_id, key.flow_id, key.message_id,
    )  # fmt: skip
    return record_document(
        DocumentKind.INSIGHT,
        f"insights/{insight.insight_id}",
        scope="",
        title=f"{metric.words} {direction}, {object_words(insight)}",
        text=insight.summary,
        start_date=insight.start_date,
        end_date=insight.end_date,
        words=(
            "insight",
            *_WORDS[insight.pattern],
            metric.name,
            direction,
            key.platform,
            *(identifier for identifier in identifiers if identifier),
        ),
        key=key,
        quality_score=insight.quality_score,
    )
