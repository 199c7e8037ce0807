"""What goes wrong, as data: which fault, on which calls, after how many, how often.

A face asks its plan once for each call (`FaultPlan.take`) and then does what the fault's kind
says. A fault of a kind that the call's endpoint cannot have does not match, so that a plan may
name a kind and nothing else.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final

from liftos_platforms.truth import Platform


class FaultKind(StrEnum):
    """Everything that can go wrong, named for what happens."""

    # Any face that speaks HTTP.
    CONNECTION_RESET = "connection_reset"
    """The connection breaks before the call is handled."""
    ANSWER_LOST = "answer_lost"
    """The call is handled, and the connection breaks before its answer."""
    ANSWER_CUT_OFF = "answer_cut_off"
    """A chunked answer breaks off half way."""
    ANSWER_LENGTH_WRONG = "answer_length_wrong"
    """The answer promises more bytes than it sends."""
    ANSWER_NEVER_COMES = "answer_never_comes"
    """No byte comes until the caller hangs up."""
    ANSWER_IS_HTML = "answer_is_html"
    """Status 200 and a page for people."""
    ANSWER_IS_EMPTY = "answer_is_empty"
    """Status 200 and no byte."""
    SERVER_ERROR = "server_error"
    """Status 500 in the platform's own form."""
    BAD_GATEWAY = "bad_gateway"
    """Status 502 and a page for people."""
    SERVICE_UNAVAILABLE = "service_unavailable"
    """Status 503 and a page for people."""

    # More than one face.
    ROW_REPEATED = "row_repeated"
    """The last row of a page or chunk is also the first of the next."""
    CURSOR_INVALID = "cursor_invalid"
    """The place to read on from is no longer known."""

    # Meta: limits. `amount` is the minutes until access returns.
    APP_LIMITED = "app_limited"
    """4/1504022: the whole app has called too often."""
    ACCOUNT_LIMITED = "account_limited"
    """17/2446079: the ad account has called too often."""
    INSIGHTS_LIMITED = "insights_limited"
    """80000/2446079: the ad account has read too many insights."""
    MANAGEMENT_LIMITED = "management_limited"
    """80004/2446079: the ad account has read too many campaigns."""
    CALLS_LIMITED = "calls_limited"
    """613/1487742: too many calls of one kind."""

    # Meta: size.
    TOO_MUCH_DATA = "too_much_data"
    """Status 500 code 1 while limit x fields x days is above `amount`."""
    DATA_LIMIT_EXCEEDED = "data_limit_exceeded"
    """100/1487534: one call may not read so much."""
    FIELD_UNREADABLE = "field_unreadable"
    """A report fails if it has the field `field` and a row of `entity_id`."""

    # Meta: report runs.
    RUN_TOO_LARGE = "run_too_large"
    """The run fails with 2/1504038."""
    RUN_TIMED_OUT = "run_timed_out"
    """The run fails with 2/1504044."""
    RUN_STUCK_AT_START = "run_stuck_at_start"
    """The run never leaves 0 %."""
    RUN_STUCK_AT_END = "run_stuck_at_end"
    """The run stays `Job Running` at 100 %."""
    RUN_SKIPPED = "run_skipped"
    """The run ends as `Job Skipped`."""
    RUN_NOT_YET_VISIBLE = "run_not_yet_visible"
    """100/33 for a run that was just made."""
    RUN_EXPIRED = "run_expired"
    """The run is gone for good."""
    RESULTS_NOT_READY = "results_not_ready"
    """2601/1815107 for a run that says it has completed."""
    SUMMARY_NOT_READY = "summary_not_ready"
    """`Cannot include ... in summary param` for a run that says it has completed."""

    # Meta: answers.
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    """190/463."""
    DATA_IS_NULL = "data_is_null"
    """`{"data": null}`."""
    PAGING_IS_LIST = "paging_is_list"
    """`"paging": []` on a last page."""
    PAGE_IS_EMPTY = "page_is_empty"
    """`"data": []` with a next page before the rows."""
    ITEM_IS_NO_ROW = "item_is_no_row"
    """A page holds a bare text among its rows."""
    ACTION_TYPE_UNKNOWN = "action_type_unknown"
    """Rows hold an action type that nobody has seen."""
    FIELD_UNKNOWN = "field_unknown"
    """Rows hold a field that nobody asked for."""

    # Google Ads.
    QUOTA_TEMPORARILY_EXHAUSTED = "quota_temporarily_exhausted"
    """QuotaError 4 with a retry delay of `amount` seconds."""
    QUOTA_EXHAUSTED = "quota_exhausted"
    """QuotaError 2: the day's operations are gone."""
    QUOTA_ACCESS_PROHIBITED = "quota_access_prohibited"
    """QuotaError 3."""
    QUERIES_TOO_HEAVY_SHORT_TERM = "queries_too_heavy_short_term"
    """QuotaError 5."""
    QUERIES_TOO_HEAVY_LONG_TERM = "queries_too_heavy_long_term"
    """QuotaError 6."""
    EXHAUSTED_WITHOUT_DETAILS = "exhausted_without_details"
    """RESOURCE_EXHAUSTED and no failure message."""
    UNAVAILABLE_AT_START = "unavailable_at_start"
    """UNAVAILABLE before the first row."""
    UNAVAILABLE_MID_STREAM = "unavailable_mid_stream"
    """UNAVAILABLE after some rows."""
    UNAVAILABLE_AT_END = "unavailable_at_end"
    """UNAVAILABLE after the last row."""
    INTERNAL_TRANSIENT = "internal_transient"
    """INTERNAL with InternalError.TRANSIENT_ERROR."""
    STREAM_HANGS = "stream_hangs"
    """A stream opens and no row comes."""
    SERVER_DEADLINE = "server_deadline"
    """DEADLINE_EXCEEDED by the server's own clock."""
    ACCESS_TOKEN_EXPIRED = "access_token_expired"  # noqa: S105
    """UNAUTHENTICATED with AuthenticationError.OAUTH_TOKEN_EXPIRED."""
    ACCESS_REVOKED = "access_revoked"
    """UNAUTHENTICATED with AuthenticationError.OAUTH_TOKEN_REVOKED."""
    GRANT_INVALID = "grant_invalid"
    """The token endpoint answers invalid_grant."""
    TOKEN_ENDPOINT_DOWN = "token_endpoint_down"  # noqa: S105
    """The token endpoint answers 503."""
    PERMISSION_DENIED = "permission_denied"
    """PERMISSION_DENIED with AuthorizationError.USER_PERMISSION_DENIED."""
    CUSTOMER_NOT_ENABLED = "customer_not_enabled"
    """PERMISSION_DENIED with AuthorizationError.CUSTOMER_NOT_ENABLED."""
    VERSION_UNSUPPORTED = "version_unsupported"
    """INVALID_ARGUMENT with RequestError.UNSUPPORTED_VERSION."""
    PAGE_TOKEN_EXPIRED = "page_token_expired"  # noqa: S105
    """INVALID_ARGUMENT with RequestError.EXPIRED_PAGE_TOKEN."""
    MESSAGE_OVERSIZE = "message_oversize"
    """One message of more than 64 MiB."""
    ENUM_UNKNOWN = "enum_unknown"
    """A row holds an enum's number 999."""
    SERVER_GOES_AWAY = "server_goes_away"
    """The server restarts: GOAWAY, and the port is back soon."""

    # Klaviyo. `amount` is the Retry-After in seconds.
    BURST_LIMITED = "burst_limited"
    """429 of the second's window."""
    STEADY_LIMITED = "steady_limited"
    """429 of the minute's window."""
    DAILY_LIMITED = "daily_limited"
    """429 of the day's window, hours of Retry-After."""
    LIMITED_WITHOUT_RETRY_AFTER = "limited_without_retry_after"
    """429 that does not say when."""
    KEY_REJECTED = "key_rejected"
    """401."""
    SCOPE_MISSING = "scope_missing"
    """403 for a missing scope."""
    REVISION_GONE = "revision_gone"
    """410."""
    GATEWAY_TIMEOUT = "gateway_timeout"
    """504 and a page for people."""
    ORIGIN_TIMEOUT = "origin_timeout"
    """524 and a page for people."""
    CHALLENGE = "challenge"
    """403 and a page that asks whether a person is there."""
    EVENT_IN_FUTURE = "event_in_future"
    """An event a year ahead."""
    EVENT_TIMESTAMPS_EQUAL = "event_timestamps_equal"
    """Events of one moment on both sides of a page's edge."""
    EVENT_TIMESTAMP_FLOAT = "event_timestamp_float"
    """`1790000000.0` where a whole number stands."""
    EVENT_METRIC_NULL = "event_metric_null"
    """An event whose metric is null."""
    EVENT_ATTRIBUTIONS_EMPTY = "event_attributions_empty"
    """An event without attributions."""
    EVENT_PROPERTIES_HUGE = "event_properties_huge"
    """An event with megabytes of properties."""
    LINKS_MISSING = "links_missing"
    """An answer, and its items, without `links`."""
    TYPE_UNKNOWN = "type_unknown"
    """An item of a type that nobody has seen."""
    SERIES_TOO_SHORT = "series_too_short"
    """A series with fewer values than `date_times`."""
    STATISTIC_NULL = "statistic_null"
    """A statistic that is null."""
    STATISTIC_NAN = "statistic_nan"
    """A statistic that is NaN, which is no JSON."""
    STATISTIC_UNKNOWN = "statistic_unknown"
    """A statistic that nobody asked for."""
    NEXT_LINK_FOREIGN = "next_link_foreign"
    """`links.next` points at another host."""
    CAMPAIGN_GONE_BETWEEN_PAGES = "campaign_gone_between_pages"
    """A campaign is deleted while its list is read, and all later ones move up."""


