"""The error table and the contract have the same reasons."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from google.rpc import error_details_pb2
from grpc import StatusCode

from liftos.common.v1 import error_reason_pb2
from liftos_kit.core import errors
from liftos_kit.core.errors import DomainError, FieldViolation, InvalidFieldsError, UnmetGate
from liftos_kit.status import CODES, status_of

REASONS = set(error_reason_pb2.ErrorReason.keys()) - {"ERROR_REASON_UNSPECIFIED"}


def test_every_reason_of_the_contract_has_a_code() -> None:
    """No reason without a row, no row without a reason, and none of them is UNKNOWN or OK."""
    assert set(CODES) == REASONS
    assert not {StatusCode.OK, StatusCode.UNKNOWN, StatusCode.CANCELLED} & set(CODES.values())


def _classes() -> list[type[DomainError]]:
    return [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, DomainError) and value is not DomainError
    ]


def _comments() -> dict[str, str]:
    """What the contract says of each reason."""
    found: dict[str, str] = {}
    comment = ""
    for line in Path("protos/liftos/common/v1/error_reason.proto").read_text().splitlines():
        words = line.split()
        if words and words[0] == "//":
            comment += f" {' '.join(words[1:])}"
            continue
        if words and words[0] in REASONS:
            found[words[0]] = comment.strip()
        comment = ""
    return found


def test_every_reason_is_that_of_one_error() -> None:
    """Each class has a reason of its own, and each reason a class."""
    assert sorted(REASONS) == sorted(each.reason for each in _classes())


def test_the_comment_of_a_reason_names_its_code() -> None:
    """What the contract says of a reason is what callers get."""
    named = {reason: comment.split()[0].strip(".,;") for reason, comment in _comments().items()}
    assert named == {reason: code.name for reason, code in CODES.items()}


_SAMPLES: dict[str, object] = {
    "violations": [FieldViolation("f", "is wrong", "rule")],
    "gates": [UnmetGate("g", "1", "2")],
    "missing": [("EUR", "USD", "2026-01-01")],
    "allowed_states": ["ACTIVE"],
}
_BY_TYPE: dict[object, object] = {str: "x", int: 1, float: 1.0, float | None: 1.0}


@pytest.mark.parametrize("error", _classes(), ids=lambda it: it.reason)
def test_the_comment_of_a_reason_names_its_metadata(error: type[DomainError]) -> None:
    """Every key that an error sends, and no other, is listed after its `metadata:`."""
    parameters = inspect.signature(error).parameters.values()
    given = {it.name: _SAMPLES.get(it.name) or _BY_TYPE[it.annotation] for it in parameters}
    positional = [given.pop(it.name) for it in parameters if it.kind is not it.KEYWORD_ONLY]
    make: Callable[..., DomainError] = error
    sent = set(make(*positional, **given).metadata)
    _, _, listed = _comments()[error.reason].partition("metadata:")
    plain = re.sub(r"\([^)]*\)", "", listed).split(".")[0]
    named = {part.split()[0] for part in re.split(", and |, ", plain) if part.strip()}
    assert sent == named - {"of"}


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
