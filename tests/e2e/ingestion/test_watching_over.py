"""What needs a person becomes an alert from what is stored, and ends by itself."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from tests.e2e.ingestion.readings import (
    DAY,
    Harness,
    add_connection,
    failing,
    pages,
    row,
)

from liftos_ingestion.adapters.postgres.watched_orgs import PostgresWatchedOrgs
from liftos_ingestion.alert_ports import Watch
from liftos_ingestion.domain.alerts import AlertKind, AlertState
from liftos_ingestion.domain.failures import ErrorClass, Failure, NotReadyError, ReadingError
from liftos_ingestion.source_ports import Page, PlatformJob, ReadRequest
from liftos_ingestion.usecases.watching_over import WatchingOver
from liftos_kit import postgres
from liftos_kit.core.clock import SystemClock
from liftos_mapping.transform import TransformContext


@pytest.fixture
async def harness(harness: Harness) -> Harness:
    """A worker over an org with one connection of one account."""
    await add_connection(harness.pool, harness.org, time_zone="Europe/Berlin")
    return harness


async def _do(harness: Harness, statement: str, *values: Any) -> None:
    async with postgres.transaction(harness.pool, org=harness.org) as connection:
        await connection.execute(statement, *values)


async def _look(harness: Harness, *, ends: date | None = None) -> set[AlertKind]:
    """Look at the org and return the kinds of the alerts that are open."""
    source = replace(
        harness.source,
        capabilities=replace(harness.source.capabilities, api_version_end_date=ends),
    )
    orgs = PostgresWatchedOrgs(harness.pool)
    assert harness.org in await orgs.orgs()
    await WatchingOver(orgs, {"meta": source}, SystemClock()).look(harness.org)
    return {
        AlertKind(it["kind"])
        for it in await harness.rows("alerts")
        if it["state"] != AlertState.RESOLVED
    }


async def _run(harness: Harness, answer: Any) -> None:
    harness.source.answers = [answer]
    await harness.start()
    await harness.read_due()


def _error(error_class: ErrorClass) -> ReadingError:
    return ReadingError(Failure(error_class, "it said so"))


async def test_a_failed_run(harness: Harness) -> None:
    """Until a run of the connection succeeds; a cancelled or empty one says nothing."""
    await _run(harness, failing(_error(ErrorClass.PERMANENT)))
    assert await _look(harness) == {AlertKind.RUN_FAILED}
    (first,) = await harness.rows("alerts")
    assert await _look(harness) == {AlertKind.RUN_FAILED}
    (alert,) = await harness.rows("alerts")
    assert alert["occurrence_count"] == 1
    assert alert["last_time"] == first["last_time"], "it is the same run that is seen again"
    run = await harness.start()
    await harness.ledger.cancel(harness.org, run, "not now")
    assert await _look(harness) == {AlertKind.RUN_FAILED}
    await _run(harness, failing(_error(ErrorClass.PERMANENT)))
    assert await _look(harness) == {AlertKind.RUN_FAILED}
    (alert,) = await harness.rows("alerts")
    assert alert["occurrence_count"] == 2
    assert alert["last_time"] > first["last_time"]
    await _run(harness, pages([]))
    assert await _look(harness) == set()
    (alert,) = await harness.rows("alerts")
    assert alert["state"] == AlertState.RESOLVED


async def test_accounts_that_failed(harness: Harness) -> None:
    """A newer run ends the alert of the accounts that it reads, and of no other one."""
    await _do(
        harness,
        "insert into accounts (org, connection, account_id, named, disabled, display_name,"
        " time_zone, currency_code) values ($1, 'shop', '8', false, false, 'B', 'UTC', 'EUR')",
        harness.org,
    )

    async def answer(request: ReadRequest) -> AsyncGenerator[Page | PlatformJob, None]:
        if request.account.account_id == "8":
            raise _error(ErrorClass.ACCOUNT_CLOSED)
        yield Page([], TransformContext())

    async def run(*accounts: str) -> None:
        harness.source.answers = [answer]
        await harness.start(accounts=accounts)
        await harness.read_due()

    await run("7", "8")
    assert await _look(harness) == {AlertKind.RUN_FAILED}
    (alert,) = await harness.rows("alerts")
    assert alert["account_id"] == "8"
    await run("7")
    assert await _look(harness) == {AlertKind.RUN_FAILED}, "nothing was read of 8"
    (again,) = await harness.rows("alerts")
    assert (again["run"], again["occurrence_count"]) == (alert["run"], 1)
    await _do(harness, "update accounts set disabled = true where account_id = '8'")
    assert await _look(harness) == set(), "nobody waits for what is not read"
    await _do(harness, "update accounts set disabled = false")
    assert await _look(harness) == {AlertKind.RUN_FAILED}
    harness.source.answers = [pages([])]
    await harness.start(accounts=["8"])
    await harness.read_due()
    assert await _look(harness) == set()


async def test_a_refused_credential(harness: Harness) -> None:
    """Found by a run or by a try, it is one alert; another credential ends it."""
    await _run(harness, failing(_error(ErrorClass.CREDENTIALS)))
    assert await _look(harness) == {AlertKind.CREDENTIALS_REJECTED}
    (alert,) = await harness.rows("alerts")
    assert alert["run"] is not None, "the run is named although it has no alert of its own"
    await _do(harness, "update connections set credential_update_time = now(), state = 1")
    assert await _look(harness) == set()
    await _do(harness, "update connections set state = 3, verify_time = now()")
    assert await _look(harness) == {AlertKind.CREDENTIALS_REJECTED}
    await _do(harness, "update connections set disabled = true")
    assert await _look(harness) == set(), "nobody waits for what is switched off"


async def test_a_credential_that_ends(harness: Harness) -> None:
    """A week before; a credential that lasts ends it."""
    soon = datetime.now(UTC) + timedelta(days=6)
    await _do(harness, "update connections set credential_expire_time = $1", soon)
    assert await _look(harness) == {AlertKind.CREDENTIALS_EXPIRING}
    late = soon + timedelta(days=60)
    await _do(harness, "update connections set credential_expire_time = $1", late)
    assert await _look(harness) == set()


async def test_a_limit_that_lasts(harness: Harness) -> None:
    """From the first time that the limit was met on, tries in between included."""
    limit = failing(NotReadyError("the limit is reached", seconds=60, quota=True))
    await _run(harness, limit)
    assert await _look(harness) == set()
    await _do(harness, "update run_slices set quota_since = now() - interval '7 hours'")
    assert await _look(harness) == {AlertKind.QUOTA_EXHAUSTED}
    await harness.read_due()
    assert await _look(harness) == {AlertKind.QUOTA_EXHAUSTED}, "it met the limit again"
    harness.source.answers = [failing(NotReadyError("the report runs", seconds=60))]
    await harness.read_due()
    assert await _look(harness) == set()


async def test_late_data(harness: Harness) -> None:
    """Older than its schedule promises, in the account's zone; a pause promises nothing."""
    await _do(
        harness,
        "insert into schedules (org, schedule, display_name, connection, account_ids, levels,"
        " cron, time_zone, lookback_days, overlap_policy, catchup_seconds, paused, due_after,"
        " update_time)"
        " values ($1, 'hourly', 'Hourly', 'shop', '{}', '{}', '0 * * * *', 'UTC', 0, 1, 3600,"
        " false, now(), now() - interval '9 days')",
        harness.org,
    )
    assert await _look(harness) == {AlertKind.DATA_LATE}
    (alert,) = await harness.rows("alerts")
    assert "nothing was committed" in alert["summary"]
    assert alert["account_id"] == "7"
    await _run(harness, pages([row("1", "5")]))
    assert await _look(harness) == {AlertKind.DATA_LATE}, "that was of March"
    (alert,) = await harness.rows("alerts")
    assert DAY.isoformat() in alert["summary"]
    await _do(harness, "update lane_days set date = current_date + 1")
    assert await _look(harness) == set()
    await _do(harness, "update lane_days set date = current_date - 5")
    assert await _look(harness) == {AlertKind.DATA_LATE}
    await _do(harness, "update schedules set paused = true")
    assert await _look(harness) == set()


