"""Routes of insights on the wire: convert, call, convert."""

import hmac
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

from google.protobuf.message import Message
from grpc.aio import ServicerContext

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.auth import require_org
from liftos_kit.channel import require_private_channel
from liftos_kit.core.paging import PageTokens
from liftos_kit.core.repeatable import Repeatable
from liftos_kit.requests import answer_to, page_request, repeatable
from liftos_kit.structs import revision_of
from liftos_memory.convert.insight_routes import (
    keeps_target,
    route_id,
    route_message,
    route_spec,
    spec_fields,
    target_of,
)
from liftos_memory.insight_route_ports import StoredRoute
from liftos_memory.usecases.insight_routes import InsightRoutes

_TARGET_FIELD: Final = "insight_route.target_url"

Result = TypeVar("Result")


class InsightRoutesServicer:
    """Makes, changes and tries routes of insights.

    Args:
        routes: Makes routes.
        page_tokens: Of lists; their key also signs what is kept of requests with secrets.
    """

    def __init__(self, *, routes: InsightRoutes, page_tokens: PageTokens) -> None:
        self._routes = routes
        self._page_tokens = page_tokens

    async def CreateInsightRoute(
        self, request: pb.CreateInsightRouteRequest, context: ServicerContext[Any, Any]
    ) -> pb.CreateInsightRouteResponse:
        org = require_org(request.insight_route.name, field="insight_route.name")
        if request.insight_route.target_url:
            require_private_channel(context, field=_TARGET_FIELD)

        def answer(stored: StoredRoute) -> pb.CreateInsightRouteResponse:
            return pb.CreateInsightRouteResponse(insight_route=route_message(org, stored))

        stored = await self._routes.create(
            org,
            route_id(request.insight_route.name, field="insight_route.name"),
            route_spec(request.insight_route),
            target_of(request.insight_route),
            repeatable=_required(self._repeatable("CreateInsightRoute", request, answer)),
        )
        return answer_to(stored, answer, pb.CreateInsightRouteResponse)

    async def GetInsightRoute(
        self, request: pb.GetInsightRouteRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetInsightRouteResponse:
        org = require_org(request.name, field="name")
        stored = await self._routes.get(org, route_id(request.name))
        return pb.GetInsightRouteResponse(insight_route=route_message(org, stored))

    async def ListInsightRoutes(
        self, request: pb.ListInsightRoutesRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListInsightRoutesResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        page, after = await self._routes.list_page(
            org,
            after=asked.text_cursor or "",
            limit=asked.limit,
        )
        return pb.ListInsightRoutesResponse(
            insight_routes=[route_message(org, stored) for stored in page],
            next_page_token=asked.next_token(after),
        )

    async def UpdateInsightRoute(
        self, request: pb.UpdateInsightRouteRequest, context: ServicerContext[Any, Any]
    ) -> pb.UpdateInsightRouteResponse:
        org = require_org(request.insight_route.name, field="insight_route.name")
        if request.insight_route.target_url:
            require_private_channel(context, field=_TARGET_FIELD)

        def answer(stored: StoredRoute) -> pb.UpdateInsightRouteResponse:
            return pb.UpdateInsightRouteResponse(insight_route=route_message(org, stored))

        stored = await self._routes.update(
            org,
            route_id(request.insight_route.name, field="insight_route.name"),
            route_spec(request.insight_route),
            target_of(request.insight_route, request.update_mask.paths),
            reseal=keeps_target(request.insight_route, request.update_mask.paths),
            fields=spec_fields(request.update_mask.paths),
            revision=revision_of(request.insight_route.etag, field="insight_route.etag"),
            repeatable=self._repeatable("UpdateInsightRoute", request, answer),
        )
        return answer_to(stored, answer, pb.UpdateInsightRouteResponse)

    async def DeleteInsightRoute(
        self, request: pb.DeleteInsightRouteRequest, context: ServicerContext[Any, Any]
    ) -> pb.DeleteInsightRouteResponse:
        org = require_org(request.name, field="name")

        def answer(_: None) -> pb.DeleteInsightRouteResponse:
            return pb.DeleteInsightRouteResponse()

        await self._routes.delete(
            org,
            route_id(request.name),
            revision=revision_of(request.etag, field="etag"),
            repeatable=_required(repeatable("DeleteInsightRoute", request, answer)),
        )
        return answer(None)

    async def TestInsightRoute(
        self, request: pb.TestInsightRouteRequest, context: ServicerContext[Any, Any]
    ) -> pb.TestInsightRouteResponse:
        org = require_org(request.name, field="name")

        def answer(error: str) -> pb.TestInsightRouteResponse:
            return pb.TestInsightRouteResponse(sent=not error, error=error)

        error = await self._routes.test(
            org,
            route_id(request.name),
            repeatable=_required(repeatable("TestInsightRoute", request, answer)),
        )
        return answer_to(error, answer, pb.TestInsightRouteResponse)

    def _repeatable(
        self, method: str, request: Message, answer: Callable[[Result], Message]
    ) -> Repeatable[Result] | None:
        """Return the identity of a request, from which no target in it can be guessed."""
        found = repeatable(method, request, answer)
        if found is None:
            return None
        digest = hmac.digest(self._page_tokens.key, b"request " + found.payload_digest, "sha256")
        return replace(found, payload_digest=digest)


def _required(found: Repeatable[Result] | None) -> Repeatable[Result]:
    assert found is not None, "required by the contract"
    return found
