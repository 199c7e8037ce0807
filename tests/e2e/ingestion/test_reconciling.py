"""Runs are reconciled by the days that they read: what is missing is told, what is gone is not."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from uuid import UUID

from tests.e2e.ingestion.readings import DAY, Harness, OneSource, row

from liftos_client import Client
from liftos_ingestion.adapters.memory import MemoryEntryTotals
from liftos_ingestion.adapters.postgres.reconciliations import PostgresReconciliationStore
from liftos_ingestion.domain.reconciliation import ReconciliationState
from liftos_ingestion.source_ports import JsonObject, Page, PlatformJob, ReadRequest
from liftos_ingestion.usecases.reconciling import Reconciling
from liftos_kit import postgres
from liftos_mapping.transform import TransformContext

MATCHED, MISMATCHED, NOT_COMPARABLE = ReconciliationState
NEXT_DAY = DAY.replace(day=DAY.day + 1)
WHOLE, PARTS = 1, 2


def _whole(clicks: str, day: date = DAY) -> JsonObject:
    return {"account_id": "7", "date_start": day.isoformat(), "clicks": clicks}


def _part(clicks: str, day: date = DAY) -> JsonObject:
    return {name: it for name, it in row("1", clicks, day=day).items() if name != "spend"}


async def _run(
    harness: Harness,
    memory: Client,
    *,
    whole: Sequence[JsonObject],
    parts: Sequence[JsonObject],
    days: int = 1,
) -> UUID:
    """Read the first days of March and reconcile the run."""
    harness.source.capabilities = replace(
        harness.source.capabilities, adding_up_levels=("CAMPAIGN",)
    )

    async def answer(request: ReadRequest) -> AsyncGenerator[Page | PlatformJob, None]:
        yield Page(whole if request.level == "ACCOUNT" else parts, TransformContext())

    harness.source.answers = [answer]
    run = await harness.start(levels=("ACCOUNT", "CAMPAIGN"), days=days)
    while await harness.read_due():
        pass
    reconciling = Reconciling(
        PostgresReconciliationStore(harness.pool),
        MemoryEntryTotals(lambda _: memory),
        OneSource(harness.source),
    )
    await reconciling.reconcile(harness.org, run)
    return run


async def _newest(harness: Harness) -> Mapping[tuple[int, date], ReconciliationState]:
    """Return what was found last of the clicks of each level and day."""
    async with postgres.transaction(harness.pool, org=harness.org) as connection:
        found = await connection.fetch(
            "select distinct on (level, date) level, date, state from reconciliations"
            " where metric = 'clicks' order by level, date, check_time desc"
        )
    return {(it["level"], it["date"]): ReconciliationState(it["state"]) for it in found}


async def test_a_level_of_which_nothing_became_an_entry(harness: Harness, memory: Client) -> None:
    """The account's total tells that its rows are missing."""
    await _run(harness, memory, whole=[_whole("5")], parts=[_part("5")])
    assert await _newest(harness) == {(WHOLE, DAY): MATCHED, (PARTS, DAY): MATCHED}
    await _run(harness, memory, whole=[_whole("5")], parts=[])
    assert await _newest(harness) == {(WHOLE, DAY): MATCHED, (PARTS, DAY): MISMATCHED}


async def test_an_older_finding_does_not_stay(harness: Harness, memory: Client) -> None:
    """Once a day has no rows at all, it matches as such, and nothing is told of it any more."""
    await _run(harness, memory, whole=[_whole("6")], parts=[_part("5")])
    assert (await _newest(harness))[PARTS, DAY] is MISMATCHED
    await _run(harness, memory, whole=[], parts=[])
    assert await _newest(harness) == {(WHOLE, DAY): MATCHED, (PARTS, DAY): MATCHED}


async def test_days_with_refused_rows_do_not_match(harness: Harness, memory: Client) -> None:
    """What mapped is not all that the platform sent; other days are compared as ever."""
    parts = [_part("5"), _part("7", NEXT_DAY), {**_part("many"), "campaign_id": "2"}]
    whole = [_whole("5"), _whole("7", NEXT_DAY)]
    await _run(harness, memory, whole=whole, parts=parts, days=2)
    found = await _newest(harness)
    assert (found[PARTS, DAY], found[PARTS, NEXT_DAY]) == (NOT_COMPARABLE, MATCHED)
    await _run(harness, memory, whole=whole, parts=parts[:2], days=2)
    found = await _newest(harness)
    assert (found[PARTS, DAY], found[PARTS, NEXT_DAY]) == (MATCHED, MATCHED)
    nameless = {**_part("1"), "campaign_id": "2", "date_start": "soon", "date_stop": "soon"}
    await _run(harness, memory, whole=whole, parts=[*parts[:2], nameless], days=2)
    found = await _newest(harness)
    assert (found[PARTS, DAY], found[PARTS, NEXT_DAY]) == (NOT_COMPARABLE, NOT_COMPARABLE)
