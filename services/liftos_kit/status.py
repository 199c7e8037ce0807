"""The error table: how each reason reaches the caller.

A reason's gRPC code stands here and nowhere else. What else goes on the wire follows from the
error itself: ErrorInfo always, BadRequest where fields are wrong, PreconditionFailure where gates
are unmet, RetryInfo where waiting helps.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from liftos_kit.core.errors import DomainError, FieldViolation, GateUnmetError

DOMAIN: Final = "liftos.dev"
"""`google.rpc.ErrorInfo.domain` of every error."""

CODES: Final[Mapping[str, StatusCode]] = MappingProxyType(
    {
        "ERROR_REASON_RESOURCE_NOT_FOUND": StatusCode.NOT_FOUND,
        "ERROR_REASON_RESOURCE_ALREADY_EXISTS": StatusCode.ALREADY_EXISTS,
        "ERROR_REASON_FIELD_INVALID": StatusCode.INVALID_ARGUMENT,
        "ERROR_REASON_BATCH_TOO_LARGE": StatusCode.INVALID_ARGUMENT,
        "ERROR_REASON_PAGE_TOKEN_INVALID": StatusCode.INVALID_ARGUMENT,
        "ERROR_REASON_FILTER_INVALID": StatusCode.INVALID_ARGUMENT,
        "ERROR_REASON_ARROW_INVALID": StatusCode.INVALID_ARGUMENT,
        "ERROR_REASON_REQUEST_ID_REUSED": StatusCode.ALREADY_EXISTS,
        "ERROR_REASON_ETAG_MISMATCH": StatusCode.ABORTED,
        "ERROR_REASON_STATE_TRANSITION_INVALID": StatusCode.FAILED_PRECONDITION,
        "ERROR_REASON_SEQUENCE_OUT_OF_RANGE": StatusCode.OUT_OF_RANGE,
        "ERROR_REASON_CREDENTIALS_REJECTED": StatusCode.FAILED_PRECONDITION,
        "ERROR_REASON_VERIFICATION_FAILED": StatusCode.FAILED_PRECONDITION,
        "ERROR_REASON_DATA_INSUFFICIENT": StatusCode.FAILED_PRECONDITION,
        "ERROR_REASON_GATE_UNMET": StatusCode.FAILED_PRECONDITION,
        "ERROR_REASON_CHANNEL_INSECURE": StatusCode.FAILED_PRECONDITION,
        "ERROR_REASON_FENCE_CLOSED": StatusCode.FAILED_PRECONDITION,
        "ERROR_REASON_EPOCH_FENCED": StatusCode.FAILED_PRECONDITION,
        "ERROR_REASON_RATE_MISSING": StatusCode.FAILED_PRECONDITION,
        "ERROR_REASON_TOKEN_MISSING": StatusCode.UNAUTHENTICATED,
        "ERROR_REASON_TOKEN_INVALID": StatusCode.UNAUTHENTICATED,
        "ERROR_REASON_TOKEN_EXPIRED": StatusCode.UNAUTHENTICATED,
        "ERROR_REASON_ROLE_INSUFFICIENT": StatusCode.PERMISSION_DENIED,
        "ERROR_REASON_SCOPE_MISSING": StatusCode.PERMISSION_DENIED,
        "ERROR_REASON_ORG_MISMATCH": StatusCode.PERMISSION_DENIED,
        "ERROR_REASON_STORE_UNAVAILABLE": StatusCode.UNAVAILABLE,
        "ERROR_REASON_READ_NOT_FRESH": StatusCode.UNAVAILABLE,
        "ERROR_REASON_SHUTTING_DOWN": StatusCode.UNAVAILABLE,
        "ERROR_REASON_SERVER_OVERLOADED": StatusCode.RESOURCE_EXHAUSTED,
        "ERROR_REASON_PLATFORM_RATE_LIMITED": StatusCode.RESOURCE_EXHAUSTED,
        "ERROR_REASON_MESSAGE_TOO_LARGE": StatusCode.RESOURCE_EXHAUSTED,
        "ERROR_REASON_DEADLINE_EXCEEDED": StatusCode.DEADLINE_EXCEEDED,
        "ERROR_REASON_NOT_BUILT": StatusCode.UNIMPLEMENTED,
        "ERROR_REASON_INTERNAL": StatusCode.INTERNAL,
    }
)

# All of it travels in trailers, of which clients take 8 KiB; a request may hold 500 wrong rows.
_MAXIMUM_MESSAGE_CHARACTERS: Final = 700
_MAXIMUM_TEXT_CHARACTERS: Final = 200
_MAXIMUM_VIOLATION_BYTES: Final = 3_072


def status_of(error: DomainError) -> status_pb2.Status:
    """Return the status of an error, with its details."""
    status = status_pb2.Status(
        code=CODES[error.reason].value[0],
        message=_short(error.message, _MAXIMUM_MESSAGE_CHARACTERS),
    )
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    for key, value in error.metadata.items():
        info.metadata[key] = _short(value, _MAXIMUM_TEXT_CHARACTERS)
    details: list[Message] = [info]
    if error.violations:
        request = _bad_request(error.violations)
        if len(request.field_violations) < len(error.violations):
            info.metadata["violation_count"] = str(len(error.violations))
        details.append(request)
    if isinstance(error, GateUnmetError):
        details.append(_precondition_failure(error))
    if error.retry_after_seconds is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after_seconds * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _bad_request(violations: Sequence[FieldViolation]) -> error_details_pb2.BadRequest:
    request = error_details_pb2.BadRequest()
    for violation in violations:
        if request.ByteSize() > _MAXIMUM_VIOLATION_BYTES:
            break
        request.field_violations.add(
            field=_short(violation.field, _MAXIMUM_TEXT_CHARACTERS),
            description=_short(violation.description, _MAXIMUM_TEXT_CHARACTERS),
            reason=violation.rule,
        )
    return request


def _precondition_failure(error: GateUnmetError) -> error_details_pb2.PreconditionFailure:
    failure = error_details_pb2.PreconditionFailure()
    for gate in error.gates:
        if failure.ByteSize() > _MAXIMUM_VIOLATION_BYTES:
            break
        failure.violations.add(
            type=gate.gate,
            subject=_short(error.resource_name, _MAXIMUM_TEXT_CHARACTERS),
            description=_short(
                f"is {gate.measured} and needs {gate.required}", _MAXIMUM_TEXT_CHARACTERS
            ),
        )
    return failure


def _short(text: str, maximum: int) -> str:
    return text if len(text) <= maximum else f"{text[: maximum - 1]}…"
