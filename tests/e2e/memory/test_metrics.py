"""Sums of metrics through the server, on Postgres."""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import asyncpg
import grpc
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import entry_pb2, source_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_local.testing import TestDatabase
from liftos_mapping.entry_fields import ADDITIVE_METRICS, DATE_BASES
from liftos_memory.adapters.postgres.metrics import metrics_statement
from liftos_memory.convert.metrics import query_of
from liftos_memory.domain.arrow_pieces import MAXIMUM_PIECE_BYTES
from liftos_memory.domain.derived_metrics import DERIVED_METRIC_NAMES, DERIVED_METRICS
from liftos_memory.domain.metrics_query import DIMENSIONS, OBJECT_DIMENSIONS

PROPERTY_ORG = "property-org"
FIRST_DAY = date(2025, 12, 20)
DAYS = 50
INT64_MAXIMUM = 2**63 - 1
MONEY = ("spend_micros", "revenue_micros")
RATES = {
    "EUR": {date(2025, 12, 1): "1.0835", date(2025, 12, 31): "1.1", date(2026, 1, 20): "1.07"},
    "GBP": {date(2025, 12, 10): "1.333333333333", date(2026, 1, 7): "0.700000000001"},
}


def _entry(day: str = "2026-01-05", **fields: Any) -> entry_pb2.Entry:
    metrics = fields.pop("metrics", None)
    entry = entry_pb2.Entry(
        **(
            {
                "platform": "meta",
                "level": "ENTRY_LEVEL_CAMPAIGN",
                "account_id": "act_1",
                "campaign_id": "campaign_1",
                "date": day,
            }
            | fields
        )
    )
    for name, value in (metrics or {}).items():
        setattr(entry.metrics, name, value)
    return entry


async def _write(client: Any, org: str, entries: Iterable[entry_pb2.Entry]) -> str:
    answer = await client.BatchUpsertEntries(
        pb.BatchUpsertEntriesRequest(
            parent=f"orgs/{org}", rows=entry_pb2.EntryBatch(entries=entries)
        )
    )
    assert not answer.item_errors, answer.item_errors
    return str(answer.write_token)


async def _write_rates(client: Any, org: str, rates: Mapping[str, Mapping[date, str]]) -> None:
    await client.UpsertExchangeRates(
        pb.UpsertExchangeRatesRequest(
            parent=f"orgs/{org}",
            exchange_rates=[
                source_pb2.ExchangeRate(currency_code=code, date=day.isoformat(), rate=rate)
                for code, dated in rates.items()
                for day, rate in dated.items()
            ],
        )
    )


def _request(org: str, **fields: Any) -> dict[str, Any]:
    return {
        "parent": f"orgs/{org}",
        "date_range": marketing_pb2.DateRange(start_date="2026-01-01", end_date="2026-01-31"),
        "level": "ENTRY_LEVEL_CAMPAIGN",
    } | fields


async def _query(client: Any, org: str, **fields: Any) -> list[pb.MetricsRow]:
    """Return all rows, page by page."""
    rows: list[pb.MetricsRow] = []
    token = ""
    while True:
        page = await client.QueryMetrics(
            pb.QueryMetricsRequest(**_request(org, page_token=token, **fields))
        )
        rows += page.rows
        token = page.next_page_token
        if not token:
            return rows


async def _arrow(client: Any, org: str, **fields: Any) -> pa.Table:
    pieces = [
        piece
        async for piece in client.QueryMetricsArrow(
            pb.QueryMetricsArrowRequest(**_request(org, **fields))
        )
    ]
    assert max(len(piece.arrow) for piece in pieces) <= MAXIMUM_PIECE_BYTES
    with pa.ipc.open_stream(b"".join(piece.arrow for piece in pieces)) as reader:
        table = reader.read_all()
    table.validate(full=True)
    assert table.num_rows == sum(piece.row_count for piece in pieces)
    return table


async def _refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value


