"""What Meta's face tells beyond single rows: spans, breakdowns, retention, links and batches."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest

from liftos_platforms.faults import Fault, FaultKind
from liftos_platforms.meta import MetaFace, MetaLimits
from liftos_platforms.simulation import Simulation
from liftos_platforms.testing import HOST, Platforms
from liftos_platforms.truth import EntityState, Level, Metric, Platform

FIRST = date(2026, 11, 2)
LAST = date(2026, 11, 8)


@pytest.fixture
async def graph(meta: Platforms) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a token in its header."""
    async with httpx.AsyncClient(
        base_url=f"{meta.url(Platform.META)}/v26.0",
        headers={"Authorization": f"Bearer {meta.token(Platform.META)}"},
    ) as client:
        yield client


async def read(graph: httpx.AsyncClient, node: str, **params: str) -> list[dict[str, Any]]:
    """The rows of a synchronous report, of one page."""
    answer = await graph.get(f"/{node}/insights", params={"limit": "500", **params})
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["data"]
    return rows


def span(first: date, last: date) -> str:
    """A time range as JSON."""
    return json.dumps({"since": first.isoformat(), "until": last.isoformat()})


async def test_a_week_sums_money_and_counts_people_once(
    meta: Platforms, graph: httpx.AsyncClient
) -> None:
    """One row of a week has the week's spend, and fewer people than its days together."""
    fields = "spend,impressions,reach,frequency"
    (week,) = await read(graph, "act_1001", fields=fields, time_range=span(FIRST, LAST))
    days = await read(
        graph, "act_1001", fields=fields, time_range=span(FIRST, LAST), time_increment="1"
    )
    assert (week["date_start"], week["date_stop"]) == (FIRST.isoformat(), LAST.isoformat())
    assert len(days) == 7
    true = [
        meta.simulation.rows(
            Platform.META, "1001", level=Level.ACCOUNT, day=FIRST + timedelta(days=step)
        )[0].metrics[Metric.SPEND_MICROS]
        for step in range(7)
    ]
    assert round(float(week["spend"]) * 1e6) == sum(true)
    assert int(week["impressions"]) == sum(int(day["impressions"]) for day in days)
    reaches = [int(day["reach"]) for day in days]
    assert max(reaches) <= int(week["reach"]) < sum(reaches)
    assert float(week["frequency"]) == pytest.approx(
        int(week["impressions"]) / int(week["reach"]), abs=1e-6
    )


async def test_breakdowns_lose_old_reach_and_need_an_opt_in(
    meta: Platforms, graph: httpx.AsyncClient
) -> None:
    """After 13 months reach is left out of breakdowns only; what needs an opt-in is empty."""
    params = {"fields": "spend,reach", "time_range": span(FIRST, FIRST)}
    young = await read(graph, "act_1001", breakdowns="country", **params)
    assert all("reach" in row for row in young)
    assert await read(graph, "act_1001", breakdowns="impression_device", **params) == []
    meta.simulation.clock.set(datetime(2027, 12, 20, tzinfo=UTC))
    old = await read(graph, "act_1001", breakdowns="country", **params)
    assert old
    assert all("reach" not in row and "spend" in row for row in old)
    assert all("reach" in row for row in await read(graph, "act_1001", **params))


async def test_retention_ends_by_the_days_of_the_account(
    meta: Platforms, graph: httpx.AsyncClient
) -> None:
    """At noon in Europe the next day has begun in Tonga, and its oldest day is a day younger."""
    day = date(2023, 10, 15)
    params = {"fields": "spend", "time_range": span(day, day)}
    assert (await graph.get("/act_1001/insights", params=params)).status_code == 200
    tonga = await graph.get("/act_1004/insights", params=params)
    assert tonga.json()["error"]["code"] == 3018


async def test_a_deleted_ad_can_be_read_by_its_id(
    meta: Platforms, graph: httpx.AsyncClient
) -> None:
    """What lists hide is there under its own id, and by the campaign that it was in."""
    day = date(2026, 9, 1)
    every, shown = (
        meta.simulation.rows(Platform.META, "1001", level=Level.AD, day=day, states=states)
        for states in (frozenset(EntityState), None)
    )
    hidden = {row.ad_id for row in every} - {row.ad_id for row in shown}
    assert len(hidden) == 2
    for ad_id in hidden:
        (row,) = await read(graph, ad_id, fields="ad_id,spend", time_range=span(day, day))
        assert row["ad_id"] == ad_id
    campaign = every[0].campaign_id
    in_campaign = await read(graph, campaign, level="ad", fields="ad_id", time_range=span(day, day))
    assert {row["ad_id"] for row in in_campaign} == {
        row.ad_id for row in every if row.campaign_id == campaign
    }


