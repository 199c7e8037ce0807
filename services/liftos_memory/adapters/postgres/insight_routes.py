"""What routes of insights and their messages need of Memory's Postgres beyond the kit's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from liftos_kit.notify.postgres_routes import PostgresOutbox
from liftos_memory.adapters.postgres.database import Database
from liftos_memory.adapters.postgres.insights import fetch_insights
from liftos_memory.adapters.postgres.writes import PostgresWrite, begin
from liftos_memory.domain.insights import INSIGHTS, ORIGIN
from liftos_memory.insight_ports import ToldInsights
from liftos_memory.ports import WriteContext


@asynccontextmanager
async def begin_route_write(database: Database, org: str) -> AsyncIterator[PostgresWrite]:
    """Yield a write that is a commit of the org.

    It is marked as one of insights, so that nobody looks for some because of it.
    """
    async with begin(database, org, WriteContext(origin=ORIGIN)) as begun:
        write = PostgresWrite(begun)
        yield write
        await write.finish()


class PostgresInsightOutbox(PostgresOutbox[ToldInsights]):
    """Messages of insights: what a run found and what it resolved, one for each route."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        super().__init__(INSIGHTS, pool)

    async def told(self, connection: asyncpg.Connection, row: asyncpg.Record) -> ToldInsights:
        """Return what a message tells."""
        found = await fetch_insights(connection, row["org"], row["found_ids"])
        return ToldInsights(
            found=sorted(found, key=lambda it: (-it.insight.severity, it.insight.insight_id)),
            resolved=await fetch_insights(connection, row["org"], row["resolved_ids"]),
        )
