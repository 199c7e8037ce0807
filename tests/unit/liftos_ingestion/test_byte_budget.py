"""Bytes in hand: bounded together, first come, first served, and given back however it ends."""

import asyncio
from collections.abc import Sequence

import pytest

from liftos_ingestion.usecases.byte_budget import ByteBudget


class _Holder:
    """Somebody who has bytes in hand from `start` until `end`."""

    def __init__(self, budget: ByteBudget, size_bytes: int) -> None:
        self.has_begun = False
        self._let_go = asyncio.Event()
        self._task = asyncio.create_task(self._hold(budget, size_bytes))

    async def _hold(self, budget: ByteBudget, size_bytes: int) -> None:
        async with budget.take(size_bytes):
            self.has_begun = True
            await self._let_go.wait()

    async def end(self) -> None:
        """Give them back."""
        self._let_go.set()
        await self._task

    async def cancel(self) -> None:
        """Be cancelled, waiting or not."""
        self._task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._task


async def _begun(*holders: _Holder) -> Sequence[bool]:
    """Say who has begun, once nothing moves any more."""
    for _ in range(10):
        await asyncio.sleep(0)
    return [it.has_begun for it in holders]


async def test_what_fits_is_in_hand_at_once() -> None:
    """Others wait until enough was given back, those who came first first."""
    budget = ByteBudget(10)
    first, second, large, small = (_Holder(budget, size) for size in (4, 6, 8, 1))
    assert await _begun(first, second, large, small) == [True, True, False, False]
    await first.end()
    assert await _begun(large, small) == [False, False], "a small one does not go past a large one"
    await second.end()
    assert await _begun(large, small) == [True, True]
    await large.end()
    await small.end()


async def test_what_is_larger_than_all_goes_alone() -> None:
    """It waits for all others, and all others for it."""
    budget = ByteBudget(10)
    first, huge, last = (_Holder(budget, size) for size in (1, 1_000, 1))
    assert await _begun(first, huge, last) == [True, False, False]
    await first.end()
    assert await _begun(huge, last) == [True, False]
    await huge.end()
    assert await _begun(last) == [True]
    await last.end()


async def test_who_is_cancelled_holds_nobody_up() -> None:
    """Neither who waits, nor who has bytes in hand."""
    budget = ByteBudget(10)
    first, second, third = (_Holder(budget, 10) for _ in range(3))
    assert await _begun(first, second, third) == [True, False, False]
    await second.cancel()
    assert await _begun(third) == [False]
    await first.cancel()
    assert await _begun(third) == [True]
    await third.end()
