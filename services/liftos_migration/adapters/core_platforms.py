"""The platforms that Core knows; see `liftos_migration.inspection_ports.Platforms`."""

from liftos_client import OrgClients
from liftos_migration.adapters.core_digests import translated


class MemoryPlatforms:
    """Asks Memory.

    Args:
        clients: Of each org.
    """

    def __init__(self, clients: OrgClients) -> None:
        self._clients = clients

    async def known(self, org: str) -> frozenset[str]:
        """Return the words that entries of an org may carry as platform."""
        with translated():
            sources = self._clients.of(org).memory.list_sources(page_size=1_000)
            return frozenset([source.name.rpartition("/")[2] async for source in sources])
