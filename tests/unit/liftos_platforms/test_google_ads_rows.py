"""The rows of a query are the truth's rows, as the platform shows them."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_platforms import truth
from liftos_platforms.google_ads.catalogue import DATE_SEGMENTS, Catalogue
from liftos_platforms.google_ads.gaql import GaqlError, parse_query
from liftos_platforms.google_ads.messages import Row, StreamResponse
from liftos_platforms.google_ads.metrics import METRICS, Figures, Totals, added
from liftos_platforms.google_ads.plan import Plan, check_query
from liftos_platforms.google_ads.rendering import (
    Chunk,
    Rendering,
    halves,
    padded,
    render,
    repeated_before,
    summary_row,
)
from liftos_platforms.google_ads.rows import Line, days_of, lines_of
from liftos_platforms.truth import Account, DateBasis, Level, Metric, Platform
from liftos_platforms.worlds import WorldPlan, build_world

_WORLD = build_world(WorldPlan())
_NOW = datetime(2026, 11, 15, 12, tzinfo=UTC)
_CATALOGUE = Catalogue(Row.DESCRIPTOR)
_LEVELS = {
    "customer": Level.ACCOUNT,
    "campaign": Level.CAMPAIGN,
    "ad_group": Level.AD_GROUP,
    "ad_group_ad": Level.AD,
}
_READABLE = ("1112223331", "1112223332", "1112223333", "1112223334", "1112223335")


def _account(account_id: str) -> Account:
    account = truth.account_of(_WORLD, Platform.GOOGLE_ADS, account_id)
    assert account is not None
    return account


def _plan(text: str, account: Account) -> Plan:
    today = truth.local_day(account, _NOW)
    query = parse_query(text)
    return check_query(query, _CATALOGUE, today=today, is_manager=account.is_manager)


async def _rows(text: str, account_id: str = "1112223331", *, chunk_rows: int = 7) -> list[Any]:
    account = _account(account_id)
    plan = _plan(text, account)
    lines = lines_of(plan, _WORLD, account, now=_NOW)
    rendering = render(plan, lines, chunk_rows=chunk_rows, totals=False)
    rows: list[Any] = []
    place = 0
    while (chunk := await rendering.chunk(place)) is not None:
        parsed = StreamResponse.FromString(chunk.results).results
        assert len(parsed) == chunk.row_count <= chunk_rows
        assert bytes(parsed[-1].SerializeToString()) == bytes(
            Row.FromString(chunk.last_row).SerializeToString()
        )
        rows.extend(parsed)
        place += 1
    assert rendering.row_count == len(rows)
    return rows


def _known(
    account_id: str, level: Level, day: date, basis: DateBasis = DateBasis.INTERACTION
) -> tuple[truth.Row, ...]:
    return truth.rows(
        _WORLD, _account(account_id), level=level, day=day, now=_NOW, date_basis=basis
    )


@pytest.mark.parametrize("account_id", _READABLE)
@pytest.mark.parametrize("resource", list(_LEVELS))
async def test_a_days_rows_are_the_truths(account_id: str, resource: str) -> None:
    """Every level of every account gives each row of the truth once, to the micro."""
    level = _LEVELS[resource]
    day = truth.local_day(_account(account_id), _NOW) - timedelta(days=4)
    identity = {
        Level.ACCOUNT: "customer.id",
        Level.CAMPAIGN: "campaign.id",
        Level.AD_GROUP: "ad_group.id",
        Level.AD: "ad_group_ad.ad.id",
    }[level]
    rows = await _rows(
        f"SELECT {identity}, segments.date, metrics.cost_micros, metrics.impressions, "
        "metrics.clicks, metrics.conversions, metrics.conversions_value, metrics.all_conversions, "
        "metrics.view_through_conversions, metrics.video_trueview_views "
        f"FROM {resource} WHERE segments.date = '{day}'",
        account_id,
    )

    def id_of(row: Any) -> int:
        value = row
        for part in identity.split("."):
            value = getattr(value, part)
        return int(value)

    found = [
        (
            id_of(row),
            row.segments.date,
            row.metrics.cost_micros,
            row.metrics.impressions,
            row.metrics.clicks,
            round(row.metrics.conversions * 1_000_000),
            round(row.metrics.conversions_value * 1_000_000),
            round(row.metrics.all_conversions * 1_000_000),
            row.metrics.view_through_conversions * 1_000_000,
            row.metrics.video_trueview_views,
        )
        for row in rows
    ]
    assert found == [
        (
            int(known.entity.entity_id if known.entity else account_id),
            day.isoformat(),
            known.metrics[Metric.SPEND_MICROS],
            known.metrics[Metric.IMPRESSIONS],
            known.metrics[Metric.CLICKS],
            known.metrics[Metric.CONVERSIONS_MICROS],
            known.metrics[Metric.REVENUE_MICROS],
            known.metrics[Metric.ALL_CONVERSIONS_MICROS],
            known.metrics[Metric.VIEW_THROUGH_CONVERSIONS_MICROS],
            known.metrics[Metric.VIDEO_VIEWS],
        )
        for known in _known(account_id, level, day)
    ]
    assert bool(found) is (account_id != "1112223335")


async def test_performance_max_has_campaign_rows_and_no_ad_rows() -> None:
    """Ads sum to less than campaigns by exactly the campaigns that have no ads."""
    condition = "WHERE segments.date = '2026-11-01'"
    columns = "campaign.id, campaign.advertising_channel_type, segments.date, metrics.cost_micros"
    campaigns = await _rows(f"SELECT {columns} FROM campaign {condition}")
    ads = await _rows(f"SELECT {columns} FROM ad_group_ad {condition}")
    maximum = 10
    hidden = sum(
        row.metrics.cost_micros
        for row in campaigns
        if row.campaign.advertising_channel_type == maximum
    )
    assert hidden > 0
    assert all(row.campaign.advertising_channel_type != maximum for row in ads)
    assert sum(row.metrics.cost_micros for row in ads) == (
        sum(row.metrics.cost_micros for row in campaigns) - hidden
    )


async def test_only_what_is_selected_is_set_and_resource_names_come_along() -> None:
    """A row holds the selected fields and the names of their resources, unless they are refused."""
    query = "SELECT campaign.id, metrics.clicks, segments.date FROM campaign "
    condition = "WHERE segments.date = '2026-11-01'"
    (row, *_) = await _rows(query + condition)
    set_fields = {field.name for field, _ in row.campaign.ListFields()}
    assert set_fields == {"resource_name", "id"}
    assert row.campaign.resource_name == f"customers/1112223331/campaigns/{row.campaign.id}"
    assert {field.name for field, _ in row.ListFields()} == {"campaign", "metrics", "segments"}
    assert [field.name for field, _ in row.metrics.ListFields()] == ["clicks"]
    omitting = f"{query}{condition} PARAMETERS omit_unselected_resource_names = true"
    (row, *_) = await _rows(omitting)
    assert [field.name for field, _ in row.campaign.ListFields()] == ["id"]


async def test_rows_that_are_all_zero_stay_away_where_there_is_a_segment() -> None:
    """A metric that is zero on a day gives no row; another metric in the query brings it back."""
    condition = "WHERE segments.date BETWEEN '2026-11-01' AND '2026-11-07'"
    select = "SELECT campaign.id, segments.date, metrics.video_trueview_views"
    views = await _rows(f"{select} FROM campaign {condition}")
    both = await _rows(f"{select}, metrics.impressions FROM campaign {condition}")
    assert all(row.metrics.video_trueview_views for row in views)
    assert 0 < len(views) < len(both)
    everything = await _rows("SELECT campaign.id, metrics.video_trueview_views FROM campaign")
    assert len(everything) == 4
    assert [row.metrics.video_trueview_views == 0 for row in everything].count(True) == 3


async def test_without_a_segment_days_are_added_up() -> None:
    """A query without segments has one row for each campaign, the sum of its days."""
    condition = "WHERE segments.date BETWEEN '2026-11-01' AND '2026-11-07'"
    metrics = "metrics.cost_micros, metrics.conversions, metrics.ctr"
    daily = await _rows(
        f"SELECT campaign.id, segments.date, metrics.cost_micros FROM campaign {condition}"
    )
    sums: dict[int, int] = {}
    for row in daily:
        sums[row.campaign.id] = sums.get(row.campaign.id, 0) + row.metrics.cost_micros
    total = await _rows(f"SELECT campaign.id, {metrics} FROM campaign {condition}")
    assert {row.campaign.id: row.metrics.cost_micros for row in total} == sums
    monthly = await _rows(
        f"SELECT campaign.id, segments.month, {metrics} FROM campaign {condition}"
    )
    assert {row.campaign.id: row.metrics.cost_micros for row in monthly} == sums
    assert {row.segments.month for row in monthly} == {"2026-11-01"}


async def test_conversions_by_their_own_date_are_another_series() -> None:
    """Metrics dated by the conversion follow the truth's other date basis."""
    rows = await _rows(
        "SELECT campaign.id, segments.date, metrics.conversions, "
        "metrics.conversions_by_conversion_date FROM campaign WHERE segments.date = '2026-11-10'"
    )
    by_conversion = {
        int(known.entity.entity_id): known.metrics[Metric.CONVERSIONS_MICROS]
        for known in _known("1112223331", Level.CAMPAIGN, date(2026, 11, 10), DateBasis.CONVERSION)
        if known.entity is not None
    }
    found = {
        row.campaign.id: round(row.metrics.conversions_by_conversion_date * 1_000_000)
        for row in rows
    }
    assert {key: value for key, value in found.items() if value} == by_conversion
    assert any(
        row.metrics.conversions != row.metrics.conversions_by_conversion_date for row in rows
    )


