"""What is asked of Insights is read strictly, and pages and quotas keep their promises."""

import json
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_platforms.clock import VirtualClock
from liftos_platforms.faults import Fault, FaultKind
from liftos_platforms.meta.errors import GraphError
from liftos_platforms.meta.pages import CURSOR_LIFETIME, Link, Page, body_of, page_of
from liftos_platforms.meta.queries import Report, months_before, read_report
from liftos_platforms.meta.runs import LIFETIME, Run, RunStatus
from liftos_platforms.meta.usage import MetaLimits, UsageMeter
from liftos_platforms.truth import EntityState, Level, Platform

NOW = datetime(2026, 11, 15, 12, tzinfo=UTC)
TODAY = NOW.date()
LINK = Link("http://graph/v26.0/1/insights", {"access_token": "t"})


def read(node_level: Level = Level.ACCOUNT, /, **params: str) -> Report:
    """Read parameters as an account's."""
    return read_report(params, account_id="1", node_id="1", node_level=node_level, today=TODAY)


def span(first: date, last: date) -> str:
    """A time range as JSON."""
    return json.dumps({"since": first.isoformat(), "until": last.isoformat()})


@given(st.integers(0, 900), st.integers(0, 120), st.sampled_from(["1", "7", "90", "monthly"]))
def test_increments_cover_a_range_once(age: int, length: int, increment: str) -> None:
    """The spans of rows follow each other from the first day to the last, both inclusive."""
    first = TODAY - timedelta(days=age)
    last = first + timedelta(days=length)
    ranges = read(time_range=span(first, last), time_increment=increment).ranges
    assert ranges[0][0] == first
    assert ranges[-1][1] == last
    for (_, end), (begin, _) in pairwise(ranges):
        assert begin == end + timedelta(days=1)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"fields": "spend,mystery"}, "mystery is not valid for fields param"),
        ({"fields": "spend,age", "breakdowns": "age"}, "age is not valid for fields param"),
        ({"fields": "ad_id", "level": "campaign"}, "ad_id is not valid"),
        ({"level": "adgroup"}, "level must be one of"),
        ({"mystery": "1"}, "mystery is not a known parameter"),
        ({"breakdowns": "dma"}, "no longer available"),
        ({"breakdowns": "place_page_id"}, "Current combination"),
        ({"action_attribution_windows": "90d_click"}, "must be one of the known values"),
        ({"time_range": '{"since":"2026-11-02"}'}, "time range"),
        ({"time_range": span(TODAY, TODAY - timedelta(days=1))}, "since is not after"),
        ({"time_range": "{"}, "valid JSON"),
        ({"time_increment": "91"}, "time_increment"),
        ({"filtering": '[{"field":"ad.mood","operator":"IN","value":[]}]'}, "ad.mood is invalid"),
        ({"filtering": '[{"field":"ad.id","operator":"IN","value":["1"]}]'}, "ad.id with level"),
        (
            {"level": "ad", "filtering": '[{"field":"ad.id","operator":"IN","value":"1"}]'},
            "does not fit operator",
        ),
        ({"sort": "reach_descending", "fields": "spend"}, "sort"),
    ],
)
def test_what_is_wrong_is_refused(params: dict[str, str], words: str) -> None:
    """Every slip is code 100 and says what is wrong."""
    with pytest.raises(GraphError, match=words) as caught:
        read(**params)
    assert caught.value.code == 100


def test_windows_that_are_gone_are_taken_and_not_answered() -> None:
    """7d_view and 28d_view raise no error and bring no numbers."""
    report = read(action_attribution_windows='["1d_click","7d_view","28d_view"]')
    assert report.windows == ("1d_click",)


def test_retention_ends_after_37_months_of_the_account() -> None:
    """The first day that is kept is served, the one before is code 3018."""
    first = date(2023, 10, 15)
    assert read(time_range=span(first, first)).first_day == first
    with pytest.raises(GraphError) as caught:
        read(time_range=span(first - timedelta(days=1), first))
    assert caught.value.code == 3018


def test_months_end_where_they_end() -> None:
    """A month before the 31st of March is the last of February."""
    assert months_before(date(2026, 3, 31), 1) == date(2026, 2, 28)
    assert months_before(date(2026, 1, 15), 1) == date(2025, 12, 15)