async def test_golden_figures(memory_client: Any, org: str) -> None:
    """Known campaigns give the known ratios."""
    client = memory_client(org, "admin")
    meta = {
        "currency_code": "USD",
        "spend_micros": 1_250_500_000,
        "impressions": 45_000,
        "clicks": 890,
        "conversions_micros": 23_000_000,
    }
    google = {
        "currency_code": "USD",
        "spend_micros": 2_500_000_000,
        "impressions": 78_000,
        "clicks": 1_560,
        "conversions_micros": 45_000_000,
        "revenue_micros": 4_500_000_000,
    }
    klaviyo = {"delivered": 15_000, "opened": 4_500, "clicked": 675}
    await _write(
        client,
        org,
        [
            _entry(metrics=meta),
            _entry(platform="google_ads", metrics=google),
            _entry(platform="klaviyo", metrics=klaviyo),
        ],
    )
    rows = {row.group["platform"]: row for row in await _query(client, org, group_by=["platform"])}
    ratios = rows["meta"].derived_metrics
    assert ratios.cpm == pytest.approx(27.7889, abs=5e-5)
    assert ratios.cpc == pytest.approx(1.40506, abs=5e-6)
    assert ratios.ctr == pytest.approx(0.0197778, abs=5e-8)
    assert ratios.conversion_rate == pytest.approx(0.0258427, abs=5e-8)
    assert ratios.cost_per_conversion == pytest.approx(54.3696, abs=5e-5)
    assert not ratios.HasField("roas"), "no revenue was reported"
    ratios = rows["google_ads"].derived_metrics
    assert ratios.cpm == pytest.approx(32.0513, abs=5e-5)
    assert ratios.cost_per_conversion == pytest.approx(55.5556, abs=5e-5)
    assert ratios.roas == 1.8
    ratios = rows["klaviyo"].derived_metrics
    assert (ratios.click_rate, ratios.open_rate) == (0.045, 0.3)
    assert rows["klaviyo"].metrics.currency_code == ""
    assert rows["meta"].entry_count == 1


async def test_ratios_are_ratios_of_sums(memory_client: Any, org: str) -> None:
    """A large day weighs more than a small one."""
    client = memory_client(org, "admin")
    await _write(
        client,
        org,
        [
            _entry("2026-01-05", metrics={"impressions": 1_000, "clicks": 10}),
            _entry("2026-01-06", metrics={"impressions": 10, "clicks": 5}),
        ],
    )
    (row,) = await _query(client, org)
    assert row.period_start_date == "2026-01-01"
    assert row.derived_metrics.ctr == 15 / 1_010
    assert row.derived_metrics.ctr != (10 / 1_000 + 5 / 10) / 2


async def test_unset_is_not_zero(memory_client: Any, org: str) -> None:
    """A sum is unset where nobody reported the number, and 0 where somebody reported 0."""
    client = memory_client(org, "admin")
    await _write(
        client,
        org,
        [
            _entry("2026-01-05", metrics={"impressions": 5, "clicks": 0}),
            _entry("2026-01-06", metrics={"impressions": 6}),
        ],
    )
    (row,) = await _query(client, org)
    assert row.metrics.HasField("clicks")
    assert row.metrics.clicks == 0
    assert not row.metrics.HasField("sent")
    assert not row.derived_metrics.HasField("cpc"), "nothing was spent that we know of"
    assert row.derived_metrics.ctr == 0.0
    table = await _arrow(client, org)
    assert table["clicks"].to_pylist() == [0]
    assert table["sent"].to_pylist() == [None]
    assert table["currency_code"].to_pylist() == [None]


async def test_ratios_take_only_sources_that_have_both_sides(
    memory_client: Any, database: TestDatabase, org: str
) -> None:
    """Television has no part in a CPM, nor SMS in the return of mails; SQL by hand agrees."""
    client = memory_client(org, "admin")
    money = {"currency_code": "USD"}
    tv, sms, mail = (
        {"platform": "offline", "account_id": account, "campaign_id": campaign}
        for account, campaign in (("tv", "c1"), ("k", "c2"), ("k", "c3"))
    )
    await _write(
        client,
        org,
        [
            _entry("2026-01-05", metrics=money | {"spend_micros": 5 * 10**6, "impressions": 900}),
            # No sales are left unset, and take nothing off what was spent.
            _entry(
                "2026-01-06",
                metrics=money
                | {"spend_micros": 10**6, "impressions": 100, "revenue_micros": 30 * 10**6},
            ),
            _entry(**tv, channel="tv", metrics=money | {"spend_micros": 700 * 10**6}),
            _entry(**sms, channel="sms", metrics=money | {"spend_micros": 9 * 10**6}),
            _entry(**mail, channel="email", metrics=money | {"revenue_micros": 80 * 10**6}),
        ],
    )
    (row,) = await _query(client, org)
    assert row.metrics.spend_micros == 715 * 10**6
    connection = await asyncpg.connect(database.url, server_settings={"search_path": "memory"})
    try:
        await connection.execute("select set_config('liftos.org', $1, false)", org)
        cpm, roas = await connection.fetchrow(
            """
            select (
                select sum(spend_micros) / 1e3 / sum(impressions) from entries
                where org = $1 and platform = 'meta'
            )::float8, (
                select sum(revenue_micros) / sum(spend_micros) from entries
                where org = $1 and platform = 'meta'
            )::float8""",
            org,
        )
    finally:
        await connection.close()
    assert (cpm, roas) == (6.0, 5.0)
    assert (row.derived_metrics.cpm, row.derived_metrics.roas) == (cpm, roas)


