"""What the parts of Ingestion's client share."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from liftos.memory.v1.entry_pb2 import EntryLevel
from liftos_client.arguments import enum_value
from liftos_client.service_calls import ServiceCalls

if TYPE_CHECKING:
    from liftos.ingestion.v1.ingestion_service_pb2_grpc import IngestionServiceAsyncStub

    Level: TypeAlias = EntryLevel.ValueType | str
else:
    # The generated code names these for type checkers only.
    IngestionServiceAsyncStub = object
    Level = int | str


class IngestionCalls(ServiceCalls[IngestionServiceAsyncStub]):
    """Calls Ingestion for one organisation."""

    def _run_name(self, run: str) -> str:
        return self._name("runs", run)

    def _connection_name(self, connection: str) -> str:
        """Return the name of a connection; empty, where none is meant, stays empty."""
        return self._name("connections", connection) if connection else ""


def level_values(levels: Iterable[Level]) -> "list[EntryLevel.ValueType]":
    """Return levels as the contract has them.

    Raises:
        FieldInvalidError: There is no such level.
    """
    return [enum_value(EntryLevel, level, field="levels") for level in levels]
