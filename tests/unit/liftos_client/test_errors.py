"""Errors, read from the statuses that the services' own table writes."""

import grpc
import pytest
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from liftos.common.v1.error_reason_pb2 import ErrorReason
from liftos_client.errors import (
    ERRORS_BY_REASON,
    FieldViolation,
    GateUnmetError,
    LiftosError,
    NotFoundError,
    UnavailableError,
    decode_error,
)
from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.status import CODES, status_of


def _rpc_error(
    code: grpc.StatusCode, message: str = "", *trailers: tuple[str, str | bytes]
) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailers), details=message
    )


def _of_status(status: status_pb2.Status) -> grpc.aio.AioRpcError:
    told = rpc_status.to_status(status)
    return _rpc_error(told.code, status.message, *told.trailing_metadata)


def _status(reason: str, code: grpc.StatusCode, *details: Message) -> status_pb2.Status:
    info = error_details_pb2.ErrorInfo(domain="liftos.dev", reason=reason)
    status = status_pb2.Status(code=code.value[0], message="text")
    for detail in (info, *details):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


@pytest.mark.parametrize(("reason", "code"), CODES.items())
def test_each_reason_is_read_as_its_class(reason: str, code: grpc.StatusCode) -> None:
    """What the services write is told apart here, with its code and its short word."""
    error = decode_error(_of_status(_status(reason, code)))
    assert type(error) is ERRORS_BY_REASON[ErrorReason.Value(reason)]
    assert (error.code, error.message) == (code, "text")
    assert reason == f"ERROR_REASON_{error.reason}"


def test_an_error_of_a_service_is_read_whole() -> None:
    """A store that is down: when to come back, and which store."""
    error = decode_error(_of_status(status_of(StoreUnavailableError("milvus"))))
    assert isinstance(error, UnavailableError)
    assert error.metadata == {"store": "milvus"}
    assert error.retry_after_seconds == 1.0
    assert error.retriable


def test_unmet_gates_are_listed() -> None:
    """Each gate stands among the violations with what was measured."""
    failure = error_details_pb2.PreconditionFailure(
        violations=[
            error_details_pb2.PreconditionFailure.Violation(
                type="GATE", subject="accuracy", description="0.98, and 0.99 is needed"
            )
        ]
    )
    code = grpc.StatusCode.FAILED_PRECONDITION
    error = decode_error(_of_status(_status("ERROR_REASON_GATE_UNMET", code, failure)))
    assert isinstance(error, GateUnmetError)
    assert str(error) == "text\n  accuracy: 0.98, and 0.99 is needed"


def test_what_the_message_says_is_not_said_again() -> None:
    """A violation that is the message itself stays an attribute, and is printed once."""
    text = "filter, character 0: 'campaing_id' is no field; the fields are account_id"
    error = LiftosError(
        f"{text}, campaign_id",
        code=grpc.StatusCode.INVALID_ARGUMENT,
        field_violations=[FieldViolation("filter", f"{text}…")],
    )
    assert len(error.field_violations) == 1
    assert str(error) == f"{text}, campaign_id"


@pytest.mark.parametrize("details", [b"\xff\xff\xff", b"", b"\x08\x0e"])
def test_damaged_details_leave_code_and_text(details: bytes) -> None:
    """A proxy that changed the trailers does not hide the error."""
    error = decode_error(
        _rpc_error(grpc.StatusCode.NOT_FOUND, "gone", ("grpc-status-details-bin", details))
    )
    assert type(error) is NotFoundError
    assert (error.message, error.reason) == ("gone", "")


def test_reasons_of_others_are_not_ours() -> None:
    """The same word from another domain does not decide the class."""
    status = _status("ERROR_REASON_FENCE_CLOSED", grpc.StatusCode.ABORTED)
    packed = any_pb2.Any()
    info = error_details_pb2.ErrorInfo(domain="example.com", reason="ERROR_REASON_FENCE_CLOSED")
    packed.Pack(info)
    del status.details[:]
    status.details.append(packed)
    error = decode_error(_of_status(status))
    assert type(error) is LiftosError
    assert error.reason == ""


def test_many_violations_are_shown_in_part() -> None:
    """A message stays readable; the attribute has all of them."""
    request = error_details_pb2.BadRequest()
    for number in range(8):
        request.field_violations.add(field=f"field{number}", description="wrong")
    code = grpc.StatusCode.INVALID_ARGUMENT
    error = decode_error(_of_status(_status("ERROR_REASON_FIELD_INVALID", code, request)))
    assert len(error.field_violations) == 8
    assert str(error).splitlines()[-1] == "  and 3 more"