async def test_levels_are_never_mixed(memory_client: Any, org: str) -> None:
    """The account's numbers hold those of its campaigns, and are not added to them."""
    client = memory_client(org, "admin")
    await _write(
        client,
        org,
        [
            _entry(metrics={"clicks": 4}),
            _entry(campaign_id="campaign_2", metrics={"clicks": 3}),
            _entry(level="ENTRY_LEVEL_ACCOUNT", campaign_id="", metrics={"clicks": 7}),
        ],
    )
    for level, count in (("ENTRY_LEVEL_CAMPAIGN", 2), ("ENTRY_LEVEL_ACCOUNT", 1)):
        (row,) = await _query(client, org, level=level)
        assert (row.metrics.clicks, row.entry_count) == (7, count)


async def test_final_and_quality_are_those_of_the_weakest(memory_client: Any, org: str) -> None:
    """One open day makes a sum open, and the lowest score is the sum's."""
    client = memory_client(org, "admin")
    await _write(
        client,
        org,
        [
            _entry("2026-01-05", final=True, metrics={"impressions": 5, "clicks": 50}),
            _entry("2026-01-06", final=True, metrics={"impressions": 50, "clicks": 5}),
            _entry("2026-01-13", metrics={"impressions": 50, "clicks": 5}),
        ],
    )
    listed = await client.ListEntries(pb.ListEntriesRequest(parent=f"orgs/{org}"))
    scores = [entry.quality.score for entry in listed.entries]
    first, second = await _query(client, org, granularity="GRANULARITY_WEEK")
    assert (first.final, second.final) == (True, False)
    assert (first.period_start_date, second.period_start_date) == ("2026-01-05", "2026-01-12")
    assert scores[0] < scores[1]
    assert first.quality_score == scores[0]
    better = await _query(client, org, minimum_quality_score=scores[1], filter="final = true")
    assert [row.entry_count for row in better] == [1]


async def test_currencies_are_never_added(memory_client: Any, org: str) -> None:
    """Without a target currency each currency has rows of its own."""
    client = memory_client(org, "admin")
    await _write(
        client,
        org,
        [
            _entry(metrics={"currency_code": "EUR", "spend_micros": 10}),
            _entry("2026-01-06", metrics={"currency_code": "USD", "spend_micros": 7}),
            _entry("2026-01-07", metrics={"clicks": 1}),
        ],
    )
    rows = await _query(client, org)
    assert [
        (row.metrics.currency_code, row.metrics.spend_micros, row.metrics.HasField("spend_micros"))
        for row in rows
    ] == [("", 0, False), ("EUR", 10, True), ("USD", 7, True)]


async def test_what_would_count_twice_is_never_added(memory_client: Any, org: str) -> None:
    """Conversions by click and by conversion, and a day and its parts, stay apart unasked."""
    client = memory_client(org, "admin")
    await _write(
        client,
        org,
        [
            _entry(metrics={"clicks": 10, "conversions_micros": 5}),
            _entry(date_basis="DATE_BASIS_CONVERSION", metrics={"conversions_micros": 4}),
            _entry(breakdown_key="country=DE", metrics={"clicks": 6}),
            _entry(breakdown_key="country=FR", metrics={"clicks": 3}),
            _entry(breakdown_key="age=18-24&country=DE", metrics={"clicks": 2}),
        ],
    )
    rows = await _query(client, org)
    assert [
        (row.date_basis, row.breakdown, row.metrics.clicks, row.metrics.conversions_micros)
        for row in rows
    ] == [
        ("INTERACTION", "", 10, 5),
        ("INTERACTION", "age&country", 2, 0),
        ("INTERACTION", "country", 9, 0),
        ("CONVERSION", "", 0, 4),
    ]
    (one,) = await _query(client, org, filter='date_basis = INTERACTION AND breakdown_key = ""')
    assert (one.metrics.clicks, one.entry_count) == (10, 1)


