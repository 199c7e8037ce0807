"""Where insights are told."""

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1.insight_pb2 import InsightKind, InsightRoute
from liftos_client.arguments import enum_value
from liftos_client.memory.base import MemoryCalls
from liftos_client.memory.insights import Kind
from liftos_client.routes import RouteMethods, RouteTopic


class InsightRouteMethods(MemoryCalls, RouteMethods[InsightRoute, Kind, float]):
    """Methods about routes of insights."""

    _route_topic = RouteTopic(
        noun="insight",
        messages=pb,
        route=InsightRoute,
        kind=lambda kind: enum_value(InsightKind, kind, field="kinds"),
        severity=float,
    )
    create_insight_route = RouteMethods._create_route
    get_insight_route = RouteMethods._get_route
    list_insight_routes = RouteMethods._list_routes
    update_insight_route = RouteMethods._update_route
    delete_insight_route = RouteMethods._delete_route
    test_insight_route = RouteMethods._test_route
