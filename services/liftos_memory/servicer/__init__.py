"""Memory on the wire: one part per area, put together to the whole service."""

from collections.abc import Sequence
from typing import cast

from liftos.memory.v1 import memory_service_pb2, memory_service_pb2_grpc


class ServicerPartsError(Exception):
    """The parts do not serve every method exactly once."""


def combine(parts: Sequence[object]) -> memory_service_pb2_grpc.MemoryServiceServicer:
    """Return a servicer that answers each method by the one part that has it.

    Raises:
        ServicerPartsError: A method has no part, or several.
    """
    methods = {}
    for method in memory_service_pb2.DESCRIPTOR.services_by_name["MemoryService"].methods:
        serving = [part for part in parts if hasattr(part, method.name)]
        if len(serving) != 1:
            names = ", ".join(type(part).__name__ for part in serving) or "no part"
            raise ServicerPartsError(f"{method.name} is served by {names}")
        methods[method.name] = getattr(serving[0], method.name)
    servicer = type("MemoryServicer", (), methods)
    # The whole has every method by construction, which types cannot see.
    return cast("memory_service_pb2_grpc.MemoryServiceServicer", servicer)
