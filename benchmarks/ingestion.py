"""Ingestion's figures: rows from a platform to Postgres, memory, calls, and cancelling."""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import Any, Final

import psutil

from benchmarks.google_ads_peer import GoogleAds, Report, check_equal, load_with_dlt
from benchmarks.results import Measurement
from benchmarks.simulated_platforms import (
    ProcessorTime,
    Simulated,
    WorldSize,
    simulated_platforms,
)
from liftos.ingestion.v1.run_pb2 import Run, RunState
from liftos.memory.v1.entry_pb2 import EntryLevel
from liftos_client import Client
from liftos_ingestion.adapters.sources.meta.client import PAGE_ROWS as META_PAGE_ROWS

ROWS: Final = 200_000
"""About so many; what the simulation has is counted."""

DAYS: Final = 30
GOOGLE_ADS: Final = "google_ads"
DATE_BASES: Final = ("INTERACTION", "CONVERSION")
_ADS: Final = ("AD",)
_CALL_DAYS: Final = 7
_SAMPLE_SECONDS: Final = 0.05
_MAXIMUM_SECONDS: Final = 1_200.0
_CANCELS: Final = 3
_SLOW_ANSWER_SECONDS: Final = 30.0
_WORKER_SLOTS: Final = 8
_HELD: Final = "select count(*) from lanes where slice is not null"
_ROWS_PER_AD: Final = 40_000
"""What one more ad in each ad group brings, over all accounts, days and date bases."""


def measure() -> Iterator[Measurement]:
    """Measure everything, one figure after the other."""
    with simulated_platforms(_size_for(ROWS), running_clock=False) as bench:
        yield from asyncio.run(_rows(bench))
    with simulated_platforms(WorldSize(campaigns=12, ads=4), running_clock=True) as bench:
        yield from asyncio.run(_calls(bench))
        yield asyncio.run(_cancel(bench))


def _size_for(rows: int) -> WorldSize:
    """Return a world whose four open accounts at Google have about so many rows of ads."""
    return WorldSize(campaigns=32, ad_groups=7, ads=max(1, round(rows / _ROWS_PER_AD)))


