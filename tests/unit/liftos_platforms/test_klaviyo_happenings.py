"""Pages, single events and aggregates of Klaviyo's face, over the truth and without HTTP."""

import base64
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liftos_platforms import truth
from liftos_platforms.klaviyo.cursors import CursorKey
from liftos_platforms.klaviyo.endpoints import ENDPOINTS, Name
from liftos_platforms.klaviyo.events import event_page
from liftos_platforms.klaviyo.happenings import happenings
from liftos_platforms.klaviyo.library import Library, send_time
from liftos_platforms.klaviyo.metrics import DEFINITIONS, PLACED_ORDER, metric_id
from liftos_platforms.klaviyo.pages import page_of
from liftos_platforms.klaviyo.query import Query, read_query
from liftos_platforms.klaviyo.timeframes import Span
from liftos_platforms.klaviyo.tokens import (
    CLIENT_ID,
    CLIENT_SECRET,
    TokenRefusedError,
    Tokens,
)
from liftos_platforms.simulation import START, Simulation
from liftos_platforms.truth import DateBasis, Level, Metric, Platform

SIMULATION = Simulation()
ACCOUNT = SIMULATION.account(Platform.KLAVIYO, "KLvEU1")
EVENTS = next(one for one in ENDPOINTS if one.name is Name.EVENTS)
ORDER = next(one for one in DEFINITIONS if one.name == PLACED_ORDER)
DAY = date(2026, 11, 10)


def _library(now: datetime = START) -> Library:
    return Library(SIMULATION.world, ACCOUNT, now, "http://klaviyo.test")


@given(
    st.lists(st.tuples(st.integers(0, 5), st.text(max_size=2)), unique=True, max_size=30),
    st.integers(1, 7),
    st.booleans(),
)
def test_pages_hold_everything_once(
    keys: list[tuple[int, str]],
    size: int,
    descending: bool,
) -> None:
    """Reading on from each page's key gives every item once and in order, whatever the size."""
    read: list[CursorKey] = []
    after: CursorKey | None = None
    while True:
        shown = page_of([(key, key) for key in keys], after=after, size=size, descending=descending)
        read += shown.items
        after = shown.next_key
        if after is None:
            break
        assert len(shown.items) == size
    assert read == sorted(keys, reverse=descending)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 86_400), max_size=4))
def test_parts_of_a_day_hold_what_the_day_holds(cuts: list[int]) -> None:
    """Events and money of a day are neither lost nor doubled by cutting it anywhere."""
    begin, end = truth.day_bounds(ACCOUNT, DAY)
    edges = [begin, *(begin + timedelta(seconds=cut) for cut in sorted(set(cuts))), end]
    for happening in happenings(_library(), Span(begin, end), DEFINITIONS):
        parts = [happening.within(Span(low, high)) for low, high in pairwise(edges) if low < high]
        assert sum(part[0] for part in parts) == happening.count
        assert sum(part[2] for part in parts) == happening.value_micros


def _query(text: str, **more: str) -> Query:
    return read_query([("filter", text), *more.items()], EVENTS.query)


def test_single_events_fall_where_aggregates_count_them() -> None:
    """Each hour holds as many single events as its aggregate says, for every metric."""
    begin, end = truth.day_bounds(ACCOUNT, DAY)
    text = f"greater-or-equal(datetime,{begin.isoformat()}),less-than(datetime,{end.isoformat()})"
    page = event_page(_query(text), _library(), after=None, size=100_000)
    assert page.following is None
    counted: Counter[tuple[object, int]] = Counter()
    for item in page.items:
        relationships = item.resource["relationships"]
        attributes = item.resource["attributes"]
        assert isinstance(relationships, dict)
        assert isinstance(attributes, dict)
        hour = (attributes["timestamp"] - int(begin.timestamp())) // 3600
        counted[relationships["metric"]["data"]["id"], hour] += 1
    expected: Counter[tuple[object, int]] = Counter()
    for happening in happenings(_library(), Span(begin, end), DEFINITIONS):
        for hour in range(24):
            part = Span(begin + timedelta(hours=hour), begin + timedelta(hours=hour + 1))
            expected[metric_id(ACCOUNT, happening.definition), hour] += happening.within(part)[0]
    assert counted == +expected
    assert len(counted) > 50


def test_events_of_today_stay_where_they_are_as_the_day_goes_on() -> None:
    """What was read at noon is read again in the evening; what came since is not much older."""
    noon = datetime(2026, 11, 10, 11, tzinfo=UTC)
    begin, _ = truth.day_bounds(ACCOUNT, DAY)
    text = f"greater-or-equal(datetime,{begin.isoformat()})"

    def read(now: datetime) -> list[CursorKey]:
        return list(event_page(_query(text), _library(now), after=None, size=100_000).keys)

    early, late = read(noon), read(noon + timedelta(hours=6))
    assert early
    assert set(early) < set(late)
    assert max(int(key[0]) for key in early) <= noon.timestamp()
    # The truth counts a running day in thousandths, so an event may be known so much later.
    assert min(int(key[0]) for key in set(late) - set(early)) >= noon.timestamp() - 87


def test_revenue_of_events_is_the_truths() -> None:
    """Orders of a month are worth what the truth says, to the micro."""
    days = [date(2026, 10, 1) + timedelta(days=n) for n in range(31)]
    span = Span(truth.day_bounds(ACCOUNT, days[0])[0], truth.day_bounds(ACCOUNT, days[-1])[1])
    found = [one.values_micros() for one in happenings(_library(), span, (ORDER,))]
    expected = sum(
        row.metrics[Metric.REVENUE_MICROS]
        for day in days
        for row in SIMULATION.rows(
            Platform.KLAVIYO, "KLvEU1", level=Level.MESSAGE, day=day, date_basis=DateBasis.EVENT
        )
    )
    assert sum(map(sum, found)) == expected > 0


def test_some_campaigns_are_sent_exactly_at_midnight() -> None:
    """A timeframe that ends at midnight would count these for two days."""
    messages = truth.entities_of(
        SIMULATION.world, ACCOUNT, now=SIMULATION.clock.now(), level=Level.MESSAGE
    )
    sends = [one for one in messages if one.active_from == one.active_until]
    at_midnight = [
        one
        for one in sends
        if send_time(ACCOUNT, one) == truth.day_bounds(ACCOUNT, one.active_from)[0]
    ]
    assert 0 < len(at_midnight) < len(sends)
    for one in sends:
        begin, end = truth.day_bounds(ACCOUNT, one.active_from)
        assert begin <= send_time(ACCOUNT, one) < end


@pytest.mark.parametrize(
    ("credentials", "form", "error"),
    [
        ("", {"grant_type": "refresh_token", "refresh_token": "rt"}, "invalid_client"),
        ("Basic !!", {"grant_type": "refresh_token", "refresh_token": "rt"}, "invalid_client"),
        ("Basic YTpi", {"grant_type": "refresh_token", "refresh_token": "rt"}, "invalid_client"),
        ("good", {"grant_type": "password"}, "unsupported_grant_type"),
        ("good", {"grant_type": "refresh_token"}, "invalid_grant"),
        ("good", {"grant_type": "refresh_token", "refresh_token": "rt"}, "invalid_grant"),
    ],
)
def test_a_wrong_token_request_is_refused(
    credentials: str, form: dict[str, str], error: str
) -> None:
    """Each mistake has its own code, as OAuth names it."""
    good = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
    header = f"Basic {good}" if credentials == "good" else credentials
    with pytest.raises(TokenRefusedError) as caught:
        Tokens().refresh(header, form, SIMULATION.world, SIMULATION.clock.now())
    assert caught.value.error == error
