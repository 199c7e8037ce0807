"""Where insights are told."""

from typing import TYPE_CHECKING

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1.insight_pb2 import InsightKind, InsightRoute
from liftos_client.arguments import enum_value
from liftos_client.calls import Calls
from liftos_client.memory.base import MemoryCalls
from liftos_client.memory.insights import Kind
from liftos_client.routes import RouteCalls

if TYPE_CHECKING:
    from liftos.memory.v1.memory_service_pb2_grpc import MemoryServiceAsyncStub
else:
    # The generated code names this class for type checkers only.
    MemoryServiceAsyncStub = object


class InsightRouteMethods(MemoryCalls):
    """Methods about routes of insights."""

    def __init__(self, stub: MemoryServiceAsyncStub, calls: Calls, *, org: str) -> None:
        super().__init__(stub, calls, org=org)
        routes: RouteCalls[InsightRoute, Kind, float] = RouteCalls(
            stub,
            calls,
            org=org,
            noun="insight",
            messages=pb,
            route=InsightRoute,
            kind=lambda kind: enum_value(InsightKind, kind, field="kinds"),
            severity=float,
        )
        self.create_insight_route = routes.create
        self.get_insight_route = routes.get
        self.list_insight_routes = routes.list_pages
        self.update_insight_route = routes.update
        self.delete_insight_route = routes.delete
        self.test_insight_route = routes.test
