"""Sums of metrics and exchange rates on the wire: convert, call, convert."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from grpc.aio import ServicerContext

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.auth import require_org
from liftos_kit.core.paging import PageTokens
from liftos_kit.requests import page_request
from liftos_memory.convert.metrics import (
    add_rows,
    query_of,
    rate_message,
    rate_of,
)
from liftos_memory.convert.questions import question_of_request
from liftos_memory.domain.arrow_pieces import batch_pieces
from liftos_memory.domain.exchange_rates import read_rates
from liftos_memory.domain.metrics_query import MetricsQuery
from liftos_memory.domain.write_token import encode_write_token
from liftos_memory.ports import WriteContext
from liftos_memory.usecases.answers import Answer, Answers
from liftos_memory.usecases.freshness import Freshness
from liftos_memory.usecases.metrics import ExchangeRates, Metrics

_DEFAULT_ROWS: Final = 1_000
_MAXIMUM_ROWS: Final = 5_000


class MetricsServicer:
    """Answers sums of metrics, and keeps the rates that they are converted with."""

    def __init__(
        self,
        *,
        metrics: Metrics,
        answers: Answers,
        exchange_rates: ExchangeRates,
        freshness: Freshness,
        page_tokens: PageTokens,
    ) -> None:
        self._metrics = metrics
        self._answers = answers
        self._exchange_rates = exchange_rates
        self._freshness = freshness
        self._page_tokens = page_tokens

    async def QueryMetrics(
        self, request: pb.QueryMetricsRequest, context: ServicerContext[Any, Any]
    ) -> pb.QueryMetricsResponse:
        org = require_org(request.parent)
        query = query_of(request)
        asked = page_request(
            request, org, self._page_tokens, default=_DEFAULT_ROWS, maximum=_MAXIMUM_ROWS
        )
        await self._freshness.wait(org, request.consistency.at_least_as_fresh)

        async def compute() -> Answer:
            page = await self._metrics.page(org, query, cursor=asked.cursor, limit=asked.limit)
            response = pb.QueryMetricsResponse()
            add_rows(response, page.rows, query)
            response.next_page_token = asked.next_token(page.cursor)
            return Answer(response.SerializeToString())

        data = await self._answers.get(question_of_request(org, request), compute)
        return pb.QueryMetricsResponse.FromString(data)

    async def QueryMetricsArrow(
        self, request: pb.QueryMetricsArrowRequest, context: ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.QueryMetricsArrowResponse]:
        org = require_org(request.parent)
        query = query_of(request)
        await self._freshness.wait(org, request.consistency.at_least_as_fresh)
        question = question_of_request(org, request)
        async with aclosing(
            self._answers.stream(question, lambda: self._arrow(org, query))
        ) as pieces:
            async for piece in pieces:
                yield pb.QueryMetricsArrowResponse.FromString(piece)

    async def _arrow(self, org: str, query: MetricsQuery) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._metrics.stream(org, query)) as batches:
            async for arrow, row_count in batch_pieces(batches, query.schema):
                response = pb.QueryMetricsArrowResponse(arrow=arrow, row_count=row_count)
                yield response.SerializeToString()

    async def UpsertExchangeRates(
        self, request: pb.UpsertExchangeRatesRequest, context: ServicerContext[Any, Any]
    ) -> pb.UpsertExchangeRatesResponse:
        org = require_org(request.parent)
        rates = read_rates(
            [rate_of(message) for message in request.exchange_rates], field="exchange_rates"
        )
        counts, version = await self._exchange_rates.upsert(
            org,
            rates,
            WriteContext(
                fence_scope=request.fence_scope,
                fencing_epoch=request.fencing_epoch if request.HasField("fencing_epoch") else None,
            ),
        )
        return pb.UpsertExchangeRatesResponse(
            upserted_count=counts.upserted,
            unchanged_count=counts.unchanged,
            write_token=encode_write_token(org, version),
        )

    async def ListExchangeRates(
        self, request: pb.ListExchangeRatesRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListExchangeRatesResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        page = await self._exchange_rates.list_page(
            org,
            currency_code=request.currency_code,
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListExchangeRatesResponse(
            exchange_rates=[rate_message(rate) for rate in page.rates],
            next_page_token=asked.next_token(page.cursor),
        )
