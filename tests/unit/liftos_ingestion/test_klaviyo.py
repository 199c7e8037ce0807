"""Klaviyo's answers: what they mean, where they go on, and what is malformed."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_ingestion.adapters.sources.klaviyo.client import KlaviyoClient
from liftos_ingestion.adapters.sources.klaviyo.documents import next_cursor
from liftos_ingestion.adapters.sources.klaviyo.library import campaigns_of, flows_of
from liftos_ingestion.adapters.sources.klaviyo.session import KlaviyoSession
from liftos_ingestion.adapters.sources.klaviyo.source import KlaviyoSource
from liftos_ingestion.adapters.sources.platform_http import PlatformHttp
from liftos_ingestion.domain.failures import ErrorClass, ReadingError
from liftos_ingestion.domain.json_schemas import schema_violations
from liftos_ingestion.domain.platform_limits import KlaviyoEndpoint
from liftos_ingestion.domain.rate_limits import Limit, Observation
from liftos_ingestion.source_ports import (
    JsonObject,
    Page,
    PlatformAccount,
    ReadRequest,
    query_hash,
)

PARIS = PlatformAccount("AbC123", "Shop", "Europe/Paris", "EUR")
Handler = Callable[[httpx.Request], httpx.Response]


class OpenGate:
    """Lets every call through, and remembers what it was told."""

    org = "acme"
    run = ""

    def __init__(self) -> None:
        self.entered: list[Sequence[Limit]] = []
        self.observed: list[Observation] = []

    async def enter(self, limits: Sequence[Limit], *, is_poll: bool = False) -> None:
        """Let it through."""
        self.entered.append(limits)

    async def observe(self, observations: Sequence[Observation]) -> None:
        """Remember it."""
        self.observed += observations

    def received(self, size_bytes: int) -> None:
        """Count nothing."""

    def in_hand(self, size_bytes: int) -> AbstractAsyncContextManager[None]:
        """Have room for everything."""
        return nullcontext()


@asynccontextmanager
async def http_of(handler: Handler, gate: OpenGate | None = None) -> AsyncIterator[PlatformHttp]:
    """A host that answers as the test says."""
    async with PlatformHttp(
        "https://klaviyo.test",
        gate or OpenGate(),
        headers={},
        timeout_seconds=1,
        transport=httpx.MockTransport(handler),
    ) as http:
        yield http


def answers(status: int, body: object, headers: Mapping[str, str] | None = None) -> Handler:
    """Answer everything alike."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda _: httpx.Response(status, content=content, headers=dict(headers or {}))


def refused(code: str, detail: str = "It is so.", **source: str) -> JsonObject:
    """A refusal in Klaviyo's form."""
    error = {"id": "e-1", "status": 0, "code": code, "detail": detail, "source": source}
    return {"errors": [error]}


HTML = b"<!DOCTYPE html><title>Just a moment...</title>"


@pytest.mark.parametrize(
    ("status", "body", "error_class"),
    [
        (400, refused("invalid"), ErrorClass.PERMANENT),
        (400, refused("invalid", "Invalid cursor provided."), ErrorClass.TRANSIENT),
        (400, refused("invalid", parameter="revision"), ErrorClass.VERSION),
        (400, b"", ErrorClass.PERMANENT),
        (401, refused("authentication_failed"), ErrorClass.CREDENTIALS),
        (401, HTML, ErrorClass.CREDENTIALS),
        (403, refused("permission_denied"), ErrorClass.PERMISSION),
        (403, refused("account_disabled"), ErrorClass.ACCOUNT_CLOSED),
        (403, HTML, ErrorClass.TRANSIENT),
        (404, refused("not_found"), ErrorClass.PERMANENT),
        (408, b"", ErrorClass.TRANSIENT),
        (410, refused("gone"), ErrorClass.VERSION),
        (413, HTML, ErrorClass.TOO_LARGE),
        (415, refused("unsupported_media_type"), ErrorClass.PERMANENT),
        (429, refused("throttled"), ErrorClass.RATE_LIMITED),
        (500, refused("error"), ErrorClass.TRANSIENT),
        (524, HTML, ErrorClass.TRANSIENT),
        (302, b"", ErrorClass.TRANSIENT),
        (200, HTML, ErrorClass.TRANSIENT),
        (200, b"", ErrorClass.TRANSIENT),
    ],
)
async def test_refusals_have_a_class(status: int, body: object, error_class: ErrorClass) -> None:
    """The class follows from the status, the code, and whether Klaviyo itself speaks."""
    async with http_of(answers(status, body)) as http:
        client = KlaviyoClient(http, OpenGate(), "AbC123")
        with pytest.raises(ReadingError) as caught:
            await client.get(KlaviyoEndpoint.METRICS)
    failure = caught.value.failure
    assert failure.error_class is error_class
    assert failure.platform_code.startswith(str(status))
    assert "<" not in failure.message
    if body not in (HTML, b""):
        assert failure.platform_request_id == "e-1"


