"""Everything a caller can be told about a request that did not work out.

    DomainError
    ├── about the request    InvalidFieldsError BatchTooLargeError MessageTooLargeError
    │                        ArrowInvalidError PageTokenError FilterError
    │                        RequestIdReusedError SequenceError
    ├── about the resource   NotFoundError AlreadyExistsError EtagMismatchError
    │                        StateTransitionError RateMissingError VerificationFailedError
    │                        DataInsufficientError GateUnmetError
    ├── about the writer     FenceClosedError EpochFencedError
    ├── about the caller     TokenMissingError TokenInvalidError TokenExpiredError
    │                        RoleInsufficientError ScopeMissingError OrgMismatchError
    │                        ChannelInsecureError
    ├── about outside        CredentialsRejectedError PlatformRateLimitedError
    └── about the server     StoreUnavailableError OverloadedError StaleReadError
                             DeadlineExceededError ShuttingDownError NotBuiltError InternalError

`reason` is the name of a value of `liftos.common.v1.ErrorReason`. The gRPC code of each reason
stands in `liftos_kit.status`, and nowhere else.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One broken rule of a request.

    Attributes:
        field: Path of the field, as `entries[3].metrics.spend_micros`; empty for the message.
        description: What is wrong and what would be right, in one sentence.
        rule: Stable id of the rule, for programs.
    """

    field: str
    description: str
    rule: str = ""


class DomainError(Exception):
    """A failure that its caller may hear about, word for word.

    Attributes:
        message: A sentence that says what to do; never holds internals or secrets.
        metadata: Facts for programs; keys in snake_case.
        violations: Broken field rules, all of them.
        retry_after_seconds: How long to wait before the same call may work, or None.
    """

    reason: ClassVar[str]

    def __init__(
        self,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: Mapping[str, str] = MappingProxyType(dict(metadata or {}))
        self.violations = tuple(violations)
        self.retry_after_seconds = retry_after_seconds


class InvalidFieldsError(DomainError):
    """Fields of the request break rules; lists every one."""

    reason = "ERROR_REASON_FIELD_INVALID"

    def __init__(self, violations: Iterable[FieldViolation]) -> None:
        found = tuple(violations)
        if not found:
            raise ValueError("an InvalidFieldsError needs at least one violation")
        first = found[0]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        where = f"{first.field}: " if first.field else ""
        super().__init__(f"{where}{first.description}{more}", violations=found)

    @classmethod
    def of(cls, field: str, description: str, *, rule: str = "") -> "InvalidFieldsError":
        """Build the error of a single field."""
        return cls((FieldViolation(field, description, rule),))


class BatchTooLargeError(DomainError):
    """A batch holds more items than one call takes."""

    reason = "ERROR_REASON_BATCH_TOO_LARGE"

    def __init__(self, *, item_count: int, maximum_items: int) -> None:
        super().__init__(
            f"The batch has {item_count} items; send at most {maximum_items} a call.",
            metadata={"item_count": str(item_count), "maximum_items": str(maximum_items)},
        )


class MessageTooLargeError(DomainError):
    """A message or payload is larger than the server takes."""

    reason = "ERROR_REASON_MESSAGE_TOO_LARGE"

    def __init__(self, *, size_bytes: int, maximum_bytes: int) -> None:
        super().__init__(
            f"The payload has {size_bytes} bytes; send at most {maximum_bytes}.",
            metadata={"size_bytes": str(size_bytes), "maximum_bytes": str(maximum_bytes)},
        )


class ArrowInvalidError(DomainError):
    """An Arrow payload cannot be read, or does not have the columns it should.

    Args:
        problem: What is wrong, as a sentence.
        field: The request field that held the payload, or a column of it.
    """

    reason = "ERROR_REASON_ARROW_INVALID"

    def __init__(self, problem: str, *, field: str = "arrow") -> None:
        super().__init__(problem, violations=(FieldViolation(field, problem, "arrow"),))


class PageTokenError(DomainError):
    """A page token is damaged, foreign, or belongs to another request."""

    reason = "ERROR_REASON_PAGE_TOKEN_INVALID"

    def __init__(self, problem: str) -> None:
        sentence = f"The page token {problem}; start again without one."
        super().__init__(sentence, violations=(FieldViolation("page_token", sentence),))


class FilterError(DomainError):
    """A filter cannot be read or does not fit its fields.

    Attributes:
        position: Index of the character where the trouble starts, from 0.
    """

    reason = "ERROR_REASON_FILTER_INVALID"

    def __init__(self, problem: str, *, position: int) -> None:
        sentence = f"filter, character {position}: {problem}"
        super().__init__(
            sentence,
            metadata={"position": str(position)},
            violations=(FieldViolation("filter", sentence),),
        )
        self.position = position


class RequestIdReusedError(DomainError):
    """A request_id came back with another payload."""

    reason = "ERROR_REASON_REQUEST_ID_REUSED"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            "The request_id was used before for a different request; use a new one.",
            metadata={"request_id": request_id},
        )


