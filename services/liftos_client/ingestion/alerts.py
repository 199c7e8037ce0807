"""Alerts, and where they go."""

from typing import TYPE_CHECKING, TypeAlias

from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos.ingestion.v1.alert_pb2 import Alert, AlertKind, AlertRoute, AlertSeverity
from liftos_client.arguments import chosen_request_id, enum_value
from liftos_client.ingestion.base import IngestionCalls
from liftos_client.pages import Pages
from liftos_client.routes import RouteMethods, RouteTopic

if TYPE_CHECKING:
    Kind: TypeAlias = AlertKind.ValueType | str
    Severity: TypeAlias = AlertSeverity.ValueType | str
else:
    # The generated code names these types for type checkers only.
    Kind = Severity = int | str


class AlertMethods(IngestionCalls, RouteMethods[AlertRoute, Kind, Severity]):
    """Methods about alerts and their routes."""

    _route_topic = RouteTopic(
        noun="alert",
        messages=pb,
        route=AlertRoute,
        kind=lambda kind: enum_value(AlertKind, kind, field="kinds"),
        severity=lambda word: enum_value(AlertSeverity, word, field="minimum_severity"),
    )
    create_alert_route = RouteMethods._create_route
    get_alert_route = RouteMethods._get_route
    list_alert_routes = RouteMethods._list_routes
    update_alert_route = RouteMethods._update_route
    delete_alert_route = RouteMethods._delete_route
    test_alert_route = RouteMethods._test_route

    async def get_alert(self, name: str, *, timeout_seconds: float | None = None) -> Alert:
        """Read one alert.

        Raises:
            NotFoundError: There is none.
        """
        request = pb.GetAlertRequest(name=self._name("alerts", name))
        return (await self._calls.unary(self._stub.GetAlert, request, timeout_seconds)).alert

    def list_alerts(
        self,
        *,
        filter: str = "",  # noqa: A002  # the contract's word
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[Alert, pb.ListAlertsResponse]:
        """List alerts, open ones first.

        The filter is over kind, severity, state, platform, connection, account_id.
        """
        return self._pages(
            self._stub.ListAlerts,
            pb.ListAlertsRequest(parent=self._parent, filter=filter, page_size=page_size),
            lambda page: page.alerts,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def acknowledge_alert(
        self,
        name: str,
        *,
        comment: str = "",
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> Alert:
        """Take an alert up, so that it is not sent again.

        Raises:
            StateTransitionError: It is resolved.
        """
        request = pb.AcknowledgeAlertRequest(
            name=self._name("alerts", name),
            comment=comment,
            request_id=chosen_request_id(request_id),
        )
        answer = await self._calls.unary(self._stub.AcknowledgeAlert, request, timeout_seconds)
        return answer.alert