@pytest.mark.parametrize(
    ("headers", "wait", "error_class"),
    [
        ({"Retry-After": "7"}, 7, ErrorClass.RATE_LIMITED),
        ({}, 60, ErrorClass.RATE_LIMITED),
        ({"Retry-After": "soon"}, 60, ErrorClass.RATE_LIMITED),
        ({"Retry-After": "20000"}, 20_000, ErrorClass.QUOTA_EXHAUSTED),
        ({"Retry-After": "9999999"}, 86_400, ErrorClass.QUOTA_EXHAUSTED),
    ],
)
async def test_a_limit_says_when_to_come_back(
    headers: dict[str, str], wait: float, error_class: ErrorClass
) -> None:
    """All workers hear of it, and no wait is longer than a day."""
    gate = OpenGate()
    async with http_of(answers(429, refused("throttled"), headers), gate) as http:
        client = KlaviyoClient(http, gate, "AbC123")
        with pytest.raises(ReadingError) as caught:
            await client.get(KlaviyoEndpoint.METRICS)
    assert caught.value.failure.error_class is error_class
    assert caught.value.failure.retry_after_seconds == wait
    (seen,) = gate.observed
    assert seen.reset_seconds == wait
    assert "AbC123:GET /api/metrics" in seen.limit.key.key


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["data", "links", "next", "x"]), inner, max_size=3)
        ),
    )
)
def test_any_json_goes_on_ends_or_is_malformed(document: object) -> None:
    """No answer makes the reader fail in another way, and none is taken for the last by mistake."""
    is_last = isinstance(document, dict) and isinstance(document.get("links"), dict)
    is_last = is_last and document["links"].get("next", "") is None  # type: ignore[index]
    if is_last:
        assert next_cursor(document) is None
    else:
        with pytest.raises(ReadingError, match="TRANSIENT"):
            next_cursor(document)


@pytest.mark.parametrize(
    ("link", "cursor"),
    [
        ("https://a.klaviyo.com/api/flows?page%5Bcursor%5D=abc%3D%3D", "abc=="),
        ("http://127.0.0.1:1/elsewhere?page[cursor]=abc", "abc"),
        ("/api/flow-values-reports?page_cursor=abc&x=1", "abc"),
    ],
)
def test_only_the_cursor_of_a_link_is_used(link: str, cursor: str) -> None:
    """Whatever host a link names."""
    assert next_cursor({"links": {"next": link}}) == cursor


@pytest.mark.parametrize("link", ["https://a.klaviyo.com/api/flows", "http://[::1", 7, ""])
def test_a_link_without_a_cursor_is_malformed(link: object) -> None:
    """A list that would end too early is no list."""
    with pytest.raises(ReadingError):
        next_cursor({"links": {"next": link}})