class SequenceError(DomainError):
    """A stream skipped a sequence number."""

    reason = "ERROR_REASON_SEQUENCE_OUT_OF_RANGE"

    def __init__(self, *, expected: int, received: int) -> None:
        super().__init__(
            f"The stream continues with sequence {expected}, but {received} came.",
            metadata={"expected_sequence": str(expected), "received_sequence": str(received)},
        )
        self.expected = expected
        self.received = received


class NotFoundError(DomainError):
    """The named resource does not exist."""

    reason = "ERROR_REASON_RESOURCE_NOT_FOUND"

    def __init__(self, resource_name: str) -> None:
        super().__init__(
            f"{resource_name} does not exist.", metadata={"resource_name": resource_name}
        )


class AlreadyExistsError(DomainError):
    """The named resource exists already."""

    reason = "ERROR_REASON_RESOURCE_ALREADY_EXISTS"

    def __init__(self, resource_name: str) -> None:
        super().__init__(
            f"{resource_name} exists already.", metadata={"resource_name": resource_name}
        )


class EtagMismatchError(DomainError):
    """The resource changed since it was read."""

    reason = "ERROR_REASON_ETAG_MISMATCH"

    def __init__(self, resource_name: str) -> None:
        super().__init__(
            f"{resource_name} changed since it was read; read it again and use its new etag.",
            metadata={"resource_name": resource_name},
        )


class StateTransitionError(DomainError):
    """The resource is in a state that does not allow the verb.

    Args:
        message: What to say where the words of the states do not make a sentence.
    """

    reason = "ERROR_REASON_STATE_TRANSITION_INVALID"

    def __init__(
        self, resource_name: str, *, state: str, allowed_states: Sequence[str], message: str = ""
    ) -> None:
        allowed = ", ".join(allowed_states)
        super().__init__(
            message or f"{resource_name} is {state}; this works only when it is {allowed}.",
            metadata={"resource_name": resource_name, "state": state, "allowed_states": allowed},
        )


class RateMissingError(DomainError):
    """Money cannot be converted: the org has no exchange rate for these pairs and dates.

    Args:
        missing: (from currency, to currency, date) of each missing rate, at least one.
    """

    reason = "ERROR_REASON_RATE_MISSING"
    _SHOWN: ClassVar[int] = 10

    def __init__(self, missing: Sequence[tuple[str, str, str]]) -> None:
        shown = ", ".join(f"{a}/{b} on {day}" for a, b, day in missing[: self._SHOWN])
        more = f" and {len(missing) - self._SHOWN} more" if len(missing) > self._SHOWN else ""
        super().__init__(
            f"Load exchange rates for {shown}{more}, or ask without a currency.",
            metadata={
                "currency_code": missing[0][0],
                "date": missing[0][2],
                "missing_count": str(len(missing)),
            },
        )


class VerificationFailedError(DomainError):
    """A check did not reach its threshold."""

    reason = "ERROR_REASON_VERIFICATION_FAILED"

    def __init__(self, check: str, *, measured: str, threshold: str) -> None:
        super().__init__(
            f"The check {check} measured {measured} and needs {threshold}.",
            metadata={"check": check, "measured": measured, "threshold": threshold},
        )


