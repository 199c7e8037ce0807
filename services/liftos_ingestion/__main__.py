"""`python -m liftos_ingestion serve | check-config`."""

import sys

from liftos.ingestion.v1 import ingestion_service_pb2_grpc
from liftos_kit.draft import run_draft
from liftos_kit.settings import Port, ServiceSettings


class IngestionSettings(ServiceSettings):
    """Settings of the Ingestion service."""

    port: Port = 8006


def main() -> int:
    """Run the service."""
    servicer = ingestion_service_pb2_grpc.IngestionServiceServicer
    return run_draft(
        "liftos-ingestion",
        settings_type=IngestionSettings,
        service_name="liftos.ingestion.v1.IngestionService",
        # The generated class is abstract to the type checker only.
        register=lambda server: ingestion_service_pb2_grpc.add_IngestionServiceServicer_to_server(
            servicer(),  # type: ignore[abstract]
            server,
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