async def test_conversion_rounds_once_and_half_to_even(memory_client: Any, org: str) -> None:
    """Amounts are added exactly at the rate of their days, and rounded when all is added."""
    client = memory_client(org, "admin")
    await _write_rates(
        client,
        org,
        {
            "EUR": {date(2026, 1, 1): "0.5", date(2026, 1, 10): "2"},
            "GBP": {date(2026, 1, 1): "0.1"},
            "CHF": {date(2026, 1, 1): "4.2"},
        },
    )
    euros = [("2026-01-05", 1), ("2026-01-06", 2), ("2026-01-07", 2), ("2026-01-12", 4)]
    await _write(
        client,
        org,
        [
            _entry(day, metrics={"currency_code": "EUR", "spend_micros": amount})
            for day, amount in euros
        ]
        + [_entry("2026-01-05", account_id="act_2", metrics={"currency_code": "USD", "clicks": 3})],
    )

    async def spent(code: str, **fields: Any) -> list[int]:
        rows = await _query(
            client, org, currency_code=code, filter='account_id = "act_1"', **fields
        )
        assert {row.metrics.currency_code for row in rows} == {code}
        return [row.metrics.spend_micros for row in rows]

    # 5 * 0.5 + 4 * 2 = 10.5, which is 10: rounding each day would give 0 + 1 + 1 + 8.
    assert await spent("USD") == [10]
    assert await spent("USD", granularity="GRANULARITY_DAY") == [0, 1, 1, 8]
    assert await spent("EUR") == [9]
    assert await spent("GBP") == [105]
    # 10.5 / 4.2 is 2.5, though no day's share of it is a finite decimal.
    assert await spent("CHF") == [2]


async def test_a_missing_rate_is_named_once(memory_client: Any, org: str) -> None:
    """The error names each currency with the days that lack a rate; other rows need none."""
    client = memory_client(org, "admin")
    await _write_rates(client, org, {"GBP": {date(2026, 1, 8): "1.3"}})
    await _write(
        client,
        org,
        [
            _entry("2026-01-05", metrics={"currency_code": "EUR", "spend_micros": 1}),
            _entry("2026-01-09", metrics={"currency_code": "EUR", "revenue_micros": 1}),
            _entry("2026-01-12", metrics={"currency_code": "EUR", "clicks": 1}),
            _entry("2026-01-06", metrics={"currency_code": "GBP", "spend_micros": 1}),
            _entry(
                "2026-01-09", campaign_id="c2", metrics={"currency_code": "GBP", "spend_micros": 2}
            ),
            _entry("2026-01-07", metrics={"currency_code": "USD", "spend_micros": 1}),
            _entry("2026-01-07", campaign_id="c3", metrics={"clicks": 1}),
        ],
    )
    fields = {"currency_code": "USD", "granularity": "GRANULARITY_DAY", "page_size": 1}
    error = await _refused(_query(client, org, **fields))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == (
        "Load exchange rates for EUR/USD on 2026-01-05 to 2026-01-09, GBP/USD on 2026-01-06, "
        "or ask without a currency."
    )
    del fields["page_size"]
    assert (await _refused(_arrow(client, org, **fields))).details() == error.details()
    without = 'NOT (currency_code = "EUR" AND date < 2026-01-10) AND NOT date = 2026-01-06'
    rows = await _query(client, org, currency_code="USD", filter=without)
    assert rows[0].metrics.spend_micros == 4, "2 * 1.3 + 1 = 3.6"
    error = await _refused(_query(client, org, currency_code="CHF", filter="date = 2026-01-07"))
    assert "CHF/USD on 2026-01-07," in (error.details() or "")


