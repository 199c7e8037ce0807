"""A worker's hold of a migration: kept while it is worked on, and heard through."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from liftos_kit.core.clock import pause
from liftos_kit.core.errors import StoreUnavailableError
from liftos_migration.domain.migrations import MigrationProgress
from liftos_migration.domain.states import MigrationState
from liftos_migration.ledger_ports import Lease, LeaseLostError, Ledger, StoredMigration

_BEAT_SECONDS: Final = 1.0
_BEATS_PER_LEASE: Final = 5
_CANCEL_SECONDS: Final = 5.0


@dataclass(slots=True, eq=False)
class Leg:
    """Work in one state and generation: `stop` ends it after the batch in hand."""

    state: MigrationState
    generation: int
    stop: asyncio.Event = field(default_factory=asyncio.Event)


class Hold:
    """Keeps a lease while its migration is worked on, and hears of what people decide."""

    def __init__(
        self, ledger: Ledger, lease: Lease, stop: asyncio.Event, lease_seconds: float
    ) -> None:
        self.lease = lease
        self.stop = stop
        self.stored: StoredMigration | None = None
        self.progress = MigrationProgress()
        self._told = self.progress
        self._ledger = ledger
        self._lease_seconds = lease_seconds
        self._leg: Leg | None = None

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do some work under the lease; it is cancelled where the lease is lost.

        Raises:
            LeaseLostError: It is.
        """
        keeper = asyncio.create_task(self._keep())
        worker = asyncio.create_task(work)
        try:
            await asyncio.wait({keeper, worker}, return_when=asyncio.FIRST_COMPLETED)
            if worker.done():
                worker.result()
                await self._renew()
            else:
                keeper.result()
        finally:
            keeper.cancel()
            worker.cancel()
            await asyncio.wait({keeper, worker}, timeout=_CANCEL_SECONDS)

    async def read(self) -> StoredMigration:
        """Return the migration as it is."""
        self.stored = await self._ledger.read(self.lease)
        if self._told is self.progress:
            self.progress = self._told = self.stored.progress
        return self.stored

    @contextmanager
    def leg(self, stored: StoredMigration) -> Iterator[Leg]:
        """Run a block that ends when the worker stops, or a person changes the state."""
        leg = Leg(stored.state, stored.generation)
        self._leg = leg
        if self.stop.is_set():
            leg.stop.set()
        try:
            yield leg
        finally:
            self._leg = None

    def tell(self, change: Callable[[MigrationProgress], MigrationProgress]) -> None:
        """Take progress, to be written with the next beat."""
        self.progress = change(self.progress)

    async def _keep(self) -> None:
        """Renew the lease until it is lost, which raises."""
        kept_at = time.monotonic()
        beat = min(_BEAT_SECONDS, self._lease_seconds / _BEATS_PER_LEASE)
        stopped = False
        while True:
            if stopped:
                await asyncio.sleep(beat)
            else:
                await pause(self.stop, beat)
                stopped = self.stop.is_set()
            if stopped and self._leg is not None:
                self._leg.stop.set()
            asked_at = time.monotonic()
            try:
                async with asyncio.timeout(max(beat, self._lease_seconds / 3)):
                    await self._renew()
            except (StoreUnavailableError, TimeoutError) as error:
                if time.monotonic() - kept_at >= self._lease_seconds:
                    # By now another worker may have it.
                    raise LeaseLostError from error
            else:
                kept_at = asked_at

    async def _renew(self) -> None:
        progress = self.progress
        renewal = await self._ledger.renew(
            self.lease,
            seconds=self._lease_seconds,
            progress=None if progress is self._told else progress,
        )
        self._told = progress
        leg = self._leg
        if leg is not None and (renewal.state, renewal.generation) != (leg.state, leg.generation):
            leg.stop.set()
        if self.stored is not None and renewal.revision != self.stored.revision:
            self.stored = await self._ledger.read(self.lease)
