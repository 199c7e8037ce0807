"""`python -m liftos_migration serve | check-config`."""

import sys

from liftos.migration.v1 import migration_service_pb2_grpc
from liftos_kit.draft import run_draft
from liftos_kit.settings import Port, ServiceSettings


class MigrationSettings(ServiceSettings):
    """Settings of the Migration service."""

    port: Port = 8010


def main() -> int:
    """Run the service."""
    servicer = migration_service_pb2_grpc.MigrationServiceServicer
    return run_draft(
        "liftos-migration",
        settings_type=MigrationSettings,
        service_name="liftos.migration.v1.MigrationService",
        # The generated class is abstract to the type checker only.
        register=lambda server: migration_service_pb2_grpc.add_MigrationServiceServicer_to_server(
            servicer(),  # type: ignore[abstract]
            server,
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