async def test_a_sum_beyond_64_bits_is_refused(memory_client: Any, org: str) -> None:
    """The caller hears what to do; a single value at the limit is fine."""
    client = memory_client(org, "admin")
    metrics = {"currency_code": "EUR", "spend_micros": INT64_MAXIMUM}
    await _write(client, org, [_entry(metrics=metrics), _entry("2026-01-06", metrics=metrics)])
    await _write_rates(client, org, {"EUR": {date(2026, 1, 1): "1.5"}})
    daily = await _query(client, org, granularity="GRANULARITY_DAY")
    assert [row.metrics.spend_micros for row in daily] == [INT64_MAXIMUM] * 2
    for fields in (
        {},
        {"currency_code": "EUR"},
        {"currency_code": "USD", "filter": "date = 2026-01-06"},
    ):
        for call in (_query(client, org, **fields), _arrow(client, org, **fields)):
            error = await _refused(call)
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "date_range: a sum does not fit into 64 bits" in (error.details() or "")
    assert len(await _query(client, org, granularity="GRANULARITY_DAY")) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"level": 0},
        {"level": 99},
        {"granularity": 99},
        {"date_range": None},
        {"date_range": {"start_date": "2026-02-30", "end_date": "2026-03-01"}},
        {"date_range": {"start_date": "2026-01-02", "end_date": "2026-01-01"}},
        {"date_range": {"start_date": "2015-01-01", "end_date": "2025-12-14"}},
        {"date_range": {"start_date": "2026-01-01", "end_date": "01/31/2026"}},
        {"group_by": ["colour"]},
        {"group_by": ["channel", "channel"]},
        {"group_by": DIMENSIONS[:9]},
        {"filter": "org = acme"},
        {"filter": "clicks > 3"},
        {"filter": "platform = meta OR"},
        {"minimum_quality_score": -0.1},
        {"minimum_quality_score": float("nan")},
        {"currency_code": "euro"},
        {"currency_code": "ZZZ"},
        {"consistency": marketing_pb2.Consistency(at_least_as_fresh="mine")},
    ],
)
async def test_bad_questions_are_refused(
    memory_client: Any, org: str, fields: dict[str, Any]
) -> None:
    """Both ways to ask refuse what breaks a rule."""
    client = memory_client(org, "reader")
    for call in (_query(client, org, **fields), _arrow(client, org, **fields)):
        assert (await _refused(call)).code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_page_tokens_belong_to_their_question(memory_client: Any, org: str) -> None:
    """A token works for the same question and org only, and page sizes are bounded."""
    client = memory_client(org, "admin")
    await _write(
        client, org, [_entry(day, metrics={"clicks": 1}) for day in ("2026-01-05", "2026-01-06")]
    )
    daily = {"granularity": "GRANULARITY_DAY", "page_size": 1}
    page = await client.QueryMetrics(pb.QueryMetricsRequest(**_request(org, **daily)))
    token = page.next_page_token
    assert token
    for fields in (
        daily | {"page_token": token, "group_by": ["platform"]},
        daily | {"page_token": f"{token[:-2]}zz"},
        daily | {"page_size": 5_001},
        daily | {"page_size": -1},
    ):
        error = await _refused(
            client.QueryMetrics(pb.QueryMetricsRequest(**_request(org, **fields)))
        )
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    other = f"{org}-other"
    stolen = pb.QueryMetricsRequest(**_request(other, **daily, page_token=token))
    error = await _refused(memory_client(other, "reader").QueryMetrics(stolen))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_write_is_seen_by_its_token(memory_client: Any, org: str) -> None:
    """A read that asks for a write covers it."""
    client = memory_client(org, "admin")
    token = await _write(client, org, [_entry(metrics={"clicks": 1})])
    fresh = marketing_pb2.Consistency(at_least_as_fresh=token)
    (row,) = await _query(client, org, consistency=fresh)
    assert row.metrics.clicks == 1


async def test_nothing_found_is_no_row(memory_client: Any, org: str) -> None:
    """Without entries there are no rows, but the stream still has its schema."""
    client = memory_client(org, "reader")
    assert await _query(client, org) == []
    table = await _arrow(client, org, group_by=["channel"])
    assert table.num_rows == 0
    assert table.column_names[:5] == [
        *("period_start_date", "channel", "date_basis", "breakdown", "currency_code")
    ]
    assert not (await _arrow(client, org, currency_code="EUR")).num_rows


