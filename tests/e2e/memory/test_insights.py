"""Insights through the server, on Postgres: found, kept, found again, rated, resolved."""

import asyncio
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import grpc
import pandas as pd
import pyarrow as pa
import pytest
from tests.e2e.memory.conftest import ClientFactory
from tests.e2e.memory.daily_clicks import (
    LAST,
    SPIKE,
    clicks_of,
    entries_of,
    rising,
    spiked,
    write,
)
from tests.inprocess.kit.statuses import refusal_of

from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import calendar_pb2, entry_pb2, insight_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_client import connect, connect_sync
from liftos_kit.auth import issue_token
from liftos_kit.testing.server import SECRET, RunningServer
from liftos_memory.domain.insight_series import MAXIMUM_SERIES
from liftos_memory.domain.write_token import decode_write_token


async def _generate(
    client: Any, org: str, *, start: date = date(2026, 4, 6), end: date = LAST, **fields: Any
) -> pb.GenerateInsightsResponse:
    answer: pb.GenerateInsightsResponse = await client.GenerateInsights(
        pb.GenerateInsightsRequest(
            parent=f"orgs/{org}",
            date_range=marketing_pb2.DateRange(
                start_date=start.isoformat(), end_date=end.isoformat()
            ),
            maximum_insights=500,
            **fields,
        )
    )
    return answer


def _of(
    insights: Iterable[insight_pb2.Insight], campaign: int, metric: str, pattern: str
) -> insight_pb2.Insight:
    (found,) = [
        it
        for it in insights
        if it.object.campaign_id == str(campaign)
        and it.metric == metric
        and it.pattern == insight_pb2.InsightPattern.Value(f"INSIGHT_PATTERN_{pattern}")
    ]
    return found


async def _stock(client: Any, org: str) -> None:
    """Write six campaigns: one that rises, one with a spike, four without either; and an event."""
    for campaign in range(1, 7):
        change = {1: rising, 2: spiked}.get(campaign, lambda _, clicks: clicks)
        await write(client, org, entries_of(campaign, change))
    await client.UpsertCalendarEvent(
        pb.UpsertCalendarEventRequest(
            calendar_event=calendar_pb2.CalendarEvent(
                name=f"orgs/{org}/calendarEvents/newsletter",
                display_name="Newsletter",
                date_range=marketing_pb2.DateRange(
                    start_date=SPIKE.isoformat(), end_date=SPIKE.isoformat()
                ),
            )
        )
    )


@pytest.fixture(scope="module")
async def shop(memory_client: ClientFactory) -> str:
    """An org with six campaigns, two of which stand out."""
    await _stock(memory_client("insight-shop"), "insight-shop")
    return "insight-shop"


async def test_what_stands_out_is_found_and_nothing_else(
    memory_client: ClientFactory, shop: str
) -> None:
    """A trend and a spike, with their figures; the four quiet campaigns have neither."""
    client = memory_client(shop)
    answer = await _generate(client, shop)
    trend = _of(answer.insights, 1, "clicks", "TREND")
    assert trend.direction == insight_pb2.INSIGHT_DIRECTION_UP
    assert trend.change == pytest.approx(0.02, abs=0.006)
    assert trend.change_low < 0.02 < trend.change_high
    assert trend.display_name == "Campaign 1"
    assert trend.summary.startswith("Clicks of campaign Campaign 1 (meta) rise by ")
    spike = _of(answer.insights, 2, "clicks", "POINT")
    assert spike.date_range.start_date == SPIKE.isoformat()
    assert spike.observed == 3 * clicks_of(2, SPIKE)
    assert spike.expected_low < spike.observed / 3 < spike.expected_high < spike.observed
    assert "Newsletter" in spike.context
    assert {it.object.campaign_id for it in answer.insights} <= {"1", "2"}
    assert answer.series_count == 6 * 6
    assert answer.insight_count == len(answer.insights)
    severities = [it.severity for it in answer.insights]
    assert severities == sorted(severities, reverse=True)
    assert all(0.0 < it.quality_score <= 1.0 for it in answer.insights)


async def test_the_same_finding_is_one_insight(memory_client: ClientFactory, shop: str) -> None:
    """Found twice it is confirmed, and nothing is resolved; a repeated request answers the same."""
    client = memory_client(shop)
    first = await _generate(client, shop)
    request_id = str(uuid4())
    second = await _generate(client, shop, request_id=request_id)
    assert [it.name for it in second.insights] == [it.name for it in first.insights]
    assert [it.summary for it in second.insights] == [it.summary for it in first.insights]
    assert second.resolved_count == 0
    again = await _generate(client, shop, request_id=request_id)
    assert again == second
    got = await client.GetInsight(pb.GetInsightRequest(name=first.insights[0].name))
    assert got.insight.create_time == first.insights[0].create_time


