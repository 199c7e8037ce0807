"""Raw platform rows to entries and back, against real Postgres."""

from collections.abc import Awaitable
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from tests.e2e.memory.conftest import ClientFactory
from tests.inprocess.kit.statuses import Refusal, refusal_of

from liftos.memory.v1 import entry_pb2, source_pb2
from liftos.memory.v1 import memory_service_pb2 as pb

META = {
    "account_id": "1",
    "account_name": "Shop",
    "account_currency": "USD",
    "date_start": "2026-01-05",
    "date_stop": "2026-01-05",
    "spend": "1250.50",
    "impressions": "45000",
    "clicks": "890",
    "actions": [{"action_type": "purchase", "value": "23"}],
}
GOOGLE = {
    "customer": {"id": "1112223333", "currencyCode": "USD", "timeZone": "Europe/Paris"},
    "campaign": {"id": "77", "name": "Brand"},
    "segments": {"date": "2026-01-05"},
    "metrics": {
        "costMicros": "2500000000",
        "impressions": "78000",
        "clicks": "1560",
        "conversions": 45,
        "conversionsValue": 4500,
    },
}
KLAVIYO = {
    "groupings": {"campaign_id": "01G", "campaign_message_id": "01H", "send_channel": "email"},
    "statistics": {"recipients": 15100, "delivered": 15000, "opens": 4500, "clicks": 675},
}
KLAVIYO_CONTEXT = {"account_id": "k", "currency_code": "USD", "date": "2026-01-05"}


