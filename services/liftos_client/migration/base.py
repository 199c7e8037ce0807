"""What the parts of Migration's client share."""

from typing import TYPE_CHECKING

from liftos_client.service_calls import ServiceCalls

if TYPE_CHECKING:
    from liftos.migration.v1.migration_service_pb2_grpc import MigrationServiceAsyncStub
else:
    # The generated code names it for type checkers only.
    MigrationServiceAsyncStub = object


class MigrationCalls(ServiceCalls[MigrationServiceAsyncStub]):
    """Calls Migration for one organisation."""

    def _migration_name(self, migration: str) -> str:
        """Return the name of a migration from itself or its id."""
        return self._name("migrations", migration)

    def _part_name(self, migration: str, collection: str, part: str) -> str:
        """Return the name of a part of a migration from itself, or from both ids."""
        if part.startswith("orgs/"):
            return part
        return f"{self._migration_name(migration)}/{collection}/{part}"
