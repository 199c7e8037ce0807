"""Comparisons on the wire: convert, call, convert."""

from typing import Any

from grpc.aio import ServicerContext

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.auth import require_org
from liftos_memory.convert.comparisons import comparison_response, question_of
from liftos_memory.convert.questions import question_of_request
from liftos_memory.usecases.answers import Answer, Answers
from liftos_memory.usecases.comparisons import Comparisons
from liftos_memory.usecases.freshness import Freshness


class ComparisonsServicer:
    """Sets channels and periods against each other."""

    def __init__(self, *, comparisons: Comparisons, answers: Answers, freshness: Freshness) -> None:
        self._comparisons = comparisons
        self._answers = answers
        self._freshness = freshness

    async def CompareMetrics(
        self, request: pb.CompareMetricsRequest, context: ServicerContext[Any, Any]
    ) -> pb.CompareMetricsResponse:
        org = require_org(request.parent)
        question = question_of(request)
        await self._freshness.wait(org, request.consistency.at_least_as_fresh)

        async def compute() -> Answer:
            answer = await self._comparisons.compare(org, question)
            return Answer(comparison_response(question, answer).SerializeToString())

        data = await self._answers.get(question_of_request(org, request), compute)
        return pb.CompareMetricsResponse.FromString(data)
