"""What the work of a migration is made of: steps, and work that goes on beside them."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from liftos_migration.capture_ports import Horizon
from liftos_migration.domain.ledger import JsonObject
from liftos_migration.domain.mapping import Mapping
from liftos_migration.domain.migrations import MigrationProgress, MigrationSpec, Throttle
from liftos_migration.domain.states import MigrationState
from liftos_migration.ledger_ports import Lease

Progress: TypeAlias = Callable[[Callable[[MigrationProgress], MigrationProgress]], None]
"""Takes what makes the new progress of the old one; costs next to nothing."""


class StepFailedError(Exception):
    """A step cannot be done or does not hold; the migration stops and a person is told.

    Attributes:
        code: Stable word, such as `DISK_FULL`.
        message: What is wrong, in one sentence.
        remedy: What to do, in one sentence.
        state: Where the migration stops: PAUSED, HELD or RESNAPSHOT_REQUIRED.
    """

    def __init__(
        self,
        code: str,
        message: str,
        remedy: str,
        *,
        state: MigrationState = MigrationState.PAUSED,
    ) -> None:
        super().__init__(f"{message} {remedy}")
        self.code = code
        self.message = message
        self.remedy = remedy
        self.state = state


class StepStoppedError(Exception):
    """A step saw `stop` and ended after the batch in hand; the next attempt goes on from there."""


class Source(Protocol):
    """Opens connections to the source; see `liftos_migration.adapters.source.connections`."""

    def connect(self) -> AbstractAsyncContextManager[Any]:
        """Yield a connection that may write."""
        ...

    def snapshot(self) -> AbstractAsyncContextManager[tuple[Any, Horizon]]:
        """Yield a connection that reads one snapshot, and what that sees."""
        ...


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a step works with.

    Attributes:
        lease: Of the worker; every transaction on Migration's tables proves it.
        spec: What a person decided.
        source: The store that is left behind.
        core: Writes to Core, fenced by the epoch; see `liftos_migration.adapters.core`.
        stop: Set where the step is to end after the batch in hand.
        progress: Tells how far it is; see `Progress`.
        throttle: Returns how hard it may work at this moment, which a person can change.
        purge: Whether an undo also deletes what was written to Core.
    """

    lease: Lease
    spec: MigrationSpec
    source: Source
    core: Any
    stop: asyncio.Event
    progress: Progress
    throttle: Callable[[], Throttle]
    purge: bool = False

    @property
    def org(self) -> str:
        """Whose migration it is."""
        return self.lease.org

    @property
    def migration(self) -> str:
        """Its id."""
        return self.lease.migration

    @property
    def epoch(self) -> int:
        """The worker's; every write to Core carries it."""
        return self.lease.epoch

    @property
    def mapping(self) -> Mapping:
        """What becomes of every part of the source."""
        return self.spec.mapping

    def check_stop(self) -> None:
        """End the step here, where it is to end.

        Raises:
            StepStoppedError: It is.
        """
        if self.stop.is_set():
            raise StepStoppedError


class StepWork(Protocol):
    """One effect that can be done, verified and taken back.

    A worker can die anywhere in it, and another one begins it again: `do` finds what is there and
    goes on.

    Attributes:
        title: What it does, such as `copy public.orders`; one of its kind in a migration.
        phase: The state that it belongs to.
    """

    @property
    def title(self) -> str: ...  # noqa: D102 - above

    @property
    def phase(self) -> MigrationState: ...  # noqa: D102 - above

    async def do(self, context: StepContext) -> JsonObject:
        """Do it, or what is left of it.

        Returns:
            What it found or did, for the ledger.

        Raises:
            StepFailedError: It cannot be done.
            StepStoppedError: `context.stop` was set before it was done.
            StoreUnavailableError: A store does not answer; it is tried again.
            LeaseLostError: Another worker has the migration.
        """
        ...

    async def verify(self, context: StepContext) -> None:
        """Check what was done.

        Raises:
            StepFailedError: It does not hold.
            StepStoppedError, StoreUnavailableError, LeaseLostError: As above.
        """
        ...

    async def undo(self, context: StepContext) -> None:
        """Take it back, all or what there is of it.

        Raises:
            StepFailedError: It cannot be taken back.
            StepStoppedError, StoreUnavailableError, LeaseLostError: As above.
        """
        ...


class ContinuousWork(Protocol):
    """Work that goes on for as long as a migration is in certain states, such as the catch-up.

    Attributes:
        title: What it does.
        phases: The states.
    """

    @property
    def title(self) -> str: ...  # noqa: D102 - above

    @property
    def phases(self) -> frozenset[MigrationState]: ...  # noqa: D102 - above

    async def run(self, context: StepContext) -> None:
        """Work until `context.stop`.

        Raises:
            StepFailedError: It cannot go on.
            StoreUnavailableError: A store does not answer; it is begun again.
            LeaseLostError: Another worker has the migration.
        """
        ...
