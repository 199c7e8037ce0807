"""Services for tests of the command line: they answer as told, and keep what they were asked."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from grpc_status import rpc_status

from liftos.ingestion.v1 import ingestion_service_pb2
from liftos_kit.core.errors import DomainError
from liftos_kit.status import status_of

_SERVICE: Final = ingestion_service_pb2.DESCRIPTOR.services_by_name["IngestionService"]


class RecordingService(grpc.GenericRpcHandler):
    """Answers every method of a service with one message, by default an empty one.

    Attributes:
        answers: Per method name, what it is answered with.
        refusals: Per method name, what it is refused with.
        seen: Per method name, its last request.
    """

    def __init__(self, described: ServiceDescriptor) -> None:
        self._described = described
        self.answers: dict[str, Message] = {}
        self.refusals: dict[str, DomainError] = {}
        self.seen: dict[str, Any] = {}

    def service(self, details: grpc.HandlerCallDetails) -> Any:  # grpc's handler
        """Return what handles a call."""
        name = details.method.rpartition("/")[2]
        method = self._described.methods_by_name[name]

        def answer(request: Message, context: grpc.ServicerContext) -> Message:
            self.seen[name] = request
            if (refusal := self.refusals.get(name)) is not None:
                context.abort_with_status(rpc_status.to_status(status_of(refusal)))
            return self.answers.get(name) or message_factory.GetMessageClass(method.output_type)()

        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )


class RecordingIngestion(RecordingService):
    """An Ingestion that does so."""

    def __init__(self) -> None:
        super().__init__(_SERVICE)


@contextmanager
def serving(service: RecordingService) -> Iterator[str]:
    """Serve it on a free port of this machine, and give its address."""
    server = grpc.server(ThreadPoolExecutor(2), handlers=[service])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()
