"""Search on the wire, from the cache where it can be."""

from typing import Any

from grpc.aio import ServicerContext

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.auth import require_org
from liftos_kit.core.paging import PageTokens
from liftos_memory.convert.questions import question_of_request
from liftos_memory.servicer.search import SearchServicer
from liftos_memory.usecases.answers import Answer, Answers
from liftos_memory.usecases.search import Search


class CachedSearchServicer(SearchServicer):
    """Ranks documents, and gives an answer again as long as nothing was written.

    An answer of which a leg failed is not kept: the next one may be better.
    """

    def __init__(self, *, search: Search, answers: Answers, page_tokens: PageTokens) -> None:
        super().__init__(search=search, page_tokens=page_tokens)
        self._answers = answers

    async def SearchDocuments(
        self, request: pb.SearchDocumentsRequest, context: ServicerContext[Any, Any]
    ) -> pb.SearchDocumentsResponse:
        org = require_org(request.parent)
        if request.consistency.at_least_as_fresh:
            await self._wait(org, request.consistency.at_least_as_fresh)
        search = super().SearchDocuments

        async def compute() -> Answer:
            response = await search(request, context)
            return Answer(
                response.SerializeToString(), keep=not any(leg.failed for leg in response.legs)
            )

        question = question_of_request(org, request, of_index=True)
        data = await self._answers.get(question, compute)
        return pb.SearchDocumentsResponse.FromString(data)