async def test_evidence_is_a_query_that_gives_the_numbers(
    memory_client: ClientFactory, shop: str
) -> None:
    """Sent as it is, it answers the spike, and as many entries as are behind it."""
    client = memory_client(shop)
    spike = _of((await _generate(client, shop)).insights, 2, "clicks", "POINT")
    evidence = spike.evidence
    rows = await client.QueryMetrics(
        pb.QueryMetricsRequest(
            parent=f"orgs/{shop}",
            date_range=evidence.date_range,
            level=entry_pb2.EntryLevel.Value(evidence.level),
            granularity=pb.Granularity.Value(evidence.granularity),
            group_by=evidence.group_by,
            filter=evidence.filter,
        )
    )
    by_day = {row.period_start_date: row.metrics.clicks for row in rows.rows}
    assert by_day[SPIKE.isoformat()] == spike.observed
    assert sum(row.entry_count for row in rows.rows) == evidence.entry_count
    assert decode_write_token(shop, evidence.write_token, field="write_token") > 0


async def test_an_insight_is_run_again_on_the_data_of_now(
    memory_client: ClientFactory, org: str
) -> None:
    """It holds until its day is restated; then the next run resolves it."""
    client = memory_client(org)
    for campaign in range(1, 4):
        change = spiked if campaign == 2 else lambda _, clicks: clicks
        await write(client, org, entries_of(campaign, change))
    spike = _of((await _generate(client, org)).insights, 2, "clicks", "POINT")
    rerun = await client.RerunInsight(pb.RerunInsightRequest(name=spike.name))
    assert rerun.holds
    assert rerun.insight.observed == spike.observed
    assert rerun.insight.summary == spike.summary
    assert len(rerun.evidence_rows) == 57
    await write(client, org, entries_of(2))
    rerun = await client.RerunInsight(pb.RerunInsightRequest(name=spike.name))
    assert not rerun.holds
    assert rerun.insight.state == insight_pb2.INSIGHT_STATE_RESOLVED
    stored = (await client.GetInsight(pb.GetInsightRequest(name=spike.name))).insight
    assert stored.state == insight_pb2.INSIGHT_STATE_ACTIVE
    answer = await _generate(client, org)
    assert answer.resolved_count >= 1
    stored = (await client.GetInsight(pb.GetInsightRequest(name=spike.name))).insight
    assert stored.state == insight_pb2.INSIGHT_STATE_RESOLVED


async def test_lists_are_filtered_and_paged(memory_client: ClientFactory, shop: str) -> None:
    """Most severe first, each once."""
    client = memory_client(shop)
    await _generate(client, shop)
    parent = f"orgs/{shop}"
    everything = (await client.ListInsights(pb.ListInsightsRequest(parent=parent))).insights
    names: list[str] = []
    token = ""
    while True:
        page = await client.ListInsights(
            pb.ListInsightsRequest(parent=parent, page_size=2, page_token=token)
        )
        names += [it.name for it in page.insights]
        token = page.next_page_token
        if not token:
            break
    assert names == [it.name for it in everything]
    wanted = 'kind = ANOMALY AND campaign_id = "2" AND state = ACTIVE AND severity >= 20'
    found = await client.ListInsights(pb.ListInsightsRequest(parent=parent, filter=wanted))
    assert found.insights
    assert {it.kind for it in found.insights} == {insight_pb2.INSIGHT_KIND_ANOMALY}


async def test_insights_are_a_frame(
    memory_client: ClientFactory, memory_server: RunningServer, shop: str
) -> None:
    """With and without await: a row each, in the order of the list."""
    answer = await _generate(memory_client(shop), shop)
    token = issue_token(secret=SECRET.encode(), org=shop, roles=["reader"], scopes=["memory"])
    async with connect(memory_server.target, token=token) as client:
        frame = await client.memory.list_insights_frame(filter="state = ACTIVE")

    def without_await() -> pd.DataFrame:
        with connect_sync(memory_server.target, token=token) as client:
            found: pd.DataFrame = client.memory.list_insights_frame(filter="state = ACTIVE")
        return found

    assert frame["name"].tolist() == [it.name for it in answer.insights]
    assert frame["change"].tolist() == pytest.approx([it.change for it in answer.insights])
    pd.testing.assert_frame_equal(await asyncio.to_thread(without_await), frame)


