"""Alerts, and where they go."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos.ingestion.v1.alert_pb2 import Alert, AlertKind, AlertRoute, AlertSeverity
from liftos_client.arguments import enum_value, field_mask, text_list
from liftos_client.ingestion.base import IngestionCalls, chosen_request_id
from liftos_client.pages import Pages

if TYPE_CHECKING:
    Kind: TypeAlias = AlertKind.ValueType | str
    Severity: TypeAlias = AlertSeverity.ValueType | str
else:
    # The generated code names these types for type checkers only.
    Kind = Severity = int | str


class AlertMethods(IngestionCalls):
    """Methods about alerts and their routes. The target of a route goes in and never comes out."""

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

    async def create_alert_route(
        self,
        route_id: str,
        *,
        display_name: str,
        target_url: str,
        kinds: Iterable[Kind] = (),
        minimum_severity: Severity = "UNSPECIFIED",
        platforms: Sequence[str] = (),
        disabled: bool = False,
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> AlertRoute:
        """Say where alerts go.

        Args:
            route_id: Lower case letters, digits and hyphens.
            display_name: Shown to people.
            target_url: Where to send; it holds secrets.
            kinds: Only these, such as "RUN_FAILED"; none means all.
            minimum_severity: "INFO", "WARNING" or "CRITICAL"; by default all.
            platforms: Only these; none means all.
            disabled: True sends nothing.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            AlreadyExistsError: The id is taken.
            ChannelInsecureError: The target was sent over an open channel.
        """
        request = pb.CreateAlertRouteRequest(
            alert_route=AlertRoute(
                name=self._name("alertRoutes", route_id),
                display_name=display_name,
                target_url=target_url,
                kinds=[enum_value(AlertKind, kind, field="kinds") for kind in kinds],
                minimum_severity=enum_value(
                    AlertSeverity, minimum_severity, field="minimum_severity"
                ),
                platforms=text_list(platforms, field="platforms"),
                disabled=disabled,
            ),
            request_id=chosen_request_id(request_id),
        )
        answer = await self._calls.unary(self._stub.CreateAlertRoute, request, timeout_seconds)
        return answer.alert_route

    async def get_alert_route(
        self, name: str, *, timeout_seconds: float | None = None
    ) -> AlertRoute:
        """Read one route, without its target.

        Raises:
            NotFoundError: There is none.
        """
        request = pb.GetAlertRouteRequest(name=self._name("alertRoutes", name))
        answer = await self._calls.unary(self._stub.GetAlertRoute, request, timeout_seconds)
        return answer.alert_route

    def list_alert_routes(
        self, *, page_size: int = 0, page_token: str = "", timeout_seconds: float | None = None
    ) -> Pages[AlertRoute, pb.ListAlertRoutesResponse]:
        """List routes by name, without their targets."""
        return self._pages(
            self._stub.ListAlertRoutes,
            pb.ListAlertRoutesRequest(parent=self._parent, page_size=page_size),
            lambda page: page.alert_routes,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def update_alert_route(
        self,
        alert_route: AlertRoute,
        *,
        update_mask: Iterable[str] = (),
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> AlertRoute:
        """Change a route.

        Args:
            alert_route: As read, with its etag, and changed; an empty target stays what it was,
                and is encrypted again with the newest key where the mask names it.
            update_mask: Fields to change; none means all that a writer gives.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            EtagMismatchError: It was changed since it was read.
            ChannelInsecureError: The target was sent over an open channel.
        """
        request = pb.UpdateAlertRouteRequest(
            alert_route=alert_route,
            update_mask=field_mask(update_mask),
            request_id=chosen_request_id(request_id),
        )
        answer = await self._calls.unary(self._stub.UpdateAlertRoute, request, timeout_seconds)
        return answer.alert_route

    async def delete_alert_route(
        self,
        name: str,
        *,
        etag: str = "",
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> None:
        """Remove a route.

        Raises:
            EtagMismatchError: It was changed since it was read with this etag.
        """
        request = pb.DeleteAlertRouteRequest(
            name=self._name("alertRoutes", name),
            etag=etag,
            request_id=chosen_request_id(request_id),
        )
        await self._calls.unary(self._stub.DeleteAlertRoute, request, timeout_seconds)

    async def test_alert_route(
        self, name: str, *, request_id: str = "", timeout_seconds: float | None = None
    ) -> pb.TestAlertRouteResponse:
        """Send a message that says it is a test; the answer says whether it went out."""
        request = pb.TestAlertRouteRequest(
            name=self._name("alertRoutes", name), request_id=chosen_request_id(request_id)
        )
        return await self._calls.unary(self._stub.TestAlertRoute, request, timeout_seconds)
