"""Comparisons through the server, on Postgres."""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

import grpc
import pytest
from tests.inprocess.kit.statuses import refusal_of

from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import entry_pb2
from liftos.memory.v1 import memory_service_pb2 as pb

ASKED = (date(2025, 11, 3), date(2025, 11, 30))
BASELINE = (date(2025, 10, 6), date(2025, 11, 2))
THANKSGIVING = date(2025, 11, 27)
SHIFT_DAYS = 2
CAMPAIGN = entry_pb2.ENTRY_LEVEL_CAMPAIGN
OUTCOME = entry_pb2.ENTRY_LEVEL_OUTCOME


def _days(*periods: tuple[date, date]) -> Iterable[date]:
    for start, end in periods:
        for offset in range((end - start).days + 1):
            yield start + timedelta(days=offset)


def _entry(day: date, platform: str, **metrics: Any) -> entry_pb2.Entry:
    outcome = platform == "commerce"
    entry = entry_pb2.Entry(
        platform=platform,
        level=OUTCOME if outcome else CAMPAIGN,
        account_id="a",
        campaign_id="" if outcome else "c",
        channel=metrics.pop("channel", ""),
        date=day.isoformat(),
        attribution_key=metrics.pop("attribution_key", ""),
        final=True,
    )
    for name, value in ({"currency_code": "USD"} | metrics).items():
        setattr(entry.metrics, name, value)
    return entry


async def _write(client: Any, org: str, entries: Iterable[entry_pb2.Entry]) -> None:
    answer = await client.BatchUpsertEntries(
        pb.BatchUpsertEntriesRequest(
            parent=f"orgs/{org}", rows=entry_pb2.EntryBatch(entries=entries)
        )
    )
    assert not answer.item_errors, answer.item_errors


def _range(days: tuple[date, date]) -> marketing_pb2.DateRange:
    return marketing_pb2.DateRange(start_date=days[0].isoformat(), end_date=days[1].isoformat())


async def _compare(client: Any, org: str, *metrics: str, **fields: Any) -> Any:
    request: dict[str, Any] = {
        "parent": f"orgs/{org}",
        "date_range": _range(ASKED),
        "level": CAMPAIGN,
        "metrics": metrics,
        "dimension": "platform",
    }
    return await client.CompareMetrics(pb.CompareMetricsRequest(**(request | fields)))


async def _refused(call: Any) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refusal_of(refused.value)


def _season(day: date) -> int:
    """A level that moves from week to week and day to day, so that it can be recognised."""
    return 1_000 + 37 * (day.toordinal() * day.toordinal() % 23)


async def _two_channels(client: Any, org: str) -> None:
    """Meta, Google two days behind it, and the shop; three times as much on Thanksgiving."""
    entries = []
    for day in _days(BASELINE, ASKED):
        boost = 3 if day == THANKSGIVING else 1
        weekend = 2 if day.weekday() >= 5 else 1
        doubled = 2 if day >= ASKED[0] else 1
        entries += [
            _entry(
                day,
                "meta",
                spend_micros=100_000_000 * doubled,
                revenue_micros=300_000_000 * doubled,
                impressions=10_000,
                clicks=_season(day) * boost * weekend,
                attribution_key="7d_click",
            ),
            _entry(
                day,
                "google_ads",
                spend_micros=100_000_000,
                revenue_micros=200_000_000,
                impressions=20_000,
                clicks=_season(day - timedelta(days=SHIFT_DAYS)) * weekend,
            ),
            _entry(day, "commerce", revenue_micros=450_000_000),
        ]
    await _write(client, org, entries)