async def test_a_long_stream_comes_in_pieces(memory_client: Any, org: str) -> None:
    """Texts of many kinds and sizes come through whole, in pieces of at most 1 MiB."""
    client = memory_client(org, "admin")
    names = [f'"{index}, \\. ☃' + "長" * (index % 200) for index in range(3_000)]
    for start in range(0, len(names), 500):
        await _write(
            client,
            org,
            [
                _entry(campaign_id=name, metrics={"clicks": index})
                for index, name in enumerate(names[start : start + 500], start)
            ],
        )
    table = await _arrow(client, org, group_by=["campaign_id"])
    assert dict(
        zip(table["campaign_id"].to_pylist(), table["clicks"].to_pylist(), strict=True)
    ) == {name: index for index, name in enumerate(names)}
    assert table["campaign_id"].to_pylist() == sorted(names)
    rows = await _query(client, org, group_by=["campaign_id"], page_size=700)
    assert [row.group["campaign_id"] for row in rows] == sorted(names)


async def test_a_reader_who_leaves_costs_no_connection(memory_client: Any, org: str) -> None:
    """A stream that is cancelled half way gives its connection back in working order."""
    client = memory_client(org, "admin")
    for batch in range(5):
        await _write(
            client,
            org,
            [
                _entry(campaign_id=f"{batch} {index:0>250}", metrics={"clicks": index})
                for index in range(500)
            ],
        )
    fields = _request(org, group_by=["campaign_id", "channel", "ad_id"])
    for _ in range(30):
        call = client.QueryMetricsArrow(pb.QueryMetricsArrowRequest(**fields))
        async for _piece in call:
            break
        call.cancel()
    (row,) = await _query(client, org)
    assert row.entry_count == 2_500


# Any question, answered again in plain Python over the listed entries.


def _random_entries() -> list[entry_pb2.Entry]:
    chance = random.Random(20_260_105)
    entries = {}
    for _ in range(450):
        currency = chance.choice(["EUR", "GBP", "USD", ""])
        metrics: dict[str, Any] = {"currency_code": currency} if currency else {}
        for name in ADDITIVE_METRICS:
            if name == "value_micros" or (name in MONEY and not currency):
                continue
            if chance.random() < 0.4:
                metrics[name] = chance.choice(
                    [0, 1, chance.randrange(10**4), chance.randrange(10**13)]
                )
        level = chance.choice(["CAMPAIGN", "CAMPAIGN", "CAMPAIGN", "AD_GROUP"])
        entry = _entry(
            (FIRST_DAY + timedelta(chance.randrange(DAYS))).isoformat(),
            platform=chance.choice(["meta", "google_ads"]),
            level=f"ENTRY_LEVEL_{level}",
            account_id=chance.choice(["act_1", "act_2", "ACT_3"]),
            campaign_id=chance.choice(["c1", "c2", "C3"]),
            ad_group_id="g1" if level == "AD_GROUP" else "",
            channel=chance.choice(["", "EMAIL", "social"]),
            attribution_key=chance.choice(["", "7d_click"]),
            date_basis=chance.choice([1, 2]),
            breakdown_key=chance.choice(["", "country=DE"]),
            final=chance.random() < 0.5,
            metrics=metrics,
        )
        key = entry_pb2.Entry()
        key.CopyFrom(entry)
        for field in ("metrics", "final", "channel"):
            key.ClearField(field)
        entries[key.SerializeToString(deterministic=True)] = entry
    return list(entries.values())


@pytest.fixture(scope="module")
async def listed(memory_client: Any) -> list[entry_pb2.Entry]:
    """Entries of every kind, as the server lists them."""
    client = memory_client(PROPERTY_ORG, "admin")
    await _write(client, PROPERTY_ORG, _random_entries())
    await _write_rates(client, PROPERTY_ORG, RATES)
    answer = await client.ListEntries(
        pb.ListEntriesRequest(parent=f"orgs/{PROPERTY_ORG}", page_size=1_000)
    )
    assert len(answer.entries) > 400
    assert not answer.next_page_token
    return list(answer.entries)


