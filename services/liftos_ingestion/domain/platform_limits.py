"""The limits that platforms publish, and what their answers tell about them.

Readers of headers take names in any case. What cannot be read tells nothing and is named in
`Usage.unreadable`, since a damaged header is no reason to lose a page.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, assert_never

from liftos_ingestion.domain.rate_limits import (
    Limit,
    Observation,
    RateKey,
    RateScope,
    Renewal,
    account_key,
    blocked,
    capped_seconds,
    endpoint_key,
    gate,
)

META: Final = "meta"
GOOGLE_ADS: Final = "google_ads"
KLAVIYO: Final = "klaviyo"

_MINUTE: Final = 60.0
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


META_UNNAMED_APP: Final = "unnamed"
"""Stands for the app of a token whose app is not given."""

KLAVIYO_UNKNOWN_ACCOUNT: Final = "unknown"
"""Stands for the account of a credential that is not known yet."""

_APPS: Final[Mapping[str, str]] = MappingProxyType(
    {META: "app", GOOGLE_ADS: "Cloud project", KLAVIYO: "OAuth application"}
)


def described(key: RateKey) -> str:
    """Return what is limited in words for a person."""
    match key.scope:
        case RateScope.APP if key.platform == META and key.key == META_UNNAMED_APP:
            return "app that issued the token"
        case RateScope.APP:
            return f"{_APPS.get(key.platform, 'app')} {key.key}"
        case RateScope.ENDPOINT:
            account_id, _, endpoint = key.key.partition(":")
            return f"{endpoint} of {described(account_key(key.org, key.platform, account_id))}"
        case RateScope.ACCOUNT if key.platform == KLAVIYO and key.key == KLAVIYO_UNKNOWN_ACCOUNT:
            return "account of a new credential"
        case RateScope.ACCOUNT:
            return f"account {key.key}"
        case scope:
            assert_never(scope)


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer tells about limits.

    Attributes:
        observations: What could be read.
        unreadable: Names of headers that could not be.
    """

    observations: tuple[Observation, ...]
    unreadable: tuple[str, ...] = ()


