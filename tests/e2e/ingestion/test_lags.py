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
_FIRE = """
insert into runs (org, run, kind, connection, platform, schedule, fire_time, start_date,
                  end_date, levels, account_ids, force, state, subject)
select org, gen_random_uuid(), 1, 'shop', 'meta', 'daily', now() - {fired} * interval '1 day',
       current_date - 40, current_date, '{{2}}', '{{7,8}}', false, 5, 'test' from connections;
insert into run_slices (org, slice, run, connection, platform, account_id, level, attribution_key,
                        date_basis, start_date, end_date, state, priority)
select org, gen_random_uuid(), run, 'shop', 'meta', '8', level, '', 1, current_date - back,
       current_date, 6, 0
from runs, (values (0, 40), (2, {asked}), (2, {asked} - 5)) as s(level, back)
where start_date = current_date - 40 and fire_time < now() - ({fired} - 0.5) * interval '1 day'
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
        for table in ("connections", "lane_days", "suspensions", "runs"):
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


@pytest.mark.parametrize(
    ("changes", "lag"),
    [
        ((), 0),
        (("update schedules set create_time = now() - interval '4 days'",), 4),
        ((_FIRE.format(fired=2, asked=31),), 31),
        ((_FIRE.format(fired=2, asked=31), _FIRE.format(fired=1, asked=30)), 31),
        (("update accounts set disabled = true where account_id = '8'",), None),
    ],
)
async def test_an_account_that_never_had_a_day_lies_behind(
    shop: asyncpg.Pool, org: str, changes: tuple[str, ...], lag: int | None
) -> None:
    """What is missing begins with the first day that was asked for, or with the schedule."""
    async with postgres.transaction(shop, org=org) as connection:
        await connection.execute("delete from lane_days where account_id = '8' and level > 0")
        for change in changes:
            await connection.execute(change)
    found = await PostgresRunLedger(shop, SilentQueue()).account_lags()
    lags = {it.account_id: it.days for it in found if it.org == org}
    assert lags.pop("8", None) == lag
    assert lags == {"7": 3}
