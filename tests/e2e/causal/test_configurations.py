"""The configuration, what data makes of beliefs, and insights."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct
from tests.e2e.causal.asking import PARENT, code_and_text, model, year

from liftos.causal.v1 import causal_pb2, causal_service_pb2
from liftos.common.v1.marketing_pb2 import DateRange

_NAME = f"{PARENT}/causalConfiguration"


async def _get(causal: Callable[..., Any]) -> causal_pb2.CausalConfiguration:
    answer = await causal("reader").GetConfiguration(
        causal_service_pb2.GetConfigurationRequest(name=_NAME)
    )
    found: causal_pb2.CausalConfiguration = answer.causal_configuration
    return found


async def test_the_configuration_changes_by_fields_and_by_its_etag(
    causal: Callable[..., Any],
) -> None:
    """Defaults first; then what was changed, once per request; an old etag is refused."""
    before = await _get(causal)
    assert (before.etag, before.parameters.attribution_window_days) == ("0", 30)
    extra = Struct()
    extra.update({"legacy_flag": True, "weights": [1, 2]})
    request = causal_service_pb2.UpdateConfigurationRequest(
        causal_configuration=causal_pb2.CausalConfiguration(
            name=_NAME,
            parameters=causal_pb2.ModelParameters(attribution_window_days=14),
            extra=extra,
            etag=before.etag,
        ),
        update_mask=FieldMask(paths=["parameters", "extra"]),
        request_id=str(uuid4()),
    )
    changed = (await causal().UpdateConfiguration(request)).causal_configuration
    assert (changed.etag, changed.parameters.attribution_window_days) == ("1", 14)
    assert changed.extra == extra
    assert (await causal().UpdateConfiguration(request)).causal_configuration == changed
    assert await _get(causal) == changed
    request.request_id = str(uuid4())
    with pytest.raises(grpc.aio.AioRpcError) as stale:
        await causal().UpdateConfiguration(request)
    assert stale.value.code() is grpc.StatusCode.ABORTED
    request.update_mask.paths[:] = ["etag"]
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await causal().UpdateConfiguration(request)
    assert "etag cannot be changed" in code_and_text(unknown.value)[1]


async def test_beliefs_meet_data_and_are_learned(causal: Callable[..., Any]) -> None:
    """A belief far off conflicts; learned priors agree with the same data."""
    far = causal_pb2.ChannelPrior(channel="klaviyo", mean=-50, standard_deviation=1)
    checked = await causal("reader").CheckPriorConflict(
        causal_service_pb2.CheckPriorConflictRequest(
            parent=PARENT, priors=[far], training_data=year()
        )
    )
    assert [(each.channel, each.conflict) for each in checked.conflicts] == [("klaviyo", True)]
    request = causal_service_pb2.UpdatePriorsRequest(
        name=_NAME, training_data=year(), request_id=str(uuid4())
    )
    learned = await causal("writer").UpdatePriors(request)
    priors = {each.channel: each for each in learned.causal_configuration.parameters.priors}
    assert set(priors) == {"google_ads", "klaviyo", "meta", "tiktok"}
    again = await causal("writer").UpdatePriors(request)
    assert again.causal_configuration == learned.causal_configuration
    agreeing = await causal("reader").CheckPriorConflict(
        causal_service_pb2.CheckPriorConflictRequest(parent=PARENT, training_data=year())
    )
    assert len(agreeing.conflicts) == 4
    assert not any(each.conflict for each in agreeing.conflicts)


async def test_beliefs_are_needed_to_be_checked(causal: Callable[..., Any]) -> None:
    """An org without any is told so."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await causal("reader", org="empty").CheckPriorConflict(
            causal_service_pb2.CheckPriorConflictRequest(parent="orgs/empty", training_data=year())
        )
    assert "none are given and none are configured" in code_and_text(refused.value)[1]


async def test_intervals_of_a_model_are_calibrated(causal: Callable[..., Any], name: str) -> None:
    """Each simulation is ranked, for every channel."""
    created = (await causal("writer").CreateModel(model(name))).attribution_model
    answer = await causal("reader").ValidateCalibration(
        causal_service_pb2.ValidateCalibrationRequest(
            name=created.name, simulation_count=20, seed=3
        )
    )
    assert {each.parameter for each in answer.results} == {
        "google_ads", "klaviyo", "meta", "tiktok"
    }  # fmt: skip
    for each in answer.results:
        assert (each.simulation_count, sum(each.rank_counts)) == (20, 20)
        assert each.coverage >= 0.7


async def test_insights_rest_on_evidence_and_come_page_by_page(
    causal: Callable[..., Any],
) -> None:
    """Strongest first, each once, each with what it says in words."""
    request = causal_service_pb2.ListInsightsRequest(
        parent=PARENT,
        date_range=DateRange(start_date="2025-06-01", end_date="2026-01-31"),
        page_size=1,
    )
    found: list[causal_pb2.CausalInsight] = []
    while True:
        page = await causal("reader").ListInsights(request)
        found += page.causal_insights
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert found
    assert len({each.name for each in found}) == len(found)
    strengths = [each.evidence_strength for each in found]
    assert strengths == sorted(strengths, reverse=True)
    assert all(each.description and each.platform for each in found)
    request = causal_service_pb2.ListInsightsRequest(parent="orgs/empty")
    nothing = await causal("reader", org="empty").ListInsights(request)
    assert not nothing.causal_insights