@dataclass(frozen=True)
class _Question:
    start: date
    end: date
    level: str
    granularity: str
    group_by: tuple[str, ...]
    currency_code: str
    minimum_quality_score: float | None
    only_meta: bool
    page_size: int

    @property
    def dimensions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.group_by, "date_basis", "breakdown")))

    def fields(self) -> dict[str, Any]:
        return {
            "date_range": marketing_pb2.DateRange(
                start_date=self.start.isoformat(), end_date=self.end.isoformat()
            ),
            "level": f"ENTRY_LEVEL_{self.level}",
            "granularity": f"GRANULARITY_{self.granularity}",
            "group_by": self.group_by,
            "currency_code": self.currency_code,
            "minimum_quality_score": self.minimum_quality_score,
            "filter": "platform = meta" if self.only_meta else "",
        }

    def takes(self, entry: entry_pb2.Entry) -> bool:
        return (
            self.start <= date.fromisoformat(entry.date) <= self.end
            and entry_pb2.EntryLevel.Name(entry.level) == f"ENTRY_LEVEL_{self.level}"
            and entry.quality.score >= (self.minimum_quality_score or 0.0)
            and (not self.only_meta or entry.platform == "meta")
        )

    def period(self, day: date) -> date:
        match self.granularity:
            case "DAY":
                return day
            case "WEEK":
                year, week, _ = day.isocalendar()
                return date.fromisocalendar(year, week, 1)
            case "MONTH":
                return day.replace(day=1)
            case "QUARTER":
                return date(day.year, (day.month - 1) // 3 * 3 + 1, 1)
            case "YEAR":
                return date(day.year, 1, 1)
            case _:
                return self.start

    def dimension(self, entry: entry_pb2.Entry, name: str) -> str | int:
        if name == "day_of_week":
            return date.fromisoformat(entry.date).isoweekday()
        if name == "breakdown":
            return "&".join(part.partition("=")[0] for part in entry.breakdown_key.split("&"))
        value: str | int = getattr(entry, name)
        return value


@st.composite
def _questions(draw: st.DrawFn) -> _Question:
    first, last = sorted(draw(st.tuples(*[st.integers(-2, DAYS + 1)] * 2)))
    return _Question(
        start=FIRST_DAY + timedelta(first),
        end=FIRST_DAY + timedelta(last),
        level=draw(st.sampled_from(["CAMPAIGN", "AD_GROUP", "OUTCOME"])),
        granularity=draw(
            st.sampled_from(["DAY", "WEEK", "MONTH", "QUARTER", "YEAR", "TOTAL", "UNSPECIFIED"])
        ),
        group_by=tuple(draw(st.lists(st.sampled_from(DIMENSIONS), max_size=8, unique=True))),
        currency_code=draw(st.sampled_from(["", "", "USD", "EUR", "GBP"])),
        minimum_quality_score=draw(st.none() | st.floats(0.5, 1.0)),
        only_meta=draw(st.booleans()),
        page_size=draw(st.sampled_from([0, 7, 40])),
    )


def _rate(code: str, day: date) -> Fraction:
    if code == "USD":
        return Fraction(1)
    return Fraction(RATES[code][max(first for first in RATES[code] if first <= day)])


def _expected(question: _Question, entries: Sequence[entry_pb2.Entry]) -> list[dict[str, Any]]:
    groups: dict[tuple[Any, ...], list[entry_pb2.Entry]] = defaultdict(list)
    for entry in filter(question.takes, entries):
        groups[
            question.period(date.fromisoformat(entry.date)),
            *(question.dimension(entry, name) for name in question.dimensions),
            question.currency_code or entry.metrics.currency_code,
        ].append(entry)
    rows = []
    for key, members in sorted(groups.items(), key=lambda item: item[0]):
        period, *dimensions, currency = key
        sums = {name: _sum(question, name, members) for name in ADDITIVE_METRICS}
        texts = [
            DATE_BASES[value - 1] if name == "date_basis" else str(value)
            for name, value in zip(question.dimensions, dimensions, strict=True)
        ]
        rows.append(
            {"period_start_date": period}
            | dict(zip(question.dimensions, texts, strict=True))
            | {"currency_code": currency or None}
            | sums
            | _ratios(question, members)
            | {
                "entry_count": len(members),
                "quality_score": min(entry.quality.score for entry in members),
                "final": all(entry.final for entry in members),
            }
        )
    return rows


def _ratios(question: _Question, members: Sequence[entry_pb2.Entry]) -> dict[str, float | None]:
    """Return each ratio over the sources that have both of its sides."""
    sources: dict[tuple[str, ...], list[entry_pb2.Entry]] = defaultdict(list)
    by_object = not OBJECT_DIMENSIONS.isdisjoint(question.group_by)
    for entry in members:
        account = (entry.platform, entry.account_id, str(entry.channel.lower() == "email"))
        sources[() if by_object else account].append(entry)
    found: dict[str, float | None] = {}
    for metric in DERIVED_METRICS:
        above: list[entry_pb2.Entry] = []
        below: dict[str, list[entry_pb2.Entry]] = {one.column: [] for one in metric.denominators}
        for entries in sources.values():
            reported: set[str] = set()
            for each in entries:
                reported.update(field.name for field, _ in each.metrics.ListFields())
            sides = [name for name in below if name in reported]
            if sides and metric.numerator in reported:
                above += entries
                below[sides[0]] += entries
        total = 0.0
        for one in metric.denominators:
            total += (_sum(question, one.column, below[one.column]) or 0) * one.divisor
        numerator = _sum(question, metric.numerator, above)
        found[metric.name] = float(numerator) / total if numerator is not None and total else None
    return found


def _sum(question: _Question, name: str, members: Sequence[entry_pb2.Entry]) -> int | None:
    total = Fraction(0)
    is_set = False
    for entry in members:
        metrics: Any = entry.metrics
        if not metrics.HasField(name):
            continue
        is_set = True
        amount = Fraction(getattr(metrics, name))
        if question.currency_code and name in MONEY:
            day = date.fromisoformat(entry.date)
            amount *= _rate(metrics.currency_code, day) / _rate(question.currency_code, day)
        total += amount
    return round(total) if is_set else None


def _flat(row: pb.MetricsRow, group_by: Sequence[str]) -> dict[str, Any]:
    assert sorted(row.group) == sorted(group_by)
    apart = {"date_basis": row.date_basis, "breakdown": row.breakdown}
    return (
        {"period_start_date": date.fromisoformat(row.period_start_date)}
        | {name: row.group[name] for name in group_by}
        | {name: value for name, value in apart.items() if name not in group_by}
        | {"currency_code": row.metrics.currency_code or None}
        | _set_or_none(row.metrics, ADDITIVE_METRICS)
        | _set_or_none(row.derived_metrics, DERIVED_METRIC_NAMES)
        | {
            "entry_count": row.entry_count,
            "quality_score": row.quality_score,
            "final": row.final,
        }
    )


def _set_or_none(message: Any, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(message, name) if message.HasField(name) else None for name in names}


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=_questions())
async def test_any_question_has_the_answer_of_plain_python(
    memory_client: Any, listed: list[entry_pb2.Entry], question: _Question
) -> None:
    """Rows, their order, sums, ratios and conversion agree with exact arithmetic, both ways."""
    client = memory_client(PROPERTY_ORG, "reader")
    expected = _expected(question, listed)
    rows = await _query(client, PROPERTY_ORG, page_size=question.page_size, **question.fields())
    assert [_flat(row, question.group_by) for row in rows] == expected
    table = await _arrow(client, PROPERTY_ORG, **question.fields())
    assert table.to_pylist() == expected
    if expected:
        assert table.column_names == list(expected[0])


