"""Reads the details of an error as a client would."""

from dataclasses import dataclass, field

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status


@dataclass(frozen=True)
class Refusal:
    """An error, unpacked."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    domain: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    violations: tuple[tuple[str, str], ...] = ()
    retry_seconds: float | None = None


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """Return what an error says."""
    status = rpc_status.from_call(error)
    reason = domain = ""
    metadata: dict[str, str] = {}
    violations: tuple[tuple[str, str], ...] = ()
    retry_seconds: float | None = None
    for detail in () if status is None else status.details:
        info, request, retry = (
            error_details_pb2.ErrorInfo(),
            error_details_pb2.BadRequest(),
            error_details_pb2.RetryInfo(),
        )
        if detail.Unpack(info):
            reason, domain, metadata = info.reason, info.domain, dict(info.metadata)
        elif detail.Unpack(request):
            violations = tuple((each.field, each.reason) for each in request.field_violations)
        elif detail.Unpack(retry):
            retry_seconds = retry.retry_delay.ToNanoseconds() / 1e9
    return Refusal(
        error.code(), error.details() or "", reason, domain, metadata, violations, retry_seconds
    )