async def test_ratings_are_kept(memory_client: ClientFactory, shop: str) -> None:
    """Also when the insight is found again."""
    client = memory_client(shop)
    insight = (await _generate(client, shop)).insights[0]
    rated = await client.RateInsight(
        pb.RateInsightRequest(
            name=insight.name, rating=insight_pb2.INSIGHT_RATING_USEFUL, comment="we knew"
        )
    )
    assert rated.insight.rating_comment == "we knew"
    again = (await _generate(client, shop)).insights[0]
    assert again.rating == insight_pb2.INSIGHT_RATING_USEFUL


async def test_two_tenants_with_the_same_data_see_their_own(
    memory_client: ClientFactory, shop: str, org: str
) -> None:
    """The same findings under the same ids, each in its own org: rated in one, not in the other."""
    other = memory_client(org)
    await _stock(other, org)
    mine = (await _generate(memory_client(shop), shop)).insights
    assert mine
    theirs = mine[0].name.replace(f"orgs/{shop}/", f"orgs/{org}/")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await other.GetInsight(pb.GetInsightRequest(name=theirs))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    found = (await _generate(other, org)).insights
    assert [it.name.removeprefix(f"orgs/{org}/") for it in found] == [
        it.name.removeprefix(f"orgs/{shop}/") for it in mine
    ]
    await other.RateInsight(
        pb.RateInsightRequest(name=theirs, rating=insight_pb2.INSIGHT_RATING_NOT_USEFUL)
    )
    for client, name, own_org in ((memory_client(shop), mine[0].name, shop), (other, theirs, org)):
        got = (await client.GetInsight(pb.GetInsightRequest(name=name))).insight
        assert bool(got.rating == insight_pb2.INSIGHT_RATING_NOT_USEFUL) is (own_org == org)
        foreign = theirs if own_org == shop else mine[0].name
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.GetInsight(pb.GetInsightRequest(name=foreign))
        assert caught.value.code() in {
            grpc.StatusCode.NOT_FOUND,
            grpc.StatusCode.PERMISSION_DENIED,
        }
        page = await client.ListInsights(pb.ListInsightsRequest(parent=f"orgs/{own_org}"))
        assert {it.name.split("/")[1] for it in page.insights} == {own_org}


async def test_a_level_of_too_many_series_is_left_out(
    memory_client: ClientFactory, org: str
) -> None:
    """The others are looked at, and the answer names it; asked for by name it is refused."""
    client = memory_client(org)
    spikes = list(entries_of(2, spiked))
    for spike in spikes:
        spike.level = entry_pb2.ENTRY_LEVEL_ACCOUNT
        spike.ClearField("campaign_id")
        spike.ClearField("campaign_name")
    await write(client, org, spikes)
    campaigns = pa.table(
        {
            "date": pa.repeat(pa.scalar(LAST), MAXIMUM_SERIES + 1),
            "platform": pa.repeat("meta", MAXIMUM_SERIES + 1),
            "level": pa.repeat("CAMPAIGN", MAXIMUM_SERIES + 1),
            "account_id": pa.repeat("act_1", MAXIMUM_SERIES + 1),
            "campaign_id": pa.array([str(number) for number in range(MAXIMUM_SERIES + 1)]),
            "clicks": pa.repeat(pa.scalar(1, pa.int64()), MAXIMUM_SERIES + 1),
        }
    )
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, campaigns.schema) as writer:
        writer.write_table(campaigns)
    written = await client.BatchUpsertEntries(
        pb.BatchUpsertEntriesRequest(parent=f"orgs/{org}", arrow=stream.getvalue().to_pybytes())
    )
    assert not written.item_errors
    answer = await _generate(client, org)
    assert list(answer.skipped_levels) == [entry_pb2.ENTRY_LEVEL_CAMPAIGN]
    assert {it.object.level for it in answer.insights} == {entry_pb2.ENTRY_LEVEL_ACCOUNT}
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _generate(client, org, levels=[entry_pb2.ENTRY_LEVEL_CAMPAIGN])
    assert [field for field, _ in refusal_of(caught.value).violations] == ["filter"]


