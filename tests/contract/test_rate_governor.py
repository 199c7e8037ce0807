"""What every rate governor promises, held against memory and a real Redis shared by processes."""

import asyncio
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from tests.contract import rate_governor_worker

from liftos_ingestion.adapters.inmemory_rate_governor import InMemoryRateGovernor
from liftos_ingestion.adapters.redis.rate_governor import RedisRateGovernor
from liftos_ingestion.domain.rate_limits import (
    LEASE_CHECK_SECONDS,
    PLACE_SECONDS,
    Limit,
    Observation,
    Priority,
    RateKey,
    Renewal,
    account_key,
    app_key,
    blocked,
    endpoint_key,
    gate,
)
from liftos_ingestion.quota_ports import Admitted, Parked, QuotaState, RateGovernor
from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.secrets.secret import Secret
from liftos_kit.testing.clock import FakeClock
from liftos_local.testing import store_stack

START = datetime(2026, 3, 1, 12, 0, 0, 250_001, tzinfo=UTC)
PLATFORM = "klaviyo"
NEWEST, RESTATED, BACKFILL = Priority
MICROSECOND = timedelta(microseconds=1)


class World:
    """A governor whose clock moves only when told to.

    Args:
        redis: Where the governor is; None is in memory.
        org: An org that no other test uses.
    """

    def __init__(self, redis: Redis | None, org: str) -> None:
        self.org = org
        self._clock = FakeClock(START)
        self._redis = redis
        self._clock_key = f"test:clock:{org}"
        self.governor: RateGovernor = (
            InMemoryRateGovernor(self._clock)
            if redis is None
            else RedisRateGovernor(redis, clock_command=("LRANGE", self._clock_key, "0", "1"))
        )

    def now(self) -> datetime:
        """Return the governor's time."""
        return self._clock.now()

    async def advance(self, seconds: float) -> None:
        """Move the governor's time on."""
        await self._clock.advance(seconds)
        if self._redis is not None:
            microseconds = (self.now() - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND
            await self._redis.delete(self._clock_key)
            await self._redis.rpush(self._clock_key, *divmod(microseconds, 1_000_000))

    def account(self, account_id: str = "a1") -> RateKey:
        """Return the key of an account of the world's org."""
        return account_key(self.org, PLATFORM, account_id)

    async def ask(
        self, *limits: Limit, caller: str = "c", priority: Priority = NEWEST
    ) -> Admitted | Parked:
        """Ask for a call."""
        return await self.governor.admit(limits, caller=caller, priority=priority)

    async def admitted(
        self, *limits: Limit, caller: str = "c", priority: Priority = NEWEST
    ) -> Admitted:
        """Ask for a call that is let through."""
        answer = await self.ask(*limits, caller=caller, priority=priority)
        assert isinstance(answer, Admitted)
        return answer

    async def parked(
        self, *limits: Limit, caller: str = "c", priority: Priority = NEWEST
    ) -> Parked:
        """Ask for a call that has to wait."""
        answer = await self.ask(*limits, caller=caller, priority=priority)
        assert isinstance(answer, Parked)
        return answer

    async def quotas(self) -> Sequence[QuotaState]:
        """List what is in use."""
        return await self.governor.quotas(self.org, PLATFORM)


@pytest.fixture(scope="module")
async def redis_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Run real stores for all tests of this file."""
    with store_stack(tmp_path_factory) as stack:
        yield stack.environment["LIFTOS_REDIS_URL"]


@pytest.fixture(scope="module")
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """Return a client of the real Redis."""
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


@pytest.fixture(params=["memory", "redis"])
def world_at_rest(request: pytest.FixtureRequest) -> World:
    """Return each governor in turn."""
    org = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    return World(None if request.param == "memory" else request.getfixturevalue("redis"), org)


@pytest.fixture
async def world(world_at_rest: World) -> World:
    """Return each governor in turn, with its clock set."""
    await world_at_rest.advance(0)
    return world_at_rest


# --- Windows ---


async def test_a_call_that_must_wait_takes_no_unit_anywhere(world: World) -> None:
    """All limits give a unit, or none does."""
    wide = Limit(world.account(), "calls", 2, 60.0)
    narrow = Limit(endpoint_key(world.org, PLATFORM, "a1", "GET /x"), "calls", 1, 60.0)
    await world.admitted(wide, narrow)
    assert (await world.parked(wide, narrow, caller="d")).key == narrow.key
    await world.admitted(wide, caller="e")
    assert (await world.parked(wide, caller="f")).key == wide.key


async def test_a_parked_call_goes_out_at_its_moment_and_not_before(world: World) -> None:
    """`until` is when the oldest unit comes back, to the microsecond."""
    limit = Limit(world.account(), "calls", 2, 1.25)
    await world.admitted(limit)
    await world.advance(0.5)
    await world.admitted(limit)
    parked = await world.parked(limit)
    assert parked.until == START + timedelta(seconds=1.25)
    assert parked.wait_seconds == pytest.approx(0.75)
    assert "2 calls of 1.25 s" in parked.reason
    await world.advance(0.749999)
    assert (await world.parked(limit)).until == parked.until
    await world.advance(0.000001)
    assert (await world.admitted(limit)).time == parked.until


async def test_the_longest_of_several_windows_decides(world: World) -> None:
    """A call waits for the last of its windows that has room again."""
    windows = [
        Limit(world.account(), "calls", units, s) for units, s in ((1, 1), (2, 60), (3, 9e3))
    ]
    for wait in (1, 60, 9e3):
        await world.admitted(*windows)
        parked = await world.parked(*windows)
        assert parked.until <= START + timedelta(seconds=wait + 1)
        await world.advance(parked.wait_seconds)
    assert world.now() >= START + timedelta(seconds=9e3)


async def test_a_fixed_window_comes_back_as_a_whole(world: World) -> None:
    """All units of a fixed window are back at its end, whenever they were taken."""
    limit = Limit(world.account(), "calls", 3, 60.0, Renewal.FIXED)
    await world.advance(50)
    for _ in range(3):
        await world.admitted(limit)
    parked = await world.parked(limit)
    assert parked.until == START.replace(minute=1, second=0, microsecond=0)
    await world.advance(parked.wait_seconds)
    for _ in range(3):
        await world.admitted(limit)
    await world.parked(limit)


async def test_a_call_that_was_never_sent_gives_its_units_back_once(world: World) -> None:
    """What was not sent counts for nothing, and what was sent stays counted."""
    limit = Limit(world.account(), "calls", 2, 60.0)
    sent, unsent = await world.admitted(limit), await world.admitted(limit)
    await world.governor.release(sent)
    await world.parked(limit, caller="d")
    await world.governor.release(unsent, sent=False)
    await world.governor.release(unsent, sent=False)
    await world.admitted(limit, caller="d")
    await world.parked(limit, caller="e")


async def test_another_capacity_keeps_what_was_counted(world: World) -> None:
    """A limit that becomes smaller counts the calls that went out before."""
    await world.admitted(Limit(world.account(), "calls", 9, 60.0))
    await world.parked(Limit(world.account(), "calls", 1, 60.0))


async def test_orgs_share_nothing(world: World) -> None:
    """What one org uses, another still has."""
    limit = Limit(world.account(), "calls", 1, 60.0)
    other = Limit(account_key(f"{world.org}-other", PLATFORM, "a1"), "calls", 1, 60.0)
    await world.admitted(limit)
    await world.admitted(other)
    with pytest.raises(ValueError, match="one org and platform"):
        await world.ask(limit, other)


# --- Leases ---


def _jobs(world: World, capacity: int = 1, lease_seconds: float = 30.0) -> Limit:
    return Limit(world.account(), "jobs", capacity, lease_seconds, Renewal.LEASED)


async def test_a_lease_comes_back_with_its_call(world: World) -> None:
    """So many callers hold a unit at a time, and the next gets it as soon as one ends."""
    jobs = _jobs(world, capacity=2)
    first, _ = await world.admitted(jobs, caller="a"), await world.admitted(jobs, caller="b")
    parked = await world.parked(jobs, caller="c")
    assert parked.wait_seconds == LEASE_CHECK_SECONDS
    await world.governor.release(first)
    await world.admitted(jobs, caller="c")


async def test_a_restarted_caller_holds_its_lease_once(world: World) -> None:
    """The same caller gets the same unit again, and does not wait for itself."""
    jobs = _jobs(world, capacity=2)
    for _ in range(3):
        await world.admitted(jobs, caller="a")
    await world.admitted(jobs, caller="b")
    await world.parked(jobs, caller="c")


async def test_the_lease_of_a_dead_worker_ends(world: World) -> None:
    """Without renewal a unit is free when its lease is over; with it, it is not."""
    jobs = _jobs(world)
    held = await world.admitted(jobs, caller="a")
    await world.advance(20)
    assert await world.governor.renew(held)
    await world.advance(29)
    assert (await world.parked(jobs, caller="b")).wait_seconds == pytest.approx(1)
    await world.advance(1)
    await world.admitted(jobs, caller="b")
    assert not await world.governor.renew(held)
    await world.governor.release(held)
    await world.parked(jobs, caller="c")


async def test_a_lease_can_be_renewed_while_its_account_is_blocked(world: World) -> None:
    """The platform's own job goes on, and so does its place."""
    jobs = _jobs(world)
    held = await world.admitted(jobs, caller="a")
    await world.governor.observe([blocked(world.account(), wait_seconds=300, reason="17")])
    assert await world.governor.renew(held)
    await world.parked(jobs, caller="a")


# --- What platforms tell ---


async def test_a_block_stops_all_calls_under_its_key_until_it_ends(world: World) -> None:
    """Every limit of the key waits, and the reason is the platform's."""
    limit = Limit(world.account(), "calls", 5, 1.0)
    elsewhere = Limit(world.account("a2"), "calls", 5, 1.0)
    app = app_key(world.org, PLATFORM, "77")
    await world.governor.observe([blocked(world.account(), wait_seconds=90, reason="code 17")])
    parked = await world.parked(limit)
    assert (parked.until, parked.reason) == (START + timedelta(seconds=90), "code 17")
    await world.parked(elsewhere, gate(world.account()))
    await world.admitted(elsewhere, gate(app))
    await world.governor.observe([blocked(app, wait_seconds=20, reason="code 4")])
    assert (await world.parked(elsewhere, gate(app))).key == app
    await world.advance(90)
    await world.admitted(limit, gate(app))


async def test_a_shorter_block_does_not_end_a_longer_one(world: World) -> None:
    """Blocks only grow while they last."""
    limit = Limit(world.account(), "calls", 5, 1.0)
    for wait in (60.0, 10.0, 30.0):
        await world.governor.observe([blocked(world.account(), wait_seconds=wait, reason="")])
    assert (await world.parked(limit)).wait_seconds == 60


async def test_what_others_use_takes_room_until_the_reset_only(world: World) -> None:
    """An observation counts foreign calls beside our own, only tightens, and then is over."""
    limit = Limit(world.account(), "calls", 10, 60.0)
    for _ in range(2):
        await world.admitted(limit)

    async def observe(used: float, reset_seconds: float) -> None:
        seen = Observation(limit, used, reset_seconds, "others call too")
        await world.governor.observe([seen])

    await observe(8, 30)
    await observe(3, 30)
    for _ in range(2):
        await world.admitted(limit)
    parked = await world.parked(limit)
    assert (parked.until, parked.reason) == (START + timedelta(seconds=30), "others call too")
    await world.advance(30)
    for _ in range(6):
        await world.admitted(limit)
    assert (await world.parked(limit)).until == START + timedelta(seconds=60)


async def test_our_own_calls_are_not_counted_twice(world: World) -> None:
    """Where the platform has seen no more than we sent, nothing is taken away."""
    limit = Limit(world.account(), "calls", 4, 60.0)
    for _ in range(3):
        await world.admitted(limit)
    await world.governor.observe([Observation(limit, 3, 60, "")])
    await world.admitted(limit)


async def test_a_reset_in_whole_seconds_does_not_count_our_own_calls_twice(world: World) -> None:
    """A platform that rounds its reset up still tells of calls that we sent."""
    limit = Limit(world.account(), "calls", 4, 60.0)
    for _ in range(3):
        await world.admitted(limit)
    await world.advance(0.4)
    await world.governor.observe([Observation(limit, 3, 60, "")])
    await world.admitted(limit)


async def test_calls_of_the_window_before_do_not_hide_those_of_others(world: World) -> None:
    """Only what we sent within the platform's own window is taken off what it counts."""
    limit = Limit(world.account(), "calls", 4, 60.0)
    for _ in range(2):
        await world.admitted(limit)
    await world.advance(50)
    # Its window began 20 s ago: the two used ones are not ours.
    await world.governor.observe([Observation(limit, 2, 40, "others")])
    assert (await world.parked(limit)).until == START + timedelta(seconds=60)


async def test_a_percentage_stops_backfill_before_the_newest_days(world: World) -> None:
    """Each priority leaves its share of a usage alone, until the usage is no longer believed."""
    percent = Limit(world.account(), "percent", 100, 3600.0, Renewal.TOLD, (10, 15, 25))
    for used, let_through in ((74.9, 3), (75, 2), (85, 1), (90, 0)):
        await world.governor.observe([Observation(percent, used, 300, f"{used} %")])
        answers = [await world.ask(percent, caller=p.name, priority=p) for p in Priority]
        found = [isinstance(answer, Admitted) for answer in answers]
        assert found == [True] * let_through + [False] * (3 - let_through)
    await world.advance(300)
    await world.admitted(percent, priority=BACKFILL)


# --- Priorities ---


async def test_a_reserve_of_the_day_is_left_for_the_newest_days(world: World) -> None:
    """Backfill stops early, restated days later, the newest days at the end."""
    day = Limit(world.account(), "calls", 10, 86_400.0, kept=(0, 2, 5))
    for priority, units in ((BACKFILL, 5), (RESTATED, 3), (NEWEST, 2)):
        for _ in range(units):
            await world.admitted(day, priority=priority)
        parked = await world.parked(day, caller=priority.name, priority=priority)
        assert parked.until >= START + timedelta(days=1)
        assert priority.name.lower() in parked.reason


async def test_a_lower_priority_leaves_room_for_those_that_wait(world: World) -> None:
    """Who waits with a better priority gets the next unit, if it comes for it in time."""
    limit = Limit(world.account(), "calls", 1, 20.0)
    await world.admitted(limit, caller="old")
    parked = await world.parked(limit, caller="new", priority=NEWEST)
    await world.advance(20)
    behind = await world.parked(limit, caller="old", priority=BACKFILL)
    assert behind.until > world.now()
    await world.admitted(limit, caller="new")
    await world.parked(limit, caller="new")
    await world.advance(20 + PLACE_SECONDS)
    assert parked.until < world.now()
    await world.admitted(limit, caller="old", priority=BACKFILL)


async def test_who_is_new_does_not_overtake_who_waits(world: World) -> None:
    """Within a priority a caller that was parked gets its unit before one that just came."""
    limit = Limit(world.account(), "calls", 1, 20.0)
    await world.admitted(limit, caller="first")
    await world.parked(limit, caller="second")
    await world.advance(20)
    third = await world.parked(limit, caller="third")
    assert third.until > world.now()
    await world.admitted(limit, caller="second")


async def test_who_must_wait_again_for_another_limit_keeps_its_place(world: World) -> None:
    """A caller that got past one limit is not put behind others there while the next stops it."""
    shared = Limit(app_key(world.org, PLATFORM, "77"), "calls", 1, 20.0)
    own = Limit(world.account(), "calls", 1, 23.0)
    await world.admitted(shared, own, caller="first")
    assert (await world.parked(shared, caller="second")).wait_seconds == 20
    await world.advance(20)
    assert (await world.parked(shared, own, caller="second")).wait_seconds == 3
    await world.parked(shared, caller="third")
    await world.advance(3)
    await world.admitted(shared, own, caller="second")


async def test_a_unit_that_comes_back_early_is_not_kept_for_tomorrow(world: World) -> None:
    """Room is left for callers that come within a minute, not for those that sleep for hours."""
    day = Limit(world.account(), "calls", 2, 86_400.0)
    unsent, _ = await world.admitted(day), await world.admitted(day)
    await world.parked(day, caller="sleeper")
    await world.governor.release(unsent, sent=False)
    await world.admitted(day, caller="awake", priority=BACKFILL)


async def test_those_that_wait_come_back_one_after_the_other(world: World) -> None:
    """Waiting callers are spread over the rate of the limit, within a minute."""
    limit = Limit(world.account(), "calls", 2, 10.0)
    for _ in range(2):
        await world.admitted(limit)
    waits = [(await world.parked(limit, caller=f"w{n}")).wait_seconds for n in range(20)]
    assert waits[:4] == [10, 15, 20, 25]
    assert 60 < max(waits) <= 70


# --- Apps that orgs share ---


def _app(world: World, org: str, secret: str = "s") -> RateKey:
    return app_key(org, PLATFORM, f"app-of-{world.org}", secret=Secret(secret))


async def test_orgs_that_know_an_apps_secret_share_its_limit(world: World) -> None:
    """The platform counts the app, whoever calls: each org sees what both have taken."""
    other = f"{world.org}-2"
    ours, theirs = (Limit(_app(world, org), "calls", 3, 60.0) for org in (world.org, other))
    await world.admitted(ours, Limit(world.account(), "calls", 9, 60.0))
    await world.advance(1)
    for _ in range(2):
        await world.admitted(theirs, gate(account_key(other, PLATFORM, "a1")))
    assert (await world.parked(ours)).wait_seconds == 59
    # The same word for a caller is another caller in another org.
    assert (await world.parked(theirs)).key.org == other
    for org in (world.org, other):
        shown = {it.limit.key: it for it in await world.governor.quotas(org, PLATFORM)}
        assert (shown[_app(world, org)].used, shown[_app(world, org)].parked_count) == (3, 1)
        assert {key.org for key in shown} == {org}
    assert [it.limit.unit for it in await world.governor.quotas(other, PLATFORM)] == ["calls"]
    await world.advance(59)
    await world.admitted(ours)


async def test_a_block_of_an_app_stops_every_org_that_has_it(world: World) -> None:
    """What one org was told no other one has to find out."""
    other = f"{world.org}-2"
    await world.governor.observe(
        [blocked(_app(world, world.org), wait_seconds=30, reason="code 4")]
    )
    parked = await world.parked(Limit(_app(world, other), "calls", 3, 60.0))
    assert (parked.wait_seconds, parked.reason) == (30, "code 4")


async def test_who_only_names_an_app_takes_none_of_its_room(world: World) -> None:
    """Without the secret, or with another one, an org is counted by itself and sees nothing."""
    other = f"{world.org}-2"
    ours = Limit(_app(world, world.org), "calls", 1, 60.0)
    await world.admitted(ours)
    named = app_key(other, PLATFORM, ours.key.key)
    for key in (named, _app(world, other, secret="guessed")):
        assert key not in {it.limit.key for it in await world.governor.quotas(other, PLATFORM)}
        await world.admitted(Limit(key, "calls", 1, 60.0))
        await world.governor.observe([blocked(key, wait_seconds=300, reason="")])
    await world.advance(60)
    await world.admitted(ours)


async def test_a_shared_limit_is_shown_as_each_org_named_it(world: World) -> None:
    """How much there is says each org's own connection, and a lease is the caller's of one org."""
    other = f"{world.org}-2"
    ours, theirs = (
        Limit(_app(world, org), "jobs", capacity, 60.0, Renewal.LEASED)
        for org, capacity in ((world.org, 2), (other, 3))
    )
    held = await world.admitted(ours)
    await world.admitted(theirs)
    assert await world.governor.renew(held)
    for org, limit in ((world.org, ours), (other, theirs)):
        (shown,) = await world.governor.quotas(org, PLATFORM)
        assert (shown.limit, shown.used) == (limit, 2)
    await world.parked(ours, caller="d")
    await world.governor.release(held)
    (shown,) = await world.governor.quotas(other, PLATFORM)
    assert (shown.used, shown.parked_count) == (1, 0)


# --- Quotas ---


async def test_quotas_show_what_all_workers_see(world: World) -> None:
    """Used units, resets, blocks and waiting callers of each limit, the fullest first."""
    half = Limit(world.account(), "calls", 4, 60.0)
    full = Limit(endpoint_key(world.org, PLATFORM, "a1", "POST /r"), "calls", 1, 86_400.0)
    percent = Limit(app_key(world.org, PLATFORM, "77"), "percent", 100, 3600.0, Renewal.TOLD)
    await world.admitted(half, full)
    await world.advance(1)
    await world.admitted(half)
    await world.parked(half, full, caller="d")
    await world.governor.observe([Observation(percent, 12.5, 300, "12.5 %")])
    now = world.now()
    assert await world.quotas() == (
        QuotaState(full, 1, START + timedelta(days=1), START + timedelta(days=1), "", 1, None),
        QuotaState(half, 2, now + timedelta(seconds=60), None, "", 0, None),
        QuotaState(percent, 12.5, now + timedelta(seconds=300), None, "12.5 %", 0, now),
    )


async def test_quotas_show_a_block_at_every_limit_of_its_key(world: World) -> None:
    """Until when nothing is sent is told where the limit is, not only at its gate."""
    limit = Limit(world.account(), "calls", 4, 60.0)
    await world.admitted(limit)
    await world.governor.observe([blocked(world.account(), wait_seconds=300, reason="429")])
    shut, counted = await world.quotas()
    assert (shut.limit, counted.limit) == (gate(world.account()), limit)
    for state in (shut, counted):
        assert state.blocked_until_time == START + timedelta(seconds=300)
        assert state.reason == "429"


async def test_quotas_forget_what_is_over(world: World) -> None:
    """A limit is listed as long as a unit is away, and not when nobody uses it any more."""
    limit = Limit(world.account(), "calls", 4, 60.0)
    await world.admitted(limit)
    await world.governor.observe([Observation(limit, 2, 5, "")])
    await world.advance(59)
    assert [state.used for state in await world.quotas()] == [1]
    await world.advance(1 + PLACE_SECONDS)
    assert await world.quotas() == ()
    assert await world.governor.quotas(world.org, "meta") == ()


# --- Both are the same ---


class Both:
    """The governor in memory and the one in Redis, asked the same at the same time."""

    def __init__(self, redis: Redis, limits: Sequence[Limit]) -> None:
        self._worlds = (World(None, "same"), World(redis, "same"))
        self._limits = (*limits, gate(limits[0].key))
        self._asked: tuple[list[Limit], str, Priority] = ([self._limits[0]], "a", NEWEST)
        self._answers: list[Admitted | Parked] = []

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        for each in self._worlds:
            await each.advance(seconds)

    async def ask(self, numbers: set[int], caller: str, priority: Priority) -> None:
        """Ask for a call."""
        self._asked = ([self._limits[number] for number in sorted(numbers)], caller, priority)
        await self.ask_again()

    async def ask_again(self) -> None:
        """Ask the last question again, at the moment that the answer named."""
        if self._answers and isinstance(self._answers[0], Parked):
            await self.wait(self._answers[0].wait_seconds)
        limits, caller, priority = self._asked
        self._answers = [
            await each.ask(*limits, caller=caller, priority=priority) for each in self._worlds
        ]
        memory, redis = map(_without_name, self._answers)
        assert memory == redis

    async def release(self, sent: bool) -> None:
        """Give back what was admitted last."""
        for each, admitted in self._admitted():
            await each.governor.release(admitted, sent=sent)

    async def renew(self) -> None:
        """Renew what was admitted last."""
        held = {await each.governor.renew(admitted) for each, admitted in self._admitted()}
        assert len(held) <= 1

    async def tell(self, number: int, used: int, seconds: float) -> None:
        """Tell what a platform says."""
        for each in self._worlds:
            seen = Observation(self._limits[number], used, seconds, f"{used} used")
            await each.governor.observe([seen])

    async def check(self) -> None:
        """Hold what both know against each other."""
        memory, redis = [await each.quotas() for each in self._worlds]
        assert memory == redis

    def _admitted(self) -> list[tuple[World, Admitted]]:
        pairs = zip(self._worlds, self._answers, strict=False)
        return [(each, answer) for each, answer in pairs if isinstance(answer, Admitted)]


def _without_name(answer: Admitted | Parked) -> object:
    if isinstance(answer, Admitted):
        return answer.caller, answer.limits, answer.time
    return answer


_seconds = st.sampled_from([1.0, 2.5, 20.0, 300.0])


@settings(max_examples=100)
@given(
    shapes=st.lists(
        st.tuples(st.integers(1, 4), _seconds, st.sampled_from(Renewal), st.integers(0, 3)),
        min_size=4,
        max_size=4,
    ),
    steps=st.lists(
        st.tuples(st.just("wait"), st.sampled_from([0.000001, 0.3, 1.0, 7.0, 31.0]))
        | st.tuples(
            st.just("ask"),
            st.sets(st.integers(0, 3), min_size=1),
            st.sampled_from("abcd"),
            st.sampled_from(Priority),
        )
        | st.tuples(st.just("ask_again"))
        | st.tuples(st.just("release"), st.booleans())
        | st.tuples(st.just("renew"))
        | st.tuples(st.just("tell"), st.integers(0, 4), st.integers(0, 9), _seconds),
        max_size=40,
    ),
)
async def test_redis_answers_as_memory_does(
    redis: Redis, shapes: list[tuple[int, float, Renewal, int]], steps: list[tuple[Any, ...]]
) -> None:
    """Whatever is asked, told and given back, in any order, both governors agree."""
    await redis.flushdb()
    both = Both(
        redis,
        [
            Limit(
                account_key("same", PLATFORM, f"a{number // 2}"),
                f"unit{number}",
                capacity,
                seconds,
                renewal,
                (0, 0, min(kept, capacity - 1)),
            )
            for number, (capacity, seconds, renewal, kept) in enumerate(shapes)
        ],
    )
    await both.wait(0)
    for name, *arguments in steps:
        await getattr(both, name)(*arguments)
        await both.check()


# --- Redis, its own clock and real processes ---


def _assert_within(times: Sequence[int], limits: Sequence[Limit]) -> None:
    """No window of any limit, wherever it begins, holds more than its capacity."""
    ordered = sorted(times)
    for limit in limits:
        window = round(limit.window_seconds * 1_000_000)
        for first, beyond in zip(ordered, ordered[limit.capacity :], strict=False):
            assert beyond - first >= window


async def test_many_callers_at_once_never_exceed_a_window(redis_url: str) -> None:
    """Twenty callers on ten connections, on Redis' own clock, stay within both windows."""
    key = account_key("crowd", PLATFORM, "a1")
    limits = [Limit(key, "calls", 5, 0.1), Limit(key, "calls", 20, 0.6)]
    client = Redis.from_url(redis_url, max_connections=20)
    governor = RedisRateGovernor(client)
    times: list[datetime] = []

    async def call(number: int) -> None:
        while True:
            priority = Priority(number % 3)
            answer = await governor.admit(limits, caller=f"c{number}", priority=priority)
            if isinstance(answer, Admitted):
                times.append(answer.time)
                return
            await asyncio.sleep(answer.wait_seconds)

    async with asyncio.timeout(30):
        await asyncio.gather(*(call(number) for number in range(20)))
        await asyncio.gather(*(call(number) for number in range(20)))
    await client.aclose()
    assert len(times) == 40
    start = min(times)
    _assert_within([(time - start) // MICROSECOND for time in times], limits)


async def _start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        rate_governor_worker.__file__,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


async def test_processes_share_one_limit(redis_url: str) -> None:
    """Three processes together stay within the windows, and use them up."""
    text = "6/0.2,18/1"
    workers = [await _start(redis_url, text, "3", f"w{number}") for number in range(3)]
    answers = [await worker.communicate() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    parts = [[int(line) for line in out.split()] for out, _ in answers]
    times = [time for part in parts for time in part]
    assert all(parts)
    # Three seconds of one process alone are 18 a second; half of it proves that units are used.
    assert len(times) >= 27
    _assert_within(times, rate_governor_worker.limits_of(text))


async def test_a_killed_process_gives_its_lease_back(redis_url: str, redis: Redis) -> None:
    """After kill -9 the unit is free as soon as the lease is over, and not before."""
    (jobs,) = rate_governor_worker.limits_of("1/1.5", Renewal.LEASED)
    holder = await _start(redis_url, "1/1.5", "hold", "holder")
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    holder.kill()
    await holder.wait()
    governor = RedisRateGovernor(redis)
    parked = await governor.admit([jobs], caller="next", priority=NEWEST)
    assert isinstance(parked, Parked)
    assert 0 < parked.wait_seconds <= 1.5
    await asyncio.sleep(parked.wait_seconds)
    answer = await governor.admit([jobs], caller="next", priority=NEWEST)
    assert isinstance(answer, Admitted)
    assert answer.time >= parked.until
    await governor.release(answer)


async def test_each_question_is_one_command_and_every_key_ends(redis: Redis) -> None:
    """A question costs one round trip, Redis may forget the script, and no key stays for ever."""
    await redis.flushdb()
    governor = RedisRateGovernor(redis)
    key = account_key("trips", PLATFORM, "a1")
    limits = [Limit(key, "calls", 1, seconds) for seconds in (1.0, 60.0, 86_400.0)]
    await governor.admit(limits, caller="a", priority=NEWEST)
    await redis.script_flush()
    await governor.admit(limits, caller="b", priority=BACKFILL)
    await governor.observe([blocked(key, wait_seconds=30, reason="429")])
    before = await _calls(redis)
    await governor.admit(limits, caller="c", priority=BACKFILL)
    assert await _calls(redis) == before + 1
    keys = await redis.keys("*")
    assert len(keys) > 4
    assert all([0 < await redis.ttl(name) <= 86_400 + 120 for name in keys])


async def _calls(redis: Redis) -> int:
    found = await redis.info("commandstats")
    calls: int = found["cmdstat_evalsha"]["calls"]
    return calls


async def test_without_redis_no_call_goes_out() -> None:
    """A governor that cannot be reached, or does not answer, says so to all who ask."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        for listens in (False, True):
            if listens:
                mute.listen()
            client = Redis.from_url(
                f"redis://127.0.0.1:{mute.getsockname()[1]}/0",
                socket_timeout=0.1,
                socket_connect_timeout=0.1,
            )
            governor = RedisRateGovernor(client)
            limit = Limit(account_key("down", PLATFORM, "a1"), "calls", 1, 1.0)
            held = Admitted("call", "caller", (limit,), START)
            for question in (
                governor.admit([limit], caller="a", priority=NEWEST),
                governor.observe([blocked(limit.key, wait_seconds=1, reason="")]),
                governor.release(held, sent=False),
                governor.renew(held),
                governor.quotas("down", PLATFORM),
            ):
                with pytest.raises(StoreUnavailableError, match="redis"):
                    await question
            await client.aclose()