async def refused(call: Awaitable[object]) -> Refusal:
    """The error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


def request(org: str, platform: str, *rows: object, **context: object) -> Any:
    """A transform of raw rows."""
    return json_format.ParseDict(
        {
            "parent": f"orgs/{org}",
            "platform": platform,
            "rows": list(rows),
            "context": context,
        },
        pb.TransformEntriesRequest(),
    )


async def stored(
    memory_client: ClientFactory, org: str, entries: list[entry_pb2.Entry]
) -> list[entry_pb2.Entry]:
    """What is read after entries were written as they came."""
    client = memory_client(org)
    response = await client.BatchUpsertEntries(
        pb.BatchUpsertEntriesRequest(
            parent=f"orgs/{org}", rows=entry_pb2.EntryBatch(entries=entries)
        )
    )
    assert not response.item_errors
    assert response.upserted_count == len(entries)
    read = [await client.GetEntry(pb.GetEntryRequest(name=entry.name)) for entry in entries]
    return [it.entry for it in read]


@pytest.mark.parametrize(
    ("platform", "row", "context", "metrics", "derived"),
    [
        (
            "meta",
            META,
            {},
            {"spend_micros": 1_250_500_000, "conversions_micros": 23_000_000},
            {
                "cpm": 27.7889,
                "cpc": 1.40506,
                "ctr": 0.0197778,
                "conversion_rate": 0.0258427,
                "cost_per_conversion": 54.3696,
            },
        ),
        (
            "google_ads",
            GOOGLE,
            {},
            {"spend_micros": 2_500_000_000, "revenue_micros": 4_500_000_000},
            {"cpm": 32.0513, "cost_per_conversion": 55.5556, "roas": 1.8},
        ),
        (
            "google_ads",
            GOOGLE | {"metrics": GOOGLE["metrics"] | {"costMicros": 2_500_000_000}},  # type: ignore[operator]
            {},
            {"spend_micros": 2_500_000_000, "clicks": 1560},
            {"cpm": 32.0513, "roas": 1.8},
        ),
        (
            "klaviyo",
            KLAVIYO,
            KLAVIYO_CONTEXT,
            {"delivered": 15_000, "opened": 4_500, "clicked": 675},
            {"open_rate": 0.3, "click_rate": 0.045},
        ),
    ],
    ids=["meta", "google_ads", "google_ads as a number", "klaviyo"],
)
async def test_golden_figures_survive_the_way_through(
    memory_client: ClientFactory,
    org: str,
    *,
    platform: str,
    row: dict[str, Any],
    context: dict[str, Any],
    metrics: dict[str, int],
    derived: dict[str, float],
) -> None:
    """Transform, write and read give the same entry, with the ratios that analysts know."""
    response = await memory_client(org, "reader").TransformEntries(
        request(org, platform, row, **context)
    )
    assert not response.item_errors
    assert list(response.source_indexes) == [0]
    [entry] = response.entries
    for name, value in metrics.items():
        assert getattr(entry.metrics, name) == value, name
    for name, ratio in derived.items():
        assert getattr(entry.derived_metrics, name) == pytest.approx(ratio, rel=1e-5), name
    assert 0 < entry.quality.score <= 1
    assert not entry.HasField("calendar_day")
    missing = await refused(memory_client(org).GetEntry(pb.GetEntryRequest(name=entry.name)))
    assert missing.code is grpc.StatusCode.NOT_FOUND, "a transform stores nothing"
    [read] = await stored(memory_client, org, [entry])
    assert read.calendar_day.date == "2026-01-05"
    for output in ("calendar_day", "create_time", "update_time", "etag"):
        read.ClearField(output)
    assert read == entry


async def test_rows_that_a_write_would_refuse_come_back_as_errors(
    memory_client: ClientFactory, org: str
) -> None:
    """Errors of reading, of the rules and of repeated keys name the raw row; good rows stand."""
    response = await memory_client(org).TransformEntries(
        request(
            org,
            "meta",
            META | {"spend": "many"},
            META | {"account_id": "2", "colour": "red"},
            META | {"account_id": "3", "account_currency": "XXX"},
            META | {"account_id": "4", "date_start": "1999-01-01", "date_stop": "1999-01-01"},
            META | {"account_id": "2"},
            META | {"account_id": "5"},
        )
    )
    assert [entry.account_id for entry in response.entries] == ["2", "5"]
    assert list(response.source_indexes) == [1, 5]
    assert list(response.unmapped_fields) == ["colour"]
    assert [(it.index, it.field, it.rule) for it in response.item_errors] == [
        (0, "spend", "NOT_A_NUMBER"),
        (2, "currency_code", "UNKNOWN_CURRENCY"),
        (3, "date", "DATE_OUT_OF_RANGE"),
        (4, "", "DUPLICATE"),
    ]
    assert "earlier row" in response.item_errors[3].message
    assert {it.reason for it in response.item_errors} == {"ERROR_REASON_FIELD_INVALID"}


async def test_every_kind_of_json_value_is_taken(memory_client: ClientFactory, org: str) -> None:
    """Nulls, lists, truths and numbers that are none anywhere cost their row at most."""
    odd = [None, True, [1, [2]], {"a": {"b": None}}, 1e300, 0.5, "", "x"]
    rows = [META | {name: value} for name in ("spend", "actions", "clicks") for value in odd]
    response = await memory_client(org).TransformEntries(request(org, "meta", *rows))
    touched = set(response.source_indexes) | {it.index for it in response.item_errors}
    assert touched == set(range(len(rows)))
    infinite = request(org, "meta", META)
    infinite.rows[0].fields["clicks"].number_value = float("nan")
    response = await memory_client(org).TransformEntries(infinite)
    assert [it.rule for it in response.item_errors] == ["NOT_FINITE"]
    large = request(org, "meta", META)
    large.rows[0].fields["account_id"].number_value = 2.0**53
    response = await memory_client(org).TransformEntries(large)
    assert [it.rule for it in response.item_errors] == ["INEXACT_ID"]


async def test_a_series_gives_one_entry_a_day(memory_client: ClientFactory, org: str) -> None:
    """Lists of values are spread over the days of the context; a bad day costs that day alone."""
    row = {
        "groupings": {"flow_id": "F", "send_channel": "email"},
        "statistics": {"recipients": [10, 20, -1], "delivered": [9, 18, 1]},
    }
    days = ["2026-01-05T00:00:00+00:00", "2026-01-06T00:00:00+00:00", "2026-01-07T00:00:00+00:00"]
    response = await memory_client(org).TransformEntries(
        request(
            org,
            "klaviyo",
            row,
            account_id="k",
            level="ENTRY_LEVEL_FLOW",
            date_times=days,
            final=True,
        )
    )
    assert [(it.date, it.metrics.sent, it.final) for it in response.entries] == [
        ("2026-01-05", 10, True),
        ("2026-01-06", 20, True),
    ]
    assert list(response.source_indexes) == [0, 0]
    assert [(it.index, it.field) for it in response.item_errors] == [
        (0, "statistics.recipients[2]")
    ]
    without = await memory_client(org).TransformEntries(
        request(org, "klaviyo", row, account_id="k", level="ENTRY_LEVEL_FLOW")
    )
    assert [it.rule for it in without.item_errors] == ["MISSING"]


async def test_an_answer_has_a_bound(memory_client: ClientFactory, org: str) -> None:
    """Series that unfold to more entries than an answer takes are refused as a whole."""
    row = {
        "groupings": {"flow_id": "F"},
        "statistics": {"delivered": [1] * 300},
    }
    days = [f"2025-{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 26)]
    refusal = await refused(
        memory_client(org).TransformEntries(
            request(org, "klaviyo", *([row] * 17), account_id="k", date_times=days)
        )
    )
    assert refusal.reason == "ERROR_REASON_BATCH_TOO_LARGE"
    assert refusal.metadata == {"item_count": "5100", "maximum_items": "5000"}


async def test_platforms_without_a_mapping_say_so(memory_client: ClientFactory, org: str) -> None:
    """An unregistered platform is not found; a registered one has to have a mapping first."""
    client = memory_client(org)
    refusal = await refused(client.TransformEntries(request(org, "radio", {"a": 1})))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert refusal.metadata == {"resource_name": f"orgs/{org}/sources/radio"}
    own = source_pb2.Source(name=f"orgs/{org}/sources/radio", display_name="Radio")
    await client.UpsertSource(pb.UpsertSourceRequest(source=own))
    for platform in ("radio", "offline"):
        refusal = await refused(client.TransformEntries(request(org, platform, {"a": 1})))
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
        assert refusal.reason == "ERROR_REASON_STATE_TRANSITION_INVALID"
        assert refusal.metadata["state"] == "without a mapping"


ORDERS = {
    "level": "OUTCOME",
    "date_basis": "EVENT",
    "calculate": {"day": "date(at, 'iso', 'Europe/Berlin')", "one": "1"},
    "aggregate": {"by": ["day", "country"], "sum": ["one", "total"]},
    "columns": {
        "date": "day",
        "account_id": {"constant": "till"},
        "currency_code": {"constant": "EUR"},
        "orders": "one",
        "revenue_micros": {"from": "total", "unit": "cents"},
        "channel": {"from": "country", "values": {"DE": "home"}, "otherwise": "abroad"},
    },
    "breakdowns": {"country": "country"},
}


def own_source(org: str, mapping: object, id_: str = "till") -> pb.UpsertSourceRequest:
    """A source of the org's own with a mapping."""
    name = f"orgs/{org}/sources/{id_}"
    source = {"name": name, "display_name": "Till", "mapping": mapping}
    return json_format.ParseDict({"source": source}, pb.UpsertSourceRequest())


