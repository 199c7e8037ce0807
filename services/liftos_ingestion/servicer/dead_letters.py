"""Dead letters on the wire."""

from typing import Any

from grpc.aio import ServicerContext

from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos_ingestion.convert.dead_letters import (
    dead_letter_ids,
    dead_letter_message,
    run_of_parent,
    selection_of,
)
from liftos_ingestion.convert.runs import run_message
from liftos_ingestion.domain.dead_letter_filters import DEAD_LETTER_FIELDS
from liftos_ingestion.run_view_ports import Row
from liftos_ingestion.usecases.dead_letters import DeadLetters
from liftos_kit.auth import current_principal, require_org
from liftos_kit.core.filters import parse_filter
from liftos_kit.core.paging import PageTokens
from liftos_kit.requests import answer_to, page_request, repeatable


class DeadLettersServicer:
    """Shows dead letters, gives them up and has them tried again."""

    def __init__(self, *, dead_letters: DeadLetters, page_tokens: PageTokens) -> None:
        self._dead_letters = dead_letters
        self._page_tokens = page_tokens

    async def ListDeadLetters(
        self, request: pb.ListDeadLettersRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListDeadLettersResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        rows, cursor = await self._dead_letters.list_dead_letters(
            org,
            run_of_parent(request.parent),
            where=parse_filter(request.filter, DEAD_LETTER_FIELDS),
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListDeadLettersResponse(
            dead_letters=[dead_letter_message(org, row) for row in rows],
            next_page_token=asked.next_token(cursor),
        )

    async def GetDeadLetter(
        self, request: pb.GetDeadLetterRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetDeadLetterResponse:
        org = require_org(request.name, field="name")
        row = await self._dead_letters.get(org, *dead_letter_ids(request.name))
        return pb.GetDeadLetterResponse(dead_letter=dead_letter_message(org, row))

    async def ReplayDeadLetters(
        self, request: pb.ReplayDeadLettersRequest, context: ServicerContext[Any, Any]
    ) -> pb.ReplayDeadLettersResponse:
        org = require_org(request.parent)

        def answer(started: tuple[Row, int]) -> pb.ReplayDeadLettersResponse:
            run, count = started
            return pb.ReplayDeadLettersResponse(run=run_message(org, run), dead_letter_count=count)

        started = await self._dead_letters.replay(
            org,
            selection_of(org, request.parent, request.names, request.filter),
            current_principal().subject,
            repeatable=repeatable("ReplayDeadLetters", request, answer),
        )
        return answer_to(started, answer, pb.ReplayDeadLettersResponse)

    async def DiscardDeadLetters(
        self, request: pb.DiscardDeadLettersRequest, context: ServicerContext[Any, Any]
    ) -> pb.DiscardDeadLettersResponse:
        org = require_org(request.parent)

        def answer(count: int) -> pb.DiscardDeadLettersResponse:
            return pb.DiscardDeadLettersResponse(discard_count=count)

        count = await self._dead_letters.discard(
            org,
            selection_of(org, request.parent, request.names, request.filter),
            request.reason,
            repeatable=repeatable("DiscardDeadLetters", request, answer),
        )
        return answer_to(count, answer, pb.DiscardDeadLettersResponse)
