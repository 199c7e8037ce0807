"""When schedules fire."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_ingestion.domain.schedules import due_fire_time, fire_times, zone_problem
from liftos_kit.core.cron import cron_problem

_ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia")


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _next(cron: str, zone: str, after: str, count: int) -> list[str]:
    times = islice(fire_times(cron, zone, after=_utc(after)), count)
    return [time.strftime("%m-%d %H:%M") for time in times]


def test_daily_in_a_zone() -> None:
    """A local time keeps its place in the day when the offset changes."""
    assert _next("15 6 * * *", "Europe/Berlin", "2026-03-28T00:00", 3) == [
        "03-28 05:15",
        "03-29 04:15",
        "03-30 04:15",
    ]


def test_a_time_that_is_left_out() -> None:
    """On 29 March 02:30 does not exist in Berlin: the run starts at 03:00, 01:00 UTC."""
    assert _next("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", 2) == [
        "03-29 01:00",
        "03-30 00:30",
    ]
    assert _next("*/20 * * * *", "Europe/Berlin", "2026-03-29T00:30", 3) == [
        "03-29 00:40",
        "03-29 01:00",
        "03-29 01:20",
    ]


def test_a_time_that_comes_twice() -> None:
    """On 25 October 02:30 comes twice in Berlin: the run starts the first time, and once."""
    assert _next("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", 2) == [
        "10-25 00:30",
        "10-26 01:30",
    ]


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "* * * *",
        "* * * * * *",
        "@daily",
        "0 0 * * MON",
        "61 * * * *",
        "0 0 30 2 *",
        "a b c d e",
        "0  6 * * *",
        "*/0 * * * *",
        "0 24 * * *",
        "R * * * *",
    ],
)
def test_nonsense(cron: str) -> None:
    """What is no cron is told apart, with what would be right."""
    assert cron_problem(cron)


@pytest.mark.parametrize(
    ("cron", "problem"),
    [
        ("15 25 * * *", "has 25 as hour, which is from 0 to 23"),
        ("0 6 * * 1,8", "has 8 as weekday, which is from 0 to 7"),
        ("0 6 -1 * *", "has a field that cannot be read"),
        ("daily", "takes five fields"),
    ],
)
def test_nonsense_is_named(cron: str, problem: str) -> None:
    """The number and the field that it does not fit are told."""
    told = cron_problem(cron)
    assert told is not None
    assert problem in told


@pytest.mark.parametrize("zone", ["", "Europe", "Mars/Base", "../etc/passwd", "UTC\0", "CEST+2"])
def test_no_zone(zone: str) -> None:
    """A name that is none is refused."""
    assert zone_problem(zone)


def test_missed_runs() -> None:
    """Of several missed moments the newest counts, and none that is too late."""

    def due(after: str, now: str, catchup: timedelta) -> datetime | None:
        return due_fire_time("0 * * * *", "UTC", after=_utc(after), now=_utc(now), catchup=catchup)

    hour = timedelta(hours=1)
    assert due("2026-03-01T00:00", "2026-03-01T05:10", hour) == _utc("2026-03-01T05:00")
    assert due("2026-03-01T05:00", "2026-03-01T05:10", hour) is None
    assert due("2026-03-01T00:00", "2026-03-01T05:10", timedelta(minutes=5)) is None
    assert due("2026-03-01T04:59", "2026-03-01T05:00", hour) == _utc("2026-03-01T05:00")


@given(
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    zone=st.sampled_from(_ZONES),
    after=st.integers(1_262_304_000, 1_893_456_000).map(lambda it: datetime.fromtimestamp(it, UTC)),
)
def test_a_daily_schedule_fires_once_a_local_day(
    minute: int, hour: int, zone: str, after: datetime
) -> None:
    """Each local date that there is has one run, at its time or right after a gap."""
    cron = f"{minute} {hour} * * *"
    times = list(islice(fire_times(cron, zone, after=after), 5))
    assert times == sorted(set(times))
    local = [time.astimezone(ZoneInfo(zone)) for time in times]
    for time in local:
        wall = (time.hour, time.minute)
        exists = time.replace(hour=hour, minute=minute).astimezone(UTC).astimezone(ZoneInfo(zone))
        if (exists.hour, exists.minute) == (hour, minute):
            assert wall == (hour, minute)
    assert cron_problem(cron) is None
