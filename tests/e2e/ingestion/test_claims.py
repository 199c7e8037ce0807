"""Claims of slices beside those who end them."""

import asyncio
from datetime import date
from uuid import UUID

import asyncpg
from tests.e2e.ingestion.readings import SilentQueue

from liftos_ingestion.adapters.postgres.runs import PostgresRunLedger
from liftos_ingestion.run_ports import NewRun, RunKind, SlicePlan
from liftos_kit import postgres

DAY = date(2026, 3, 2)


async def _slice_of_a_new_run(ledger: PostgresRunLedger, pool: asyncpg.Pool, org: str) -> UUID:
    await ledger.start(
        org,
        NewRun(
            kind=RunKind.INCREMENTAL,
            connection="shop",
            platform="meta",
            start_date=DAY,
            end_date=DAY,
            levels=("CAMPAIGN",),
            account_ids=("7",),
            force=False,
            slices=[SlicePlan("7", "CAMPAIGN", "", "INTERACTION", DAY, DAY, 0)],
            subject="test",
        ),
    )
    async with postgres.transaction(pool, org=org) as connection:
        found: UUID = await connection.fetchval("select slice from run_slices")
    return found


async def test_a_claim_never_waits_with_the_slice_in_its_hand(pool: asyncpg.Pool, org: str) -> None:
    """Who has the lane can end the slice while another claims it: neither waits for the other."""
    ledger = PostgresRunLedger(pool, SilentQueue())
    slice_id = await _slice_of_a_new_run(ledger, pool, org)
    assert await ledger.claim(org, slice_id, worker="first", lease_seconds=15)
    async with postgres.transaction(pool, org=org) as holder:
        await holder.execute("select from lanes for update")
        claim = asyncio.create_task(ledger.claim(org, slice_id, worker="second", lease_seconds=15))
        await _until_somebody_waits(pool, org)
        await holder.execute("set local lock_timeout = '2s'")
        await holder.execute("update run_slices set state = 3 where slice = $1", slice_id)
    assert await claim is None, "the lane is held by the first"


async def _until_somebody_waits(pool: asyncpg.Pool, org: str) -> None:
    """Wait until a transaction of the database waits for a row."""
    async with asyncio.timeout(10):
        while True:
            async with postgres.transaction(pool, org=org) as connection:
                waiting = await connection.fetchval(
                    "select count(*) from pg_locks join pg_stat_activity using (pid)"
                    " where not granted and datname = current_database()"
                )
            if waiting:
                return
            await asyncio.sleep(0.01)
