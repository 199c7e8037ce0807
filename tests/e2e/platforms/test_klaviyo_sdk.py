"""Klaviyo's official client, unmodified, against the simulated Klaviyo."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from klaviyo_api import KlaviyoAPI
from openapi_client.exceptions import ApiException

from liftos_platforms import truth
from liftos_platforms.faults import Fault, FaultKind
from liftos_platforms.klaviyo import KlaviyoFace
from liftos_platforms.simulation import Simulation
from liftos_platforms.truth import (
    Channel,
    DateBasis,
    EntityState,
    Grant,
    Level,
    Metric,
    Platform,
    Row,
)
from liftos_platforms.worlds import KLAVIYO_SCOPES, token_of

PARIS = "KLvEU1"
NEW_YORK = "KLvUS2"
EMPTY = "KLvNZ3"
DICTIONARIES = {"USE_DICTIONARY_FOR_RESPONSE_DATA": True}

Client = Callable[..., Any]


@pytest.fixture
def simulation() -> Simulation:
    """A world of its own for each test."""
    return Simulation()


@pytest.fixture
async def face(simulation: Simulation) -> AsyncIterator[KlaviyoFace]:
    """Klaviyo on a free port."""
    served = KlaviyoFace(simulation)
    await served.start("127.0.0.1", 0)
    yield served
    await served.stop()


@pytest.fixture
def client(simulation: Simulation, face: KlaviyoFace) -> Client:
    """Make a client for an account."""

    def make(account_id: str = PARIS, **options: Any) -> KlaviyoAPI:
        return KlaviyoAPI(
            token_of(simulation.world.seed, Platform.KLAVIYO, account_id),
            test_host=f"http://127.0.0.1:{face.port}",
            max_retries=1,
            **options,
        )

    return make


async def call(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call the client, which blocks, beside the server's loop."""
    return await asyncio.to_thread(function, *arguments, **named)


def cursor_of(link: str) -> str:
    """Take the cursor out of a link, which the client does only for https."""
    query = parse_qs(urlsplit(link).query)
    return query.get("page[cursor]", query.get("page_cursor", [""]))[0]


async def _placed_order(api: KlaviyoAPI) -> str:
    metrics = await call(api.Metrics.get_metrics, filter='equals(integration.name,"Shopify")')
    return str(next(m.id for m in metrics.data if m.attributes.name == "Placed Order"))


async def test_an_account_tells_its_zone_and_currency(client: Client) -> None:
    """The account that a key opens comes with its IANA zone and currency."""
    accounts = await call(client(NEW_YORK).Accounts.get_accounts)
    (account,) = accounts.data
    assert account.id == NEW_YORK
    assert account.attributes.timezone == "America/New_York"
    assert account.attributes.preferred_currency == "USD"


async def test_revenue_is_mapped_to_placed_order(client: Client) -> None:
    """The metric of conversions is found by its mapping as by its name."""
    api = client()
    mapped = await call(api.Metrics.get_mapped_metrics, include=["metric"])
    revenue = next(one for one in mapped.data if one.id == "revenue")
    assert revenue.relationships.metric.data.id == await _placed_order(api)
    assert mapped.included[0]["attributes"]["name"] == "Placed Order"


async def test_campaigns_are_read_page_by_page(client: Client, simulation: Simulation) -> None:
    """Pages of the client's size hold every campaign once, in the shape of this revision."""
    api = client()
    names: dict[str, str] = {}
    cursor = None
    while True:
        page = await call(api.Campaigns.get_campaigns, page_size=2, page_cursor=cursor)
        assert 1 <= len(page.data) <= 2
        names |= {one.id: one.attributes.definition.name for one in page.data}
        if page.links.next is None:
            break
        cursor = cursor_of(page.links.next)
    account = simulation.account(Platform.KLAVIYO, PARIS)
    expected = truth.entities_of(
        simulation.world, account, now=simulation.clock.now(), level=Level.CAMPAIGN
    )
    today = truth.local_day(account, simulation.clock.now())
    assert names == {one.entity_id: truth.at(one.name, today) for one in expected}
    assert len(names) > 2


