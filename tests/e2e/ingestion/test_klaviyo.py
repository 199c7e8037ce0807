"""Klaviyo from the real simulator into a real Memory: to the micro, by both dates, under faults."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest
from tests.e2e.ingestion.klaviyo_worker import KlaviyoWorker, Workers, workers_of
from tests.e2e.ingestion.truth_comparison import (
    Comparison,
    Figures,
    Key,
    days_from,
    differences,
    stored_figures,
    true_figures,
)

from liftos_client import Client
from liftos_ingestion.run_ports import RunState, SliceState
from liftos_local.stack import Stack
from liftos_platforms.simulation import Simulation
from liftos_platforms.testing import Platforms, running_platforms
from liftos_platforms.truth import Channel, DateBasis, Level, Platform
from liftos_platforms.worlds import KLAVIYO_ACCOUNTS

PARIS = "KLvEU1"
NEW_YORK = "KLvUS2"
ACCOUNTS = tuple(it.account_id for it in KLAVIYO_ACCOUNTS)
LEVELS = (Level.CAMPAIGN, Level.FLOW, Level.MESSAGE)
NOW = datetime(2026, 11, 15, 12, 0, 29, tzinfo=UTC)
"""Right behind the moment at which the day's growing numbers grow: the next is 86 s away."""

FIRST = date(2026, 11, 9)
WEEK = days_from(FIRST, 7)

_NEVER_OF_TEXTS = frozenset({"opened", "unique_opened", "spam_complaints"})
_NEVER_BY_EVENT = frozenset({"sent", "spend_micros"})
_PEOPLE = frozenset({"unique_opened", "unique_clicked"})


@pytest.fixture
async def klaviyo() -> AsyncIterator[Platforms]:
    """Klaviyo's face alone."""
    simulation = Simulation()
    simulation.clock.set(NOW)
    async with running_platforms(Platform.KLAVIYO, simulation=simulation) as platforms:
        yield platforms


@pytest.fixture
async def workers(
    klaviyo: Platforms, pool: asyncpg.Pool, memory: Client, org: str, stores: Stack
) -> AsyncIterator[Workers]:
    """Workers of the default world."""
    async with workers_of(klaviyo, org, pool, memory, stores) as made:
        yield made


def reported(
    simulation: Simulation,
    basis: DateBasis,
    *,
    account_ids: tuple[str, ...] = ACCOUNTS,
    days: tuple[date, ...] = WEEK,
) -> tuple[Comparison, dict[Key, Figures]]:
    """What Klaviyo's API can tell of the truth, and the part of Memory to compare it with.

    By event there are no sendings and no spend, nor what has no metric in a channel. Levels that
    sum messages know how many people opened or clicked only where one message alone was.
    """
    comparison = Comparison(Platform.KLAVIYO, account_ids, LEVELS, days, date_basis=basis)
    true = true_figures(simulation, comparison)
    channels = {
        entity.entity_id: entity.channel
        for account_id in account_ids
        for entity in simulation.world.entities[(Platform.KLAVIYO, account_id)]
    }
    counts = Counter(
        (key[2], key[3] or key[6], key[-1], name)
        for key, figures in true.items()
        for name in _PEOPLE
        if key[0] == "MESSAGE" and figures.get(name)
    )
    found = {}
    for key, figures in true.items():
        level, _, account_id, campaign_id, *_, flow_id, message_id, day = key
        owner = campaign_id or flow_id
        hidden = {name for name in _PEOPLE if counts[account_id, owner, day, name] > 1}
        hidden = set() if level == "MESSAGE" else hidden
        if basis is DateBasis.EVENT:
            hidden |= _NEVER_BY_EVENT
            if channels[message_id or owner] is Channel.SMS:
                hidden |= _NEVER_OF_TEXTS
        kept = {name: value for name, value in figures.items() if name not in hidden}
        if any(value for value in kept.values() if isinstance(value, int)):
            found[key] = kept
    return comparison, found


async def assert_reported(
    memory: Client,
    simulation: Simulation,
    basis: DateBasis,
    *,
    account_ids: tuple[str, ...] = ACCOUNTS,
    days: tuple[date, ...] = WEEK,
) -> int:
    """Compare every figure of every row in both directions; return how many rows there are."""
    comparison, true = reported(simulation, basis, account_ids=account_ids, days=days)
    found = differences(true, await stored_figures(memory, comparison))
    assert not found, "\n".join(found[:20])
    return len(true)


async def read(worker: KlaviyoWorker, basis: DateBasis, *, days: tuple[date, ...] = WEEK) -> None:
    """Read all levels by one basis, to the end."""
    await worker.read_days(days[0], days[-1], date_bases=(basis.value,))


@pytest.mark.parametrize("basis", [DateBasis.SEND, DateBasis.EVENT])
async def test_a_week_of_all_accounts_is_read_to_the_micro(
    workers: Workers, memory: Client, basis: DateBasis
) -> None:
    """Every level of every account, again unchanged, and again when days have been restated."""
    simulation = workers.platforms.simulation
    for account_id in ACCOUNTS:
        await read(workers.of(account_id), basis)
    assert await assert_reported(memory, simulation, basis) > 60
    worker = workers.of(PARIS)
    assert {it["state"] for it in await worker.rows("runs")} == {RunState.SUCCEEDED}
    assert not await worker.rows("dead_letters")
    before = len(await worker.rows("run_slices"))
    simulation.clock.set(NOW + timedelta(days=3))
    for account_id in ACCOUNTS:
        await read(workers.of(account_id), basis)
    assert await assert_reported(memory, simulation, basis) > 60
    later = sorted(await worker.rows("run_slices"), key=lambda it: it["start_time"])[before:]
    assert {it["state"] for it in later} == {SliceState.COMMITTED, SliceState.UNCHANGED}
    assert sum(it["restated_count"] for it in later) > 0