def _of_day(key: RateKey, unit: str, capacity: int) -> Limit:
    """A tenth of a day is left for the newest days, and a third for all that is not backfill."""
    return Limit(key, unit, capacity, _DAY, kept=(0, capacity // 10, capacity // 3))


# --- Meta ---

META_PERCENT_KEPT: Final = (10, 15, 25)
"""Percent that each priority leaves alone: all calls stop at 90, backfill at 75."""

META_USAGE_HOLDS_SECONDS: Final = 5 * _MINUTE
"""How long a percentage is believed where Meta names no time; it falls within an hour."""

META_JOBS_PER_ACCOUNT: Final = 10
"""Asynchronous reports of an account at a time; Meta publishes no number."""

META_JOB_LEASE_SECONDS: Final = 10 * _MINUTE

_META_APP_CODES: Final = frozenset({4, 341})
_META_POLICY_CODE: Final = 368
_META_ACCOUNT_CODES: Final = frozenset({17, 32, 613, *range(80000, 80007), 80008, 80009, 80014})
_META_UNTOLD_WAIT_SECONDS: Final = 5 * _MINUTE


def meta_percent(key: RateKey) -> Limit:
    """Return the usage of an app or an account, which only Meta counts."""
    return Limit(key, "percent", 100, _HOUR, Renewal.TOLD, META_PERCENT_KEPT)


def meta_limits(app: RateKey, *, account_id: str) -> tuple[Limit, ...]:
    """Return what each call to Meta falls under."""
    return meta_percent(app), meta_percent(account_key(app.org, META, account_id))


def meta_jobs(org: str, *, account_id: str, capacity: int = META_JOBS_PER_ACCOUNT) -> Limit:
    """Return the room for asynchronous reports of an account, from start to last page."""
    key = account_key(org, META, account_id)
    return Limit(key, "jobs", capacity, META_JOB_LEASE_SECONDS, Renewal.LEASED)


def meta_usage(headers: Mapping[str, str], app: RateKey, *, account_id: str) -> Usage:
    """Read the usage headers of an answer; failures have them too."""
    of_app, account = meta_limits(app, account_id=account_id)

    def use_cases(body: object) -> Iterator[Observation]:
        for listed in _object(body).values():
            for entry in _array(listed):
                minutes = _number(entry, "estimated_time_to_regain_access", default=0)
                yield _meta_percent_of(account, _highest(entry), minutes * _MINUTE)

    def app_usage(body: object) -> Iterator[Observation]:
        yield _meta_percent_of(of_app, _highest(body))

    def account_usage(body: object) -> Iterator[Observation]:
        used = _number(body, "acc_id_util_pct")
        reset = _number(body, "reset_time_duration", default=0)
        held = capped_seconds(reset or META_USAGE_HOLDS_SECONDS)
        yield Observation(account, used, held, _meta_reason(account, used))

    def insights(body: object) -> Iterator[Observation]:
        yield _meta_percent_of(of_app, _number(body, "app_id_util_pct", default=0))
        yield _meta_percent_of(account, _number(body, "acc_id_util_pct", default=0))

    return _read(
        headers,
        {
            "x-business-use-case-usage": use_cases,
            "x-app-usage": app_usage,
            "x-ad-account-usage": account_usage,
            "x-fb-ads-insights-throttle": insights,
        },
    )


def meta_block(code: int, app: RateKey, *, usage: Usage, account_id: str) -> Observation | None:
    """Return the block that an error of Meta asks for; None where the code is no limit.

    Args:
        code: The error's `code`.
        app: The app that called.
        usage: Headers of the same answer, as read; they know when access comes back.
        account_id: The account that was called for.
    """
    if code in _META_ACCOUNT_CODES:
        key, wait = account_key(app.org, META, account_id), _META_UNTOLD_WAIT_SECONDS
    elif code in _META_APP_CODES:
        key, wait = app, _META_UNTOLD_WAIT_SECONDS
    elif code == _META_POLICY_CODE:
        key, wait = app, _HOUR
    else:
        return None
    told = [
        seen.reset_seconds
        for seen in usage.observations
        if seen.limit.key == key and seen.used >= seen.limit.capacity
    ]
    reason = f"Meta refused a call for {key.scope} {key.key} with code {code}"
    return blocked(key, wait_seconds=max(told, default=wait), reason=reason)


def _meta_percent_of(limit: Limit, used: float, regain_seconds: float = 0.0) -> Observation:
    if regain_seconds > 0:
        used = max(used, limit.capacity)
    held = capped_seconds(regain_seconds if regain_seconds > 0 else META_USAGE_HOLDS_SECONDS)
    return Observation(limit, used, held, _meta_reason(limit, used))


def _meta_reason(limit: Limit, used: float) -> str:
    return f"Meta says that {limit.key.scope} {limit.key.key} has used {used:g} %"


def _highest(entry: object) -> float:
    return max(_number(entry, name) for name in ("call_count", "total_cputime", "total_time"))


# --- Google Ads ---


class GoogleAdsAccess(StrEnum):
    """Access level of the Cloud project that owns the OAuth client."""

    TEST = "test"
    EXPLORER = "explorer"
    BASIC = "basic"
    STANDARD = "standard"


GOOGLE_ADS_OPERATIONS_PER_DAY: Final[Mapping[GoogleAdsAccess, int | None]] = MappingProxyType(
    {
        GoogleAdsAccess.TEST: 2_880,
        GoogleAdsAccess.EXPLORER: 2_880,
        GoogleAdsAccess.BASIC: 15_000,
        GoogleAdsAccess.STANDARD: None,
    }
)
"""Rolling 24 h of the project; None is without limit."""

GOOGLE_ADS_CALLS_PER_SECOND: Final = 10
"""Of a customer and of the project; Google publishes no number and says when it is too many."""

_GOOGLE_ADS_WAITS_SECONDS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "RESOURCE_TEMPORARILY_EXHAUSTED": 30.0,
        "RESOURCE_EXHAUSTED": _HOUR,
        "EXCESSIVE_SHORT_TERM_QUERY_RESOURCE_CONSUMPTION": 5 * _MINUTE,
        "EXCESSIVE_LONG_TERM_QUERY_RESOURCE_CONSUMPTION": _HOUR,
    }
)


