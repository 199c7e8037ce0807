"""The door for modules, through a real Memory with its stores and a filled index."""

from collections.abc import AsyncIterator
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from tests.e2e.memory.indexing_harness import opened_pieces, running_milvus

from liftos.memory.v1.document_pb2 import ObjectRef
from liftos.memory.v1.entry_pb2 import ENTRY_LEVEL_CAMPAIGN
from liftos_client import AsyncUnifiedDataAPI, Client, connect
from liftos_client.errors import FieldInvalidError
from liftos_kit.auth import issue_token
from liftos_kit.server import Server
from liftos_kit.settings import load
from liftos_kit.testing.server import SECRET
from liftos_local.testing import TestDatabase
from liftos_memory.server import application
from liftos_memory.settings import MemorySettings

ORG = "unified"
FIRST = date(2025, 9, 1)
DAYS = 120
ASKED = (date(2025, 12, 2), date(2025, 12, 29))


def _history() -> pd.DataFrame:
    """Two campaigns of two platforms; Meta's rises, and its last day is twelve times the usual."""
    random = np.random.default_rng(1)
    frames = []
    for platform, campaign, name, slope in (
        ("meta", "m1", "Winter boots", 3.0),
        ("google_ads", "g1", "Brand search", 0.0),
    ):
        level = 300 + slope * np.arange(DAYS) + random.normal(0, 8, DAYS)
        clicks = level.round().astype(int)
        if platform == "meta":
            clicks[-10] *= 12
        frames.append(
            pd.DataFrame(
                {
                    "date": [FIRST + timedelta(days=offset) for offset in range(DAYS)],
                    "platform": platform,
                    "level": "CAMPAIGN",
                    "account_id": "a",
                    "campaign_id": campaign,
                    "campaign_name": name,
                    "currency_code": "USD",
                    "attribution_key": "7d_click" if platform == "meta" else "",
                    "impressions": clicks * 40,
                    "clicks": clicks,
                    "spend": clicks * 0.5,
                    "revenue": clicks * 1.25,
                    "final": True,
                }
            )
        )
    shop = frames[0][["date", "account_id", "currency_code"]].assign(
        platform="commerce", level="OUTCOME", revenue=1_500.0, orders=20, final=True
    )
    return pd.concat([*frames, shop], ignore_index=True)


@pytest.fixture(scope="module")
async def client(
    database: TestDatabase, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Client]:
    """A client of a server whose org has a history, all of it indexed."""
    async with running_milvus(tmp_path_factory.mktemp("milvus")) as milvus:
        settings = load(
            MemorySettings,
            {name: value for name, value in database.environment.items() if "OWNER" not in name}
            | {
                "LIFTOS_PORT": "0",
                "LIFTOS_JWT_SECRET": SECRET,
                "LIFTOS_DRAIN_SECONDS": "5",
                "LIFTOS_MILVUS_URL": milvus.url,
                "LIFTOS_EMBEDDER": "hash:",
            },
        )
        server = Server(application(settings))
        await server.start()
        token = issue_token(secret=SECRET.encode(), org=ORG, roles=["admin"], scopes=["memory"])
        try:
            async with (
                connect(f"{settings.host}:{server.port}", token=token) as opened,
                opened_pieces(settings) as pieces,
            ):
                await pieces.index.ensure()
                written = await opened.memory.upsert_frame(_history(), origin="test")
                assert not written.item_errors
                await pieces.catch_up()
                yield opened
        finally:
            await server.drain()


