"""Timeframes of reports, and the buckets they fall into."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_platforms.klaviyo.documents import ApiError
from liftos_platforms.klaviyo.timeframes import (
    Bucket,
    Span,
    bucket_starts,
    buckets,
    check_series_length,
    midnight,
    read_timeframe,
    share,
)

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def test_a_timeframe_includes_both_ends() -> None:
    """A timeframe that ends at midnight holds the first second of the next day."""
    span = read_timeframe({"start": "2026-11-01", "end": "2026-11-02"}, PARIS, NOW)
    assert span.holds(midnight(date(2026, 11, 2), PARIS))
    assert not span.holds(midnight(date(2026, 11, 2), PARIS) + timedelta(seconds=1))
    whole = read_timeframe(
        {"start": "2026-11-01T00:00:00+01:00", "end": "2026-11-01T23:59:59+01:00"}, PARIS, NOW
    )
    assert whole == Span(midnight(date(2026, 11, 1), PARIS), midnight(date(2026, 11, 2), PARIS))


def test_presets_are_days_of_the_account() -> None:
    """Yesterday in Auckland is another day than in Paris at the same moment."""
    auckland = ZoneInfo("Pacific/Auckland")
    assert list(read_timeframe({"key": "yesterday"}, PARIS, NOW).days(PARIS)) == [
        date(2026, 11, 23)
    ]
    assert list(read_timeframe({"key": "yesterday"}, auckland, NOW).days(auckland)) == [
        date(2026, 11, 24)
    ]
    year = read_timeframe({"key": "last_12_months"}, PARIS, NOW)
    assert year == Span(midnight(date(2025, 11, 1), PARIS), midnight(date(2026, 11, 1), PARIS))


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"key": "last_5_days"},
        {"key": ["today"]},
        {"key": "today", "start": "2026-11-01"},
        {"start": "2026-11-01"},
        {"start": "yesterday", "end": "2026-11-01"},
        {"start": 1, "end": 2},
        {"start": "2026-11-02", "end": "2026-11-01"},
        {"start": "2025-10-01", "end": "2026-11-01"},
    ],
)
def test_a_wrong_timeframe_is_refused(value: object) -> None:
    """Unknown presets, halves, reversed and overlong timeframes do not pass."""
    with pytest.raises(ApiError) as caught:
        read_timeframe(value, PARIS, NOW)
    assert (caught.value.pointer or "").startswith("/data/attributes/timeframe")


def test_days_follow_the_clocks() -> None:
    """The day on which clocks go back has 25 hours, each its own bucket."""
    day = Span(midnight(date(2026, 10, 25), PARIS), midnight(date(2026, 10, 26), PARIS))
    hours = bucket_starts(day, Bucket.HOUR, PARIS)
    assert len(hours) == 25
    assert [hour.isoformat() for hour in hours[2:4]] == [
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:00:00+01:00",
    ]
    days = bucket_starts(
        Span(day.start - timedelta(days=1), day.end + timedelta(days=1)), Bucket.DAY, PARIS
    )
    assert [day.utcoffset() for day in days] == [
        timedelta(hours=2),
        timedelta(hours=2),
        timedelta(hours=1),
    ]


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    """Buckets start before the span where it starts within one."""
    span = Span(midnight(date(2026, 11, 5), PARIS), midnight(date(2026, 12, 2), PARIS))
    weeks = [start.date() for start in bucket_starts(span, Bucket.WEEK, PARIS)]
    assert weeks == [date(2026, 11, 2) + timedelta(days=7 * n) for n in range(5)]
    months = [start.date() for start in bucket_starts(span, Bucket.MONTH, PARIS)]
    assert months == [date(2026, 11, 1), date(2026, 12, 1)]


@pytest.mark.parametrize(
    ("bucket", "days", "passes"),
    [
        (Bucket.HOUR, 7, True),
        (Bucket.HOUR, 8, False),
        (Bucket.DAY, 60, True),
        (Bucket.DAY, 61, False),
        (Bucket.MONTH, 364, True),
        (Bucket.MONTH, 365, False),
        (Bucket.WEEK, 365, True),
    ],
)
def test_series_have_a_longest_timeframe(bucket: Bucket, days: int, passes: bool) -> None:
    """Hourly series last a week, daily ones 60 days, monthly ones 52 weeks."""
    start = midnight(date(2026, 1, 1), PARIS)
    span = Span(start, midnight(date(2026, 1, 1) + timedelta(days=days), PARIS))
    if passes:
        check_series_length(span, bucket)
        return
    with pytest.raises(ApiError):
        check_series_length(span, bucket)


@given(
    st.dates(date(2026, 1, 1), date(2026, 12, 31)),
    st.integers(1, 40),
    st.sampled_from(list(Bucket)),
    st.sampled_from(["Europe/Paris", "Pacific/Apia", "America/St_Johns", "Asia/Kathmandu"]),
)
def test_buckets_cover_a_span_without_gaps(
    first: date, days: int, bucket: Bucket, zone_name: str
) -> None:
    """Each bucket begins where the one before ends, from the span's start to its end."""
    zone = ZoneInfo(zone_name)
    span = Span(midnight(first, zone), midnight(first + timedelta(days=days), zone))
    parts = buckets(span, bucket, zone)
    assert (parts[0].start, parts[-1].end) == (span.start, span.end)
    assert all(one.end == two.start for one, two in pairwise(parts))


@given(st.integers(0, 5000), st.integers(1, 90_000), st.lists(st.integers(0, 90_000), max_size=6))
def test_shares_of_a_day_add_up(total: int, seconds: int, cuts: list[int]) -> None:
    """Cutting a day anywhere neither loses nor doubles anything, and agrees with each second."""
    edges = [0, *sorted(cuts), seconds]
    shares = [share(total, seconds, low, high) for low, high in pairwise(edges)]
    moments = [number * seconds // total for number in range(total)]
    assert sum(shares) == total
    assert shares == [
        sum(low <= moment < high for moment in moments) for low, high in pairwise(edges)
    ]
