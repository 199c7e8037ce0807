"""What the parts of Memory's client share."""

from typing import TYPE_CHECKING

from liftos_client.service_calls import ServiceCalls

if TYPE_CHECKING:
    from liftos.memory.v1.memory_service_pb2_grpc import MemoryServiceAsyncStub
else:
    # The generated code names this class for type checkers only.
    MemoryServiceAsyncStub = object


class MemoryCalls(ServiceCalls[MemoryServiceAsyncStub]):
    """Calls Memory for one organisation."""
