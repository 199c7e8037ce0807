"""The same API on Core: with the same numbers in Memory it answers as on the module's own store."""

from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import pandas as pd
import pytest
from tests.e2e.causal.asking import (
    PARENT,
    analysis,
    assert_equal,
    code_and_text,
    model,
    year,
)
from tests.e2e.causal.conftest import ORG, serving_on_core

from liftos.causal.v1 import causal_pb2, causal_service_pb2
from liftos.common.v1.marketing_pb2 import DateRange
from liftos.memory.v1.source_pb2 import ExchangeRate
from liftos_causal.settings import CausalSettings
from liftos_client import Client, connect
from liftos_kit.auth import issue_token
from liftos_kit.testing.server import SECRET, RunningServer
from liftos_local.testing import TestDatabase

_CHUNK = 20_000
_BASES = {"klaviyo": "SEND"}


@pytest.fixture(scope="module")
async def moved(memory_server: RunningServer, database: TestDatabase) -> AsyncIterator[Client]:
    """A client of Memory, which holds what the module's database holds."""
    connection = await asyncpg.connect(database.owner_url)
    rows = await connection.fetch("select * from clean_performance")
    shop = await connection.fetch("select * from shop_orders_daily")
    factors = await connection.fetch("select * from external_factors")
    rates = await connection.fetch("select * from exchange_rates where currency <> 'USD'")
    await connection.close()
    token = issue_token(secret=SECRET.encode(), org=ORG)
    async with connect(memory_server.target, token=token) as client:
        await client.memory.upsert_source("tiktok", display_name="TikTok")
        await client.memory.upsert_source("shop", display_name="Shop")
        await client.memory.upsert_source("outside", display_name="Outside")
        await client.memory.upsert_exchange_rates(
            [
                ExchangeRate(
                    currency_code=row["currency"],
                    date=row["day"].isoformat(),
                    rate=str(row["usd"]),
                )
                for row in rates
            ]
        )
        for frame in (_performance(rows), _shop(shop), _factors(factors)):
            for start in range(0, len(frame), _CHUNK):
                result = await client.memory.upsert_frame(frame.iloc[start : start + _CHUNK])
                assert not result.item_errors, result.item_errors[:3]
        yield client


def _performance(rows: list[asyncpg.Record]) -> pd.DataFrame:
    frame = pd.DataFrame([dict(row) for row in rows])
    return pd.DataFrame(
        {
            "date": frame["day"],
            "platform": frame["platform"],
            "level": "CAMPAIGN",
            "account_id": frame["account_id"],
            "campaign_id": frame["campaign_id"],
            "date_basis": frame["platform"].map(lambda each: _BASES.get(each, "INTERACTION")),
            "currency_code": frame["currency"],
            "time_zone": "America/New_York",
            "spend": frame["spend"],
            "revenue": frame["revenue"].round(6),
            "clicks": frame["clicks"],
            "conversions": frame["conversions"].round(6),
            "final": True,
        }
    )


def _shop(rows: list[asyncpg.Record]) -> pd.DataFrame:
    frame = pd.DataFrame([dict(row) for row in rows])
    return pd.DataFrame(
        {
            "date": frame["day"],
            "platform": "shop",
            "level": "OUTCOME",
            "account_id": "shop",
            "date_basis": "EVENT",
            "currency_code": frame["currency"],
            "time_zone": "America/New_York",
            "revenue": frame["revenue"],
            "orders": frame["orders"],
            "final": True,
        }
    )


def _factors(rows: list[asyncpg.Record]) -> pd.DataFrame:
    frame = pd.DataFrame([dict(row) for row in rows])
    return pd.DataFrame(
        {
            "date": frame["day"],
            "platform": "outside",
            "level": "CONTROL",
            "account_id": "outside",
            "series_id": frame["factor"],
            "date_basis": "EVENT",
            "value": frame["impact"].round(6),
            "time_zone": "America/New_York",
            "final": True,
        }
    )


@pytest.fixture(scope="module")
async def on_core(
    moved: Client, memory_server: RunningServer, settings: CausalSettings
) -> AsyncIterator[Callable[..., Any]]:
    """Clients of the service on Core."""
    async with serving_on_core(memory_server, settings) as client:
        yield client


@pytest.mark.parametrize(
    "changes",
    [
        {"include_recommendations": True},
        {"training_data": year(platforms=["meta", "google_ads"])},
        {"training_data": year(filter='channel = "meta" OR campaign_id = "klaviyo-0001"')},
        {"training_data": year(currency_code="EUR")},
        {"parameters": causal_pb2.ModelParameters(controls=["temperature"], outcome="conversions")},
    ],
)
async def test_attribution_is_the_same_on_both(
    causal: Callable[..., Any], on_core: Callable[..., Any], changes: dict[str, Any]
) -> None:
    """Shares, intervals, credit, performance and what follows."""
    request = analysis(**changes)
    one = (await causal("reader").AnalyzeAttribution(request)).attribution_result
    other = (await on_core("reader").AnalyzeAttribution(request)).attribution_result
    assert_equal(one, other)