async def test_campaigns_are_filtered_and_include_their_messages(client: Client) -> None:
    """Archived campaigns are told apart, and messages come beside their campaign."""
    api = client()
    archived = await call(
        api.Campaigns.get_campaigns,
        filter="equals(archived,true)",
        include=["campaign-messages"],
        fields_campaign=["definition.name"],
    )
    (campaign,) = archived["data"]
    assert campaign["attributes"] == {"definition": {"name": "Letter 1 „süß“"}}
    (message,) = archived["included"]
    assert message["type"] == "campaign-message"
    found = await call(
        api.Campaigns.get_campaign_messages, filter=f'equals(campaign_id,"{campaign["id"]}")'
    )
    assert [one.id for one in found.data] == [message["id"]]
    assert found.data[0].attributes.definition.status == "sent"


async def test_flows_actions_and_messages_hang_together(client: Client) -> None:
    """A flow's actions name the messages that the reports are about."""
    api = client()
    flows = await call(api.Flows.get_flows, include=["flow-actions"], sort="name")
    assert flows.data[0].attributes.name == "Flow 0 (renamed)"
    actions = await call(api.Flows.get_flow_actions, flows.data[0].id)
    message = actions.data[0].attributes.definition["data"]["message"]["id"]
    messages = await call(api.Flows.get_flow_action_messages, actions.data[0].id)
    assert [one.id for one in messages.data] == [message]
    assert messages.data[0].attributes.channel == "email"


STATISTICS = [
    "recipients",
    "delivered",
    "opens",
    "opens_unique",
    "clicks",
    "clicks_unique",
    "unsubscribes",
    "spam_complaints",
    "conversions",
    "conversion_value",
    "bounced_or_failed",
    "text_message_spend",
]
METRICS = [
    Metric.SENT,
    Metric.DELIVERED,
    Metric.OPENED,
    Metric.UNIQUE_OPENED,
    Metric.CLICKED,
    Metric.UNIQUE_CLICKED,
    Metric.UNSUBSCRIBED,
    Metric.SPAM_COMPLAINTS,
    Metric.CONVERSIONS_MICROS,
    Metric.REVENUE_MICROS,
    Metric.BOUNCED,
    Metric.SPEND_MICROS,
]


def _numbers(row: Row) -> list[Decimal]:
    return [
        Decimal(row.metrics.get(metric, 0)) / (1_000_000 if metric.endswith("_micros") else 1)
        for metric in METRICS
    ]


def _reported(statistics: Mapping[str, float]) -> list[Decimal]:
    return [Decimal(str(statistics[name])) for name in STATISTICS]


def _report(kind: str, metric: str, timeframe: dict[str, str], **more: Any) -> dict[str, Any]:
    attributes = {
        "statistics": STATISTICS,
        "timeframe": timeframe,
        "conversion_metric_id": metric,
        **more,
    }
    return {"data": {"type": kind, "attributes": attributes}}


def _day(day: date, zone: str) -> dict[str, str]:
    here = truth.zone(zone)
    begin = datetime(day.year, day.month, day.day, tzinfo=here)
    last = begin.replace(hour=23, minute=59, second=59)
    return {"start": begin.isoformat(), "end": last.isoformat()}


async def test_one_day_reports_of_campaigns_are_the_truth(
    client: Client, simulation: Simulation
) -> None:
    """Every campaign of every sending day is reported to the micro, and restated as it ages."""
    api = client()
    metric = await _placed_order(api)
    account = simulation.account(Platform.KLAVIYO, PARIS)
    messages = truth.entities_of(
        simulation.world, account, now=simulation.clock.now(), level=Level.MESSAGE
    )
    days = sorted({one.active_from for one in messages if one.active_from == one.active_until})[-3:]
    for wait in (timedelta(0), timedelta(days=5)):
        simulation.clock.advance(wait)
        for day in days:
            simulation.clock.advance(timedelta(minutes=1))
            body = _report("campaign-values-report", metric, _day(day, account.time_zone))
            report = await call(api.Reporting.query_campaign_values, body)
            rows = {
                row.message_id: row
                for row in simulation.rows(Platform.KLAVIYO, PARIS, level=Level.MESSAGE, day=day)
                if row.campaign_id
            }
            assert rows
            answered = {
                one.groupings["campaign_message_id"]: one for one in report.data.attributes.results
            }
            assert answered.keys() == rows.keys()
            for message_id, row in rows.items():
                assert _reported(answered[message_id].statistics) == _numbers(row)
                assert answered[message_id].groupings == {
                    "campaign_id": row.campaign_id,
                    "campaign_message_id": message_id,
                    "send_channel": row.entity and row.entity.channel.value,
                }
    assert len(simulation.journal.calls(endpoint="campaign-values-reports")) == 6


