"""Attribution, models and budgets on the wire."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from google.protobuf.message import Message
from grpc.aio import ServicerContext

from liftos.causal.v1 import causal_service_pb2 as pb
from liftos_causal.convert.budgets import budget_message, budget_question
from liftos_causal.convert.models import model_message, result_message
from liftos_causal.convert.selections import choices_of, origin_of, selection_of
from liftos_causal.convert.words import MODEL_TYPES, VALIDATION_METHODS
from liftos_causal.domain.filters import BUDGET_FIELDS, MODEL_FIELDS, RESULT_FIELDS
from liftos_causal.domain.names import MODEL_NAME, RESULT_NAME
from liftos_causal.ports import AnswerCache, PerformanceReader
from liftos_causal.usecases.attribution import Attribution
from liftos_causal.usecases.budgets import Budgets
from liftos_causal.usecases.modelling import Modelling
from liftos_causal.usecases.models import Models
from liftos_kit.auth import require_org, require_role
from liftos_kit.core.filters import parse_filter
from liftos_kit.core.paging import PageTokens
from liftos_kit.requests import digest_request, page_request

Answer = TypeVar("Answer", bound=Message)


class KeptAnswers:
    """Answers that are given again as long as nothing that they rest on has changed.

    Args:
        cache: Where they are kept.
        performance: Knows when the numbers change.
        modelling: Knows the configuration, which says how long.
    """

    def __init__(
        self, cache: AnswerCache, performance: PerformanceReader, modelling: Modelling
    ) -> None:
        self._cache = cache
        self._performance = performance
        self._modelling = modelling

    async def answer(
        self,
        org: str,
        request: Message,
        compute: Callable[[], Awaitable[Answer]],
        kind: type[Answer],
    ) -> Answer:
        """Return the kept answer to a request, or compute and keep it."""
        configuration = await self._modelling.configuration(org)
        version = await self._performance.version(org)
        method = request.DESCRIPTOR.name.removesuffix("Request")
        digest = digest_request(method, request, without=()).hex()
        key = f"{method}:{org}:{version}:{configuration.version}:{digest}"
        kept = await self._cache.get(key)
        if kept is not None:
            return kind.FromString(kept)
        answer = await compute()
        if configuration.cache_seconds > 0:
            content = answer.SerializeToString()
            await self._cache.put(key, content, seconds=configuration.cache_seconds)
        return answer


class AttributionServicer:
    """Gives credit, keeps models and allocates budgets."""

    def __init__(
        self,
        *,
        attribution: Attribution,
        models: Models,
        budgets: Budgets,
        kept: KeptAnswers,
        page_tokens: PageTokens,
    ) -> None:
        self._attribution = attribution
        self._models = models
        self._budgets = budgets
        self._kept = kept
        self._page_tokens = page_tokens

    async def AnalyzeAttribution(
        self, request: pb.AnalyzeAttributionRequest, context: ServicerContext[Any, Any]
    ) -> pb.AnalyzeAttributionResponse:
        org = require_org(request.parent)

        async def compute() -> pb.AnalyzeAttributionResponse:
            origin = origin_of("AnalyzeAttribution", request) if request.store else None
            result = await self._attribution.analyze(
                org,
                model=_model_id(request.attribution_model),
                model_type=MODEL_TYPES.get(request.model_type),
                choices=choices_of(request.parameters),
                selection=selection_of(request.training_data),
                recommend=request.include_recommendations,
                origin=origin,
            )
            return pb.AnalyzeAttributionResponse(attribution_result=result_message(org, result))

        if request.store:
            require_role("writer")
            return await compute()
        return await self._kept.answer(org, request, compute, pb.AnalyzeAttributionResponse)

    async def GetAttributionResult(
        self, request: pb.GetAttributionResultRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetAttributionResultResponse:
        org = require_org(request.name, field="name")
        result_id = RESULT_NAME.parse(request.name)["attribution_result"]
        result = await self._attribution.get(org, result_id)
        return pb.GetAttributionResultResponse(attribution_result=result_message(org, result))

    async def ListAttributionResults(
        self, request: pb.ListAttributionResultsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListAttributionResultsResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        found, cursor = await self._attribution.list_page(
            org,
            where=parse_filter(request.filter, RESULT_FIELDS),
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListAttributionResultsResponse(
            attribution_results=[result_message(org, each) for each in found],
            next_page_token=asked.next_token(cursor),
        )

    async def CreateModel(
        self, request: pb.CreateModelRequest, context: ServicerContext[Any, Any]
    ) -> pb.CreateModelResponse:
        given = request.attribution_model
        org = require_org(given.name, field="attribution_model.name")
        model = await self._models.create(
            org,
            MODEL_NAME.parse(given.name, field="attribution_model.name")["attribution_model"],
            display_name=given.display_name,
            model_type=MODEL_TYPES.get(given.model_type),
            validation_method=VALIDATION_METHODS.get(given.validation_method),
            choices=choices_of(given.parameters),
            selection=selection_of(given.training_data, field="attribution_model.training_data"),
            origin=origin_of("CreateModel", request),
        )
        return pb.CreateModelResponse(attribution_model=model_message(org, model))

    async def GetModel(
        self, request: pb.GetModelRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetModelResponse:
        org = require_org(request.name, field="name")
        model = await self._models.get(org, MODEL_NAME.parse(request.name)["attribution_model"])
        return pb.GetModelResponse(attribution_model=model_message(org, model))

    async def ListModels(
        self, request: pb.ListModelsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListModelsResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        found, cursor = await self._models.list_page(
            org,
            where=parse_filter(request.filter, MODEL_FIELDS),
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListModelsResponse(
            attribution_models=[model_message(org, each, with_curves=False) for each in found],
            next_page_token=asked.next_token(cursor),
        )

    async def OptimizeBudget(
        self, request: pb.OptimizeBudgetRequest, context: ServicerContext[Any, Any]
    ) -> pb.OptimizeBudgetResponse:
        org = require_org(request.parent)

        async def compute() -> pb.OptimizeBudgetResponse:
            origin = origin_of("OptimizeBudget", request) if request.store else None
            budget = await self._budgets.optimize(org, budget_question(request), origin)
            return pb.OptimizeBudgetResponse(budget_optimization=budget_message(org, budget))

        if request.store:
            require_role("writer")
            return await compute()
        if not request.attribution_model:
            # The newest model may be another one any moment.
            return await compute()
        return await self._kept.answer(org, request, compute, pb.OptimizeBudgetResponse)

    async def ListBudgetOptimizations(
        self, request: pb.ListBudgetOptimizationsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListBudgetOptimizationsResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        found, cursor = await self._budgets.list_page(
            org,
            where=parse_filter(request.filter, BUDGET_FIELDS),
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListBudgetOptimizationsResponse(
            budget_optimizations=[budget_message(org, each) for each in found],
            next_page_token=asked.next_token(cursor),
        )


def _model_id(name: str) -> str:
    if not name:
        return ""
    return MODEL_NAME.parse(name, field="attribution_model")["attribution_model"]