def test_statuses_choose_states() -> None:
    """A filter of the report's own level replaces the default."""
    condition = {"field": "ad.effective_status", "operator": "IN", "value": ["DELETED", "ACTIVE"]}
    report = read(Level.AD, filtering=json.dumps([condition]))
    assert report.states == frozenset({EntityState.DELETED, EntityState.ACTIVE})
    assert read(Level.AD).states is None


@given(st.integers(0, 60), st.integers(1, 12))
def test_pages_make_the_list(count: int, limit: int) -> None:
    """Following `after` until there is no `next` gives every item once; `after` is always there."""
    items = [b'{"n":%d}' % number for number in range(count)]
    found, after = [], None
    for _ in range(count + 1):
        page = page_of("mark", after, limit, NOW)
        body = json.loads(body_of(items, page, LINK))
        found += [row["n"] for row in body["data"]]
        if "next" not in body.get("paging", {}):
            break
        after = body["paging"]["cursors"]["after"]
        assert f"limit={limit}" in body["paging"]["next"]
    assert found == list(range(count))
    assert count == 0 or body["paging"]["cursors"]["after"]


@pytest.mark.parametrize("later", [timedelta(0), CURSOR_LIFETIME + timedelta(seconds=1)])
def test_a_cursor_is_of_one_list_and_one_hour(later: timedelta) -> None:
    """A foreign, damaged or old cursor is refused; a good one shows the first page's moment."""
    body = json.loads(body_of([b"{}", b"{}"], page_of("mark", None, 1, NOW), LINK))
    after = body["paging"]["cursors"]["after"]
    if later:
        with pytest.raises(GraphError):
            page_of("mark", after, 1, NOW + later)
        return
    assert page_of("mark", after, 1, NOW + timedelta(minutes=5)) == Page("mark", 1, 1, NOW)
    for wrong in ("other", "mark"):
        with pytest.raises(GraphError):
            page_of(wrong, after if wrong == "other" else after[:-6], 1, NOW)


def test_quotas_rise_and_come_back() -> None:
    """Usage is told in per cent, refuses at its limit, and is free again after an hour."""
    meter = UsageMeter(MetaLimits(insights=4))
    for place in range(4):
        meter.count("1", NOW + timedelta(minutes=place), is_insights=True)
    headers = meter.headers("1", is_insights=True, refused=None)
    assert json.loads(headers["x-fb-ads-insights-throttle"])["acc_id_util_pct"] == 100
    with pytest.raises(GraphError) as caught:
        meter.count("1", NOW + timedelta(minutes=10), is_insights=True)
    assert caught.value.code == 80000
    assert caught.value.regain_minutes == 50
    usage = meter.headers("1", is_insights=True, refused=caught.value)
    used = json.loads(usage["X-Business-Use-Case-Usage"])["1"][0]
    assert used["estimated_time_to_regain_access"] == 50
    meter.count("2", NOW, is_insights=True)
    meter.count("1", NOW + timedelta(minutes=61), is_insights=True)


def test_a_run_goes_on_as_it_is_polled() -> None:
    """A run is at 100 % once before it has completed, and is gone after thirty days."""
    run = Run("6023", read(), NOW)
    seen = [run.poll(NOW) for _ in range(5)]
    assert (RunStatus.RUNNING, 100) in seen
    assert seen[-1] == seen[-2] == (RunStatus.COMPLETED, 100)
    assert run.exists(NOW + LIFETIME - timedelta(seconds=1))
    assert not run.exists(NOW + LIFETIME)


def test_time_moves_a_run_on_too_unless_it_is_stuck() -> None:
    """Without a poll a run is done after some minutes; a stuck one never is."""
    later = NOW + timedelta(minutes=6)
    assert Run("1", read(), NOW).is_complete(later)
    stuck = Run("2", read(), NOW, Fault(FaultKind.RUN_STUCK_AT_END, Platform.META))
    assert not stuck.is_complete(later)
    assert stuck.poll(later + timedelta(days=1)) == (RunStatus.RUNNING, 100)


def test_a_clock_stands_or_runs() -> None:
    """A clock moves when it is told to, and refuses a time of no zone."""
    clock = VirtualClock(NOW)
    assert clock.advance(timedelta(hours=1)) == clock.now() == NOW + timedelta(hours=1)
    clock.set(NOW)
    assert clock.now() == NOW
    with pytest.raises(ValueError, match="no time zone"):
        clock.set(datetime(2026, 1, 1))  # noqa: DTZ001 - what the test is about
    assert VirtualClock(NOW, is_running=True).now() - NOW < timedelta(seconds=5)