async def test_attribution_data_has_every_day_with_its_calendar(client: Client) -> None:
    """One row for each day and object, numbers in units, and what the day was."""
    api = AsyncUnifiedDataAPI(client)
    frame = await api.get_attribution_ready_data(FIRST, ASKED[1])
    assert len(frame) == 2 * DAYS, "no row is left out, whatever its quality"
    christmas = frame[frame["date"] == "2025-12-25"]
    assert christmas["holidays"].tolist() == ["Christmas Day"] * 2
    assert christmas["day_of_week"].tolist() == [4, 4]
    assert christmas["season"].tolist() == ["WINTER"] * 2
    assert set(frame["attribution_key"]) == {"7d_click", ""}
    assert frame["roas"].round(6).unique().tolist() == [2.5]
    meta = await api.get_attribution_ready_data(
        *ASKED, channels=["meta"], granularity="WEEK", include_calendar=True
    )
    assert set(meta["platform"]) == {"meta"}
    assert meta["date"].dt.day_of_week.unique().tolist() == [0]
    assert not meta["iso_week"].isna().any()
    bare = await api.get_attribution_ready_data(*ASKED, include_calendar=False)
    assert "holidays" not in bare


async def test_benchmarks_are_frames(client: Client) -> None:
    """Comparisons, totals, correlations, effects and caveats stand in frames of their own."""
    api = AsyncUnifiedDataAPI(client)
    found = await api.get_performance_benchmarks(*ASKED, metrics=["roas", "clicks"])
    assert found.comparisons[["metric", "member"]].to_numpy().tolist() == [
        ["roas", "google_ads"],
        ["roas", "meta"],
        ["clicks", "google_ads"],
        ["clicks", "meta"],
    ]
    clicks = found.comparisons.iloc[3]
    assert clicks["change_ratio"] > 0.1
    assert clicks["interval_low"] < clicks["value"] < clicks["interval_high"]
    assert found.totals["member"].isna().all()
    assert (found.baseline_start_date, found.baseline_end_date) == ("2025-11-04", "2025-12-01")
    assert "ATTRIBUTION_DIFFERS" in found.caveats["kind"].tolist()
    assert set(found.calendar_effects["kind"]) >= {"DAY_OF_WEEK", "HOLIDAY"}
    assert len(found.marketing_efficiency) == 1


async def test_a_trend_comes_with_its_series_and_what_was_found(client: Client) -> None:
    """Both periods day by day, and the insights about the metric."""
    await client.memory.generate_insights(FIRST, ASKED[1])
    api = AsyncUnifiedDataAPI(client)
    trend = await api.get_trend_analysis_data("clicks", *ASKED, dimension="campaign_id")
    assert trend.series.groupby("period").size().to_dict() == {"asked": 56, "baseline": 56}
    assert trend.series["value"].notna().all()
    assert trend.benchmarks.comparisons["member"].tolist() == ["g1", "m1"]
    assert set(trend.insights["metric"]) == {"clicks"}
    assert "m1" in set(trend.insights["campaign_id"])
    assert set(trend.insights["level"]) == {"CAMPAIGN"}
    assert trend.insights_left_out == ""
    for filter_ in ('platform = "google_ads"', 'campaign_id = "g1"', "date_basis = CONVERSION"):
        others = await api.get_trend_analysis_data("clicks", *ASKED, filter=filter_)
        assert "m1" not in set(others.insights["campaign_id"])
        assert others.insights_left_out == ""
    accounts = await api.get_trend_analysis_data("clicks", *ASKED, level="ACCOUNT")
    assert len(accounts.insights) == 0
    named = await api.get_trend_analysis_data("clicks", *ASKED, filter='campaign_name != ""')
    assert len(named.insights) == 0
    assert list(named.insights) == list(trend.insights)
    assert "campaign_name" in named.insights_left_out


async def test_insights_are_filtered_and_framed(client: Client) -> None:
    """Kinds, days, metrics and further conditions hold together."""
    await client.memory.generate_insights(FIRST, ASKED[1])
    api = AsyncUnifiedDataAPI(client)
    every = await api.get_surfacing_insights()
    assert len(every) > 0
    assert every["severity"].is_monotonic_decreasing
    some = await api.get_surfacing_insights(
        start_date=ASKED[0],
        end_date=ASKED[1],
        kinds=["TREND", "ANOMALY"],
        metrics=["clicks", "spend"],
        filter='platform = "meta"',
    )
    assert set(some["kind"]) <= {"TREND", "ANOMALY"}
    assert set(some["metric"]) <= {"clicks", "spend"}
    assert set(some["platform"]) == {"meta"}
    listed = await client.memory.list_insights_frame(filter='platform = "meta"')
    assert set(listed["platform"]) == {"meta"}
    assert listed["start_date"].dtype.kind == "M"
    most_severe = await client.memory.list_insights_frame(limit=1)
    assert most_severe["name"].tolist() == every["name"].tolist()[:1]
    before = await api.get_surfacing_insights(end_date=date(2020, 1, 1))
    assert len(before) == 0
    assert list(before) == list(every)


