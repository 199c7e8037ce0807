"""Evaluations of search as messages."""

from typing import Final

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_memory.domain.known_items import QuestionKind
from liftos_memory.usecases.evaluation import Evaluation

_KINDS: Final = tuple(QuestionKind)
"""In the order of the contract's numbers, which start at 1."""


def evaluation_response(measured: Evaluation) -> pb.EvaluateSearchResponse:
    """Return the message of what was measured."""
    questions = sum(measured.questions.values())
    low, high = measured.interval or (None, None)
    return pb.EvaluateSearchResponse(
        recall_at_10=_share(measured.recall.found_count, measured.recall.expected_count),
        success_at_5=_share(sum(measured.successes.values()), questions),
        filter_accuracy=_share(measured.kept_hits, measured.filtered_hits),
        query_count=questions,
        document_count=measured.recall.document_count,
        success_at_5_low=low,
        success_at_5_high=high,
        filtered_hit_count=measured.filtered_hits,
        kinds=[
            pb.KnownItemResult(
                kind=_kind(kind), query_count=count, success_count=measured.successes[kind]
            )
            for kind, count in measured.questions.items()
            if count
        ],
        missed_queries=[
            pb.MissedQuery(
                kind=_kind(miss.item.kind),
                query=miss.item.query,
                wanted_title=miss.item.document.title,
                first_title="" if miss.first is None else miss.first.title,
            )
            for miss in measured.misses
        ],
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _kind(kind: QuestionKind) -> pb.KnownItemKind.ValueType:
    return pb.KnownItemKind.ValueType(_KINDS.index(kind) + 1)