async def test_a_list_that_leads_back_ends() -> None:
    """A cursor that was there before is malformed, and no page is read for ever."""
    calls = 0

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        cursor = "b" if request.url.params.get("page[cursor]") == "a" else "a"
        link = f"https://klaviyo.test/api/metrics?page%5Bcursor%5D={cursor}"
        return httpx.Response(200, json={"data": [], "links": {"next": link}})

    async with http_of(handler) as http:
        client = KlaviyoClient(http, OpenGate(), "AbC123")
        with pytest.raises(ReadingError, match="leads back"):
            async for _ in client.pages(KlaviyoEndpoint.METRICS):
                pass
    assert calls == 3


async def test_flows_have_only_actions_that_send() -> None:
    """Delays and branches are actions without a message."""
    actions = [
        {
            "type": "flow-action",
            "id": str(number),
            "attributes": {"definition": {"id": str(number), "data": data}},
        }
        for number, data in enumerate(
            [
                {"unit": "days", "value": 2},
                {"status": "live", "message": {"id": "M1", "name": "Hello"}},
                None,
            ]
        )
    ]
    related = {"data": [{"type": "flow-action", "id": str(number)} for number in range(4)]}
    flow = {
        "type": "flow",
        "id": "F1",
        "attributes": {"name": "Welcome", "status": "live", "archived": False},
        "relationships": {"flow-actions": related},
    }
    document = {"data": [flow], "included": [*actions, 5], "links": {"next": None}}
    async with http_of(answers(200, document)) as http:
        (found,) = [it async for it in flows_of(KlaviyoClient(http, OpenGate(), "AbC123"))]
    assert (found.flow_id, found.name, found.state) == ("F1", "Welcome", "live")
    assert [(it.message_id, it.name, it.state) for it in found.messages] == [
        ("M1", "Hello", "live")
    ]


@pytest.mark.parametrize(
    ("options", "sent_on"),
    [
        ({"send_time": "2026-10-31T23:30:00+00:00", "send_strategy": "static"}, date(2026, 11, 1)),
        ({"send_time": "2026-10-31T22:30:00+00:00"}, date(2026, 10, 31)),
        ({"send_time": "2026-10-31T23:30:00+00:00", "send_strategy": "smart_send_time"}, None),
        ({"send_time": "2026-10-31T23:30:00+00:00", "throttling_type": "percentage"}, None),
        ({"send_time": "2026-10-31T23:30:00+00:00", "send_times": ["x", "y"]}, None),
        ({"send_time": "2026-10-31T23:30:00"}, None),
        ({"send_time": "tonight"}, None),
        ({}, None),
        (None, None),
    ],
)
async def test_a_message_has_one_day_or_none(options: object, sent_on: date | None) -> None:
    """In the account's zone; what goes out over several days has no day of its own."""
    document = {
        "data": [
            {
                "type": "campaign",
                "id": "C1",
                "attributes": {"definition": {"name": "Letter", "archived": True}},
                "relationships": {
                    "campaign-messages": {"data": [{"type": "campaign-message", "id": "M1"}]}
                },
            }
        ],
        "included": [
            {
                "type": "campaign-message",
                "id": "M1",
                "attributes": {"definition": {"name": "A", "send_options": options}},
            }
        ],
        "links": {"next": None},
    }
    async with http_of(answers(200, document)) as http:
        client = KlaviyoClient(http, OpenGate(), "AbC123")
        (campaign,) = [it async for it in campaigns_of(client, ZoneInfo("Europe/Paris"))]
    assert campaign.state == "archived"
    assert [it.sent_on for it in campaign.messages] == [sent_on]


# --- readings -------------------------------------------------------------------------------------

DAYS = ["2026-11-01T00:00:00+01:00", "2026-11-02T00:00:00+01:00"]


def metric(metric_id: str, name: str, integration: str = "klaviyo") -> JsonObject:
    """A metric as it is listed."""
    attributes = {"name": name, "integration": {"key": integration, "name": integration.title()}}
    return {"type": "metric", "id": metric_id, "attributes": attributes}