async def test_people_are_reported_where_the_platform_counts_them() -> None:
    """Reach is unset, not zero, for search campaigns, and no sum of days for others."""
    rows = await _rows(
        "SELECT campaign.id, campaign.advertising_channel_type, segments.date, "
        "metrics.unique_users, metrics.impressions, metrics.average_impression_frequency_per_user "
        "FROM campaign WHERE segments.date = '2026-11-01'"
    )
    shown = (3, 6)
    for row in rows:
        is_counted = row.campaign.advertising_channel_type in shown
        assert row.metrics.HasField("unique_users") is is_counted
        if is_counted:
            assert row.metrics.average_impression_frequency_per_user == pytest.approx(
                row.metrics.impressions / row.metrics.unique_users
            )


async def test_conditions_order_and_limit() -> None:
    """Conditions on attributes, metrics and weekdays, sorting and a limit do what they say."""
    condition = "WHERE segments.date BETWEEN '2026-10-01' AND '2026-10-31'"
    rows = await _rows(
        "SELECT ad_group_ad.ad.id, campaign.advertising_channel_type, segments.date, "
        f"segments.day_of_week, metrics.clicks FROM ad_group_ad {condition} "
        "AND segments.day_of_week = MONDAY AND metrics.clicks > 20 "
        "AND campaign.advertising_channel_type IN (SEARCH, DISPLAY) "
        "ORDER BY metrics.clicks DESC, ad_group_ad.ad.id LIMIT 9"
    )
    assert len(rows) == 9
    keys = [(-row.metrics.clicks, row.ad_group_ad.ad.id) for row in rows]
    assert keys == sorted(keys)
    assert all(date.fromisoformat(row.segments.date).weekday() == 0 for row in rows)
    assert all(row.metrics.clicks > 20 for row in rows)
    assert {row.campaign.advertising_channel_type for row in rows} <= {2, 3}
    newest = await _rows(
        f"SELECT campaign.id, segments.date, metrics.clicks FROM campaign {condition} "
        "ORDER BY segments.date DESC"
    )
    days = [row.segments.date for row in newest]
    assert days == sorted(days, reverse=True)
    assert days[0] == "2026-10-31"


