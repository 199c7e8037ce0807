"""Watching how far the search index is behind, whichever worker leads and whatever is down."""

import asyncio
from collections.abc import Callable

from liftos_kit.repeat import repeat
from liftos_memory.document_ports import DocumentStore, IndexLag


async def watch_lag(
    store: DocumentStore,
    on_lag: Callable[[IndexLag], None],
    stop: asyncio.Event,
    *,
    interval_seconds: float = 2.0,
) -> None:
    """Tell the lag again and again until told to stop; an outage of Postgres is waited out."""

    async def look() -> None:
        on_lag(await store.lag())

    await repeat(look, stop, seconds=interval_seconds, event="lag_unknown")
