"""Several workers at the slices of one run."""

import asyncio
from datetime import date
from uuid import UUID

import asyncpg
from tests.e2e.ingestion.readings import SilentQueue

from liftos_ingestion.adapters.postgres.runs import PostgresRunLedger
from liftos_ingestion.run_ports import (
    NewRun,
    RunKind,
    SlicePlan,
    SliceResult,
    SliceState,
    Usage,
)
from liftos_kit import postgres

DAY = date(2026, 3, 2)


async def _slices_of_a_new_run(
    ledger: PostgresRunLedger, pool: asyncpg.Pool, org: str, *account_ids: str
) -> list[UUID]:
    await ledger.start(
        org,
        NewRun(
            kind=RunKind.INCREMENTAL,
            connection="shop",
            platform="meta",
            start_date=DAY,
            end_date=DAY,
            levels=("CAMPAIGN",),
            account_ids=account_ids,
            force=False,
            slices=[
                SlicePlan(account_id, "CAMPAIGN", "", "INTERACTION", DAY, DAY, 0)
                for account_id in account_ids
            ],
            subject="test",
        ),
    )
    async with postgres.transaction(pool, org=org) as connection:
        return [row["slice"] for row in await connection.fetch("select slice from run_slices")]


async def test_a_claim_never_waits_with_the_slice_in_its_hand(pool: asyncpg.Pool, org: str) -> None:
    """Who has the lane can end the slice while another claims it: neither waits for the other."""
    ledger = PostgresRunLedger(pool, SilentQueue())
    [slice_id] = await _slices_of_a_new_run(ledger, pool, org, "7")
    assert await ledger.claim(org, slice_id, worker="first", lease_seconds=15)
    async with postgres.transaction(pool, org=org) as holder:
        await holder.execute("select from lanes for update")
        claim = asyncio.create_task(ledger.claim(org, slice_id, worker="second", lease_seconds=15))
        await _until_waiting(pool, org, 1)
        await holder.execute("set local lock_timeout = '2s'")
        await holder.execute(
            "update run_slices set state = $2 where slice = $1", slice_id, SliceState.PARKED
        )
    assert await claim is None, "the lane is held by the first"


async def test_a_run_ends_though_its_last_slices_end_at_once(pool: asyncpg.Pool, org: str) -> None:
    """Of two who each end a slice while the other's is still open, the second ends the run."""
    ledger = PostgresRunLedger(pool, SilentQueue())
    slices = await _slices_of_a_new_run(ledger, pool, org, "7", "8")
    held = []
    for each in slices:
        claimed = await ledger.claim(org, each, worker="one", lease_seconds=15)
        assert claimed is not None
        held.append(claimed)
    async with postgres.transaction(pool, org=org) as holder:
        await holder.execute("select from runs for update")
        ends = [asyncio.create_task(ledger.finish(it, _NOTHING, Usage(1, 1))) for it in held]
        await _until_waiting(pool, org, 2)
    await asyncio.gather(*ends)

    async with postgres.transaction(pool, org=org) as connection:
        assert await connection.fetchval("select end_time is not null from runs")


_NOTHING = SliceResult(
    memory_slice="",
    row_count=0,
    upserted_count=0,
    restated_count=0,
    vanished_count=0,
    dead_letters=[],
    day_sums={},
    final_through=DAY,
)


async def _until_waiting(pool: asyncpg.Pool, org: str, count: int) -> None:
    """Wait until so many transactions of the database wait for a row."""
    async with asyncio.timeout(10):
        while True:
            async with postgres.transaction(pool, org=org) as connection:
                waiting = await connection.fetchval(
                    "select count(distinct pid) from pg_locks join pg_stat_activity using (pid)"
                    " where not granted and datname = current_database()"
                )
            if waiting >= count:
                return
            await asyncio.sleep(0.01)
