"""Attribution on the module's own store: computed, kept, cached, and by kept models."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import pytest
from redis.asyncio import Redis
from tests.e2e.causal.asking import PARENT, analysis, code_and_text, model, year

from liftos.causal.v1 import causal_pb2, causal_service_pb2
from liftos.common.v1.marketing_pb2 import DateRange
from liftos_causal.sample import CHANNELS, Sample
from liftos_causal.settings import CausalSettings
from liftos_local.testing import TestDatabase


async def test_credit_is_near_the_truth(causal: Callable[..., Any], sample: Sample) -> None:
    """Shares add up, and the true ones lie in nearly all intervals."""
    answer = await causal("reader").AnalyzeAttribution(analysis(include_recommendations=True))
    result = answer.attribution_result
    shares = {each.channel: each.share for each in result.channels}
    assert set(shares) == set(CHANNELS)
    assert sum(each.value for each in shares.values()) == pytest.approx(1.0)
    true = sample.effects[-365:].sum(axis=0) / sample.effects[-365:].sum()
    held = [
        shares[channel].low <= true[place] <= shares[channel].high
        for place, channel in enumerate(CHANNELS)
    ]
    assert sum(held) >= 3
    assert result.performance.r_squared > 0.1
    assert result.currency_code == "USD"
    assert {each.channel for each in result.recommendations} == set(CHANNELS)
    assert any("is not known" in caveat for caveat in result.caveats)


async def test_spend_is_counted_once_in_one_currency(
    causal: Callable[..., Any], admin: asyncpg.Connection
) -> None:
    """Newest answers of each day alone, ranges left out, euros as dollars of their day."""
    answer = await causal("reader").AnalyzeAttribution(analysis())
    spent = {each.channel: each.spend_micros for each in answer.attribution_result.channels}
    rows = await admin.fetch(
        """
        select platform, sum(amount * usd)::float8 as spend from (
            select p.platform, p.date_start as day, p.currency,
                   coalesce(p.spend::numeric, p.cost_micros::numeric / 1e6) as amount,
                   rank() over (partition by p.platform, p.campaign_id, p.date_start
                                order by p.fetched_at desc) as place
            from campaign_performance p
            where p.date_start = p.date_stop and p.date_start between '2025-02-01' and '2026-01-31'
        ) newest join exchange_rates using (day, currency)
        where place = 1 group by platform
        """
    )
    assert {row["platform"]: pytest.approx(row["spend"] * 1e6, abs=2) for row in rows} == spent


async def test_the_same_question_is_answered_from_the_cache_until_a_number_changes(
    causal: Callable[..., Any], admin: asyncpg.Connection, settings: CausalSettings
) -> None:
    """The kept answer is the same message; a write of the shop makes another one."""
    request = analysis(parameters=causal_pb2.ModelParameters(seed=7))
    first = await causal("reader").AnalyzeAttribution(request)
    again = await causal("reader").AnalyzeAttribution(request)
    assert again == first
    await admin.execute("update shop_orders_daily set revenue = revenue * 2")
    changed = await causal("reader").AnalyzeAttribution(request)
    assert changed.attribution_result.create_time.ToNanoseconds() > (
        first.attribution_result.create_time.ToNanoseconds()
    )
    revenue = [
        sum(each.revenue_micros for each in answer.attribution_result.channels)
        for answer in (first, changed)
    ]
    assert revenue[1] == pytest.approx(revenue[0] * 2, rel=0.01)
    await admin.execute("update shop_orders_daily set revenue = revenue / 2")
    assert settings.redis_url is not None
    redis = Redis.from_url(settings.redis_url.get_secret_value())
    keys = [key async for key in redis.scan_iter("AnalyzeAttribution:acme:*")]
    assert keys
    assert 0 < await redis.ttl(keys[0]) <= 300
    await redis.aclose()


async def test_a_kept_result_is_read_again_and_made_once(causal: Callable[..., Any]) -> None:
    """The same request answers the same; its id with another payload is refused."""
    request = analysis(store=True, request_id=str(uuid4()))
    kept = (await causal("writer").AnalyzeAttribution(request)).attribution_result
    again = (await causal("writer").AnalyzeAttribution(request)).attribution_result
    read = await causal("reader").GetAttributionResult(
        causal_service_pb2.GetAttributionResultRequest(name=kept.name)
    )
    assert kept == again == read.attribution_result
    listed = await causal("reader").ListAttributionResults(
        causal_service_pb2.ListAttributionResultsRequest(
            parent=PARENT, filter="model_type = MARKETING_MIX"
        )
    )
    assert kept in listed.attribution_results
    request.include_recommendations = True
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await causal("writer").AnalyzeAttribution(request)
    assert "REQUEST_ID_REUSED" in code_and_text(refused.value)[1]
    with pytest.raises(grpc.aio.AioRpcError) as denied:
        await causal("reader").AnalyzeAttribution(request)
    assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_kept_model_gives_credit_for_other_days(
    causal: Callable[..., Any], name: str
) -> None:
    """It is read as it was fitted, and its curves attribute a quarter."""
    request = model(name, validation_method=causal_pb2.VALIDATION_METHOD_CROSS_VALIDATION)
    created = (await causal("writer").CreateModel(request)).attribution_model
    assert created.state == causal_pb2.MODEL_STATE_READY
    assert len(created.training_data_sha256) == 64
    assert created.performance.day_count > 350
    assert {curve.channel for curve in created.curves} == set(CHANNELS)
    assert (await causal("writer").CreateModel(request)).attribution_model == created
    read = await causal("reader").GetModel(causal_service_pb2.GetModelRequest(name=created.name))
    assert read.attribution_model == created
    quarter = causal_pb2.TrainingData(
        date_range=DateRange(start_date="2025-10-01", end_date="2025-12-31")
    )
    answer = await causal("reader").AnalyzeAttribution(
        analysis(attribution_model=created.name, training_data=quarter)
    )
    result = answer.attribution_result
    assert result.attribution_model == created.name
    assert result.performance == created.performance
    assert all(each.share.low <= each.share.value <= each.share.high for each in result.channels)


async def test_models_are_listed_page_by_page(causal: Callable[..., Any], name: str) -> None:
    """By id, without curves, and each once."""
    names = sorted(f"{name}-{letter}" for letter in "abc")
    for each in names:
        await causal("writer").CreateModel(model(each))
    found: list[str] = []
    token = ""
    while True:
        page = await causal("reader").ListModels(
            causal_service_pb2.ListModelsRequest(
                parent=PARENT, page_size=2, page_token=token, filter=f'display_name:"{name}*"'
            )
        )
        found += [each.name.rpartition("/")[2] for each in page.attribution_models]
        assert not any(each.curves for each in page.attribution_models)
        token = page.next_page_token
        if not token:
            break
    assert found == names


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"training_data": causal_pb2.TrainingData(
            date_range=DateRange(start_date="2025-02-30", end_date="2025-12-31"))},
         "is no day of the calendar"),
        ({"training_data": causal_pb2.TrainingData(
            date_range=DateRange(start_date="2025-12-01", end_date="2025-12-31"))},
         "has 31 days and a model needs 56"),
        ({"training_data": causal_pb2.TrainingData(
            date_range=DateRange(start_date="2019-01-01", end_date="2019-12-31"))},
         "DATA_INSUFFICIENT"),
        ({"training_data": year(filter="nonsense = 3")}, "nonsense"),
        ({"training_data": year(currency_code="JPY")}, "RATE_MISSING"),
        ({"parameters": causal_pb2.ModelParameters(
            priors=[causal_pb2.ChannelPrior(channel="meta", mean=1, standard_deviation=1)])},
         "is for bayesian_structural models alone"),
        ({"parameters": causal_pb2.ModelParameters(controls=["unknown"])}, "no values of unknown"),
        ({"model_type": causal_pb2.ATTRIBUTION_MODEL_TYPE_INSTRUMENTAL_VARIABLES,
          "parameters": causal_pb2.ModelParameters(instruments=["temperature"])},
         "4 channels spent, and 1 instruments"),
        ({"model_type": causal_pb2.ATTRIBUTION_MODEL_TYPE_RANDOMIZED_CONTROLLED_TRIAL},
         "no analysed experiment"),
        ({"attribution_model": "orgs/acme/attributionModels/none"}, "RESOURCE_NOT_FOUND"),
    ],
)  # fmt: skip
async def test_what_cannot_be_answered_says_why(
    causal: Callable[..., Any], changes: dict[str, Any], reason: str
) -> None:
    """Each refusal names what is wrong."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await causal("reader").AnalyzeAttribution(analysis(**changes))
    code, text = code_and_text(refused.value)
    assert reason in text
    assert code is not grpc.StatusCode.INTERNAL