# The database reads no more than it must.


async def _plan(database: TestDatabase, org: str, **fields: Any) -> str:
    request = pb.QueryMetricsRequest(**_request(org, **fields))
    statement = metrics_statement(query_of(request), org=org, limit=100)
    connection = await asyncpg.connect(
        database.url, server_settings={"search_path": "memory", "enable_seqscan": "off"}
    )
    try:
        async with connection.transaction():
            await connection.execute("select set_config('liftos.org', $1, true)", org)
            lines = await connection.fetch(
                f"explain (costs off) {statement.sql}", *statement.values
            )
    finally:
        await connection.close()
    return "\n".join(line[0] for line in lines)


async def test_only_the_months_of_a_question_are_read(
    database: TestDatabase, listed: list[entry_pb2.Entry]
) -> None:
    """A question about January touches the partition of January and no other."""
    plan = await _plan(database, PROPERTY_ORG)
    assert "entries_2026_01" in plan
    assert "entries_2025_12" not in plan
    assert "entries_2026_02" not in plan


async def test_narrow_questions_use_the_index_of_objects(
    database: TestDatabase, listed: list[entry_pb2.Entry]
) -> None:
    """One account is found by the index of objects, with its level and days."""
    plan = await _plan(database, PROPERTY_ORG, filter='platform = "meta" AND account_id = "act_1"')
    condition = next(line for line in plan.splitlines() if "Index Cond" in line)
    assert "entries_2026_01_org_platform_account_id_level_date_idx" in plan
    for column in ("org", "platform", "account_id", "level", "date"):
        assert f"({column} " in condition