class ScriptedKlaviyo:
    """Answers each path with a document, and keeps what was asked."""

    def __init__(self, **documents: object) -> None:
        self.asked: list[tuple[str, Any]] = []
        account = {
            "type": "account",
            "id": "AbC123",
            "attributes": {
                "timezone": "Europe/Paris",
                "preferred_currency": "EUR",
                "contact_information": {"organization_name": "Shop"},
            },
        }
        self.documents: dict[str, object] = {
            "accounts": {"data": [account]},
            "mapped-metrics/revenue": {
                "data": {"id": "revenue", "relationships": {"metric": {"data": {"id": "ORDERS"}}}}
            },
            "metrics": self.listed(metric("MAIL", "Received Email")),
            "campaigns": self.listed(),
            "flows": self.listed(),
            **{name.replace("_", "-"): document for name, document in documents.items()},
        }

    @staticmethod
    def listed(*items: JsonObject, included: Sequence[JsonObject] = ()) -> JsonObject:
        """A list of one page."""
        return {"data": list(items), "included": list(included), "links": {"next": None}}

    @staticmethod
    def report(*rows: JsonObject, **attributes: object) -> JsonObject:
        """A report of one page."""
        data = {"attributes": {"results": list(rows), **attributes}}
        return {"data": data, "links": {"next": None}}

    @staticmethod
    def aggregate(*rows: JsonObject, dates: Sequence[str] = DAYS) -> JsonObject:
        """An aggregate of one page."""
        data = {"attributes": {"dates": list(dates), "data": list(rows)}}
        return {"data": data, "links": {"next": None}}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        path = request.url.path.removeprefix("/api/")
        body = json.loads(request.content)["data"]["attributes"] if request.content else None
        self.asked.append((path, body))
        document = self.documents.get(path)
        if callable(document):
            document = document(body)
        if document is None:
            return httpx.Response(404, json=refused("not_found"))
        return httpx.Response(200, content=json.dumps(document).encode())

    async def rows(
        self, level: str, basis: str, *, days: int = 2, setting: str = ""
    ) -> list[JsonObject]:
        """Read, and return the rows."""
        read = await self.pages(level, basis, days=days, setting=setting)
        return [row for page in read for row in page.rows]

    async def pages(
        self, level: str, basis: str, *, days: int = 2, setting: str = ""
    ) -> list[Page]:
        """Read, and return the pages."""
        request = ReadRequest(PARIS, level, basis, "", date(2026, 11, 1), date(2026, 11, days))
        async with http_of(self) as http:
            session = KlaviyoSession(
                http, OpenGate(), conversion_metric_id=setting, granted_scopes=None
            )
            return [page async for page in session.read(request, None) if isinstance(page, Page)]


def sent(message_id: str = "M1", **statistics: object) -> JsonObject:
    """A result of a campaign report."""
    groupings = {"campaign_id": "C1", "campaign_message_id": message_id, "send_channel": "email"}
    return {"groupings": groupings, "statistics": {"recipients": 5.0, **statistics}}


async def test_undated_messages_ask_for_fewer_days() -> None:
    """Of several days such a row cannot be dated; of a single day it has that date."""
    klaviyo = ScriptedKlaviyo(campaign_values_reports=ScriptedKlaviyo.report(sent()))
    with pytest.raises(ReadingError, match="M1") as caught:
        await klaviyo.rows("CAMPAIGN", "SEND")
    assert caught.value.failure.error_class is ErrorClass.TOO_LARGE
    assert klaviyo.asked[-1][0] == "campaign-messages/M1"
    (row,) = await klaviyo.rows("CAMPAIGN", "SEND", days=1)
    assert (row["date"], row["groupings"]["campaign_id"]) == ("2026-11-01", "C1")  # type: ignore[index]


async def test_timeframes_are_the_accounts_days_to_their_last_second() -> None:
    """Both ends are included, and have the account's offset of their day."""
    klaviyo = ScriptedKlaviyo(campaign_values_reports=ScriptedKlaviyo.report())
    assert await klaviyo.rows("CAMPAIGN", "SEND") == []
    (body,) = [body for path, body in klaviyo.asked if path == "campaign-values-reports"]
    assert body["timeframe"] == {
        "start": "2026-11-01T00:00:00+01:00",
        "end": "2026-11-02T23:59:59+01:00",
    }
    assert "campaigns" not in [path for path, _ in klaviyo.asked], "there is nothing to date"