async def test_sums_that_differ(harness: Harness) -> None:
    """Until a later check of the same sum finds them equal."""
    await _run(harness, pages([]))
    (run,) = await harness.rows("runs")
    insert = (
        "insert into reconciliations (org, run, platform, account_id, level, date_basis, date,"
        " metric, state, detail) values ($1, $2, 'meta', '7', 2, 1, $3, 'clicks', $4, '')"
    )
    await _do(harness, insert, harness.org, run["run"], DAY, 2)
    assert await _look(harness) == {AlertKind.RECONCILIATION_FAILED}
    (alert,) = await harness.rows("alerts")
    assert alert["connection"] == "shop"
    await _run(harness, pages([]))
    newest = max(await harness.rows("runs"), key=lambda it: it["create_time"])
    await _do(harness, insert, harness.org, newest["run"], DAY, 1)
    assert await _look(harness) == set()


async def test_rows_that_are_refused_again(harness: Harness) -> None:
    """The third time that a row is refused; it ends with the row."""
    for _ in range(2):
        await _run(harness, pages([row("1", "5"), row("2", "many")]))
        assert await _look(harness) == {AlertKind.RUN_FAILED}, "read in part"
    await _run(harness, pages([row("1", "5"), row("2", "many")]))
    assert await _look(harness) == {AlertKind.RUN_FAILED, AlertKind.DEAD_LETTERS_GROWING}
    await _do(harness, "update dead_letters set state = 3")
    assert await _look(harness) == {AlertKind.RUN_FAILED}