async def test_context_for_a_model_is_cited_and_within_budget(client: Client) -> None:
    """The campaign, its numbers and what was found about it, each with its source."""
    await client.memory.generate_insights(FIRST, ASKED[1])
    api = AsyncUnifiedDataAPI(client)
    context = await api.get_llm_context_data(
        "winter boots", budget_tokens=700, start_date=ASKED[0], end_date=ASKED[1]
    )
    assert context.token_count <= 700
    assert "Winter boots" in context.text
    assert "INSIGHT" in {each.kind for each in context.citations}
    assert all(f"[{each.number}]" in context.text for each in context.citations)
    documents = [each for each in context.citations if each.entry_count]
    assert documents
    entry = await client.memory.get_entry(documents[-1].entries[0])
    assert entry.platform in {"meta", "google_ads", "commerce"}
    assert context.as_of
    asked = (ASKED[0].isoformat(), ASKED[1].isoformat())
    with_numbers = [each for each in documents if each.entries]
    assert {(it.numbers_start_date, it.numbers_end_date) for it in with_numbers} == {asked}
    assert f"Numbers of {asked[0]} to {asked[1]}: " in context.text
    with pytest.raises(FieldInvalidError, match=r"budget_tokens: is 60; .* take"):
        await api.get_llm_context_data("winter boots " * 115, budget_tokens=60)
    with pytest.raises(FieldInvalidError, match="maximum_insights"):
        await api.get_llm_context_data("winter boots", maximum_insights=-1)


async def test_search_takes_every_choice_of_the_service(client: Client) -> None:
    """Weights decide which legs there are, the fusion what scores are, and an object is a query."""
    api = AsyncUnifiedDataAPI(client)
    by_words = await api.search("winter boots", weights={"LEXICAL": 1.0}, kinds=["PROFILE"])
    assert by_words["title"].str.contains("Winter boots").all()
    by_rank = await api.search(
        "winter boots", fusion_method="RECIPROCAL_RANK", kinds=["PROFILE"], limit=2
    )
    by_score = await api.search("winter boots", kinds=["PROFILE"], limit=2)
    assert by_rank["score"].max() < by_score["score"].max()
    meta = ObjectRef(platform="meta", level=ENTRY_LEVEL_CAMPAIGN, account_id="a", campaign_id="m1")
    alike = await api.search(like=meta, mode="CONCEPTUAL", kinds=["PROFILE"])
    assert alike["campaign_id"].tolist() == ["g1"]
    with pytest.raises(FieldInvalidError):
        await api.search("winter boots", mode="LEXICAL", weights={"LEXICAL": 1.0})


async def test_conversions_of_two_days_count_once(client: Client) -> None:
    """As Google Ads tells them: by the day of the click, unless the other is asked for."""
    again = _history().query("platform == 'google_ads'").tail(56)
    again = again.assign(date_basis="CONVERSION")[
        ["date", "platform", "level", "account_id", "campaign_id", "date_basis", "final"]
    ].assign(conversions=2.0)
    assert not (await client.memory.upsert_frame(again, origin="again")).item_errors
    api = AsyncUnifiedDataAPI(client)
    trend = await api.get_trend_analysis_data("clicks", *ASKED, dimension="platform")
    assert not trend.series.duplicated(["period_start_date", "platform"]).any()
    assert "DATE_BASIS" in set(trend.benchmarks.caveats["kind"])
    chosen = "date_basis = CONVERSION"
    trend = await api.get_trend_analysis_data("conversions", *ASKED, filter=chosen)
    assert set(trend.series["value"]) == {2.0}
