"""Alerts on the wire."""

from typing import Any

from grpc.aio import ServicerContext

from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos_ingestion.convert.alerts import alert_id, alert_message
from liftos_ingestion.domain.alert_filters import ALERT_FIELDS
from liftos_ingestion.run_view_ports import Row
from liftos_ingestion.usecases.alerts import Alerts
from liftos_kit.auth import current_principal, require_org
from liftos_kit.core.filters import parse_filter
from liftos_kit.core.paging import PageTokens
from liftos_kit.requests import answer_to, page_request, repeatable


class AlertsServicer:
    """Shows alerts and lets people take them up; their routes have a servicer of the kit.

    Args:
        alerts: Shows alerts.
        page_tokens: Of lists.
    """

    def __init__(self, *, alerts: Alerts, page_tokens: PageTokens) -> None:
        self._alerts = alerts
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
