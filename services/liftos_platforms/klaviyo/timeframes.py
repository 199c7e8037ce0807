"""Spans of time that reports and aggregates are asked for, and the buckets they fall into.

A report's timeframe includes both ends, to the second: one that ends at midnight holds the first
second of the next day. Aggregates exclude their end. Buckets are of a time zone, so a day may
have 23 or 25 hours.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum, unique
from typing import Final, assert_never
from zoneinfo import ZoneInfo

from liftos_platforms.klaviyo.documents import ApiError

_POINTER: Final = "/data/attributes/timeframe"
_MAXIMUM_DAYS: Final = 366


@unique
class Bucket(StrEnum):
    """How long a bucket is."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


SERIES_BUCKETS: Final[Mapping[str, Bucket]] = {
    "hourly": Bucket.HOUR,
    "daily": Bucket.DAY,
    "weekly": Bucket.WEEK,
    "monthly": Bucket.MONTH,
}
"""The words of series reports; aggregates say `hour`, `day`, `week`, `month`."""

_SERIES_MAXIMUM: Final[Mapping[Bucket, timedelta]] = {
    Bucket.HOUR: timedelta(days=7),
    Bucket.DAY: timedelta(days=60),
    Bucket.WEEK: timedelta(days=_MAXIMUM_DAYS),
    Bucket.MONTH: timedelta(weeks=52),
}


@dataclass(frozen=True, slots=True)
class Span:
    """Time from `start`, included, to `end`, excluded; given aware, kept in UTC."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        # Python compares and subtracts two moments of one zone by their wall clocks, which is
        # wrong on the days when clocks change.
        object.__setattr__(self, "start", self.start.astimezone(UTC))
        object.__setattr__(self, "end", self.end.astimezone(UTC))

    def holds(self, moment: datetime) -> bool:
        """Whether `moment` is in it."""
        return self.start <= moment < self.end

    def length(self) -> timedelta:
        """How long it lasts."""
        return self.end - self.start

    def days(self, zone: ZoneInfo) -> Iterator[date]:
        """Yield the days of a zone that it touches, in order."""
        day = self.start.astimezone(zone).date()
        while midnight(day, zone) < self.end:
            yield day
            day += timedelta(days=1)


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return when a day begins in a zone."""
    return datetime.combine(day, time(), zone)


def read_timeframe(value: object, zone: ZoneInfo, now: datetime) -> Span:
    """Return the span that a report asks for.

    Args:
        value: `{"key": preset}` or `{"start": ..., "end": ...}`, both ends included.
        zone: The account's; presets and dates without an offset are of it.
        now: The present, aware.

    Raises:
        ApiError: It is neither, ends before it starts or lasts for more than a year.
    """
    if not isinstance(value, Mapping):
        raise ApiError("'timeframe' must be an object.", pointer=_POINTER)
    if set(value) == {"key"}:
        return _preset(value["key"], zone, now)
    if set(value) != {"start", "end"}:
        raise ApiError("'timeframe' takes either 'key', or 'start' and 'end'.", pointer=_POINTER)
    start = _moment(value["start"], zone, "start")
    last = _moment(value["end"], zone, "end")
    span = Span(start, _next_second(last))
    if last < start:
        raise ApiError("'start' must not be after 'end'.", pointer=_POINTER)
    if span.length() > timedelta(days=_MAXIMUM_DAYS):
        raise ApiError("The time frame cannot be longer than 1 year.", pointer=_POINTER)
    return span


def _moment(value: object, zone: ZoneInfo, name: str) -> datetime:
    pointer = f"{_POINTER}/{name}"
    if not isinstance(value, str):
        raise ApiError(f"'{name}' must be a date-time in ISO 8601.", pointer=pointer)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise ApiError(f"'{name}' must be a date-time in ISO 8601.", pointer=pointer) from error
    return moment.replace(tzinfo=zone) if moment.tzinfo is None else moment


def _next_second(last: datetime) -> datetime:
    """Return the end, excluded, of a span whose last moment is `last`."""
    whole = last.astimezone(UTC)
    return whole.replace(microsecond=0) + timedelta(seconds=1)


