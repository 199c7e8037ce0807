"""Watching how far the search index is behind, whichever worker leads and whatever is down."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from liftos_kit.core.clock import pause
from liftos_kit.core.errors import StoreUnavailableError
from liftos_memory.document_ports import DocumentStore, IndexLag

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.index_lag")


async def watch_lag(
    store: DocumentStore,
    on_lag: Callable[[IndexLag], None],
    stop: asyncio.Event,
    *,
    interval_seconds: float = 2.0,
) -> None:
    """Tell the lag again and again until told to stop; an outage of Postgres is passed over."""
    while not stop.is_set():
        try:
            on_lag(await store.lag())
        except StoreUnavailableError:
            _log.debug("lag_unknown", store="postgres")
        await pause(stop, interval_seconds)
