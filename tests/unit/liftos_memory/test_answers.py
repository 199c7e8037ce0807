"""What the cache promises its callers, with a shared tier that can fail in every way."""

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_kit.core.errors import RateMissingError, StoreUnavailableError
from liftos_memory.cache_ports import OrgState, TierError
from liftos_memory.domain.byte_cache import ByteCache
from liftos_memory.domain.cache_statistics import CacheResult, CacheStatistics
from liftos_memory.usecases.answers import Answer, Answers, Question
from liftos_memory.usecases.cache import MAXIMUM_SHARED_VALUE_BYTES, Cache

MEGABYTE = 1024 * 1024


@dataclass
class States:
    """The state of every org; tests change it as commits do."""

    state: OrgState = field(default_factory=lambda: OrgState(1, None, 0, index_waits=False))

    async def read(self, org: str) -> OrgState:
        """Return it."""
        del org
        return self.state

    def commit(self) -> None:
        """Make the next version."""
        self.state = replace(self.state, version=self.state.version + 1)


class Shared:
    """A shared tier in memory, which can be made to fail."""

    def __init__(self) -> None:
        self.maximum_bytes = MEGABYTE
        self.values: dict[str, bytes] = {}
        self.ends: dict[str, float] = {}
        self.now_seconds = 0.0
        self.is_away = False

    async def get(self, key: str) -> bytes | None:
        """Return a value."""
        await asyncio.sleep(0)
        if self.is_away:
            raise TierError("away")
        return self.values.get(key) if self.now_seconds < self.ends.get(key, 0.0) else None

    async def put(self, key: str, value: bytes, *, owner: str, seconds: float) -> None:
        """Keep a value."""
        del owner
        if self.is_away:
            raise TierError("away")
        self.values[key] = value
        self.ends[key] = self.now_seconds + seconds

    async def size_bytes(self, owner: str) -> int:
        """Return the size of all."""
        del owner
        if self.is_away:
            raise TierError("away")
        return sum(map(len, self.values.values()))


class Parts:
    """Answers over tiers and states of their own."""

    def __init__(self, *, process_bytes: int = MEGABYTE, shared: Shared | None = None) -> None:
        self.states = States()
        self.shared = Shared() if shared is None else shared
        self.cache = Cache(
            ByteCache(process_bytes, monotonic_seconds=lambda: 0.0),
            self.shared,
            on_lookup=lambda *_: None,
        )
        self.answers = Answers(self.cache, self.states, program="1")
        self.computed = 0

    def compute(self, data: bytes = b"answer") -> Callable[[], Awaitable[Answer]]:
        """Return a computation that is counted, and takes a moment."""

        async def run() -> Answer:
            self.computed += 1
            await asyncio.sleep(0.01)
            return Answer(data)

        return run


QUESTION = Question("acme", b"q")


async def test_callers_who_come_together_share_one_computation() -> None:
    """A hundred equal questions are computed once, and other questions apart."""
    parts = Parts()
    found = await asyncio.gather(
        *(parts.answers.get(QUESTION, parts.compute()) for _ in range(100)),
        parts.answers.get(Question("acme", b"other"), parts.compute(b"2")),
    )
    assert found == [b"answer"] * 100 + [b"2"]
    assert parts.computed == 2


async def test_a_caller_who_leaves_takes_nothing_from_the_others() -> None:
    """The first one gives up; who waits on gets the answer. When all leave, the work ends."""
    parts = Parts()
    first = asyncio.create_task(parts.answers.get(QUESTION, parts.compute()))
    second = asyncio.create_task(parts.answers.get(QUESTION, parts.compute()))
    await asyncio.sleep(0.002)
    first.cancel()
    assert await second == b"answer"
    assert parts.computed == 1
    ended = asyncio.Event()

    async def endless() -> Answer:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError("never")

    alone = asyncio.create_task(parts.answers.get(Question("acme", b"endless"), endless))
    await asyncio.sleep(0.002)
    alone.cancel()
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_failure_of_one_is_not_that_of_the_others() -> None:
    """The caller who led fails with the store; others ask the store themselves."""
    parts = Parts()

    async def fails() -> Answer:
        await asyncio.sleep(0.01)
        raise StoreUnavailableError("postgres")

    leader = asyncio.create_task(parts.answers.get(QUESTION, fails))
    await asyncio.sleep(0.002)
    follower = asyncio.create_task(parts.answers.get(QUESTION, parts.compute()))
    with pytest.raises(StoreUnavailableError):
        await leader
    assert await follower == b"answer"