@pytest.mark.parametrize(
    ("level", "basis", "endpoints"),
    [
        ("CAMPAIGN", "SEND", ("campaign-values-reports",)),
        ("FLOW", "SEND", ("flow-series-reports",)),
        ("MESSAGE", "SEND", ("campaign-values-reports", "flow-series-reports")),
        ("CAMPAIGN", "EVENT", ("metric-aggregates",)),
    ],
)
async def test_the_question_is_what_reports_were_asked_with(
    level: str, basis: str, endpoints: Sequence[str]
) -> None:
    """Every page has the digest of all reports of its reading, without the size of pages."""
    klaviyo = ScriptedKlaviyo(
        campaign_values_reports=ScriptedKlaviyo.report(),
        flow_series_reports=ScriptedKlaviyo.report(date_times=DAYS),
        metric_aggregates=ScriptedKlaviyo.aggregate(),
    )
    read = await klaviyo.pages(level, basis)
    bodies = [
        {name: value for name, value in body.items() if name != "page_size"}
        for path, body in klaviyo.asked
        if path in endpoints
    ]
    assert len(bodies) >= len(endpoints)
    assert {page.query_hash for page in read} == {query_hash(PARIS.account_id, *bodies)}


def flow_report(dates: object, **statistics: object) -> JsonObject:
    """A flow series of one message."""
    groupings = {"flow_id": "F1", "flow_message_id": "M1", "send_channel": "email"}
    row = {"groupings": groupings, "statistics": statistics}
    return ScriptedKlaviyo.report(row, date_times=dates)


async def test_days_without_sendings_are_no_rows() -> None:
    """A series has a place for each day; one without anything but zeros is none of sending."""
    document = flow_report(DAYS, recipients=[0.0, 3.0], opens=[0.0, 0.0], strange=[1, 2, 3])
    rows = await ScriptedKlaviyo(flow_series_reports=document).rows("FLOW", "SEND")
    assert [(row["date"], row["statistics"]) for row in rows] == [
        ("2026-11-02", {"recipients": 3.0, "opens": 0.0})
    ]


@pytest.mark.parametrize(
    "dates",
    [
        DAYS,
        ["2026-10-31T23:00:00+00:00", "2026-11-01T23:00:00+00:00"],
        ["2026-11-01T00:00:00+00:00", "2026-11-02T00:00:00+00:00"],
        ["2026-11-01", "2026-11-02"],
    ],
)
async def test_days_are_known_however_they_are_written(dates: list[str]) -> None:
    """With the account's offset, in UTC, or as a plain day."""
    document = flow_report(dates, recipients=[2.0, 3.0])
    rows = await ScriptedKlaviyo(flow_series_reports=document).rows("FLOW", "SEND", setting="X")
    assert [row["date"] for row in rows] == ["2026-11-01", "2026-11-02"]


MALFORMED_SERIES = [
    flow_report(DAYS, recipients=[2.0]),
    flow_report(DAYS, recipients=2.0),
    flow_report(DAYS[:1], recipients=[2.0]),
    flow_report(DAYS[::-1], recipients=[2.0, 3.0]),
    flow_report(["yesterday", "today"], recipients=[2.0, 3.0]),
    flow_report(None, recipients=[2.0, 3.0]),
    flow_report(DAYS, strange=[2.0, 3.0]),
    flow_report(DAYS),
    ScriptedKlaviyo.report(5, date_times=DAYS),  # type: ignore[arg-type]
    {"data": {"attributes": {"date_times": DAYS}}, "links": {"next": None}},
    {"data": [], "links": {"next": None}},
    {"data": {"attributes": {"date_times": DAYS, "results": []}}},
    [],
    5,
]


