"""Which accounts are said to lie behind: those that a schedule reads, and no others."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.e2e.ingestion.readings import SilentQueue

from liftos_ingestion.adapters.postgres.runs import PostgresRunLedger
from liftos_kit import postgres

_SHOP = """
insert into connections (org, connection, display_name, platform, settings, disabled, state)
values ($1, 'shop', 'Shop', 'meta', '{}', false, 2);
insert into accounts (org, connection, account_id, named, disabled)
values ($1, 'shop', '7', false, false), ($1, 'shop', '8', false, false);
insert into lane_days (org, platform, account_id, level, attribution_key, date_basis, date, final,
                       commit_time, change_time)
select $1, 'meta', account, level, '', 1, current_date - age, true, now(), now()
from (values ('7', 2, 9), ('7', 2, 3), ('7', 0, 0), ('8', 2, 5)) as d(account, level, age);
insert into schedules (org, schedule, display_name, connection, account_ids, levels, cron,
                       time_zone, lookback_days, overlap_policy, catchup_seconds, paused, due_after)
values ($1, 'daily', 'Daily', 'shop', '{}', '{2}', '@daily', 'UTC', 3, 1, 0, false, now())
"""
_SUSPENDING = """
insert into suspensions (org, suspension, platform, connection, account_id, reason, subject)
select org, gen_random_uuid(), {}, 'test', 'test' from connections
"""


@pytest.fixture
async def shop(pool: asyncpg.Pool, org: str) -> AsyncIterator[asyncpg.Pool]:
    """Two accounts of a connection that a schedule reads; gone afterwards."""
    async with postgres.transaction(pool, org=org) as connection:
        for statement in _SHOP.split(";"):
            await connection.execute(statement, org)
    yield pool
    async with postgres.transaction(pool, org=org) as connection:
        for table in ("connections", "lane_days", "suspensions"):
            await connection.execute(f"delete from {table}")


@pytest.mark.parametrize(
    ("change", "lags"),
    [
        ("select", {"7": 3, "8": 5}),
        ("update accounts set named = true where account_id = '8'", {"8": 5}),
        ("update accounts set disabled = true where account_id = '8'", {"7": 3}),
        ("update accounts set closed = true where account_id = '8'", {"7": 3}),
        ("delete from accounts where account_id = '8'", {"7": 3}),
        ("update schedules set account_ids = '{8}'", {"8": 5}),
        ("update schedules set paused = true", {}),
        ("delete from schedules", {}),
        ("update connections set disabled = true", {}),
        ("delete from connections", {}),
        (_SUSPENDING.format("'', '', ''"), {}),
        (_SUSPENDING.format("platform, '', ''"), {}),
        (_SUSPENDING.format("'', connection, ''"), {}),
        (_SUSPENDING.format("platform, connection, '8'"), {"7": 3}),
        (_SUSPENDING.format("'klaviyo', '', ''"), {"7": 3, "8": 5}),
    ],
)
async def test_only_accounts_that_are_read_lie_behind(
    shop: asyncpg.Pool, org: str, change: str, lags: dict[str, int]
) -> None:
    """What nobody reads any more does not grow a day each day for ever."""
    async with postgres.transaction(shop, org=org) as connection:
        await connection.execute(change)
    found = await PostgresRunLedger(shop, SilentQueue()).account_lags()
    assert {lag.account_id: lag.days for lag in found if lag.org == org} == lags
    assert {lag.platform for lag in found if lag.org == org} <= {"meta"}
