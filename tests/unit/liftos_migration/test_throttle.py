"""What slows a migration down, and for how long."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from liftos_migration.domain.migrations import Throttle
from liftos_migration.domain.throttle import Load, Verdict, judge, next_pause
from liftos_migration.usecases.throttling import Pacing

LIMITS = Throttle(
    maximum_source_latency=timedelta(milliseconds=25), maximum_replica_lag=timedelta(seconds=2)
)


@pytest.mark.parametrize(
    ("load", "verdict"),
    [
        (Load(), Verdict()),
        (Load(0.025, 2.0, 4 * 1024**3, 60.0), Verdict()),
        (Load(source_latency_seconds=0.031), Verdict("source p95 31 ms > 25 ms", slows=True)),
        (Load(replica_lag_seconds=2.5), Verdict("replica lag 2.5 s > 2.0 s", slows=True)),
        (
            Load(oldest_transaction_seconds=75.2),
            Verdict("a transaction of the source has been open for 75 s"),
        ),
        (
            Load(retained_bytes=5 * 1024**3),
            Verdict("the source keeps 5,120 MiB of changes for us > 4,096 MiB", slows=True),
        ),
    ],
)
def test_a_limit_that_is_passed_is_told_with_its_value(load: Load, verdict: Verdict) -> None:
    """At the limit nothing happens yet."""
    assert judge(LIMITS, load, copies=True) == verdict


def test_what_the_source_keeps_stops_copying_at_twice_the_limit() -> None:
    """Catching up goes on at any rate: it is what lets the source forget."""
    full = Load(retained_bytes=9 * 1024**3)
    assert judge(LIMITS, full, copies=True).stops
    caught = judge(LIMITS, full, copies=False)
    assert caught.reason
    assert not caught.slows
    assert not caught.stops
    assert judge(replace(LIMITS, maximum_share=0.0), Load(), copies=False).stops


def test_pauses_double_and_halve() -> None:
    """Up to ten seconds and down to none."""
    pauses, pause = [], 0.0
    for verdict in [Verdict("x", slows=True)] * 9 + [Verdict()] * 9:
        pause = next_pause(pause, verdict)
        pauses.append(pause)
    assert pauses[:3] == [0.1, 0.2, 0.4]
    assert max(pauses) == pauses[8] == 10.0
    assert pauses[9] == 5.0
    assert pauses[-1] == 0.0


async def test_a_share_of_the_time_is_kept_and_a_stop_ends_all_waiting() -> None:
    """Limits are read while work goes on, so that a change has effect."""
    told: list[str] = []
    stop = asyncio.Event()
    limits = Throttle(maximum_share=0.5)
    now = asyncio.get_running_loop().time

    def read_limits() -> Throttle:
        return limits

    async def measure() -> Load:
        return Load()

    pacing = Pacing(read_limits, measure, told.append, stop=stop, copies=True)
    began = now()
    await pacing.worked(0.2)
    assert 0.15 < now() - began < 0.6
    assert told == [""]
    limits = Throttle(maximum_share=0.0)
    await asyncio.sleep(1.0)
    waiting = asyncio.create_task(pacing.worked(0.0))
    await asyncio.sleep(0.1)
    assert told[-1] == "paused: the share of time is 0"
    assert not waiting.done()
    stop.set()
    await asyncio.wait_for(waiting, 1.0)