async def test_removed_ads_are_listed_and_report() -> None:
    """Without a condition on status, removed ads are there, as objects and in reports."""
    select = "SELECT ad_group_ad.ad.id, ad_group_ad.status"
    listed = await _rows(f"{select} FROM ad_group_ad")
    removed = {row.ad_group_ad.ad.id for row in listed if row.ad_group_ad.status == 4}
    assert removed
    reported = await _rows(
        f"{select}, segments.date, metrics.clicks FROM ad_group_ad "
        "WHERE segments.date BETWEEN '2026-07-01' AND '2026-07-31' AND ad_group_ad.status = REMOVED"
    )
    assert {row.ad_group_ad.ad.id for row in reported} == removed


async def test_a_manager_lists_everyone_below_once() -> None:
    """The tree gives each customer its shortest distance, whatever number of managers it has."""
    columns = "customer_client.id, customer_client.level, customer_client.currency_code"
    rows = await _rows(
        f"SELECT {columns} FROM customer_client WHERE customer_client.manager = FALSE",
        "9000000001",
    )
    levels = {row.customer_client.id: row.customer_client.level for row in rows}
    assert len(levels) == len(rows) == 6
    assert levels[1112223331] == 1
    assert levels[1112223333] == 2


async def test_conditions_on_metrics_hold_without_selected_metrics() -> None:
    """A condition on a metric filters objects also where no metric is selected."""
    condition = "WHERE segments.date BETWEEN '2026-11-01' AND '2026-11-07'"
    clicks = await _rows(f"SELECT campaign.id, metrics.clicks FROM campaign {condition}")
    limit = sorted(row.metrics.clicks for row in clicks)[1]
    found = await _rows(
        f"SELECT campaign.id FROM campaign {condition} AND metrics.clicks > {limit}"
    )
    assert {row.campaign.id for row in found} == {
        row.campaign.id for row in clicks if row.metrics.clicks > limit
    }
    assert len(found) == 2


