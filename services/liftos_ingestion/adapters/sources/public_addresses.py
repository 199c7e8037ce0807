"""Hosts that an org names itself, kept away from the private network of the service.

A name is looked up once for each connection, and the connection goes to the very address that was
judged, so that a name cannot lead elsewhere between the two.
"""

import asyncio
import socket
from typing import Final

import httpx

from liftos_ingestion.domain.failures import ErrorClass, Failure, ReadingError
from liftos_kit.notify.apprise_process import is_allowed

_PORTS: Final = {"http": 80, "https": 443}


async def allowed_address(host: str, port: int, *, private_allowed: bool) -> str:
    """Return an address of a host.

    Raises:
        ReadingError: TRANSIENT where the name is not found; PERMANENT where one of its addresses
            is none that may be called.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ReadingError(
            Failure(ErrorClass.TRANSIENT, "The host of the source is not found.")
        ) from error
    addresses = [str(address[0]) for *_, address in found]
    if not all(is_allowed(it, private_allowed=private_allowed) for it in addresses):
        raise ReadingError(
            Failure(
                ErrorClass.PERMANENT,
                "The host of the source has a loopback, private or reserved address; use a public "
                "one, or have the operator set LIFTOS_ALLOW_PRIVATE_ADDRESSES.",
            )
        )
    return addresses[0]


class PublicTransport(httpx.AsyncBaseTransport):
    """Sends to the address that was judged, under the name that was asked for.

    Args:
        private_allowed: Whether loopback and private addresses may be called.
    """

    def __init__(self, *, private_allowed: bool) -> None:
        self._private_allowed = private_allowed
        self._transport = httpx.AsyncHTTPTransport(trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        host = request.url.host
        port = request.url.port or _PORTS[request.url.scheme]
        address = await allowed_address(host, port, private_allowed=self._private_allowed)
        request.url = request.url.copy_with(host=address)
        request.extensions = {**request.extensions, "sni_hostname": host}
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()