async def test_a_version_that_ends(harness: Harness) -> None:
    """Sixty days before; a release with a newer one ends it."""
    today = datetime.now(UTC).date()
    assert await _look(harness, ends=today + timedelta(days=90)) == set()
    assert await _look(harness, ends=today + timedelta(days=50)) == {AlertKind.VERSION_RETIRING}
    assert await _look(harness) == set()


async def test_alerts_end_with_the_last_connection(harness: Harness) -> None:
    """An org without connections is looked after until its alerts are over."""
    await _run(harness, failing(_error(ErrorClass.PERMANENT)))
    assert await _look(harness) == {AlertKind.RUN_FAILED}
    await _do(harness, "delete from connections")
    assert await _look(harness) == set()
    assert harness.org not in await PostgresWatchedOrgs(harness.pool).orgs()


async def test_one_worker_looks_at_a_time(harness: Harness) -> None:
    """Another one passes the org over meanwhile, and the loop looks at all orgs."""
    await _run(harness, failing(_error(ErrorClass.PERMANENT)))
    orgs = PostgresWatchedOrgs(harness.pool)
    async with orgs.watch(harness.org) as watch:
        assert watch is not None
        assert await _look(harness) == set()
        async with orgs.watch(harness.org) as other:
            assert other is None
    stop = asyncio.Event()
    await asyncio.wait_for(
        WatchingOver(_OneRound(harness.pool, stop, harness.org), {}, SystemClock()).run(stop), 20
    )
    assert [it["kind"] for it in await harness.rows("alerts")] == [AlertKind.RUN_FAILED]


class _OneRound(PostgresWatchedOrgs):
    """Orgs that are looked at until one of them was."""

    def __init__(self, pool: asyncpg.Pool, stop: asyncio.Event, last: str) -> None:
        super().__init__(pool)
        self._stop = stop
        self._last = last

    @asynccontextmanager
    async def watch(self, org: str) -> AsyncIterator[Watch | None]:
        """Begin a look, and end the work after the last."""
        async with super().watch(org) as watch:
            yield watch
        if org == self._last:
            self._stop.set()