class DataInsufficientError(DomainError):
    """The stored data does not suffice for a sound answer.

    Args:
        need: What there must be more of, such as "days with spend".
        found: How much there is.
        required: How much the answer needs.
        violations: What exactly is missing, where that is known.
        advice: What to do.
    """

    reason = "ERROR_REASON_DATA_INSUFFICIENT"

    def __init__(
        self,
        need: str,
        *,
        found: str,
        required: str,
        violations: Sequence[FieldViolation] = (),
        advice: str = "load more or ask wider",
    ) -> None:
        super().__init__(
            f"The data has {found} {need} and the answer needs {required}; {advice}.",
            metadata={"need": need, "found": found, "required": required},
            violations=violations,
        )


@dataclass(frozen=True, slots=True)
class UnmetGate:
    """A condition that does not hold.

    Attributes:
        gate: Stable word.
        measured: What was measured.
        required: What would let it pass.
    """

    gate: str
    measured: str
    required: str


class GateUnmetError(DomainError):
    """Gates that must be met before a step are not; lists every one.

    Attributes:
        gates: At least one.
    """

    reason = "ERROR_REASON_GATE_UNMET"

    def __init__(self, resource_name: str, gates: Sequence[UnmetGate]) -> None:
        first = gates[0]
        more = f" (and {len(gates) - 1} more)" if len(gates) > 1 else ""
        super().__init__(
            f"{resource_name} cannot go on: {first.gate} is {first.measured} and needs"
            f" {first.required}{more}.",
            metadata={"gate": first.gate, "gate_count": str(len(gates))},
        )
        self.resource_name = resource_name
        self.gates = tuple(gates)


class FenceClosedError(DomainError):
    """Writes to a scope are closed for now."""

    reason = "ERROR_REASON_FENCE_CLOSED"

    def __init__(self, scope: str, *, epoch: int) -> None:
        super().__init__(
            f"Writes to {scope} are closed; ask where writes go now before trying again.",
            metadata={"scope": scope, "epoch": str(epoch)},
        )


class EpochFencedError(DomainError):
    """A writer with an older epoch was replaced by a newer one."""

    reason = "ERROR_REASON_EPOCH_FENCED"

    def __init__(self, *, current_epoch: int, received: int) -> None:
        super().__init__(
            f"Epoch {received} was replaced by {current_epoch}; this writer must stop.",
            metadata={"current_epoch": str(current_epoch), "received_epoch": str(received)},
        )
        self.current_epoch = current_epoch
        self.received = received


class TokenMissingError(DomainError):
    """The call carries no token."""

    reason = "ERROR_REASON_TOKEN_MISSING"

    def __init__(self) -> None:
        super().__init__("Send the metadata `authorization: Bearer TOKEN`.")


class TokenInvalidError(DomainError):
    """The token cannot be trusted."""

    reason = "ERROR_REASON_TOKEN_INVALID"

    def __init__(self, problem: str) -> None:
        super().__init__(f"The token is refused: {problem}.")


class TokenExpiredError(DomainError):
    """The token was good and is no longer."""

    reason = "ERROR_REASON_TOKEN_EXPIRED"

    def __init__(self) -> None:
        super().__init__("The token has expired; get a new one.")


class RoleInsufficientError(DomainError):
    """The token's roles do not reach what the method needs."""

    reason = "ERROR_REASON_ROLE_INSUFFICIENT"

    def __init__(self, required: str) -> None:
        super().__init__(
            f"This method needs the role {required}.", metadata={"required_role": required}
        )


class ScopeMissingError(DomainError):
    """The token was not issued for this service."""

    reason = "ERROR_REASON_SCOPE_MISSING"

    def __init__(self, required: str) -> None:
        super().__init__(
            f"This service needs the scope {required}.", metadata={"required_scope": required}
        )


class OrgMismatchError(DomainError):
    """The request names a resource of another org than the token's."""

    reason = "ERROR_REASON_ORG_MISMATCH"

    def __init__(self, field: str) -> None:
        super().__init__(
            f"{field} names another org than the token's; use names of your own org.",
            metadata={"field": field},
        )


