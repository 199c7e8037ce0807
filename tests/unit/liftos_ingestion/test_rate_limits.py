"""Limits of platforms: what may go out, who goes first, and what platforms' answers tell."""

import heapq
import json
import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liftos_ingestion.adapters.inmemory_rate_governor import InMemoryRateGovernor
from liftos_ingestion.domain.platform_limits import (
    GOOGLE_ADS_OPERATIONS_PER_DAY,
    KLAVIYO_RATES,
    GoogleAdsAccess,
    KlaviyoEndpoint,
    Usage,
    described,
    google_ads_block,
    google_ads_limits,
    klaviyo_limits,
    klaviyo_usage,
    meta_block,
    meta_jobs,
    meta_limits,
    meta_usage,
)
from liftos_ingestion.domain.rate_limits import (
    LONGEST_WAIT_SECONDS,
    Limit,
    Observation,
    Priority,
    RateKey,
    RateScope,
    Renewal,
    account_key,
    app_key,
    asked_by,
    blocked,
    endpoint_key,
    gate,
    limits_to_pass,
    room_time,
)
from liftos_ingestion.quota_ports import Admitted, Parked
from liftos_kit.secrets.secret import Secret
from liftos_kit.testing.clock import FakeClock

ACCOUNT = account_key("acme", "klaviyo", "WkR2mX")
APP = app_key("acme", "meta", "77", secret=Secret("of-app-77"))
PROJECT = app_key("acme", "google_ads", "p")


# --- Room ---


@given(
    back=st.lists(st.integers(1, 50), max_size=12).map(sorted),
    ceiling=st.integers(1, 12),
    told=st.integers(0, 40).map(lambda quarter: quarter / 4),
    told_until=st.integers(1, 50),
)
def test_room_time_is_the_first_moment_with_room(
    back: list[int], ceiling: int, told: float, told_until: int
) -> None:
    """No earlier moment has room, and the found one has."""

    def has_room(moment: int) -> bool:
        taken = sum(time > moment for time in back)
        return taken + (told if told_until > moment else 0) < ceiling

    found = room_time(back, ceiling=ceiling, told=told, told_until=told_until, now=0)
    assert found == next(moment for moment in range(51) if has_room(moment))


@given(
    capacity=st.integers(1, 20),
    rate_per_second=st.integers(1, 20),
    gaps_milliseconds=st.lists(st.integers(0, 2000), min_size=1, max_size=60),
)
async def test_a_token_bucket_never_runs_dry_behind_a_rolling_window(
    capacity: int, rate_per_second: int, gaps_milliseconds: list[int]
) -> None:
    """Calls that pass capacity units and capacity / rate seconds always find a token."""
    clock, governor = _governor()
    limit = Limit(ACCOUNT, "calls", capacity, capacity / rate_per_second)
    tokens, filled = float(capacity), clock.now()
    for gap in gaps_milliseconds:
        await clock.advance(gap / 1000)
        if isinstance(await _ask(governor, limit), Admitted):
            gained = (clock.now() - filled).total_seconds() * rate_per_second
            tokens, filled = min(capacity, tokens + gained) - 1, clock.now()
            assert tokens > -1e-4


@pytest.mark.parametrize(
    ("capacity", "window_seconds", "kept"),
    [
        (0, 1.0, (0, 0, 0)),
        (5, 0.0, (0, 0, 0)),
        (5, 1e9, (0, 0, 0)),
        (5, 1.0, (0, 0, 5)),
        (5, 1.0, (2, 1, 3)),
        (5, 1.0, (-1, 0, 0)),
    ],
)
def test_a_limit_that_lets_nobody_through_cannot_be_made(
    capacity: int, window_seconds: float, kept: tuple[int, int, int]
) -> None:
    """A limit without units, time or an order of priorities is refused."""
    with pytest.raises(ValueError, match=r"unit|priority"):
        Limit(ACCOUNT, "calls", capacity, window_seconds, kept=kept)


def test_every_key_brings_its_gate_once() -> None:
    """What is asked holds each limit once, and one gate for each key."""
    short, long = Limit(ACCOUNT, "calls", 1, 1.0), Limit(ACCOUNT, "calls", 9, 60.0)
    assert limits_to_pass([short, long, short]) == (gate(ACCOUNT), short, long)