@pytest.mark.parametrize("days", [1, 2, 40])
async def test_little_data_gives_no_insights(
    memory_client: ClientFactory, org: str, days: int
) -> None:
    """One day, two, or too few weeks: an answer, and nothing in it."""
    client = memory_client(org)
    await write(client, org, entries_of(1, first=LAST - timedelta(days=days - 1)))
    answer = await client.GenerateInsights(pb.GenerateInsightsRequest(parent=f"orgs/{org}"))
    assert not answer.insights
    assert answer.insight_count == 0


async def test_an_org_without_data_has_no_insights(memory_client: ClientFactory, org: str) -> None:
    """Asked for any days, or for the usual ones."""
    client = memory_client(org)
    assert not (await _generate(client, org)).insights
    assert not (
        await client.GenerateInsights(pb.GenerateInsightsRequest(parent=f"orgs/{org}"))
    ).insights


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [
        (date(2026, 2, 1), date(2026, 1, 1), "date_range"),
        (date(2020, 1, 1), date(2026, 1, 1), "date_range"),
    ],
)
async def test_impossible_days_are_refused(
    memory_client: ClientFactory, org: str, start: date, end: date, field: str
) -> None:
    """With the field, and what to do."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _generate(memory_client(org), org, start=start, end=end)
    refusal = refusal_of(caught.value)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [named for named, _ in refusal.violations] == [field]


def _together(day: date, clicks: int) -> int:
    """Double a day."""
    return clicks * 2 if day == SPIKE else clicks


async def test_what_campaigns_do_together_is_one_insight(
    memory_client: ClientFactory, org: str
) -> None:
    """It tells what each adds; theirs are within it, until it is gone and they are not."""
    client, parent = memory_client(org), f"orgs/{org}"
    for campaign in range(1, 6):
        change = _together if campaign < 5 else lambda _, clicks: clicks
        await write(client, org, entries_of(campaign, change))
    answer = await _generate(client, org)
    (whole,) = [it for it in answer.insights if it.metric == "clicks"]
    assert (whole.object_count, whole.moved_count) == (5, 4)
    assert whole.summary.startswith("Clicks of the 5 campaigns of account act_1 (meta) were ")
    assert "4 of 5 move along; the largest shares of the change are from Campaign " in whole.summary
    assert [it.object.campaign_id for it in whole.contributors][-1] == "5"
    assert sum(it.share for it in whole.contributors) == pytest.approx(1.0)
    identifier = whole.name.rpartition("/")[2]
    within = await client.ListInsights(
        pb.ListInsightsRequest(parent=parent, filter=f'whole = "{identifier}"')
    )
    assert {it.name for it in within.insights} == {it.insight for it in whole.contributors[:4]}
    assert {it.whole for it in within.insights} == {whole.name}
    assert answer.within_count >= 4
    listed = (await client.ListInsights(pb.ListInsightsRequest(parent=parent))).insights
    assert [it.name for it in listed] == [it.name for it in answer.insights]

    rerun = await client.RerunInsight(pb.RerunInsightRequest(name=whole.name))
    assert rerun.holds
    assert rerun.insight.summary == whole.summary
    assert list(rerun.insight.contributors) == list(whole.contributors)
    by_day = {row.period_start_date: row.metrics.clicks for row in rerun.evidence_rows}
    assert by_day[SPIKE.isoformat()] == whole.observed
    again = await client.RerunInsight(pb.RerunInsightRequest(name=within.insights[0].name))
    assert again.holds
    assert again.insight.whole == whole.name

    # A run that looks at some of the campaigns leaves them where they are.
    await _generate(client, org, filter='campaign_id = "1"')
    got = await client.GetInsight(pb.GetInsightRequest(name=whole.contributors[0].insight))
    assert got.insight.whole == whole.name

    for campaign in (1, 2, 3):
        await write(client, org, entries_of(campaign))
    after = await _generate(client, org)
    assert {it.object.campaign_id for it in after.insights} == {"4"}
    stored = (await client.GetInsight(pb.GetInsightRequest(name=whole.name))).insight
    assert stored.state == insight_pb2.INSIGHT_STATE_RESOLVED


async def test_days_without_entries_are_told(memory_client: ClientFactory, shop: str) -> None:
    """How many of the days have any, which is none of the future's."""
    client = memory_client(shop)
    answer = await _generate(client, shop, start=date(2027, 1, 1), end=date(2027, 1, 31))
    assert (answer.day_count, len(answer.insights)) == (0, 0)
    assert answer.date_range.start_date == "2027-01-01"
    answer = await _generate(client, shop)
    assert answer.day_count == (LAST - date(2026, 4, 6)).days + 1