class ChannelInsecureError(DomainError):
    """A secret came over a plaintext channel.

    Args:
        field: The field that held it.
    """

    reason = "ERROR_REASON_CHANNEL_INSECURE"

    def __init__(self, field: str) -> None:
        super().__init__(
            f"{field} came over a plaintext channel: renew the secret and send it with TLS.",
            metadata={"field": field},
        )


class CredentialsRejectedError(DomainError):
    """A platform refused the stored credentials."""

    reason = "ERROR_REASON_CREDENTIALS_REJECTED"

    def __init__(self, connection: str, *, platform: str) -> None:
        super().__init__(
            f"{platform} refuses the credentials of {connection}; renew them.",
            metadata={"connection": connection, "platform": platform},
        )


class PlatformRateLimitedError(DomainError):
    """A platform asks to be called less often."""

    reason = "ERROR_REASON_PLATFORM_RATE_LIMITED"

    def __init__(self, platform: str, *, retry_after_seconds: float) -> None:
        super().__init__(
            f"{platform} limits the call rate; try again later.",
            metadata={"platform": platform},
            retry_after_seconds=retry_after_seconds,
        )


class StoreUnavailableError(DomainError):
    """A store or a platform that the request needs does not answer.

    Args:
        waited_seconds: How long it was waited for, where the wait was given up.
        problem: What a platform gave in place of an answer, as a sentence; empty for a store.
    """

    reason = "ERROR_REASON_STORE_UNAVAILABLE"

    def __init__(
        self,
        store: str,
        *,
        retry_after_seconds: float = 1.0,
        waited_seconds: float | None = None,
        problem: str = "",
    ) -> None:
        found = "does not answer"
        if waited_seconds is not None:
            found = f"did not answer within {waited_seconds:g} s: it is busy or away"
        message = f"The store {store} {found}; try again."
        if problem:
            message = f"The platform {store} gives no answer: {problem.rstrip('.')}."
        super().__init__(
            message,
            metadata={"store": store, **({"platform": store} if problem else {})},
            retry_after_seconds=retry_after_seconds,
        )
        self.store = store


class OverloadedError(DomainError):
    """The server has as many calls as it takes."""

    reason = "ERROR_REASON_SERVER_OVERLOADED"

    def __init__(self, *, limit: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(
            "The server is at its limit; try again.",
            metadata={"limit": limit},
            retry_after_seconds=retry_after_seconds,
        )


class StaleReadError(DomainError):
    """The read did not catch up with the write token in time."""

    reason = "ERROR_REASON_READ_NOT_FRESH"

    def __init__(self, store: str, *, retry_after_seconds: float = 1.0) -> None:
        super().__init__(
            f"{store} has not caught up with the write token yet; try again.",
            metadata={"store": store},
            retry_after_seconds=retry_after_seconds,
        )


class DeadlineExceededError(DomainError):
    """The call took longer than its deadline allowed."""

    reason = "ERROR_REASON_DEADLINE_EXCEEDED"

    def __init__(self, *, deadline_seconds: float) -> None:
        super().__init__(
            f"The call took longer than {deadline_seconds:g} s; ask for less or allow more time.",
            metadata={"deadline_seconds": f"{deadline_seconds:g}"},
        )


class ShuttingDownError(DomainError):
    """The server is leaving; another one answers."""

    reason = "ERROR_REASON_SHUTTING_DOWN"

    def __init__(self, *, retry_after_seconds: float = 0.1) -> None:
        super().__init__(
            "The server is shutting down; call again.", retry_after_seconds=retry_after_seconds
        )


class NotBuiltError(DomainError):
    """The contract has it, this version does not.

    Args:
        subject: What is not there yet, as the subject of a sentence.
    """

    reason = "ERROR_REASON_NOT_BUILT"

    def __init__(self, subject: str) -> None:
        super().__init__(
            f"{subject} is not part of this version yet.", metadata={"feature": subject}
        )


class InternalError(DomainError):
    """Something broke on our side; the log has it under the trace id."""

    reason = "ERROR_REASON_INTERNAL"

    def __init__(self, trace_id: str) -> None:
        super().__init__(
            "An internal error occurred; the server's log holds it under the trace id.",
            metadata={"trace_id": trace_id} if trace_id else {},
        )