@dataclass(frozen=True, slots=True)
class FaultScope:
    """Where a kind of fault can strike, and whether a patient reader gets over it.

    Attributes:
        endpoints: Names of a face's endpoints, also with `*`; empty for all.
        is_passing: Whether the same data come in the end, if the fault strikes a few times only.
    """

    platforms: frozenset[Platform]
    endpoints: tuple[str, ...] = ()
    is_passing: bool = True


def _scopes() -> Mapping[FaultKind, FaultScope]:
    kind = FaultKind
    everyone = frozenset(Platform)
    http = frozenset({Platform.META, Platform.KLAVIYO})
    meta, google, klaviyo = (frozenset({platform}) for platform in Platform)
    reports = ("insights", "insights_submit", "report_run_insights")
    pages = ("report_run_insights", "insights", "campaigns", "adsets", "ads", "adaccounts")
    rows = ("report_run_insights", "insights")
    streams = ("search", "search_stream")
    klaviyo_reports = ("*-values-reports", "*-series-reports", "metric-aggregates")
    scopes = dict.fromkeys(
        (
            kind.CONNECTION_RESET,
            kind.ANSWER_LOST,
            kind.ANSWER_CUT_OFF,
            kind.ANSWER_LENGTH_WRONG,
            kind.ANSWER_NEVER_COMES,
            kind.ANSWER_IS_HTML,
            kind.ANSWER_IS_EMPTY,
            kind.SERVER_ERROR,
            kind.BAD_GATEWAY,
            kind.SERVICE_UNAVAILABLE,
        ),
        FaultScope(http),
    )
    scopes |= {
        kind.ROW_REPEATED: FaultScope(everyone, (*rows, *streams, "events")),
        kind.CURSOR_INVALID: FaultScope(http, (*pages, "events", "metrics", "flows")),
        kind.APP_LIMITED: FaultScope(meta),
        kind.ACCOUNT_LIMITED: FaultScope(meta),
        kind.INSIGHTS_LIMITED: FaultScope(meta, reports),
        kind.MANAGEMENT_LIMITED: FaultScope(meta, ("campaigns", "adsets", "ads", "account")),
        kind.CALLS_LIMITED: FaultScope(meta),
        kind.TOO_MUCH_DATA: FaultScope(meta, rows, is_passing=False),
        kind.DATA_LIMIT_EXCEEDED: FaultScope(meta, reports),
        kind.FIELD_UNREADABLE: FaultScope(meta, ("insights", "insights_submit"), is_passing=False),
        kind.RUN_TOO_LARGE: FaultScope(meta, ("insights_submit",)),
        kind.RUN_TIMED_OUT: FaultScope(meta, ("insights_submit",)),
        kind.RUN_STUCK_AT_START: FaultScope(meta, ("insights_submit",)),
        kind.RUN_STUCK_AT_END: FaultScope(meta, ("insights_submit",)),
        kind.RUN_SKIPPED: FaultScope(meta, ("insights_submit",)),
        kind.RUN_NOT_YET_VISIBLE: FaultScope(meta, ("report_run",)),
        kind.RUN_EXPIRED: FaultScope(meta, ("report_run", "report_run_insights")),
        kind.RESULTS_NOT_READY: FaultScope(meta, ("report_run_insights",)),
        kind.SUMMARY_NOT_READY: FaultScope(meta, ("report_run_insights",)),
        kind.TOKEN_EXPIRED: FaultScope(meta, is_passing=False),
        kind.DATA_IS_NULL: FaultScope(meta, pages),
        kind.PAGING_IS_LIST: FaultScope(meta, pages),
        kind.PAGE_IS_EMPTY: FaultScope(meta, pages),
        kind.ITEM_IS_NO_ROW: FaultScope(meta, rows),
        kind.ACTION_TYPE_UNKNOWN: FaultScope(meta, rows),
        kind.FIELD_UNKNOWN: FaultScope(meta, rows),
        kind.QUOTA_TEMPORARILY_EXHAUSTED: FaultScope(google, streams),
        kind.QUOTA_EXHAUSTED: FaultScope(google, streams),
        kind.QUOTA_ACCESS_PROHIBITED: FaultScope(google, streams, is_passing=False),
        kind.QUERIES_TOO_HEAVY_SHORT_TERM: FaultScope(google, streams),
        kind.QUERIES_TOO_HEAVY_LONG_TERM: FaultScope(google, streams),
        kind.EXHAUSTED_WITHOUT_DETAILS: FaultScope(google, streams),
        kind.UNAVAILABLE_AT_START: FaultScope(google, streams),
        kind.UNAVAILABLE_MID_STREAM: FaultScope(google, streams),
        kind.UNAVAILABLE_AT_END: FaultScope(google, streams),
        kind.INTERNAL_TRANSIENT: FaultScope(google, streams),
        kind.STREAM_HANGS: FaultScope(google, streams),
        kind.SERVER_DEADLINE: FaultScope(google, streams),
        kind.ACCESS_TOKEN_EXPIRED: FaultScope(google, streams),
        kind.ACCESS_REVOKED: FaultScope(google, streams, is_passing=False),
        kind.GRANT_INVALID: FaultScope(google, ("token",), is_passing=False),
        kind.TOKEN_ENDPOINT_DOWN: FaultScope(google, ("token",)),
        kind.PERMISSION_DENIED: FaultScope(google, streams, is_passing=False),
        kind.CUSTOMER_NOT_ENABLED: FaultScope(google, streams, is_passing=False),
        kind.VERSION_UNSUPPORTED: FaultScope(google, is_passing=False),
        kind.PAGE_TOKEN_EXPIRED: FaultScope(google, ("search",)),
        kind.MESSAGE_OVERSIZE: FaultScope(google, streams),
        kind.ENUM_UNKNOWN: FaultScope(google, streams),
        kind.SERVER_GOES_AWAY: FaultScope(google, streams),
        kind.BURST_LIMITED: FaultScope(klaviyo),
        kind.STEADY_LIMITED: FaultScope(klaviyo),
        kind.DAILY_LIMITED: FaultScope(klaviyo, klaviyo_reports),
        kind.LIMITED_WITHOUT_RETRY_AFTER: FaultScope(klaviyo),
        kind.KEY_REJECTED: FaultScope(klaviyo, is_passing=False),
        kind.SCOPE_MISSING: FaultScope(klaviyo, is_passing=False),
        kind.REVISION_GONE: FaultScope(klaviyo, is_passing=False),
        kind.GATEWAY_TIMEOUT: FaultScope(klaviyo),
        kind.ORIGIN_TIMEOUT: FaultScope(klaviyo),
        kind.CHALLENGE: FaultScope(klaviyo),
        kind.EVENT_IN_FUTURE: FaultScope(klaviyo, ("events",)),
        kind.EVENT_TIMESTAMPS_EQUAL: FaultScope(klaviyo, ("events",)),
        kind.EVENT_TIMESTAMP_FLOAT: FaultScope(klaviyo, ("events",)),
        kind.EVENT_METRIC_NULL: FaultScope(klaviyo, ("events",)),
        kind.EVENT_ATTRIBUTIONS_EMPTY: FaultScope(klaviyo, ("events",)),
        kind.EVENT_PROPERTIES_HUGE: FaultScope(klaviyo, ("events",)),
        kind.LINKS_MISSING: FaultScope(klaviyo),
        kind.TYPE_UNKNOWN: FaultScope(klaviyo, ("events", "campaigns", "flows", "metrics")),
        kind.SERIES_TOO_SHORT: FaultScope(klaviyo, ("*-series-reports", "metric-aggregates")),
        kind.STATISTIC_NULL: FaultScope(klaviyo, klaviyo_reports),
        kind.STATISTIC_NAN: FaultScope(klaviyo, klaviyo_reports),
        kind.STATISTIC_UNKNOWN: FaultScope(klaviyo, klaviyo_reports),
        kind.NEXT_LINK_FOREIGN: FaultScope(klaviyo, ("events", "campaigns", "flows", "metrics")),
        kind.CAMPAIGN_GONE_BETWEEN_PAGES: FaultScope(klaviyo, ("campaigns",)),
    }
    return MappingProxyType(scopes)


