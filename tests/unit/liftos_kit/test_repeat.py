"""Rounds of work that outages do not end."""

import asyncio

import pytest
import structlog

from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.repeat import repeat


async def test_rounds_go_on_over_outages_until_stop() -> None:
    """Each outage is told; nothing begins after a stop, and a pause ends with it."""
    stop = asyncio.Event()
    rounds = 0

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds in {1, 3}:
            raise StoreUnavailableError("postgres")
        if rounds == 4:
            stop.set()

    async with asyncio.timeout(10):
        with structlog.testing.capture_logs() as told:
            await repeat(work, stop, seconds=0.001, event="work_waits")
        await repeat(work, stop, seconds=3_600.0, event="work_waits")
    assert rounds == 4
    assert [(it["event"], it["log_level"]) for it in told] == [("work_waits", "warning")] * 2
    assert "postgres" in told[0]["error"]


async def test_a_stop_ends_the_pause() -> None:
    """However long it is."""
    stop = asyncio.Event()
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()

    async with asyncio.timeout(10):
        running = asyncio.create_task(repeat(work, stop, seconds=3_600.0, event="work_waits"))
        await begun.wait()
        stop.set()
        await running


async def test_a_fault_ends_it() -> None:
    """What is no outage is for whoever supervises the work."""

    async def work() -> None:
        raise KeyError("id")

    with pytest.raises(KeyError):
        await repeat(work, asyncio.Event(), seconds=0.001, event="work_waits")