async def _rows(bench: Simulated) -> list[Measurement]:
    """Read a month of ads, by both date bases, and let dlt do the same."""
    last_day = bench.first_day + timedelta(days=DAYS - 1)
    accounts = bench.open_accounts(GOOGLE_ADS)
    reports = [
        Report(account, basis, bench.first_day, last_day)
        for account in accounts
        for basis in DATE_BASES
    ]
    google_ads = await asyncio.to_thread(_google_ads, bench)
    count = await asyncio.to_thread(google_ads.warm, reports)
    async with bench.client() as client:
        connection = await bench.connect_platform(client, GOOGLE_ADS)
        cold = bench.process("ingestion-worker").memory_info().rss
        # Of another month, so that Google's messages are loaded and partitions are there.
        await _run(
            client, connection, accounts[:1], bench.first_day - timedelta(days=9), 1, levels=_ADS
        )
        used = bench.processor_time()
        idle = bench.process("ingestion-worker").memory_info().rss
        async with _highest_memory(bench.process("ingestion-worker")) as highest:
            started = time.perf_counter()
            run = await _run(client, connection, accounts, bench.first_day, DAYS, levels=_ADS)
            ours = time.perf_counter() - started
        used = bench.processor_time().since(used)
    assert run.state == RunState.RUN_STATE_SUCCEEDED, run
    owner = await bench.owner("memory")
    dlt_used = bench.processor_time(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        theirs = await asyncio.to_thread(
            load_with_dlt,
            bench.environment["LIFTOS_POSTGRES_OWNER_URL"],
            google_ads,
            reports,
            folder,
        )
    dlt_seconds = bench.processor_time().since(dlt_used[0]).seconds
    by_dlt = ProcessorTime(
        {"dlt": time.process_time() - dlt_used[1], "postgres": dlt_seconds["postgres"]}
    )
    await check_equal(owner, count, first_day=bench.first_day)
    await owner.close()
    growth = (highest[0] - idle) / 2**20
    return [
        Measurement(
            "platform_rows_over_dlt",
            theirs / ours,
            5,
            "higher",
            f"{count:,} rows: {count / ours:,.0f} rows/s, dlt {count / theirs:,.0f};"
            f" processor {_per_row(used, count)}; of dlt {_per_row(by_dlt, count)}",
        ),
        Measurement(
            "worker_memory_growth_mib",
            growth,
            150,
            "lower",
            f"{idle / 2**20:.0f} MiB idle after a first run, {cold / 2**20:.0f} before it,"
            f" {highest[0] / 2**20:.0f} at most",
        ),
    ]


def _per_row(used: ProcessorTime, rows: int) -> str:
    each = ", ".join(f"{name} {it / rows * 1e6:.1f}" for name, it in used.seconds.items())
    return f"{each} µs a row"


def _google_ads(bench: Simulated) -> GoogleAds:
    grant = next(it for it in bench.ask("grants")["grants"] if it["platform"] == GOOGLE_ADS)
    managers = {
        it["account_id"]: next(up for up in it["managers"] if up in grant["account_ids"])
        for it in bench.ask("accounts")["accounts"]
        if it["platform"] == GOOGLE_ADS and it["managers"]
    }
    return GoogleAds(
        bench.addresses["platforms-google-ads"],
        f"http://{bench.addresses['platforms-google-ads-token']}/token",
        dict(bench.credential(GOOGLE_ADS)),
        managers,
    )


async def _run(
    client: Client,
    connection: str,
    accounts: Sequence[str],
    first_day: date,
    days: int,
    *,
    levels: Sequence[str] = (),
    force: bool = False,
) -> Run:
    """Start a run, of all levels where none is named, and wait for its end."""
    run = await client.ingestion.start_run(
        connection,
        start_date=first_day,
        end_date=first_day + timedelta(days=days - 1),
        account_ids=accounts,
        levels=levels,
        force=force,
    )
    async for told in client.ingestion.watch_run(run.name, timeout_seconds=_MAXIMUM_SECONDS):
        run = told.run
    return run


@asynccontextmanager
async def _highest_memory(process: psutil.Process) -> AsyncIterator[list[int]]:
    """Give the largest size of a process inside, in bytes, once it is left."""
    highest = [process.memory_info().rss]

    async def look() -> None:
        while True:
            highest[0] = max(highest[0], process.memory_info().rss)
            await asyncio.sleep(_SAMPLE_SECONDS)

    looking = asyncio.create_task(look())
    try:
        yield highest
    finally:
        looking.cancel()


async def _calls(bench: Simulated) -> list[Measurement]:
    """Read a week of each platform without faults, all of it, and count what was called."""
    found = []
    async with bench.client() as client:
        for platform, least in (
            ("meta", _least_of_meta),
            (GOOGLE_ADS, _least_of_google_ads),
            ("klaviyo", _least_of_klaviyo),
        ):
            connection = await bench.connect_platform(client, platform)
            accounts = bench.open_accounts(platform)
            # Of other days: by which way an account is reached is found out once in a life.
            await _run(client, connection, accounts, bench.first_day - timedelta(days=1), 1)
            plan = await client.ingestion.plan_backfill(
                connection,
                bench.first_day,
                bench.first_day + timedelta(days=_CALL_DAYS - 1),
                account_ids=accounts,
            )
            await asyncio.to_thread(bench.forget_calls)
            # By force the objects are listed too, as by the first run of a day.
            run = await _run(client, connection, accounts, bench.first_day, _CALL_DAYS, force=True)
            assert run.state == RunState.RUN_STATE_SUCCEEDED, run
            calls = await asyncio.to_thread(bench.calls, platform)
            fewest = await asyncio.to_thread(least, bench, accounts, calls)
            fewest += await _least_for_objects(client, run, platform, accounts)
            detail = (
                f"{len(calls)} calls, {plan.call_count} of them planned without lists of objects,"
                f" {fewest} at least; {_WHAT_IS_LEAST[platform]}"
            )
            found.append(
                Measurement(
                    f"calls_over_least_{platform}", len(calls) / fewest, 1.2, "lower", detail
                )
            )
    return found


async def _least_for_objects(
    client: Client, run: Run, platform: str, accounts: Sequence[str]
) -> int:
    """Return the fewest calls that list a run's objects and are not counted otherwise."""
    slices = await client.ingestion.list_slices(run.name, filter="kind = OBJECTS").collect()
    assert [it.account_id for it in slices] == sorted(accounts), run
    where = f'platform = "{platform}"'
    listed = await client.ingestion.list_objects(filter=where, page_size=1_000).collect()
    objects = Counter((it.account_id, EntryLevel.Name(it.level)[12:]) for it in listed)
    return sum(
        max(1, -(-objects[account, level] // page_rows))
        for account in accounts
        for level, page_rows in _OBJECT_LISTS[platform].items()
    )


_OBJECT_LISTS: Final[Mapping[str, Mapping[str, int]]] = {
    "meta": dict.fromkeys(("CAMPAIGN", "AD_GROUP", "AD"), META_PAGE_ROWS),
    GOOGLE_ADS: dict.fromkeys(("CAMPAIGN", "AD_GROUP", "AD"), 1_000_000),
    # Its questions are counted one by one, those for lists too.
    "klaviyo": {},
}
"""Lists that hold all objects of an account, and how many one call of each answers at most."""

_LEVELS: Final[Mapping[str, Sequence[str]]] = {
    "meta": ("ACCOUNT", "CAMPAIGN", "AD_GROUP", "AD"),
    GOOGLE_ADS: ("ACCOUNT", "CAMPAIGN", "AD_GROUP", "AD"),
}
_WHAT_IS_LEAST: Final[Mapping[str, str]] = {
    "meta": f"a report for each account and level, and its pages of {META_PAGE_ROWS} rows;"
    " three lists of objects",
    GOOGLE_ADS: "a stream for each account and level, with both date bases; three lists of"
    " objects; tokens apart",
    "klaviyo": "every different question, once",
}

_Call = Mapping[str, Any]


def _least_of_meta(bench: Simulated, accounts: Sequence[str], _: Sequence[_Call]) -> int:
    rows = (
        bench.row_count("meta", account, level, _CALL_DAYS)
        for account in accounts
        for level in _LEVELS["meta"]
    )
    return sum(1 + max(1, -(-count // META_PAGE_ROWS)) for count in rows)


def _least_of_google_ads(_: Simulated, accounts: Sequence[str], __: Sequence[_Call]) -> int:
    return len(accounts) * len(_LEVELS[GOOGLE_ADS])


def _least_of_klaviyo(_: Simulated, __: Sequence[str], calls: Sequence[_Call]) -> int:
    asked = {
        (it["account_id"], it["endpoint"], tuple(sorted(it["parameters"].items()))) for it in calls
    }
    return len(asked)


async def _cancel(bench: Simulated) -> Measurement:
    """Cancel a run while the platform is slow and all of the worker's slots are taken."""
    seconds, slots = [], 0
    async with bench.client() as client:
        owner = await bench.owner("ingestion")
        for number in range(_CANCELS):
            await asyncio.to_thread(bench.tell, "delay", answer_delay_seconds=_SLOW_ANSWER_SECONDS)
            run = await client.ingestion.start_run(
                "meta",
                start_date=bench.first_day + timedelta(days=7 * number + 7),
                end_date=bench.first_day + timedelta(days=7 * number + 13),
            )
            # Nothing tells when a lane is taken or freed.
            while (slots := await owner.fetchval(_HELD)) < _WORKER_SLOTS:  # noqa: ASYNC110
                await asyncio.sleep(_SAMPLE_SECONDS)
            started = time.perf_counter()
            await client.ingestion.cancel_run(run.name, reason="measured")
            while await owner.fetchval(_HELD) or await _leased(client):  # noqa: ASYNC110
                await asyncio.sleep(_SAMPLE_SECONDS)
            seconds.append(time.perf_counter() - started)
        await owner.close()
    await asyncio.to_thread(bench.tell, "delay", answer_delay_seconds=0)
    detail = (
        f"the slowest of {_CANCELS} runs, {slots} slots taken, answers of"
        f" {_SLOW_ANSWER_SECONDS:.0f} s; {', '.join(f'{it:.1f}' for it in seconds)} s"
    )
    return Measurement("cancel_seconds", max(seconds), 5, "lower", detail)


async def _leased(client: Client) -> float:
    """Return how many of the places for reports at the platform are taken."""
    quotas = await client.ingestion.get_quota(platform="meta")
    return sum(it.used for it in quotas if it.unit == "jobs")