async def test_a_refusal_by_the_data_lasts_until_the_next_commit() -> None:
    """It is not computed again, and a commit makes the question a new one."""
    parts = Parts()
    refused = 0

    async def refuse() -> Answer:
        nonlocal refused
        refused += 1
        raise RateMissingError([("EUR", "USD", "2026-01-01")])

    for _ in range(5):
        with pytest.raises(RateMissingError):
            await parts.answers.get(QUESTION, refuse)
    assert refused == 1
    parts.states.commit()
    assert await parts.answers.get(QUESTION, parts.compute()) == b"answer"


async def test_a_kept_refusal_holds_nothing_of_the_calls_that_got_it() -> None:
    """What a refused computation had in hand is free at once; callers hear the same words."""
    parts = Parts()
    held: list[weakref.ref[Parts]] = []

    async def refuse() -> Answer:
        large = Parts()
        held.append(weakref.ref(large))
        raise RateMissingError([("EUR", "USD", "2026-01-01")])

    async def ask() -> str:
        with pytest.raises(RateMissingError) as caught:
            await parts.answers.get(QUESTION, refuse)
        return f"{caught.value} {dict(caught.value.metadata)}"

    assert len({await ask() for _ in range(3)}) == 1
    await asyncio.sleep(0)  # The loop itself holds on to the call that it has just woken up.
    gc.collect()
    assert [reference() for reference in held] == [None]


async def test_what_may_not_be_kept_is_computed_each_time() -> None:
    """Neither an answer that says so, nor one about an index that is behind."""
    parts = Parts()

    async def partly() -> Answer:
        parts.computed += 1
        return Answer(b"partly", keep=False)

    of_index = Question("acme", b"search", of_index=True)
    for _ in range(3):
        assert await parts.answers.get(of_index, partly) == b"partly"
    assert parts.computed == 3
    parts.states.state = replace(parts.states.state, index_waits=True)
    for _ in range(3):
        await parts.answers.get(of_index, parts.compute())
    assert parts.computed == 6
    parts.states.state = replace(parts.states.state, index_waits=False, index_revision=1)
    for _ in range(3):
        await parts.answers.get(of_index, parts.compute())
    assert parts.computed == 7


async def _stream(parts: Parts, pieces: list[bytes]) -> list[bytes]:
    async def produce() -> AsyncGenerator[bytes, None]:
        parts.computed += 1
        for piece in pieces:
            await asyncio.sleep(0.001)
            yield piece

    return [piece async for piece in parts.answers.stream(QUESTION, produce)]


async def test_a_stream_is_given_again_piece_by_piece() -> None:
    """Pieces keep their bounds; callers who come together produce once; large ones pass through."""
    parts = Parts()
    pieces = [b"schema", b"", b"rows" * 100]
    assert await asyncio.gather(*(_stream(parts, pieces) for _ in range(5))) == [pieces] * 5
    assert await _stream(parts, pieces) == pieces
    assert parts.computed == 1
    parts.states.commit()
    large = [b"x" * (MAXIMUM_SHARED_VALUE_BYTES // 3)] * 4
    for _ in range(2):
        assert await _stream(parts, large) == large
    assert parts.computed == 3


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("ask"), st.sampled_from(["acme", "other"]), st.integers(0, 3)),
            st.sampled_from([("commit",), ("away",), ("back",), ("forget",), ("restart",)]),
        ),
        max_size=40,
    ),
    process_bytes=st.sampled_from([0, 4_000, MEGABYTE]),
)
def test_whatever_happens_answers_are_those_of_now(
    steps: list[tuple[object, ...]], process_bytes: int
) -> None:
    """Orgs, versions and questions never meet, with any tier away, empty, small or new."""

    async def run() -> None:
        parts = Parts(process_bytes=process_bytes)
        for step in steps:
            match step:
                case ("ask", str(org), int(number)):
                    data = f"{org} {number} {parts.states.state.version}".encode()
                    question = Question(org, bytes([number]))
                    assert await parts.answers.get(question, _given(data)) == data
                    await asyncio.sleep(0)
                case ("commit",):
                    parts.states.commit()
                case ("away",):
                    parts.shared.is_away = True
                case ("back",):
                    parts.shared.is_away = False
                case ("forget",):
                    parts.shared.values.clear()
                case _:
                    kept = parts.states
                    parts = Parts(process_bytes=process_bytes, shared=parts.shared)
                    parts.states.state = kept.state
        await parts.cache.close()

    asyncio.run(run())