async def test_daily_flow_series_are_the_truth(client: Client, simulation: Simulation) -> None:
    """Three weeks of flow messages, over a change of the clocks, equal the truth day by day."""
    api = client(NEW_YORK)
    simulation.clock.set(datetime(2026, 11, 10, 15, tzinfo=UTC))
    first, last = date(2026, 10, 20), date(2026, 11, 10)
    timeframe = {
        "start": f"{first.isoformat()}T00:00:00",
        "end": f"{last.isoformat()}T23:59:59",
    }
    body = _report("flow-series-report", await _placed_order(api), timeframe, interval="daily")
    report = await call(api.Reporting.query_flow_series, body)
    days = [moment.date() for moment in report.data.attributes.date_times]
    assert days == [first + timedelta(days=n) for n in range(22)]
    assert len({moment.utcoffset() for moment in report.data.attributes.date_times}) == 2
    answered = {
        (one.groupings["flow_message_id"], day): _reported(
            {name: values[place] for name, values in one.statistics.items()}
        )
        for one in report.data.attributes.results
        for place, day in enumerate(days)
    }
    expected = {
        (row.message_id, day): _numbers(row)
        for day in days
        for row in simulation.rows(Platform.KLAVIYO, NEW_YORK, level=Level.MESSAGE, day=day)
        if row.flow_id
    }
    assert expected
    assert {key: value for key, value in answered.items() if any(value)} == expected


async def test_a_flow_report_of_days_is_the_sum_of_its_series(client: Client) -> None:
    """Values of a timeframe equal the sum of its days."""
    api = client()
    metric = await _placed_order(api)
    timeframe = {"start": "2026-11-01T00:00:00", "end": "2026-11-07T23:59:59"}
    groups = ["flow_id", "flow_message_id", "flow_name", "flow_message_name"]
    values = await call(
        api.Reporting.query_flow_values,
        _report("flow-values-report", metric, timeframe, group_by=groups),
    )
    series = await call(
        api.Reporting.query_flow_series,
        _report("flow-series-report", metric, timeframe, group_by=groups, interval="daily"),
    )
    summed = {
        one.groupings["flow_message_id"]: [
            sum((Decimal(str(v)) for v in one.statistics[name]), Decimal()) for name in STATISTICS
        ]
        for one in series.data.attributes.results
    }
    assert summed == {
        one.groupings["flow_message_id"]: _reported(one.statistics)
        for one in values.data.attributes.results
    }
    assert {one.id for one in values.data.relationships.flows.data} == {
        one.groupings["flow_id"] for one in values.data.attributes.results
    }


def _aggregate(metric: str, **more: Any) -> dict[str, Any]:
    attributes = {
        "metric_id": metric,
        "measurements": ["count", "sum_value", "unique"],
        "by": ["$attributed_message"],
        "filter": [
            "greater-or-equal(datetime,2026-10-20T00:00:00)",
            "less-than(datetime,2026-11-16T00:00:00)",
        ],
        "timezone": "Europe/Paris",
        **more,
    }
    return {"data": {"type": "metric-aggregate", "attributes": attributes}}


