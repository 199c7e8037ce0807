"""The fixed windows of Klaviyo's rate limits."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from liftos_platforms.klaviyo.limits import REPORTS, Admitted, RateLimit, Throttled, WindowLimiter

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def _ask(limiter: WindowLimiter, now: datetime, limit: RateLimit = REPORTS) -> Admitted | Throttled:
    return limiter.admit("A", "reports", limit, now)


def test_a_second_takes_its_burst_and_no_more() -> None:
    """The next second is free, however late in its own second the first request came."""
    limiter = WindowLimiter()
    late = START + timedelta(seconds=1, microseconds=999_999)
    assert isinstance(_ask(limiter, late), Admitted)
    assert _ask(limiter, late) == Throttled(retry_after_seconds=1, window_seconds=1)
    assert isinstance(_ask(limiter, late + timedelta(microseconds=1)), Admitted)


def test_a_minute_takes_its_steady_rate() -> None:
    """The third report of a minute waits for the next minute, to the second."""
    limiter = WindowLimiter()
    first = _ask(limiter, START + timedelta(seconds=10))
    assert first == Admitted(limit=2, remaining=1, reset_seconds=50)
    _ask(limiter, START + timedelta(seconds=20))
    assert _ask(limiter, START + timedelta(seconds=30)) == Throttled(30, 60)
    assert isinstance(_ask(limiter, START + timedelta(seconds=60)), Admitted)


def test_a_day_takes_its_quota() -> None:
    """After 225 reports the wait is until the day ends, which is hours."""
    limiter = WindowLimiter()
    for number in range(225):
        moment = START + timedelta(seconds=60 * (number // 2) + number % 2)
        assert isinstance(_ask(limiter, moment), Admitted)
    refused = _ask(limiter, START + timedelta(hours=2))
    assert refused == Throttled(retry_after_seconds=10 * 3600, window_seconds=86_400)


def test_quotas_and_endpoints_count_apart() -> None:
    """One account's or endpoint's requests take nothing from another's."""
    limiter = WindowLimiter()
    assert isinstance(limiter.admit("A", "flows", REPORTS, START), Admitted)
    assert isinstance(limiter.admit("B", "flows", REPORTS, START), Admitted)
    assert isinstance(limiter.admit("A", "campaigns", REPORTS, START), Admitted)
    assert isinstance(limiter.admit("A", "flows", REPORTS, START), Throttled)


@given(
    st.lists(st.integers(0, 3_000_000), max_size=60),
    st.integers(1, 4),
    st.integers(1, 6),
)
def test_no_window_ever_takes_more_than_it_may(gaps: list[int], burst: int, steady: int) -> None:
    """Recounting the admitted requests finds no window overfull and none refused early."""
    limiter = WindowLimiter()
    limit = RateLimit(burst, steady, daily=40)
    now = START
    admitted: list[int] = []
    for gap in gaps:
        now += timedelta(microseconds=gap)
        at = round(now.timestamp() * 1_000_000)
        full = any(
            sum(past // (seconds * 1_000_000) == at // (seconds * 1_000_000) for past in admitted)
            >= most
            for seconds, most in limit.windows()
        )
        answer = _ask(limiter, now, limit)
        assert isinstance(answer, Throttled) is full
        if not full:
            admitted.append(at)