SCOPES: Final = _scopes()
"""Where each kind can strike."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call, as far as faults and the journal care.

    Attributes:
        endpoint: The face's own short name of what is called, as `report_run_insights`.
        account_id: Empty where the call is about no single account.
        first_day, last_day: The days that are asked for, inclusive; None where there are none.
        parameters: What was asked, as text, without credentials.
    """

    platform: Platform
    endpoint: str
    account_id: str = ""
    first_day: date | None = None
    last_day: date | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that waits for its calls.

    Attributes:
        endpoint: Which endpoints, also with `*`.
        account_id: Which account; empty for any.
        day: Only calls that ask for this day.
        where: Only calls with these parameters, values also with `*`.
        skip: How many matching calls go well before.
        times: How many matching calls it strikes; None for all from then on.
        amount: What the kind needs a number for (seconds, minutes, a size).
        field: What the kind needs a name for.
        entity_id: What the kind needs an entity for; empty for any.
    """

    kind: FaultKind
    platform: Platform
    endpoint: str = "*"
    account_id: str = ""
    day: date | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    skip: int = 0
    times: int | None = 1
    amount: int | None = None
    field: str = ""
    entity_id: str = ""

    def __post_init__(self) -> None:
        scope = SCOPES[self.kind]
        if self.platform not in scope.platforms:
            raise ValueError(f"{self.platform.value} has no fault {self.kind.value}")

    def matches(self, call: Call) -> bool:
        """Whether a call is one that this fault is for."""
        endpoints = SCOPES[self.kind].endpoints
        return (
            call.platform is self.platform
            and fnmatchcase(call.endpoint, self.endpoint)
            and (not endpoints or any(fnmatchcase(call.endpoint, name) for name in endpoints))
            and self.account_id in {"", call.account_id}
            and (self.day is None or _asks_for(call, self.day))
            and all(
                fnmatchcase(call.parameters.get(name, ""), value)
                for name, value in self.where.items()
            )
        )


def _asks_for(call: Call, day: date) -> bool:
    if call.first_day is None or call.last_day is None:
        return False
    return call.first_day <= day <= call.last_day


@dataclass(slots=True)
class FaultPlan:
    """The faults that wait, and how often each has been passed."""

    faults: list[Fault] = field(default_factory=list)
    _seen: dict[int, int] = field(default_factory=dict)

    def add(self, *faults: Fault) -> None:
        """Add faults behind those that wait."""
        self.faults.extend(faults)

    def clear(self) -> None:
        """Let everything go well from now on."""
        self.faults.clear()
        self._seen.clear()

    def take(
        self, call: Call, *, applies: Callable[[Fault], bool] = lambda _: True
    ) -> Fault | None:
        """The fault that strikes this call: the first that is due. Every match counts a call.

        Args:
            call: The call.
            applies: What else the face knows; a fault that does not apply has not seen the call.
                A face that asks twice for one call must ask for different kinds.
        """
        struck = None
        for place, fault in enumerate(self.faults):
            if not fault.matches(call) or not applies(fault):
                continue
            seen = self._seen.get(place, 0)
            is_due = seen >= fault.skip and (fault.times is None or seen < fault.skip + fault.times)
            if is_due and struck is not None:
                continue
            self._seen[place] = seen + 1
            if is_due:
                struck = fault
        return struck

    def unstruck(self) -> tuple[Fault, ...]:
        """Faults that have not struck as often as they should; a test that ends has none."""
        return tuple(
            fault
            for place, fault in enumerate(self.faults)
            if self._seen.get(place, 0) < fault.skip + (1 if fault.times is None else fault.times)
        )


def random_plan(
    seed: int,
    platform: Platform,
    *,
    count: int,
    kinds: Sequence[FaultKind] = (),
    maximum_skip: int = 20,
) -> tuple[Fault, ...]:
    """Faults at random places, the same for the same seed.

    Args:
        seed: Of the choice.
        platform: Whose faults.
        count: How many faults.
        kinds: From which kinds; empty for all of the platform that pass (`is_passing`) and do not
            make a caller wait for its own timeout.
        maximum_skip: How many calls may go well before one.
    """
    chosen = tuple(kinds) or tuple(
        kind
        for kind, scope in SCOPES.items()
        if platform in scope.platforms and scope.is_passing and kind not in _WAITED_OUT
    )
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    return tuple(
        Fault(
            chance.choice(chosen),
            platform,
            skip=chance.randint(0, maximum_skip),
            times=chance.randint(1, 2),
        )
        for _ in range(count)
    )


_WAITED_OUT: Final = frozenset(
    {
        FaultKind.ANSWER_NEVER_COMES,
        FaultKind.STREAM_HANGS,
        FaultKind.RUN_STUCK_AT_START,
        FaultKind.RUN_STUCK_AT_END,
    }
)
