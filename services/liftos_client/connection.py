"""A connection to LiftOS Core: the channels, the token, and the clients of the services."""

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from liftos.ingestion.v1 import ingestion_service_pb2, ingestion_service_pb2_grpc
from liftos.memory.v1 import memory_service_pb2, memory_service_pb2_grpc
from liftos.migration.v1 import migration_service_pb2, migration_service_pb2_grpc
from liftos_client.calls import Calls, MetadataSource
from liftos_client.errors import TokenInvalidError
from liftos_client.ingestion import IngestionClient
from liftos_client.memory import MemoryClient
from liftos_client.migration import MigrationClient
from liftos_client.policies import ServiceConfig, read_service_config

Token = str | Callable[[], str]
"""A bearer token, or what gives one; it is called before each call and has to be quick."""

MAXIMUM_MESSAGE_BYTES: Final = 16 * 1024 * 1024
_KEEPALIVE_MILLISECONDS: Final = 30_000
_KEEPALIVE_TIMEOUT_MILLISECONDS: Final = 10_000


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """How the channel is encrypted.

    `TlsOptions()` trusts the certificates that gRPC trusts by default.

    Attributes:
        ca_certificates: PEM of the authorities to trust instead.
        certificate_chain: PEM of the caller's own certificate, for servers that ask for one.
        private_key: PEM of its key.
        server_name: Name to expect in the server's certificate, where it is not the target's.
    """

    ca_certificates: bytes | None = None
    certificate_chain: bytes | None = None
    private_key: bytes | None = field(default=None, repr=False)
    server_name: str | None = None

    @classmethod
    def of_files(
        cls, ca_certificates: Path | None, certificate_chain: Path | None, private_key: Path | None
    ) -> Self | None:
        """Return options of PEM files; None, which is plain text, without authorities."""
        if ca_certificates is None:
            return None
        return cls(
            ca_certificates=ca_certificates.read_bytes(),
            certificate_chain=None if certificate_chain is None else certificate_chain.read_bytes(),
            private_key=None if private_key is None else private_key.read_bytes(),
        )


class Client:
    """The services of LiftOS Core; close it, or use it in `async with`.

    Attributes:
        memory: The store of marketing data.
        ingestion: Reads platforms and writes to Memory.
        migration: Moves a module's data to Memory.
        org: The organisation of the token.

    Args:
        channels: To Memory, Ingestion and Migration; they may be the same.
        org: The organisation of the token.
        token: Sent with each call.
        config: How methods are called.
        timeout_seconds: Deadline of each call in place of the methods' own.
    """

    def __init__(
        self,
        channels: tuple[grpc.aio.Channel, grpc.aio.Channel, grpc.aio.Channel],
        *,
        org: str,
        token: Token,
        config: ServiceConfig,
        timeout_seconds: float | None = None,
    ) -> None:
        self._channels = channels
        self.org = org
        metadata = _metadata_source(token)

        def calls(service: ServiceDescriptor) -> Calls:
            return Calls(config.policies(service), metadata, timeout_seconds=timeout_seconds)

        memory, ingestion, migration = channels
        self.memory = MemoryClient(
            memory_service_pb2_grpc.MemoryServiceStub(memory),
            calls(memory_service_pb2.DESCRIPTOR.services_by_name["MemoryService"]),
            org=org,
        )
        self.ingestion = IngestionClient(
            ingestion_service_pb2_grpc.IngestionServiceStub(ingestion),
            calls(ingestion_service_pb2.DESCRIPTOR.services_by_name["IngestionService"]),
            org=org,
        )
        self.migration = MigrationClient(
            migration_service_pb2_grpc.MigrationServiceStub(migration),
            calls(migration_service_pb2.DESCRIPTOR.services_by_name["MigrationService"]),
            org=org,
        )

    async def close(self) -> None:
        """Close the channels; calls under way are cancelled."""
        for channel in dict.fromkeys(self._channels):
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def connect(
    target: str,
    *,
    token: Token,
    ingestion_target: str | None = None,
    migration_target: str | None = None,
    tls: TlsOptions | None = None,
    timeout_seconds: float | None = None,
) -> Client:
    """Return a client of the server at `target`; it connects with the first call.

    Args:
        target: `host:port`, or a gRPC target such as `dns:///host:port`. Calls go in turn to all
            addresses that the name has.
        ingestion_target: Where Ingestion is; None is `target` too, for a proxy that leads each
            service's calls to its servers, and for those who call one service only.
        migration_target: Where Migration is; None is `target` too, as above.
        token: Sent as a bearer token with each call. A function is asked before each call, so that
            it can give a new token before the old one ends.
        tls: Encryption; None is plain text, for servers on this machine or behind a mesh.
        timeout_seconds: Deadline of each call in place of the methods' own of
            `service_config.json`; watches and ingest streams have none.

    Raises:
        TokenInvalidError: The token does not name an organisation.
    """
    org = org_of_token(token if isinstance(token, str) else token())
    config = read_service_config()
    channels: dict[str, grpc.aio.Channel] = {}

    def channel_to(address: str) -> grpc.aio.Channel:
        if address not in channels:
            channels[address] = _open_channel(address, config, tls)
        return channels[address]

    return Client(
        (
            channel_to(target),
            channel_to(target if ingestion_target is None else ingestion_target),
            channel_to(target if migration_target is None else migration_target),
        ),
        org=org,
        token=token,
        config=config,
        timeout_seconds=timeout_seconds,
    )


def org_of_token(token: str) -> str:
    """Return the organisation that a token is for, without checking its signature.

    Raises:
        TokenInvalidError: It is not a JWT, or has no `org`.
    """
    try:
        claims = token.split(".")[1]
        org = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["org"]
        if isinstance(org, str) and org:
            return org
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        pass
    raise TokenInvalidError(
        "the token is not a JWT with an org; get one with `liftos token`",
        code=grpc.StatusCode.UNAUTHENTICATED,
        reason="TOKEN_INVALID",
    )


def _open_channel(target: str, config: ServiceConfig, tls: TlsOptions | None) -> grpc.aio.Channel:
    options: list[tuple[str, int | str]] = [
        ("grpc.service_config", config.channel_json),
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", MAXIMUM_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAXIMUM_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MILLISECONDS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MILLISECONDS),
        # A server that is started again is found again soon.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 5_000),
    ]
    address = target if "://" in target or target.startswith("unix:") else f"dns:///{target}"
    if tls is None:
        return grpc.aio.insecure_channel(address, options)
    if tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    credentials = grpc.ssl_channel_credentials(
        tls.ca_certificates, tls.private_key, tls.certificate_chain
    )
    return grpc.aio.secure_channel(address, credentials, options)


def _metadata_source(token: Token) -> MetadataSource:
    if callable(token):
        get = token

        def authorization() -> tuple[str, str]:
            return ("authorization", f"Bearer {get()}")
    else:
        pair = ("authorization", f"Bearer {token}")

        def authorization() -> tuple[str, str]:
            return pair

    try:
        from opentelemetry import trace  # noqa: PLC0415  # not a requirement of the client
    except ImportError:
        return lambda: (authorization(),)

    def metadata() -> tuple[tuple[str, str], ...]:
        span = trace.get_current_span().get_span_context()
        if not span.is_valid:
            return (authorization(),)
        # https://www.w3.org/TR/trace-context/
        parent = f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
        if not span.trace_state:
            return (authorization(), ("traceparent", parent))
        state = span.trace_state.to_header()
        return (authorization(), ("traceparent", parent), ("tracestate", state))

    return metadata