async def test_aggregates_date_by_the_event(client: Client, simulation: Simulation) -> None:
    """Orders by event date equal the truth's, are not those by send date, and page in the body."""
    api = client()
    metric = await _placed_order(api)
    counts: dict[tuple[str, date], tuple[Decimal, Decimal]] = {}
    cursor = ""
    pages = 0
    while True:
        more = {"page_cursor": cursor} if cursor else {}
        answer = await call(
            api.Metrics.query_metric_aggregates,
            _aggregate(metric, page_size=2, **more),
            options=DICTIONARIES,
        )
        pages += 1
        simulation.clock.advance(timedelta(seconds=1))
        attributes = answer["data"]["attributes"]
        for row in attributes["data"]:
            for moment, count, value in zip(
                attributes["dates"],
                row["measurements"]["count"],
                row["measurements"]["sum_value"],
                strict=True,
            ):
                key = row["dimensions"][0], date.fromisoformat(moment[:10])
                counts[key] = Decimal(str(count)), Decimal(str(value))
        if answer["links"]["next"] is None:
            break
        cursor = cursor_of(answer["links"]["next"])
    assert pages > 1

    def expected(basis: DateBasis) -> dict[tuple[str, date], tuple[Decimal, Decimal]]:
        return {
            (row.message_id, day): pair
            for day in (date(2026, 10, 20) + timedelta(days=n) for n in range(27))
            for row in simulation.rows(
                Platform.KLAVIYO, PARIS, level=Level.MESSAGE, day=day, date_basis=basis
            )
            if any(
                pair := (
                    Decimal(row.metrics[Metric.CONVERSIONS_MICROS]) / 1_000_000,
                    Decimal(row.metrics[Metric.REVENUE_MICROS]) / 1_000_000,
                )
            )
        }

    found = {key: value for key, value in counts.items() if any(value)}
    assert found == expected(DateBasis.EVENT)
    assert found != expected(DateBasis.SEND)


async def test_hours_of_a_day_add_up_in_any_zone(client: Client) -> None:
    """Hourly buckets of another zone hold exactly what the days hold."""
    api = client()
    metric = await _placed_order(api)
    sums = []
    for zone, interval in (
        ("Europe/Paris", "day"),
        ("Europe/Paris", "hour"),
        ("Asia/Kathmandu", "week"),
    ):
        answer = await call(
            api.Metrics.query_metric_aggregates,
            _aggregate(
                metric,
                by=[],
                interval=interval,
                timezone=zone,
                filter=[
                    "greater-or-equal(datetime,2026-10-20T00:00:00+02:00)",
                    "less-than(datetime,2026-11-10T00:00:00+01:00)",
                ],
            ),
        )
        (row,) = answer.data.attributes.data
        assert len(row.measurements["count"]) == len(answer.data.attributes.dates)
        sums.append(
            [sum(Decimal(str(v)) for v in row.measurements[n]) for n in ("count", "sum_value")]
        )
    assert sums[0] == sums[1] == sums[2]


async def test_events_are_the_aggregates_one_by_one(client: Client) -> None:
    """Orders read singly, over pages and ties, count and sum as the aggregate of the same days."""
    api = client()
    metric = await _placed_order(api)
    by_day: Counter[date] = Counter()
    money: dict[date, Decimal] = defaultdict(Decimal)
    seen: set[str] = set()
    order: list[datetime] = []
    cursor = None
    condition = (
        "and(greater-or-equal(datetime,2026-10-31T23:00:00Z),"
        f'less-than(datetime,2026-11-10T23:00:00Z),equals(metric_id,"{metric}"))'
    )
    while True:
        page = await call(
            api.Events.get_events,
            filter=condition,
            sort="datetime",
            page_size=7,
            page_cursor=cursor,
            include=["metric", "attributions"],
        )
        for event in page.data:
            day = event.attributes.datetime_.astimezone(truth.zone("Europe/Paris")).date()
            by_day[day] += 1
            money[day] += Decimal(str(event.attributes.event_properties["$value"]))
            seen.add(event.id)
            order.append(event.attributes.datetime_)
        assert {one["type"] for one in page.included} == {"metric", "attribution"}
        if page.links.next is None:
            break
        cursor = cursor_of(page.links.next)
    assert order == sorted(order)
    assert len(seen) == len(order) > 14
    answer = await call(
        api.Metrics.query_metric_aggregates,
        _aggregate(
            metric,
            by=[],
            filter=[
                "greater-or-equal(datetime,2026-11-01T00:00:00)",
                "less-than(datetime,2026-11-11T00:00:00)",
            ],
        ),
    )
    (row,) = answer.data.attributes.data
    days = [moment.date() for moment in answer.data.attributes.dates]
    assert [by_day[day] for day in days] == row.measurements["count"]
    assert [money[day] for day in days] == [
        Decimal(str(value)) for value in row.measurements["sum_value"]
    ]


