"""What is stored of a day stays until its new rows are known to be good."""

from collections.abc import AsyncGenerator, Sequence
from datetime import date

from tests.e2e.ingestion.readings import DAY, Harness, add_connection, row, stored

from liftos_client import Client
from liftos_ingestion.domain.failures import AccountOutcome
from liftos_ingestion.run_ports import RunState, SliceState
from liftos_ingestion.source_ports import JsonObject, Page, PlatformJob, ReadRequest
from liftos_mapping.transform import TransformContext

DAYS = [DAY.replace(day=DAY.day + number) for number in range(4)]


async def _read(harness: Harness, *rows: JsonObject, days: int = 1) -> None:
    """Read rows of the first days of March to the end."""

    async def answer(request: ReadRequest) -> AsyncGenerator[Page | PlatformJob, None]:
        asked = request.start_date.isoformat(), request.end_date.isoformat()
        found = [it for it in rows if asked[0] <= str(it["date_start"]) <= asked[1]]
        yield Page(found, TransformContext())

    harness.source.answers = [answer]
    await harness.start(days=days)
    while await harness.read_due():
        pass


async def _last_run(harness: Harness) -> dict[str, object]:
    return dict(max(await harness.rows("runs"), key=lambda it: it["create_time"]))


async def _finals(harness: Harness) -> dict[date, bool]:
    return {it["date"]: it["final"] for it in await harness.rows("lane_days")}


def _rows(clicks: Sequence[object], day: date = DAY) -> list[JsonObject]:
    return [row(str(number), it, day=day) for number, it in enumerate(clicks)]


async def test_rows_that_do_not_fit_take_no_place_of_good_ones(
    harness: Harness, memory: Client
) -> None:
    """A renamed or broken field fails the slice, which says so and is read again by itself."""
    await _read(harness, *_rows(["1", "2", "3", "4"]))
    before = await stored(memory)
    assert len(before) == 4
    await _read(harness, *_rows(["5", "many", "many", "many"]))
    assert await stored(memory) == before
    run = await _last_run(harness)
    assert run["state"] == RunState.FAILED
    assert isinstance(run["error"], dict)
    assert run["error"]["error_class"] == "INVALID_DATA"
    assert "Most rows of 2026-03-02 do not fit; the first says clicks: " in run["error"]["message"]
    assert await harness.rows("dead_letters") == [], "a row alone would not stand for its day"
    assert await _finals(harness) == {DAY: False}, "the next run reads it again"
    await _read(harness, *_rows(["5", "6", "7", "many"]))
    assert set((await stored(memory)).values()) == {5, 6, 7}, "most of them fit"


async def test_a_bad_day_keeps_no_other_one(harness: Harness, memory: Client) -> None:
    """Days are read in halves, so that only the bad one stays as it was."""
    await _read(harness, *(it for day in DAYS for it in _rows(["1", "2"], day)), days=4)
    bad = DAYS[2]
    new = [it for day in DAYS for it in _rows(["many", "x"] if day == bad else ["3", "4"], day)]
    await _read(harness, *new, days=4)
    assert {day: clicks for (_, day), clicks in (await stored(memory)).items()} == {
        day.isoformat(): 2 if day == bad else 4 for day in DAYS
    }
    run = await _last_run(harness)
    assert run["state"] == RunState.PARTIALLY_SUCCEEDED
    slices = [it for it in await harness.rows("run_slices") if it["run"] == run["run"]]
    failed = [it for it in slices if it["state"] == SliceState.FAILED]
    assert [(it["start_date"], it["end_date"]) for it in failed] == [(bad, bad)]
    assert await _finals(harness) == {day: day != bad for day in DAYS}


async def test_rows_without_a_day_may_be_of_any(harness: Harness, memory: Client) -> None:
    """Where a day's rows no longer say it, that day is not taken for one without rows."""
    await _read(harness, *(it for day in DAYS for it in _rows(["1"], day)), days=4)

    async def answer(request: ReadRequest) -> AsyncGenerator[Page | PlatformJob, None]:
        rows = [
            {**row("0", "2", day=day), **({"date_start": "?"} if day == DAYS[1] else {})}
            for day in DAYS
            if request.start_date <= day <= request.end_date
        ]
        yield Page(rows, TransformContext())

    harness.source.answers = [answer]
    await harness.start(days=4)
    while await harness.read_due():
        pass
    assert {day: clicks for (_, day), clicks in (await stored(memory)).items()} == {
        day.isoformat(): 1 if day == DAYS[1] else 2 for day in DAYS
    }


async def test_where_nothing_was_stored_all_is_kept(harness: Harness, memory: Client) -> None:
    """What fits lands, the others are dead letters, and the account is not told to be well."""
    await add_connection(harness.pool, harness.org)
    await _read(harness, *_rows(["5", "many", "many"]))
    assert set((await stored(memory)).values()) == {5}
    assert len(await harness.rows("dead_letters")) == 2
    (account,) = await harness.rows("accounts")
    assert list(AccountOutcome)[account["outcome"] - 1] is AccountOutcome.PARTIAL


async def test_other_money_fails_the_slice(harness: Harness, memory: Client) -> None:
    """Whether anything was stored or not: the account is not what is known of it."""
    other = [{**it, "account_currency": "GBP"} for it in _rows(["1", "2"])]
    await _read(harness, *other)
    run = await _last_run(harness)
    assert isinstance(run["error"], dict)
    assert run["error"]["error_class"] == "INVALID_DATA"
    assert "Account 7 has changed at the platform: " in run["error"]["message"]
    assert "GBP" in run["error"]["message"]
    assert await stored(memory) == {}
    assert await harness.rows("dead_letters") == []
    stray = [*_rows(["1", "2"]), {**row("9", "3"), "account_currency": "GBP"}]
    await _read(harness, *stray)
    assert len(await stored(memory)) == 2, "a row alone is a dead letter"
    assert len(await harness.rows("dead_letters")) == 1
