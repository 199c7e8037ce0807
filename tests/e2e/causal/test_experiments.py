"""Experiments and lift over campaigns of the sample."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import pytest
from tests.e2e.causal.asking import PARENT, analysis, code_and_text

from liftos.causal.v1 import causal_pb2, causal_service_pb2
from liftos.common.v1.marketing_pb2 import DateRange

_DAYS = DateRange(start_date="2025-09-01", end_date="2025-09-28")
_BEFORE = DateRange(start_date="2025-07-01", end_date="2025-08-31")
_TREATED = [f"tiktok-{number:04d}" for number in range(8)]
_CONTROL = [f"tiktok-{number:04d}" for number in range(8, 16)]


@pytest.fixture(scope="module")
async def treated(admin: asyncpg.Connection) -> float:
    """Raise what treated campaigns report in the days of the experiment; return by how much."""
    raised: float = await admin.fetchval(
        """
        with changed as (
            update campaign_performance set conversions_value = conversions_value + 40
            where campaign_id = any($1) and date_start between '2025-09-01' and '2025-09-28'
              and date_start = date_stop returning campaign_id, date_start
        ) select (count(distinct (campaign_id, date_start)) * 40)::float8 from changed
        """,
        _TREATED,
    )
    return raised


def _experiment(name: str, **changes: Any) -> causal_service_pb2.RunExperimentRequest:
    given = {
        "name": f"{PARENT}/experiments/{name}",
        "display_name": name,
        "experiment_type": causal_pb2.EXPERIMENT_TYPE_AB_TEST,
        "treatment": causal_pb2.ExperimentGroup(campaign_ids=_TREATED),
        "control": causal_pb2.ExperimentGroup(campaign_ids=_CONTROL),
        "date_range": _DAYS,
        "baseline_date_range": _BEFORE,
        **changes,
    }
    return causal_service_pb2.RunExperimentRequest(
        experiment=causal_pb2.Experiment(**given), request_id=str(uuid4())
    )


async def test_an_effect_is_found(causal: Callable[..., Any], treated: float, name: str) -> None:
    """The interval holds what was added, and leaves out nothing at all."""
    request = _experiment(name)
    answer = (await causal("writer").RunExperiment(request)).experiment
    assert answer.state == causal_pb2.EXPERIMENT_STATE_ANALYZED, answer.state_reason
    effect = answer.effect.effect
    assert effect.low <= treated <= effect.high
    assert answer.effect.significant
    assert answer.effect.unit_count == 16
    assert 0 < answer.minimum_detectable_effect < 1
    read = await causal("reader").GetExperiment(
        causal_service_pb2.GetExperimentRequest(name=answer.name)
    )
    assert read.experiment == answer
    assert (await causal("writer").RunExperiment(request)).experiment == answer
    listed = await causal("reader").ListExperiments(
        causal_service_pb2.ListExperimentsRequest(
            parent=PARENT, filter=f'state = ANALYZED AND display_name = "{name}"'
        )
    )
    assert list(listed.experiments) == [answer]


async def test_models_rest_on_experiments_of_their_kind(
    causal: Callable[..., Any], treated: float, name: str
) -> None:
    """The channel of the experiment is credited, and the others are named as unknown."""
    await causal("writer").RunExperiment(
        _experiment(name, method=causal_pb2.CAUSAL_METHOD_RANDOMIZED_EXPERIMENT)
    )
    answer = await causal("reader").AnalyzeAttribution(
        analysis(model_type=causal_pb2.ATTRIBUTION_MODEL_TYPE_RANDOMIZED_CONTROLLED_TRIAL)
    )
    result = answer.attribution_result
    assert [each.channel for each in result.channels] == ["tiktok"]
    assert not result.HasField("performance")
    assert any("google_ads, klaviyo, meta" in caveat for caveat in result.caveats)


async def test_an_experiment_waits_for_its_days(causal: Callable[..., Any], name: str) -> None:
    """Planned before them, running until their numbers are there."""
    far = DateRange(start_date="2999-01-01", end_date="2999-01-14")
    planned = await causal("writer").RunExperiment(
        _experiment(name, date_range=far, baseline_date_range=None)
    )
    assert planned.experiment.state == causal_pb2.EXPERIMENT_STATE_PLANNED
    assert planned.experiment.baseline_date_range.end_date == "2998-12-31"
    now = DateRange(start_date="2026-01-20", end_date="2026-02-20")
    running = await causal("writer").RunExperiment(
        _experiment(f"{name}-now", date_range=now, baseline_date_range=None)
    )
    assert running.experiment.state == causal_pb2.EXPERIMENT_STATE_RUNNING
    assert not running.experiment.HasField("effect")


async def test_an_experiment_is_analysed_once_its_days_have_numbers(
    causal: Callable[..., Any], admin: asyncpg.Connection, name: str
) -> None:
    """Whoever reads it sees the effect."""
    request = _experiment(
        name, date_range=DateRange(start_date="2026-01-20", end_date="2026-02-02")
    )
    begun = (await causal("writer").RunExperiment(request)).experiment
    assert begun.state == causal_pb2.EXPERIMENT_STATE_RUNNING
    await admin.execute(
        "insert into campaign_performance (org_id, platform, account_id, campaign_id, date_start,"
        " date_stop, currency, spend, conversions, conversions_value)"
        " select 'acme', 'tiktok', '7001', 'tiktok-' || lpad(n::text, 4, '0'), day, day, 'USD',"
        " '10', 1, 60 + n from generate_series(0, 15) n,"
        " generate_series('2026-02-01'::date, '2026-02-02', '1 day') day"
    )
    seen = await causal("reader").GetExperiment(
        causal_service_pb2.GetExperimentRequest(name=begun.name)
    )
    assert seen.experiment.state == causal_pb2.EXPERIMENT_STATE_ANALYZED
    assert seen.experiment.HasField("effect")
    assert int(seen.experiment.etag) == int(begun.etag) + 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"control": causal_pb2.ExperimentGroup(campaign_ids=_TREATED)}, "treated and control"),
        ({"control": causal_pb2.ExperimentGroup(region_codes=["US-CA"])}, "by region"),
        ({"control": causal_pb2.ExperimentGroup()}, "name campaigns or give a filter"),
        ({"baseline_date_range": _DAYS}, "must end before the treatment begins"),
    ],
)
async def test_groups_that_cannot_be_compared_are_refused(
    causal: Callable[..., Any], name: str, changes: dict[str, Any], reason: str
) -> None:
    """And nothing is kept."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await causal("writer").RunExperiment(_experiment(name, **changes))
    code, text = code_and_text(refused.value)
    assert (code, reason in text) == (grpc.StatusCode.INVALID_ARGUMENT, True), text
    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await causal("reader").GetExperiment(
            causal_service_pb2.GetExperimentRequest(name=f"{PARENT}/experiments/{name}")
        )
    assert missing.value.code() is grpc.StatusCode.NOT_FOUND


