"""The loop behind every feed: what it reads, what it tells, and when."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_kit.core.errors import InvalidFieldsError
from liftos_kit.core.filters import Filter
from liftos_kit.testing.clock import FakeClock
from liftos_memory.domain.records import Collection
from liftos_memory.replication_ports import (
    Change,
    ChangeSource,
    Position,
    RestatementQuery,
)
from liftos_memory.usecases.changes import BEGIN, Changes, ChangeSet


class Commits:
    """A store whose commits are lists of ids."""

    def __init__(self, commits: Sequence[Sequence[str]] = ()) -> None:
        self.commits = list(commits)
        self.largest_read = 0

    async def last_version(self, org: str) -> int:
        """Return how many commits there are."""
        return len(self.commits)

    def entry_changes(self, where: Filter | None) -> ChangeSource:
        """Return all of them."""
        return self

    def record_changes(self, collection: Collection, scope: str) -> ChangeSource:
        """Return all of them."""
        return self

    async def restatements(
        self, org: str, query: RestatementQuery, *, after: Position | None, limit: int
    ) -> Sequence[Change]:
        """Return none."""
        return ()

    async def read(
        self, org: str, *, after: Position, through_version: int, limit: int
    ) -> Sequence[Change]:
        """Return ids by commit."""
        found = [
            _change(version, each)
            for version, ids in enumerate(self.commits, 1)
            for each in sorted(ids)
            if version <= through_version
            and (
                version > after.version
                or (version == after.version and after.after is not None and each > after.after)
            )
        ]
        self.largest_read = max(self.largest_read, len(found[:limit]))
        return found[:limit]


def _change(version: int, id_: str) -> Change:
    after: Mapping[str, object] = {}
    return Change(version, id_, None, after, "", datetime(2026, 1, 1, tzinfo=UTC))


@asynccontextmanager
async def _told(changes: Changes, start: Position | None) -> AsyncIterator[list[ChangeSet]]:
    """Collect, in the background, what a watch of records tells."""
    told: list[ChangeSet] = []

    async def collect() -> None:
        async for found in changes.watch_records("acme", Collection.NOTES, "", start):
            told.append(found)  # noqa: PERF401 - a watch has no end

    task = asyncio.create_task(collect())
    try:
        yield told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_heartbeats_come_while_nothing_happens() -> None:
    """The position of now comes at once, and again at least every 15 s."""
    clock = FakeClock()
    async with _told(Changes(Commits([["a"]]), clock), None) as told:
        await clock.advance(0)
        assert told == [ChangeSet((), Position(1), clock.now())]
        for _ in range(4):
            before = len(told)
            await clock.advance(15)
            assert len(told) > before
    assert {found.position for found in told} == {Position(1)}


async def test_changes_come_within_a_second() -> None:
    """A commit is told soon after it was made, with the position after it."""
    clock, store = FakeClock(), Commits()
    async with _told(Changes(store, clock), BEGIN) as told:
        await clock.advance(5)
        store.commits.append(["b", "a"])
        await clock.advance(1)
    assert told == [
        ChangeSet((_change(1, "a"), _change(1, "b")), Position(1), _change(1, "a").commit_time)
    ]


async def test_heartbeats_carry_progress_through_what_does_not_match() -> None:
    """Commits without changes of the selection move the position on."""
    clock, store = FakeClock(), Commits([[]] * 1_000)
    async with _told(Changes(store, clock), BEGIN) as told:
        await clock.advance(15)
    assert told[0].position == Position(1_000)


async def test_a_position_that_the_store_has_not_reached() -> None:
    """A token of a later state, as after a restore, is refused rather than waited for."""
    watch = Changes(Commits([["a"]]), FakeClock()).watch_entries("acme", None, Position(2))
    with pytest.raises(InvalidFieldsError) as caught:
        await anext(aiter(watch))
    assert caught.value.violations[0].field == "resume_token"


_commits = st.lists(
    st.one_of(
        st.sets(st.text("abc", min_size=1, max_size=3), max_size=4),
        st.integers(30, 70).map(lambda count: {f"{number:03d}" for number in range(count)}),
    ),
    max_size=12,
)


@given(commits=_commits, data=st.data())
async def test_any_position_goes_on_where_it_was_told(
    commits: Sequence[set[str]], data: st.DataObject
) -> None:
    """Whatever the sizes of commits, the rest after any position is the rest, once and in order."""
    store = Commits([sorted(ids) for ids in commits])
    expected = [
        (version, each) for version, ids in enumerate(store.commits, 1) for each in sorted(ids)
    ]

    async def told_from(start: Position) -> list[ChangeSet]:
        clock = FakeClock()
        async with _told(Changes(store, clock), start) as told:
            await clock.advance(1)
        return told

    told = await told_from(BEGIN)
    assert [(c.version, c.id) for found in told for c in found.changes] == expected
    assert all(len({c.version for c in found.changes}) == 1 for found in told)
    assert store.largest_read <= 32
    if told:
        chosen = data.draw(st.integers(0, len(told) - 1))
        rest = await told_from(told[chosen].position)
        before = sum(len(found.changes) for found in told[: chosen + 1])
        assert [(c.version, c.id) for found in rest for c in found.changes] == expected[before:]
