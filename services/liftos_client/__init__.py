"""The client of LiftOS Core.

async with connect("localhost:8003", token=token) as client:
    async for entry in client.memory.list_entries(filter='platform = "meta"'):
        print(entry.campaign_name, entry.metrics.clicks)

docs/client.md shows the rest.
"""

from liftos_client.connection import Client, TlsOptions, connect
from liftos_client.errors import LiftosError
from liftos_client.org_clients import OrgClients
from liftos_client.sync import SyncClient, connect_sync
from liftos_client.unified import AsyncUnifiedDataAPI, UnifiedDataAPI

__all__ = [
    "AsyncUnifiedDataAPI",
    "Client",
    "LiftosError",
    "OrgClients",
    "SyncClient",
    "TlsOptions",
    "UnifiedDataAPI",
    "connect",
    "connect_sync",
]
