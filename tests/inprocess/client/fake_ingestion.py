# ruff: noqa: N802  # methods are named by the contract
"""An Ingestion for tests of the client: it keeps what it is given, and fails when told to."""

from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.message import Message
from tests.inprocess.client.fake_memory import Context, Failure, abort

from liftos.common.v1.marketing_pb2 import Progress
from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos.ingestion.v1 import ingestion_service_pb2_grpc
from liftos.ingestion.v1.connection_pb2 import CONNECTION_STATE_ACTIVE, Connection
from liftos.ingestion.v1.run_pb2 import RUN_STATE_RUNNING, RUN_STATE_SUCCEEDED, Run


class FakeIngestion(ingestion_service_pb2_grpc.IngestionServiceServicer):
    """Answers with what it was given; each method first uses up its failures.

    Attributes:
        failures: Per method name, what its next calls are answered with.
        seen: Every request in order.
    """

    def __init__(self) -> None:
        self.failures: dict[str, deque[Failure]] = defaultdict(deque)
        self.seen: list[Message] = []
        self._connections: list[Connection] = []

    async def _receive(self, method: str, request: Message, context: Context[Any, Any]) -> None:
        self.seen.append(request)
        if self.failures[method]:
            await abort(context, self.failures[method].popleft())

    async def CreateConnection(
        self, request: pb.CreateConnectionRequest, context: Context[Any, Any]
    ) -> pb.CreateConnectionResponse:
        await self._receive("CreateConnection", request, context)
        connection = Connection()
        connection.CopyFrom(request.connection)
        connection.state = CONNECTION_STATE_ACTIVE
        self._connections.append(connection)
        return pb.CreateConnectionResponse(connection=connection)

    async def ListConnections(
        self, request: pb.ListConnectionsRequest, context: Context[Any, Any]
    ) -> pb.ListConnectionsResponse:
        await self._receive("ListConnections", request, context)
        return pb.ListConnectionsResponse(connections=self._connections)

    async def StartRun(
        self, request: pb.StartRunRequest, context: Context[Any, Any]
    ) -> pb.StartRunResponse:
        await self._receive("StartRun", request, context)
        return pb.StartRunResponse(run=Run(name="orgs/acme/runs/" + "0" * 32))

    async def WatchRun(
        self, request: pb.WatchRunRequest, context: Context[Any, Any]
    ) -> AsyncIterator[pb.WatchRunResponse]:
        self.seen.append(request)
        for done in range(3):
            run = Run(
                name=request.name,
                state=RUN_STATE_SUCCEEDED if done == 2 else RUN_STATE_RUNNING,
                progress=Progress(total_count=2, succeeded_count=done),
            )
            yield pb.WatchRunResponse(run=run)
            if done == 1 and self.failures["WatchRun"]:
                await abort(context, self.failures["WatchRun"].popleft())

    async def DiscardDeadLetters(
        self, request: pb.DiscardDeadLettersRequest, context: Context[Any, Any]
    ) -> pb.DiscardDeadLettersResponse:
        await self._receive("DiscardDeadLetters", request, context)
        return pb.DiscardDeadLettersResponse(discard_count=len(request.names))


@asynccontextmanager
async def serving_ingestion(ingestion: FakeIngestion) -> AsyncIterator[str]:
    """Serve it on a free port of this machine, and give its address."""
    server = grpc.aio.server()
    ingestion_service_pb2_grpc.add_IngestionServiceServicer_to_server(ingestion, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)
