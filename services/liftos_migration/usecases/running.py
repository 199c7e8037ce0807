"""A worker advances migrations: it takes those that can go on, and lets them go."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Final

import structlog

from liftos_kit.core.clock import pause
from liftos_kit.core.errors import StoreUnavailableError
from liftos_migration.ledger_ports import Lease, LeaseLostError, Ledger
from liftos_migration.usecases.advancing import Advance, Connect, Plan
from liftos_migration.usecases.holding import Hold

_LOOK_SECONDS: Final = 2.0
_LOOKED_AT: Final = 100
_CANCEL_SECONDS: Final = 5.0
_WAITS: Final = "waits for a worker with a free hand"

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.migration")


@dataclass(frozen=True, slots=True)
class RunnerTimes:
    """How patient a worker is.

    Attributes:
        lease_seconds: How long a migration stays with a worker that does not answer any more.
        grace_seconds: Time for the batch in hand after a stop.
    """

    lease_seconds: float = 15.0
    grace_seconds: float = 20.0


class Running:
    """Advances migrations.

    Args:
        ledger: Where they are.
        plan: What they consist of.
        connect: Opens the stores of one.
        owner: The worker; another one after each start of the process.
        concurrency: Migrations in hand at most.
        times: Patience.
        traced: Wraps each step, with its title.
    """

    def __init__(
        self,
        ledger: Ledger,
        plan: Plan,
        connect: Connect,
        *,
        owner: str,
        concurrency: int = 4,
        times: RunnerTimes | None = None,
        traced: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._ledger = ledger
        self._plan = plan
        self._connect = connect
        self._owner = owner
        self._concurrency = concurrency
        self._times = times or RunnerTimes()
        self._traced = traced
        self._in_hand: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._waiting: list[str] = []

    async def run(self, stop: asyncio.Event, wake: asyncio.Event) -> None:
        """Work until `stop`; then end after the batches in hand.

        Args:
            stop: Ends the work.
            wake: Set where there may be something to do; without it, it is seen a little later.
        """
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                wake.clear()
                try:
                    await self._take_due(stop)
                except StoreUnavailableError as error:
                    _log.warning("migrations_not_looked_for", error=error.message)
                woken = asyncio.create_task(wake.wait())
                await asyncio.wait(
                    {stopping, woken, *self._in_hand.values()},
                    timeout=_LOOK_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                woken.cancel()
                self._let_go()
        finally:
            stopping.cancel()
            await self._end()

    async def _take_due(self, stop: asyncio.Event) -> None:
        waiting = []
        for org, migration in await self._ledger.due(limit=_LOOKED_AT):
            if (org, migration) in self._in_hand:
                continue
            if len(self._in_hand) >= self._concurrency:
                waiting.append(f"{org}/{migration}")
                if waiting[-1] not in self._waiting:
                    await self._tell_that_it_waits(org, migration)
                continue
            lease = await self._ledger.take(
                org, migration, owner=self._owner, seconds=self._times.lease_seconds
            )
            if lease is not None:
                task = asyncio.create_task(self._advance(lease, stop), name=f"{org}/{migration}")
                self._in_hand[org, migration] = task
        if waiting and waiting != self._waiting:
            # One that keeps up with its source stays in hand, so that others may wait for ever.
            _log.warning("migrations_wait", migrations=waiting, in_hand=self._concurrency)
        self._waiting = waiting

    async def _tell_that_it_waits(self, org: str, migration: str) -> None:
        """Tell people of a migration for which no hand is free; nobody has it afterwards."""
        lease = await self._ledger.take(
            org, migration, owner=self._owner, seconds=self._times.lease_seconds
        )
        if lease is None:
            return
        with suppress(LeaseLostError):
            await self._ledger.say(
                lease,
                f"{_WAITS}: {self._owner} has {self._concurrency} in hand. Those that keep up with"
                " their source stay there: pause or end one, start another worker, or raise"
                " LIFTOS_WORKER_CONCURRENCY",
            )
        await self._ledger.release(lease)

    def _let_go(self) -> None:
        for key, task in list(self._in_hand.items()):
            if task.done():
                del self._in_hand[key]
                # An error that `_advance` does not know is one of ours, and ends the worker.
                if not task.cancelled():
                    task.result()

    async def _end(self) -> None:
        tasks = set(self._in_hand.values())
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=self._times.grace_seconds)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=_CANCEL_SECONDS)
        self._let_go()

    async def _advance(self, lease: Lease, stop: asyncio.Event) -> None:
        """Advance one migration for as long as it can go on and the lease holds."""
        with structlog.contextvars.bound_contextvars(org=lease.org, migration=lease.migration):
            hold = Hold(self._ledger, lease, stop, self._times.lease_seconds)
            _log.info("migration_taken", epoch=lease.epoch)
            work = Advance(self._ledger, self._plan, self._connect, hold, self._traced)
            try:
                if (await self._ledger.read(lease)).state_reason.startswith(_WAITS):
                    await self._ledger.say(lease, "")
                await hold.run(work.run())
            except LeaseLostError:
                _log.warning("migration_lost", epoch=lease.epoch)
            except StoreUnavailableError as error:
                # Whoever takes it next goes on, this worker too.
                _log.warning("migration_let_go", epoch=lease.epoch, error=error.message)
                await pause(stop, _LOOK_SECONDS)
            finally:
                with suppress(StoreUnavailableError):
                    await self._ledger.release(lease)
