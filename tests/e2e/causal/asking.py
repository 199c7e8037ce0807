"""Requests that the tests of the Causal module share."""

from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.message import Message
from grpc_status import rpc_status

from liftos.causal.v1 import causal_pb2, causal_service_pb2
from liftos.common.v1.marketing_pb2 import DateRange

PARENT = "orgs/acme"

_OWN = frozenset(
    ("create_time", "update_time", "write_token", "training_data_sha256", "quality_score")
)
"""Fields that each store fills in its own way."""


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


def _numbers(message: Message, where: str = "") -> dict[str, object]:
    """Return every field of an answer by its path, but for what each store says of its own."""
    found: dict[str, object] = {}
    for field, value in message.ListFields():
        path = f"{where}.{field.name}"
        if field.name in _OWN:
            continue
        values = list(value) if field.is_repeated else [value]
        for number, each in enumerate(values):
            if isinstance(each, Message):
                found |= _numbers(each, f"{path}[{number}]")
            else:
                found[f"{path}[{number}]"] = each
    return found


def assert_equal(one: Message, other: Message) -> None:
    """Words exactly; numbers but for what rounding to the sixth place, as Core keeps them, does."""
    left, right = _numbers(one), _numbers(other)
    assert left.keys() == right.keys()
    for path, value in left.items():
        if isinstance(value, float):
            assert right[path] == pytest.approx(value, rel=1e-4, abs=1e-6), path
        elif isinstance(value, int) and not isinstance(value, bool):
            assert right[path] == pytest.approx(value, rel=1e-5, abs=2), path
        elif not any(character.isdigit() for character in str(value)):
            assert right[path] == value, path