async def test_oauth_tokens_read_what_their_grant_opens(
    simulation: Simulation, face: KlaviyoFace
) -> None:
    """An access token works for its hour, and dies with its grant."""
    grant = Grant(Platform.KLAVIYO, "rt_one", (PARIS,), KLAVIYO_SCOPES)
    simulation.world = truth.with_grant(simulation.world, grant)
    host = f"http://127.0.0.1:{face.port}"

    async def refresh() -> httpx.Response:
        async with httpx.AsyncClient(verify=False) as http:
            return await http.post(
                f"{host}/oauth/token",
                data={"grant_type": "refresh_token", "refresh_token": "rt_one"},
                auth=("liftos-simulated-app", "liftos-simulated-secret"),
            )

    given = (await refresh()).json()
    assert given["expires_in"] == 3600
    api = KlaviyoAPI(None, access_token=given["access_token"], test_host=host, max_retries=1)
    accounts = await call(api.Accounts.get_accounts)
    assert [one.id for one in accounts.data] == [PARIS]
    simulation.clock.advance(timedelta(hours=1))
    with pytest.raises(ApiException) as expired:
        await call(api.Accounts.get_accounts)
    assert expired.value.status == 401
    simulation.world = truth.with_grant(simulation.world, replace(grant, revoked=True))
    refused = await refresh()
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


async def test_the_client_waits_as_long_as_it_is_told(
    simulation: Simulation, face: KlaviyoFace
) -> None:
    """The client retries a 429 after its Retry-After and then has its answer."""
    simulation.faults.add(
        Fault(FaultKind.BURST_LIMITED, Platform.KLAVIYO, endpoint="metrics", times=1)
    )
    api = KlaviyoAPI(
        token_of(simulation.world.seed, Platform.KLAVIYO, PARIS),
        test_host=f"http://127.0.0.1:{face.port}",
        max_retries=3,
    )
    metrics = await call(api.Metrics.get_metrics)
    assert len(metrics.data) == 12
    assert [one.status for one in simulation.journal.calls(endpoint="metrics")] == ["429", "200"]


async def test_an_empty_account_has_empty_lists(client: Client) -> None:
    """An account without a campaign or a flow answers empty lists and reports, not errors."""
    api = client(EMPTY)
    metric = await _placed_order(api)
    assert (await call(api.Campaigns.get_campaigns)).data == []
    assert (await call(api.Flows.get_flows)).data == []
    assert (await call(api.Events.get_events)).data == []
    report = await call(
        api.Reporting.query_campaign_values,
        _report("campaign-values-report", metric, {"key": "last_30_days"}),
    )
    assert report.data.attributes.results == []


async def test_a_deleted_campaign_is_not_listed_but_stays_in_reports(
    client: Client, simulation: Simulation
) -> None:
    """What was sent was sent, also if its campaign is deleted after."""
    api = client()
    account = simulation.account(Platform.KLAVIYO, PARIS)
    today = truth.local_day(account, simulation.clock.now())
    first = truth.entities_of(
        simulation.world, account, now=simulation.clock.now(), level=Level.CAMPAIGN
    )[0]
    assert first.channel is Channel.EMAIL
    gone = replace(first, state=(*first.state, (today, EntityState.DELETED)))
    simulation.world = truth.with_entity(simulation.world, gone)
    with pytest.raises(ApiException) as missing:
        await call(api.Campaigns.get_campaign, first.entity_id)
    assert missing.value.status == 404
    report = await call(
        api.Reporting.query_campaign_values,
        _report("campaign-values-report", await _placed_order(api), {"key": "last_365_days"}),
    )
    ids = {one.groupings["campaign_id"] for one in report.data.attributes.results}
    assert first.entity_id in ids