async def test_priors_move_credit_of_bayesian_models(causal: Callable[..., Any]) -> None:
    """A firm belief that a channel returns nothing takes its credit."""
    firm = causal_pb2.ModelParameters(
        priors=[causal_pb2.ChannelPrior(channel="meta", mean=0, standard_deviation=0.01)]
    )
    answers = [
        await causal("reader").AnalyzeAttribution(
            analysis(
                model_type=causal_pb2.ATTRIBUTION_MODEL_TYPE_BAYESIAN_STRUCTURAL, parameters=each
            )
        )
        for each in (causal_pb2.ModelParameters(), firm)
    ]
    shares = [
        {each.channel: each.share.value for each in answer.attribution_result.channels}["meta"]
        for answer in answers
    ]
    assert shares[0] > 0.1
    assert shares[1] < 0.05


async def test_results_of_models_that_are_gone_are_not_served(
    causal: Callable[..., Any], admin: asyncpg.Connection, sample: Sample
) -> None:
    """They lie in the table, and no page or name leads to them."""
    orphans = await admin.fetch(
        "select result_id from attribution_results where model_id = 'retired-2024'"
    )
    assert len(orphans) == sample.oddities.orphan_results > 0
    listed = await causal("reader").ListAttributionResults(
        causal_service_pb2.ListAttributionResultsRequest(parent=PARENT, page_size=1000)
    )
    served = {each.name.rpartition("/")[2] for each in listed.attribution_results}
    assert served.isdisjoint(each["result_id"].hex for each in orphans)
    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await causal("reader").GetAttributionResult(
            causal_service_pb2.GetAttributionResultRequest(
                name=f"{PARENT}/attributionResults/{orphans[0]['result_id'].hex}"
            )
        )
    assert missing.value.code() is grpc.StatusCode.NOT_FOUND


async def test_writers_of_the_same_day_lose_nothing(database: TestDatabase) -> None:
    """Daily sums that several writers bring up at once hold the rows of all."""

    async def write(number: int) -> None:
        connection = await asyncpg.connect(database.owner_url)
        try:
            for part in range(5):
                await connection.execute(
                    "insert into campaign_performance (org_id, platform, account_id, campaign_id,"
                    " date_start, date_stop, currency, spend, quality_score) values"
                    " ('race', 'meta', '1', $1, '2026-01-05', '2026-01-05', 'USD', '1.00', 1)",
                    f"c{number}-{part}",
                )
        finally:
            await connection.close()

    await asyncio.gather(*(write(number) for number in range(8)))
    connection = await asyncpg.connect(database.owner_url)
    total = await connection.fetchval(
        "select sum(spend)::int from channel_daily where org_id = 'race' and day = '2026-01-05'"
    )
    await connection.close()
    assert total == 40
