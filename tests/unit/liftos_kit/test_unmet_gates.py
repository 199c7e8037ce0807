"""A step that cannot be taken says every gate that keeps it."""

from google.rpc import code_pb2, error_details_pb2

from liftos_kit.core.errors import GateUnmetError, UnmetGate
from liftos_kit.status import status_of


def _failure(error: GateUnmetError) -> error_details_pb2.PreconditionFailure:
    status = status_of(error)
    assert status.code == code_pb2.FAILED_PRECONDITION
    failure = error_details_pb2.PreconditionFailure()
    assert status.details[1].Unpack(failure)
    return failure


def test_every_gate_travels_with_its_measured_value() -> None:
    """Programs get each gate as a precondition, people the first one in the sentence."""
    gates = [UnmetGate("reject_rate", "0.02", "at most 0.01"), UnmetGate("lag", "9 s", "1 s")]
    error = GateUnmetError("orgs/acme/migrations/m", gates)
    assert error.message.endswith("reject_rate is 0.02 and needs at most 0.01 (and 1 more).")
    assert error.metadata == {"gate": "reject_rate", "gate_count": "2"}
    assert [(it.type, it.subject, it.description) for it in _failure(error).violations] == [
        ("reject_rate", "orgs/acme/migrations/m", "is 0.02 and needs at most 0.01"),
        ("lag", "orgs/acme/migrations/m", "is 9 s and needs 1 s"),
    ]


def test_many_gates_stay_small() -> None:
    """What does not fit into trailers is left out, and the count says that there is more."""
    gates = [UnmetGate(f"gate_{number}", "x" * 500, "y") for number in range(100)]
    error = GateUnmetError("orgs/acme/migrations/m", gates)
    assert status_of(error).ByteSize() < 6_000
    assert 0 < len(_failure(error).violations) < 100
    assert error.metadata["gate_count"] == "100"