async def test_further_action_breakdowns_lose_purchases(graph: httpx.AsyncClient) -> None:
    """With more than the action's type, purchases are no longer among the actions."""
    params = {"fields": "actions", "time_range": span(FIRST, LAST), "level": "campaign"}

    async def action_types(breakdowns: str) -> set[str]:
        rows = await read(graph, "act_1001", action_breakdowns=breakdowns, **params)
        return {action["action_type"] for row in rows for action in row["actions"]}

    assert "omni_purchase" in await action_types("action_type")
    assert "omni_purchase" not in await action_types("action_type,action_destination")


async def test_edges_tell_what_changed(graph: httpx.AsyncClient) -> None:
    """A filter of the time of update finds what was renamed, paused or moved since."""
    condition = {"field": "updated_time", "operator": "GREATER_THAN", "value": 1_790_000_000}
    changed = {
        edge: (
            await graph.get(f"/act_1001/{edge}", params={"filtering": json.dumps([condition])})
        ).json()["data"]
        for edge in ("campaigns", "adsets", "ads")
    }
    assert {edge: len(items) for edge, items in changed.items()} == {
        "campaigns": 1, "adsets": 0, "ads": 3,
    }  # fmt: skip


async def test_the_next_link_holds_the_token_and_leads_on(
    meta: Platforms, graph: httpx.AsyncClient
) -> None:
    """A caller that follows links gets all rows, and the token into its logs."""
    first = await graph.get(
        "/act_1001/insights",
        params={"level": "ad", "limit": "15", "time_range": span(FIRST, FIRST)},
    )
    link = first.json()["paging"]["next"]
    assert meta.token(Platform.META) in link
    async with httpx.AsyncClient() as stranger:
        last = (await stranger.get(link)).json()
    assert "next" not in last["paging"]
    assert last["paging"]["cursors"]["after"]
    true = meta.simulation.rows(Platform.META, "1001", level=Level.AD, day=FIRST)
    assert len(first.json()["data"]) + len(last["data"]) == len(true)


async def test_a_batch_polls_many_runs(meta: Platforms, graph: httpx.AsyncClient) -> None:
    """Each item is a call of its own: it counts, it fails alone, and it may never come."""
    runs = [
        (await graph.post(f"/act_{account}/insights", data={"level": "account"})).json()
        for account in (1001, 1002, 1003)
    ]
    meta.simulation.faults.add(
        Fault(FaultKind.CONNECTION_RESET, Platform.META, account_id="1002"),
        Fault(FaultKind.ACCOUNT_LIMITED, Platform.META, account_id="1003", amount=9),
    )
    items = [{"method": "GET", "relative_url": run["report_run_id"]} for run in runs]
    answers = (await graph.post("/", data={"batch": json.dumps(items)})).json()
    assert answers[0]["code"] == 200
    assert json.loads(answers[0]["body"])["async_status"] == "Job Not Started"
    assert answers[1] is None
    headers = {header["name"]: header["value"] for header in answers[2]["headers"]}
    assert '"estimated_time_to_regain_access": 9' in headers["X-Business-Use-Case-Usage"]
    assert len(meta.simulation.journal.polls()) == 3
    too_many = json.dumps(items * 17)
    refused = await graph.post("/", data={"batch": too_many})
    assert "Maximum batch size is 50" in refused.text


async def test_usage_rises_until_calls_are_refused() -> None:
    """The throttle header counts up to 100, the next call is refused, and an hour later is not."""
    simulation = Simulation()
    face = MetaFace(simulation, limits=MetaLimits(insights=4))
    await face.start(HOST, 0)
    token = simulation.world.grants[0].token
    seen = []
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{face.port}/v26.0") as graph:
        params = {"access_token": token, "time_range": span(FIRST, FIRST)}
        for _ in range(5):
            answer = await graph.get("/act_1001/insights", params=params)
            header = json.loads(answer.headers["x-fb-ads-insights-throttle"])
            seen.append((answer.status_code, header["acc_id_util_pct"]))
        simulation.clock.advance(timedelta(minutes=61))
        assert (await graph.get("/act_1001/insights", params=params)).status_code == 200
    await face.stop()
    assert seen == [(200, 25), (200, 50), (200, 75), (200, 100), (400, 100)]
