"""One side of the Causal module, asked what it is asked in use."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc

from liftos.causal.v1 import causal_pb2, causal_service_pb2_grpc
from liftos.causal.v1 import causal_service_pb2 as pb
from liftos.common.v1.marketing_pb2 import DateRange
from liftos_kit.core.errors import StoreUnavailableError

_SECONDS: Final = 60.0
_AWAY: Final = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)


class CausalProbe:
    """See `liftos_migration.verification_ports.ModuleProbe`.

    Args:
        channel: To the service.
        token: Gives the token of an org.
        name: Told where it does not answer.
    """

    def __init__(self, channel: grpc.aio.Channel, token: Callable[[str], str], name: str) -> None:
        # Its generated type knows the synchronous stub alone.
        self._stub: Any = causal_service_pb2_grpc.CausalServiceStub(channel)
        self._token = token
        self._name = name

    async def credits(self, org: str, first_day: str, last_day: str) -> Mapping[str, float]:
        """Return the revenue that each channel is credited with, in millionths."""
        request = pb.AnalyzeAttributionRequest(
            parent=f"orgs/{org}",
            training_data=causal_pb2.TrainingData(
                date_range=DateRange(start_date=first_day, end_date=last_day)
            ),
        )
        try:
            answer = await self._call(self._stub.AnalyzeAttribution, org, request)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                return {}
            raise
        return {
            each.channel: float(each.revenue_micros) for each in answer.attribution_result.channels
        }

    async def functions(self, org: str) -> Mapping[str, str]:
        """Return what each reading method says where it fails."""
        parent = f"orgs/{org}"
        asked = {
            "ListModels": pb.ListModelsRequest(parent=parent),
            "ListExperiments": pb.ListExperimentsRequest(parent=parent),
            "ListAttributionResults": pb.ListAttributionResultsRequest(parent=parent),
            "ListBudgetOptimizations": pb.ListBudgetOptimizationsRequest(parent=parent),
            "ListLiftMeasurements": pb.ListLiftMeasurementsRequest(parent=parent),
            "ListInsights": pb.ListInsightsRequest(parent=parent),
            "GetConfiguration": pb.GetConfigurationRequest(name=f"{parent}/causalConfiguration"),
        }
        told: dict[str, str] = {}
        for name, request in asked.items():
            try:
                await self._call(getattr(self._stub, name), org, request)
            except grpc.aio.AioRpcError as error:
                told[name] = f"{error.code().name}: {error.details()}"
            else:
                told[name] = ""
        return told

    async def _call(self, method: Any, org: str, request: Any) -> Any:  # noqa: ANN401
        metadata = (("authorization", f"Bearer {self._token(org)}"),)
        try:
            return await method(request, metadata=metadata, timeout=_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() in _AWAY:
                raise StoreUnavailableError(self._name) from error
            raise


@asynccontextmanager
async def causal_probe(
    address: str, token: Callable[[str], str], name: str
) -> AsyncIterator[CausalProbe]:
    """Open a probe of a service that answers in plain text, as a module in its own network does.

    Args:
        address: host:port.
        token: Gives the token of an org.
        name: Told where it does not answer.
    """
    async with grpc.aio.insecure_channel(address) as channel:
        yield CausalProbe(channel, token, name)
