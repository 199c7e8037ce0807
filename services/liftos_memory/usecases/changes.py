"""Following what commits do: feeds of changes, and restatements."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final

from liftos_kit.core.clock import Clock
from liftos_kit.core.errors import InvalidFieldsError
from liftos_kit.core.filters import Filter
from liftos_memory.domain.records import Collection
from liftos_memory.replication_ports import (
    Change,
    ChangeSource,
    ChangeStore,
    Position,
    RestatementQuery,
)

BEGIN: Final = Position(0)
"""Before the oldest change that is kept."""

_POLL_SECONDS: Final = 0.25
_HEARTBEAT_SECONDS: Final = 10.0
_COMMITS_AT_ONCE: Final = 256
_ENTRIES_AT_ONCE: Final = 2_000
_RECORDS_AT_ONCE: Final = 32  # each may have a body of 1 MiB, before and after


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """Changes of one commit, or none: a heartbeat.

    Attributes:
        changes: By id.
        position: After them.
        time: When the commit was made; for a heartbeat, now.
    """

    changes: Sequence[Change]
    position: Position
    time: datetime


class Changes:
    """Reads what commits did.

    Args:
        store: Where changes are kept.
        clock: Time between two looks at the store.
    """

    def __init__(self, store: ChangeStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def watch_entries(
        self, org: str, where: Filter | None, start: Position | None
    ) -> AsyncIterator[ChangeSet]:
        """Yield changes of entries in the order of their commits, for ever.

        A change is told where the entry matches before or after it, as what it was: an entry that
        leaves the filter is UPDATED, and its state after does not match.

        Begins after `start`, or with what is committed from now on; the position of now then comes
        first, as a heartbeat. Further heartbeats come while there is nothing else to tell.

        Raises:
            InvalidFieldsError: The store has not come as far as `start`.
        """
        return self._watch(org, self._store.entry_changes(where), start, _ENTRIES_AT_ONCE)

    def watch_records(
        self, org: str, collection: Collection, scope: str, start: Position | None
    ) -> AsyncIterator[ChangeSet]:
        """Yield changes of the records of a scope, without content; otherwise as for entries."""
        source = self._store.record_changes(collection, scope)
        return self._watch(org, source, start, _RECORDS_AT_ONCE)

    async def _watch(
        self, org: str, source: ChangeSource, start: Position | None, block_size: int
    ) -> AsyncIterator[ChangeSet]:
        last_version = await self._store.last_version(org)
        if start is None:
            start = Position(last_version)
            yield ChangeSet((), start, self._clock.now())
        elif start.version > last_version:
            raise InvalidFieldsError.of(
                "resume_token", "is of a later state than this store has", rule="resume_token"
            )
        position = start
        told_at = self._clock.monotonic_seconds()
        commits = 1
        while True:
            if position.version < last_version or position.after is not None:
                through = position.version
                if position.after is None:
                    through = min(last_version, through + commits)
                changes = await source.read(
                    org, after=position, through_version=through, limit=block_size
                )
                full = len(changes) == block_size
                # Many small commits are read at once, a large one in pieces.
                commits = 1 if full else min(2 * commits, _COMMITS_AT_ONCE)
                position = (
                    Position(changes[-1].version, changes[-1].id) if full else Position(through)
                )
                for version, group in groupby(changes, lambda change: change.version):
                    of_commit = tuple(group)
                    at = position if version == position.version else Position(version)
                    yield ChangeSet(of_commit, at, of_commit[0].commit_time)
                    told_at = self._clock.monotonic_seconds()
            else:
                await self._clock.sleep(_POLL_SECONDS)
                last_version = await self._store.last_version(org)
            if self._clock.monotonic_seconds() - told_at >= _HEARTBEAT_SECONDS:
                yield ChangeSet((), position, self._clock.now())
                told_at = self._clock.monotonic_seconds()

    async def restatements(
        self, org: str, query: RestatementQuery, *, after: Position | None, limit: int
    ) -> tuple[Sequence[Change], Position | None]:
        """Return a page of restatements, and where the next one begins; None at the end."""
        found = await self._store.restatements(org, query, after=after, limit=limit + 1)
        if len(found) <= limit:
            return found, None
        last = found[limit - 1]
        return found[:limit], Position(last.version, last.id)
