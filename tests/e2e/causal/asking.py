"""Requests that the tests of the Causal module share."""

from typing import Any
from uuid import uuid4

import grpc
from grpc_status import rpc_status

from liftos.causal.v1 import causal_pb2, causal_service_pb2
from liftos.common.v1.marketing_pb2 import DateRange

PARENT = "orgs/acme"


def year(**changes: Any) -> causal_pb2.TrainingData:
    """Return the selection of a year."""
    return causal_pb2.TrainingData(
        date_range=DateRange(start_date="2025-02-01", end_date="2026-01-31"), **changes
    )


def model(name: str, **changes: Any) -> causal_service_pb2.CreateModelRequest:
    """Return the request that fits a model on that year."""
    given = {"training_data": year(), "display_name": name, **changes}
    return causal_service_pb2.CreateModelRequest(
        attribution_model=causal_pb2.AttributionModel(
            name=f"{PARENT}/attributionModels/{name}", **given
        ),
        request_id=str(uuid4()),
    )


def analysis(**changes: Any) -> causal_service_pb2.AnalyzeAttributionRequest:
    """Return the request that attributes that year."""
    return causal_service_pb2.AnalyzeAttributionRequest(
        **{"parent": PARENT, "training_data": year(), **changes}
    )


def code_and_text(error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str]:
    """Return what a refusal says, field violations included."""
    status = rpc_status.from_call(error)
    details = "" if status is None else str(status)
    return error.code(), f"{error.details()} {details}"