async def test_changes_name_what_was_added_changed_and_removed() -> None:
    """The last change of each object shows, with its day and kind, as far as it is asked for."""
    rows = await _rows(
        "SELECT change_status.resource_type, change_status.resource_status, "
        "change_status.last_change_date_time, change_status.campaign, change_status.ad_group_ad, "
        "campaign.name FROM change_status WHERE change_status.last_change_date_time "
        "BETWEEN '2026-10-01' AND '2026-11-15' LIMIT 100"
    )
    changes = {(row.change_status.resource_type, row.change_status.resource_status) for row in rows}
    # A renamed campaign; ads that were added, moved or paused, and removed.
    assert changes == {(6, 3), (4, 2), (4, 3), (4, 4)}
    (campaign,) = (row for row in rows if row.change_status.resource_type == 6)
    assert campaign.change_status.campaign == "customers/1112223331/campaigns/23331000"
    assert campaign.campaign.name.endswith("(renamed)")
    assert len({row.change_status.last_change_date_time for row in rows}) == 1


def test_days_end_today_where_the_account_is_and_begin_37_months_back() -> None:
    """The range of days is cut to what is kept, in the account's own time zone."""
    ahead = _account("1112223334")
    query = "SELECT segments.date, metrics.clicks FROM campaign WHERE segments.date BETWEEN "
    now = datetime(2026, 11, 15, 12, tzinfo=UTC)
    plan = _plan(f"{query} '2026-11-14' AND '2027-01-01'", ahead)
    assert days_of(plan, _WORLD, ahead, now=now)[-1] == date(2026, 11, 16)
    later = datetime(2029, 8, 20, tzinfo=UTC)
    plan = _plan(f"{query} '2026-01-01' AND '2026-08-31'", ahead)
    days = days_of(plan, _WORLD, ahead, now=later)
    assert (days[0], days[-1]) == (date(2026, 7, 1), date(2026, 8, 31))


async def test_the_summary_row_holds_sums_and_their_ratios() -> None:
    """The summary of a query adds the rows up, and forms ratios from the sums."""
    account = _account("1112223331")
    plan = _plan(
        "SELECT campaign.id, segments.date, metrics.cost_micros, metrics.clicks, "
        "metrics.average_cpc, metrics.unique_users FROM campaign "
        "WHERE segments.date BETWEEN '2026-11-01' AND '2026-11-03'",
        account,
    )
    lines = list(lines_of(plan, _WORLD, account, now=_NOW))
    rendering = render(plan, lines, chunk_rows=4, totals=True)
    await rendering.complete()
    assert rendering.totals is not None
    summary = Row.FromString(summary_row(plan, rendering.totals))
    cost = sum(int(line.metrics[0] or 0) for line in lines)
    clicks = sum(int(line.metrics[1] or 0) for line in lines)
    assert (summary.metrics.cost_micros, summary.metrics.clicks) == (cost, clicks)
    assert summary.metrics.average_cpc == pytest.approx(cost / clicks)
    assert not summary.metrics.HasField("unique_users")
    assert not summary.HasField("campaign")


_SUMS = st.dictionaries(
    st.sampled_from([Metric.CLICKS, Metric.SPEND_MICROS, Metric.REACH]), st.integers(0, 10**12)
)


@given(st.lists(_SUMS, max_size=6))
def test_sums_are_exact_and_people_are_bounded(known: list[dict[Metric, int]]) -> None:
    """Counts add exactly; people are at least those of the best day and at most all of them."""
    total = added(known)
    totals = Totals()
    for sums in known:
        totals.add(Figures(sums, {}))
    for metric in (Metric.CLICKS, Metric.SPEND_MICROS):
        expected = sum(sums.get(metric, 0) for sums in known)
        assert total.get(metric, 0) == expected
        assert totals.figures().by_interaction.get(metric, 0) == expected
    people = [sums.get(Metric.REACH, 0) for sums in known]
    assert max(people, default=0) <= total.get(Metric.REACH, 0) <= sum(people)


