"""The state of orgs in Postgres: one round trip."""

from liftos_memory.adapters.postgres.database import Database
from liftos_memory.cache_ports import OrgState


class PostgresOrgStates:
    """Reads states; see `liftos_memory.cache_ports.OrgStates`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, org: str) -> OrgState:
        """Return the state of now."""
        row = await self._database.state_reads.fetchrow(org)
        assert row is not None, "an org that never wrote has a state too"
        return OrgState(**row)