def test_limits_of_several_platforms_cannot_be_asked_together() -> None:
    """Two platforms, or nothing at all, are nobody's question."""
    with pytest.raises(ValueError, match="one org and platform"):
        asked_by([gate(ACCOUNT), gate(account_key("acme", "meta", "1"))])
    with pytest.raises(ValueError, match="one org and platform"):
        asked_by([])


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (app_key("acme", "meta", "77"), "app 77"),
        (app_key("acme", "meta", "unnamed"), "app that issued the token"),
        (PROJECT, "Cloud project p"),
        (app_key("acme", "klaviyo", "c"), "OAuth application c"),
        (app_key("acme", "till", "api.example.com"), "app api.example.com"),
        (account_key("acme", "meta", "unnamed"), "account unnamed"),
        (account_key("acme", "klaviyo", "unknown"), "account of a new credential"),
        (
            endpoint_key("acme", "klaviyo", "WkR2mX", "GET /api/flows"),
            "GET /api/flows of account WkR2mX",
        ),
    ],
)
def test_what_is_limited_has_words_for_a_person(key: RateKey, words: str) -> None:
    """A key says what it is, also where it stands for something that has no name."""
    assert described(key) == words


def test_only_who_has_the_secret_of_an_app_counts_with_others() -> None:
    """The same app and secret are counted together in all orgs; a name alone, or a guess, is not.

    Two platforms, or ids that are put together otherwise, never meet either.
    """
    theirs = app_key("umbrella", "meta", "77", secret=Secret("of-app-77"))
    assert theirs.counted_for == APP.counted_for
    assert theirs != APP
    strangers = [
        app_key("umbrella", "meta", "77"),
        app_key("umbrella", "meta", "77", secret=Secret("guessed")),
        app_key("umbrella", "klaviyo", "77", secret=Secret("of-app-77")),
        app_key("umbrella", "meta", "7", secret=Secret("7of-app-77")),
        account_key("umbrella", "meta", "77"),
        account_key("acme", "meta", "77"),
    ]
    assert len({APP.counted_for, *(key.counted_for for key in strangers)}) == 6
    assert "of-app-77" not in repr(APP) + Limit(APP, "calls", 1, 1.0).name


def test_a_key_knows_the_accounts_that_share_it() -> None:
    """An app is shared by all, an account and its endpoints by one."""
    endpoint = endpoint_key("acme", "klaviyo", "WkR2mX", "GET /api/events")
    for key in (app_key("acme", "klaviyo", "9"), ACCOUNT, endpoint):
        assert key.shares("WkR2mX")
    assert app_key("acme", "klaviyo", "9").shares("Other")
    assert not ACCOUNT.shares("WkR2m")
    assert not endpoint.shares("WkR2m")


@pytest.mark.parametrize(
    ("asked", "held"), [(-5.0, 1.0), (20_000.0, 20_000.0), (math.inf, 86_400.0)]
)
def test_a_block_lasts_at_least_a_second_and_at_most_a_day(asked: float, held: float) -> None:
    """Waits that a platform asks for are brought within bounds."""
    assert blocked(ACCOUNT, wait_seconds=asked, reason="429").reset_seconds == held


# --- Interleavings ---


@dataclass
class _Log:
    """What was let through a limit, as a platform would see it."""

    limit: Limit
    times: list[tuple[datetime, Priority]] = field(default_factory=list)

    def add(self, time: datetime, priority: Priority) -> None:
        self.times.append((time, priority))
        window = timedelta(seconds=self.limit.window_seconds)
        if self.limit.renewal is Renewal.FIXED:
            seconds = self.limit.window_seconds
            began = sum(
                other.timestamp() // seconds == time.timestamp() // seconds
                for other, _ in self.times
            )
        else:
            began = sum(time - window < other <= time for other, _ in self.times)
        assert began <= self.limit.ceiling(priority)


limit_shapes = st.tuples(
    st.integers(1, 6),
    st.sampled_from([1.0, 3.0, 7.0, 60.0]),
    st.sampled_from([Renewal.ROLLING, Renewal.FIXED]),
    st.integers(0, 5),
)