async def test_channels_and_periods_are_set_against_each_other(
    memory_client: Any, org: str
) -> None:
    """Values, changes, effects, the lag, the holiday and the shop's ratio are those of the data."""
    client = memory_client(org, "admin")
    await _two_channels(client, org)
    answer = await _compare(client, org, "roas", "spend", "clicks", "ctr")
    assert answer.baseline_date_range == _range(BASELINE)
    by = {(each.member, each.metric): each for each in answer.comparisons}
    assert list(by) == [
        (member, metric)
        for metric in ("roas", "spend", "clicks", "ctr")
        for member in ("google_ads", "meta")
    ]
    roas, spend = by["meta", "roas"], by["meta", "spend"]
    assert (roas.value, roas.baseline_value, roas.change, roas.percentile) == (3.0, 3.0, 0.0, 1.0)
    assert (spend.value, spend.change, spend.change_ratio) == (5_600.0, 2_800.0, 1.0)
    assert (spend.currency_code, by["meta", "clicks"].currency_code) == ("USD", "")
    assert (spend.day_count, spend.baseline_day_count, spend.final) == (28, 28, True)
    assert spend.interval_low == spend.interval_high == pytest.approx(5_600.0)
    total = next(each for each in answer.totals if each.metric == "roas")
    assert total.value == pytest.approx((600 + 200) / 300)
    assert (total.rate_effect, total.mix_effect) == (0.0, pytest.approx(total.change))
    assert by["meta", "ctr"].interval_method == pb.INTERVAL_METHOD_WILSON
    assert roas.interval_method == pb.INTERVAL_METHOD_DELTA
    [efficiency] = answer.marketing_efficiency
    assert (efficiency.value, efficiency.baseline_value) == (1.5, 2.25)
    effects = {(each.member, each.metric, each.day_name): each for each in answer.calendar_effects}
    assert effects["meta", "clicks", "Thanksgiving Day"].ratio == pytest.approx(3.0, rel=0.3)
    assert effects["google_ads", "clicks", "Thanksgiving Day"].ratio == pytest.approx(1.0, rel=0.3)
    saturday = effects["google_ads", "clicks", "SATURDAY"]
    assert saturday.interval_low < saturday.ratio < saturday.interval_high
    assert saturday.interval_low > 1.2
    assert {each.kind for each in answer.caveats} == {pb.COMPARISON_CAVEAT_KIND_ATTRIBUTION_DIFFERS}


async def test_the_lag_between_two_channels_is_found(memory_client: Any, org: str) -> None:
    """Google follows Meta by two days; a smaller maximum does not find it."""
    client = memory_client(org, "admin")
    await _two_channels(client, org)
    without_holiday = {"date_range": _range((date(2025, 10, 6), date(2025, 11, 2)))}
    found = (await _compare(client, org, "clicks", **without_holiday)).correlations
    assert [(each.first_member, each.second_member, each.lag_days) for each in found] == [
        ("google_ads", "meta", -SHIFT_DAYS)
    ]
    assert found[0].coefficient > 0.8
    assert found[0].p_value < 0.001
    assert found[0].day_count == 28 - SHIFT_DAYS
    nearer = await _compare(client, org, "clicks", maximum_lag_days=1, **without_holiday)
    assert nearer.correlations[0].coefficient < found[0].coefficient


async def test_values_are_those_of_the_sums(memory_client: Any, org: str) -> None:
    """A comparison and a query give the same bits."""
    client = memory_client(org, "admin")
    await _two_channels(client, org)
    names = ("ctr", "cpc", "cpm", "roas")
    compared = await _compare(client, org, *names)
    rows = (
        await client.QueryMetrics(
            pb.QueryMetricsRequest(
                parent=f"orgs/{org}",
                date_range=_range(ASKED),
                level=CAMPAIGN,
                group_by=["platform"],
            )
        )
    ).rows
    assert {(each.member, each.metric): each.value for each in compared.comparisons} == {
        (row.group["platform"], name): getattr(row.derived_metrics, name)
        for row in rows
        for name in names
    }


