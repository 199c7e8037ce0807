"""Who is let in to the Causal service, and what each org can see."""

from collections.abc import AsyncIterator
from types import MappingProxyType

import grpc
import pytest
from tests.e2e.access_suite import AccessSuite
from tests.e2e.causal.asking import year
from tests.e2e.memory.contract_calls import Rpc, exposed_methods

from liftos.causal.v1 import causal_pb2
from liftos.common.v1.marketing_pb2 import DateRange
from liftos_kit.testing.server import RunningServer


@pytest.fixture(scope="module")
async def channel(causal_server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    """A channel without a token."""
    async with grpc.aio.insecure_channel(causal_server.target) as opened:
        yield opened


@pytest.fixture(scope="module")
async def rpcs(channel: grpc.aio.Channel) -> tuple[Rpc, ...]:
    """All methods of the server."""
    return await exposed_methods(channel)


@pytest.fixture
def org(name: str) -> str:
    """An org that no other test uses, and that has no data."""
    return name


_GROUPS = {
    "experiment.treatment": causal_pb2.ExperimentGroup(campaign_ids=["a"]),
    "experiment.control": causal_pb2.ExperimentGroup(campaign_ids=["b"]),
    "experiment.baseline_date_range": DateRange(start_date="2025-01-01", end_date="2025-01-02"),
}
_BEFORE = DateRange(start_date="2024-01-01", end_date="2024-01-14")


class TestAccess(AccessSuite):
    """Every method of the Causal service."""

    schema = "public"
    org_column = "org_id"
    kinds = frozenset({(False, False)})
    needs = MappingProxyType(
        {
            "AnalyzeAttribution": {"training_data": year()},
            "CreateModel": {"attribution_model.training_data": year()},
            "RunExperiment": _GROUPS,
            "OptimizeBudget": {"total_micros": 1},
            "MeasureLift": {
                "baseline_date_range": _BEFORE,
                "treatment_date_range": DateRange(start_date="2024-02-01", end_date="2024-02-14"),
            },
            "CheckPriorConflict": {
                "training_data": year(),
                "priors": [causal_pb2.ChannelPrior(channel="meta", mean=1, standard_deviation=1)],
            },
            "UpdatePriors": {"training_data": year()},
        }
    )