def _given(data: bytes) -> Callable[[], Awaitable[Answer]]:
    async def run() -> Answer:
        return Answer(data)

    return run


@given(
    puts=st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 900), st.sampled_from("ab")), max_size=60
    )
)
def test_the_process_tier_keeps_its_limit_and_its_books(
    puts: list[tuple[int, int, str]],
) -> None:
    """Never above its bytes, each owner's size is what its values take, the newest stays."""
    cache = ByteCache(10_000, monotonic_seconds=lambda: 0.0)
    for number, size, owner in puts:
        key = f"{owner}{number}"
        cache.put(key, b"x" * size, owner=owner, seconds=60)
        assert cache.get(key) == b"x" * size
        assert cache.total_bytes <= 10_000
        assert cache.total_bytes == sum(map(cache.size_bytes, "ab"))


async def test_no_server_gives_a_value_for_longer_than_it_may_live() -> None:
    """Wherever it was read, and however late."""
    shared = Shared()
    caches = [
        Cache(
            ByteCache(MEGABYTE, monotonic_seconds=lambda: shared.now_seconds),
            shared,
            on_lookup=lambda *_: None,
        )
        for _ in range(3)
    ]
    made, soon, late = caches
    made.put("key", b"value", owner="a", seconds=60)
    await asyncio.sleep(0)
    given: dict[int, list[float]] = {}
    for now in range(90):
        shared.now_seconds = float(now)
        for place, cache in enumerate(caches):
            value = cache.get_here("key", owner="a")
            if value is None and (cache is not late or now >= 29):
                value = await cache.get_shared("key", owner="a", seconds=60)
            if value is not None:
                given.setdefault(place, []).append(now)
    assert max(given[0]) == 59
    assert min(given[1]) == 0
    assert min(given[2]) == 29
    assert max(given[1] + given[2]) < 60
    assert soon.get_here("key", owner="a") is None


async def test_what_a_tier_that_is_away_holds_is_not_known() -> None:
    """None is not zero."""
    parts = Parts()
    parts.cache.put("key", b"value", owner="a", seconds=60)
    await asyncio.sleep(0)
    assert [tier.size_bytes for tier in await parts.cache.report("a")][1] == len(b"value")
    parts.shared.is_away = True
    process, shared = await parts.cache.report("a")
    assert process.size_bytes
    assert shared.size_bytes is None


def test_values_end_with_their_time() -> None:
    """What is too old is gone, and so is its size."""
    now = 0.0
    cache = ByteCache(10_000, monotonic_seconds=lambda: now)
    cache.put("key", b"value", owner="a", seconds=5)
    now = 4.9
    assert cache.get("key") == b"value"
    now = 5.0
    assert cache.get("key") is None
    assert cache.size_bytes("a") == 0


def test_statistics_tell_counts_and_quantiles_by_owner() -> None:
    """Quantiles are those of the times, within a quarter; other owners are not counted."""
    statistics = CacheStatistics()
    for number in range(1, 1_001):
        statistics.record("a", "process", CacheResult.HIT, number / 1_000)
    statistics.record("a", "process", CacheResult.MISS, 0.0)
    statistics.record("b", "process", CacheResult.ERROR, 100.0)
    found = statistics.of("a", "process")
    assert (found.hit_count, found.miss_count, found.error_count) == (1_000, 1, 0)
    assert found.p50_seconds == pytest.approx(0.5, rel=0.26)
    assert found.p99_seconds == pytest.approx(0.99, rel=0.26)
    assert statistics.of("c", "process").p50_seconds == 0.0
