"""What a queue of jobs promises, whatever it is built on.

Delivery is at least once. A job comes again if its worker died, was frozen, lost its connection
for too long or was stopped, and then the old run may still be under way, or wake up later, beside
the new one. So a handler has to be idempotent, and fenced by a ledger of its own: it claims its
work there under a new epoch, and what it writes is refused once the epoch is no longer the newest.
The job is only what wakes it.
"""

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol, TypeAlias

import asyncpg

_KIND: Final = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_KEY_LENGTH: Final = 500
_PRIORITY_BOUND: Final = 2**31


@dataclass(frozen=True, slots=True)
class Job:
    """Work to be done once its transaction has committed.

    Attributes:
        kind: Which handler does it; lower-case letters, digits, `_`, `.` and `-`.
        payload: What the handler needs to know: ids, never the data of a tenant.
        priority: Higher ones are taken first.
        delay_seconds: Least time until it is taken.
        dedupe_key: Among the jobs of a kind that wait, at most one has this key. A job that has
            been taken no longer waits, so that work which came up meanwhile is not forgotten.
    """

    kind: str
    payload: bytes = field(repr=False)
    priority: int = 0
    delay_seconds: float = 0.0
    dedupe_key: str | None = None

    def __post_init__(self) -> None:
        if _KIND.fullmatch(self.kind) is None:
            raise ValueError(f"kind must match {_KIND.pattern}, and is {self.kind!r}")
        if not -_PRIORITY_BOUND <= self.priority < _PRIORITY_BOUND:
            raise ValueError("priority must fit in 32 bits")
        if not (self.delay_seconds >= 0 and math.isfinite(self.delay_seconds)):
            raise ValueError("delay_seconds must be at least 0, and finite")
        key = self.dedupe_key
        if key is not None and (not 0 < len(key) <= _KEY_LENGTH or "\0" in key):
            raise ValueError(f"dedupe_key must have 1 to {_KEY_LENGTH} characters, and no NUL")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A job in the hands of a handler.

    Attributes:
        job_id: The same each time that the job comes.
        kind: Kind of the job.
        payload: Payload of the job.
        number: 1 the first time; more if an earlier handler raised, or was stopped, or its
            worker died or froze. There is no bound to it: what kills its worker each time has to
            be held by the ledger.
        enqueue_time: When the job was added.
    """

    job_id: int
    kind: str
    payload: bytes = field(repr=False)
    number: int
    enqueue_time: datetime


@dataclass(frozen=True, slots=True)
class KindDepth:
    """How many jobs of a kind there are.

    Attributes:
        kind: Kind of the jobs.
        waiting: Jobs that are due, and that nobody has taken.
        delayed: Jobs that are not due yet, those that pause after an error included.
        running: Jobs that a worker has taken.
        oldest_waiting_seconds: How long the oldest of the waiting has been due; 0 if none waits.
    """

    kind: str
    waiting: int
    delayed: int
    running: int
    oldest_waiting_seconds: float


Handler: TypeAlias = Callable[[Delivery], Awaitable[None]]
"""Does a job. Idempotent, fenced by its own ledger, and never blocking the loop: a loop that stands
still sends no heartbeats, and its jobs are given to others. Errors that are to be expected are
classified by the ledger. Where a store is away that the ledger needs, StoreUnavailableError gives
the job back for some seconds; what else a handler raises counts as a bug, and the job comes again
after a pause that grows."""


class JobQueue(Protocol):
    """Jobs, at least once each. See the top of this file for what that asks of handlers."""

    async def enqueue(
        self, jobs: Sequence[Job], *, connection: asyncpg.Connection | None = None
    ) -> None:
        """Add jobs, all or none.

        Where a job of its kind with its `dedupe_key` already waits, a job is not added; the one
        that waits keeps its time, and takes the higher of both priorities. It is not taken before
        the caller has committed, so that its handler sees what the caller wrote.

        Among jobs of a priority the oldest is taken first; jobs of one call that have keys count
        as added in the order of their keys.

        Args:
            jobs: What to add.
            connection: Inside a transaction of the caller, which the jobs belong to: a rollback
                leaves nothing. It has to be read committed, or two who add the same key may
                fail to serialize. None adds them at once.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        ...

    async def work(
        self, handlers: Mapping[str, Handler], *, concurrency: int, stop: asyncio.Event
    ) -> None:
        """Take jobs and have them done, until `stop` is set.

        Then no more jobs are taken; those in hand may end within a grace time, after which their
        handlers are cancelled and the jobs are given back. Losses of the store are survived. A
        cancellation cancels the handlers too, but their jobs only come again once their
        heartbeats have been missed.

        Args:
            handlers: By kind; jobs of other kinds are left to other workers.
            concurrency: Jobs in hand at most.
            stop: Ends the work.
        """
        ...

    async def depth(self) -> tuple[KindDepth, ...]:
        """Count the jobs, by kind in alphabetical order; a kind without jobs is left out.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        ...
