"""Streams of batches without a store: what happens to those who wait when a write fails."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import date
from typing import Any, cast

import pyarrow as pa
import pytest

from liftos_memory.ports import EntryStore, StreamPosition, WriteContext
from liftos_memory.usecases.ingest import Ingest
from liftos_memory.usecases.stream_messages import Rows, StreamMessage


class _StoreIsOutError(Exception):
    """What the store of these tests says."""


class _FailingStore:
    """A store whose writes fail after a while."""

    async def stream_position(self, org: str, stream_id: str) -> StreamPosition:
        return StreamPosition()

    async def platforms(self, org: str) -> frozenset[str]:
        return frozenset({"meta"})

    async def prepare_days(self, days: list[date]) -> None:
        """Nothing is to be prepared."""

    @asynccontextmanager
    async def write(self, org: str, context: WriteContext) -> AsyncIterator[Any]:
        await asyncio.sleep(0.05)
        raise _StoreIsOutError
        yield


def _batch() -> pa.Table:
    return pa.table(
        {
            "date": pa.array([date(2026, 1, 1)]),
            "platform": ["meta"],
            "level": ["ACCOUNT"],
            "account_id": ["1"],
            "clicks": [1],
        }
    )


@pytest.mark.parametrize("waiting", [1, 2, 3, 4, 8])
async def test_a_failed_write_ends_the_stream_whoever_waits(waiting: int) -> None:
    """The caller hears of the failure at once, however many messages are queued behind it."""

    async def messages() -> AsyncIterator[StreamMessage]:
        for sequence in range(1, waiting + 1):
            yield StreamMessage(sequence, Rows(_batch), WriteContext(), None)
        await asyncio.Event().wait()

    with ThreadPoolExecutor(1) as executor:
        ingest = Ingest(
            cast("EntryStore", _FailingStore()),
            executor,
            today=lambda: date(2026, 1, 2),
            on_batch=lambda _: None,
        )
        async with asyncio.timeout(10):
            with pytest.raises(_StoreIsOutError):
                await anext(ingest.stream("acme", "s", messages()))
