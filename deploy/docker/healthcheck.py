# ruff: noqa: INP001 - a script of the image, not a module of a package
"""Ask a LiftOS process of this container whether it is well; exit 0 when it is, 1 when it is not.

A server answers `grpc.health.v1.Health/Check`, a worker serves `/metrics`. Under TLS the process is
asked with the certificate that it serves: that very certificate is trusted, and shown as the
client's where the server asks for one.
"""

import argparse
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

import grpc
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

DEFAULT_PORT = 8003


def main(arguments: list[str]) -> int:
    """Run the check that the arguments name and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    port = int(os.environ.get("LIFTOS_PORT", DEFAULT_PORT))
    metrics_port = int(os.environ.get("LIFTOS_METRICS_PORT", port + 1000))
    parser.add_argument("--address", default=f"127.0.0.1:{port}", help="host:port of the server")
    parser.add_argument("--service", default="", help="health name; empty asks for the process")
    parser.add_argument("--metrics", action="store_true", help="ask a worker for its metrics")
    parser.add_argument("--timeout-seconds", type=float, default=4.0)
    options = parser.parse_args(arguments)
    if options.metrics:
        problem = metrics_problem(metrics_port, timeout_seconds=options.timeout_seconds)
    else:
        problem = server_problem(
            options.address, service=options.service, timeout_seconds=options.timeout_seconds
        )
    if problem:
        sys.stderr.write(f"not healthy: {problem}\n")
        return 1
    return 0


def server_problem(address: str, *, service: str, timeout_seconds: float) -> str | None:
    """What is wrong with the named health service at the address, or None when it is serving."""
    with open_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            reply = stub.Check(
                health_pb2.HealthCheckRequest(service=service),
                timeout=timeout_seconds,
                wait_for_ready=True,
            )
        except grpc.RpcError as error:
            return f"{address} {service or 'process'}: {error.code().name} {error.details()}"
    if reply.status == health_pb2.HealthCheckResponse.SERVING:
        return None
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
    return f"{address} {service or 'process'}: {status}"


def open_channel(address: str) -> grpc.Channel:
    """A channel to the address, over TLS where `LIFTOS_TLS_CERTIFICATE_FILE` is set."""
    options: list[tuple[str, str | int]] = [("grpc.enable_http_proxy", 0)]
    certificate_file = os.environ.get("LIFTOS_TLS_CERTIFICATE_FILE")
    if not certificate_file:
        return grpc.insecure_channel(address, options=options)
    chain = Path(certificate_file).read_bytes()
    show_own = "LIFTOS_TLS_CLIENT_CA_FILE" in os.environ
    credentials = grpc.ssl_channel_credentials(
        root_certificates=chain,
        private_key=Path(os.environ["LIFTOS_TLS_KEY_FILE"]).read_bytes() if show_own else None,
        certificate_chain=chain if show_own else None,
    )
    options.append(("grpc.ssl_target_name_override", first_dns_name(chain)))
    return grpc.secure_channel(address, credentials, options=options)


def first_dns_name(chain: bytes) -> str:
    """The first DNS name in the leaf of a PEM chain; a wildcard is made concrete."""
    leaf = x509.load_pem_x509_certificate(chain)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)[0].replace("*", "health")


def metrics_problem(port: int, *, timeout_seconds: float) -> str | None:
    """What is wrong with the metrics endpoint of this machine, or None when it answers."""
    url = f"http://127.0.0.1:{port}/metrics"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_seconds) as reply:
            reply.read()
    except (urllib.error.URLError, OSError) as error:
        return f"{url}: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