async def test_ratios_take_only_sources_that_have_both_sides(memory_client: Any, org: str) -> None:
    """Television has no part in a total's CPM; a campaign without sales has one in its ROAS."""
    client = memory_client(org, "admin")
    entries = []
    for day in _days(BASELINE, ASKED):
        doubled = 2 if day >= ASKED[0] else 1
        sells = _entry(
            day,
            "meta",
            spend_micros=10_000_000,
            impressions=1_000 * doubled,
            revenue_micros=60_000_000,
        )
        idle = _entry(day, "meta", spend_micros=5_000_000, impressions=500)
        idle.campaign_id = "idle"
        tv = _entry(day, "offline", spend_micros=900_000_000 * doubled)
        tv.campaign_id = "tv"
        shop = _entry(day, "google_ads", revenue_micros=70_000_000, conversions_micros=2_000_000)
        shop.account_id, shop.campaign_id = "b", "shop"
        orders = _entry(day, "google_ads", revenue_micros=30_000_000, orders=1)
        orders.campaign_id = "orders"
        entries += [sells, idle, tv, shop, orders]
    await _write(client, org, entries)
    metrics = ("cpm", "roas", "spend", "average_order_value")
    answer = await _compare(client, org, *metrics, dimension="campaign_id")
    values = {(each.member, each.metric): each for each in answer.comparisons}
    totals = {each.metric: each for each in answer.totals}
    assert totals["cpm"].value == 28 * 15e6 / (28 * 2_500 * 1e3) == 6.0
    assert totals["roas"].value == 60 / 15
    assert totals["average_order_value"].value == (70 + 30) / (2 + 1)
    assert values["c", "roas"].value == 6.0
    assert not values["idle", "roas"].HasField("value")
    for metric in ("cpm", "roas"):
        parts = [
            each.mix_effect + each.rate_effect
            for each in answer.comparisons
            if each.metric == metric
        ]
        assert sum(parts) == pytest.approx(totals[metric].change)
    for dimension in ("campaign_id", "platform", "channel", "day_of_week"):
        compared = await _compare(client, org, "cpm", "roas", dimension=dimension)
        rows = await client.QueryMetrics(
            pb.QueryMetricsRequest(
                parent=f"orgs/{org}",
                date_range=_range(ASKED),
                level=CAMPAIGN,
                group_by=[dimension],
            )
        )
        assert {
            (each.member, each.metric, each.HasField("value"), each.value)
            for each in compared.comparisons
        } == {
            (
                row.group[dimension],
                name,
                row.derived_metrics.HasField(name),
                getattr(row.derived_metrics, name),
            )
            for row in rows.rows
            for name in ("cpm", "roas")
        }


async def test_currencies_are_apart_unless_converted(memory_client: Any, org: str) -> None:
    """Amounts of two currencies are never ranked or added, and a missing rate is told."""
    client = memory_client(org, "admin")
    entries = []
    for day in _days(ASKED):
        entries += [
            _entry(day, "meta", spend_micros=10_000_000, clicks=10),
            _entry(day, "google_ads", spend_micros=20_000_000, clicks=20, currency_code="EUR"),
            _entry(day, "klaviyo", clicks=5, currency_code=""),
        ]
    await _write(client, org, entries)
    answer = await _compare(client, org, "spend", "clicks")
    assert [
        (each.member, each.metric, each.currency_code, each.HasField("percentile"))
        for each in answer.comparisons
    ] == [
        ("google_ads", "spend", "EUR", False),
        ("meta", "spend", "USD", False),
        ("google_ads", "clicks", "", True),
        ("klaviyo", "clicks", "", True),
        ("meta", "clicks", "", True),
    ]
    kinds = {each.kind for each in answer.caveats}
    assert pb.COMPARISON_CAVEAT_KIND_CURRENCIES in kinds
    assert pb.COMPARISON_CAVEAT_KIND_BASELINE_EMPTY in kinds
    assert not any(each.HasField("change") for each in answer.comparisons)
    refusal = await _refused(_compare(client, org, "spend", currency_code="USD"))
    assert refusal.reason == "ERROR_REASON_RATE_MISSING"


async def test_a_baseline_of_another_year_reads_only_its_days(memory_client: Any, org: str) -> None:
    """What lies between the two periods is no part of any number."""
    client = memory_client(org, "admin")
    year_before = (date(2024, 11, 4), date(2024, 12, 1))
    between = (date(2025, 1, 1), date(2025, 1, 31))
    await _write(
        client,
        org,
        [
            *(_entry(day, "meta", clicks=1) for day in _days(year_before)),
            *(_entry(day, "google_ads", clicks=1_000) for day in _days(between)),
            *(_entry(day, "meta", clicks=2) for day in _days(ASKED)),
        ],
    )
    answer = await _compare(client, org, "clicks", baseline_date_range=_range(year_before))
    [compared] = answer.comparisons
    assert (compared.member, compared.value, compared.baseline_value) == ("meta", 56.0, 28.0)