@pytest.mark.parametrize("document", MALFORMED_SERIES)
async def test_malformed_series_lose_nothing(document: object) -> None:
    """They are asked for again; none is taken for an answer without rows."""
    with pytest.raises(ReadingError, match="cannot be read") as caught:
        await ScriptedKlaviyo(flow_series_reports=document).rows("FLOW", "SEND")
    assert caught.value.failure.error_class is ErrorClass.TRANSIENT


MALFORMED_AGGREGATES = [
    ScriptedKlaviyo.aggregate({"dimensions": ["M1"], "measurements": {"count": [1, 2]}}),
    ScriptedKlaviyo.aggregate({"dimensions": None, "measurements": {"count": [1, 2]}}),
    ScriptedKlaviyo.aggregate({"dimensions": ["M1", ""], "measurements": {"count": [1]}}),
    ScriptedKlaviyo.aggregate({"dimensions": ["M1", ""], "measurements": {}}),
    ScriptedKlaviyo.aggregate(5),  # type: ignore[arg-type]
    ScriptedKlaviyo.aggregate(dates=DAYS[:1]),
    {"data": {"attributes": {"dates": DAYS}}, "links": {"next": None}},
    {"data": {"attributes": {"dates": DAYS, "data": []}}},
]


@pytest.mark.parametrize("document", MALFORMED_AGGREGATES)
async def test_malformed_aggregates_lose_nothing(document: object) -> None:
    """They are asked for again; none is taken for an answer without rows."""
    with pytest.raises(ReadingError, match="cannot be read") as caught:
        await ScriptedKlaviyo(metric_aggregates=document).rows("MESSAGE", "EVENT")
    assert caught.value.failure.error_class is ErrorClass.TRANSIENT


async def test_events_are_of_messages_only() -> None:
    """Orders that no message is credited with are of none; what was asked and not told is zero."""

    def aggregate(body: Any) -> JsonObject:
        if body["metric_id"] == "MAIL":
            row = {"dimensions": ["M1", "F1"], "measurements": {"count": [4.0, 0.0]}}
            return ScriptedKlaviyo.aggregate(row)
        measured = {"count": [1.0, 1.0], "sum_value": [9.5, 0.1]}
        return ScriptedKlaviyo.aggregate(
            {"dimensions": ["", "", ""], "measurements": measured},
            {"dimensions": ["M1", "F1", "email"], "measurements": measured},
        )

    klaviyo = ScriptedKlaviyo(metric_aggregates=aggregate)
    rows = await klaviyo.rows("FLOW", "EVENT")
    assert [(row["date"], row["statistics"]) for row in rows] == [
        ("2026-11-01", {"conversion_value": 9.5, "conversions": 1.0, "delivered": 4.0}),
        ("2026-11-02", {"conversion_value": 0.1, "conversions": 1.0, "delivered": 0.0}),
    ]
    (body, _) = [body for path, body in klaviyo.asked if path == "metric-aggregates"]
    assert body["filter"] == [
        "greater-or-equal(datetime,2026-11-01T00:00:00+01:00)",
        "less-than(datetime,2026-11-03T00:00:00+01:00)",
    ]
    assert body["timezone"] == "Europe/Paris"


async def test_an_aggregate_of_too_much_asks_for_fewer_days() -> None:
    """What is held in memory has an end; the days are halved."""
    values = {"dimensions": ["M", "F"], "measurements": {"count": [1.0] * 30}}
    rows = [values | {"dimensions": [f"M{number}", "F"]} for number in range(7_000)]
    month = [f"2026-11-{day:02d}" for day in range(1, 31)]
    klaviyo = ScriptedKlaviyo(metric_aggregates=ScriptedKlaviyo.aggregate(*rows, dates=month))
    with pytest.raises(ReadingError) as caught:
        await klaviyo.rows("MESSAGE", "EVENT", days=30)
    assert caught.value.failure.error_class is ErrorClass.TOO_LARGE


