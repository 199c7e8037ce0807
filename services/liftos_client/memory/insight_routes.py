"""Where insights are told."""

from collections.abc import Iterable, Sequence

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1.insight_pb2 import InsightKind, InsightRoute
from liftos_client.arguments import enum_value, field_mask, text_list
from liftos_client.ingestion.base import chosen_request_id
from liftos_client.memory.base import MemoryCalls
from liftos_client.memory.insights import Kind
from liftos_client.pages import Pages


class InsightRouteMethods(MemoryCalls):
    """Methods about routes of insights. The target of a route goes in and never comes out."""

    async def create_insight_route(
        self,
        route_id: str,
        *,
        display_name: str,
        target_url: str,
        kinds: Iterable[Kind] = (),
        minimum_severity: float = 0.0,
        platforms: Sequence[str] = (),
        disabled: bool = False,
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> InsightRoute:
        """Say where insights are told.

        Args:
            route_id: Lower case letters, digits and hyphens.
            display_name: Shown to people.
            target_url: Where to send; it holds secrets.
            kinds: Only these, such as "ANOMALY"; none means all.
            minimum_severity: Only insights at least as severe, 0 to 100.
            platforms: Only these; none means all.
            disabled: True sends nothing.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            AlreadyExistsError: The id is taken.
            ChannelInsecureError: The target was sent over an open channel.
        """
        request = pb.CreateInsightRouteRequest(
            insight_route=InsightRoute(
                name=self._name("insightRoutes", route_id),
                display_name=display_name,
                target_url=target_url,
                kinds=[enum_value(InsightKind, kind, field="kinds") for kind in kinds],
                minimum_severity=minimum_severity,
                platforms=text_list(platforms, field="platforms"),
                disabled=disabled,
            ),
            request_id=chosen_request_id(request_id),
        )
        answer = await self._calls.unary(self._stub.CreateInsightRoute, request, timeout_seconds)
        return answer.insight_route

    async def get_insight_route(
        self, name: str, *, timeout_seconds: float | None = None
    ) -> InsightRoute:
        """Read one route, without its target.

        Raises:
            NotFoundError: There is none.
        """
        request = pb.GetInsightRouteRequest(name=self._name("insightRoutes", name))
        answer = await self._calls.unary(self._stub.GetInsightRoute, request, timeout_seconds)
        return answer.insight_route

    def list_insight_routes(
        self, *, page_size: int = 0, page_token: str = "", timeout_seconds: float | None = None
    ) -> Pages[InsightRoute, pb.ListInsightRoutesResponse]:
        """List routes by name, without their targets."""
        return self._pages(
            self._stub.ListInsightRoutes,
            pb.ListInsightRoutesRequest(parent=self._parent, page_size=page_size),
            lambda page: page.insight_routes,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def update_insight_route(
        self,
        insight_route: InsightRoute,
        *,
        update_mask: Iterable[str] = (),
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> InsightRoute:
        """Change a route.

        Args:
            insight_route: As read, with its etag, and changed; an empty target stays what it was,
                and is encrypted again with the newest key where the mask names it.
            update_mask: Fields to change; none means all that a writer gives.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            EtagMismatchError: It was changed since it was read.
            ChannelInsecureError: The target was sent over an open channel.
        """
        request = pb.UpdateInsightRouteRequest(
            insight_route=insight_route,
            update_mask=field_mask(update_mask),
            request_id=chosen_request_id(request_id),
        )
        answer = await self._calls.unary(self._stub.UpdateInsightRoute, request, timeout_seconds)
        return answer.insight_route

    async def delete_insight_route(
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
        request = pb.DeleteInsightRouteRequest(
            name=self._name("insightRoutes", name),
            etag=etag,
            request_id=chosen_request_id(request_id),
        )
        await self._calls.unary(self._stub.DeleteInsightRoute, request, timeout_seconds)

    async def test_insight_route(
        self, name: str, *, request_id: str = "", timeout_seconds: float | None = None
    ) -> pb.TestInsightRouteResponse:
        """Send a message that says it is a test; the answer says whether it went out."""
        request = pb.TestInsightRouteRequest(
            name=self._name("insightRoutes", name), request_id=chosen_request_id(request_id)
        )
        return await self._calls.unary(self._stub.TestInsightRoute, request, timeout_seconds)