def _preset(key: object, zone: ZoneInfo, now: datetime) -> Span:
    today = now.astimezone(zone).date()
    monday = today - timedelta(days=today.weekday())
    first = today.replace(day=1)
    tomorrow = today + timedelta(days=1)
    spans = {
        "today": (today, tomorrow),
        "yesterday": (today - timedelta(days=1), today),
        "last_7_days": (today - timedelta(days=7), today),
        "last_30_days": (today - timedelta(days=30), today),
        "last_90_days": (today - timedelta(days=90), today),
        "last_365_days": (today - timedelta(days=365), today),
        "this_week": (monday, tomorrow),
        "last_week": (monday - timedelta(days=7), monday),
        "this_month": (first, tomorrow),
        "last_month": (_months_before(first, 1), first),
        "last_3_months": (_months_before(first, 3), first),
        "last_12_months": (_months_before(first, 12), first),
        "this_year": (first.replace(month=1), tomorrow),
        "last_year": (first.replace(year=first.year - 1, month=1), first.replace(month=1)),
    }
    if not isinstance(key, str) or key not in spans:
        raise ApiError(
            f"'{key}' is not a valid time frame; allowed: {', '.join(sorted(spans))}.",
            pointer=f"{_POINTER}/key",
        )
    start, end = spans[key]
    return Span(midnight(start, zone), midnight(end, zone))


def _months_before(first: date, months: int) -> date:
    index = first.year * 12 + first.month - 1 - months
    return date(index // 12, index % 12 + 1, 1)


def check_series_length(span: Span, bucket: Bucket) -> None:
    """Hold a series to the longest timeframe of its interval.

    Raises:
        ApiError: The span is longer.
    """
    longest = _SERIES_MAXIMUM[bucket]
    # The end is included to the second, and the hour that a change of clocks adds is forgiven.
    if span.length() > longest + timedelta(hours=1, seconds=1):
        raise ApiError(
            f"With this interval the time frame cannot be longer than {longest.days} days.",
            pointer="/data/attributes/interval",
        )


def bucket_starts(span: Span, bucket: Bucket, zone: ZoneInfo) -> tuple[datetime, ...]:
    """Return the starts, in the zone, of the buckets that `span` touches; weeks begin on Monday."""
    starts = []
    start = _floor(span.start, bucket, zone)
    while start < span.end:
        starts.append(start)
        start = _next(start, bucket, zone)
    return tuple(starts)


def buckets(span: Span, bucket: Bucket, zone: ZoneInfo) -> tuple[Span, ...]:
    """Return the buckets that `span` touches, the first and the last cut to the span."""
    starts = bucket_starts(span, bucket, zone)
    ends = (*starts[1:], span.end)
    return tuple(Span(max(start, span.start), end) for start, end in zip(starts, ends, strict=True))


def touching(parts: Sequence[Span], day: Span) -> range:
    """Return the places of the parts, in order and without gaps, that touch a day."""
    first = bisect_right(parts, day.start, key=lambda part: part.end)
    after = bisect_left(parts, day.end, key=lambda part: part.start)
    return range(first, after)


def _floor(moment: datetime, bucket: Bucket, zone: ZoneInfo) -> datetime:
    local = moment.astimezone(zone)
    match bucket:
        case Bucket.HOUR:
            return local.replace(minute=0, second=0, microsecond=0)
        case Bucket.DAY:
            return midnight(local.date(), zone)
        case Bucket.WEEK:
            return midnight(local.date() - timedelta(days=local.weekday()), zone)
        case Bucket.MONTH:
            return midnight(local.date().replace(day=1), zone)
        case _:
            assert_never(bucket)


def _next(start: datetime, bucket: Bucket, zone: ZoneInfo) -> datetime:
    match bucket:
        case Bucket.HOUR:
            return (start.astimezone(UTC) + timedelta(hours=1)).astimezone(zone)
        case Bucket.DAY:
            return midnight(start.date() + timedelta(days=1), zone)
        case Bucket.WEEK:
            return midnight(start.date() + timedelta(days=7), zone)
        case Bucket.MONTH:
            return midnight(_months_before(start.date().replace(day=1), -1), zone)
        case _:
            assert_never(bucket)


def share(total: int, of_seconds: int, from_second: int, to_second: int) -> int:
    """Return how many of `total` happenings fall into seconds [from, to) of a day.

    Number k of them happens in second `k * of_seconds // total`: evenly, the first at once. Shares
    of spans that touch add up to the share of both.

    Args:
        total: Happenings of the whole day.
        of_seconds: Length of the day.
        from_second: First second; clipped to the day.
        to_second: Second after the last; clipped to the day.
    """
    low = min(max(from_second, 0), of_seconds)
    high = min(max(to_second, 0), of_seconds)
    return max(0, -(-total * high // of_seconds) + (-total * low // of_seconds))


def seconds_between(start: datetime, end: datetime) -> int:
    """Return the whole seconds from `start` to `end`, rounded up."""
    return math.ceil((end - start).total_seconds())
