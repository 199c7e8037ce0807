"""One server process: ports, chain, health, reflection, metrics, and a graceful end.

The end, on SIGTERM or SIGINT: health turns NOT_SERVING, the shutdown delay lets load balancers
notice, streams end at a safe point with UNAVAILABLE and RetryInfo, calls in flight have
`drain_seconds` to finish, then the stores are closed. A second signal kills at once.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import grpc
import structlog
import uvloop
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from liftos_kit import telemetry
from liftos_kit.access import AccessError, check_services
from liftos_kit.auth import (
    JwksKeys,
    KeySource,
    SharedSecret,
    TokenVerifier,
    jwks_from_file,
    jwks_from_url,
)
from liftos_kit.draining import Draining
from liftos_kit.garbage_collection import collect_rarely
from liftos_kit.health import HealthMonitor, StoreProbe
from liftos_kit.interceptors import ordered_layers
from liftos_kit.interceptors.around import LayeredInterceptor
from liftos_kit.ports import PortTakenError, check_free
from liftos_kit.settings import ServiceSettings
from liftos_kit.supervisor import START_FAILED, Worker, current_worker, supervise

MAXIMUM_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""Largest message that is taken or sent."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.server")


@dataclass(frozen=True, slots=True)
class Services:
    """What a service opened for itself when it started.

    Attributes:
        register: Adds the servicers to a server.
        probes: The stores, for health.
        close: Awaited in order after the last call has ended.
    """

    register: Callable[[grpc.aio.Server], None]
    probes: Sequence[StoreProbe] = ()
    close: Sequence[Callable[[], Awaitable[None]]] = ()


@dataclass(frozen=True, slots=True)
class Application:
    """A service, ready to be served.

    Attributes:
        name: As in telemetry, `liftos-memory`.
        settings: Its settings.
        service_names: Full names of its gRPC services.
        open: Opens pools and makes the servicers; awaited in each server process, on its loop.
            An exception keeps the process from starting.
    """

    name: str
    settings: ServiceSettings
    service_names: Sequence[str]
    open: Callable[[], Awaitable[Services]]


class Server:
    """A gRPC server with the whole chain, between `start` and `drain`."""

    def __init__(self, application: Application, *, shares_port: bool = False) -> None:
        self._application: Final = application
        self._settings: Final = application.settings
        self._shares_port: Final = shares_port
        self._draining: Final = Draining()
        self._health: Final = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self._services: Services | None = None
        self._monitor: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """Open the stores, take the port and serve.

        Raises:
            AccessError: A method does not say who may call it.
            PortTakenError: Somebody listens on the port.
            Exception: Whatever opening the service raises.
        """
        application, settings = self._application, self._settings
        check_services(application.service_names)
        if not self._shares_port and settings.port:
            check_free(settings.host, settings.port)
        self._services = await application.open()
        layers = ordered_layers(
            verifier=token_verifier(settings),
            maximum_concurrent_calls=settings.maximum_concurrent_calls,
            default_deadline_seconds=settings.default_deadline_seconds,
        )
        server = grpc.aio.server(
            interceptors=[LayeredInterceptor(layers, draining=self._draining)],
            options=_options(settings, shares_port=self._shares_port),
        )
        self._services.register(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if settings.reflection:
            reflection.enable_server_reflection(
                (*application.service_names, health.SERVICE_NAME, reflection.SERVICE_NAME), server
            )
        self.port = _bind(server, settings)
        monitor = HealthMonitor(
            self._health,
            service_names=application.service_names,
            probes=self._services.probes,
        )
        await monitor.check()
        await server.start()
        self._server = server
        self._monitor = asyncio.create_task(monitor.run(), name="health")
        _log.info(
            "serving",
            service=application.name,
            host=settings.host,
            port=self.port,
            tls=settings.tls_certificate_file is not None,
        )

    async def drain(self) -> None:
        """End in the order that the module describes.

        Safe to call again, and after a failed start.
        """
        await self._health.enter_graceful_shutdown()
        if self._monitor is not None:
            self._monitor.cancel()
            with suppress(asyncio.CancelledError):
                await self._monitor
        server, self._server = self._server, None
        if server is not None:
            await asyncio.sleep(self._settings.shutdown_delay_seconds)
            self._draining.start()
            await server.stop(self._settings.drain_seconds)
        services, self._services = self._services, None
        for close in () if services is None else services.close:
            try:
                await close()
            except Exception:  # the other stores still have to be closed
                _log.exception("close_failed")


def token_verifier(settings: ServiceSettings) -> TokenVerifier:
    """Return the verifier that the settings describe."""
    keys: KeySource
    match settings.jwt_algorithm:
        case "HS256":
            assert settings.jwt_secret is not None, "checked by load"
            keys = SharedSecret(settings.jwt_secret.get_secret_value().encode())
        case "RS256" if settings.jwt_jwks_file is not None:
            keys = JwksKeys(jwks_from_file(settings.jwt_jwks_file))
        case "RS256":
            assert settings.jwt_jwks_url is not None, "checked by load"
            keys = JwksKeys(jwks_from_url(settings.jwt_jwks_url))
    return TokenVerifier(keys, issuer=settings.jwt_issuer, audience=settings.jwt_audience)


def serve(application: Application) -> int:
    """Serve until a signal, in as many processes as the settings say.

    Returns:
        The exit code: 0 after a drain, 2 if the service could not start.
    """
    settings = application.settings
    worker = current_worker()
    if settings.processes == 1 or worker is not None:
        return uvloop.run(_serve(application, worker))
    telemetry.configure(
        application.name,
        telemetry.TelemetrySettings(log_level=settings.log_level, log_format=settings.log_format),
    )
    try:
        check_services(application.service_names)
        check_free(settings.host, settings.port)
    except (AccessError, PortTakenError, OSError) as error:
        _log.error("start_failed", service=application.name, error=str(error))
        return START_FAILED
    return supervise(settings.processes, kill_after_seconds=_patience_seconds(settings))


async def _serve(application: Application, worker: Worker | None) -> int:
    settings = application.settings
    configured = telemetry.configure(
        application.name,
        telemetry.settings_of(settings),
    )
    stop = asyncio.Event()
    _on_signals(stop)
    if worker is not None:
        worker.on_parent_death(stop.set)
    server = Server(application, shares_port=worker is not None)
    metrics_server: telemetry.MetricsServer | None = None
    try:
        metrics_port = settings.effective_metrics_port
        if metrics_port:
            metrics_port += 0 if worker is None else worker.index
            check_free(settings.host, metrics_port)
        metrics_server = configured.start_metrics_server(metrics_port, settings.host)
        await server.start()
    except Exception as error:
        # The sentences of our own errors say all that there is to say.
        ours = isinstance(error, AccessError | PortTakenError)
        _log.error("start_failed", service=application.name, error=str(error), exc_info=not ours)
        await server.drain()
        return START_FAILED
    else:
        collect_rarely()
        await stop.wait()
        _log.info("draining", service=application.name)
        await server.drain()
        _log.info("stopped", service=application.name)
        return 0
    finally:
        if metrics_server is not None:
            metrics_server.close()
        await asyncio.to_thread(configured.shutdown)


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)

    def handle() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in signals:
        loop.add_signal_handler(number, handle)


def _patience_seconds(settings: ServiceSettings) -> float:
    # Closing stores and telemetry takes its own time after the drain.
    return settings.shutdown_delay_seconds + settings.drain_seconds + 10.0


def _bind(server: grpc.aio.Server, settings: ServiceSettings) -> int:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.port}"
    if settings.tls_certificate_file is None:
        return server.add_insecure_port(address)
    assert settings.tls_key_file is not None, "checked by load"
    client_ca = settings.tls_client_ca_file
    credentials = grpc.ssl_server_credentials(
        [(settings.tls_key_file.read_bytes(), settings.tls_certificate_file.read_bytes())],
        root_certificates=None if client_ca is None else client_ca.read_bytes(),
        require_client_auth=client_ca is not None,
    )
    return server.add_secure_port(address, credentials)


def _options(settings: ServiceSettings, *, shares_port: bool) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", MAXIMUM_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAXIMUM_MESSAGE_BYTES),
        # Off unless asked for: gRPC shares ports by default, and two servers would split the calls.
        ("grpc.so_reuseport", int(shares_port)),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # Clients ping every 30 s, also between calls; more than twice that often is too much.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 15_000),
        # Clients find new servers only when they connect again. Streams in flight are let finish.
        ("grpc.max_connection_age_ms", int(settings.maximum_connection_age_seconds * 1000)),
    ]