@pytest.mark.parametrize(
    ("fields", "violation"),
    [
        ({"metrics": ["reach"]}, "metrics[0]"),
        ({"dimension": "weather"}, "dimension"),
        ({"baseline_date_range": _range(ASKED)}, "baseline_date_range"),
        ({"date_range": _range((date(2020, 1, 1), date(2025, 1, 1)))}, "date_range"),
        ({"maximum_lag_days": 29}, "maximum_lag_days"),
    ],
    ids=str,
)
async def test_bad_questions_are_refused(
    memory_client: Any, org: str, fields: dict[str, Any], violation: str
) -> None:
    """Each names the field and says what would be right."""
    metrics = fields.pop("metrics", ["clicks"])
    refusal = await _refused(_compare(memory_client(org, "admin"), org, *metrics, **fields))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [each[0] for each in refusal.violations] == [violation]


async def test_what_would_count_twice_is_refused(memory_client: Any, org: str) -> None:
    """Whole days and breakdowns of them, or two date bases, are not added; one can be chosen."""
    client = memory_client(org, "admin")
    whole = _entry(ASKED[0], "meta", clicks=10)
    parts = [_entry(ASKED[0], "meta", clicks=5) for _ in range(2)]
    for part, gender in zip(parts, ("female", "male"), strict=True):
        part.breakdown_key = f"gender={gender}"
    await _write(client, org, [whole, *parts])
    refusal = await _refused(_compare(client, org, "clicks"))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [each[0] for each in refusal.violations] == ["filter"]
    assert "(whole days, gender)" in refusal.message
    for chosen in ('breakdown_key = ""', 'breakdown_key != ""'):
        [compared] = (await _compare(client, org, "clicks", filter=chosen)).comparisons
        assert compared.value == 10.0
    by_gender = await _compare(
        client, org, "clicks", filter='breakdown_key != ""', dimension="breakdown_key"
    )
    assert [each.member for each in by_gender.comparisons] == ["gender=female", "gender=male"]


async def test_conversions_count_by_the_day_of_the_click(memory_client: Any, org: str) -> None:
    """What a platform tells by two days is not added, nor refused: one is taken, which is said."""
    client = memory_client(org, "admin")
    clicks = _entry(ASKED[0], "google_ads", clicks=10, conversions_micros=3_000_000)
    conversions = _entry(ASKED[0], "google_ads", conversions_micros=4_000_000)
    conversions.date_basis = entry_pb2.DATE_BASIS_CONVERSION
    await _write(client, org, [clicks, conversions, _entry(ASKED[0], "meta", clicks=10)])
    answer = await _compare(client, org, "conversions")
    assert {each.member: each.value for each in answer.comparisons}["google_ads"] == 3.0
    told = {each.kind: each.message for each in answer.caveats}
    assert "google_ads" in told[pb.COMPARISON_CAVEAT_KIND_DATE_BASIS]
    chosen = await _compare(client, org, "conversions", filter="date_basis = CONVERSION")
    assert [each.value for each in chosen.comparisons] == [4.0]
    assert pb.COMPARISON_CAVEAT_KIND_DATE_BASIS not in {each.kind for each in chosen.caveats}
    by_basis = await _compare(client, org, "conversions", dimension="date_basis")
    assert {each.member: each.value for each in by_basis.comparisons} == {
        "CONVERSION": 4.0,
        "INTERACTION": 3.0,
    }


