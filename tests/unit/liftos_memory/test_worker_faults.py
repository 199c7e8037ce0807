"""A worker that fails says so, and does not go on as if it worked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from liftos_memory.usecases.indexing import Indexing


class BrokenRoundError(Exception):
    """What nobody expected."""


class BrokenStore:
    """Leads at once, and cannot do anything."""

    def __init__(self) -> None:
        self.led = 0
        self.led_again = asyncio.Event()
        self.lost = asyncio.Event()

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[asyncio.Event]:
        """Give the place."""
        self.led += 1
        if self.led > 1:
            self.led_again.set()
        yield self.lost

    async def orgs_with_documents(self) -> list[str]:
        """Fail."""
        raise BrokenRoundError


def _indexing(store: BrokenStore) -> Indexing:
    async def ensure() -> None:
        return

    index: Any = SimpleNamespace(ensure=ensure)
    unused: Any = None
    broken: Any = store
    return Indexing(
        broken,
        index,
        unused,
        unused,
        {},
        today=lambda: date(2025, 3, 3),
        on_round=lambda *_: None,
        continue_trace=lambda _: nullcontext(),
    )


async def test_an_unexpected_error_ends_the_worker() -> None:
    """It is raised, not swallowed: whoever keeps the process sees it and starts it again."""
    store = BrokenStore()
    with pytest.raises(BrokenRoundError):
        await asyncio.wait_for(_indexing(store).run_alone(asyncio.Event()), 5)
    assert store.led == 1


async def test_what_fails_with_the_place_is_of_the_lost_place() -> None:
    """An error after the place was lost is a consequence of that, and the worker queues again."""
    store, stop = BrokenStore(), asyncio.Event()
    store.lost.set()
    working = asyncio.create_task(_indexing(store).run_alone(stop))
    await asyncio.wait_for(store.led_again.wait(), 5)
    stop.set()
    await asyncio.wait_for(working, 5)


class SlowStore(BrokenStore):
    """Leads at once, and is in the middle of something for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.works = asyncio.Event()
        self.stopped_before_place_was_given = False

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[asyncio.Event]:
        """Give the place, and look at its end whether anybody still works."""
        try:
            yield self.lost
        finally:
            self.stopped_before_place_was_given = not self.works.is_set()

    async def orgs_with_documents(self) -> list[str]:
        """Take for ever."""
        self.works.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.works.clear()
        raise AssertionError


async def test_a_cancelled_worker_stops_before_another_leads() -> None:
    """The round ends before the place is given back, so that there are never two writers."""
    store = SlowStore()
    working = asyncio.create_task(_indexing(store).run_alone(asyncio.Event()))
    await asyncio.wait_for(store.works.wait(), 5)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert store.stopped_before_place_was_given
