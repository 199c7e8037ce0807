"""Levels that do not add up: told by exports and insights, on Postgres."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

import pytest
from tests.e2e.memory.conftest import ClientFactory
from tests.e2e.memory.export_rows import entry
from tests.e2e.memory.test_exports import export, write

from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import entry_pb2
from liftos.memory.v1 import memory_service_pb2 as pb

FIRST: Final = date(2025, 3, 3)
DAYS: Final = 14


def _entries(account: str, rows: Sequence[Mapping[str, Any]]) -> Iterable[entry_pb2.Entry]:
    """Yield rows of each day; `level` of a row and numbers of its metrics."""
    for number in range(DAYS):
        for row in rows:
            fields = {"currency_code": "USD", "channel": "feed", **row}
            level = fields.pop("level")
            yield entry(FIRST + timedelta(days=number), "meta", level, account, **fields)


def _spent(level: str, spend: float, **fields: Any) -> Mapping[str, Any]:
    return {"level": level, "spend_micros": round(spend * 1_000_000), **fields}


ACCOUNTS: Final = {
    # What is compared, and what does not add up.
    "half": (
        [_spent("ACCOUNT", 1_000), _spent("CAMPAIGN", 500, campaign_id="c")],
        {"spend_micros"},
    ),
    "rounded": (
        [_spent("ACCOUNT", 1_000), _spent("CAMPAIGN", 991, campaign_id="c")],
        set(),
    ),
    "small": ([_spent("ACCOUNT", 1), _spent("CAMPAIGN", 0.2, campaign_id="c")], set()),
    # One campaign has no ad groups, as those of Performance Max; the other's add up.
    "partly": (
        [
            _spent("CAMPAIGN", 700, campaign_id="max"),
            _spent("CAMPAIGN", 300, campaign_id="c"),
            _spent("AD_GROUP", 100, campaign_id="c", ad_group_id="a"),
            _spent("AD_GROUP", 200, campaign_id="c", ad_group_id="b"),
        ],
        set(),
    ),
    "below": (
        [
            _spent("CAMPAIGN", 300, campaign_id="c"),
            _spent("AD_GROUP", 100, campaign_id="c", ad_group_id="a"),
        ],
        {"spend_micros"},
    ),
    # Clicks are unknown of one campaign, impressions are known of both.
    "unset": (
        [
            _spent("ACCOUNT", 10, clicks=100, impressions=1_000),
            _spent("CAMPAIGN", 5, campaign_id="c", clicks=50, impressions=500),
            _spent("CAMPAIGN", 5, campaign_id="d", impressions=400),
        ],
        {"impressions"},
    ),
    # Two ways of counting are never compared with each other.
    "windows": (
        [
            _spent("ACCOUNT", 10, attribution_key="7d_click"),
            _spent("CAMPAIGN", 90, campaign_id="c", attribution_key="1d_click"),
        ],
        set(),
    ),
}


@pytest.fixture(scope="module")
async def shop(memory_client: ClientFactory) -> str:
    """An org with an account for each case, and orders."""
    org = "levels-shop"
    entries = [one for account, (rows, _) in ACCOUNTS.items() for one in _entries(account, rows)]
    for number in range(DAYS):
        day = FIRST + timedelta(days=number)
        entries.append(
            entry(
                day,
                "commerce",
                "OUTCOME",
                "shop",
                currency_code="USD",
                revenue_micros=(1_000 + number) * 1_000_000,
                orders=10,
            )
        )
    await write(memory_client(org), org, entries)
    return org


async def _sidecar(client: Any, org: str, account: str, **fields: Any) -> Mapping[str, Any]:
    told = await export(
        client,
        org,
        format=pb.DATASET_FORMAT_LONG,
        granularity=pb.GRANULARITY_DAY,
        currency_code="USD",
        filter=f'account_id = "{account}"',
        date_range={
            "start_date": FIRST.isoformat(),
            "end_date": (FIRST + timedelta(days=DAYS - 1)).isoformat(),
        },
        **fields,
    )
    return told.sidecar


def _mismatches(quality: Mapping[str, Any]) -> Mapping[str, tuple[float, int]]:
    return {
        it["field"]: (it["cost"], it["entry_count"])
        for it in quality["issues"]
        if it["code"] == "LEVEL_MISMATCH"
    }


@pytest.mark.parametrize("account", ACCOUNTS)
async def test_an_export_lists_what_does_not_add_up(
    memory_client: ClientFactory, shop: str, account: str
) -> None:
    """Field, cost and days; the score is lower by just that, and a caveat names the account."""
    rows, fields = ACCOUNTS[account]
    sidecar = await _sidecar(memory_client(shop), shop, account)
    quality = sidecar["quality"]["meta_feed.spend"]
    campaigns = sum(row["level"] == "CAMPAIGN" for row in rows)
    assert _mismatches(quality) == dict.fromkeys(fields, (0.4, DAYS * campaigns))
    assert _mismatches(sidecar["quality"]["kpi_value"]) == {}
    own = {"name": 0.1, "zone": 0.05}
    missing = {
        it["field"]: it["cost"] for it in quality["issues"] if it["code"] == "MISSING_METRIC"
    }
    if account != "unset":
        completeness = 1 - sum(own.values()) - sum(missing.values())
        expected = 0.7 + 0.3 * completeness - 0.2 * 0.4 * len(fields)
        assert quality["minimum_score"] == pytest.approx(expected)
    about = [text for text in sidecar["caveats"] if "differ between levels" in text]
    assert len(about) == bool(fields)
    assert all(f"account {account} of meta" in text for text in about)


async def test_levels_are_compared_as_they_were(memory_client: ClientFactory) -> None:
    """Once the campaign is restated they add up; as of before they still do not."""
    org = "levels-restated"
    client = memory_client(org)
    orders = [
        entry(FIRST + timedelta(days=number), "commerce", "OUTCOME", "shop", orders=number + 1)
        for number in range(DAYS)
    ]
    rows = [_spent("ACCOUNT", 1_000), _spent("CAMPAIGN", 500, campaign_id="c")]
    await write(client, org, [*orders, *_entries("half", rows)])
    before = await _sidecar(client, org, "half", kpi="orders")
    await write(client, org, _entries("half", [_spent("CAMPAIGN", 1_000, campaign_id="c")]))
    after = await _sidecar(client, org, "half", kpi="orders")
    assert _mismatches(after["quality"]["meta_feed.spend"]) == {}
    then = await _sidecar(
        client, org, "half", kpi="orders", as_of=datetime.fromisoformat(before["as_of"])
    )
    assert then["quality"] == before["quality"]
    assert _mismatches(then["quality"]["meta_feed.spend"]) == {"spend_micros": (0.4, DAYS)}


async def test_insights_list_what_does_not_add_up(memory_client: ClientFactory) -> None:
    """A doubled day is told with the issue and a score lower by it; where levels agree, without."""
    org = "levels-insights"
    client = memory_client(org)
    days = [date(2026, 1, 5) + timedelta(days=number) for number in range(120)]
    rows = []
    for account, share in (("half", 0.5), ("whole", 1.0)):
        for number, day in enumerate(days):
            spend = round((1_000 + 10 * (number % 7)) * 1_000_000 * (2 if number == 110 else 1))
            common = {"currency_code": "USD", "time_zone": "UTC", "account_name": account}
            numbers = {"impressions": 90_000, "clicks": 900, "conversions_micros": 9_000_000}
            for level, part, ids in (
                ("ACCOUNT", 1.0, {}),
                ("CAMPAIGN", share, {"campaign_id": "c", "campaign_name": "C"}),
            ):
                spent = {"spend_micros": round(part * spend), "revenue_micros": 5_000_000}
                rows.append(entry(day, "meta", level, account, **common, **numbers, **spent, **ids))
    await write(client, org, rows)
    answer = await client.GenerateInsights(
        pb.GenerateInsightsRequest(
            parent=f"orgs/{org}",
            date_range=marketing_pb2.DateRange(
                start_date=days[60].isoformat(), end_date=days[-1].isoformat()
            ),
            levels=[entry_pb2.ENTRY_LEVEL_ACCOUNT, entry_pb2.ENTRY_LEVEL_CAMPAIGN],
            maximum_insights=100,
        )
    )
    spends = [it for it in answer.insights if it.metric == "spend"]
    assert {(it.object.account_id, it.object.level) for it in spends} == {
        (account, level)
        for account in ("half", "whole")
        for level in (entry_pb2.ENTRY_LEVEL_ACCOUNT, entry_pb2.ENTRY_LEVEL_CAMPAIGN)
    }
    for insight in answer.insights:
        apart = insight.object.account_id == "half"
        found = [(it.code, it.field, it.cost) for it in insight.quality_issues]
        assert found == ([("LEVEL_MISMATCH", "spend_micros", 0.4)] if apart else [])
        assert insight.quality_score == pytest.approx(0.92 if apart else 1.0)
    kept = await client.GetInsight(pb.GetInsightRequest(name=spends[0].name))
    assert kept.insight.quality_issues == spends[0].quality_issues
    again = await client.RerunInsight(pb.RerunInsightRequest(name=spends[0].name))
    assert again.holds
    assert again.insight.quality_issues == spends[0].quality_issues
