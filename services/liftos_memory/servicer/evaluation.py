"""The evaluation of search on the wire."""

from typing import Any, Final

from grpc.aio import ServicerContext

from liftos.memory.v1 import document_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.auth import require_org
from liftos_kit.deadline import remaining_seconds
from liftos_memory.convert.documents import MODES
from liftos_memory.convert.evaluation import evaluation_response
from liftos_memory.domain.fusion import DEFAULT_WEIGHTS
from liftos_memory.usecases.evaluation import Evaluations

_QUERIES: Final = 200
_SECONDS_WITHOUT_END: Final = 600.0


class EvaluationServicer:
    """Measures search."""

    def __init__(self, *, evaluations: Evaluations) -> None:
        self._evaluations = evaluations

    async def EvaluateSearch(
        self, request: pb.EvaluateSearchRequest, context: ServicerContext[Any, Any]
    ) -> pb.EvaluateSearchResponse:
        org = require_org(request.parent)
        hybrid = request.mode in (
            document_pb2.SEARCH_MODE_UNSPECIFIED,
            document_pb2.SEARCH_MODE_HYBRID,
        )
        measured = await self._evaluations.evaluate(
            org,
            DEFAULT_WEIGHTS if hybrid else {MODES[request.mode - 1]: 1.0},
            question_count=request.query_count or _QUERIES,
            seed=request.seed,
            seconds=remaining_seconds(default=_SECONDS_WITHOUT_END) or 0.0,
        )
        return evaluation_response(measured)