@settings(max_examples=150)
@given(
    shapes=st.lists(limit_shapes, min_size=1, max_size=4, unique_by=lambda shape: shape[1]),
    steps=st.lists(
        st.tuples(
            st.integers(0, 4000),
            st.sampled_from("abcde"),
            st.sampled_from(Priority),
            st.integers(1, 15),
            st.booleans(),
        ),
        max_size=60,
    ),
)
async def test_no_interleaving_exceeds_any_window(
    shapes: list[tuple[int, float, Renewal, int]],
    steps: list[tuple[int, str, Priority, int, bool]],
) -> None:
    """Whoever asks, whenever, with whatever limits: no window holds more than it may."""
    clock, governor = _governor()
    limits = [
        Limit(ACCOUNT, "calls", capacity, seconds, renewal, (0, 0, min(kept, capacity - 1)))
        for capacity, seconds, renewal, kept in shapes
    ]
    logs = [_Log(limit) for limit in limits]
    for gap, caller, priority, chosen, comes_back in steps:
        await clock.advance(gap / 1000)
        asked = [log for bit, log in enumerate(logs) if chosen >> bit & 1] or logs[:1]
        names = [log.limit for log in asked]
        answer = await governor.admit(names, caller=caller, priority=priority)
        if isinstance(answer, Parked):
            assert answer.until > clock.now()
            if comes_back:
                await clock.advance(answer.wait_seconds)
                answer = await governor.admit(names, caller=caller, priority=priority)
        if isinstance(answer, Admitted):
            for log in asked:
                log.add(clock.now(), priority)


@settings(max_examples=100)
@given(
    capacity=st.integers(1, 5),
    window_seconds=st.sampled_from([1.0, 10.0, 60.0]),
    demand=st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from(Priority), st.integers(1, 4)),
        min_size=1,
        max_size=12,
    ),
    late_seconds=st.sampled_from([0.0, 0.5, 5.0]),
)
async def test_nobody_starves_and_the_best_priority_goes_first(
    capacity: int,
    window_seconds: float,
    demand: list[tuple[int, Priority, int]],
    late_seconds: float,
) -> None:
    """All calls get through, and a lower priority takes only what is left beside those waiting."""
    clock, governor = _governor()
    limit = Limit(ACCOUNT, "calls", capacity, window_seconds)
    start = clock.now()
    events = [(float(at), number) for number, (at, _, _) in enumerate(demand)]
    heapq.heapify(events)
    left = [calls for _, _, calls in demand]
    waits: dict[int, Priority] = {}
    admitted: list[datetime] = []
    window = timedelta(seconds=window_seconds)
    seconds, last_start = 0.0, max(at for at, _, _ in demand)
    while events:
        seconds, number = heapq.heappop(events)
        await clock.advance(max(0.0, seconds - (clock.now() - start).total_seconds()))
        priority = demand[number][1]
        answer = await governor.admit([limit], caller=str(number), priority=priority)
        if isinstance(answer, Parked):
            waits[number] = priority
            heapq.heappush(events, (seconds + answer.wait_seconds + late_seconds, number))
            continue
        waits.pop(number, None)
        admitted = [time for time in admitted if time > answer.time - window] + [answer.time]
        better = sum(other < priority for other in waits.values())
        assert capacity - len(admitted) >= min(better, capacity)
        left[number] -= 1
        if left[number]:
            heapq.heappush(events, (seconds, number))
    assert not any(left)
    # What one after the other would take, and for each round the time that callers are late.
    rounds = math.ceil(sum(calls for _, _, calls in demand) / capacity)
    assert seconds <= last_start + (rounds + 1) * (window_seconds * 2 + late_seconds)


# --- Klaviyo ---


def test_klaviyo_counts_three_windows_of_a_report() -> None:
    """A report falls under 1 s, 60 s and 24 h, of which backfill leaves a third alone."""
    limits = klaviyo_limits(
        "acme", account_id="WkR2mX", endpoint=KlaviyoEndpoint.CAMPAIGN_VALUES_REPORTS
    )
    account, burst, steady, daily = limits
    assert account == gate(ACCOUNT)
    assert (burst.capacity, steady.capacity, daily.capacity) == (1, 2, 225)
    assert 1 < burst.window_seconds < 2
    assert 60 < steady.window_seconds < 61
    assert daily.window_seconds == 86_400
    assert daily.ceiling(Priority.NEWEST) == 225
    assert daily.ceiling(Priority.BACKFILL) == 150


def test_every_klaviyo_endpoint_has_rates() -> None:
    """No endpoint can be called unguarded."""
    assert set(KLAVIYO_RATES) == set(KlaviyoEndpoint)


