"""What goes bad in Postgres."""

from datetime import timedelta

from liftos_kit import postgres
from liftos_memory.adapters.postgres.database import Database


class PostgresPerishables:
    """See `liftos_memory.usecases.housekeeping.Perishables`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def forget_requests(self, kept: timedelta) -> int:
        """Delete old answers of request ids."""
        async with postgres.transaction(self._database.pool, org=None) as connection:
            return int(
                await connection.fetchval(
                    "/* forget_old_requests */ select forget_old_requests($1)", kept
                )
            )

    async def abort_open_slices(self, kept: timedelta) -> int:
        """Abort slices that nobody feeds any more."""
        async with postgres.transaction(self._database.pool, org=None) as connection:
            return int(
                await connection.fetchval(
                    "/* abort_open_slices */ select abort_open_slices($1)", kept
                )
            )
