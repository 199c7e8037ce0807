"""Alerts and their routes on the wire."""

import hmac
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

from google.protobuf.message import Message
from grpc.aio import ServicerContext

from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos_ingestion.alert_ports import StoredRoute
from liftos_ingestion.convert.alerts import (
    alert_id,
    alert_message,
    keeps_target,
    route_id,
    route_message,
    route_spec,
    spec_fields,
    target_of,
)
from liftos_ingestion.domain.alert_filters import ALERT_FIELDS
from liftos_ingestion.run_view_ports import Row
from liftos_ingestion.usecases.alert_routes import AlertRoutes
from liftos_ingestion.usecases.alerts import Alerts
from liftos_ingestion.usecases.sources import Catalog
from liftos_kit.auth import current_principal, require_org
from liftos_kit.channel import require_private_channel
from liftos_kit.core.filters import parse_filter
from liftos_kit.core.paging import PageTokens
from liftos_kit.core.repeatable import Repeatable
from liftos_kit.requests import answer_to, page_request, repeatable
from liftos_kit.structs import revision_of

_TARGET_FIELD: Final = "alert_route.target_url"

Result = TypeVar("Result")


class AlertsServicer:
    """Shows alerts, and makes, changes and tries their routes.

    Args:
        alerts: Shows alerts.
        routes: Makes routes.
        page_tokens: Of lists; their key also signs what is kept of requests with secrets.
    """

    def __init__(
        self, *, alerts: Alerts, routes: AlertRoutes, catalog: Catalog, page_tokens: PageTokens
    ) -> None:
        self._alerts = alerts
        self._routes = routes
        self._catalog = catalog
        self._page_tokens = page_tokens

    async def GetAlert(
        self, request: pb.GetAlertRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetAlertResponse:
        org = require_org(request.name, field="name")
        row = await self._alerts.get(org, alert_id(request.name))
        return pb.GetAlertResponse(alert=alert_message(org, row))

    async def ListAlerts(
        self, request: pb.ListAlertsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListAlertsResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        rows, cursor = await self._alerts.list_alerts(
            org,
            where=parse_filter(request.filter, ALERT_FIELDS),
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListAlertsResponse(
            alerts=[alert_message(org, row) for row in rows],
            next_page_token=asked.next_token(cursor),
        )

    async def AcknowledgeAlert(
        self, request: pb.AcknowledgeAlertRequest, context: ServicerContext[Any, Any]
    ) -> pb.AcknowledgeAlertResponse:
        org = require_org(request.name, field="name")

        def answer(row: Row) -> pb.AcknowledgeAlertResponse:
            return pb.AcknowledgeAlertResponse(alert=alert_message(org, row))

        row = await self._alerts.acknowledge(
            org,
            alert_id(request.name),
            subject=current_principal().subject,
            comment=request.comment,
            repeatable=repeatable("AcknowledgeAlert", request, answer),
        )
        return answer_to(row, answer, pb.AcknowledgeAlertResponse)

    async def CreateAlertRoute(
        self, request: pb.CreateAlertRouteRequest, context: ServicerContext[Any, Any]
    ) -> pb.CreateAlertRouteResponse:
        org = require_org(request.alert_route.name, field="alert_route.name")
        if request.alert_route.target_url:
            require_private_channel(context, field=_TARGET_FIELD)

        await self._catalog.require(org, request.alert_route.platforms)

        def answer(stored: StoredRoute) -> pb.CreateAlertRouteResponse:
            return pb.CreateAlertRouteResponse(alert_route=route_message(org, stored))

        stored = await self._routes.create(
            org,
            route_id(request.alert_route.name, field="alert_route.name"),
            route_spec(request.alert_route),
            target_of(request.alert_route),
            repeatable=_required(self._repeatable("CreateAlertRoute", request, answer)),
        )
        return answer_to(stored, answer, pb.CreateAlertRouteResponse)

    async def GetAlertRoute(
        self, request: pb.GetAlertRouteRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetAlertRouteResponse:
        org = require_org(request.name, field="name")
        stored = await self._routes.get(org, route_id(request.name))
        return pb.GetAlertRouteResponse(alert_route=route_message(org, stored))

    async def ListAlertRoutes(
        self, request: pb.ListAlertRoutesRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListAlertRoutesResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        page, after = await self._routes.list_page(
            org,
            after=asked.text_cursor or "",
            limit=asked.limit,
        )
        return pb.ListAlertRoutesResponse(
            alert_routes=[route_message(org, stored) for stored in page],
            next_page_token=asked.next_token(after),
        )

    async def UpdateAlertRoute(
        self, request: pb.UpdateAlertRouteRequest, context: ServicerContext[Any, Any]
    ) -> pb.UpdateAlertRouteResponse:
        org = require_org(request.alert_route.name, field="alert_route.name")
        if request.alert_route.target_url:
            require_private_channel(context, field=_TARGET_FIELD)

        await self._catalog.require(org, request.alert_route.platforms)

        def answer(stored: StoredRoute) -> pb.UpdateAlertRouteResponse:
            return pb.UpdateAlertRouteResponse(alert_route=route_message(org, stored))

        stored = await self._routes.update(
            org,
            route_id(request.alert_route.name, field="alert_route.name"),
            route_spec(request.alert_route),
            target_of(request.alert_route, request.update_mask.paths),
            reseal=keeps_target(request.alert_route, request.update_mask.paths),
            fields=spec_fields(request.update_mask.paths),
            revision=revision_of(request.alert_route.etag, field="alert_route.etag"),
            repeatable=self._repeatable("UpdateAlertRoute", request, answer),
        )
        return answer_to(stored, answer, pb.UpdateAlertRouteResponse)

    async def DeleteAlertRoute(
        self, request: pb.DeleteAlertRouteRequest, context: ServicerContext[Any, Any]
    ) -> pb.DeleteAlertRouteResponse:
        org = require_org(request.name, field="name")

        def answer(_: None) -> pb.DeleteAlertRouteResponse:
            return pb.DeleteAlertRouteResponse()

        await self._routes.delete(
            org,
            route_id(request.name),
            revision=revision_of(request.etag, field="etag"),
            repeatable=_required(repeatable("DeleteAlertRoute", request, answer)),
        )
        return answer(None)

    async def TestAlertRoute(
        self, request: pb.TestAlertRouteRequest, context: ServicerContext[Any, Any]
    ) -> pb.TestAlertRouteResponse:
        org = require_org(request.name, field="name")

        def answer(error: str) -> pb.TestAlertRouteResponse:
            return pb.TestAlertRouteResponse(sent=not error, error=error)

        error = await self._routes.test(
            org,
            route_id(request.name),
            repeatable=_required(repeatable("TestAlertRoute", request, answer)),
        )
        return answer_to(error, answer, pb.TestAlertRouteResponse)

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