def _klaviyo(status: int, headers: dict[str, str]) -> Usage:
    return klaviyo_usage(
        status,
        headers,
        org="acme",
        account_id="WkR2mX",
        endpoint=KlaviyoEndpoint.METRIC_AGGREGATES,
    )


def test_klaviyo_tells_what_is_left_of_the_minute() -> None:
    """What others used of a window counts as used."""
    usage = _klaviyo(
        200, {"RateLimit-Limit": "60", "RateLimit-Remaining": "12", "RateLimit-Reset": "31"}
    )
    (seen,) = usage.observations
    assert (seen.limit.capacity, seen.used, seen.reset_seconds) == (60, 48, 31)
    assert usage.unreadable == ()


@pytest.mark.parametrize(
    ("headers", "wait_seconds", "unreadable"),
    [
        ({"Retry-After": "7"}, 7, ()),
        ({"retry-after": "20000"}, 20_000, ()),
        ({"Retry-After": "9e99"}, LONGEST_WAIT_SECONDS, ()),
        ({"Retry-After": "soon"}, 60, ("retry-after",)),
        ({"Retry-After": "nan"}, 60, ("retry-after",)),
        ({}, 60, ()),
    ],
)
def test_klaviyo_blocks_the_endpoint_after_429(
    headers: dict[str, str], wait_seconds: float, unreadable: tuple[str, ...]
) -> None:
    """The wait is the platform's within a day, or a minute where it does not say."""
    usage = _klaviyo(429, headers)
    (seen,) = usage.observations
    assert seen.limit.key.scope is RateScope.ENDPOINT
    assert seen.limit == gate(seen.limit.key)
    assert (seen.reset_seconds, usage.unreadable) == (wait_seconds, unreadable)


def test_klaviyo_headers_that_cannot_be_read_are_named() -> None:
    """A damaged header tells nothing, and says so."""
    usage = _klaviyo(200, {"RateLimit-Remaining": "many", "RateLimit-Reset": "31"})
    assert usage.observations == ()
    assert "ratelimit-remaining" in usage.unreadable
    assert _klaviyo(200, {}) == Usage(())


# --- Meta ---


def _meta(headers: dict[str, object]) -> Usage:
    return meta_usage(
        {name: json.dumps(body) for name, body in headers.items()}, APP, account_id="act_1"
    )


def test_meta_tells_percent_of_app_and_account() -> None:
    """Each header is about the app or the account, and its worst number counts."""
    use_case = {"type": "ads_insights", "call_count": 28, "total_cputime": 95, "total_time": 25}
    usage = _meta(
        {
            "X-Business-Use-Case-Usage": {"1": [use_case | {"estimated_time_to_regain_access": 0}]},
            "X-App-Usage": {"call_count": 1, "total_cputime": 2, "total_time": 3},
            "X-Ad-Account-Usage": {"acc_id_util_pct": 9.67, "reset_time_duration": 100},
            "x-fb-ads-insights-throttle": {"app_id_util_pct": 91, "acc_id_util_pct": 4},
        }
    )
    app, account = meta_limits(APP, account_id="act_1")
    found = [(seen.limit, seen.used, seen.reset_seconds) for seen in usage.observations]
    assert found == [
        (account, 95, 300),
        (app, 3, 300),
        (account, 9.67, 100),
        (app, 91, 300),
        (account, 4, 300),
    ]
    assert usage.unreadable == ()


def test_meta_tells_the_minutes_to_regain_access() -> None:
    """A use case that is shut is full for that many minutes, whatever its percentages."""
    entry = {"call_count": 40, "total_cputime": 1, "total_time": 1}
    usage = _meta(
        {"x-business-use-case-usage": {"1": [entry | {"estimated_time_to_regain_access": 17}]}}
    )
    (seen,) = usage.observations
    assert (seen.used, seen.reset_seconds) == (100, 17 * 60)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>",
        "[]",
        "7",
        '{"1": 7}',
        '{"1": [null]}',
        '{"1": [{"call_count": "x"}]}',
        '{"1": [{"call_count": NaN, "total_cputime": 1, "total_time": 1}]}',
        '{"1": [{"call_count": -1, "total_cputime": -1, "total_time": -1}]}',
        f'{{"1": [{{"call_count": {10**400}, "total_cputime": 1, "total_time": 1}}]}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_meta_header_is_named_and_the_others_are_read(body: str) -> None:
    """One header that cannot be read leaves the others alone."""
    throttle = json.dumps({"app_id_util_pct": 1, "acc_id_util_pct": 2})
    usage = meta_usage(
        {"X-Business-Use-Case-Usage": body, "x-fb-ads-insights-throttle": throttle},
        APP,
        account_id="act_1",
    )
    assert usage.unreadable == ("x-business-use-case-usage",)
    assert [seen.used for seen in usage.observations] == [1, 2]