async def test_caveats_tell_what_to_mind(memory_client: Any, org: str) -> None:
    """Unfinished days, several attributions of one member, and a break between the periods."""
    client = memory_client(org, "admin")
    days = (date(2026, 1, 5), date(2026, 1, 18))
    entries = [_entry(day, "meta", revenue_micros=1_000_000) for day in _days(days)]
    entries += [
        _entry(day, "meta", revenue_micros=2_000_000, attribution_key="1d_view")
        for day in _days(days)
    ]
    for each in entries:
        each.final = each.date < "2026-01-18"
    await _write(client, org, entries)
    answer = await _compare(client, org, "revenue", date_range=_range(days))
    told = {each.kind: each for each in answer.caveats}
    assert set(told) == {
        pb.COMPARISON_CAVEAT_KIND_ATTRIBUTION_MIXED,
        pb.COMPARISON_CAVEAT_KIND_NOT_FINAL,
        pb.COMPARISON_CAVEAT_KIND_STRUCTURAL_BREAK,
        pb.COMPARISON_CAVEAT_KIND_BASELINE_EMPTY,
    }
    assert list(told[pb.COMPARISON_CAVEAT_KIND_NOT_FINAL].members) == ["meta"]
    assert "2026-01-12" in told[pb.COMPARISON_CAVEAT_KIND_STRUCTURAL_BREAK].message
    assert not answer.comparisons[0].final

    async def breaks(*metrics: str, **fields: Any) -> list[list[str]]:
        found = await _compare(client, org, *metrics, date_range=_range(days), **fields)
        kind = pb.COMPARISON_CAVEAT_KIND_STRUCTURAL_BREAK
        return [list(each.metrics) for each in found.caveats if each.kind == kind]

    # The end of Meta's windows says nothing of clicks, nor of another platform.
    assert await breaks("revenue", "clicks") == [["revenue"]]
    assert await breaks("clicks") == []
    await _write(client, org, [_entry(day, "google_ads", revenue_micros=1) for day in _days(days)])
    assert await breaks("revenue", filter='platform = "google_ads"') == []


async def test_what_is_not_stored_of_a_period_is_told(memory_client: Any, org: str) -> None:
    """Days that nobody has, and a platform that has fewer days than the others."""
    client = memory_client(org, "admin")
    later = (BASELINE[1] - timedelta(days=2), BASELINE[1])
    earlier = (BASELINE[0] + timedelta(days=8), BASELINE[1])
    await _write(
        client,
        org,
        [
            *(_entry(day, "google_ads", clicks=3) for day in _days(earlier, ASKED)),
            *(_entry(day, "meta", clicks=2) for day in _days(later, ASKED)),
            # What never reports a metric lacks no days of it.
            *(_entry(day, "offline", spend_micros=1) for day in _days(ASKED)),
        ],
    )
    answer = await _compare(client, org, "clicks")
    told = [(each.kind, each.message, list(each.members)) for each in answer.caveats]
    missing = pb.COMPARISON_CAVEAT_KIND_DAYS_MISSING
    days = "of the baseline (2025-10-06 to 2025-11-02)"
    assert told == [
        (
            missing,
            f"Only 20 of 28 days {days} have numbers, so that sums are not of whole periods.",
            [],
        ),
        (missing, f"Some have numbers on fewer than 20 days {days}: meta: 3.", ["meta"]),
    ]
    by_campaign = await _compare(client, org, "clicks", dimension="campaign_id")
    assert [list(each.members) for each in by_campaign.caveats] == [[]]


async def test_a_member_without_a_name_is_not_the_total(memory_client: Any, org: str) -> None:
    """Both are told apart in the numbers and in the effects of days."""
    client = memory_client(org, "admin")
    await _write(
        client,
        org,
        [
            _entry(day, platform, clicks=_season(day), channel=channel)
            for day in _days(BASELINE, ASKED)
            for platform, channel in (("meta", ""), ("google_ads", "search"))
        ],
    )
    answer = await _compare(client, org, "clicks", dimension="channel")
    assert [(each.member, each.total) for each in (*answer.comparisons, *answer.totals)] == [
        ("", False),
        ("search", False),
        ("", True),
    ]
    mondays = [each for each in answer.calendar_effects if each.day_name == "MONDAY"]
    assert [(each.member, each.total) for each in mondays] == [
        ("", False),
        ("search", False),
        ("", True),
    ]


async def test_an_org_without_entries_gets_an_empty_answer(memory_client: Any, org: str) -> None:
    """There is nothing to compare, which is said, and no error."""
    answer = await _compare(memory_client(org, "admin"), org, "roas", "clicks")
    found = [*answer.comparisons, *answer.correlations, *answer.calendar_effects]
    assert not found
    assert not any(each.HasField("value") for each in answer.totals)
    assert [each.kind for each in answer.caveats] == [
        pb.COMPARISON_CAVEAT_KIND_ASKED_EMPTY,
        pb.COMPARISON_CAVEAT_KIND_BASELINE_EMPTY,
    ]
