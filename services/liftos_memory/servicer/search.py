"""Search on the wire."""

from collections.abc import Mapping
from typing import Any, Final

from grpc.aio import ServicerContext

from liftos.memory.v1 import document_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.auth import require_org
from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.core.filters import FieldType, FilterField, parse_filter
from liftos_kit.core.paging import PageTokens
from liftos_kit.deadline import remaining_seconds
from liftos_kit.requests import PageRequest, page_request
from liftos_mapping.entry_fields import LEVELS
from liftos_memory.convert.documents import (
    KINDS,
    METHODS,
    MODES,
    hit_message,
    leg_report,
    object_key,
)
from liftos_memory.convert.questions import question_of_request
from liftos_memory.convert.slices import days_of
from liftos_memory.domain.fusion import DEFAULT_WEIGHTS, FusionMethod, SearchMode
from liftos_memory.domain.write_token import decode_write_token, encode_write_token
from liftos_memory.search_ports import SearchScope
from liftos_memory.usecases.answers import Answer, Answers
from liftos_memory.usecases.search import LEG_DEPTH, Search, SearchRequest

DOCUMENT_FILTER_FIELDS: Final[Mapping[str, FilterField]] = {
    "platform": FilterField(FieldType.TEXT),
    "level": FilterField(FieldType.ENUM, LEVELS),
    "scope": FilterField(FieldType.TEXT),
    **{
        name: FilterField(FieldType.TEXT)
        for name in (
            "account_id",
            "campaign_id",
            "ad_group_id",
            "ad_id",
            "flow_id",
            "message_id",
            "series_id",
        )
    },
}
"""What filters of documents may name."""

_MAXIMUM_DAYS: Final = 40_000
_TIME_TO_ANSWER_SECONDS: Final = 1.0


class SearchServicer:
    """Ranks documents, and gives an answer again as long as nothing was written.

    An answer of which a leg failed is not kept: the next one may be better.
    """

    def __init__(self, *, search: Search, answers: Answers, page_tokens: PageTokens) -> None:
        self._search = search
        self._answers = answers
        self._page_tokens = page_tokens

    async def SearchDocuments(
        self, request: pb.SearchDocumentsRequest, context: ServicerContext[Any, Any]
    ) -> pb.SearchDocumentsResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens, default=10, maximum=100)
        wanted = _request(org, request, asked)
        if request.consistency.at_least_as_fresh:
            await self._wait(org, request.consistency.at_least_as_fresh)

        async def compute() -> Answer:
            result = await self._search.search(wanted)
            following = wanted.offset + wanted.limit
            more = result.has_more and following < LEG_DEPTH
            response = pb.SearchDocumentsResponse(
                hits=[hit_message(org, hit, result.targets) for hit in result.hits],
                next_page_token=asked.next_token(following if more else None),
                index_write_token=encode_write_token(org, result.indexed_version),
                legs=[leg_report(report) for report in result.legs],
            )
            keep = not any(report.failed for report in result.legs)
            return Answer(response.SerializeToString(), keep=keep)

        question = question_of_request(org, request, of_index=True)
        data = await self._answers.get(question, compute)
        return pb.SearchDocumentsResponse.FromString(data)

    async def _wait(self, org: str, token: str) -> None:
        version = decode_write_token(org, token, field="consistency.at_least_as_fresh")
        left = remaining_seconds(default=_TIME_TO_ANSWER_SECONDS) or 0.0
        # What is left after the wait must do for the search itself.
        await self._search.wait_for(
            org, version, timeout_seconds=max(0.0, left - _TIME_TO_ANSWER_SECONDS)
        )


def _request(org: str, request: pb.SearchDocumentsRequest, asked: PageRequest) -> SearchRequest:
    days = None
    if request.HasField("date_range"):
        days = days_of(request.date_range, field="date_range", maximum_days=_MAXIMUM_DAYS)
    weights = _weights(request)
    like = None
    if request.HasField("like"):
        if tuple(weights) != (SearchMode.CONCEPTUAL,):
            raise InvalidFieldsError.of("like", "is for mode CONCEPTUAL alone; set mode to that")
        like = object_key(request.like, field="like")
    scope = SearchScope(
        org=org,
        kinds=[KINDS[kind - 1] for kind in request.kinds],
        where=parse_filter(request.filter, DOCUMENT_FILTER_FIELDS),
        start_date=None if days is None else days[0],
        end_date=None if days is None else days[1],
        minimum_quality=request.minimum_quality_score
        if request.HasField("minimum_quality_score")
        else None,
    )
    return SearchRequest(
        query=request.query,
        scope=scope,
        weights=weights,
        method=METHODS[request.fusion_method - 1]
        if request.fusion_method
        else FusionMethod.WEIGHTED_MIN_MAX,
        metrics_range=days,
        group_by_object=request.group_by_object,
        offset=asked.number_cursor or 0,
        limit=asked.limit,
        like=like,
    )


def _weights(request: pb.SearchDocumentsRequest) -> Mapping[SearchMode, float]:
    hybrid = request.mode in (
        document_pb2.SEARCH_MODE_UNSPECIFIED,
        document_pb2.SEARCH_MODE_HYBRID,
    )
    given = {MODES[weight.mode - 1]: weight.weight for weight in request.weights}
    if len(given) < len(request.weights):
        raise _weights_error("name each mode once")
    if given and not hybrid:
        raise _weights_error("only a HYBRID search has weights")
    if hybrid:
        return given or DEFAULT_WEIGHTS
    return {MODES[request.mode - 1]: 1.0}


def _weights_error(description: str) -> InvalidFieldsError:
    return InvalidFieldsError([FieldViolation("weights", description, "weights")])