@given(
    body=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["1", "call_count", "acc_id_util_pct", "reset_time_duration"]),
                inner,
            )
        ),
    )
)
def test_any_json_in_meta_headers_is_read_or_named(body: object) -> None:
    """No header makes reading fail."""
    names = ("x-business-use-case-usage", "x-app-usage", "x-ad-account-usage")
    usage = _meta(dict.fromkeys(names, body))
    assert set(usage.unreadable) <= set(names)
    assert all(isinstance(seen, Observation) for seen in usage.observations)


@pytest.mark.parametrize(
    ("code", "scope"),
    [
        (4, RateScope.APP),
        (341, RateScope.APP),
        (368, RateScope.APP),
        (17, RateScope.ACCOUNT),
        (613, RateScope.ACCOUNT),
        (80000, RateScope.ACCOUNT),
        (80004, RateScope.ACCOUNT),
        (1, None),
        (100, None),
        (190, None),
    ],
)
def test_meta_errors_block_the_app_or_the_account(code: int, scope: RateScope | None) -> None:
    """Errors of limits block what they are about, all others nothing."""
    seen = meta_block(code, APP, usage=Usage(()), account_id="act_1")
    assert (seen and seen.limit.key.scope) == scope


def test_a_meta_block_lasts_until_access_comes_back() -> None:
    """The usage headers of the failed answer say how long an account is shut."""
    entry = {"call_count": 100, "total_cputime": 1, "total_time": 1}
    usage = _meta(
        {"x-business-use-case-usage": {"1": [entry | {"estimated_time_to_regain_access": 9}]}}
    )
    seen = meta_block(17, APP, usage=usage, account_id="act_1")
    assert seen is not None
    assert seen.reset_seconds == 9 * 60


def test_meta_jobs_are_leased() -> None:
    """An asynchronous report holds its unit only as long as its worker renews it."""
    assert meta_jobs("acme", account_id="act_1").renewal is Renewal.LEASED


# --- Google Ads ---


@pytest.mark.parametrize("access", list(GoogleAdsAccess))
def test_google_counts_operations_of_the_project(access: GoogleAdsAccess) -> None:
    """All but the standard level have so many operations in any 24 h."""
    limits = google_ads_limits(PROJECT, customer_id="1", access=access)
    days = [limit.capacity for limit in limits if limit.unit == "operations"]
    operations = GOOGLE_ADS_OPERATIONS_PER_DAY[access]
    assert days == ([] if operations is None else [operations])


@pytest.mark.parametrize(
    ("error", "rate_scope", "retry_seconds", "expected"),
    [
        ("RESOURCE_TEMPORARILY_EXHAUSTED", "ACCOUNT", 12.0, (RateScope.ACCOUNT, 12.0)),
        ("RESOURCE_TEMPORARILY_EXHAUSTED", "DEVELOPER", None, (RateScope.APP, 30.0)),
        ("RESOURCE_EXHAUSTED", "", None, (RateScope.APP, 3600.0)),
        ("EXCESSIVE_SHORT_TERM_QUERY_RESOURCE_CONSUMPTION", "", None, (RateScope.ACCOUNT, 300.0)),
        ("ACCESS_PROHIBITED", "", None, None),
    ],
)
def test_google_quota_errors_block_the_project_or_the_customer(
    error: str,
    rate_scope: str,
    retry_seconds: float | None,
    expected: tuple[RateScope, float] | None,
) -> None:
    """The scope and the wait are Google's where it tells them."""
    seen = google_ads_block(
        error,
        PROJECT,
        customer_id="1",
        rate_scope=rate_scope,
        retry_seconds=retry_seconds,
    )
    assert (seen and (seen.limit.key.scope, seen.reset_seconds)) == expected


def _governor() -> tuple[FakeClock, InMemoryRateGovernor]:
    clock = FakeClock()
    return clock, InMemoryRateGovernor(clock)


async def _ask(governor: InMemoryRateGovernor, limit: Limit) -> Admitted | Parked:
    return await governor.admit([limit], caller="a", priority=Priority.NEWEST)