async def test_too_little_data_is_told_as_inconclusive(
    causal: Callable[..., Any], name: str
) -> None:
    """A mix of controls needs three of them."""
    answer = await causal("writer").RunExperiment(
        _experiment(
            name,
            method=causal_pb2.CAUSAL_METHOD_SYNTHETIC_CONTROL,
            control=causal_pb2.ExperimentGroup(campaign_ids=_CONTROL[:2]),
        )
    )
    assert answer.experiment.state == causal_pb2.EXPERIMENT_STATE_INCONCLUSIVE
    assert "three untreated units" in answer.experiment.state_reason


async def test_lift_is_measured_against_the_account_and_kept(
    causal: Callable[..., Any], treated: float
) -> None:
    """One treated campaign among those of its account."""
    request = causal_service_pb2.MeasureLiftRequest(
        parent=PARENT,
        campaign_id=_TREATED[0],
        baseline_date_range=_BEFORE,
        treatment_date_range=_DAYS,
        control=causal_pb2.ExperimentGroup(
            filter=" OR ".join(f'campaign_id = "{each}"' for each in _CONTROL)
        ),
        store=True,
        request_id=str(uuid4()),
    )
    lift = (await causal("writer").MeasureLift(request)).lift_measurement
    assert lift.effect.effect.low <= treated / len(_TREATED) <= lift.effect.effect.high
    assert lift.cost_micros > 0
    assert (await causal("writer").MeasureLift(request)).lift_measurement == lift
    listed = await causal("reader").ListLiftMeasurements(
        causal_service_pb2.ListLiftMeasurementsRequest(
            parent=PARENT, filter=f'campaign_id = "{_TREATED[0]}" AND lift_type = INCREMENTAL'
        )
    )
    assert list(listed.lift_measurements) == [lift]
    alone = causal_service_pb2.MeasureLiftRequest(
        parent=PARENT,
        campaign_id=_TREATED[0],
        baseline_date_range=_BEFORE,
        treatment_date_range=_DAYS,
        lift_type=causal_pb2.LIFT_TYPE_CONVERSION,
    )
    against_account = (await causal("reader").MeasureLift(alone)).lift_measurement
    assert against_account.name == ""
    assert against_account.effect.unit_count == 16


async def test_lift_of_an_unknown_campaign_is_not_found(causal: Callable[..., Any]) -> None:
    """It is named."""
    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await causal("reader").MeasureLift(
            causal_service_pb2.MeasureLiftRequest(
                parent=PARENT,
                campaign_id="unknown",
                baseline_date_range=_BEFORE,
                treatment_date_range=_DAYS,
            )
        )
    code, text = code_and_text(missing.value)
    assert (code, "campaigns/unknown" in text) == (grpc.StatusCode.NOT_FOUND, True)
