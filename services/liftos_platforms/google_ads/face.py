"""The Google Ads API of a simulation: a gRPC server, a REST server and a token endpoint."""

import grpc

from liftos_platforms.google_ads.grpc_server import GrpcServer
from liftos_platforms.google_ads.rest import RestRoutes
from liftos_platforms.google_ads.service import OPERATIONS_PER_DAY, PAGE_ROWS, Service
from liftos_platforms.http import HttpServer
from liftos_platforms.simulation import Simulation


class GoogleAdsFace:
    """The servers of the Google Ads API.

    Args:
        simulation: What they tell about.
        page_rows: Rows of a page and of a chunk of a stream; the platform has 10,000.
        operations_per_day: Operations of the project in 24 hours; None for any number.
        credentials: Of the gRPC server; None to speak in clear. A client that adds credentials to
            its calls by itself needs `grpc.local_server_credentials()` or a certificate here.
    """

    def __init__(
        self,
        simulation: Simulation,
        *,
        page_rows: int = PAGE_ROWS,
        operations_per_day: int | None = OPERATIONS_PER_DAY,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        service = Service(simulation, page_rows=page_rows, operations_per_day=operations_per_day)
        self._grpc = GrpcServer(service, credentials)
        self._http = HttpServer(RestRoutes(service, simulation).application())

    @property
    def port(self) -> int:
        """The port of gRPC; 0 before `start`."""
        return self._grpc.port

    @property
    def rest_port(self) -> int:
        """The port of REST and of the token endpoint; 0 before `start`."""
        return self._http.port

    async def start(self, host: str, port: int, rest_port: int = 0) -> None:
        """Listen; port 0 takes a free one."""
        await self._grpc.start(host, port)
        await self._http.start(host, rest_port)

    async def stop(self) -> None:
        """Stop listening and hang up on everyone."""
        await self._http.stop()
        await self._grpc.stop()
