"""`python -m liftos_causal serve | check-config`."""

import sys

from liftos.causal.v1 import causal_service_pb2_grpc
from liftos_kit.draft import run_draft
from liftos_kit.settings import Port, ServiceSettings


class CausalSettings(ServiceSettings):
    """Settings of the Causal service."""

    port: Port = 8008


def main() -> int:
    """Run the service."""
    servicer = causal_service_pb2_grpc.CausalServiceServicer
    return run_draft(
        "liftos-causal",
        settings_type=CausalSettings,
        service_name="liftos.causal.v1.CausalService",
        # The generated class is abstract to the type checker only.
        register=lambda server: causal_service_pb2_grpc.add_CausalServiceServicer_to_server(
            servicer(),  # type: ignore[abstract]
            server,
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