def google_ads_limits(
    project: RateKey, *, customer_id: str, access: GoogleAdsAccess
) -> tuple[Limit, ...]:
    """Return what each operation on Google Ads falls under, a search with all its pages being one.

    Args:
        project: The Cloud project that owns the OAuth client.
        customer_id: The customer that is asked about; empty where it is none.
        access: The project's access level.
    """
    of_customer = (account_key(project.org, GOOGLE_ADS, customer_id),) if customer_id else ()
    bursts = tuple(
        Limit(key, "calls", GOOGLE_ADS_CALLS_PER_SECOND, 1.0) for key in (project, *of_customer)
    )
    operations = GOOGLE_ADS_OPERATIONS_PER_DAY[access]
    if operations is None:
        return bursts
    return (*bursts, _of_day(project, "operations", operations))


def google_ads_block(
    error: str,
    project: RateKey,
    *,
    customer_id: str,
    rate_scope: str = "",
    rate_name: str = "",
    retry_seconds: float | None = None,
) -> Observation | None:
    """Return the block that a QuotaError asks for; None where the error is no limit.

    Args:
        error: Name of the QuotaError.
        project: The Cloud project that owns the OAuth client.
        customer_id: The customer that was asked about; empty where it was none.
        rate_scope: `quota_error_details.rate_scope`: ACCOUNT, or DEVELOPER for the project.
        rate_name: `quota_error_details.rate_name`.
        retry_seconds: `quota_error_details.retry_delay`; None where it is unset.
    """
    untold_wait = _GOOGLE_ADS_WAITS_SECONDS.get(error)
    if untold_wait is None:
        return None
    of_customer = rate_scope == "ACCOUNT" or (not rate_scope and error.startswith("EXCESSIVE_"))
    key = (
        account_key(project.org, GOOGLE_ADS, customer_id)
        if of_customer and customer_id
        else project
    )
    name = f" ({rate_name})" if rate_name else ""
    return blocked(
        key,
        wait_seconds=untold_wait if retry_seconds is None else retry_seconds,
        reason=f"Google Ads refused a call for {key.scope} {key.key} with {error}{name}",
    )


# --- Klaviyo ---


class KlaviyoEndpoint(StrEnum):
    """What Klaviyo counts by itself, for each account."""

    ACCOUNTS = "GET /api/accounts"
    CAMPAIGNS = "GET /api/campaigns"
    CAMPAIGN_MESSAGES = "GET /api/campaign-messages"
    FLOWS = "GET /api/flows"
    FLOW_ACTIONS = "GET /api/flows/{id}/flow-actions"
    METRICS = "GET /api/metrics"
    MAPPED_METRICS = "GET /api/mapped-metrics/{id}"
    EVENTS = "GET /api/events"
    METRIC_AGGREGATES = "POST /api/metric-aggregates"
    CAMPAIGN_VALUES_REPORTS = "POST /api/campaign-values-reports"
    FLOW_VALUES_REPORTS = "POST /api/flow-values-reports"
    FLOW_SERIES_REPORTS = "POST /api/flow-series-reports"


@dataclass(frozen=True, slots=True)
class KlaviyoRates:
    """Calls in windows of 1 s, 60 s and 24 h; None is without limit."""

    burst: int
    steady: int
    daily: int | None = None


KLAVIYO_RATES: Final[Mapping[KlaviyoEndpoint, KlaviyoRates]] = MappingProxyType(
    {
        KlaviyoEndpoint.ACCOUNTS: KlaviyoRates(1, 15),
        KlaviyoEndpoint.CAMPAIGNS: KlaviyoRates(10, 150),
        KlaviyoEndpoint.CAMPAIGN_MESSAGES: KlaviyoRates(10, 150),
        KlaviyoEndpoint.FLOWS: KlaviyoRates(3, 60),
        KlaviyoEndpoint.FLOW_ACTIONS: KlaviyoRates(3, 60),
        KlaviyoEndpoint.METRICS: KlaviyoRates(10, 150),
        KlaviyoEndpoint.MAPPED_METRICS: KlaviyoRates(3, 60),
        KlaviyoEndpoint.EVENTS: KlaviyoRates(350, 3500),
        KlaviyoEndpoint.METRIC_AGGREGATES: KlaviyoRates(3, 60),
        KlaviyoEndpoint.CAMPAIGN_VALUES_REPORTS: KlaviyoRates(1, 2, 225),
        KlaviyoEndpoint.FLOW_VALUES_REPORTS: KlaviyoRates(1, 2, 225),
        KlaviyoEndpoint.FLOW_SERIES_REPORTS: KlaviyoRates(1, 2, 225),
    }
)
"""What Klaviyo publishes as `x-klaviyo-ratelimit` for revision 2026-10-15."""

