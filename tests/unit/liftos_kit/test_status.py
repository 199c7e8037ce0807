"""The error table and the contract have the same reasons."""

import inspect
from pathlib import Path

from google.rpc import error_details_pb2
from grpc import StatusCode

from liftos.common.v1 import error_reason_pb2
from liftos_kit.core import errors
from liftos_kit.core.errors import DomainError, FieldViolation, InvalidFieldsError
from liftos_kit.status import CODES, status_of

REASONS = set(error_reason_pb2.ErrorReason.keys()) - {"ERROR_REASON_UNSPECIFIED"}


def test_every_reason_of_the_contract_has_a_code() -> None:
    """No reason without a row, no row without a reason, and none of them is UNKNOWN or OK."""
    assert set(CODES) == REASONS
    assert not {StatusCode.OK, StatusCode.UNKNOWN, StatusCode.CANCELLED} & set(CODES.values())


def test_every_reason_is_that_of_one_error() -> None:
    """Each class has a reason of its own, and each reason a class."""
    classes = [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, DomainError) and value is not DomainError
    ]
    assert sorted(REASONS) == sorted(each.reason for each in classes)


def test_the_comment_of_a_reason_names_its_code() -> None:
    """What the contract says of a reason is what callers get."""
    lines = Path("protos/liftos/common/v1/error_reason.proto").read_text().splitlines()
    named = {}
    for number, line in enumerate(lines):
        words = line.split()
        if words and words[0] in REASONS:
            first = number - 1
            while lines[first - 1].strip().startswith("//"):
                first -= 1
            named[words[0]] = lines[first].split("//")[1].split()[0].strip(".,;")
    assert named == {reason: code.name for reason, code in CODES.items()}


def test_details_stay_small() -> None:
    """A request with 500 wrong rows of long texts is told in less than clients take."""
    error = InvalidFieldsError(
        FieldViolation(f"entries[{index}].name", "ö" * 1_000, "rule") for index in range(500)
    )
    status = status_of(error)
    assert status.ByteSize() < 6_000
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.metadata["violation_count"] == "500"
