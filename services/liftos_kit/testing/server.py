"""A server in the test's own process, with the whole chain, on a free port of 127.0.0.1."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import grpc

from liftos_kit.auth import issue_token
from liftos_kit.health import StoreProbe
from liftos_kit.server import Application, Server, Services
from liftos_kit.settings import PREFIX, ServiceSettings, load

SECRET: Final = "a secret for tests, long enough for HS256"  # noqa: S105  # guards nothing
"""Secret of the tokens that test servers accept."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server under test.

    Attributes:
        target: Its address, `127.0.0.1:port`.
        server: The server itself, to drain it in the midst of a test.
    """

    target: str
    server: Server


def settings_for_tests(**fields: object) -> ServiceSettings:
    """Return settings that need no environment; each field may be given by its name."""
    given = {f"{PREFIX}{field.upper()}": str(value) for field, value in fields.items()}
    return load(ServiceSettings, {f"{PREFIX}JWT_SECRET": SECRET, **given})


@asynccontextmanager
async def running_server(
    register: Callable[[grpc.aio.Server], None],
    *,
    service_names: Sequence[str],
    settings: ServiceSettings | None = None,
    probes: Sequence[StoreProbe] = (),
) -> AsyncIterator[RunningServer]:
    """Run a server with its whole chain, and drain it in the end.

    Args:
        register: Adds the servicers.
        service_names: Full names of their services.
        settings: `settings_for_tests(drain_seconds=5)` by default.
        probes: Stores for health.
    """

    async def open_services() -> Services:
        return Services(register=register, probes=probes)

    chosen = settings or settings_for_tests(drain_seconds=5)
    server = Server(Application("test", chosen, service_names, open_services))
    try:
        await server.start()
        yield RunningServer(f"{chosen.host}:{server.port}", server)
    finally:
        await server.drain()


def authorization(
    org: str = "acme",
    *,
    roles: Iterable[str] = ("admin",),
    scopes: Iterable[str] = ("memory", "ingestion", "migration", "causal"),
    lifetime_seconds: float = 3_600.0,
) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call by a member of an org."""
    token = issue_token(
        secret=SECRET.encode(),
        org=org,
        roles=roles,
        scopes=scopes,
        lifetime_seconds=lifetime_seconds,
    )
    return (("authorization", f"Bearer {token}"),)
