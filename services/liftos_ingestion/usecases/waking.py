"""Waking workers: each job names a slice, and lost wake-ups are made good."""

import asyncio
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol
from uuid import UUID

from liftos_ingestion.run_ports import AccountLag
from liftos_ingestion.usecases.reading import Reading
from liftos_ingestion.usecases.reconciling import Reconciling
from liftos_kit.repeat import repeat

_LOOK_SECONDS: Final = 2.0
_LAG_SECONDS: Final = 60.0
_AT_ONCE: Final = 500


class DueSlices(Protocol):
    """Slices that may be read now."""

    async def line_up_due(self, *, limit: int) -> int:
        """Line up slices of all orgs that are due and that no job may name; return how many."""


class Lags(Protocol):
    """How far accounts lie behind that schedules read."""

    async def account_lags(self) -> Sequence[AccountLag]:
        """Return all of them, of all orgs."""


async def watch_lags(
    lags: Lags, tell: Callable[[Sequence[AccountLag]], None], stop: asyncio.Event
) -> None:
    """Tell once a minute how far all accounts lie behind, until `stop`."""

    async def look() -> None:
        tell(await lags.account_lags())

    await repeat(look, stop, seconds=_LAG_SECONDS, event="lags_unknown")


async def read_named(reading: Reading, payload: bytes) -> None:
    """Read the slice that a job names."""
    named = json.loads(payload)
    await reading.read(named["org"], UUID(named["slice"]))


async def reconcile_named(reconciling: Reconciling, payload: bytes) -> None:
    """Compare the run that a job names.

    An outage leaves the job where it is, to come again.
    """
    named = json.loads(payload)
    await reconciling.reconcile(named["org"], UUID(named["run"]))


async def make_good(slices: DueSlices, stop: asyncio.Event) -> None:
    """Line up what is due and not lined up, until `stop`.

    A job can be lost with a worker, and a lane whose holder died becomes free without anybody
    saying so.
    """
    line_up = partial(slices.line_up_due, limit=_AT_ONCE)
    await repeat(line_up, stop, seconds=_LOOK_SECONDS, event="line_up_failed")
