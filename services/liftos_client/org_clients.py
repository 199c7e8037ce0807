"""Clients of many organisations, for services that call in their names."""

from collections.abc import Callable

from liftos_client.connection import Client


class OrgClients:
    """Gives the client of an org; each is made once.

    Args:
        make: Connects in the name of an org.
    """

    def __init__(self, make: Callable[[str], Client]) -> None:
        self._make = make
        self._clients: dict[str, Client] = {}

    def of(self, org: str) -> Client:
        """Return the client of an org."""
        client = self._clients.get(org)
        if client is None:
            client = self._make(org)
            self._clients[org] = client
        return client

    async def close(self) -> None:
        """Close all channels."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.close()
