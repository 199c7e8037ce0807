"""A drain ends waits, and only waits."""

import asyncio

import pytest

from liftos_kit.core.errors import ShuttingDownError
from liftos_kit.draining import Draining


async def _forever() -> None:
    await asyncio.Event().wait()


async def test_waits_end_when_the_drain_starts() -> None:
    """Present waits end, later ones do not begin, and the task goes on as if never cancelled."""
    draining = Draining()

    async def stream() -> str:
        with pytest.raises(ShuttingDownError):
            await draining.interruptible(_forever)
        await asyncio.sleep(0)
        with pytest.raises(ShuttingDownError):
            await draining.interruptible(_forever)
        return "ended well"

    task = asyncio.ensure_future(stream())
    await asyncio.sleep(0)
    draining.start()
    draining.start()
    assert await task == "ended well"


async def test_work_between_waits_is_not_touched() -> None:
    """A drain in the midst of work is noticed at the next wait."""
    draining = Draining()
    working, finish = asyncio.Event(), asyncio.Event()
    steps = list[str]()

    async def stream() -> None:
        steps.append(await draining.interruptible(lambda: asyncio.sleep(0, "waited")))
        working.set()
        await finish.wait()
        steps.append("worked")
        await draining.interruptible(_forever)

    task = asyncio.ensure_future(stream())
    await working.wait()
    draining.start()
    finish.set()
    with pytest.raises(ShuttingDownError):
        await task
    assert steps == ["waited", "worked"]


async def test_a_cancellation_stays_one() -> None:
    """A caller that gives up is no drain, not even when both come at once."""
    draining = Draining()
    alone = asyncio.ensure_future(draining.interruptible(_forever))
    both = asyncio.ensure_future(draining.interruptible(_forever))
    await asyncio.sleep(0)
    alone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await alone
    both.cancel()
    draining.start()
    with pytest.raises(asyncio.CancelledError):
        await both
