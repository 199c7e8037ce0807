"""The client of LiftOS Core.

async with connect("localhost:8003", token=token) as client:
    async for entry in client.memory.list_entries(filter='platform = "meta"'):
        print(entry.campaign_name, entry.metrics.clicks)
"""

from liftos_client.connection import Client, TlsOptions, connect
from liftos_client.errors import LiftosError

__all__ = ["Client", "LiftosError", "TlsOptions", "connect"]