@pytest.mark.parametrize(
    ("documents", "setting", "metric_id", "has_orders"),
    [
        ({}, "", "ORDERS", True),
        ({}, "MINE", "MINE", True),
        ({"mapped_metrics/revenue": None}, "", "SHOP", True),
        (
            {
                "mapped_metrics/revenue": {
                    "data": {
                        "relationships": {
                            "metric": {"data": None},
                            "custom-metric": {"data": {"id": "CUSTOM"}},
                        }
                    }
                }
            },
            "",
            "CUSTOM",
            True,
        ),
        (
            {
                "mapped_metrics/revenue": None,
                "metrics": ScriptedKlaviyo.listed(metric("MAIL", "Received Email")),
            },
            "",
            "MAIL",
            False,
        ),
    ],
)
async def test_orders_are_counted_by_one_metric(
    documents: dict[str, object], setting: str, metric_id: str, *, has_orders: bool
) -> None:
    """The one that is set, or mapped to revenue, or called Placed Order; else there are none."""
    listed = ScriptedKlaviyo.listed(
        metric("MAIL", "Received Email"), metric("SHOP", "Placed Order", "shopify")
    )
    klaviyo = ScriptedKlaviyo(
        **{"metrics": listed, "flow_series_reports": flow_report(DAYS, opens=[1, 1])} | documents
    )
    await klaviyo.rows("FLOW", "SEND", setting=setting)
    (body,) = [body for path, body in klaviyo.asked if path == "flow-series-reports"]
    assert body["conversion_metric_id"] == metric_id
    assert ("conversions" in body["statistics"]) is has_orders


async def test_several_shops_have_to_be_chosen_from() -> None:
    """Two metrics called Placed Order are never summed or guessed."""
    listed = ScriptedKlaviyo.listed(
        metric("A", "Placed Order", "shopify"), metric("B", "Placed Order", "woocommerce")
    )
    klaviyo = ScriptedKlaviyo(**{"mapped_metrics/revenue": None, "metrics": listed})
    with pytest.raises(ReadingError, match="conversion_metric_id") as caught:
        await klaviyo.rows("FLOW", "SEND")
    assert caught.value.failure.error_class is ErrorClass.PERMANENT


async def test_an_account_without_any_metric_has_no_rows() -> None:
    """Where nothing ever happened no report can be had, and none is needed."""
    klaviyo = ScriptedKlaviyo(
        **{"mapped_metrics/revenue": None, "metrics": ScriptedKlaviyo.listed()}
    )
    assert await klaviyo.rows("MESSAGE", "SEND") == []
    assert await klaviyo.rows("MESSAGE", "EVENT") == []


def test_credentials_are_of_one_kind() -> None:
    """A private key, or an application with its refresh token, and never half of one."""
    schema = KlaviyoSource(
        "https://k.test", revision="2026-10-15", timeout_seconds=1
    ).credential_schema
    application = {"client_id": "a", "client_secret": "b", "refresh_token": "c"}
    assert not schema_violations(schema, {"api_key": "pk_1"}, field="f")
    assert not schema_violations(schema, application, field="f")
    for wrong in ({}, {"api_key": "sk_1"}, {"client_id": "a"}, {"api_key": "pk_1"} | application):
        assert schema_violations(schema, wrong, field="f")


@pytest.mark.parametrize(
    ("revision", "told", "end"),
    [
        ("2026-10-15", None, date(2028, 10, 15)),
        ("2026-10-15", date(2027, 1, 1), date(2027, 1, 1)),
        ("2026-10-15.pre", None, None),
    ],
)
def test_a_revision_lives_two_years(revision: str, told: date | None, end: date | None) -> None:
    """Unless its operator knows better."""
    source = KlaviyoSource(
        "https://k.test", revision=revision, revision_end_date=told, timeout_seconds=1
    )
    can = source.capabilities
    assert (can.levels, can.date_bases) == (("CAMPAIGN", "FLOW", "MESSAGE"), ("SEND", "EVENT"))
    assert (can.restatement_days, can.retention_days, can.days_per_read) == (30, 0, 60)
    assert can.object_levels == can.levels
    assert not can.totals
    assert (can.api_version, can.api_version_end_date) == (revision, end)