async def test_models_budgets_and_results_are_kept_on_core(
    causal: Callable[..., Any], on_core: Callable[..., Any], name: str
) -> None:
    """Each is read as it was made, listed, made once, and computes the same as on the module."""
    request = model(name)
    one = (await causal("writer").CreateModel(request)).attribution_model
    other = (await on_core("writer").CreateModel(request)).attribution_model
    assert_equal(one, other)
    assert other.write_token
    assert (await on_core("writer").CreateModel(request)).attribution_model == other
    read = await on_core("reader").GetModel(causal_service_pb2.GetModelRequest(name=other.name))
    assert read.attribution_model == other
    listed = await on_core("reader").ListModels(
        causal_service_pb2.ListModelsRequest(parent=PARENT, filter="state = READY")
    )
    assert [each.name for each in listed.attribution_models] == [other.name]
    taken = model(name)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await on_core("writer").CreateModel(taken)
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
    asked = causal_service_pb2.OptimizeBudgetRequest(
        parent=PARENT,
        attribution_model=other.name,
        total_micros=300_000_000_000,
        goal=causal_pb2.BUDGET_GOAL_REVENUE,
    )
    assert_equal(
        (await causal("reader").OptimizeBudget(asked)).budget_optimization,
        (await on_core("reader").OptimizeBudget(asked)).budget_optimization,
    )
    stored = analysis(store=True, request_id=str(uuid4()), attribution_model=other.name)
    kept = (await on_core("writer").AnalyzeAttribution(stored)).attribution_result
    assert (await on_core("writer").AnalyzeAttribution(stored)).attribution_result == kept
    results = await on_core("reader").ListAttributionResults(
        causal_service_pb2.ListAttributionResultsRequest(
            parent=PARENT, filter=f'attribution_model = "{other.name}"'
        )
    )
    assert list(results.attribution_results) == [kept]


async def test_experiments_and_lift_are_the_same_on_both(
    causal: Callable[..., Any], on_core: Callable[..., Any], name: str
) -> None:
    """Effects with their errors, kept and read again."""
    days = DateRange(start_date="2025-09-01", end_date="2025-09-28")
    request = causal_service_pb2.RunExperimentRequest(
        experiment=causal_pb2.Experiment(
            name=f"{PARENT}/experiments/{name}",
            display_name=name,
            experiment_type=causal_pb2.EXPERIMENT_TYPE_HOLDOUT,
            treatment=causal_pb2.ExperimentGroup(filter='campaign_id:"tiktok-000*"'),
            control=causal_pb2.ExperimentGroup(filter='campaign_id:"tiktok-001*"'),
            date_range=days,
        ),
        request_id=str(uuid4()),
    )
    one = (await causal("writer").RunExperiment(request)).experiment
    other = (await on_core("writer").RunExperiment(request)).experiment
    assert one.state == causal_pb2.EXPERIMENT_STATE_ANALYZED
    assert_equal(one, other)
    read = await on_core("reader").GetExperiment(
        causal_service_pb2.GetExperimentRequest(name=other.name)
    )
    assert read.experiment == other
    lift = causal_service_pb2.MeasureLiftRequest(
        parent=PARENT,
        campaign_id="meta-0003",
        baseline_date_range=DateRange(start_date="2025-07-01", end_date="2025-08-31"),
        treatment_date_range=days,
        store=True,
        request_id=str(uuid4()),
    )
    assert_equal(
        (await causal("writer").MeasureLift(lift)).lift_measurement,
        (await on_core("writer").MeasureLift(lift)).lift_measurement,
    )


async def test_configuration_and_beliefs_are_kept_on_core(on_core: Callable[..., Any]) -> None:
    """Changed by etag, learned, and read again."""
    where = f"{PARENT}/causalConfiguration"
    learned = await on_core("writer").UpdatePriors(
        causal_service_pb2.UpdatePriorsRequest(
            name=where, training_data=year(), etag="0", request_id=str(uuid4())
        )
    )
    read = await on_core("reader").GetConfiguration(
        causal_service_pb2.GetConfigurationRequest(name=where)
    )
    assert read.causal_configuration == learned.causal_configuration
    assert len(read.causal_configuration.parameters.priors) == 4
    with pytest.raises(grpc.aio.AioRpcError) as stale:
        await on_core("writer").UpdatePriors(
            causal_service_pb2.UpdatePriorsRequest(
                name=where, training_data=year(), etag="0", request_id=str(uuid4())
            )
        )
    assert stale.value.code() is grpc.StatusCode.ABORTED


async def test_what_core_refuses_says_why(on_core: Callable[..., Any]) -> None:
    """A missing rate, no days, and no connection to read from."""
    for request, reason in (
        (analysis(training_data=year(currency_code="JPY")), "RATE_MISSING"),
        (
            analysis(
                training_data=causal_pb2.TrainingData(
                    date_range=DateRange(start_date="2019-01-01", end_date="2019-12-31")
                )
            ),
            "DATA_INSUFFICIENT",
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await on_core("reader").AnalyzeAttribution(request)
        assert reason in code_and_text(refused.value)[1]