KLAVIYO_MARGIN_SECONDS: Final = 0.25
"""Added to short windows: calls arrive as far apart as they were sent only give or take this."""

_KLAVIYO_UNTOLD_WAIT_SECONDS: Final = _MINUTE


def klaviyo_limits(org: str, *, account_id: str, endpoint: KlaviyoEndpoint) -> tuple[Limit, ...]:
    """Return what each call of an endpoint falls under."""
    rates = KLAVIYO_RATES[endpoint]
    key = endpoint_key(org, KLAVIYO, account_id, endpoint)
    limits = (
        gate(account_key(org, KLAVIYO, account_id)),
        Limit(key, "calls", rates.burst, 1 + KLAVIYO_MARGIN_SECONDS),
        _klaviyo_steady(key, rates),
    )
    return limits if rates.daily is None else (*limits, _of_day(key, "calls", rates.daily))


def klaviyo_usage(
    status: int, headers: Mapping[str, str], *, org: str, account_id: str, endpoint: KlaviyoEndpoint
) -> Usage:
    """Read what an answer tells: `Retry-After` of a 429, `RateLimit-*` of all others."""
    key = endpoint_key(org, KLAVIYO, account_id, endpoint)
    steady = _klaviyo_steady(key, KLAVIYO_RATES[endpoint])
    found = {name.lower(): value for name, value in headers.items()}

    def number(name: str) -> float:
        return _finite(float(found[name]))

    if status == 429:
        reason = f"Klaviyo refused a call of {endpoint} for account {account_id} with 429"
        unreadable: tuple[str, ...] = ()
        try:
            wait = number("retry-after")
        except (KeyError, ValueError):
            wait, unreadable = _KLAVIYO_UNTOLD_WAIT_SECONDS, _present(found, "retry-after")
        return Usage((blocked(key, wait_seconds=wait, reason=reason),), unreadable)

    try:
        used = max(0.0, steady.capacity - number("ratelimit-remaining"))
        reset = capped_seconds(number("ratelimit-reset"))
    except (KeyError, ValueError):
        return Usage((), _present(found, "ratelimit-remaining", "ratelimit-reset"))
    reason = f"Klaviyo says that others call {endpoint} for account {account_id}"
    return Usage((Observation(steady, used, reset, reason),))


def _klaviyo_steady(key: RateKey, rates: KlaviyoRates) -> Limit:
    return Limit(key, "calls", rates.steady, _MINUTE + KLAVIYO_MARGIN_SECONDS)


# --- Headers ---


class _UnreadableError(ValueError):
    """A header is not what it should be."""


def _read(
    headers: Mapping[str, str], readers: Mapping[str, Callable[[object], Iterator[Observation]]]
) -> Usage:
    observations: list[Observation] = []
    unreadable: list[str] = []
    for name, value in headers.items():
        reader = readers.get(name.lower())
        if reader is None:
            continue
        try:
            # As a whole, so that a header that breaks off half way tells nothing.
            observations += list(reader(json.loads(value)))
        except (ValueError, OverflowError, RecursionError):
            unreadable.append(name.lower())
    return Usage(tuple(observations), tuple(unreadable))


def _object(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _UnreadableError("not an object")
    return value


def _array(value: object) -> list[object]:
    if not isinstance(value, list):
        raise _UnreadableError("not an array")
    return value


def _number(value: object, name: str, *, default: float | None = None) -> float:
    """Read a number that is finite and not negative."""
    number = _object(value).get(name, default)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise _UnreadableError(f"{name} is not a number")
    return _finite(float(number))


def _finite(number: float) -> float:
    if not (math.isfinite(number) and number >= 0):
        raise _UnreadableError("not a finite number from 0 on")
    return number


def _present(headers: Mapping[str, str], *names: str) -> tuple[str, ...]:
    return tuple(name for name in names if name in headers)