@given(st.lists(st.integers(1, 2**62), min_size=1, max_size=9))
def test_chunks_can_be_cut_and_grown_without_losing_a_row(numbers: list[int]) -> None:
    """Halves join to the whole, a repeated row comes first, and padding changes no row."""
    message = StreamResponse()
    for number in numbers:
        message.results.add().campaign.id = number
    last = bytes(message.results[-1].SerializeToString())
    chunk = Chunk(bytes(message.SerializeToString()), len(numbers), last)

    def ids(part: Chunk) -> list[int]:
        parsed = StreamResponse.FromString(part.results).results
        assert len(parsed) == part.row_count
        return [row.campaign.id for row in parsed]

    first, second = halves(chunk)
    assert ids(first) + ids(second) == numbers
    assert ids(repeated_before(second, first.last_row)) == [ids(first)[-1], *ids(second)]
    large = padded(chunk, 100_000)
    assert ids(large) == numbers
    assert len(large.results) > 100_000


async def test_a_caller_that_goes_away_leaves_every_chunk_to_the_next() -> None:
    """A chunk that is rendered for a caller who has left is there for whoever comes later."""
    first_is_asked_for, may_go_on = threading.Event(), threading.Event()

    def slowly() -> Iterator[Chunk]:
        first_is_asked_for.set()
        may_go_on.wait(10)
        yield Chunk(b"one", 1, b"")
        yield Chunk(b"two", 1, b"")

    rendering = Rendering(slowly(), None)
    impatient = asyncio.create_task(rendering.chunk(0))
    await asyncio.to_thread(first_is_asked_for.wait, 10)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    may_go_on.set()
    chunks = [await rendering.chunk(place) for place in range(3)]
    assert [chunk and chunk.results for chunk in chunks] == [b"one", b"two", None]


async def test_an_answer_that_broke_never_looks_complete() -> None:
    """An error while rows are made comes back at every later call, in place of fewer rows."""

    def broken() -> Iterator[Chunk]:
        yield Chunk(b"one", 1, b"")
        raise ZeroDivisionError

    rendering = Rendering(broken(), None)
    assert await rendering.chunk(0) is not None
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await rendering.chunk(1)
    assert not rendering.is_complete


_SELECTABLE = (
    *(f"metrics.{metric}" for metric in METRICS),
    *DATE_SEGMENTS,
    "customer.currency_code",
    "campaign.id",
    "campaign.name",
    "campaign.status",
    "campaign.labels",
    "campaign.optimization_score",
    "ad_group.name",
    "ad_group_ad.ad.type",
)
_VALUES = ("1", "0.5", "'2026-11-02'", "'x%'", "ENABLED", "'[a'", "TRUE")
_TESTS = (
    *(f"{operator} {value}" for operator in ("=", "!=", "<", ">=") for value in _VALUES),
    *(f"{operator} ({value})" for operator in ("IN", "CONTAINS ANY") for value in _VALUES),
    "LIKE '%a%'",
    "REGEXP_MATCH '.*a'",
    "IS NULL",
    "IS NOT NULL",
    "BETWEEN 1 AND 5",
    "DURING LAST_7_DAYS",
)


@given(
    st.lists(st.sampled_from(_SELECTABLE), min_size=1, max_size=5),
    st.sampled_from(list(_LEVELS)),
    st.lists(st.tuples(st.sampled_from(_SELECTABLE), st.sampled_from(_TESTS)), max_size=2),
    st.lists(st.tuples(st.sampled_from(_SELECTABLE), st.sampled_from(["", "DESC"])), max_size=2),
)
def test_any_query_is_refused_or_answered(
    select: list[str],
    resource: str,
    where: list[tuple[str, str]],
    order_by: list[tuple[str, str]],
) -> None:
    """Whatever passes the checks can be answered, and its rows can be written."""
    conditions = ["segments.date BETWEEN '2026-11-01' AND '2026-11-02'"]
    conditions += [f"{name} {test}" for name, test in where]
    text = f"SELECT {', '.join(select)} FROM {resource} WHERE {' AND '.join(conditions)}"
    if order_by:
        text += " ORDER BY " + ", ".join(f"{name} {way}" for name, way in order_by)
    account = _account("1112223331")
    try:
        plan = _plan(text, account)
    except GaqlError:
        return
    lines = list(lines_of(plan, _WORLD, account, now=_NOW))
    rendering = asyncio.run(_rendered(plan, lines))
    assert rendering.row_count == len(lines)
    if plan.segments and plan.metrics:
        assert all(any(line.metrics) for line in lines)


async def _rendered(plan: Plan, lines: list[Line]) -> Rendering:
    rendering = render(plan, lines, chunk_rows=5, totals=True)
    await rendering.complete()
    assert rendering.totals is not None
    summary_row(plan, rendering.totals)
    return rendering