async def test_rows_of_an_orgs_own_source_become_entries(
    memory_client: ClientFactory, org: str
) -> None:
    """By the mapping that is stored with it: calculated, added up, normalised; and as written."""
    client = memory_client(org)
    kept = (await client.UpsertSource(own_source(org, ORDERS))).source
    assert json_format.MessageToDict(kept.mapping) == ORDERS
    rows: list[dict[str, object]] = [
        {"at": "2026-01-05T12:00:00Z", "country": "DE", "total": "1050"},
        {"at": "2026-01-05T23:30:00Z", "country": "DE", "total": 5, "note": "late"},
        {"at": "2026-01-05", "country": "FR", "total": "many"},
        {"at": "2026-01-05", "country": "DE", "total": 0.5},
    ]
    response = await client.TransformEntries(request(org, "till", *rows))
    assert [
        (it.date, it.breakdown_key, it.channel, it.metrics.orders, it.metrics.revenue_micros)
        for it in response.entries
    ] == [
        ("2026-01-05", "country=DE", "home", 2, 10_505_000),
        ("2026-01-06", "country=DE", "home", 1, 50_000),
    ]
    assert list(response.source_indexes) == [0, 1]
    assert [(it.index, it.field, it.rule) for it in response.item_errors] == [
        (2, "total", "NOT_A_NUMBER")
    ]
    assert list(response.unmapped_fields) == ["note"]
    read = await stored(memory_client, org, list(response.entries))
    assert [it.metrics for it in read] == [it.metrics for it in response.entries]
    days_mapping = {**ORDERS, "aggregate": {"by": ["day"], "sum": ["one"]}}
    days_mapping["columns"] = {"date": "day", "account_id": {"constant": "x"}, "orders": "one"}
    del days_mapping["breakdowns"]
    await client.UpsertSource(own_source(org, days_mapping))
    response = await client.TransformEntries(request(org, "till", *rows))
    assert [(it.date, it.metrics.orders) for it in response.entries] == [
        ("2026-01-05", 3),
        ("2026-01-06", 1),
    ]
    other = await refused(
        memory_client("another").TransformEntries(request("another", "till", *rows))
    )
    assert other.code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("change", "violations"),
    [
        ({"columns": {}}, {"source.mapping.columns": "mapping.object"}),
        ({"colour": 1}, {"source.mapping.colour": "mapping.unknown"}),
        (
            {"columns": {"date": {"calculate": "date(at"}, "hits": "x"}},
            {
                "source.mapping.columns.date.calculate": "mapping.expression",
                "source.mapping.columns.hits": "mapping.column",
            },
        ),
        (
            {"aggregate": {"by": ["day\0"], "sum": ["one"]}},
            {"source.mapping.aggregate.by[0]": "mapping.path"},
        ),
        (
            {"columns": {"channel": {"from": "country", "values": {"a": "\0"}}, "date": "day"}},
            {"source.mapping.columns.channel.values.a": "mapping.text"},
        ),
    ],
)
async def test_a_mapping_that_breaks_rules_is_refused(
    memory_client: ClientFactory,
    org: str,
    change: dict[str, object],
    violations: dict[str, str],
) -> None:
    """Every rule by its path, and what was stored before stays."""
    client = memory_client(org)
    await client.UpsertSource(own_source(org, ORDERS))
    refusal = await refused(client.UpsertSource(own_source(org, {**ORDERS, **change})))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert violations.items() <= dict(refusal.violations).items()
    listed = await client.ListSources(pb.ListSourcesRequest(parent=f"orgs/{org}"))
    assert json_format.MessageToDict(listed.sources[-1].mapping) == ORDERS


@pytest.mark.parametrize(
    ("context", "violation"),
    [
        ({"date": "2026-02-30"}, ("context.date", "transform_context")),
        ({"date": "tomorrow"}, ("context.date", "string.pattern")),
        ({"currency_code": "usd"}, ("context.currency_code", "string.pattern")),
        ({"time_zone": "Mars/X"}, ("context.time_zone", "transform_context")),
        ({"level": 99}, ("context.level", "enum.defined_only")),
    ],
)
async def test_a_context_that_no_entry_can_have_is_refused(
    memory_client: ClientFactory,
    org: str,
    context: dict[str, object],
    violation: tuple[str, str],
) -> None:
    """The call as a whole is refused, with the field of the context."""
    refusal = await refused(
        memory_client(org).TransformEntries(request(org, "meta", META, **context))
    )
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.violations == (violation,)
